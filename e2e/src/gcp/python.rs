//! Google's own Python client, against the fake: what both understand alike is what Google's REST reference says.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{Gcp, PROJECT};
use crate::tools;

/// The client in its virtual environment, for one fake.
pub struct Client {
    python: std::path::PathBuf,
    authority: NamedTempFile,
    endpoint: String,
}

impl Client {
    /// Installs the client if it is not there yet.
    ///
    /// # Errors
    ///
    /// When Python is missing or too old, or the installation fails: with what it said.
    pub async fn new(gcp: &Gcp) -> anyhow::Result<Self> {
        let python = tools::google_client().await?;
        let mut authority = NamedTempFile::new()?;
        authority.write_all(gcp.ca_pem().as_bytes())?;
        Ok(Self { python, authority, endpoint: gcp.url() })
    }

    /// Does the steps with an access token; `e2e/tools/gcp/client.py` says which there are. Each result is
    /// `{"ok": …}` or `{"error": "<class of google.api_core.exceptions>"}`.
    ///
    /// # Errors
    ///
    /// When the client ends in another way: with what it said.
    pub async fn run(&self, token: &str, steps: Value) -> anyhow::Result<Vec<Value>> {
        self.start(json!({"token": token, "steps": steps})).await
    }

    /// Does the steps with credentials that it logs in with by itself: a file as Google gives it out, as JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::run`].
    pub async fn run_as(&self, credentials: Value, steps: Value) -> anyhow::Result<Vec<Value>> {
        self.start(json!({"credentials": credentials, "steps": steps})).await
    }

    async fn start(&self, mut task: Value) -> anyhow::Result<Vec<Value>> {
        if let Value::Object(task) = &mut task {
            task.insert("endpoint".to_owned(), json!(self.endpoint));
            task.insert("project".to_owned(), json!(PROJECT));
        }
        let input = task.to_string();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/gcp/client.py");
        let mut command = std::process::Command::new(&self.python);
        command.arg(script).env("REQUESTS_CA_BUNDLE", self.authority.path());
        // Whatever it would ask outside of this machine, such as a metadata server, it does not reach.
        command.env("NO_GCE_CHECK", "true").env("NO_PROXY", "127.0.0.1");
        command.env("HTTP_PROXY", "http://127.0.0.1:9").env("HTTPS_PROXY", "http://127.0.0.1:9");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.stderr(std::process::Stdio::piped()).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = output.await?.context("could not run Google's client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "Google's client ended with {}:\n{said}", output.status);
        serde_json::from_slice(&output.stdout).context("Google's client said no JSON")
    }
}
