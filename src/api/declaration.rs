//! One declared secret: an entry of a `vars` map.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::transform::{ExposedVersion, Extract, Transform};

/// Where in the stack hierarchy a secret's value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One value per component and stack.
    Instance,
    /// One value per stack, shared by its components.
    Stack,
    /// One value shared by all stacks.
    Global,
}

impl Scope {
    /// The word users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Stack => "stack",
            Self::Global => "global",
        }
    }
}

/// A declared secret. The map key is its NAME; there is no field for a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.store) && has(self.sops))").message("set either store or sops, not both"),
    validation = Rule::new("!(has(self.reference) && has(self.backendKey))").message("set either reference or backendKey, not both"),
    validation = Rule::new("!(has(self.default) && has(self.required) && self.required)").message("a required secret cannot have a default: remove required or default"),
    validation = Rule::new("!has(self.extract) || !(has(self.key) || has(self.path) || has(self.default) || has(self.expose))").message("extract brings its own keys: it goes with none of key, path, default and expose")
)]
pub struct Declaration {
    /// What the secret is for; shown by `kubectl atmos-secret list` and `describe`.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The store that holds the value: an alias of `spec.stores`, else the Store of that name in this namespace.
    /// Default: `spec.defaultStore`. Not together with `sops`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Like `store`, for a Store of kind `sops`. Not together with `store`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sops: Option<String>,
    /// `instance`, `stack` or `global`. Default: implied by the position (`stack` at the stack level, `instance` under a
    /// component). An explicit value must equal the implied one; `global` is allowed anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whether targets wait for this secret. Default: `false`. Not together with `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Replaces NAME in the coordinate, so that the value is looked up under another name. Not together with `backendKey`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The exact key in the backend, outside the usual layout. Not together with `reference`.
    // The longest key that a kind of store accepts is a parameter's name, 1,011 characters.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_key: Option<String>,
    /// The key in a target Secret. Default: NAME.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The version to read. Default: the current one. Refused by stores that keep no versions.
    // The longest version that a kind of store knows is a staging label of Secrets Manager, 256 characters.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One leaf of a JSON or YAML value, such as `.credentials["user.name"][0]`. Strings stay strings, numbers keep their
    /// text, objects and arrays are written as JSON.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Steps that change the value, or the leaf at `path`, one after the other; at most 16. Default: none. A later layer
    /// replaces the whole list, `[]` empties it.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transforms: Option<Vec<Transform>>,
    /// Other versions of the value, each under a key of its own, such as the previous one while consumers change over.
    /// `path` and `transforms` apply to each. At most 8; refused by stores that keep no versions.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Vec<ExposedVersion>>,
    /// Many keys from one value: the names at the top level of a JSON, YAML or TOML document become keys of a target.
    /// Texts stay as they are, numbers keep their text, objects and lists are written as JSON. Not together with `key`,
    /// `path`, `default` or `expose`.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub extract: Option<Extract>,
    /// Plain, public text used as it stands, without `path` and `transforms`, and only when the value or the path is
    /// missing, never on an error.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// `false` drops an inherited name here. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<bool>,
}

/// Declarations by NAME.
pub type Vars = BTreeMap<String, Declaration>;

/// The `secrets` section of the stack level, as in an Atmos manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackSecrets {
    /// Declarations by NAME; their implied scope is `stack`.
    #[schemars(extend("maxProperties" = 256))]
    #[x_kube(
        validation = super::rules::names_of_secrets(),
        validation = Rule::new("self.all(name, self[name] == null || !has(self[name].scope) || self[name].scope != 'instance')").message("scope must be stack or global here: declarations at the stack level are shared by its components")
    )]
    #[serde(default, deserialize_with = "super::null::entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
}

/// The `secrets` section of a component, as in an Atmos manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSecrets {
    /// Declarations by NAME; their implied scope is `instance`.
    #[schemars(extend("maxProperties" = 256))]
    #[x_kube(
        validation = super::rules::names_of_secrets(),
        validation = Rule::new("self.all(name, self[name] == null || !has(self[name].scope) || self[name].scope != 'stack')").message("scope must be instance or global here: declare the name at the stack level to share it")
    )]
    #[serde(default, deserialize_with = "super::null::entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: Vars,
}
