//! stub
pub mod namespaces;
pub mod queue;
pub mod relations;
