//! Status of the kinds. Nothing here holds a value, its length or an unkeyed hash.

mod bounds;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::declaration::Scope;
use super::reason::Reason;

pub use bounds::LARGEST_STATUS;

/// The condition type that every kind has.
pub const READY: &str = "Ready";
/// Present and `True` only while a spec error is there that no other object can cure.
pub const STALLED: &str = "Stalled";
/// Present and `True` only while `suspend: true`.
pub const SUSPENDED: &str = "Suspended";
/// Present and `True` only while a store should have rotated a value and did not.
pub const ROTATION_OVERDUE: &str = "RotationOverdue";
/// Present and `True` only while a declaration holds its value at a version that never moves.
pub const PINNED: &str = "Pinned";

/// What the operator found and did. Absent until the first reconcile, but for `observedGeneration: -1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackStatus {
    /// The generation of the spec that this status is about; `-1` before the first reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generations of other objects that this status was computed from, such as `Catalog/datadog: 4`.
    #[schemars(extend("maxProperties" = 512))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, i64>,
    /// The last `sync-requested-at` whose every key was asked and whose targets were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync: Option<String>,
    /// How many declared secrets have a value, such as `10/12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialized: Option<String>,
    /// The first required secret without a value, and how many more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The stores in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stores: Option<String>,
    /// Counts by state; states without entries are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Retained Secrets of this Stack that no target names any more.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftover: Vec<String>,
    /// `Ready` always; `Stalled`, `Suspended`, `Pinned` and `RotationOverdue` only while true.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per target.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// One entry per effective declaration; those of the stack level once, with component `""`.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretStatus>,
}

/// Counts of declared secrets by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Without a value.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u32,
    /// In error.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub error: u32,
    /// Not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u32,
}

/// Takes a word of another version for none. The schema has no list of the words either: an operator that is newer than
/// the installed definitions must be able to write its status, and an older one to read it.
fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| Reason::ALL.iter().copied().find(|reason| reason.as_str() == word)))
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What became of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The Secret's name.
    pub name: String,
    /// `<type>/<component>`, or empty for the stack level.
    #[serde(default)]
    pub component: String,
    /// Whether the Secret equals what the stores held at the last read.
    pub ready: bool,
    /// Why not.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_reason")]
    pub reason: Option<Reason>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The Secret's version after the last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// When the Secret's content last changed by our hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_changed: Option<Time>,
}

/// Whether a declared secret has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::schema::leave_description_to_the_field)]
pub enum SecretState {
    /// It has.
    Initialized,
    /// It has none.
    Missing,
    /// It could not be found out, and waiting alone may not cure it.
    Error,
    /// It was not asked yet.
    Unknown,
}

impl SecretState {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Missing => "Missing",
            Self::Error => "Error",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is known of one declared secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// `<type>/<component>`, or empty for the stack level.
    #[serde(default)]
    pub component: String,
    /// The NAME.
    pub name: String,
    /// Whether it has a value.
    pub state: SecretState,
    /// Why not; absent when initialized.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_reason")]
    pub reason: Option<Reason>,
    /// What was looked for and where; absent when initialized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether targets wait for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Where in the hierarchy its value lives.
    pub scope: Scope,
    /// `Store/<name>` or `ClusterStore/<name>`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// The key in the backend.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backend_key: String,
    /// The version that was read, where the store has versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// How the store rotates the value by itself; absent where it does not, or does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// Which layer declared it: `stack`, `component`, `inherits/<base>`, `catalog/<name>`, `import/<stack>`, or `default`
    /// while the default is in use.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// When state or version last changed; never a refresh time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_changed: Option<Time>,
}

/// What a store tells of a value that it rotates itself. Its own dates: they move when the value does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// When it was last rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
    /// When it is to be rotated again, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// Whether that has passed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overdue: bool,
    /// The service of the vendor that rotates and owns it, such as `rds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// What the operator found about a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// The generation of the spec that this status is about; `-1` before the first check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The kind of store, such as `sops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The last `sync-requested-at` that was passed on to the Stacks that use this store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync: Option<String>,
    /// How many Stacks use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// For sops: the public recipients of the identities held.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// `Ready`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
