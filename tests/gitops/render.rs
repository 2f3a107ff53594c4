//! The tree of `examples/gitops` as the real kubectl renders it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use e2e::tools::{self, Tool};
use serde_json::Value;

/// A folder or file of the example.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops").join(name)
}

/// The objects that `kubectl kustomize` makes of a folder, in its order. No cluster is asked.
pub async fn kustomize(folder: &str) -> anyhow::Result<Vec<Value>> {
    let mut command = tokio::process::Command::new(tools::path(Tool::Kubectl).await?);
    let output = command.arg("kustomize").arg(path(folder)).kill_on_drop(true).output().await?;
    let words = String::from_utf8_lossy(&output.stderr);
    // kustomize warns of fields that it is going to drop.
    anyhow::ensure!(output.status.success() && words.is_empty(), "kubectl kustomize {folder}: {words}");
    documents(&String::from_utf8(output.stdout)?).with_context(|| format!("what {folder} renders"))
}

/// The documents of a YAML text.
#[expect(clippy::disallowed_methods, reason = "our own files, in a test")]
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}
