//! SOPS files in ConfigMaps or Secrets, and what opens them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::aws::AwsAuth;
use super::azure::AzureAuth;
use super::gcp::GcpAuth;
use super::reference::{CertificateAuthority, SecretKey};
use super::vault::VaultAuth;

/// SOPS files held in ConfigMaps or Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sops {
    /// The objects whose keys are the files: exactly one of `configMaps` and `secrets`. Their keys are one union; a name in
    /// two of them is an error.
    pub source: SopsSource,
    /// The file's name as a template over `{{ atmos_stack }}` and `{{ atmos_component }}`. Default: `<stack>.enc.yaml`,
    /// `<stack>.<component>.enc.yaml`, `global.enc.yaml`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// age identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<SopsAge>,
    /// AWS KMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_kms: Option<SopsAwsKms>,
    /// Google Cloud KMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp_kms: Option<SopsGcpKms>,
    /// Azure Key Vault keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_key_vault: Option<SopsAzureKeyVault>,
    /// Vault transit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_transit: Option<SopsVaultTransit>,
    /// Recipients that a file may have; a file with another one is refused. Default: any.
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_recipients: Vec<String>,
}

/// The objects whose keys are SOPS files: exactly one kind. Their keys are one union; a name in two of them is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct SopsSource {
    /// Names of ConfigMaps.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<String>,
    /// Names of Secrets.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// age identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsAge {
    /// Keys of Secrets with identities (`AGE-SECRET-KEY-1…`, one per line); all are tried.
    #[schemars(length(min = 1, max = 16))]
    pub keys: Vec<SecretKey>,
}

/// AWS KMS for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsAwsKms {
    /// The credentials: exactly one of `secret`, `serviceAccount` and `ambient` (ClusterStore only), with `assumeRole` on
    /// top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// Google Cloud KMS for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsGcpKms {
    /// The credentials: exactly one of `workloadIdentity` and `serviceAccountKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GcpAuth>,
}

/// Azure Key Vault keys for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsAzureKeyVault {
    /// The credentials: exactly one of `workloadIdentity`, `managedIdentity` and `clientSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AzureAuth>,
}

/// Vault transit for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsVaultTransit {
    /// The address (https), if the operator's allow-list has its host.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://"))]
    pub address: String,
    /// The namespace of Vault Enterprise.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The certificate authority: exactly one of `configMap` and `secret`. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateAuthority>,
    /// The login: exactly one of `token`, `kubernetes`, `approle` and `jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<VaultAuth>,
}
