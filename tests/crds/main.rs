//! The CustomResourceDefinitions against the real API server: what it stores, what it refuses and with which words.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod audit;
mod cluster;
mod declaration;
mod decoding;
mod examples;
mod kubectl;
mod maxima;
mod null;
mod rules;
mod size;
mod stack;
mod store;
mod stored;
mod target;
