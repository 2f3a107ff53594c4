//! SOPS files made by the real `sops` binary, and age identities for them.

use std::process::Stdio;

use age::secrecy::ExposeSecret as _;
use anyhow::Context as _;
use e2e::tools::{Tool, path};
use tokio::io::AsyncWriteExt as _;

/// An age key pair.
pub struct AgeKey {
    /// `age1…`
    pub recipient: String,
    /// `AGE-SECRET-KEY-1…`
    pub identity: String,
}

impl AgeKey {
    /// A new one.
    pub fn generate() -> Self {
        let identity = age::x25519::Identity::generate();
        Self { recipient: identity.to_public().to_string(), identity: identity.to_string().expose_secret().to_owned() }
    }
}

/// Encrypts plain YAML (or JSON, as the name says) to every recipient.
pub async fn encrypt(file_name: &str, plain: &str, keys: &[&AgeKey]) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let recipients: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    let mut process = tokio::process::Command::new(path(Tool::Sops).await?)
        .args(["encrypt", "--age", &recipients.join(","), "--filename-override", file_name])
        .env_clear()
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start sops")?;
    let mut input = process.stdin.take().context("sops has no stdin")?;
    input.write_all(plain.as_bytes()).await?;
    drop(input);
    let output = process.wait_with_output().await?;
    anyhow::ensure!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("sops wrote no text")
}
