//! A real HashiCorp Vault on loopback: in development mode, or with TLS and a seal of its own.
//!
//! The development server is up at once, unsealed, with KV version 2 at `secret/` and the Kubernetes login method in its
//! catalog. The other one serves TLS under an authority of its own, is initialised with one unseal key, and can be sealed
//! and unsealed. Both keep everything in memory, and both write an audit log, so that a test can count what was asked.

mod http;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::http::Caller;
use crate::control_plane::pki::Authority;
use crate::control_plane::random_token;
use crate::free_port::free_ports;
use crate::process::{DataFolder, Guarded, Program};
use crate::tools::{self, Tool};
use crate::wait::wait_until;

/// One or two seconds are usual; a busy machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A running server. It and its files are gone when it is dropped or this process ends, in whatever way.
pub struct Vault {
    // Drops in this order: first who writes, then the files.
    server: Mutex<Guarded>,
    folder: DataFolder,
    caller: Caller,
    authority: Option<Authority>,
    root_token: String,
    unseal_key: String,
}

/// What the server was asked, from its audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRequest {
    /// `read`, `update`, `create`, `delete` or `list`.
    pub operation: String,
    /// Without `/v1/`, such as `secret/data/prod/api/KEY` or `auth/approle/login`.
    pub path: String,
    /// Whether the server refused it.
    pub failed: bool,
}

impl Vault {
    /// The development server that all tests of this process share. Tests keep apart by their own mounts.
    ///
    /// # Errors
    ///
    /// As [`Vault::start`].
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Vault> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a development server on plain HTTP.
    ///
    /// # Errors
    ///
    /// When a program cannot be built, or the server does not come up in three minutes: with the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = DataFolder::new("atmos-vault-")?;
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins)?;
        let plugin = tools::path(Tool::VaultPluginAuthKubernetes).await?;
        // Vault registers every file of that folder, and takes no symbolic links.
        std::fs::copy(&plugin, plugins.join(Tool::VaultPluginAuthKubernetes.name()))?;
        let [port] = free_ports()?;
        let root_token = random_token()?;
        let arguments = [
            "server".to_owned(),
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={root_token}"),
            format!("-dev-listen-address=127.0.0.1:{port}"),
            format!("-dev-plugin-dir={}", plugins.display()),
        ];
        let server = run(folder.path(), arguments.into()).await?;
        let caller = Caller::plain(format!("http://127.0.0.1:{port}"));
        let vault =
            Self { server: Mutex::new(server), folder, caller, authority: None, root_token, unseal_key: String::new() };
        vault.wait_for("vault to be ready", async || vault.health().await == Some(200)).await?;
        vault.write_audit_log().await?;
        Ok(vault)
    }

    /// Starts a server with TLS, initialises and unseals it.
    ///
    /// # Errors
    ///
    /// As [`Vault::start`].
    pub async fn start_with_tls() -> anyhow::Result<Self> {
        let folder = DataFolder::new("atmos-vault-")?;
        let authority = Authority::new()?;
        let identity = authority.server()?;
        let [port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let configuration = json!({
            "storage": {"inmem": {}},
            "listener": {"tcp": {
                "address": format!("127.0.0.1:{port}"), "tls_cert_file": "server.crt", "tls_key_file": "server.key",
            }},
            "api_addr": url,
            "disable_mlock": true,
        });
        for (file, text) in [
            ("server.crt", identity.certificate),
            ("server.key", identity.key),
            ("vault.json", configuration.to_string()),
        ] {
            std::fs::write(folder.path().join(file), text).with_context(|| format!("could not write {file}"))?;
        }
        let server = run(folder.path(), vec!["server".to_owned(), "-config=vault.json".to_owned()]).await?;
        let caller = Caller::tls(url, &authority.pem())?;
        let mut vault = Self {
            server: Mutex::new(server),
            folder,
            caller,
            authority: Some(authority),
            root_token: String::new(),
            unseal_key: String::new(),
        };
        // 501 is "not initialised" (https://developer.hashicorp.com/vault/api-docs/system/health).
        vault.wait_for("vault to listen", async || vault.health().await == Some(501)).await?;
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let keys = vault.caller.call("PUT", "sys/init", "", Some(&shares)).await?.body;
        vault.unseal_key = text_at(&keys, "/keys_base64/0")?;
        vault.root_token = text_at(&keys, "/root_token")?;
        vault.unseal().await?;
        vault.write_audit_log().await?;
        Ok(vault)
    }

    /// `http://127.0.0.1:<port>`, or with `https` where it serves TLS.
    #[must_use]
    pub fn url(&self) -> &str {
        self.caller.url()
    }

    /// A token with every right.
    #[must_use]
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The certificate authority of a server with TLS, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// Asks the server's own API with every right: status, and body or null. `path` is without `/v1/`.
    ///
    /// # Errors
    ///
    /// When there is no answer, or one that is no JSON.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let answer = self.caller.call(method, path, &self.root_token, body).await?;
        Ok((answer.status, answer.body))
    }

    /// As [`Vault::call`], where every refusal is an error.
    ///
    /// # Errors
    ///
    /// When there is no answer, or a refusal: with the server's words.
    pub async fn must(&self, method: &str, path: &str, body: Value) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method, path, (!body.is_null()).then_some(&body)).await?;
        anyhow::ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// Makes a token with these policies and these further fields of `auth/token/create`.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn token(&self, policies: &[&str], more: Value) -> anyhow::Result<String> {
        let mut wanted = json!({"policies": policies, "no_parent": true});
        if let (Some(wanted), Value::Object(more)) = (wanted.as_object_mut(), more) {
            wanted.extend(more);
        }
        text_at(&self.must("POST", "auth/token/create", wanted).await?, "/auth/client_token")
    }

    /// Seals the server: it answers 503 to everything until [`Vault::unseal`].
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn seal(&self) -> anyhow::Result<()> {
        self.must("PUT", "sys/seal", Value::Null).await.map(drop)
    }

    /// Opens the seal.
    ///
    /// # Errors
    ///
    /// When it does not open.
    pub async fn unseal(&self) -> anyhow::Result<()> {
        self.must("PUT", "sys/unseal", json!({"key": self.unseal_key})).await?;
        self.wait_for("vault to be unsealed", async || self.health().await == Some(200)).await
    }

    /// What was asked since the start, oldest first, without what [`Vault::call`] and its like asked.
    ///
    /// A request is in the log before it is answered.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn requests(&self) -> anyhow::Result<Vec<VaultRequest>> {
        let text = std::fs::read_to_string(self.audit_log()).context("could not read Vault's audit log")?;
        let entries = text.lines().map(|line| Ok(serde_json::from_str::<Entry>(line)?));
        let entries: Vec<Entry> = entries.collect::<anyhow::Result<_>>().context("could not read Vault's audit log")?;
        Ok(entries
            .into_iter()
            .filter(|entry| entry.kind == "response" && !entry.auth.policies.iter().any(|policy| policy == "root"))
            .map(|entry| VaultRequest {
                operation: entry.request.operation,
                path: entry.request.path,
                failed: entry.error.is_some_and(|error| !error.is_empty()),
            })
            .collect())
    }

    fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    async fn write_audit_log(&self) -> anyhow::Result<()> {
        let file = json!({"type": "file", "options": {"file_path": self.audit_log()}});
        self.must("PUT", "sys/audit/file", file).await.map(drop)
    }

    async fn health(&self) -> Option<u16> {
        self.caller.call("GET", "sys/health", "", None).await.ok().map(|answer| answer.status)
    }

    async fn wait_for(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let waited = wait_until(what, START_LIMIT, async || {
            if let Err(ended) = self.running().expect_running() {
                return Ok(Err(ended));
            }
            if condition().await { Ok(Ok(())) } else { Err("not yet") }
        });
        waited.await.with_context(|| format!("the end of Vault's log:\n{}", self.running().log_tail()))?
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Guarded> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of the audit log (<https://developer.hashicorp.com/vault/docs/audit/schema>).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    auth: EntryAuth,
    request: EntryRequest,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
struct EntryAuth {
    #[serde(default)]
    policies: Vec<String>,
}

#[derive(Deserialize)]
struct EntryRequest {
    operation: String,
    #[serde(default)]
    path: String,
}

async fn run(folder: &Path, arguments: Vec<String>) -> anyhow::Result<Guarded> {
    Guarded::start(&Program {
        name: "vault".to_owned(),
        path: tools::path(Tool::Vault).await?,
        arguments: arguments.into_iter().map(OsString::from).collect(),
        // It would leave things in the caller's home, and sockets among the temporary files.
        environment: vec![("HOME", folder.into()), ("TMPDIR", folder.into())],
        folder: folder.to_owned(),
        log: folder.join("vault.log"),
    })
}

fn text_at(answer: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("Vault's answer has nothing at {pointer}"))
}
