//! The plugin as people run it: the built binary against a real API server, its stdout, stderr and exit code.
//!
//! No operator runs here: where a test needs a status, it writes one, so that it can have any.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod azure;
mod cluster_files;
mod delete;
mod describe;
mod faults;
mod files;
mod fixture;
mod gcp;
mod get;
mod keygen;
mod list;
mod local_files;
mod operator;
mod rekey;
mod rekey_folder;
mod seclusion;
mod set;
mod sops;
mod store;
mod usage;
mod validate;
mod vault;
mod version;
