//! The map. (Written with the architecture.)
pub mod value;
