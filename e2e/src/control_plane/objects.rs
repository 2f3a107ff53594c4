//! What tests do to a cluster as its administrator.

use std::ffi::OsStr;
use std::process::{Output, Stdio};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::ControlPlane;

impl ControlPlane {
    /// Makes a namespace and returns its name: `prefix`, a dash and something random.
    ///
    /// # Errors
    ///
    /// When the API server refuses it, for example because `prefix` is no legal start of a name.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        let wanted =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": format!("{prefix}-")}});
        let made = namespaces
            .create(&PostParams::default(), &serde_json::from_value::<Namespace>(wanted)?)
            .await
            .with_context(|| format!("could not make a namespace {prefix}-…"))?;
        Ok(made.name_any())
    }

    /// Runs the real kubectl as administrator and returns what it said, whether it succeeded or not.
    ///
    /// # Errors
    ///
    /// When kubectl cannot be started.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<Output> {
        self.kubectl_with_input(arguments, "").await
    }

    /// As [`ControlPlane::kubectl`], with something to read on stdin.
    ///
    /// # Errors
    ///
    /// When kubectl cannot be started.
    pub async fn kubectl_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> anyhow::Result<Output> {
        let mut child = Command::new(&self.servers.kubectl)
            .args(arguments)
            .env("KUBECONFIG", self.admin_kubeconfig())
            // Its caches and preferences, which a test must neither find nor leave behind.
            .env("HOME", self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", self.servers.kubectl.display()))?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // kubectl may end without reading; what it says then is what counts.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        output.context("could not wait for kubectl")
    }

    /// Applies one or more YAML documents on the server's side, taking over fields that others set.
    ///
    /// Objects without a namespace go to `default`.
    ///
    /// # Errors
    ///
    /// When the API server refuses one of them: with kubectl's words. Those before it are applied.
    pub async fn apply_yaml(&self, yaml: &str) -> anyhow::Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "--filename=-"];
        let output = self.kubectl_with_input(arguments, yaml).await?;
        anyhow::ensure!(
            output.status.success(),
            "could not apply the manifest ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Reads any object by kubectl, for example `get_json(["stack", "prod", "--namespace", "orders-x2x4z"])`.
    ///
    /// # Errors
    ///
    /// When there is no such object: with kubectl's words.
    pub async fn get_json<A: AsRef<OsStr>>(&self, which: impl IntoIterator<Item = A>) -> anyhow::Result<Value> {
        let which = which.into_iter().map(|word| word.as_ref().to_owned());
        let arguments = [OsStr::new("get").to_owned(), OsStr::new("--output=json").to_owned()].into_iter().chain(which);
        let output = self.kubectl(arguments).await?;
        anyhow::ensure!(output.status.success(), "kubectl get: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("kubectl get printed no JSON")
    }
}
