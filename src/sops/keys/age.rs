//! age X25519 identities as a source of data keys.

use std::io::Read;

use age::armor::ArmoredReader;
use age::x25519::Identity;
use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{KeySource, MasterKey, MasterKeyKind};
use crate::sops::error::Error;
use crate::value::SecretValue;

/// The most bytes of armored text that one recipient's data key takes; age writes about 400 for X25519. What is larger is
/// made to cost time.
const MOST_ARMORED_BYTES: usize = 16 << 10;

/// The most bytes that a data key or a share of it takes: 32 and one.
const MOST_KEY_BYTES: u64 = 64;

/// Age identities, each with the name under which its holder knows it.
///
/// A master key of a file is opened by the identity whose recipient it names. Identities that are not X25519 (plugins,
/// SSH, post-quantum, passphrase-protected files) are refused when they are parsed.
#[derive(Default)]
pub struct AgeKeys {
    identities: Vec<NamedIdentity>,
}

struct NamedIdentity {
    name: String,
    recipient: String,
    identity: Identity,
}

impl AgeKeys {
    /// Reads the text of an identities file, as `age-keygen` writes it and `SOPS_AGE_KEY` holds it: an identity a line,
    /// with comments (`#`) and empty lines between. `name` is how messages call it: a Secret's key, a file, a variable.
    ///
    /// # Errors
    /// [`Error::InvalidIdentity`] or [`Error::UnsupportedIdentity`] with the line, [`Error::NoIdentity`]. None holds any of
    /// the text.
    pub fn parse(name: &str, text: &SecretValue) -> Result<Self, Error> {
        let mut identities = Vec::new();
        for (index, line) in text.expose().split(|byte| *byte == b'\n').enumerate() {
            let line_number = index + 1;
            let invalid = || Error::InvalidIdentity { name: name.to_owned(), line: line_number };
            let line = std::str::from_utf8(line.trim_ascii()).map_err(|_| invalid())?;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(what) = unsupported(line) {
                return Err(Error::UnsupportedIdentity { name: name.to_owned(), line: line_number, what });
            }
            let identity: Identity = line.parse().map_err(|_| invalid())?;
            let recipient = identity.to_public().to_string();
            identities.push(NamedIdentity { name: name.to_owned(), recipient, identity });
        }
        if identities.is_empty() {
            return Err(Error::NoIdentity { name: name.to_owned() });
        }
        Ok(Self { identities })
    }

    /// Adds the identities of `other`.
    pub fn extend(&mut self, other: Self) {
        self.identities.extend(other.identities);
    }

    /// The public recipients (`age1…`) of the identities, in order.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.identities.iter().map(|identity| identity.recipient.as_str())
    }
}

/// What an identity is that this library does not open, by how it begins.
fn unsupported(line: &str) -> Option<&'static str> {
    let kinds = [
        ("AGE-PLUGIN-", "the identity of an age plugin"),
        ("AGE-SECRET-KEY-PQ-", "a post-quantum identity"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "an identities file that is encrypted with a passphrase"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "an SSH key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "an SSH key"),
    ];
    kinds.into_iter().find(|(prefix, _)| line.starts_with(prefix)).map(|(_, what)| what)
}

#[async_trait]
impl KeySource for AgeKeys {
    /// The names given to [`AgeKeys::parse`] with the public recipient: `NAME (age1…)`.
    fn names(&self) -> Vec<String> {
        self.identities.iter().map(|identity| format!("{} ({})", identity.name, identity.recipient)).collect()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        if master_key.kind != MasterKeyKind::Age {
            return Ok(None);
        }
        // Bech32 may be written in capitals.
        let wanted = master_key.recipient.trim();
        let Some(held) = self.identities.iter().find(|identity| identity.recipient.eq_ignore_ascii_case(wanted)) else {
            return Ok(None);
        };
        match held.decrypt(&master_key.encrypted) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::DamagedDataKey { recipient: master_key.recipient.clone(), held: held.name.clone() }),
        }
    }
}

impl NamedIdentity {
    fn decrypt(&self, armored: &str) -> Option<SecretValue> {
        if armored.len() > MOST_ARMORED_BYTES {
            return None;
        }
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(armored.as_bytes())).ok()?;
        let identity: &dyn age::Identity = &self.identity;
        let reader = decryptor.decrypt(std::iter::once(identity)).ok()?;
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut key = Zeroizing::new(Vec::with_capacity(MOST_ARMORED_BYTES));
        reader.take(MOST_KEY_BYTES + 1).read_to_end(&mut key).ok()?;
        Some(SecretValue::new(key.to_vec()))
    }
}
