//! The files of a folder as the source of a `sops` store.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;

use super::replace::{self, CIPHERTEXT, NotReplaced};
use crate::backend::connect::{FileChange, Files, Source};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// Some files of a folder, by their paths in it.
pub struct LocalFiles {
    folder: PathBuf,
    names: Vec<String>,
}

impl LocalFiles {
    /// These files, whether they are there or not.
    #[must_use]
    pub fn new(folder: &Path, names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self { folder: folder.to_owned(), names }
    }
}

#[async_trait]
impl Source for LocalFiles {
    async fn read(&self) -> Vec<Files> {
        let (folder, names) = (self.folder.clone(), self.names.clone());
        let title = format!("folder {}", folder.display());
        let files = tokio::task::spawn_blocking(move || {
            let mut files = BTreeMap::new();
            for name in names {
                match replace::read(&folder.join(&name)) {
                    Ok(None) => {}
                    Ok(Some(mut bytes)) => {
                        files.insert(name, SecretValue::new(std::mem::take(&mut *bytes)));
                    }
                    Err(error) => return Err(refused("read", &folder.join(&name), &error)),
                }
            }
            Ok(files)
        });
        vec![Files::new(title, files.await.unwrap_or_else(|_| Err(stopped())))]
    }

    async fn write(&self, change: &FileChange<'_>) -> Result<(), Error> {
        let FileChange { file, place: _, revision: _, before, after } = change;
        let path = self.folder.join(file);
        let copy = |value: &SecretValue| SecretValue::new(value.expose().to_vec());
        let (before, after) = (before.map(copy), copy(after));
        let written = tokio::task::spawn_blocking(move || {
            let before = before.as_ref().map(SecretValue::expose);
            replace::replace(&path, before, after.expose(), CIPHERTEXT).map_err(|error| not_replaced(&error, &path))
        });
        written.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Why a file was not replaced, in words.
#[must_use]
pub fn not_replaced(error: &NotReplaced, path: &Path) -> Error {
    match error {
        NotReplaced::Changed => {
            Error::new(ErrorKind::Conflict, format!("{} was changed by somebody else at the same time", path.display()))
        }
        NotReplaced::Locked => {
            let folder = path.parent().unwrap_or(path).display();
            Error::new(ErrorKind::Timeout, format!("somebody else holds the lock on the folder {folder}"))
        }
        NotReplaced::Failed(tried, error) => refused(tried, path, error),
    }
}

fn refused(tried: &str, path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::InvalidConfig,
        io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("could not {tried} {}: {}", path.display(), error.kind()))
}

fn stopped() -> Error {
    Error::new(ErrorKind::Unexpected, "the work on files was stopped")
}

/// The path in `folder` of the file that Atmos would call `name`: that, or the same with `.` for each `/`, as it is called in
/// the cluster, if it is there.
///
/// # Errors
/// [`ErrorKind::InvalidKey`] for a name that leads out of the folder, [`ErrorKind::Ambiguous`] if both are there.
pub fn locate(folder: &Path, name: &str) -> Result<String, Error> {
    let is_inside = !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || name.contains('\\') {
        return Err(Error::new(ErrorKind::InvalidKey, format!("{name:?} is no path of a file in a folder")));
    }
    let flat = name.replace('/', ".");
    if flat == name {
        return Ok(flat);
    }
    match (folder.join(&flat).exists(), folder.join(name).exists()) {
        (true, true) => {
            let message = format!("{name} and {flat} are one file in the cluster: keep one of them");
            Err(Error::new(ErrorKind::Ambiguous, message))
        }
        (true, false) => Ok(flat),
        (false, _) => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_slash_makes_folders_unless_the_flat_file_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(locate(root, "dev.enc.yaml").unwrap(), "dev.enc.yaml");
        assert_eq!(locate(root, "dev.net/vpc.enc.yaml").unwrap(), "dev.net/vpc.enc.yaml");
        std::fs::write(root.join("dev.net.vpc.enc.yaml"), "").unwrap();
        assert_eq!(locate(root, "dev.net/vpc.enc.yaml").unwrap(), "dev.net.vpc.enc.yaml");
        std::fs::create_dir(root.join("dev.net")).unwrap();
        std::fs::write(root.join("dev.net/vpc.enc.yaml"), "").unwrap();
        assert_eq!(locate(root, "dev.net/vpc.enc.yaml").unwrap_err().kind, ErrorKind::Ambiguous);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["../up.yaml", "a/../../up.yaml", "/etc/up.yaml", "", r"a\..\up.yaml"] {
            assert_eq!(locate(Path::new("."), name).unwrap_err().kind, ErrorKind::InvalidKey, "{name}");
        }
    }
}
