//! The real `sops`, and one file of many values that it makes, opens and changes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use e2e::tools::{self, Tool};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// The file's name, which says its format.
pub(super) const FILE: &str = "values.enc.yaml";

/// A value of the file.
pub(super) fn name(number: usize) -> String {
    format!("VALUE_{number:04}")
}

/// So many values, as they are before anything is changed.
pub(super) fn values(count: usize) -> Map<String, Value> {
    (0..count).map(|number| (name(number), Value::from(format!("value-{number:04}-0123456789abcdef")))).collect()
}

/// `sops` with the published identity of the quickstart, in a folder of its own with one encrypted file.
pub(super) struct Sops {
    program: PathBuf,
    folder: TempDir,
    pub(super) identity: PathBuf,
}

impl Sops {
    /// Has `sops` encrypt the values.
    pub(super) async fn with(values: &Map<String, Value>) -> anyhow::Result<Self> {
        let program = tools::path(Tool::Sops).await?;
        let folder = tempfile::tempdir()?;
        let identity =
            std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart"))?.join(IDENTITY);
        let text = std::fs::read_to_string(&identity)?;
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: "));
        let recipient = recipient.context("the identity does not name its public key")?.trim().to_owned();
        let sops = Self { program, folder, identity };
        // Plain JSON is YAML.
        std::fs::write(sops.file(), serde_json::to_string(values)?)?;
        sops.run(&["encrypt", "--in-place", "--age", &recipient, FILE])?;
        Ok(sops)
    }

    /// Where the file is.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// What the file holds, in the clear.
    pub(super) fn decrypt(&self) -> anyhow::Result<Map<String, Value>> {
        Ok(serde_json::from_slice(&self.run(&["decrypt", "--output-type", "json", FILE])?)?)
    }

    /// Changes one value; the others keep their ciphertext.
    pub(super) fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let (index, value) = (format!("[{}]", Value::from(name)), Value::from(value).to_string());
        self.run(&["set", FILE, &index, &value]).map(drop)
    }

    /// Seconds that one decryption takes, from before the process starts until it has ended.
    pub(super) fn seconds_to_decrypt(&self) -> anyhow::Result<f64> {
        self.seconds(&["decrypt", FILE])
    }

    /// Seconds that a process takes that does nothing.
    pub(super) fn seconds_to_start(&self) -> anyhow::Result<f64> {
        // Or else it asks the internet for newer versions.
        self.seconds(&["--version", "--disable-version-check"])
    }

    fn seconds(&self, arguments: &[&str]) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.run(arguments)?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("SOPS_AGE_KEY_FILE", &self.identity)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .context("could not start sops")?;
        anyhow::ensure!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }
}

/// Of the quickstart: published, and worth nothing.
const IDENTITY: &str = "PUBLIC-demo-identity.txt";
