//! What a release is made of: its versions, its notes, its bill of materials, how it is built, and the workflows that make it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod notes;
mod recipe;
mod sbom;
mod versions;
mod workflows;

use std::path::Path;
use std::process::{Command, Output};

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

fn parsed(yaml: &str) -> serde_json::Value {
    #[expect(clippy::disallowed_methods, reason = "our own files, in a test")]
    serde_saphyr::from_str(yaml).unwrap()
}

/// Runs the program `e2e`.
fn e2e(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_e2e")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
