//! Every SOPS file of a folder, by its content.

use std::fs;
use std::path::Path;

use super::replace;
use crate::cli::exit::Failure;
use crate::sops::{self, Encrypted, Format};

/// How deep folders may be in each other, and how many files are looked at.
const DEEPEST: usize = 32;
const MOST_FILES: usize = 10_000;

/// The paths in `folder` of all SOPS files, with `/` between their parts, sorted. Files and folders whose name begins with a
/// dot are passed over, as are files without the metadata of SOPS.
///
/// # Errors
/// Access: a file cannot be read, is not as it should be, or is called `*.enc.*` and is not encrypted.
pub fn sops_files(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    collect(folder, "", 0, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> Result<(), Failure> {
    let unread = |error: std::io::Error| {
        Failure::access(format!("could not read the folder {}: {}", folder.display(), error.kind()))
    };
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if entry.file_type().map_err(unread)?.is_dir() {
            if depth >= DEEPEST {
                return Err(Failure::access(format!("{} is deeper than {DEEPEST} folders", path.display())));
            }
            collect(&path, &format!("{name}/"), depth + 1, found)?;
        } else if is_sops_file(&path, &name)? {
            if found.len() >= MOST_FILES {
                return Err(Failure::access(format!("there are more than {MOST_FILES} files in the folder")));
            }
            found.push(name);
        }
    }
    Ok(())
}

fn is_sops_file(path: &Path, name: &str) -> Result<bool, Failure> {
    let Some(format) = Format::from_file_name(name) else { return Ok(is_binary_sops_file(path)) };
    let shown = path.display();
    let bytes = replace::read(path)
        .map_err(|error| Failure::access(format!("could not read {shown}: {}", error.kind())))?
        .unwrap_or_default();
    let is_meant = name.contains(".enc.");
    match Encrypted::parse(format, &bytes) {
        Ok(_) => Ok(true),
        Err(sops::Error::NotEncrypted) if !is_meant => Ok(false),
        // Something else of the same ending, such as a template.
        Err(sops::Error::Unparsable { .. } | sops::Error::DuplicateKey { .. }) if !is_meant => Ok(false),
        Err(sops::Error::NotEncrypted) => Err(Failure::access(format!("{shown} is not encrypted"))
            .hint("encrypt it with `sops encrypt --in-place`, and change its values if they were anywhere else")),
        Err(error) => Err(Failure::access(format!("{shown}: {error}"))),
    }
}

/// Whether a file whose name says nothing is one. Anything may be in it, of any size, so that what cannot be read is none, and
/// neither is a copy of a file that had a name.
fn is_binary_sops_file(path: &Path) -> bool {
    let Ok(Some(bytes)) = replace::read(path) else { return false };
    Encrypted::parse(Format::Binary, &bytes).is_ok_and(|encrypted| encrypted.names().eq(["data"]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::sops::{AgeRecipients, Creation, KeyGroups, Plain, Recipient, Value};
    use crate::value::SecretValue;

    fn encrypted(format: Format, name: &str) -> Vec<u8> {
        let recipient = ::age::x25519::Identity::generate().to_public().to_string();
        let keys = KeyGroups::single(vec![Recipient::Age(recipient)]);
        let mut plain = Plain::new(format);
        plain.set(&sops::Path::key(name), Value::text(SecretValue::new(vec![0, 255]))).unwrap();
        let creation = Creation { keys, ..Creation::default() };
        let made = plain.encrypt(&creation, &AgeRecipients, jiff::Timestamp::UNIX_EPOCH);
        futures::executor::block_on(made).unwrap()
    }

    #[test]
    fn a_file_of_another_name_is_one_if_it_is_a_binary_sops_file() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        put("dev.enc.json", &encrypted(Format::Json, "A"));
        put("dev.enc.json.orig", &encrypted(Format::Json, "A"));
        put("dev.enc.yaml~", &encrypted(Format::Yaml, "A"));
        put("store.p12", &encrypted(Format::Binary, "data"));
        put("no-end", &encrypted(Format::Binary, "data"));
        put("notes.txt", b"{\"data\": \"plain\"}");
        put("picture.png", &[0x89, 0xff]);
        fs::File::create(folder.path().join("large.iso")).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(sops_files(folder.path()).unwrap(), ["dev.enc.json", "no-end", "store.p12"]);
    }
}
