//! stub
pub mod namespaces;
pub mod definitions;
pub mod queue;
pub mod relations;
