//! Who a data key is encrypted to, by the kinds of keys that SOPS knows.

use std::collections::BTreeMap;
use std::fmt;

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
    pub(in crate::sops) const ALL: [Self; 7] =
        [Self::Age, Self::AwsKms, Self::GcpKms, Self::AzureKeyVault, Self::VaultTransit, Self::HuaweiKms, Self::Pgp];

    /// The metadata field that lists master keys of this kind.
    pub(in crate::sops) fn field(self) -> &'static str {
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

/// A key of AWS KMS, and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsKmsKey {
    /// The key's ARN, which names its region.
    pub arn: String,
    /// The role to assume first.
    pub role: Option<String>,
    /// The encryption context.
    pub context: BTreeMap<String, String>,
    /// The profile of the user's own configuration.
    pub profile: Option<String>,
}

/// Who a data key is encrypted to. Nothing in it is authenticated where it comes from a file.
///
/// What is shown of it is never the private half of a key, which somebody may have written in the place of the public one.
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// `age1…`, or the public half of an SSH key: `ssh-ed25519 …`, `ssh-rsa …`.
    Age(String),
    /// A key of AWS KMS.
    AwsKms(AwsKmsKey),
    /// A key of Google Cloud KMS.
    GcpKms {
        /// `projects/…/cryptoKeys/…`.
        resource_id: String,
    },
    /// A key in Azure Key Vault.
    AzureKeyVault {
        /// `https://….vault.azure.net`.
        vault_url: String,
        /// The key's name.
        name: String,
        /// The key's version; empty until the key is used, for the newest.
        version: String,
    },
    /// A key of HashiCorp Vault's transit engine.
    VaultTransit {
        /// The server, with scheme and port.
        address: String,
        /// Where the engine is mounted.
        engine_path: String,
        /// The key's name.
        key_name: String,
    },
    /// A key of Huawei Cloud KMS.
    HuaweiKms {
        /// `region:uuid`.
        key_id: String,
    },
    /// An OpenPGP key.
    Pgp {
        /// Its fingerprint.
        fingerprint: String,
    },
}

impl Recipient {
    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> MasterKeyKind {
        match self {
            Self::Age(_) => MasterKeyKind::Age,
            Self::AwsKms(_) => MasterKeyKind::AwsKms,
            Self::GcpKms { .. } => MasterKeyKind::GcpKms,
            Self::AzureKeyVault { .. } => MasterKeyKind::AzureKeyVault,
            Self::VaultTransit { .. } => MasterKeyKind::VaultTransit,
            Self::HuaweiKms { .. } => MasterKeyKind::HuaweiKms,
            Self::Pgp { .. } => MasterKeyKind::Pgp,
        }
    }

    /// Whether both are the same key: apart from capitals, the comment of an SSH key, and a version that was not chosen.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        if let (Self::Age(one), Self::Age(other)) = (self, other) {
            return age_key(one) == age_key(other);
        }
        if let (Self::Pgp { fingerprint: one }, Self::Pgp { fingerprint: other }) = (self, other) {
            return one.eq_ignore_ascii_case(other);
        }
        if let Self::AzureKeyVault { vault_url, name, version } = self
            && let Self::AzureKeyVault { vault_url: other_url, name: other_name, version: other_version } = other
        {
            let any_version = version.is_empty() || other_version.is_empty();
            return vault_url.trim_end_matches('/') == other_url.trim_end_matches('/')
                && name == other_name
                && (any_version || version == other_version);
        }
        self == other
    }
}

/// An age recipient as it is compared: Bech32 may be written in capitals, an SSH key ends in a comment.
pub(super) fn age_key(recipient: &str) -> String {
    let recipient = recipient.trim();
    if recipient.starts_with("ssh-") {
        return recipient.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ");
    }
    recipient.to_ascii_lowercase()
}

impl Recipient {
    /// Whether someone took the wrong half of a key pair.
    pub(super) fn is_private(&self) -> bool {
        const BEGINNINGS: [&str; 3] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "-----BEGIN"];
        let text = self.text().trim().to_ascii_uppercase();
        match self {
            // No public half holds these words, wherever they stand.
            Self::Age(_) => BEGINNINGS.into_iter().chain(["PRIVATE KEY"]).any(|words| text.contains(words)),
            // The name of a key may.
            Self::AwsKms(_)
            | Self::GcpKms { .. }
            | Self::AzureKeyVault { .. }
            | Self::VaultTransit { .. }
            | Self::HuaweiKms { .. }
            | Self::Pgp { .. } => BEGINNINGS.into_iter().any(|words| text.starts_with(words)),
        }
    }

    /// How the key is called, whatever that is.
    fn text(&self) -> String {
        match self {
            Self::Age(recipient) => recipient.clone(),
            Self::AwsKms(AwsKmsKey { arn, role: _, context: _, profile: _ }) => arn.clone(),
            Self::GcpKms { resource_id } => resource_id.clone(),
            Self::AzureKeyVault { vault_url, name, version } => {
                format!("{}/keys/{name}/{version}", vault_url.trim_end_matches('/'))
            }
            Self::VaultTransit { address, engine_path, key_name } => {
                format!("{}/v1/{engine_path}/keys/{key_name}", address.trim_end_matches('/'))
            }
            Self::HuaweiKms { key_id } => key_id.clone(),
            Self::Pgp { fingerprint } => fingerprint.clone(),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_private() {
            return formatter.write_str("(a private key, not shown)");
        }
        formatter.write_str(&self.text())
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // How it is reached is part of what it is.
            Self::AwsKms(key) if !self.is_private() => fmt::Debug::fmt(key, formatter),
            Self::Age(_)
            | Self::AwsKms(_)
            | Self::GcpKms { .. }
            | Self::AzureKeyVault { .. }
            | Self::VaultTransit { .. }
            | Self::HuaweiKms { .. }
            | Self::Pgp { .. } => write!(formatter, "{:?}({self})", self.kind()),
        }
    }
}
