//! `Store` and `ClusterStore`: where values live, and how the operator reaches them.

#![expect(clippy::duplicated_attributes, reason = "columns of one type, and rules of one shape, repeat their parts")]

mod aws;
mod azure;
mod gcp;
mod reference;
mod sops;
mod vault;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::StoreStatus;

pub use aws::{Ambient, AssumeRole, AwsAuth, AwsKeys, AwsSecretsManager, AwsSsm, SsmTier, TagValue};
pub use azure::{AzureAuth, AzureClientSecret, AzureKeyVault, AzureManagedIdentity, AzureWorkloadIdentity};
pub use gcp::{GcpAuth, GcpSecretManager, GcpWorkloadIdentity};
pub use reference::{CertificateAuthority, SecretKey, ServiceAccountToken};
pub use sops::{Sops, SopsAge, SopsAwsKms, SopsAzureKeyVault, SopsGcpKms, SopsSource, SopsVaultTransit};
pub use vault::{Vault, VaultAppRole, VaultAuth, VaultRole};

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
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True when the store answers with the credentials given"
    ),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind", description = "The kind of store"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "One word that says why"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The time since its creation"
    ),
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
        priority = 1,
        description = "Why, and what to do"
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
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "True when the store answers with the credentials given"
    ),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind", description = "The kind of store"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "One word that says why"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The time since its creation"
    ),
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
        priority = 1,
        description = "Why, and what to do"
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
    #[serde(deserialize_with = "super::null::empty")]
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
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels and their values; all must match.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
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
    /// How fast the store may be asked; for stores outside the cluster, so not for `sops` and `kubernetes`. Default: per kind,
    /// below the vendor's quota.
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

/// Values in Secrets of this namespace, laid out like SOPS files: one Secret per scope, `<prefix>.<stack>.<component>`,
/// `<prefix>.<stack>` or `<prefix>`; its keys are the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Kubernetes {}
