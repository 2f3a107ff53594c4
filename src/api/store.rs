//! `Store` and `ClusterStore`: where values live, and how the operator reaches them.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::StoreStatus;

/// A store of one namespace. Its credentials, sources and CAs are objects of the same namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "secrets.atmos.tools",
    version = "v1alpha1",
    kind = "Store",
    plural = "stores",
    category = "atmos",
    namespaced,
    status = "StoreStatus",
    derive = "PartialEq",
    doc = "A Store says where values live and how the operator reaches them. Who may write a Store can use every Secret of its namespace.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Users",
        type_ = "integer",
        json_path = ".status.users",
        priority = 1,
        description = "How many Stacks use it"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.awsSecretsManager), has(self.awsSsm), has(self.vault), has(self.azureKeyVault), has(self.gcpSecretManager), has(self.sops), has(self.kubernetes)].filter(set, set).size() == 1").message("set exactly one of awsSecretsManager, awsSsm, vault, azureKeyVault, gcpSecretManager, sops, kubernetes"),
    validation = Rule::new("!has(self.awsSecretsManager) || !has(self.awsSecretsManager.auth) || !has(self.awsSecretsManager.auth.ambient)").message("auth.ambient exists only in a ClusterStore: a Store names its own credentials"),
    validation = Rule::new("!has(self.awsSsm) || !has(self.awsSsm.auth) || !has(self.awsSsm.auth.ambient)").message("auth.ambient exists only in a ClusterStore: a Store names its own credentials"),
    validation = Rule::new("!has(self.sops) || !has(self.sops.awsKms) || !has(self.sops.awsKms.auth) || !has(self.sops.awsKms.auth.ambient)").message("auth.ambient exists only in a ClusterStore: a Store names its own credentials")
)]
pub struct StoreSpec {
    /// What every kind of store has, and exactly one provider.
    #[serde(flatten)]
    pub common: Connection,
    /// Values live in Secrets of this namespace, labelled `secrets.atmos.tools/values: "true"`: the embedded store for
    /// quickstarts and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// A store that the cluster's administrators offer to chosen namespaces. Its credentials, sources and CAs are objects of
/// the operator's namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "secrets.atmos.tools",
    version = "v1alpha1",
    kind = "ClusterStore",
    plural = "clusterstores",
    category = "atmos",
    status = "StoreStatus",
    derive = "PartialEq",
    doc = "A ClusterStore is a store that the cluster's administrators offer to chosen namespaces. A Stack reaches it only through an alias.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Users",
        type_ = "integer",
        json_path = ".status.users",
        priority = 1,
        description = "How many Stacks use it"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.awsSecretsManager), has(self.awsSsm), has(self.vault), has(self.azureKeyVault), has(self.gcpSecretManager), has(self.sops)].filter(set, set).size() == 1").message("set exactly one of awsSecretsManager, awsSsm, vault, azureKeyVault, gcpSecretManager, sops"),
    validation = Rule::new("(has(self.shared) && self.shared) || (has(self.prefix) && self.prefix.split('/').exists(segment, segment == '{namespace}'))").message("prefix must contain {namespace} as one whole segment, or set shared: true to let all allowed namespaces see the same values").field_path(".prefix"),
    validation = Rule::new("!has(self.prefix) || self.prefix.split('/').all(segment, segment == '{namespace}' || !segment.contains('{namespace}'))").message("{namespace} must be one whole segment of prefix, between '/'").field_path(".prefix"),
    validation = Rule::new("!(has(self.azureKeyVault) || has(self.gcpSecretManager)) || !has(self.prefix) || !self.prefix.contains('{namespace}')").message("{namespace} is refused for azureKeyVault and gcpSecretManager: their keys cannot keep segments apart; set shared: true, or use one Store per namespace").field_path(".prefix")
)]
pub struct ClusterStoreSpec {
    /// The namespaces whose Stacks may use this store. Empty admits nobody.
    pub allowed_namespaces: AllowedNamespaces,
    /// `true`: all allowed namespaces see the same values, and `prefix` needs no `{namespace}`. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// What every kind of store has, and exactly one provider.
    #[serde(flatten)]
    pub common: Connection,
}

/// The namespaces that may use a ClusterStore: those named, and those whose labels match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[schemars(
        length(max = 1024),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels that a namespace must carry, all of them. An empty selector admits nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels and their values; all must match.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, super::stack::LabelValue>,
}

/// What every kind of store has, and the providers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Put before every key. Default: as in Atmos, empty, but `atmos` for kubernetes. In a ClusterStore `{namespace}`
    /// stands for the consuming Stack's namespace and must be a whole segment.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Splits the Atmos stack name into segments of the key. Default: `-`, for vault `/`.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_delimiter: Option<String>,
    /// `atmos` (default): values as the Atmos CLI stores them. `raw`: byte for byte. sops and kubernetes are always byte
    /// for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Limit for one call to the store: `1s` to `5m`. Default: `10s`.
    #[schemars(length(min = 2, max = 32), regex(pattern = super::rules::DURATION))]
    #[x_kube(validation = super::rules::duration_between("", "1s", "5m", "timeout must be between 1s and 5m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// The shortest interval at which this store is read, whatever the Stacks ask for. Default: `1m`.
    #[schemars(length(min = 2, max = 32), regex(pattern = super::rules::DURATION))]
    #[x_kube(validation = super::rules::duration_between("", "10s", "720h", "minRefreshInterval must be between 10s and 720h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_refresh_interval: Option<String>,
    /// How fast the store may be asked. Default: per kind, below the vendor's quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// AWS Secrets Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_secrets_manager: Option<AwsSecretsManager>,
    /// AWS Systems Manager Parameter Store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_ssm: Option<AwsSsm>,
    /// HashiCorp Vault, KV version 1 or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vault>,
    /// Azure Key Vault secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_key_vault: Option<AzureKeyVault>,
    /// Google Cloud Secret Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp_secret_manager: Option<GcpSecretManager>,
    /// SOPS files held in ConfigMaps or Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sops: Option<Sops>,
}

/// How values are stored as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As the Atmos CLI stores them.
    #[default]
    Atmos,
    /// Byte for byte.
    Raw,
}

/// How fast a store may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Calls per second.
    #[schemars(range(min = 1, max = 10000))]
    pub per_second: u32,
}

/// AWS Secrets Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecretsManager {
    /// The region, such as `us-east-1`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// A custom endpoint (https), if the operator's allow-list has its host. Default: derived from the region.
    #[schemars(length(max = 512), regex(pattern = r"^https?://"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The KMS key for secrets that are created. Default: the account's.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Tags for secrets that are created.
    #[schemars(extend("maxProperties" = 50))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagValue>,
    /// Regions to read from while the first does not answer, in order.
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replica_regions: Vec<String>,
    /// The credentials.
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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, TagValue>,
    /// `true` also reads parameters of type String. Default: `false`, only SecureString.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_plaintext_source: Option<bool>,
    /// The credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// The tier of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
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

/// A token of a ServiceAccount, requested for an audience.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// The ServiceAccount.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The audience. Default: the provider's own.
    #[schemars(length(min = 1, max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
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
    /// The certificate authority. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateAuthority>,
    /// The login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<VaultAuth>,
}

/// PEM certificates in a ConfigMap or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.secret)").message("set exactly one of configMap, secret"))]
pub struct CertificateAuthority {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The key in it. Default: `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
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

/// Azure Key Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureKeyVault {
    /// The vault's address, such as `https://NAME.vault.azure.net`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://"))]
    pub vault_url: String,
    /// The credentials.
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
    /// A managed identity.
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
    /// The credentials.
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
    /// The full name of the workload identity provider, which is also the token's audience.
    #[schemars(length(min = 1, max = 512))]
    pub provider: String,
    /// The Google service account to act as. Default: the federated identity itself.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_email: Option<String>,
    /// Whose token is presented.
    pub service_account: ServiceAccountToken,
}

/// SOPS files held in ConfigMaps or Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sops {
    /// The objects whose keys are the files.
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
    /// The credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// Google Cloud KMS for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsGcpKms {
    /// The credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GcpAuth>,
}

/// Azure Key Vault keys for SOPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SopsAzureKeyVault {
    /// The credentials.
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
    /// The certificate authority. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateAuthority>,
    /// The login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<VaultAuth>,
}

/// Values in Secrets of this namespace, laid out like SOPS files: one Secret per scope, `<prefix>.<stack>.<component>`,
/// `<prefix>.<stack>` or `<prefix>`; its keys are the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Kubernetes {}
