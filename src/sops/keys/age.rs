//! age as a source and a wrapper of data keys: X25519 and SSH keys.

use std::io::Read;

use age::armor::ArmoredReader;
use async_trait::async_trait;
use zeroize::Zeroizing;

use super::recipient::age_key;
use super::{KeySource, KeyWrapper, MasterKey, Recipient, Wrapped};
use crate::sops::error::Error;
use crate::value::SecretValue;

/// The most bytes of armored text that one recipient's data key takes; age writes about 400 for X25519 and 1,000 for a
/// large RSA key. What is larger is made to cost time.
const MOST_ARMORED_BYTES: usize = 16 << 10;

/// The most bytes that a data key or a share of it takes: 32 and one.
const MOST_KEY_BYTES: u64 = 64;

/// The most bytes of an SSH private key: RSA with 16,384 bits takes about 13,000.
const MOST_SSH_BYTES: usize = 64 << 10;

/// Age identities, each with the name under which its holder knows it.
///
/// A master key of a file is opened by the identity whose recipient it names. X25519 identities, ssh-ed25519 and ssh-rsa
/// keys are taken. Identities of plugins and post-quantum ones are passed over where others stand beside them, and named
/// among the keys held; files with a passphrase are refused when they are parsed.
///
/// Opening with an RSA key does not take the same time for every input (RUSTSEC-2023-0071). Who can have many files opened
/// and measure how long each takes may learn about the key: prefer X25519 where others choose the files.
#[derive(Default)]
pub struct AgeKeys {
    identities: Vec<NamedIdentity>,
    /// Those that are not opened, as messages call them.
    passed_over: Vec<String>,
}

struct NamedIdentity {
    name: String,
    recipient: String,
    identity: Box<dyn age::Identity + Send + Sync>,
}

impl AgeKeys {
    /// Reads the text of an identities file, as `age-keygen` writes it and `SOPS_AGE_KEY` holds it: an identity a line,
    /// with comments (`#`) and empty lines between; or one SSH private key without a passphrase. `name` is how messages call
    /// it: a Secret's key, a file, a variable.
    ///
    /// # Errors
    /// [`Error::InvalidIdentity`] with the line; the good lines go with it, as with `sops`. [`Error::UnsupportedIdentity`]
    /// where there is no other identity, [`Error::NoIdentity`]. None holds any of the text.
    pub fn parse(name: &str, text: &SecretValue) -> Result<Self, Error> {
        if let Some(identity) = ssh_identity(name, text)? {
            return Ok(Self { identities: vec![identity], passed_over: Vec::new() });
        }
        let mut keys = Self::default();
        let mut first_unsupported = None;
        for (index, line) in text.expose().split(|byte| *byte == b'\n').enumerate() {
            let line_number = index + 1;
            let invalid = || Error::InvalidIdentity { name: name.to_owned(), line: line_number };
            let line = std::str::from_utf8(line.trim_ascii()).map_err(|_| invalid())?;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((what, is_of_one_line)) = unsupported(line) {
                let error = Error::UnsupportedIdentity { name: name.to_owned(), line: line_number, what };
                if !is_of_one_line {
                    return Err(error);
                }
                keys.passed_over.push(format!("{name} line {line_number} ({what}, not supported)"));
                first_unsupported = first_unsupported.or(Some(error));
                continue;
            }
            let identity: age::x25519::Identity = line.parse().map_err(|_| invalid())?;
            let recipient = identity.to_public().to_string();
            keys.identities.push(NamedIdentity { name: name.to_owned(), recipient, identity: Box::new(identity) });
        }
        if keys.identities.is_empty() {
            return Err(first_unsupported.unwrap_or_else(|| Error::NoIdentity { name: name.to_owned() }));
        }
        Ok(keys)
    }

    /// A new X25519 identity, as a line of an identities file without its end, and its public recipient.
    #[must_use]
    pub fn generate() -> (SecretValue, String) {
        use age::secrecy::ExposeSecret as _;
        let identity = age::x25519::Identity::generate();
        let line = identity.to_string();
        (SecretValue::new(line.expose_secret().as_bytes().to_vec()), identity.to_public().to_string())
    }

    /// Adds the identities of `other`.
    pub fn extend(&mut self, other: Self) {
        self.identities.extend(other.identities);
        self.passed_over.extend(other.passed_over);
    }

    /// The public recipients (`age1…`, `ssh-… …`) of the identities, in order.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.identities.iter().map(|identity| identity.recipient.as_str())
    }
}

/// What an identity is that this library does not open, by how it begins, and whether the line is all of it.
fn unsupported(line: &str) -> Option<(&'static str, bool)> {
    let kinds = [
        ("AGE-PLUGIN-", "the identity of an age plugin", true),
        ("AGE-SECRET-KEY-PQ-", "a post-quantum identity", true),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "an identities file that is encrypted with a passphrase", false),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "an SSH key among other identities", false),
        ("-----BEGIN RSA PRIVATE KEY-----", "an SSH key among other identities", false),
    ];
    let found = kinds.into_iter().find(|(prefix, ..)| line.starts_with(prefix));
    found.map(|(_, what, is_of_one_line)| (what, is_of_one_line))
}

/// The SSH key that the whole text is; none where it does not begin as one.
fn ssh_identity(name: &str, text: &SecretValue) -> Result<Option<NamedIdentity>, Error> {
    let bytes = text.expose().trim_ascii();
    let begins = [b"-----BEGIN OPENSSH PRIVATE KEY-----".as_slice(), b"-----BEGIN RSA PRIVATE KEY-----"];
    if !begins.iter().any(|begin| bytes.starts_with(begin)) {
        return Ok(None);
    }
    let unsupported = |what| Error::UnsupportedIdentity { name: name.to_owned(), line: 1, what };
    let invalid = || Error::InvalidIdentity { name: name.to_owned(), line: 1 };
    if bytes.len() > MOST_SSH_BYTES {
        return Err(invalid());
    }
    let identity = age::ssh::Identity::from_buffer(text.expose().trim_ascii_start(), None).map_err(|_| invalid())?;
    match &identity {
        age::ssh::Identity::Unencrypted(_) => {}
        age::ssh::Identity::Encrypted(_) => return Err(unsupported("an SSH key with a passphrase")),
        age::ssh::Identity::Unsupported(_) => return Err(unsupported("an SSH key that is neither ed25519 nor RSA")),
    }
    let recipient = age::ssh::Recipient::try_from(identity.clone()).map_err(|_| invalid())?.to_string();
    Ok(Some(NamedIdentity { name: name.to_owned(), recipient, identity: Box::new(identity) }))
}

#[async_trait]
impl KeySource for AgeKeys {
    /// The names given to [`AgeKeys::parse`] with the public recipient: `NAME (age1…)`; of an identity that is passed over
    /// its line and what it is.
    fn names(&self) -> Vec<String> {
        let held = self.identities.iter().map(|identity| format!("{} ({})", identity.name, identity.recipient));
        held.chain(self.passed_over.iter().cloned()).collect()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        let Recipient::Age(recipient) = &master_key.recipient else { return Ok(None) };
        let wanted = age_key(recipient);
        let Some(held) = self.identities.iter().find(|identity| age_key(&identity.recipient) == wanted) else {
            return Ok(None);
        };
        match held.decrypt(&master_key.encrypted) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::DamagedDataKey { recipient: recipient.clone(), held: held.name.clone() }),
        }
    }
}

impl NamedIdentity {
    fn decrypt(&self, armored: &str) -> Option<SecretValue> {
        if armored.len() > MOST_ARMORED_BYTES {
            return None;
        }
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(armored.as_bytes())).ok()?;
        let identity: &dyn age::Identity = &*self.identity;
        let reader = decryptor.decrypt(std::iter::once(identity)).ok()?;
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut key = Zeroizing::new(Vec::with_capacity(MOST_ARMORED_BYTES));
        reader.take(MOST_KEY_BYTES + 1).read_to_end(&mut key).ok()?;
        Some(SecretValue::new(key.to_vec()))
    }
}

/// Encrypts to age recipients: `age1…` (X25519), `ssh-ed25519 …`, `ssh-rsa …` of at least 2,048 bits. Needs no key.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgeRecipients;

#[async_trait]
impl KeyWrapper for AgeRecipients {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, Error> {
        let Recipient::Age(name) = recipient else { return Ok(None) };
        if recipient.is_private() {
            return Err(Error::BadRecipient {
                recipient: recipient.to_string(),
                problem: "it is the private half of a key: name the public half, and take a new key, since this one was written where others read",
            });
        }
        let encrypted = encrypt(name, data_key.expose())
            .map_err(|problem| Error::BadRecipient { recipient: name.clone(), problem })?;
        Ok(Some(Wrapped { recipient: recipient.clone(), encrypted }))
    }
}

fn encrypt(recipient: &str, plain: &[u8]) -> Result<String, &'static str> {
    const FAILED: &str = "age could not encrypt to it";
    let key = age_key(recipient);
    if key.starts_with("ssh-") {
        let recipient: age::ssh::Recipient = key.parse().map_err(
            |_| "it is not the public half of an ssh-ed25519 key, or of an ssh-rsa key with 2,048 to 4,096 bits",
        )?;
        return age::encrypt_and_armor(&recipient, plain).map_err(|_| FAILED);
    }
    if key.starts_with("age1pq1") {
        return Err("post-quantum age recipients are not supported");
    }
    if key.starts_with("age1") && key.matches('1').count() > 1 {
        return Err("age plugins are not supported");
    }
    let recipient: age::x25519::Recipient =
        key.parse().map_err(|_| "it is not an age recipient (age1…), nor an SSH public key")?;
    age::encrypt_and_armor(&recipient, plain).map_err(|_| FAILED)
}
