//! A stand-in for Azure Key Vault and for the login of Microsoft Entra ID, on loopback with TLS.
//!
//! No server of Microsoft's can be had, so this one speaks the wire protocol of the published references; each operation in
//! `azure/vault.rs`, `azure/keys.rs` and `azure/login.rs` cites its page. Microsoft's own Python client is held against it in
//! `tests/conformance`, so that it is not only our driver that agrees with it. What it does not do: making keys, certificates,
//! backups, replication.
//!
//! Requests come in through a [`FaultProxy`], which serves the TLS and breaks what a test wants broken. Programs that go to
//! Microsoft's own hosts and nowhere else come in through [`AzureVault::tunnel`].

mod keys;
mod login;
mod vault;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::keys::Keys;
pub use self::login::AzureApplication;
use self::login::Logins;
use self::vault::{Asked, Secrets};
use crate::fault_proxy::FaultProxy;
use crate::tunnel::Tunnel;

/// The resource that tokens must be for (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>).
const RESOURCE: &str = "https://vault.azure.net";
/// The hosts of Microsoft's that it answers for.
const HOSTS: [&str; 3] = ["*.vault.azure.net", login::HOST, "login.microsoft.com"];

/// A running vault with a login beside it. It ends when it is dropped.
pub struct AzureVault {
    shared: Arc<Shared>,
    proxy: FaultProxy,
    plain_url: String,
    ca_pem: String,
    _end: DropGuard,
}

/// One request that reached the vault or the login, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureRequest {
    /// Such as `GET`.
    pub method: String,
    /// Without the query, such as `/secrets/atmos-prod-K/`.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// An answer before it is one of HTTP: status and JSON body.
type Answer = (u16, Value);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    secrets: Secrets,
    keys: Keys,
    logins: Logins,
    requests: Vec<AzureRequest>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AzureVault {
    /// Starts one that has no secrets and knows no application.
    ///
    /// # Errors
    ///
    /// When no port is free, or no certificate can be made.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("could not listen on loopback")?;
        let plain_url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared))));
        let (proxy, ca_pem) = FaultProxy::tls_to_http(&plain_url, &HOSTS).await?;
        Ok(Self { shared, proxy, plain_url, ca_pem, _end: end.drop_guard() })
    }

    /// `https://127.0.0.1:<port>`: the address of the vault, and of the login.
    #[must_use]
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// Starts a proxy for programs that can be led to no other hosts than Microsoft's: whatever they connect to through it
    /// is this vault.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn tunnel(&self) -> anyhow::Result<Tunnel> {
        Tunnel::to(self.proxy.address()).await
    }

    /// Where a machine's own identity is asked for, without TLS as on a machine in Azure.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/metadata/identity/oauth2/token", self.plain_url)
    }

    /// The certificate authority of [`AzureVault::url`], PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What stands between the clients and the vault.
    #[must_use]
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// Everything that was answered so far, oldest first; what the proxy answered itself is not among it.
    #[must_use]
    pub fn requests(&self) -> Vec<AzureRequest> {
        self.shared.lock().requests.clone()
    }

    /// Registers an application, or changes what is known of it.
    pub fn register(&self, application: AzureApplication) {
        self.shared.lock().logins.register(application);
    }

    /// Makes an RSA key and returns its version.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn create_key(&self, name: &str) -> anyhow::Result<String> {
        self.shared.lock().keys.create(name)
    }

    /// A token of a registered application, as the login would give it.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn token(&self, client: &str) -> anyhow::Result<String> {
        self.shared.lock().logins.issue(client, RESOURCE)
    }

    /// Tokens that were given out so far are refused from now on.
    pub fn revoke_tokens(&self) {
        self.shared.lock().logins.revoke();
    }

    /// How long the login says that tokens live. Default: an hour, as Entra ID does.
    pub fn set_token_life(&self, life: Duration) {
        self.shared.lock().logins.set_life(life);
    }

    /// Writes a new version as another user of the vault, with the attributes of the reference
    /// (`{"enabled": false, "exp": 1700000000}`) or null, and returns its id.
    ///
    /// # Errors
    ///
    /// When the vault refuses it.
    pub fn set(&self, name: &str, value: &str, attributes: Value) -> anyhow::Result<String> {
        let body = json!({"value": value, "attributes": attributes});
        let (status, answer) = self.shared.lock().secrets.set("https://behind", name, &body)?;
        anyhow::ensure!(status == 200, "could not set {name}: {answer}");
        let id = answer.pointer("/id").and_then(Value::as_str).and_then(|id| id.rsplit('/').next());
        id.map(str::to_owned).context("a secret without an id")
    }

    /// The text that is stored as the latest version.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<String> {
        self.shared.lock().secrets.stored(name)
    }

    /// Deletes a secret, so that it can be recovered.
    pub fn delete(&self, name: &str) {
        let _ = self.shared.lock().secrets.delete("https://behind", name);
    }

    /// Takes a secret away for good.
    pub fn purge(&self, name: &str) {
        self.shared.lock().secrets.forget(name);
    }

    /// Deletions and recoveries are refused as unfinished (409) to the next so many requests that need them finished: the
    /// real service takes some seconds.
    pub fn linger(&self, requests: usize) {
        self.shared.lock().secrets.linger(requests);
    }

    /// Secrets of one page; the service gives 25 at most.
    pub fn set_page(&self, size: usize) {
        self.shared.lock().secrets.set_page(size);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A client that is gone before it was accepted is nobody's loss.
        let Ok((stream, _address)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(respond(&shared, request).await) });
            // Errors are those of a connection that one side has given up.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let method = parts.method.as_str();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let base = format!("https://{}", header(HOST).unwrap_or("localhost"));
    let mut challenge = None;
    let answered = match body.collect().await {
        Err(_broken) => Err(anyhow::anyhow!("the request broke off")),
        Ok(body) => {
            let body = body.to_bytes();
            if path.ends_with("/oauth2/v2.0/token") {
                login::token(shared, method, path, &body).await
            } else if let Some(answer) = login::discovery(method, path) {
                Ok(answer)
            } else if path == "/metadata/identity/oauth2/token" {
                login::metadata(shared, method, query, header(http::header::HeaderName::from_static("metadata")))
            } else {
                let mut state = shared.lock();
                let State { secrets, keys, logins, requests: _ } = &mut *state;
                match logins.rights(header(AUTHORIZATION), RESOURCE) {
                    Ok(rights) => {
                        let asked = Asked { base: &base, method, path, query, body: &body, rights };
                        if path.starts_with("/keys/") { Ok(keys.answer(&asked)) } else { secrets.answer(&asked) }
                    }
                    Err(why) => {
                        challenge = Some(why.challenge(logins.tenant(), RESOURCE));
                        Ok(why.answer())
                    }
                }
            }
        }
    };
    let (status, body) = answered
        .unwrap_or_else(|error| (500, json!({"error": {"code": "InternalError", "message": format!("{error:#}")}})));
    shared.lock().requests.push(AzureRequest { method: method.to_owned(), path: path.to_owned(), status });
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The fields of a form or a query, decoded.
fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Percent signs and plus signs undone (<https://url.spec.whatwg.org/#concept-urlencoded-parser>).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, after @ ..] => {
                let digits = [*high, *low];
                let byte = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.unwrap_or(b'%'));
                if byte.is_some() { after } else { rest.get(1..).unwrap_or_default() }
            }
            [b'+', after @ ..] => {
                bytes.push(b' ');
                after
            }
            [other, after @ ..] => {
                bytes.push(*other);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error as Key Vault writes it
/// (<https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret#keyvaulterror>).
fn refusal(status: u16, code: &str, inner: Option<&str>, message: &str) -> Answer {
    let mut error = json!({"code": code, "message": message});
    if let (Some(inner), Some(error)) = (inner, error.as_object_mut()) {
        error.insert("innererror".to_owned(), json!({"code": inner}));
    }
    (status, json!({"error": error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let found = fields("a=1%2B2&b=x+y&c&%24d=%c3%bc&&e=100%&f=%zz");
        let expected = [("a", "1+2"), ("b", "x y"), ("c", ""), ("$d", "ü"), ("e", "100%"), ("f", "%zz")];
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }
}
