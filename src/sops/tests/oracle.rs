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
    String::from_utf8(encrypt_bytes_under(rule, format, plain.as_bytes())).unwrap()
}

/// As [`encrypt_under`], for any bytes.
pub(super) fn encrypt_bytes_under(rule: &str, format: Format, plain: &[u8]) -> Vec<u8> {
    encrypt_by(&creation_rule(rule), format, plain)
}

/// As [`encrypt_bytes_under`], with the whole text of a `.sops.yaml`.
pub(super) fn encrypt_by(config_text: &str, format: Format, plain: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, config_text).unwrap();
    let config = config.to_str().unwrap();
    let arguments = ["--config", config, "encrypt", "--filename-override", file_name(format)];
    run(&folder, &[], &arguments, plain).unwrap_or_else(|said| panic!("sops refused: {said}"))
}

/// A `.sops.yaml` of one rule.
fn creation_rule(rule: &str) -> String {
    let mut text = "creation_rules:\n".to_owned();
    for (index, line) in rule.lines().enumerate() {
        text.push_str(if index == 0 { "  - " } else { "    " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Runs `sops` in a folder of its own, without anything of our environment. What it says on its error stream is the error.
fn run(
    folder: &tempfile::TempDir,
    environment: &[(&str, &str)],
    arguments: &[&str],
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut process = Command::new(sops_binary())
        .args(arguments)
        .env_clear()
        .env("HOME", folder.path())
        .envs(environment.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the sops binary starts");
    let mut pipe = process.stdin.take().unwrap();
    let input = input.to_vec();
    // The process may end without reading.
    let writer = std::thread::spawn(move || pipe.write_all(&input).ok());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Someone with a key, at work with the `sops` command on one file.
pub(super) struct Workplace {
    folder: tempfile::TempDir,
    format: Format,
    keys: Vec<(&'static str, String)>,
}

impl Workplace {
    /// The secrets are identities, or SSH private keys.
    pub(super) fn new(format: Format, secrets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut identities = String::new();
        let mut keys = Vec::new();
        for secret in secrets {
            if secret.starts_with("-----BEGIN") {
                let file = folder.path().join("ssh.key");
                std::fs::write(&file, secret).unwrap();
                keys.push(("SOPS_AGE_SSH_PRIVATE_KEY_FILE", file.to_str().unwrap().to_owned()));
            } else {
                identities.push_str(secret);
                identities.push('\n');
            }
        }
        if !identities.is_empty() {
            keys.push(("SOPS_AGE_KEY", identities));
        }
        Self { folder, format, keys }
    }

    fn sops(&self, file: &[u8], arguments: &[&str]) -> Result<Vec<u8>, String> {
        std::fs::write(self.folder.path().join(file_name(self.format)), file).unwrap();
        let keys: Vec<(&str, &str)> = self.keys.iter().map(|(name, value)| (*name, value.as_str())).collect();
        run(&self.folder, &keys, arguments, b"")
    }

    /// What `sops decrypt` prints, or why it refuses.
    pub(super) fn decrypt(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        self.sops(file, &["decrypt", file_name(self.format)])
    }

    /// The file after a command that changes it.
    pub(super) fn change(&self, file: &[u8], command: &[&str]) -> Result<Vec<u8>, String> {
        let mut arguments = vec![command[0], file_name(self.format)];
        arguments.extend(&command[1..]);
        self.sops(file, &arguments)?;
        Ok(std::fs::read(self.folder.path().join(file_name(self.format))).unwrap())
    }

    /// Puts a `.sops.yaml` beside the file.
    pub(super) fn write_rules(&self, text: &str) {
        std::fs::write(self.folder.path().join(".sops.yaml"), text).unwrap();
    }
}

pub(super) fn file_name(format: Format) -> &'static str {
    match format {
        Format::Yaml => "secrets.yaml",
        Format::Json => "secrets.json",
        Format::Dotenv => "secrets.env",
        Format::Ini => "secrets.ini",
        Format::Binary => "secrets.bin",
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
