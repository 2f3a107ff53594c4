//! Where data keys come from: the master keys that a file lists, and the sources that can open them.

mod age;

use async_trait::async_trait;

pub use self::age::AgeKeys;
use super::error::Error;
use super::metadata::Metadata;
use super::shamir;
use crate::value::SecretValue;

/// The kinds of master keys that SOPS 3.13 writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKeyKind {
    /// An age recipient.
    Age,
    /// A key of AWS KMS.
    AwsKms,
    /// A key of Google Cloud KMS.
    GcpKms,
    /// A key in Azure Key Vault.
    AzureKeyVault,
    /// A key of HashiCorp Vault's transit engine.
    VaultTransit,
    /// A key of Huawei Cloud KMS.
    HuaweiKms,
    /// An OpenPGP key.
    Pgp,
}

impl MasterKeyKind {
    /// Every kind, in the order in which they are tried: what opens without a call comes first.
    pub(super) const ALL: [Self; 7] =
        [Self::Age, Self::AwsKms, Self::GcpKms, Self::AzureKeyVault, Self::VaultTransit, Self::HuaweiKms, Self::Pgp];

    /// The metadata field that lists master keys of this kind.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::AwsKms => "kms",
            Self::GcpKms => "gcp_kms",
            Self::AzureKeyVault => "azure_kv",
            Self::VaultTransit => "hc_vault",
            Self::HuaweiKms => "hckms",
            Self::Pgp => "pgp",
        }
    }
}

/// One master key of a file, with the data key (or a share of it) encrypted to it.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// What kind of key it is.
    pub kind: MasterKeyKind,
    /// Who it is: the age recipient, the ARN, the resource id, the key's URL, the fingerprint. Not authenticated.
    pub recipient: String,
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

/// The data key of a file.
///
/// # Errors
/// [`Error::NoMatchingKey`], or the first error of a source where that kept the file shut.
pub(super) async fn data_key(metadata: &Metadata, keys: &dyn KeySource) -> Result<SecretValue, Error> {
    let mut shares = Vec::new();
    let mut first_error = None;
    for group in &metadata.groups {
        for master_key in group {
            match keys.open(master_key).await {
                Ok(Some(share)) => {
                    shares.push(share);
                    break;
                }
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if shares.len() == metadata.threshold {
            break;
        }
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
        for master_key in self.groups.iter().flatten() {
            if !recipients.contains(&master_key.recipient) {
                recipients.push(master_key.recipient.clone());
            }
        }
        recipients
    }
}
