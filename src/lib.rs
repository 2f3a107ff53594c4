//! The map. (Written with the architecture.)
pub mod api;
pub mod backend;
pub mod model;
pub mod value;
