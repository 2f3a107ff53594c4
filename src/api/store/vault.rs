//! HashiCorp Vault and its logins.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::reference::{CertificateAuthority, SecretKey, ServiceAccountToken};

/// HashiCorp Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// The address (https), if the operator's allow-list has its host.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://"))]
    pub address: String,
    /// The namespace of Vault Enterprise.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The mount of the KV engine, such as `secret`.
    #[schemars(length(min = 1, max = 512))]
    pub mount: String,
    /// `1` or `2`. Default: `2`.
    #[schemars(range(min = 1, max = 2))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_version: Option<u8>,
    /// The certificate authority: exactly one of `configMap` and `secret`. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateAuthority>,
    /// The login: exactly one of `token`, `kubernetes`, `approle` and `jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<VaultAuth>,
}

/// A login to Vault: exactly one method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct VaultAuth {
    /// A token in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretKey>,
    /// The Kubernetes method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<VaultRole>,
    /// The AppRole method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approle: Option<VaultAppRole>,
    /// The JWT method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<VaultRole>,
}

/// A role that a ServiceAccount logs in to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultRole {
    /// The mount of the method. Default: `kubernetes` or `jwt`.
    #[schemars(length(min = 1, max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The role.
    #[schemars(length(min = 1, max = 512))]
    pub role: String,
    /// Whose token is presented.
    pub service_account: ServiceAccountToken,
}

/// An AppRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAppRole {
    /// The mount of the method. Default: `approle`.
    #[schemars(length(min = 1, max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The role id.
    #[schemars(length(min = 1, max = 512))]
    pub role_id: String,
    /// The secret id.
    pub secret_id: SecretKey,
}
