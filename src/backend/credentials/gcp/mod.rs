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
//! One [`Login`] belongs to one connected store; when it happens, `credentials/kept.rs` says. A key in a Secret is read when
//! the store is connected: a changed Secret makes a new connection.

mod answer;
mod error;
mod exchange;
mod key;
mod person;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use reqwest::Url;

pub use self::answer::{Answer, Refusal, of_status};
use self::exchange::{Federated, Impersonated};
use self::key::ServiceAccountKey;
pub use self::person::Personal;
use self::person::RefreshToken;
use super::kept::{self, Keeper, bearer};
use super::{Credentials, Surroundings};
use crate::api::store::{GcpAuth, GcpWorkloadIdentity, SecretKey};
use crate::backend::network::{Client, Network, Request, Service};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// What a token is for: every service that IAM lets the account use, as Google's own libraries ask for
/// (<https://cloud.google.com/secret-manager/docs/accessing-the-api#oauth-scopes>).
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The token of one store. See the module documentation.
pub struct Login {
    source: Source,
    places: Places,
    keeper: Keeper<HeaderValue>,
}

/// A token as a header, and how long it lives.
type Issued = kept::Issued<HeaderValue>;

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
        Ok(Self { source, places, keeper: Keeper::new(around.timeout) })
    }

    /// Logs in if that is to be done, so that many calls that follow need not all find out that it fails.
    ///
    /// # Errors
    /// What keeps the login from being good.
    pub async fn ready(&self) -> Result<(), Error> {
        self.keeper.get(self.log_in()).await.map(drop)
    }

    /// Makes a call with the header `Authorization`, and once more if the token was refused and another could be had.
    ///
    /// # Errors
    /// Those of the call; those of the login. A refusal is an answer, but that of a token which was given to us.
    pub async fn send(
        &self,
        client: &Client,
        request: impl Fn(HeaderValue) -> Result<Request, Error>,
    ) -> Result<Answer, Error> {
        let answer = self.keeper.send(client, || self.log_in(), request).await?;
        match &self.source {
            // There is no other, and where it came from is worth knowing.
            Source::Token(_, origin) if answer.status() == StatusCode::UNAUTHORIZED => {
                let message = format!("Google does not accept the access token of {origin}: it may have ended");
                Err(Error::new(ErrorKind::Unauthenticated, message))
            }
            Source::Token(..) | Source::Federated(..) | Source::Key(_) | Source::Refresh(_) => Ok(Answer::new(answer)),
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
            Source::Token(token, _) => Ok(Issued { credential: bearer(token, "Google")?, life: None }),
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

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
