//! The Kubernetes API: kinds, fields and status of `secrets.atmos.tools/v1alpha1`.
//!
//! Types only: serde for the wire, schemars and CEL for the schema. The doc comments are what `kubectl explain` prints,
//! so they are written for users. The schema writes no defaults into a spec (GitOps tools would see drift): every
//! optional field stays absent and the default named in its documentation is applied where the field is read.
//!
//! The YAML under `crds/` is generated from here ([`crds`]) and a test compares.

pub mod catalog;
pub mod declaration;
pub mod duration;
pub mod marks;
mod null;
pub mod reason;
mod rules;
mod schema;
pub mod stack;
pub mod status;
pub mod store;
pub mod transform;

pub use catalog::{Catalog, CatalogSpec};
pub use declaration::{Declaration, Scope};
pub use reason::Reason;
pub use schema::crds;
pub use stack::{Component, Stack, StackSpec, Target};
pub use status::{StackStatus, StoreStatus};
pub use store::{ClusterStore, ClusterStoreSpec, Store, StoreSpec};

/// The API group of every kind.
pub const GROUP: &str = "secrets.atmos.tools";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";
