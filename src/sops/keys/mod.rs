//! Where data keys come from and go to: the master keys that a file lists, the sources that open them, the wrappers that
//! encrypt to them.

mod age;
mod groups;
mod recipient;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::age::{AgeKeys, AgeRecipients};
pub use self::groups::{KeyChanges, KeyGroups};
pub(super) use self::groups::{KeyUpdate, WrappedGroups, wrap};
pub use self::recipient::{AwsKmsKey, MasterKeyKind, Recipient};
use super::error::Error;
use super::metadata::{Listed, Metadata};
use super::shamir;
use crate::value::SecretValue;

/// One master key of a file, with the data key (or a share of it) encrypted to it.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// Who it is. Not authenticated.
    pub recipient: Recipient,
    /// The encrypted data key as the file holds it, empty where the file has none: armored for age and PGP, base64 for
    /// AWS and GCP, and so on.
    pub encrypted: String,
}

/// Something that opens master keys: a set of age identities, a KMS with credentials.
///
/// Guarantees that implementations give:
/// 1. `open` answers `Ok(None)`, at once and without a call, for a master key that is not theirs.
/// 2. `open` answers with exactly what was encrypted, or an error; never with a guess.
/// 3. No name and no error holds key material.
/// 4. A call that is dropped leaves the source usable.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The names of the keys held, for messages: how the user knows them, never the keys.
    fn names(&self) -> Vec<String>;

    /// Decrypts the data key (or share) of `master_key`; none where this source does not hold that key.
    ///
    /// # Errors
    /// The key is held but cannot be used, or the entry is damaged. The next master key of the group is tried then; the
    /// first error is reported if none opens.
    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error>;
}

/// Something that encrypts data keys to recipients: age, a KMS with credentials.
///
/// Guarantees that implementations give:
/// 1. `wrap` answers `Ok(None)`, at once and without a call, for a recipient of a kind that is not theirs.
/// 2. What it answers is complete: a recipient without a version comes back with the one that was used.
/// 3. No error holds key material.
#[async_trait]
pub trait KeyWrapper: Send + Sync {
    /// Encrypts `data_key` (or a share of one) to `recipient`; none where this wrapper does not serve that kind.
    ///
    /// # Errors
    /// The recipient is not valid, or its service cannot be used.
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, Error>;
}

/// An encrypted data key.
#[derive(Clone, Debug)]
pub struct Wrapped {
    /// To whom it is encrypted, complete.
    pub recipient: Recipient,
    /// What the file holds as `enc`.
    pub encrypted: String,
}

/// Keys that are shared are the keys that they are.
#[async_trait]
impl<K: KeySource + ?Sized> KeySource for Arc<K> {
    fn names(&self) -> Vec<String> {
        (**self).names()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        (**self).open(master_key).await
    }
}

#[async_trait]
impl<K: KeyWrapper + ?Sized> KeyWrapper for Arc<K> {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, Error> {
        (**self).wrap(recipient, data_key).await
    }
}

/// Several sources are one: each is asked in turn.
#[async_trait]
impl KeySource for Vec<Box<dyn KeySource>> {
    fn names(&self) -> Vec<String> {
        self.iter().flat_map(|source| source.names()).collect()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        let mut first_error = None;
        for source in self {
            match source.open(master_key).await {
                Ok(Some(key)) => return Ok(Some(key)),
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(None), Err)
    }
}

/// Several wrappers are one: the first that serves the kind.
#[async_trait]
impl KeyWrapper for Vec<Box<dyn KeyWrapper>> {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, Error> {
        for wrapper in self {
            if let Some(wrapped) = wrapper.wrap(recipient, data_key).await? {
                return Ok(Some(wrapped));
            }
        }
        Ok(None)
    }
}

/// Master keys of one file that may fail before the rest is left alone. Each may cost a call and its timeout, and a crafted
/// file lists a thousand; real ones have a handful, of which some are of accounts that are not ours.
const MOST_FAILURES: usize = 50;

/// The data key of a file. A key that failed is not asked again for the same group: all its entries open the same thing.
///
/// # Errors
/// [`Error::NoMatchingKey`], or the first error of a source where that kept the file shut.
pub(super) async fn data_key(metadata: &Metadata, keys: &dyn KeySource) -> Result<SecretValue, Error> {
    let mut shares = Vec::new();
    let mut first_error = None;
    let mut failures_left = MOST_FAILURES;
    for group in &metadata.groups {
        let mut failed: Vec<&Recipient> = Vec::new();
        for Listed { key, entry: _ } in group {
            if failures_left == 0 || failed.iter().any(|other| other.is_same_key(&key.recipient)) {
                continue;
            }
            match keys.open(key).await {
                Ok(Some(share)) => {
                    shares.push(share);
                    break;
                }
                Ok(None) => {}
                Err(error) => {
                    first_error = first_error.or(Some(error));
                    failed.push(&key.recipient);
                    failures_left -= 1;
                }
            }
        }
        if shares.len() == metadata.threshold {
            break;
        }
    }
    let unsupported = |listed: &Listed| match listed.key.recipient.kind() {
        MasterKeyKind::Pgp | MasterKeyKind::HuaweiKms => true,
        MasterKeyKind::Age
        | MasterKeyKind::AwsKms
        | MasterKeyKind::GcpKms
        | MasterKeyKind::AzureKeyVault
        | MasterKeyKind::VaultTransit => false,
    };
    if shares.len() < metadata.threshold && metadata.groups.iter().flatten().all(unsupported) {
        return Err(Error::UnsupportedKeys { recipients: metadata.recipients() });
    }
    if shares.len() < metadata.threshold {
        return Err(first_error.unwrap_or_else(|| Error::NoMatchingKey {
            recipients: metadata.recipients(),
            held: keys.names(),
            opened: shares.len(),
            needed: metadata.threshold,
        }));
    }
    if metadata.groups.len() > 1 {
        return shamir::join(&shares).ok_or(Error::BadMetadata {
            field: "key_groups".to_owned(),
            problem: "holds shares of a data key that do not fit together",
        });
    }
    shares.pop().ok_or(Error::BadMetadata { field: "key_groups".to_owned(), problem: "is empty" })
}

impl Metadata {
    /// The recipients of every group, in order, each once.
    pub(super) fn recipients(&self) -> Vec<String> {
        let mut recipients: Vec<String> = Vec::new();
        for listed in self.groups.iter().flatten() {
            let name = listed.key.recipient.to_string();
            if !recipients.contains(&name) {
                recipients.push(name);
            }
        }
        recipients
    }
}
