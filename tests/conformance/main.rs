//! Holds every driver against the numbered guarantees of [`atmos_secrets::backend::Backend`], on real servers.
//!
//! A server that cannot be started fails the run. Everything that is logged, at the finest level and by every crate, is
//! kept and searched for values at the end of each test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod aws;
mod aws_logins;
mod aws_secrets_manager;
mod aws_ssm;
mod azure;
mod cluster_answers;
mod connect;
mod gcp;
mod kubernetes;
mod log;
mod memory;
mod refusals;
mod sops;
mod sops_keys;
mod suite;
mod vault;
mod wire;
