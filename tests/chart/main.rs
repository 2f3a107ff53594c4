//! The Helm chart and the Dockerfile: what the chart takes and renders, what the API server makes of it, what the operator
//! may do with it and does, and that nothing is lost when releases come and go.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../generated/compare.rs"]
mod compare;
mod helm;
mod installation;

mod accepted;
mod admission;
mod dockerfile;
mod least;
mod lifecycle;
mod monitoring;
mod people;
mod pod;
mod render;
mod rights;
mod values;
