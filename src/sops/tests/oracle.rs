//! The real `sops` binary, and age keys for it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret;

use crate::sops::{AgeKeys, Document, Encrypted, Error, Format};
use crate::value::SecretValue;

/// Where the binary is. A run without it fails: nothing else says that we read what `sops` writes.
fn sops_binary() -> PathBuf {
    static PATH: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    // A thread of its own, since the caller may be inside a runtime.
    let build = || {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(e2e::tools::path(e2e::tools::Tool::Sops)).unwrap()
        })
        .join()
        .unwrap()
    };
    PATH.get_or_init(build).clone()
}

/// An age key pair.
pub(super) struct Identity {
    pub(super) recipient: String,
    pub(super) secret: String,
}

impl Identity {
    pub(super) fn generate() -> Self {
        let identity = age::x25519::Identity::generate();
        Self { recipient: identity.to_public().to_string(), secret: identity.to_string().expose_secret().to_owned() }
    }

    pub(super) fn keys(&self) -> AgeKeys {
        AgeKeys::parse("test key", &SecretValue::from(self.secret.clone())).unwrap()
    }
}

/// Encrypts with `sops` under one creation rule. `rule` is the rule's further lines of YAML, without indentation.
pub(super) fn encrypt_under(rule: &str, format: Format, plain: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let mut text = "creation_rules:\n".to_owned();
    for (index, line) in rule.lines().enumerate() {
        text.push_str(if index == 0 { "  - " } else { "    " });
        text.push_str(line);
        text.push('\n');
    }
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new(sops_binary())
        .arg("--config")
        .arg(&config)
        .args(["encrypt", "--filename-override", file_name(format)])
        .env_clear()
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the sops binary starts");
    let mut input = process.stdin.take().unwrap();
    let plain = plain.to_owned();
    let writer = std::thread::spawn(move || input.write_all(plain.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "sops refused: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn file_name(format: Format) -> &'static str {
    match format {
        Format::Yaml => "secrets.yaml",
        Format::Json => "secrets.json",
    }
}

/// Encrypts to one recipient, with further lines of the rule (empty for none).
pub(super) fn encrypt(identity: &Identity, rule: &str, format: Format, plain: &str) -> String {
    encrypt_under(&format!("age: {}\n{rule}", identity.recipient), format, plain)
}

/// Reads and decrypts.
pub(super) async fn decrypt(identity: &Identity, format: Format, file: &str) -> Result<Document, Error> {
    Encrypted::parse(format, file.as_bytes())?.decrypt(&identity.keys()).await
}

/// The bytes of a value.
pub(super) fn bytes(document: &Document, name: &str) -> Option<Vec<u8>> {
    document.get(name).map(|value| value.expose().to_vec())
}

/// The text of a value.
pub(super) fn text(document: &Document, name: &str) -> Option<String> {
    bytes(document, name).map(|bytes| String::from_utf8(bytes).unwrap())
}
