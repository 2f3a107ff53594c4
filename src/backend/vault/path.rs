//! Paths below a mount: what can be one, and how a prefix is taken apart for a walk.

use crate::backend::credentials::vault::path::check;
use crate::backend::{Error, ErrorKind};

/// The path of a key below the mount. As in Atmos, one slash before it is no part of it.
///
/// Empty segments, `.` and `..` are refused: they are normalised away on the road, so that another key would be meant.
/// Every other character is sent percent-encoded.
pub(super) fn of_key(name: &str) -> Result<&str, Error> {
    let path = name.strip_prefix('/').unwrap_or(name);
    check(path).map_err(|why| Error::new(ErrorKind::InvalidKey, format!("{name:?} {why}")))?;
    Ok(path)
}

/// A prefix of keys: the folder to walk, and what names in it must start with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefix<'a> {
    /// What found paths get before them, as the prefix has it.
    pub(super) slash: &'static str,
    /// Empty, or with a slash at its end.
    pub(super) folder: &'a str,
    pub(super) start: &'a str,
}

impl<'a> Prefix<'a> {
    pub(super) fn new(prefix: &'a str) -> Result<Self, Error> {
        let (slash, path) = match prefix.strip_prefix('/') {
            Some(path) => ("/", path),
            None => ("", prefix),
        };
        let (folder, start) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
        if !folder.is_empty() {
            of_key(folder.trim_end_matches('/'))?;
        }
        Ok(Self { slash, folder, start })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_path_leads_to_one_place() {
        assert_eq!(of_key("prod/api/KEY").unwrap(), "prod/api/KEY");
        assert_eq!(of_key("/prod/api/KEY").unwrap(), "prod/api/KEY");
        assert_eq!(of_key("a b/ü%2e%2e?#").unwrap(), "a b/ü%2e%2e?#");
        for bad in ["", "/", "//a", "a//b", "a/", "a/../b", "..", "./a", "a/.", "a\nb", "a\u{7f}", &"x".repeat(2049)] {
            assert_eq!(of_key(bad).unwrap_err().kind, ErrorKind::InvalidKey, "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_is_a_folder_and_a_start() {
        let prefix = |slash, folder, start| Prefix { slash, folder, start };
        assert_eq!(Prefix::new("").unwrap(), prefix("", "", ""));
        assert_eq!(Prefix::new("/").unwrap(), prefix("/", "", ""));
        assert_eq!(Prefix::new("prod/api").unwrap(), prefix("", "prod/", "api"));
        assert_eq!(Prefix::new("/prod/api/").unwrap(), prefix("/", "prod/api/", ""));
        assert_eq!(Prefix::new("a/../b").unwrap_err().kind, ErrorKind::InvalidKey);
    }
}
