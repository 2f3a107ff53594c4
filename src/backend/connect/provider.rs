//! What kind a store is of, and what follows from that alone.

use super::invalid;
use crate::api::store::{self, Connection};
use crate::backend::Error;

/// The kind of a store, with its part of the spec.
#[derive(Clone, Copy)]
pub(super) enum Provider<'a> {
    Kubernetes,
    Sops(&'a store::Sops),
    AwsSecretsManager(&'a store::AwsSecretsManager),
    AwsSsm(&'a store::AwsSsm),
    Vault(&'a store::Vault),
    AzureKeyVault(&'a store::AzureKeyVault),
    GcpSecretManager(&'a store::GcpSecretManager),
}

impl Provider<'_> {
    /// Its field in the spec.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Sops(_) => "sops",
            Self::AwsSecretsManager(_) => "awsSecretsManager",
            Self::AwsSsm(_) => "awsSsm",
            Self::Vault(_) => "vault",
            Self::AzureKeyVault(_) => "azureKeyVault",
            Self::GcpSecretManager(_) => "gcpSecretManager",
        }
    }

    /// Calls a second, well below the quota that the vendor gives a whole account or vault by default. `None` where objects
    /// of the cluster are read: the API server paces itself. What holds the keys of SOPS files has neither pace nor breaker:
    /// a data key that it opened is kept for an hour, however often its file is read.
    ///
    /// Sources: AWS Secrets Manager quotas (`BatchGetSecretValue` 100/s), AWS Systems Manager quotas (`GetParameters`
    /// 40/s), Key Vault service limits (4,000 requests in 10 s for each vault), Secret Manager quotas (90,000 access
    /// requests a minute for each project). Vault has none by default.
    pub(super) fn default_rate(self) -> Option<u32> {
        match self {
            Self::Kubernetes | Self::Sops(_) => None,
            Self::AwsSecretsManager(_) => Some(50),
            Self::AwsSsm(_) => Some(20),
            Self::Vault(_) | Self::AzureKeyVault(_) => Some(100),
            Self::GcpSecretManager(_) => Some(200),
        }
    }

    /// How many keys the service takes in one read of values: the limits of `BatchGetSecretValue` and `GetParameters`; the
    /// others read one by one.
    pub(super) fn keys_in_one_read(self) -> usize {
        match self {
            Self::AwsSecretsManager(_) => 20,
            Self::AwsSsm(_) => 10,
            Self::Vault(_) | Self::AzureKeyVault(_) | Self::GcpSecretManager(_) | Self::Kubernetes | Self::Sops(_) => 1,
        }
    }

    /// Whether reading asks a service outside the cluster: the store itself, or one that holds the keys of its files.
    pub(super) fn is_outside(self) -> bool {
        match self {
            Self::Kubernetes => false,
            Self::Sops(spec) => {
                let store::Sops {
                    source: _,
                    file: _,
                    age: _,
                    aws_kms,
                    gcp_kms,
                    azure_key_vault,
                    vault_transit,
                    allowed_recipients: _,
                } = spec;
                aws_kms.is_some() || gcp_kms.is_some() || azure_key_vault.is_some() || vault_transit.is_some()
            }
            Self::AwsSecretsManager(_)
            | Self::AwsSsm(_)
            | Self::Vault(_)
            | Self::AzureKeyVault(_)
            | Self::GcpSecretManager(_) => true,
        }
    }
}

/// The one provider that a store names.
pub(super) fn provider(connection: &Connection, kubernetes: bool) -> Result<Provider<'_>, Error> {
    let Connection {
        // How keys and values look is the business of the model.
        prefix: _,
        stack_delimiter: _,
        encoding: _,
        min_refresh_interval: _,
        timeout: _,
        rate_limit: _,
        aws_secrets_manager,
        aws_ssm,
        vault,
        azure_key_vault,
        gcp_secret_manager,
        sops,
    } = connection;
    let candidates = [
        kubernetes.then_some(Provider::Kubernetes),
        sops.as_ref().map(Provider::Sops),
        aws_secrets_manager.as_ref().map(Provider::AwsSecretsManager),
        aws_ssm.as_ref().map(Provider::AwsSsm),
        vault.as_ref().map(Provider::Vault),
        azure_key_vault.as_ref().map(Provider::AzureKeyVault),
        gcp_secret_manager.as_ref().map(Provider::GcpSecretManager),
    ];
    let mut named = candidates.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(provider), None) => Ok(provider),
        (None, _) => Err(invalid("the store names no provider: set exactly one")),
        (Some(one), Some(other)) => {
            Err(invalid(format!("the store names {} and {}: set exactly one provider", one.kind(), other.kind())))
        }
    }
}

/// The field of the spec that names the provider, such as `sops`; `None` unless it is exactly one.
#[must_use]
pub fn kind(connection: &Connection, kubernetes: bool) -> Option<&'static str> {
    provider(connection, kubernetes).ok().map(Provider::kind)
}
