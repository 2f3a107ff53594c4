//! The operator from outside: the built binary as its own service account on a real control plane.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;
mod api_server;
mod deletion;
mod gone_values;
mod life;
mod polling;
mod quiet;
mod refusals;
mod requests;
mod stamps;
mod sops_files;
mod sops_store;
mod sync;
