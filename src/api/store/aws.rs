//! AWS: Secrets Manager, Parameter Store and the credentials of both.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::ServiceAccountToken;

/// AWS Secrets Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecretsManager {
    /// The region, such as `us-east-1`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// A custom endpoint (https), if the operator's allow-list has its host; `{region}` in it stands for the region that
    /// is asked. Default: derived from the region.
    #[schemars(length(max = 512), regex(pattern = r"^https?://"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The KMS key for secrets that are created. Default: the account's.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Tags for secrets that are created.
    #[schemars(extend("maxProperties" = 50))]
    #[serde(default, deserialize_with = "crate::api::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagValue>,
    /// Regions to read from while the first does not answer, in order.
    #[schemars(length(max = 16), inner(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$")))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replica_regions: Vec<String>,
    /// The credentials: exactly one of `secret`, `serviceAccount` and `ambient` (ClusterStore only), with `assumeRole` on
    /// top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// AWS Systems Manager Parameter Store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSsm {
    /// The region, such as `us-east-1`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// A custom endpoint (https), if the operator's allow-list has its host. Default: derived from the region.
    #[schemars(length(max = 512), regex(pattern = r"^https?://"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The KMS key for parameters that are created. Default: the account's.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// The tier of parameters that are created: `Standard` (values up to 4 KiB), `Advanced` (up to 8 KiB) or
    /// `Intelligent-Tiering` (AWS chooses). Default: the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<SsmTier>,
    /// Tags for parameters that are created.
    #[schemars(extend("maxProperties" = 50))]
    #[serde(default, deserialize_with = "crate::api::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagValue>,
    /// `true` also reads parameters of type String. Default: `false`, only SecureString.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_source: Option<bool>,
    /// The credentials: exactly one of `secret`, `serviceAccount` and `ambient` (ClusterStore only), with `assumeRole` on
    /// top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// The tier of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::api::schema::leave_description_to_the_field)]
pub enum SsmTier {
    /// Values up to 4 KiB.
    Standard,
    /// Values up to 8 KiB.
    Advanced,
    /// AWS chooses.
    #[serde(rename = "Intelligent-Tiering")]
    IntelligentTiering,
}

/// The value of a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TagValue(#[schemars(length(max = 256))] pub String);

/// AWS credentials: one of `secret`, `serviceAccount` and `ambient`, and a chain of roles on top.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secret), has(self.serviceAccount), has(self.ambient)].filter(set, set).size() == 1").message("set exactly one of secret, serviceAccount, ambient"))]
pub struct AwsAuth {
    /// Static keys in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<AwsKeys>,
    /// A web identity token of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountToken>,
    /// The operator's own credentials; only in a ClusterStore, and only if the operator was started with
    /// `--allow-ambient-credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambient: Option<Ambient>,
    /// Roles assumed one after the other.
    #[schemars(length(max = 4))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assume_role: Vec<AssumeRole>,
}

/// The operator's own credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Ambient {}

/// Static AWS keys in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsKeys {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key with the access key id. Default: `accessKeyId`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id_key: Option<String>,
    /// Its key with the secret access key. Default: `secretAccessKey`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_key: Option<String>,
    /// Its key with the session token. Default: none.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_key: Option<String>,
}

/// A role to assume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// The role's ARN.
    #[schemars(length(min = 20, max = 2048))]
    pub role_arn: String,
    /// The external id that the role's trust policy asks for.
    #[schemars(length(min = 2, max = 1224))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The session name. Default: namespace and name of the Store.
    #[schemars(length(min = 2, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
}
