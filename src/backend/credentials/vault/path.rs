//! What can be a path of Vault: of a mount, of a login method, of a key.

use crate::backend::{Error, ErrorKind};

/// Longer paths meet the limits of proxies and storages.
const MAX_PATH: usize = 2048;

/// The path of a mount, as `field` names it, without slashes around it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if it cannot be one.
pub fn of_mount<'a>(field: &str, mount: &'a str) -> Result<&'a str, Error> {
    let path = mount.trim_matches('/');
    check(path).map_err(|why| Error::new(ErrorKind::InvalidConfig, format!("{field} {why}")))?;
    Ok(path)
}

/// Whether this can be sent as a path. Empty segments, `.` and `..` are normalised away on the road, so that another path
/// would be meant.
///
/// # Errors
/// Why not, to be put behind its name.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > MAX_PATH {
        return Err("is longer than 2048 bytes");
    }
    if path.chars().any(char::is_control) {
        return Err("holds control characters");
    }
    if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty segment, `.` or `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_mount_leads_to_one_place() {
        assert_eq!(of_mount("vault.mount", "/team/kv/").unwrap(), "team/kv");
        let error = of_mount("vault.mount", "a/../sys").unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::InvalidConfig, "vault.mount has an empty segment, `.` or `..`")
        );
    }
}
