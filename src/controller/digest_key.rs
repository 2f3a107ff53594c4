//! The installation's digest key, and the stamp that every target carries.
//!
//! The stamp is `<key id>.<HMAC of namespace, name and data>`. It proves that a Secret still holds what we wrote, without
//! telling anything to a reader: a plain hash could be tried against guesses. The key lives in an immutable Secret that
//! only the operator reads. Delete it and restart to rotate: stamps under an unknown key prove nothing, so the data are
//! compared with the store's and stamped anew at the next real write.

use std::collections::BTreeMap;

use crate::api::marks;
use crate::cluster::{self, Metadata, Objects, Secret, SecretDraft};
use crate::value::{DigestKey, SecretValue};

/// The Secret's name in the operator's namespace.
pub const SECRET_NAME: &str = "atmos-secrets-digest-key";
const KEY: &str = "key";
const ID: &str = "id";
/// 256 bits, the security level of HMAC-SHA-256.
const LENGTH: usize = 32;

/// What a stamp says about the data beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// They are what we wrote.
    Verified,
    /// Somebody changed them after us, or took the stamp off.
    Broken,
    /// Nothing: it was made under another key.
    Unknown,
}

/// Why the key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("cannot {verb} the digest key in Secret {namespace}/{SECRET_NAME}: {source}")]
    Cluster {
        /// What was tried.
        verb: &'static str,
        /// Where.
        namespace: String,
        /// Why not.
        source: cluster::Error,
    },
    /// The Secret is not a key.
    #[error(
        "Secret {namespace}/{SECRET_NAME} holds no digest key: expected `id` and 32 bytes in `key`; delete it, and the operator makes a new one"
    )]
    Malformed {
        /// Where.
        namespace: String,
    },
    /// No random bytes.
    #[error("the system gave no random bytes for the digest key")]
    Random,
}

/// Reads the key, or makes one if there is none.
///
/// # Errors
/// See [`Error`].
pub async fn load_or_create(objects: &Objects, namespace: &str) -> Result<DigestKey, Error> {
    // Two tries: another operator may create the key between our read and our write.
    for _ in 0..2 {
        let found = objects.get_secret(namespace, SECRET_NAME).await.map_err(|source| Error::Cluster {
            verb: "read",
            namespace: namespace.to_owned(),
            source,
        })?;
        if let Some(secret) = found {
            return read(&secret).ok_or_else(|| Error::Malformed { namespace: namespace.to_owned() });
        }
        match create(objects, namespace).await {
            Err(Error::Cluster { source, .. }) if source.is_conflict() => {}
            other => return other,
        }
    }
    Err(Error::Malformed { namespace: namespace.to_owned() })
}

fn read(secret: &Secret) -> Option<DigestKey> {
    let id = std::str::from_utf8(secret.data.get(ID)?.expose()).ok()?;
    let key = secret.data.get(KEY)?.expose();
    let plausible = !id.is_empty() && id.len() <= 63 && id.chars().all(|c| c.is_ascii_alphanumeric());
    (plausible && key.len() == LENGTH).then(|| DigestKey::new(id.to_owned(), key.to_vec()))
}

async fn create(objects: &Objects, namespace: &str) -> Result<DigestKey, Error> {
    let (key, id) = (random(LENGTH)?, random(4)?);
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut metadata =
        Metadata { namespace: namespace.to_owned(), name: SECRET_NAME.to_owned(), ..Metadata::default() };
    metadata.labels.insert(marks::MANAGED_BY.to_owned(), marks::OPERATOR.to_owned());
    let (key_value, id_value) = (SecretValue::new(key.clone()), SecretValue::from(id.clone()));
    let draft = SecretDraft {
        metadata: &metadata,
        secret_type: cluster::OPAQUE,
        immutable: true,
        data: BTreeMap::from([(KEY, &key_value), (ID, &id_value)]),
    };
    objects.create_secret(&draft).await.map_err(|source| Error::Cluster {
        verb: "create",
        namespace: namespace.to_owned(),
        source,
    })?;
    Ok(DigestKey::new(id, key))
}

fn random(length: usize) -> Result<Vec<u8>, Error> {
    use rand::TryRng;
    let mut bytes = vec![0u8; length];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// The stamp of a Secret's data.
#[must_use]
pub fn stamp<'a>(
    key: &DigestKey,
    namespace: &str,
    name: &str,
    data: impl IntoIterator<Item = (&'a str, &'a SecretValue)>,
) -> String {
    let mut parts: Vec<&[u8]> = vec![namespace.as_bytes(), name.as_bytes()];
    for (name, value) in data {
        parts.push(name.as_bytes());
        parts.push(value.expose());
    }
    format!("{}.{}", key.id(), key.digest(parts).to_hex())
}

/// What the stamp on a Secret says.
#[must_use]
pub fn verify(key: &DigestKey, secret: &Secret) -> Stamp {
    let Some(found) = secret.metadata.annotations.get(marks::DIGEST) else { return Stamp::Broken };
    if found.split_once('.').is_none_or(|(id, _)| id != key.id()) {
        return Stamp::Unknown;
    }
    let data = secret.data.iter().map(|(name, value)| (name.as_str(), value));
    let expected = stamp(key, &secret.metadata.namespace, &secret.metadata.name, data);
    if SecretValue::from(expected).equals(found.as_bytes()) { Stamp::Verified } else { Stamp::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(stamp: Option<&str>, value: &[u8]) -> Secret {
        let mut metadata = Metadata { namespace: "payments".into(), name: "orders-db".into(), ..Metadata::default() };
        if let Some(stamp) = stamp {
            metadata.annotations.insert(marks::DIGEST, stamp);
        }
        Secret {
            metadata,
            secret_type: cluster::OPAQUE.to_owned(),
            immutable: false,
            data: BTreeMap::from([("A".to_owned(), SecretValue::new(value.to_vec()))]),
        }
    }

    #[test]
    fn a_stamp_tells_our_bytes_from_edited_ones() {
        let key = DigestKey::new("k1".into(), vec![3; 32]);
        let value = SecretValue::new(b"v".to_vec());
        let made = stamp(&key, "payments", "orders-db", [("A", &value)]);
        assert!(made.starts_with("k1."));
        assert_eq!(verify(&key, &secret(Some(&made), b"v")), Stamp::Verified);
        assert_eq!(verify(&key, &secret(Some(&made), b"w")), Stamp::Broken);
        assert_eq!(verify(&key, &secret(None, b"v")), Stamp::Broken);
        let elsewhere = stamp(&key, "payments", "other", [("A", &value)]);
        assert_eq!(verify(&key, &secret(Some(&elsewhere), b"v")), Stamp::Broken, "a stamp is bound to its Secret");
        let other_key = DigestKey::new("k2".into(), vec![4; 32]);
        assert_eq!(verify(&other_key, &secret(Some(&made), b"v")), Stamp::Unknown);
    }
}
