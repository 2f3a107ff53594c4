//! The real helm, away from the settings of whoever runs the tests.

use std::path::Path;
use std::process::Output;

use e2e::tools::{self, Tool};
use serde_json::Value;
use tokio::process::Command;

/// The folder of the chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/atmos-secrets-operator");
/// The release that the tests make, and the namespace that it is in.
pub const RELEASE: &str = "atmos-secrets-operator";
pub const NAMESPACE: &str = "atmos-secrets";

/// Runs helm and returns what it said, whether it succeeded or not. Without a kubeconfig it finds no cluster.
pub async fn helm(kubeconfig: Option<&Path>, arguments: &[&str]) -> anyhow::Result<Output> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(tools::path(Tool::Helm).await?);
    command.args(arguments).env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null"))).kill_on_drop(true);
    for variable in ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, folder.path());
    }
    Ok(command.output().await?)
}

/// What the chart renders with these arguments, or helm's words if it refuses.
pub async fn template(arguments: &[&str]) -> Result<String, String> {
    let fixed = ["template", RELEASE, CHART, "--namespace", NAMESPACE];
    let output = helm(None, &[&fixed, arguments].concat()).await.unwrap();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The objects that the chart renders with these arguments.
pub async fn objects(arguments: &[&str]) -> Vec<Value> {
    let rendered = template(arguments).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "what the chart rendered, not a value")]
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(&rendered).unwrap();
    documents.into_iter().flatten().collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one object of this kind and name.
pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} {name} is rendered"));
    assert!(found.next().is_none(), "{kind} {name} is rendered twice");
    first
}
