# Arguments: an empty folder, a folder with what is in the volumes, setpriv's words about the user, the operator and its
# own arguments.
set -eu
root=$1 volumes=$2 user=$3 operator=$4
shift 4
mount -t tmpfs -o mode=0755 container "$root"
for program in "$operator" "$(command -v setpriv)"; do
    cp -L --parents "$program" $(ldd "$program" | grep -o '/[^ ]*') "$root"
done
cp -R "$volumes/." "$root"
chmod -R a+rX "$root"
mount -o remount,ro "$root"
cd "$root"
# shellcheck disable=SC2086
exec chroot . "$(command -v setpriv)" $user --no-new-privs --bounding-set=-all --inh-caps=-all "$operator" "$@"
