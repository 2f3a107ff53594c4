//! The map. (Written with the architecture.)
pub mod api;
pub mod backend;
pub mod cli;
pub mod value;
