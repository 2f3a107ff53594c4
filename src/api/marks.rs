//! Labels and annotations that the operator reads or writes.

/// Label on every target: `"true"` says that the operator may write the Secret.
pub const MANAGED: &str = "secrets.atmos.tools/managed";
/// Annotation on every target: the name of the Stack that owns it. Also a label (hashed above 63 characters) for selecting.
pub const STACK: &str = "secrets.atmos.tools/stack";
/// Label on targets of a component: its name (hashed above 63 characters), for selecting.
pub const COMPONENT: &str = "secrets.atmos.tools/component";
/// Annotation that a person sets to hand an existing Secret to the Stack of that name.
pub const ADOPT: &str = "secrets.atmos.tools/adopt";
/// Annotation on every target: `<key id>.<keyed digest>` of the data that the operator last wrote.
pub const DIGEST: &str = "secrets.atmos.tools/digest";
/// Label on Secrets that hold values of a `kubernetes` Store: `"true"`.
pub const VALUES: &str = "secrets.atmos.tools/values";
/// Annotation on a Stack or a Store: a new value asks for a read now.
pub const SYNC_REQUESTED_AT: &str = "secrets.atmos.tools/sync-requested-at";
/// Informational label set when a target is created.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const OPERATOR: &str = "atmos-secrets-operator";
