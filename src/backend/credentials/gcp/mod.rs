//! Logins to Google Cloud: a ServiceAccount of the cluster, the key of a service account, or a person's own.
//!
//! ```text
//! workloadIdentity:  TokenRequest ─▶ sts.googleapis.com ─▶ [iamcredentials.googleapis.com] ─▶ access token
//! serviceAccountKey: a JWT signed with the key ─▶ oauth2.googleapis.com ────────────────────▶ access token
//! a person's own:    an access token, a refresh token or a key, as gcloud leaves them ──────▶ access token
//! ```
//!
//! The requests are our own, since the SDK's credentials have an HTTP client of their own, which keeps none of the rules of
//! [`network`](crate::backend::network), and read the environment.
//!
//! One [`Login`] belongs to one connected store:
//! - It logs in when the first call needs it, and once for all calls that wait: those who come meanwhile share the
//!   outcome, good or bad.
//! - A token is renewed after 80 % of its life by this machine's monotonic clock. While the renewal fails, the one at hand
//!   is used to its end.
//! - A token that is refused (401) before that is given up once, and the call is made again; not sooner than
//!   [`FORCED_PAUSE`] after the last time.
//! - A key in a Secret is read when the store is connected: a changed Secret makes a new connection.

mod answer;
mod error;
mod exchange;
mod key;
mod person;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use self::answer::{Answer, Refusal, of_status};
use self::exchange::{Federated, Impersonated};
use self::key::ServiceAccountKey;
pub use self::person::Personal;
use self::person::RefreshToken;
use super::{Credentials, Surroundings};
use crate::api::store::{GcpAuth, GcpWorkloadIdentity, SecretKey};
use crate::backend::network::{Client, Network, Service};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// What a token is for: every service that IAM lets the account use, as Google's own libraries ask for
/// (<https://cloud.google.com/secret-manager/docs/accessing-the-api#oauth-scopes>).
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The share of its life after which a token is renewed.
const RENEW_AT: f64 = 0.8;
/// The shortest time between two renewals, whatever life an answer promises.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The longest life that is believed: no token of Google lives longer.
const MOST_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long a token at hand is used before another try of a renewal that failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// How soon after a login that a refusal forced another one may be forced.
pub const FORCED_PAUSE: Duration = Duration::from_secs(30);
/// How long a login that was refused is not tried again: the keys of one batch come within that.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The token of one store. See the module documentation.
pub struct Login {
    source: Source,
    places: Places,
    state: Mutex<State>,
    /// How many logins have ended, well or not.
    ended: AtomicU64,
}

/// Where tokens come from.
enum Source {
    Federated(Box<Federated>, Option<Impersonated>),
    Key(ServiceAccountKey),
    Refresh(RefreshToken),
    /// One that somebody else made, and where it was found.
    Token(Arc<SecretValue>, String),
}

/// Google's services for logins, and the way there.
struct Places {
    client: Client,
    sts: String,
    iam_credentials: String,
    oauth: Option<String>,
}

/// What a login gives.
struct Issued {
    token: SecretValue,
    /// `None`: nobody said how long it lives, and there is no other.
    life: Option<Duration>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<Failed>,
    forced: Option<Instant>,
    /// Counts the tokens, to tell one that was refused from its successor.
    number: u64,
}

struct Kept {
    token: Arc<SecretValue>,
    /// When to renew and when it ends; `None` if never.
    life: Option<(Instant, Instant)>,
}

struct Failed {
    error: Error,
    at: Instant,
}

impl Login {
    /// What a Store's `auth` says, or a person's own credentials. Reads the Secret, and logs in nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an `auth` that cannot work, [`ErrorKind::SourceNotFound`] without the Secret.
    pub async fn new(auth: Option<&GcpAuth>, around: &Surroundings) -> Result<Self, Error> {
        let network = &around.network;
        let source = match &around.credentials {
            Credentials::OfUser(user) => person::source(user.gcp.as_ref(), network)?,
            Credentials::OfStore(_) => of_store(auth, around).await?,
        };
        let at = |service| network.service(service).map(trimmed);
        let places = Places {
            client: network.client(),
            sts: at(Service::GcpSts).unwrap_or_else(|| "https://sts.googleapis.com".to_owned()),
            iam_credentials: at(Service::GcpIamCredentials)
                .unwrap_or_else(|| "https://iamcredentials.googleapis.com".to_owned()),
            oauth: at(Service::GcpOauth),
        };
        Ok(Self { source, places, state: Mutex::default(), ended: AtomicU64::new(0) })
    }

    /// Logs in if that is to be done, so that many calls that follow need not all find out that it fails.
    ///
    /// # Errors
    /// What keeps the login from being good.
    pub async fn ready(&self) -> Result<(), Error> {
        self.token().await.map(drop)
    }

    /// Makes a call with the header `Authorization`, and once more if Google refused the token and another could be had.
    ///
    /// # Errors
    /// Those of the call; those of the login.
    pub async fn call<T, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        send: impl Fn(HeaderValue) -> F + Send,
    ) -> Result<T, Error> {
        let (token, number) = self.token().await?;
        match send(token).await {
            Err(error) if error.kind == ErrorKind::Unauthenticated && self.give_up(number).await => {
                let (token, _) = self.token().await?;
                send(token).await
            }
            Err(error) if error.kind == ErrorKind::Unauthenticated => Err(self.explained(error)),
            outcome => outcome,
        }
    }

    /// A refused token that was given to us has an origin that is worth knowing.
    fn explained(&self, error: Error) -> Error {
        match &self.source {
            Source::Token(_, origin) => {
                let message = format!("Google does not accept the access token of {origin}: it may have ended");
                Error { message, ..error }
            }
            Source::Federated(..) | Source::Key(_) | Source::Refresh(_) => error,
        }
    }

    /// Gives up a token that was refused. `false`: there is no better one to be had now.
    async fn give_up(&self, used: u64) -> bool {
        if matches!(self.source, Source::Token(..)) {
            return false;
        }
        let mut state = self.state.lock().await;
        if state.number != used {
            return true;
        }
        let now = Instant::now();
        if state.forced.is_some_and(|forced| now.duration_since(forced) < FORCED_PAUSE) {
            return false;
        }
        state.kept = None;
        state.forced = Some(now);
        true
    }

    /// The token as a header, with its number.
    async fn token(&self) -> Result<(HeaderValue, u64), Error> {
        let ended = self.ended.load(Ordering::SeqCst);
        // Held while logging in, so that there is one login at a time; a caller that is dropped lets the next one try.
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(kept) = &state.kept
            && kept.life.is_none_or(|(renew, _)| now < renew)
        {
            return Ok((bearer(&kept.token)?, state.number));
        }
        if let Some(Failed { error, at }) = &state.failed
            && (self.ended.load(Ordering::SeqCst) != ended || (!error.kind.is_transient() && at.elapsed() < REMEMBERED))
        {
            return Err(error.clone());
        }
        let outcome = self.log_in().await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        let now = Instant::now();
        match outcome {
            Ok(Issued { token, life }) => {
                let header = bearer(&token)?;
                let life = life.map(|life| {
                    let life = life.clamp(LEAST_LIFE, MOST_LIFE);
                    (now + life.mul_f64(RENEW_AT), now + life)
                });
                state.number = state.number.saturating_add(1);
                state.failed = None;
                state.kept = Some(Kept { token: Arc::new(token), life });
                Ok((header, state.number))
            }
            Err(error) => {
                let number = state.number;
                if let Some(Kept { token, life: Some((renew, end)) }) = &mut state.kept
                    && now < *end
                {
                    *renew = now + RENEWAL_PAUSE;
                    return Ok((bearer(token)?, number));
                }
                state.kept = None;
                state.failed = Some(Failed { error: error.clone(), at: now });
                Err(error)
            }
        }
    }

    async fn log_in(&self) -> Result<Issued, Error> {
        match &self.source {
            Source::Federated(federated, None) => self.places.exchange(federated).await,
            Source::Federated(federated, Some(account)) => self.places.impersonate(account, federated).await,
            Source::Key(key) => self.places.grant(key.token_uri(), &key.grant()?, &key.tried()).await,
            Source::Refresh(refresh) => {
                self.places.grant(refresh.token_uri(), &refresh.grant(), &refresh.tried()).await
            }
            Source::Token(token, _) => Ok(Issued { token: SecretValue::new(token.expose().to_vec()), life: None }),
        }
    }
}

async fn of_store(auth: Option<&GcpAuth>, around: &Surroundings) -> Result<Source, Error> {
    let one = || invalid("auth must name exactly one of workloadIdentity and serviceAccountKey");
    let GcpAuth { workload_identity, service_account_key } = auth.ok_or_else(one)?;
    match (workload_identity, service_account_key) {
        (Some(identity), None) => {
            let GcpWorkloadIdentity { provider, service_account_email, service_account } = identity;
            let federated = Federated::new(provider, service_account, &around.references)?;
            let impersonated = service_account_email.as_deref().map(Impersonated::new).transpose()?;
            Ok(Source::Federated(Box::new(federated), impersonated))
        }
        (None, Some(reference)) => {
            let SecretKey { secret, key } = reference;
            let origin = format!("Secret {}/{secret}, key {key}", around.namespace);
            let text = around.references.secret_key(reference).await?;
            Ok(Source::Key(ServiceAccountKey::parse(&text, &origin, &around.network)?))
        }
        (None, None) | (Some(_), Some(_)) => Err(one()),
    }
}

/// The address of the server that gives tokens, if a file with credentials names one: Google's, or one that may be
/// connected to like any address that a Store names.
fn token_uri(named: Option<&str>, network: &Network) -> Result<Option<Url>, Error> {
    let google = |host: &str| matches!(host, "oauth2.googleapis.com" | "accounts.google.com" | "www.googleapis.com");
    named.map(|uri| network.custom_or_providers("token_uri", uri, google)).transpose()
}

/// A URL without the slash at its end.
fn trimmed(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// A header that shows in no log.
fn bearer(token: &SecretValue) -> Result<HeaderValue, Error> {
    let text = token.expose().trim_ascii();
    let unusable = || Error::new(ErrorKind::Unauthenticated, "what should be an access token of Google is none");
    if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
        return Err(unusable());
    }
    let mut header = HeaderValue::from_bytes(&[b"Bearer ", text].concat()).map_err(|_| unusable())?;
    header.set_sensitive(true);
    Ok(header)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
