//! What a key asks for: the name of a secret, and a version of it.

use crate::backend::{Error, ErrorKind, Key};

/// The longest name (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#objects-identifiers-and-versioning>).
const LONGEST_NAME: usize = 127;
/// Hexadecimal digits of a version.
const VERSION: usize = 32;

/// A key that can be one of Key Vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) name: String,
    /// `None` is the latest.
    pub(super) version: Option<String>,
}

impl Asked {
    pub(super) fn new(Key { name, version }: &Key) -> Result<Self, Error> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_legal) {
            let message = format!(
                "{name:?} cannot be a secret of Key Vault: 1 to {LONGEST_NAME} letters, digits and hyphens are allowed"
            );
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        if let Some(version) = version
            && !is_version(version)
        {
            let message = format!("{version:?} is no version of {name}: those have {VERSION} hexadecimal digits");
            return Err(Error::new(ErrorKind::VersionNotFound, message));
        }
        Ok(Self { name: name.clone(), version: version.clone() })
    }

    /// For messages: `read …`.
    pub(super) fn reading(&self) -> String {
        match &self.version {
            None => format!("read the secret {}", self.name),
            Some(version) => format!("read version {version} of the secret {}", self.name),
        }
    }
}

fn is_version(text: &str) -> bool {
    text.len() == VERSION && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// The name and the version in an identifier: `https://VAULT/secrets/NAME[/VERSION]`.
pub(super) fn identified(id: &str) -> Option<(&str, Option<&str>)> {
    let (_vault, rest) = id.split_once("/secrets/")?;
    match rest.split_once('/') {
        None => Some((rest, None)),
        Some((name, version)) if !version.contains('/') => Some((name, Some(version))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, version: Option<&str>) -> Result<Asked, ErrorKind> {
        let key = Key { name: name.to_owned(), version: version.map(str::to_owned) };
        Asked::new(&key).map_err(|error| error.kind)
    }

    #[test]
    fn names_are_letters_digits_and_hyphens() {
        let (longest, long) = ("x".repeat(127), "x".repeat(128));
        for name in ["a", "0", "-", "A-b-0", &longest] {
            assert!(asked(name, None).is_ok(), "{name}");
        }
        for name in ["", "a_b", "a/b", "a.b", "a b", "ü", "..", "a?b", "a%2db", &long] {
            assert_eq!(asked(name, None), Err(ErrorKind::InvalidKey), "{name}");
        }
    }

    #[test]
    fn versions_are_hexadecimal_digits() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(asked("a", Some(good)).is_ok());
        for version in ["", "1", "latest", &good.to_uppercase(), &format!("{good}0"), "../../keys/x", &"ü".repeat(16)]
        {
            assert_eq!(asked("a", Some(version)), Err(ErrorKind::VersionNotFound), "{version}");
        }
    }

    #[test]
    fn identifiers_name_secret_and_version() {
        for (id, expected) in [
            ("https://v.vault.azure.net/secrets/a", Some(("a", None))),
            ("https://v.vault.azure.net/secrets/a/01", Some(("a", Some("01")))),
            ("https://v.vault.azure.net:443/secrets/a-b", Some(("a-b", None))),
            ("https://v.vault.azure.net/secrets/a/01/x", None),
            ("https://v.vault.azure.net/keys/a", None),
            ("", None),
        ] {
            assert_eq!(identified(id), expected, "{id}");
        }
    }
}
