//! The `gcpSecretManager` driver on a Google Cloud of our own, which Google's own client is tried on as well.

mod client;
mod logins;
mod values;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::{Encoding, GcpAuth, GcpSecretManager as Spec, SecretKey};
use atmos_secrets::backend::credentials::Surroundings;
use atmos_secrets::backend::gcp_secret_manager::{self, GcpSecretManager};
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key, Versioned};
use e2e::gcp::PROJECT;
use e2e::{Fault, FaultProxy, Gcp, Matching};
use serde_json::json;

use crate::kubernetes::{Cluster, base64};
use crate::suite::{self, CANARY, Subject, only};

pub const READER: &str = "reader@payments-prod.iam.gserviceaccount.com";

/// A namespace with a key of a service account, and a Google Cloud that knows it.
pub struct Google {
    pub cluster: Cluster,
    pub gcp: Gcp,
    /// In front of Secret Manager.
    pub proxy: FaultProxy,
    /// In front of what gives tokens.
    pub tokens: FaultProxy,
}

impl Google {
    pub async fn new(prefix: &str) -> Self {
        let cluster = Cluster::new(prefix).await;
        let gcp = Gcp::start().unwrap();
        let proxy = FaultProxy::to_http(&gcp.plain_url()).await.unwrap();
        let tokens = FaultProxy::to_http(&gcp.plain_url()).await.unwrap();
        let google = Self { cluster, gcp, proxy, tokens };
        google.new_key("google").await;
        google
    }

    /// Makes a key of the reader, which ends the one before, and stores it.
    pub async fn new_key(&self, secret: &str) {
        let key = self.gcp.account_key(READER).unwrap();
        let data = json!({"key.json": base64(key.to_string().as_bytes())});
        self.cluster.patch_secret(secret, &json!({"data": data})).await;
    }

    pub fn spec(&self) -> Spec {
        Spec {
            project_id: PROJECT.into(),
            endpoint: Some(self.proxy.url()),
            auth: Some(key("google")),
            ..Spec::default()
        }
    }

    /// What a driver is connected with.
    pub fn around(&self, encoding: Encoding) -> Surroundings {
        let at = |service: &str| format!("{service}={}", self.tokens.url()).parse().unwrap();
        let settings = Settings {
            loopback: true,
            services: ["gcp-oauth", "gcp-sts", "gcp-iam-credentials"].map(at).to_vec(),
            roots: self.gcp.ca_pem().as_bytes().to_vec(),
            ..Settings::default()
        };
        let network = Network::new(settings).unwrap();
        suite::surroundings(&self.cluster.objects, &self.cluster.namespace, suite::of_operator(), encoding, network)
    }

    pub async fn try_connect(&self, spec: &Spec, encoding: Encoding) -> Result<GcpSecretManager, Error> {
        gcp_secret_manager::connect(spec, &self.around(encoding)).await
    }

    pub async fn connect(&self, spec: &Spec) -> GcpSecretManager {
        self.try_connect(spec, Encoding::Atmos).await.map_err(|error| error.message).unwrap()
    }

    /// The driver as the Secret's key opens it.
    pub async fn backend(&self) -> GcpSecretManager {
        self.connect(&self.spec()).await
    }

    /// Stores a text as Atmos does.
    pub fn put(&self, id: &str, text: &str) -> u64 {
        self.gcp.put(id, json!(text).to_string().as_bytes())
    }
}

pub fn key(secret: &str) -> GcpAuth {
    let reference = SecretKey { secret: secret.into(), key: "key.json".into() };
    GcpAuth { service_account_key: Some(reference), ..GcpAuth::default() }
}

pub fn versioned(id: &str, version: &str) -> Key {
    Key { name: id.into(), version: Some(version.into()) }
}

pub async fn read(backend: &GcpSecretManager, id: &str) -> Result<Versioned, Error> {
    only(backend.read(&[Key::current(id)]).await)
}

/// The text of a value and its version.
#[track_caller]
pub fn text(result: Result<Versioned, Error>) -> (String, String) {
    let found = result.map_err(|error| error.message).unwrap();
    (String::from_utf8(found.value.expose().to_vec()).unwrap(), found.version)
}

#[track_caller]
pub fn kind<T>(result: &Result<T, Error>) -> ErrorKind {
    result.as_ref().err().expect("an error").kind
}

/// An error as Google forms it. What it says may quote anything.
pub fn refusal(code: u16, status: &str) -> Fault {
    let body = json!({"error": {"code": code, "status": status, "message": CANARY}}).to_string();
    Fault::Answer { code, retry_after: None, body: Some(body) }
}

/// Everything that can be wrong with the service, and the kind that it is.
fn faults() -> Vec<(&'static str, Fault, ErrorKind)> {
    let text = |code: u16, body: &str| Fault::Answer { code, retry_after: None, body: Some(body.to_owned()) };
    vec![
        ("denied", refusal(403, "PERMISSION_DENIED"), ErrorKind::PermissionDenied),
        ("a token that is not known", refusal(401, "UNAUTHENTICATED"), ErrorKind::Unauthenticated),
        ("a state that does not allow it", refusal(400, "FAILED_PRECONDITION"), ErrorKind::Undecodable),
        ("a request that is not taken", refusal(400, "INVALID_ARGUMENT"), ErrorKind::InvalidConfig),
        ("throttled", refusal(429, "RESOURCE_EXHAUSTED"), ErrorKind::RateLimited),
        ("an internal failure", refusal(500, "INTERNAL"), ErrorKind::Unavailable),
        ("an answer 502", text(502, "<html>bad gateway</html>"), ErrorKind::Unavailable),
        ("an answer 503", refusal(503, "UNAVAILABLE"), ErrorKind::Unavailable),
        ("an answer 504", refusal(504, "DEADLINE_EXCEEDED"), ErrorKind::Timeout),
        ("a redirect", text(302, ""), ErrorKind::Unexpected),
        ("an answer 403 from in front of the service", text(403, "<html>no</html>"), ErrorKind::PermissionDenied),
        ("a 404 that is not Secret Manager's", text(404, "<html>Error 404</html>"), ErrorKind::Unexpected),
        ("an answer that makes no sense", text(200, "[]"), ErrorKind::Unexpected),
        ("an answer that is empty", text(200, "{}"), ErrorKind::Unexpected),
        ("a connection that breaks", Fault::Cut { after_bytes: 0 }, ErrorKind::Unavailable),
    ]
}

struct Store {
    google: Google,
    backend: Arc<GcpSecretManager>,
    broken: Vec<(&'static str, FaultProxy, ErrorKind)>,
}

impl Store {
    async fn new(prefix: &str) -> Self {
        let google = Google::new(prefix).await;
        let backend = Arc::new(google.backend().await);
        let mut broken = Vec::new();
        for (how, fault, kind) in faults() {
            let proxy = FaultProxy::to_http(&google.gcp.plain_url()).await.unwrap();
            proxy.inject(fault, Matching::any());
            broken.push((how, proxy, kind));
        }
        Self { google, backend, broken }
    }
}

#[async_trait]
impl Subject for Store {
    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    fn key(&self, name: &str) -> Key {
        Key::current(name)
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        for (name, bytes) in values {
            match std::str::from_utf8(bytes) {
                Ok(text) => self.google.put(name, text),
                Err(_) => self.google.gcp.put(name, bytes),
            };
        }
    }

    async fn unset(&self, name: &str) {
        self.google.gcp.remove(name);
    }

    fn holds_binary(&self) -> bool {
        true
    }

    fn largest(&self) -> usize {
        // Two of 64 KiB are the quotes of the literal.
        (64 << 10) - 2
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a-b_c", "-", "_", "9", "latest", "versions", "UPPER-lower"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        let long = "x".repeat(256);
        ["", "a b", "a/b", "a.b", "a:access", "a?b", "ü", "a\n", &long].map(Key::current).to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let at = |url: String| Spec { endpoint: Some(url), ..self.google.spec() };
        let mut failing: Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> = Vec::new();
        for (how, proxy, kind) in &self.broken {
            failing.push((how, Arc::new(self.google.connect(&at(proxy.url())).await), *kind));
        }
        let nobody = self.google.connect(&at("http://127.0.0.1:1".into())).await;
        failing.push(("nobody there", Arc::new(nobody), ErrorKind::Unavailable));
        let elsewhere = Spec { project_id: "somebody-elses".into(), ..self.google.spec() };
        failing.push(("no such project", Arc::new(self.google.connect(&elsewhere).await), ErrorKind::InvalidConfig));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        // It takes connections as long as the process lives, and says nothing.
        std::mem::forget(silent);
        let silent = Arc::new(self.google.connect(&at(url)).await);
        let limit = Duration::from_millis(300);
        let late =
            Guarded::new(silent, "Store/app".into(), limit, Arc::new(|_: Operation, _: &'static str, _: Duration| {}));
        failing.push(("silence", Arc::new(late), ErrorKind::Timeout));
        failing
    }

    fn value_reads(&self) -> Option<usize> {
        Some(self.google.gcp.count(":access"))
    }
}

#[tokio::test]
async fn secret_manager_keeps_the_guarantees() {
    suite::run(&Store::new("google").await).await;
}
