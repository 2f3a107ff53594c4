//! `examples/gitops`: what kustomize makes of the tree, what the files of Argo CD and Flux name, and the health script.
//! What becomes of it in a cluster is in `tests/operator/gitops.rs`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod health;
mod judge;
mod render;
mod tree;
