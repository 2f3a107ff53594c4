//! The generated files of the repository equal what the code says. `UPDATE_GENERATED=1` writes them instead.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod chart;
mod compare;
mod crds;
mod reference;
