//! Google Cloud Secret Manager and its credentials.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::reference::{SecretKey, ServiceAccountToken};

/// Google Cloud Secret Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpSecretManager {
    /// The project.
    #[schemars(length(min = 1, max = 64))]
    pub project_id: String,
    /// Regions for secrets that are created. Default: automatic replication.
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// A custom endpoint (https), if the operator's allow-list has its host.
    #[schemars(length(max = 512), regex(pattern = r"^https?://"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The credentials: exactly one of `workloadIdentity` and `serviceAccountKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GcpAuth>,
}

/// Google Cloud credentials: exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct GcpAuth {
    /// Workload identity federation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<GcpWorkloadIdentity>,
    /// A service-account key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_key: Option<SecretKey>,
}

/// Workload identity federation of Google Cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcpWorkloadIdentity {
    /// The full name of the workload identity provider (`projects/…/providers/…`), or the one that a GKE cluster has
    /// (`identitynamespace:…`). The token's audience follows from it.
    #[schemars(length(min = 1, max = 512))]
    pub provider: String,
    /// The Google service account to act as. Default: the federated identity itself.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_email: Option<String>,
    /// Whose token is presented.
    pub service_account: ServiceAccountToken,
}
