//! The operator from outside: the built binary as its own service account on a real control plane.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

mod collisions;
mod inheritance;
mod layers;
mod limits;
mod loose_schema;
mod ownership;
mod store_errors;
mod sync;
mod target_errors;
mod value_errors;
