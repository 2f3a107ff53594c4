//! `Stack`: which secrets the components of one Atmos stack need, where they live, and which Secrets to write.

// Not expected but allowed, since the compiler takes the expectation of dead code for a use of it.
#![allow(dead_code, reason = "the generator of the schema derives from a copy of the spec, which nothing serializes")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::declaration::{ComponentSecrets, StackSecrets};
use super::status::StackStatus;

/// Declares by name the secrets of one Atmos stack. Names live here and in git, values never do.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "secrets.atmos.tools",
    version = "v1alpha1",
    kind = "Stack",
    plural = "stacks",
    shortname = "stk",
    category = "atmos",
    namespaced,
    status = "StackStatus",
    derive = "PartialEq",
    doc = "A Stack declares by name the secrets of one Atmos stack and the Secrets to write them into. Names live here and in git, values never do.",
    validation = Rule::new("(has(self.spec) && has(self.spec.name) ? self.spec.name : self.metadata.name) == (has(oldSelf.spec) && has(oldSelf.spec.name) ? oldSelf.spec.name : oldSelf.metadata.name)").message("spec.name is immutable, also between absent and set: it is part of every coordinate; create another Stack instead").field_path(".spec.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "True when every target equals what the stores hold and every required secret has a value"),
    printcolumn(name = "Initialized", type_ = "string", json_path = ".status.initialized", description = "How many declared secrets have a value"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "One word that says why"),
    printcolumn(name = "Missing", type_ = "string", json_path = ".status.missing", description = "The first required secret without a value, and how many more"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "The time since its creation"),
    printcolumn(name = "Stack", type_ = "string", json_path = ".spec.name", priority = 1, description = "The Atmos stack name, where it differs from the object's name"),
    printcolumn(name = "Stores", type_ = "string", json_path = ".status.stores", priority = 1, description = "The stores in use"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1, description = "Why, and what to do")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct StackSpec {
    /// The Atmos stack name used in coordinates. Default: `metadata.name`. Immutable, also between absent and set.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How often values are read again where the store cannot be watched: `10s` to `720h`, or `0s` for never on its own.
    /// Default: `1h`.
    #[schemars(length(min = 2, max = 32), regex(pattern = super::rules::DURATION))]
    #[x_kube(validation = super::rules::duration_between("self == '0s' || ", "10s", "720h", "refreshInterval must be 0s, or between 10s and 720h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<String>,
    /// `true` stops all reading and writing; what was written stays. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens to a target that somebody edited: `Correct` (default) writes it again, `Report` only says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftPolicy>,
    /// The store of declarations that name none: an alias of `stores`, else the Store of that name in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_store: Option<String>,
    /// Aliases for stores. A name in a declaration that is no alias means the Store of that name in this namespace;
    /// a ClusterStore is reached only through an alias.
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = super::rules::aliases_of_stores())]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<String, StoreAlias>,
    /// Declarations merged in order before what stands here; later ones win.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// Declarations of the stack level, inherited by every component.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub secrets: Option<StackSecrets>,
    /// What targets use for the fields that they leave out.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub target_defaults: Option<TargetDefaults>,
    /// Secrets with the stack-level declarations; the map key is the Secret's name. Default: none.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = super::rules::names_of_targets())]
    #[serde(default, deserialize_with = "super::null::present_entries", skip_serializing_if = "Option::is_none")]
    pub targets: Option<BTreeMap<String, Target>>,
    /// Components by type (`terraform`, `helmfile`, `packer`, `ansible` or any word) and name. A name is unique across
    /// types.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = super::rules::types_of_components())]
    #[serde(default, deserialize_with = "super::null::entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, ComponentsOfType>,
}

// What serde derives is for a spec that is there; an emptied one is null.
impl Serialize for StackSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for StackSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        struct Written(#[serde(with = "StackSpec")] StackSpec);
        super::null::empty(deserializer).map(|Written(spec)| spec)
    }
}

/// The components of one type by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("maxProperties" = 128, "x-kubernetes-validations" = [super::rules::names_of_components()]))]
pub struct ComponentsOfType(#[serde(deserialize_with = "super::null::entries")] pub BTreeMap<String, Component>);

/// What happens to a target that somebody edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum DriftPolicy {
    /// Write it again.
    #[default]
    Correct,
    /// Leave it and say so.
    Report,
}

/// What an alias stands for: exactly one of `store` and `clusterStore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct StoreAlias {
    /// A Store of this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// A ClusterStore whose `allowedNamespaces` admits this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_store: Option<String>,
}

/// One import: exactly one of `catalog` and `stack`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Import {
    /// A Catalog (cluster-scoped).
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// A Stack of this namespace: its declarations, not its targets.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// One component of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Inheritance, as in Atmos.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ComponentMetadata>,
    /// Declarations of this component.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub secrets: Option<ComponentSecrets>,
    /// The Secrets to write; the map key is the Secret's name. Absent: one named `<metadata.name>-<component>` with the
    /// whole effective set. `{}` or null: none, the secrets are only tracked.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = super::rules::names_of_targets())]
    #[serde(default, deserialize_with = "super::null::present_entries", skip_serializing_if = "Option::is_none")]
    pub targets: Option<BTreeMap<String, Target>>,
}

/// Inheritance of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentMetadata {
    /// `abstract`: a base only, never written. Default: `real`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub component_type: Option<ComponentKind>,
    /// `false` is the same as `type: abstract`. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A base, resolved before `inherits`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Bases, merged in order; later ones win.
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<String>,
}

/// Whether a component is written or only a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// A base only.
    Abstract,
    /// Written.
    #[default]
    Real,
}

/// Which declarations a target holds when it lists no `keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum Inherit {
    /// The whole effective set, as Atmos gives it to the component.
    #[default]
    All,
    /// Only what the component or its bases declare.
    Own,
}

/// What happens to a target when its Stack is deleted or names it no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// What happens to the key of an optional secret whose value is gone from its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum MissingPolicy {
    /// It keeps its last good bytes.
    #[default]
    Keep,
    /// It is removed after two reads that both found it missing.
    Remove,
}

/// What happens to a target while one of its keys cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum SyncPolicy {
    /// The target stays as it is.
    #[default]
    AllOrNothing,
    /// Keys that could be read are written, the others keep their last good bytes.
    PerKey,
}

/// The types of Secret that the operator writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum SecretType {
    /// Any keys.
    #[default]
    Opaque,
    /// Needs `tls.crt` and `tls.key`.
    #[serde(rename = "kubernetes.io/tls")]
    Tls,
    /// Needs `.dockerconfigjson`.
    #[serde(rename = "kubernetes.io/dockerconfigjson")]
    DockerConfigJson,
    /// Needs `username` or `password`.
    #[serde(rename = "kubernetes.io/basic-auth")]
    BasicAuth,
    /// Needs `ssh-privatekey`.
    #[serde(rename = "kubernetes.io/ssh-auth")]
    SshAuth,
}

impl SecretType {
    /// The word in a Secret's `type` field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::Tls => "kubernetes.io/tls",
            Self::DockerConfigJson => "kubernetes.io/dockerconfigjson",
            Self::BasicAuth => "kubernetes.io/basic-auth",
            Self::SshAuth => "kubernetes.io/ssh-auth",
        }
    }
}

/// One Secret that the operator writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.inherit) && has(self.keys))").message("set either inherit or keys, not both"))]
pub struct Target {
    /// `All` (default): the whole effective set. `Own`: only what the component or its bases declare. Not together with
    /// `keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<Inherit>,
    /// Exactly these: key in the Secret to NAME of a declaration. Default: every NAME of the set under its `key`. Not
    /// together with `inherit`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 64))]
    #[x_kube(validation = super::rules::keys_of_a_secret())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<BTreeMap<String, SecretName>>,
    /// Keys whose values are made of several secrets. With a template and neither `inherit` nor `keys`, the target has
    /// these keys alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TargetTemplate>,
    /// How the values are laid out. `Data` (default): each under its key. `TfvarsEnv`: each under `TF_VAR_<key>`, for
    /// `envFrom`. One document with all of them: `Dotenv` under the key `.env`, `Json` under `secrets.json`, `Yaml` under
    /// `secrets.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The Secret's type, with the keys that Kubernetes asks for: `kubernetes.io/tls` (`tls.crt`, `tls.key`),
    /// `kubernetes.io/dockerconfigjson` (`.dockerconfigjson`), `kubernetes.io/basic-auth` (`username` or `password`),
    /// `kubernetes.io/ssh-auth` (`ssh-privatekey`). Default: `Opaque`, any keys. It cannot change once the Secret exists.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<SecretType>,
    /// Labels for the Secret, added to those of `targetDefaults`.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = super::rules::own_domains("labels"),
        validation = super::rules::qualified_names("labels"))]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelValue>,
    /// Annotations for the Secret, added to those of `targetDefaults`.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = super::rules::own_domains("annotations"),
        validation = super::rules::qualified_names("annotations"))]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, AnnotationValue>,
    /// `Retain` (default) leaves the Secret when the Stack goes or names it no longer; `Delete` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// `Keep` (default) keeps the last good bytes of an optional secret whose value is gone; `Remove` drops the key after
    /// two reads that both found it missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_policy: Option<MissingPolicy>,
    /// `AllOrNothing` (default): while a required secret is missing or any is in error, the Secret stays as it is.
    /// `PerKey`: what could be read is written, the rest keeps its last good bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
}

/// Keys of a target that are made of several secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetTemplate {
    /// Key in the Secret to template, for example
    /// `DATABASE_URL: postgres://{{ DB_USER | urlencode }}:{{ DB_PASSWORD | urlencode }}@{{ DB_HOST }}/orders`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    #[x_kube(validation = super::rules::keys_of_a_secret())]
    pub data: BTreeMap<String, TemplateText>,
}

/// A text in which values of declared secrets take their places: `{{ NAME }}`, or `{{ secrets["NAME"] }}` for a NAME that
/// is no identifier. At most 4096 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TemplateText(#[schemars(length(max = 4096))] pub String);

/// How a target lays its values out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum Format {
    /// Each under its own key.
    #[default]
    Data,
    /// One dotenv file.
    Dotenv,
    /// One JSON object.
    Json,
    /// One YAML mapping.
    Yaml,
    /// Each under `TF_VAR_<key>`.
    TfvarsEnv,
}

/// The NAME of a declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretName(#[schemars(length(min = 1, max = 253))] pub String);

/// The value of a label: at most 63 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(
    #[schemars(length(max = 63), regex(pattern = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"))] pub String,
);

/// The value of an annotation: at most 4096 characters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnnotationValue(#[schemars(length(max = 4096))] pub String);

/// What targets use for the fields that they leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetDefaults {
    /// Labels for every target.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = super::rules::own_domains("labels"),
        validation = super::rules::qualified_names("labels"))]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelValue>,
    /// Annotations for every target.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = super::rules::own_domains("annotations"),
        validation = super::rules::qualified_names("annotations"))]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, AnnotationValue>,
    /// `Retain` (default) leaves a Secret when the Stack goes or names it no longer; `Delete` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// `Keep` (default) keeps the last good bytes of an optional secret whose value is gone; `Remove` drops its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_policy: Option<MissingPolicy>,
    /// `AllOrNothing` (default): a Secret stays as it is while one of its keys cannot be read. `PerKey`: what could be
    /// read is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
}
