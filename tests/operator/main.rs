//! The operator from outside: the built binary as its own service account on a real control plane.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

mod api_server;
mod collisions;
mod deletion;
mod gone_values;
mod inheritance;
mod layers;
mod life;
mod limits;
mod loose_schema;
mod ownership;
mod polling;
mod quiet;
mod refusals;
mod requests;
mod sops_files;
mod sops_store;
mod stamps;
mod store_errors;
mod sync;
mod target_errors;
mod templates;
mod value_errors;
