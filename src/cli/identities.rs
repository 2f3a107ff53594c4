//! The user's own age identities, found where `sops` finds them.
//!
//! Source: getsops/sops, `age/keysource.go`: `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, then `sops/age/keys.txt` in the user's
//! configuration folder. As in Atmos, the file in the configuration folder counts only while neither variable is set.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::exit::Failure;
use super::process;
use crate::value::SecretValue;

/// More than any file of identities has; a device or a mistaken file ends here.
const MAX_FILE: u64 = 1 << 20;

/// Each text of identities with the name that messages may show.
///
/// # Errors
/// Usage: a file that a variable names cannot be read.
pub fn of_user() -> Result<Vec<(String, SecretValue)>, Failure> {
    find(&process::variable)
}

fn find(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Vec<(String, SecretValue)>, Failure> {
    let mut found = Vec::new();
    if let Some(text) = variable("SOPS_AGE_KEY") {
        // What is not UTF-8 is no identity: the reader says so.
        let text = text.into_encoded_bytes();
        found.push(("SOPS_AGE_KEY".to_owned(), SecretValue::new(text)));
    }
    if let Some(path) = variable("SOPS_AGE_KEY_FILE") {
        let path = PathBuf::from(path);
        let text = read(&path).map_err(|error| {
            let path = path.display();
            Failure::usage(format!("could not read {path}, which SOPS_AGE_KEY_FILE names: {}", error.kind()))
        })?;
        found.push((path.display().to_string(), text));
    }
    if found.is_empty()
        && let Some(path) = default_file(variable)
        && let Ok(text) = read(&path)
    {
        found.push((path.display().to_string(), text));
    }
    Ok(found)
}

/// The file that [`of_user`] reads where no variable is set.
#[must_use]
pub fn default_file_of_user() -> Option<PathBuf> {
    default_file(&process::variable)
}

/// `<configuration folder>/sops/age/keys.txt`; on macOS `XDG_CONFIG_HOME` is honoured, too, if it is set.
fn default_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = match variable("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None if cfg!(windows) => PathBuf::from(variable("AppData")?),
        None if cfg!(target_os = "macos") => PathBuf::from(variable("HOME")?).join("Library/Application Support"),
        None => PathBuf::from(variable("HOME")?).join(".config"),
    };
    Some(folder.join("sops").join("age").join("keys.txt"))
}

/// A small file that holds a credential.
pub(super) fn read(path: &Path) -> io::Result<SecretValue> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // Enough room from the start, so that no copy stays behind when the buffer grows.
    let room = usize::try_from(length.min(MAX_FILE)).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.by_ref().take(MAX_FILE).read_to_end(&mut text)?;
    Ok(SecretValue::new(std::mem::take(&mut *text)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn names(variables: &[(&str, &Path)]) -> Vec<String> {
        let variable = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_os_str().to_owned())
        };
        find(&variable).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn variables_go_before_the_file_of_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let default = folder.path().join("sops/age/keys.txt");
        std::fs::create_dir_all(default.parent().unwrap()).unwrap();
        std::fs::write(&default, "AGE-SECRET-KEY-1…").unwrap();
        let other = folder.path().join("other.txt");
        std::fs::write(&other, "AGE-SECRET-KEY-1…").unwrap();
        let (default_name, other_name) = (default.display().to_string(), other.display().to_string());

        let config = ("XDG_CONFIG_HOME", folder.path());
        assert_eq!(names(std::slice::from_ref(&config)), [default_name]);
        assert_eq!(names(&[config, ("SOPS_AGE_KEY_FILE", &other)]), [other_name.as_str()]);
        assert_eq!(
            names(&[config, ("SOPS_AGE_KEY_FILE", &other), ("SOPS_AGE_KEY", Path::new("AGE-SECRET-KEY-1…"))]),
            ["SOPS_AGE_KEY", other_name.as_str()]
        );
        assert!(names(&[("HOME", Path::new("/does/not/exist"))]).is_empty());
    }

    #[test]
    fn a_file_that_a_variable_names_must_be_there() {
        let variable = |name: &str| (name == "SOPS_AGE_KEY_FILE").then(|| OsString::from("/does/not/exist"));
        let failure = find(&variable).err().unwrap();
        assert_eq!(failure.message, "could not read /does/not/exist, which SOPS_AGE_KEY_FILE names: entity not found");
    }
}
