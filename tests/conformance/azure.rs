//! The `azureKeyVault` driver on the stand-in of `e2e`, which Microsoft's own client is held against in [`official`].

mod logins;
mod official;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::{self, Encoding};
use atmos_secrets::backend::azure_key_vault::connect;
use atmos_secrets::backend::credentials::azure::{AzureApplication, AzureProof};
use atmos_secrets::backend::credentials::{Credentials, Surroundings, UserCredentials};
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key, Versioned};
use atmos_secrets::cluster::Objects;
use atmos_secrets::value::SecretValue;
use e2e::{AzureVault, Fault, Matching};
use serde_json::{Value, json};

use crate::suite::{self, Subject};
use crate::wire;

pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
pub const SECRET: &str = "client-secret/with+signs=&%";
pub const RIGHTS: [&str; 6] = ["get", "list", "set", "delete", "recover", "purge"];

/// A vault, and an application that may do these things there.
pub async fn vault(rights: &[&'static str]) -> AzureVault {
    let azure = AzureVault::start().await.expect("a vault");
    allow(&azure, rights);
    azure
}

pub fn allow(azure: &AzureVault, rights: &[&'static str]) {
    azure.register(e2e::AzureApplication {
        tenant: TENANT.into(),
        client: CLIENT.into(),
        secret: Some(SECRET.into()),
        rights: rights.to_vec(),
        ..e2e::AzureApplication::default()
    });
}

/// The network that reaches a vault and its login.
pub fn network(azure: &AzureVault) -> Network {
    let services = ["azure-login", "azure-keys"].map(|name| format!("{name}={}", azure.url()).parse().unwrap()).into();
    let roots = azure.ca_pem().as_bytes().to_vec();
    Network::new(Settings { loopback: true, services, roots, ..Settings::default() }).unwrap()
}

pub fn around(network: Network, objects: Objects, namespace: &str, credentials: Credentials) -> Surroundings {
    suite::surroundings(&objects, namespace, credentials, Encoding::Atmos, network)
}

pub fn spec(azure: &AzureVault) -> store::AzureKeyVault {
    store::AzureKeyVault { vault_url: azure.url(), auth: None }
}

/// The credentials of a person whose environment names the application.
pub fn person(secret: &str) -> Credentials {
    let application = AzureApplication {
        tenant: TENANT.into(),
        client: CLIENT.into(),
        proof: AzureProof::Secret(SecretValue::from(secret.to_owned())),
    };
    Credentials::OfUser(UserCredentials { azure: Some(application), ..UserCredentials::default() })
}

/// The driver with the application's secret; no cluster is there.
pub async fn user(azure: &AzureVault, encoding: Encoding) -> Arc<dyn Backend> {
    let objects = wire::absent().await.objects.clone();
    let around = Surroundings { encoding, ..around(network(azure), objects, "payments", person(SECRET)) };
    Arc::new(connect(&spec(azure), &around).await.map_err(|error| error.message).unwrap())
}

/// A text as Atmos stores it.
pub fn literal(text: &str) -> String {
    json!(text).to_string()
}

pub async fn read(backend: &Arc<dyn Backend>, name: &str) -> Result<Versioned, Error> {
    backend.read(&[Key::current(name)]).await.remove(0)
}

/// A refusal as Key Vault writes it; what it says may quote anything.
pub fn refusal(status: u16, code: &str, inner: &str) -> Fault {
    let error = json!({"code": code, "message": suite::CANARY, "innererror": {"code": inner}});
    Fault::Answer { code: status, retry_after: None, body: Some(json!({"error": error}).to_string()) }
}

fn text(status: u16, body: &str) -> Fault {
    Fault::Answer { code: status, retry_after: None, body: Some(body.to_owned()) }
}

struct Azure {
    azure: AzureVault,
    backend: Arc<dyn Backend>,
    /// Vaults that are kept as long as the drivers that use them.
    broken: Vec<(&'static str, AzureVault, ErrorKind)>,
}

impl Azure {
    async fn new() -> Self {
        let azure = vault(&RIGHTS).await;
        let backend = user(&azure, Encoding::Atmos).await;
        let mut broken = Vec::new();
        for (how, fault, path, kind) in faults() {
            let azure = vault(&RIGHTS).await;
            azure.proxy().inject(fault, Matching::any().path(path));
            broken.push((how, azure, kind));
        }
        let refused = vault(&RIGHTS).await;
        refused.proxy().refuse().await;
        broken.push(("nobody there", refused, ErrorKind::Unavailable));
        broken.push(("no rights", vault(&[]).await, ErrorKind::PermissionDenied));
        broken.push(("no such application", AzureVault::start().await.unwrap(), ErrorKind::Unauthenticated));
        Self { azure, backend, broken }
    }

    fn name(&self, name: &str) -> String {
        self.key(name).name
    }
}

/// Everything that can be wrong with a vault or its login, and the kind that it is.
fn faults() -> Vec<(&'static str, Fault, &'static str, ErrorKind)> {
    const VAULT: &str = "/secrets";
    const LOGIN: &str = "/oauth2/";
    let other = json!({"id": "https://x.vault.azure.net/secrets/other/00000000000000000000000000000000",
        "value": suite::CANARY, "attributes": {"enabled": true}});
    let login =
        |code: u32| json!({"error": "invalid_client", "error_codes": [code], "error_description": suite::CANARY});
    vec![
        ("denied by a role", refusal(403, "Forbidden", "ForbiddenByRbac"), VAULT, ErrorKind::PermissionDenied),
        ("denied by a firewall", refusal(403, "Forbidden", "ForbiddenByFirewall"), VAULT, ErrorKind::PermissionDenied),
        ("a token that is refused", refusal(401, "Unauthorized", ""), VAULT, ErrorKind::Unauthenticated),
        ("throttled", refusal(429, "Throttled", ""), VAULT, ErrorKind::RateLimited),
        ("an internal error", refusal(500, "InternalServerError", ""), VAULT, ErrorKind::Unavailable),
        ("an answer 502", text(502, "<html>bad gateway</html>"), VAULT, ErrorKind::Unavailable),
        ("an answer 503", text(503, ""), VAULT, ErrorKind::Unavailable),
        ("an answer 504", text(504, ""), VAULT, ErrorKind::Timeout),
        ("a proxy's answer 403", text(403, "<html>no</html>"), VAULT, ErrorKind::PermissionDenied),
        ("a 404 that Key Vault did not give", text(404, "404 page not found"), VAULT, ErrorKind::Unexpected),
        ("a redirect", text(307, ""), VAULT, ErrorKind::Unexpected),
        ("an answer that makes no sense", text(200, &json!([suite::CANARY]).to_string()), VAULT, ErrorKind::Unexpected),
        ("an answer that is empty", text(200, "{}"), VAULT, ErrorKind::Unexpected),
        ("the answer of another secret", text(200, &other.to_string()), VAULT, ErrorKind::Unexpected),
        ("a connection that breaks", Fault::Cut { after_bytes: 0 }, VAULT, ErrorKind::Unavailable),
        ("silence", Fault::Stall, VAULT, ErrorKind::Timeout),
        ("a wrong client secret", text(401, &login(7_000_215).to_string()), LOGIN, ErrorKind::Unauthenticated),
        ("a login that throttles", text(429, ""), LOGIN, ErrorKind::RateLimited),
        ("a login that is down", text(503, ""), LOGIN, ErrorKind::Unavailable),
        ("a login that makes no sense", text(200, "<html>"), LOGIN, ErrorKind::Unexpected),
        ("a login that breaks", Fault::Cut { after_bytes: 0 }, LOGIN, ErrorKind::Unavailable),
        ("a login that is silent", Fault::Stall, LOGIN, ErrorKind::Timeout),
    ]
}

#[async_trait]
impl Subject for Azure {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn key(&self, name: &str) -> Key {
        Key::current(format!("atmos-prod-{}", name.replace('_', "-")))
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        for (name, bytes) in values {
            let text = literal(std::str::from_utf8(bytes).unwrap());
            self.azure.set(&self.name(name), &text, Value::Null).unwrap();
        }
    }

    async fn unset(&self, name: &str) {
        self.azure.purge(&self.name(name));
    }

    fn holds_binary(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        // Two bytes are the quotes of Atmos.
        25 * 1024 - 2
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["0", "-", "--", "ends-", "UPPER", "0123456789abcdef0123456789abcdef"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        let long = "x".repeat(128);
        ["", "a_b", "a/b", "a.b", "a b", "a\n", "ü", "..", "a?b", "a%2Fb", "a#b", &long].map(Key::current).to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let mut failing = Vec::new();
        for (how, azure, kind) in &self.broken {
            let mut backend = user(azure, Encoding::Atmos).await;
            if *kind == ErrorKind::Timeout && how.contains("silen") {
                let observer = Arc::new(|_: Operation, _: &'static str, _: Duration| {});
                let limit = Duration::from_millis(300);
                backend = Arc::new(Guarded::new(backend, "Store/app".into(), limit, observer));
            }
            failing.push((*how, backend, *kind));
        }
        // Its certificate is of nobody who is trusted.
        let objects = wire::absent().await.objects.clone();
        let network = Network::new(Settings { loopback: true, ..Settings::default() }).unwrap();
        let services = Surroundings { ..around(network, objects, "payments", person(SECRET)) };
        let stranger = connect(&spec(&self.azure), &services).await.unwrap();
        failing.push(("an authority that is not trusted", Arc::new(stranger), ErrorKind::Unavailable));
        failing
    }

    fn value_reads(&self) -> Option<usize> {
        Some(value_reads(&self.azure))
    }
}

/// How often values were read.
pub fn value_reads(azure: &AzureVault) -> usize {
    let is_read = |request: &&e2e::AzureRequest| {
        request.method == "GET" && request.path.starts_with("/secrets/") && !request.path.ends_with("/versions")
    };
    azure.requests().iter().filter(is_read).count()
}

/// How often somebody logged in, well or not.
pub fn logins(azure: &AzureVault) -> usize {
    azure.requests().iter().filter(|request| request.path.ends_with("/oauth2/v2.0/token")).count()
}

#[tokio::test]
async fn the_driver_keeps_the_guarantees() {
    suite::run(&Azure::new().await).await;
}
