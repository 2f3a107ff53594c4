//! The programs of the demo: the operator and the plugin of this source tree, and the pinned kubectl and sops.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use e2e::tools::{self, Tool};
use serde_json::Value;
use tokio::process::Command;

pub(super) const OPERATOR: &str = "atmos-secrets-operator";
const PLUGIN: &str = "kubectl-atmos_secret";

/// Where each one is.
pub(super) struct Programs {
    pub(super) all: Vec<PathBuf>,
}

/// Finds or builds them.
///
/// # Errors
///
/// When one cannot be built, or is not in the folder given.
pub(super) async fn find(folder: Option<PathBuf>) -> anyhow::Result<Programs> {
    let mut all = match folder {
        Some(folder) => [OPERATOR, PLUGIN].map(|name| folder.join(name)).into(),
        None => build().await?,
    };
    for tool in [Tool::Kubectl, Tool::Sops] {
        all.push(tools::path(tool).await?);
    }
    for program in &mut all {
        *program = std::path::absolute(&*program)?;
        anyhow::ensure!(program.is_file(), "there is no program {}: build it first", program.display());
    }
    Ok(Programs { all })
}

/// Asks cargo, which shows its progress on stderr and knows best what is up to date.
async fn build() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("cargo")
        .args(["build", "--package", OPERATOR, "--bins", "--message-format=json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("could not run cargo, which builds the operator: install Rust from https://rustup.rs")?
        .wait_with_output()
        .await?;
    anyhow::ensure!(output.status.success(), "could not build the operator and the plugin; cargo says why above");
    let found: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .collect();
    for name in [OPERATOR, PLUGIN] {
        anyhow::ensure!(found.iter().any(|path| path.ends_with(name)), "cargo did not say where it built {name}");
    }
    Ok(found)
}
