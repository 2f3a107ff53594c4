//! Secret bytes and their keyed digest: the only types that may hold a value.
//!
//! [`SecretValue`] has no `Debug`, `Display`, `Serialize` or `Clone`, so a value cannot reach a log line, an error
//! text or a status by accident: the compiler refuses. The one way out is [`SecretValue::expose`], which is easy to
//! search for. Share a value with `Arc`.
//!
//! ```compile_fail
//! let value = atmos_secrets::value::SecretValue::new(b"x".to_vec());
//! format!("{value:?}");
//! ```
//! ```compile_fail
//! let value = atmos_secrets::value::SecretValue::new(b"x".to_vec());
//! format!("{value}");
//! ```
//! ```compile_fail
//! let value = atmos_secrets::value::SecretValue::new(b"x".to_vec());
//! let copy = value.clone();
//! drop(value);
//! ```
//! ```compile_fail
//! let value = atmos_secrets::value::SecretValue::new(b"x".to_vec());
//! serde_json::to_string(&value);
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes of one secret. Zeroed when dropped; may be empty; need not be text.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes ownership of `bytes`; they are zeroed when the value is dropped.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Every call is a place where a value may leave: keep them few.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both hold the same bytes, in time that depends on the lengths alone.
    #[must_use]
    pub fn equals(&self, other: &[u8]) -> bool {
        let mine = self.0.as_slice();
        if mine.len() != other.len() {
            return false;
        }
        mine.iter().zip(other).fold(0u8, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// A key for digests, with the public id that says under which key a digest was made.
pub struct DigestKey {
    id: String,
    key: Zeroizing<Vec<u8>>,
}

impl DigestKey {
    /// A key read from where the installation keeps it; `id` is public.
    #[must_use]
    pub fn new(id: String, key: Vec<u8>) -> Self {
        Self { id, key: Zeroizing::new(key) }
    }

    /// A key that lives as long as this process, for comparisons in memory.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn random() -> Result<Self, rand::rngs::SysError> {
        use rand::TryRng;
        let mut key = vec![0u8; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut key)?;
        Ok(Self::new("process".to_owned(), key))
    }

    /// The public id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The digest of a list of parts. Each part is preceded by its length, so that no two lists share one encoding.
    #[must_use]
    pub fn digest<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.key) {
            Ok(mac) => mac,
            // HMAC takes keys of every length (RFC 2104 section 2), so this arm is never taken.
            Err(_) => Hmac::<Sha256>::new(&Default::default()),
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Digest(mac.finalize().into_bytes().into())
    }
}

/// HMAC-SHA-256 under a [`DigestKey`]. Safe to keep in memory beside a name; says nothing without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_separates_parts() {
        let key = DigestKey::new("k".into(), vec![7; 32]);
        let joined = key.digest([b"ab".as_slice(), b"c".as_slice()]);
        let split = key.digest([b"a".as_slice(), b"bc".as_slice()]);
        assert_ne!(joined, split);
        assert_eq!(joined, key.digest([b"ab".as_slice(), b"c".as_slice()]));
    }

    #[test]
    fn digest_depends_on_the_key() {
        let one = DigestKey::new("k".into(), vec![1; 32]).digest([b"x".as_slice()]);
        let two = DigestKey::new("k".into(), vec![2; 32]).digest([b"x".as_slice()]);
        assert_ne!(one, two);
        assert_eq!(one.to_hex().len(), 64);
    }

    #[test]
    fn equality_is_on_bytes() {
        let value = SecretValue::new(b"a\0b\n".to_vec());
        assert!(value.equals(b"a\0b\n"));
        assert!(!value.equals(b"a\0b"));
        assert!(!value.equals(b"a\0b\t"));
    }
}
