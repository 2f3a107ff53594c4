//! Azure Key Vault and its credentials.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::reference::{SecretKey, ServiceAccountToken};

/// Azure Key Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureKeyVault {
    /// The vault's address, such as `https://NAME.vault.azure.net`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://"))]
    pub vault_url: String,
    /// The credentials: exactly one of `workloadIdentity`, `managedIdentity` and `clientSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AzureAuth>,
}

/// Azure credentials: exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct AzureAuth {
    /// Workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<AzureWorkloadIdentity>,
    /// A managed identity of the machine that the operator runs on: only in a ClusterStore, and only if the operator was
    /// started with `--allow-ambient-credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<AzureManagedIdentity>,
    /// A client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<AzureClientSecret>,
}

/// Azure workload identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureWorkloadIdentity {
    /// The tenant.
    #[schemars(length(min = 1, max = 64))]
    pub tenant_id: String,
    /// The client.
    #[schemars(length(min = 1, max = 64))]
    pub client_id: String,
    /// Whose token is presented.
    pub service_account: ServiceAccountToken,
}

/// An Azure managed identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureManagedIdentity {
    /// The client. Default: the system-assigned identity.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// An Azure client secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureClientSecret {
    /// The tenant.
    #[schemars(length(min = 1, max = 64))]
    pub tenant_id: String,
    /// The client.
    #[schemars(length(min = 1, max = 64))]
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretKey,
}
