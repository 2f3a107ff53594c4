//! The map. (Written with the architecture.)
pub mod sops;
pub mod value;
