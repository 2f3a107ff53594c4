//! The `vault` driver on a real HashiCorp Vault; small servers stand in for what that does not do on command.

mod kv;
mod logins;
mod server;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::{self, Encoding};
use atmos_secrets::backend::credentials::{Credentials, Surroundings, UserCredentials};
use atmos_secrets::backend::guarded::Guarded;
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::vault::connect;
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key, Versioned};
use atmos_secrets::cluster::Objects;
use atmos_secrets::value::SecretValue;
use serde_json::{Value, json};

use crate::log;
use crate::suite::{self, Subject, only};
use crate::wire::{self, Wire};

/// One engine of its own on the shared server, and a policy that allows what the driver needs and no more.
pub struct Mount {
    pub vault: &'static e2e::Vault,
    pub name: String,
    pub kv: u8,
    pub policy: String,
    pub token: String,
    pub backend: Arc<dyn Backend>,
    wires: Vec<Wire>,
}

impl Mount {
    pub async fn new(kv: u8) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let vault = e2e::Vault::shared().await.expect("a Vault");
        let name = format!("team/kv-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let engine = json!({"type": "kv", "options": {"version": kv.to_string()}});
        vault.must("POST", &format!("sys/mounts/{name}"), engine).await.unwrap();
        let policy = name.replace('/', "-");
        vault.must("PUT", &format!("sys/policies/acl/{policy}"), json!({"policy": rules(&name, kv)})).await.unwrap();
        let token = vault.token(&[&policy], json!({})).await.unwrap();
        let backend = user(&spec(vault.url(), &name, kv), &token, Encoding::Atmos).await.unwrap();
        let mount = Self { vault, name, kv, policy, token, backend, wires: Vec::new() };
        // Version 2 comes up in the background.
        e2e::wait_until("the engine to be ready", Duration::from_secs(120), async || {
            let (status, answer) = vault.call("GET", &mount.data("none"), None).await.unwrap();
            if status == 404 { Ok(()) } else { Err(answer) }
        })
        .await
        .unwrap();
        mount
    }

    /// Where the fields of a key are, in Vault's own API.
    pub fn data(&self, path: &str) -> String {
        if self.kv == 2 { format!("{}/data/{path}", self.name) } else { format!("{}/{path}", self.name) }
    }

    /// Sets the fields of a key behind the driver's back.
    pub async fn put(&self, path: &str, fields: Value) -> Value {
        let body = if self.kv == 2 { json!({"data": fields}) } else { fields };
        self.vault.must("POST", &self.data(&encoded(path)), body).await.unwrap()
    }

    pub fn spec(&self) -> store::Vault {
        spec(self.vault.url(), &self.name, self.kv)
    }

    /// What was asked of this mount, except by the tests themselves.
    pub fn requests(&self) -> Vec<e2e::VaultRequest> {
        let mut requests = self.vault.requests().unwrap();
        requests.retain(|request| request.path.starts_with(&self.name));
        requests
    }

    fn value_reads(&self) -> usize {
        let values = if self.kv == 2 { format!("{}/data/", self.name) } else { self.name.clone() };
        self.requests()
            .iter()
            .filter(|request| request.operation == "read" && request.path.starts_with(&values))
            .count()
    }
}

/// The least that a login must be allowed, as `docs/stores/vault.md` has it, and to delete and list, as the suite does.
fn rules(mount: &str, kv: u8) -> String {
    match kv {
        1 => format!(r#"path "{mount}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}"#),
        _ => format!(
            r#"path "{mount}/data/*" {{ capabilities = ["create", "read", "update", "delete"] }}
               path "{mount}/metadata/*" {{ capabilities = ["read", "list", "delete"] }}"#
        ),
    }
}

/// A path as a URL holds it.
fn encoded(path: &str) -> String {
    let segment =
        |segment| percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

pub fn spec(address: &str, mount: &str, kv: u8) -> store::Vault {
    store::Vault { address: address.into(), mount: mount.into(), kv_version: Some(kv), ..store::Vault::default() }
}

pub fn network() -> Network {
    Network::new(Settings { loopback: true, ..Settings::default() }).unwrap()
}

pub fn around(objects: Objects, namespace: &str, credentials: Credentials, encoding: Encoding) -> Surroundings {
    suite::surroundings(&objects, namespace, credentials, encoding, network())
}

/// The driver with a person's token; no cluster is there.
pub async fn user(spec: &store::Vault, token: &str, encoding: Encoding) -> Result<Arc<dyn Backend>, Error> {
    let given = UserCredentials {
        vault: Some(("VAULT_TOKEN".into(), SecretValue::from(token.to_owned()))),
        ..UserCredentials::default()
    };
    let objects = wire::absent().await.objects.clone();
    let around = around(objects, "payments", Credentials::OfUser(given), encoding);
    Ok(Arc::new(connect(spec, &around).await?))
}

/// Starts to keep what is logged.
pub fn watch() {
    log::watch();
    tracing::debug!("conformance of vault begins");
}

pub async fn read(backend: &Arc<dyn Backend>, key: &str) -> Result<Versioned, Error> {
    only(backend.read(&[Key::current(key)]).await)
}

#[async_trait]
impl Subject for Mount {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn key(&self, name: &str) -> Key {
        Key::current(format!("atmos/prod/{name}"))
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        for (name, bytes) in values {
            self.put(&self.key(name).name, json!({"value": std::str::from_utf8(bytes).unwrap()})).await;
        }
    }

    async fn unset(&self, name: &str) {
        let folder = if self.kv == 2 { "metadata/" } else { "" };
        let path = format!("{}/{folder}{}", self.name, self.key(name).name);
        self.vault.must("DELETE", &path, Value::Null).await.unwrap();
    }

    fn holds_binary(&self) -> bool {
        false
    }

    fn odd_names(&self) -> Vec<&'static str> {
        let mut names = vec![
            "a.b-c_d",
            "with space",
            "grüße-世界",
            "a%2Fb",
            "%2e%2e",
            "a?b=c",
            "a#b",
            "a&b+c",
            "a\\b",
            "[a]:b;c",
            "'\"",
        ];
        // Version 1 keeps its keys in the clear, and its storage refuses dots like those of a path.
        names.extend((self.kv == 2).then_some("..a"));
        names
    }

    fn illegal_keys(&self) -> Vec<Key> {
        let long = "x".repeat(2049);
        let mut keys = ["", "/", "//a", "a//b", "a/", "a/../b", "..", ".", "a\nb", &long].map(Key::current).to_vec();
        keys.extend((self.kv == 1).then(|| Key::current("a/b..c")));
        keys
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let stranger = self.vault.token(&["default"], json!({})).await.unwrap();
        let other_version = store::Vault { kv_version: Some(3 - self.kv), ..self.spec() };
        let no_mount = store::Vault { mount: "none-such".into(), ..self.spec() };
        let revoked = self.vault.token(&[&self.policy], json!({})).await.unwrap();
        self.vault.must("POST", "auth/token/revoke", json!({"token": revoked})).await.unwrap();
        let token = &self.token;
        let mut failing = vec![
            ("no such token", self.spec(), "hvs.none-such", ErrorKind::Unauthenticated),
            ("a revoked token", self.spec(), &revoked, ErrorKind::Unauthenticated),
            ("no rights", self.spec(), &stranger, ErrorKind::PermissionDenied),
            ("a mount that is not there", no_mount.clone(), token, ErrorKind::PermissionDenied),
            ("a mount that is not there, to root", no_mount, self.vault.root_token(), ErrorKind::InvalidConfig),
            ("the other version, to root", other_version.clone(), self.vault.root_token(), ErrorKind::InvalidConfig),
        ];
        for (wire, (how, kind)) in self.wires.iter().zip(WIRES) {
            failing.push((how, spec(&wire.url, &self.name, self.kv), token, *kind));
        }
        let mut backends = Vec::new();
        for (how, spec, token, kind) in failing {
            let driver = user(&spec, token, Encoding::Atmos).await.unwrap();
            let limit = if kind == ErrorKind::Timeout { Duration::from_millis(300) } else { Duration::from_secs(10) };
            let observer = Arc::new(|_, _: &'static str, _: Duration| {});
            let guarded: Arc<dyn Backend> = Arc::new(Guarded::new(driver, "Store/app".into(), limit, observer));
            backends.push((how, guarded, kind));
        }
        backends
    }

    fn value_reads(&self) -> Option<usize> {
        Some(Self::value_reads(self))
    }
}

const WIRES: &[(&str, ErrorKind)] = &[
    ("an answer 429", ErrorKind::RateLimited),
    ("a proxy's answer 401", ErrorKind::Unauthenticated),
    ("an answer 500", ErrorKind::Unavailable),
    ("a proxy's answer 502", ErrorKind::Unavailable),
    ("an answer 503", ErrorKind::Unavailable),
    ("an answer 504", ErrorKind::Timeout),
    ("a redirect", ErrorKind::Unexpected),
    ("a 404 that Vault did not give", ErrorKind::Unexpected),
    ("an answer that makes no sense", ErrorKind::Unexpected),
    ("silence", ErrorKind::Timeout),
    ("nobody there", ErrorKind::Unavailable),
];

async fn wires() -> Vec<Wire> {
    let html = || format!("<html>{}</html>", suite::CANARY);
    let errors = |words: &str| json!({"errors": [format!("{words} {}", suite::CANARY)]}).to_string();
    vec![
        wire::answering(429, errors("rate limit quota exceeded")).await,
        wire::answering(401, html()).await,
        wire::answering(500, errors("internal error")).await,
        wire::answering(502, html()).await,
        wire::answering(503, errors("Vault is sealed")).await,
        wire::answering(504, html()).await,
        wire::answering(307, html()).await,
        wire::answering(404, html()).await,
        wire::answering(200, json!([suite::CANARY]).to_string()).await,
        wire::silent().await,
        wire::absent().await,
    ]
}

#[tokio::test]
async fn version_2_keeps_the_guarantees() {
    let mount = Mount { wires: wires().await, ..Mount::new(2).await };
    suite::run(&mount).await;
}

#[tokio::test]
async fn version_1_keeps_the_guarantees() {
    let mount = Mount { wires: wires().await, ..Mount::new(1).await };
    suite::run(&mount).await;
}
