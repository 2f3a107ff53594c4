//! Logins to Azure: an application by client secret or by a ServiceAccount's token, a managed identity, a person.
//!
//! | `auth` | what is presented | to whom |
//! |---|---|---|
//! | `clientSecret` | the secret of an application | Microsoft Entra ID |
//! | `workloadIdentity` | a ServiceAccount's token (TokenRequest, audience `api://AzureADTokenExchange`) | Microsoft Entra ID |
//! | `managedIdentity` | nothing: the machine is asked what it is | its metadata service, for ClusterStores with ambient rights |
//! | a person's own | variables of the environment, or the Azure CLI | Entra ID, or `az` |
//!
//! One [`Login`] belongs to one connected store:
//! - It logs in when the first call needs it, and once for all calls that wait: those who come meanwhile share the
//!   outcome, good or bad. A refusal is remembered for [`REMEMBERED`], so that the keys of one refresh ask once.
//! - A token is renewed after 80 % of its life by this machine's own monotonic clock. While that fails, the one at hand is
//!   used to its end.
//! - A token that the vault refuses before that is given up once, and the call is made again; not sooner than
//!   [`FORCED_PAUSE`] after the last time.
//!
//! Whom a token is asked from, and what it is for, follows from the Store alone; what a vault's challenge says about that
//! is never read.

mod cloud;
mod error;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use self::cloud::Cloud;
use self::source::{Issued, Place, Proof, Source};
use super::{Credentials, Surroundings};
use crate::api::store::{AzureAuth, AzureClientSecret, AzureManagedIdentity, AzureWorkloadIdentity};
use crate::backend::network::Service;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The share of its life after which a token is renewed.
const RENEW_AT: f64 = 0.8;
/// The shortest time between two renewals, whatever life the answer promises.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The longest life that is believed: what tokens of managed identities have.
const MOST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a token at hand is used before another try of a renewal that failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// How long a login that was refused is not tried again.
pub const REMEMBERED: Duration = Duration::from_secs(5);
/// How soon after a login that a refusal forced another one may be forced.
pub const FORCED_PAUSE: Duration = Duration::from_secs(30);
/// The metadata service of every machine in Azure.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// An application that a person's environment names, as the tools of Azure read it.
pub struct AzureApplication {
    /// `AZURE_TENANT_ID`.
    pub tenant: String,
    /// `AZURE_CLIENT_ID`.
    pub client: String,
    /// What proves it.
    pub proof: AzureProof,
}

/// What proves an application.
pub enum AzureProof {
    /// `AZURE_CLIENT_SECRET`.
    Secret(SecretValue),
    /// What is in the file of `AZURE_FEDERATED_TOKEN_FILE`.
    Assertion(SecretValue),
}

/// The login of one store.
pub struct Login {
    source: Source,
    place: Place,
    state: Mutex<State>,
    /// How many logins have ended, well or not.
    ended: AtomicU64,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    /// Why the last login failed, if it did, and when.
    failed: Option<(Error, Instant)>,
    /// The last login whose token was given up, and when.
    forced: Option<(u64, Instant)>,
}

/// A token at hand. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    token: Arc<SecretValue>,
    /// The login that it is from.
    number: u64,
    renew: Instant,
    end: Instant,
}

impl Session {
    /// The token.
    #[must_use]
    pub fn token(&self) -> &SecretValue {
        &self.token
    }
}

impl Login {
    /// What a Store's `auth` says, or a person's own credentials. Reads the Secret, and logs in nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an `auth` that cannot work, [`ErrorKind::SourceNotFound`] without the Secret.
    pub async fn new(auth: Option<&AzureAuth>, cloud: Cloud, around: &Surroundings) -> Result<Self, Error> {
        let source = match &around.credentials {
            Credentials::OfUser(user) => of_user(user.azure.as_ref(), auth)?,
            Credentials::OfStore(rights) => of_store(auth, rights.ambient, around).await?,
        };
        let network = match &source {
            Source::Application { .. } | Source::CommandLine { .. } => around.network.client(),
            Source::Machine { .. } => around.network.client_for_metadata()?,
        };
        let authority = match around.network.service(Service::AzureLogin) {
            Some(elsewhere) => elsewhere.clone(),
            None => address(cloud.authority())?,
        };
        let place = Place { authority, resource: cloud.resource(), network };
        Ok(Self { source, place, state: Mutex::default(), ended: AtomicU64::new(0) })
    }

    /// The token to call with: the one at hand, or that of a login that all callers share.
    ///
    /// # Errors
    /// What keeps the login from being good.
    pub async fn session(&self) -> Result<Session, Error> {
        let ended = self.ended.load(Ordering::SeqCst);
        // Held while logging in, so that there is one login at a time; a caller that is dropped lets the next one try.
        let mut state = self.state.lock().await;
        let began = Instant::now();
        if let Some(session) = state.session.as_ref().filter(|session| began < session.renew) {
            return Ok(session.clone());
        }
        if let Some((error, at)) = &state.failed {
            let waited = self.ended.load(Ordering::SeqCst) != ended;
            if waited || (!error.kind.is_transient() && at.elapsed() < REMEMBERED) {
                return Err(error.clone());
            }
        }
        let outcome = self.source.token(&self.place).await;
        let number = self.ended.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        match outcome {
            Ok(Issued { token, life }) => {
                let life = life.clamp(LEAST_LIFE, MOST_LIFE);
                let (renew, end) = (began + life.mul_f64(RENEW_AT), began + life);
                let session = Session { token: Arc::new(token), number, renew, end };
                state.failed = None;
                state.session = Some(session.clone());
                Ok(session)
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(session) = state.session.as_mut().filter(|session| now < session.end) {
                    session.renew = now + RENEWAL_PAUSE;
                    return Ok(session.clone());
                }
                state.session = None;
                state.failed = Some((error.clone(), now));
                Err(error)
            }
        }
    }

    /// Gives up a token that the vault refused. `false`: there is no better one to be had now.
    pub async fn give_up(&self, refused: &Session) -> bool {
        let mut state = self.state.lock().await;
        // Another one is there already, or somebody who was refused, too, is about to ask for it.
        let is_replaced = state.session.as_ref().is_some_and(|session| session.number != refused.number);
        if is_replaced || state.forced.is_some_and(|(number, _)| number == refused.number) {
            return true;
        }
        let now = Instant::now();
        if state.forced.is_some_and(|(_, forced)| now.duration_since(forced) < FORCED_PAUSE) {
            return false;
        }
        state.session = None;
        state.forced = Some((refused.number, now));
        true
    }
}

async fn of_store(auth: Option<&AzureAuth>, may_use_ambient: bool, around: &Surroundings) -> Result<Source, Error> {
    let one = || invalid("auth must name exactly one of workloadIdentity, managedIdentity and clientSecret");
    let AzureAuth { workload_identity, managed_identity, client_secret } = auth.ok_or_else(one)?;
    match (workload_identity, managed_identity, client_secret) {
        (Some(AzureWorkloadIdentity { tenant_id, client_id, service_account }), None, None) => {
            let references = Box::new(around.references.clone());
            let proof = Proof::ServiceAccount { account: service_account.clone(), references };
            application("auth.workloadIdentity", tenant_id, client_id, proof)
        }
        (None, Some(AzureManagedIdentity { client_id }), None) => {
            if !may_use_ambient || !around.store.starts_with("ClusterStore/") {
                let what = "auth.managedIdentity is the identity of the operator's machine: it is for ClusterStores, of an \
                            operator started with --allow-ambient-credentials";
                return Err(invalid(what));
            }
            let client = client_id.as_deref().map(|id| identifier("auth.managedIdentity.clientId", id)).transpose()?;
            Ok(Source::Machine { client, address: address(METADATA)? })
        }
        (None, None, Some(AzureClientSecret { tenant_id, client_id, client_secret })) => {
            let found = around.references.secret_key(client_secret).await?;
            let secret = found.expose().trim_ascii();
            if secret.is_empty() || secret.starts_with(b"${") {
                let (name, key) = (&client_secret.secret, &client_secret.key);
                let message = format!("key {key} of Secret {name} is no client secret: it is empty or a placeholder");
                return Err(Error::new(ErrorKind::Unauthenticated, message));
            }
            let proof = Proof::Secret(SecretValue::new(secret.to_vec()));
            application("auth.clientSecret", tenant_id, client_id, proof)
        }
        _ => Err(one()),
    }
}

/// What the environment names; else the Azure CLI, in the tenant that the Store names for the operator.
fn of_user(user: Option<&AzureApplication>, auth: Option<&AzureAuth>) -> Result<Source, Error> {
    if let Some(AzureApplication { tenant, client, proof }) = user {
        let copy = |value: &SecretValue| SecretValue::new(value.expose().trim_ascii().to_vec());
        let proof = match proof {
            AzureProof::Secret(secret) => Proof::Secret(copy(secret)),
            AzureProof::Assertion(token) => Proof::Assertion(copy(token)),
        };
        return application("AZURE", tenant, client, proof);
    }
    let tenant = auth.and_then(|AzureAuth { workload_identity, managed_identity: _, client_secret }| {
        let workload = workload_identity.as_ref().map(|identity| &identity.tenant_id);
        workload.or(client_secret.as_ref().map(|secret| &secret.tenant_id))
    });
    let tenant = tenant.map(|tenant| identifier("auth.tenantId", tenant)).transpose()?;
    Ok(Source::CommandLine { tenant })
}

fn application(field: &str, tenant: &str, client: &str, proof: Proof) -> Result<Source, Error> {
    let tenant = identifier(&format!("{field}: the tenant id"), tenant)?;
    let client = identifier(&format!("{field}: the client id"), client)?;
    Ok(Source::Application { tenant, client, proof })
}

/// A GUID, or the domain of a tenant: nothing that could mean something in a path, a form or an argument.
fn identifier(what: &str, text: &str) -> Result<String, Error> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if text.is_empty() || !is_plain || text.starts_with(['-', '.']) {
        return Err(invalid(&format!("{what} is none")));
    }
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|_| invalid("the address of the Azure login cannot be one"))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
