//! The operator from outside: the built binary as its own service account on a real control plane.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

mod api_server;
mod apps;
mod aws;
mod azure;
mod collisions;
mod confined;
mod deletion;
mod every_kind;
mod gcp;
mod gitops;
mod gone_values;
mod inheritance;
mod isolation;
mod layers;
mod life;
mod limits;
mod loose_schema;
mod malformed;
mod memory;
mod missed;
mod namespace_labels;
mod ownership;
mod polling;
mod quiet;
mod refusals;
mod request_counts;
mod requests;
mod shapes;
mod sops_files;
mod sops_store;
mod stamps;
mod starting;
mod store_errors;
mod sync;
mod target_errors;
mod templates;
mod tenants;
mod value_errors;
mod vault_store;
