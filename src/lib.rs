//! The map. (Written with the architecture.)
pub mod api;
pub mod backend;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod metrics;
pub mod model;
pub mod process;
pub mod sops;
pub mod value;
