//! A Google Cloud on loopback, written against Google's REST references: Secret Manager, Cloud KMS, and what gives tokens.
//!
//! | service | requests | module |
//! |---|---|---|
//! | [Secret Manager](https://cloud.google.com/secret-manager/docs/reference/rest) | `/v1/projects/…/secrets…` | `secrets` |
//! | [Cloud KMS](https://cloud.google.com/kms/docs/reference/rest) | `/v1/projects/…/cryptoKeys/…` | `kms` |
//! | [OAuth](https://developers.google.com/identity/protocols/oauth2/service-account#httprest) | `POST /token` | `tokens` |
//! | [Security Token Service](https://cloud.google.com/iam/docs/reference/sts/rest) | `POST /v1/token` | `tokens` |
//! | [IAM Credentials](https://cloud.google.com/iam/docs/reference/credentials/rest) | `POST …:generateAccessToken` | `tokens` |
//!
//! All answer at one address with TLS under an authority of their own, and at another one without, where
//! [`FaultProxy`](crate::FaultProxy) can stand in front: late, broken and failing answers are its business. What a proxy
//! cannot do is done here: tokens that end, rights, states of versions, checksums that are wrong.
//!
//! Not as in Google's: replication, regions, rotation, labels and topics mean nothing, IAM knows single rights of an
//! identity on the whole project or all of them on single secrets, and the signature of a federated token is not checked.

mod answer;
mod kms;
mod python;
mod secrets;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use self::python::Client as GcpPythonClient;
use self::secrets::{Secret, State, Version};
use crate::control_plane::pki::Authority;
use crate::control_plane::random_token;
use crate::tls_server::{Request, Response, TlsServer};

/// The one project that there is.
pub const PROJECT: &str = "payments-prod";
/// What answers call it.
pub const PROJECT_NUMBER: &str = "123456789012";

/// A running Google Cloud. It is gone when it is dropped.
pub struct Gcp {
    https: TlsServer,
    http: TlsServer,
    authority: String,
    world: Arc<Mutex<World>>,
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

/// Everything that it knows.
#[derive(Default)]
struct World {
    secrets: BTreeMap<String, Secret>,
    /// Who a token is for; gone when it has ended.
    tokens: BTreeMap<String, String>,
    /// Tokens that are good for IAM alone.
    for_iam: BTreeSet<String>,
    /// Every token that was ever given out.
    given_out: Vec<String>,
    /// Keys of service accounts, by their address: the id and the public half.
    keys: BTreeMap<String, (String, Vec<u8>)>,
    /// Refresh tokens, and who they are for.
    refresh: BTreeMap<String, String>,
    /// Workload identity providers by their full names, and the subjects that each lets in.
    providers: BTreeMap<String, BTreeSet<String>>,
    /// Who may act as which account.
    actors: BTreeSet<(String, String)>,
    /// The rights of those who have not all.
    rights: BTreeMap<String, BTreeSet<String>>,
    /// The secrets of those who have rights on single ones alone.
    confined: BTreeMap<String, BTreeSet<String>>,
    /// Keys of Cloud KMS by their full names.
    crypto_keys: BTreeMap<String, [u8; 32]>,
    requests: Vec<GcpRequest>,
    etags: u64,
}

impl World {
    fn respond(&mut self, request: &Request) -> Response {
        let path = request.uri().path();
        let response = match (request.method().as_str(), path) {
            ("POST", "/token") => self.oauth(request),
            ("POST", "/v1/token") => self.exchange(request),
            ("POST", path) if path.starts_with("/v1/projects/-/serviceAccounts/") => self.generate(request),
            ("POST", path) if path.contains("/cryptoKeys/") => self.kms(request, path),
            (_, path) if path.starts_with("/v1/projects/") => self.secret_manager(request),
            _ => answer::not_found_page(),
        };
        let path = request.uri().path_and_query().map_or(path, http::uri::PathAndQuery::as_str).to_owned();
        self.requests.push(GcpRequest {
            method: request.method().to_string(),
            path,
            status: response.status().as_u16(),
        });
        response
    }

    /// A new token for somebody.
    fn token(&mut self, principal: &str) -> anyhow::Result<String> {
        let token = format!("ya29.{}", random_token()?);
        self.tokens.insert(token.clone(), principal.to_owned());
        self.given_out.push(token.clone());
        Ok(token)
    }

    /// Quotes are a part of it (<https://cloud.google.com/secret-manager/docs/etags>).
    fn etag(&mut self) -> String {
        self.etags += 1;
        format!("\"{:x}\"", 0x0001_5f3a_u64 + self.etags)
    }
}

impl Gcp {
    /// Starts one without any secret.
    ///
    /// # Errors
    ///
    /// When no port is free or no certificate can be made.
    pub fn start() -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let world = Arc::<Mutex<World>>::default();
        let answer = |world: &Arc<Mutex<World>>| {
            let world = Arc::clone(world);
            move |request: Request| world.lock().unwrap_or_else(PoisonError::into_inner).respond(&request)
        };
        Ok(Self {
            https: TlsServer::start(Some(&authority.server()?), answer(&world))?,
            http: TlsServer::start(None, answer(&world))?,
            authority: authority.pem(),
            world,
        })
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.https.address())
    }

    /// `http://127.0.0.1:<port>`: the same without TLS.
    #[must_use]
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// The certificate authority that its certificate is from, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// What it was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<GcpRequest> {
        self.world().requests.clone()
    }

    /// How many requests so far had this in method, path and query, such as `POST /token` or `:access`.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        let has = |request: &&GcpRequest| format!("{} {}", request.method, request.path).contains(part);
        self.world().requests.iter().filter(has).count()
    }

    /// Adds a version behind everybody's back, and the secret if it is not there; returns its number.
    pub fn put(&self, id: &str, payload: &[u8]) -> u64 {
        let mut world = self.world();
        let (of_secret, of_version) = (world.etag(), world.etag());
        let secret = world.secrets.entry(id.to_owned()).or_insert_with(|| Secret::new(of_secret, json!({})));
        secret.add(payload.to_vec(), of_version, false)
    }

    /// Makes a secret without any version.
    pub fn create_empty(&self, id: &str) {
        let mut world = self.world();
        let etag = world.etag();
        world.secrets.insert(id.to_owned(), Secret::new(etag, json!({"automatic": {}})));
    }

    /// Whether the version that was added last came with a checksum.
    #[must_use]
    pub fn has_checksum(&self, id: &str) -> bool {
        self.world().secrets.get(id).and_then(|secret| secret.versions.last()).is_some_and(|version| version.is_summed)
    }

    /// Deletes a secret behind everybody's back.
    pub fn remove(&self, id: &str) {
        self.world().secrets.remove(id);
    }

    /// The payload of the version that was added last, whatever its state.
    #[must_use]
    pub fn payload(&self, id: &str) -> Option<Vec<u8>> {
        self.world().secrets.get(id)?.versions.last().map(|version| version.payload.clone())
    }

    /// The replication that a secret was created with, as JSON.
    #[must_use]
    pub fn replication(&self, id: &str) -> Option<Value> {
        self.world().secrets.get(id).map(|secret| secret.replication.clone())
    }

    /// Gives a version a name.
    pub fn set_alias(&self, id: &str, alias: &str, version: u64) {
        if let Some(secret) = self.world().secrets.get_mut(id) {
            secret.aliases.insert(alias.to_owned(), version);
        }
    }

    /// Disables a version.
    pub fn disable(&self, id: &str, version: u64) {
        self.change(id, version, |version| version.state = State::Disabled);
    }

    /// Enables a version again.
    pub fn enable(&self, id: &str, version: u64) {
        self.change(id, version, |version| version.state = State::Enabled);
    }

    /// Destroys a version for good.
    pub fn destroy(&self, id: &str, version: u64) {
        self.change(id, version, Version::destroy);
    }

    /// Lets a version be sent with a checksum that is not its own.
    pub fn damage(&self, id: &str, version: u64) {
        self.change(id, version, |version| version.is_damaged = true);
    }

    /// Changes a secret's metadata, and so its etag.
    pub fn touch(&self, id: &str) {
        let mut world = self.world();
        let etag = world.etag();
        if let Some(secret) = world.secrets.get_mut(id) {
            secret.etag = etag;
        }
    }

    /// Makes a key of a service account, which replaces an older one, as Google gives it out.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn account_key(&self, email: &str) -> anyhow::Result<Value> {
        let (pem, public) = tokens::new_key()?;
        let id = random_token()?;
        self.world().keys.insert(email.to_owned(), (id.clone(), public));
        Ok(json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": id, "private_key": pem,
            "client_email": email, "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": tokens::OAUTH_AUDIENCE,
            "universe_domain": "googleapis.com",
        }))
    }

    /// What `gcloud auth application-default login` leaves for a person.
    ///
    /// # Errors
    ///
    /// When there is no randomness to be had.
    pub fn person(&self, email: &str) -> anyhow::Result<Value> {
        let refresh = format!("1//{}", random_token()?);
        self.world().refresh.insert(refresh.clone(), email.to_owned());
        Ok(json!({
            "type": "authorized_user", "account": "", "client_id": tokens::CLIENT_ID,
            "client_secret": tokens::CLIENT_SECRET, "refresh_token": refresh, "universe_domain": "googleapis.com",
        }))
    }

    /// Lets a subject of another issuer in, by the provider `projects/…/providers/…` or
    /// `identitynamespace:…`.
    pub fn trust(&self, provider: &str, subject: &str) {
        self.world().providers.entry(provider.to_owned()).or_default().insert(subject.to_owned());
    }

    /// Lets a federated subject act as a service account.
    pub fn let_act_as(&self, subject: &str, email: &str) {
        self.world().actors.insert((subject.to_owned(), email.to_owned()));
    }

    /// Makes a key of Cloud KMS, and returns its name.
    ///
    /// # Errors
    ///
    /// When there is no randomness to be had.
    pub fn create_key(&self, name: &str) -> anyhow::Result<String> {
        let id = format!("projects/{PROJECT}/locations/global/keyRings/sops/cryptoKeys/{name}");
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| anyhow::anyhow!("there is no randomness"))?;
        self.world().crypto_keys.insert(id.clone(), key);
        Ok(id)
    }

    /// An access token of somebody.
    ///
    /// # Errors
    ///
    /// When there is no randomness to be had.
    pub fn access_token(&self, principal: &str) -> anyhow::Result<String> {
        self.world().token(principal)
    }

    /// Every token that was given out so far, ended ones included.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.world().given_out.clone()
    }

    /// Takes this as an access token of somebody, too.
    pub fn accept_token(&self, token: &str, principal: &str) {
        self.world().tokens.insert(token.to_owned(), principal.to_owned());
    }

    /// Ends all tokens that were given out so far.
    pub fn end_tokens(&self) {
        self.world().tokens.clear();
    }

    /// Takes all rights from somebody but these, such as `secretmanager.versions.access`.
    pub fn permit_only(&self, principal: &str, rights: &[&str]) {
        let rights = rights.iter().map(|right| (*right).to_owned()).collect();
        self.world().rights.insert(principal.to_owned(), rights);
    }

    /// Gives somebody rights on these secrets alone, and none on the project.
    pub fn permit_only_on(&self, principal: &str, ids: &[&str]) {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.world().confined.insert(principal.to_owned(), ids);
    }

    fn change(&self, id: &str, version: u64, change: impl FnOnce(&mut Version)) {
        if let Some(version) = self.world().secrets.get_mut(id).and_then(|secret| secret.version_mut(version)) {
            change(version);
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it held the lock has left nothing half done.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a JSON pointer leads to; null if it is nothing.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}
