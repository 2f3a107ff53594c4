//! Logins to Vault: one for each store, kept good, and replaced when it is refused.
//!
//! | method | endpoint | what is presented |
//! |---|---|---|
//! | token | – | the token itself; asked once how long it lives, so that it can be renewed |
//! | kubernetes | `auth/<mount>/login` | role, and a token of a ServiceAccount (TokenRequest, audience `vault`) |
//! | jwt | `auth/<mount>/login` | the same |
//! | approle | `auth/<mount>/login` | role id and secret id |
//!
//! - Whoever needs a session first makes it; all others wait for it and share it, or share its failure.
//! - At 80 % of its life a session is renewed, and replaced by a new login where it cannot be, or gains little, as at the
//!   end of its longest life. If that fails in passing, or takes too long, the old one is used to its end.
//! - A refusal (401 or 403) counts as the session's end only if Vault itself no longer knows the token; then there is one
//!   new login, and the call is made once more. A login whose token is refused all the same is not repeated. A token that
//!   was never allowed to ask about itself is good until Vault says that it does not know it, as it does since 1.17.

mod error;
mod life;
mod method;
pub mod path;
mod post;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustify::endpoint::Endpoint;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest};

pub(in crate::backend) use self::error::{failed, of_status};
use self::life::Life;
pub use self::method::Place;
pub use self::post::Post;
pub use self::server::{Answer, Refusal, Server, Token};
use super::References;
use crate::api::store::ServiceAccountToken;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The audience of a ServiceAccount's token, if the Store names none.
const DEFAULT_AUDIENCE: &str = "vault";
/// How long it is believed that a token is good once Vault said so: refusals of one batch come within that.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long a login that was refused is not tried again: the keys of one batch come within that.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The longest that a session whose renewal failed is used before the next try.
const POSTPONED: Duration = Duration::from_secs(30);

/// How a store logs in.
pub enum Method {
    /// By a token that somebody made.
    Token {
        /// The token.
        token: Arc<Token>,
        /// Where it comes from, for messages.
        origin: String,
    },
    /// By the token of a ServiceAccount.
    ServiceAccount {
        /// Which endpoint takes it.
        kind: ServiceAccountMethod,
        /// The mount of the method.
        mount: String,
        /// The role.
        role: String,
        /// Whose token.
        account: ServiceAccountToken,
        /// Where tokens of it come from.
        references: Box<References>,
    },
    /// By an AppRole.
    AppRole {
        /// The mount of the method.
        mount: String,
        /// The role id.
        role_id: String,
        /// The secret id.
        secret_id: SecretValue,
    },
}

/// The two methods that take the token of a ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAccountMethod {
    /// Vault asks the API server (TokenReview).
    Kubernetes,
    /// Vault checks the signature.
    Jwt,
}

/// The login of one store.
pub struct Login {
    server: Server,
    method: Method,
    state: Mutex<State>,
    /// How often a session was made or not made: who waited for one takes its outcome.
    tries: AtomicU64,
    /// The longest that calls wait for a renewal.
    patience: Duration,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// When the session is to be renewed. `None`: never.
    due: Option<Instant>,
    failure: Option<Failure>,
}

struct Failure {
    error: Error,
    at: Instant,
}

/// A token and how long it lives.
struct Session {
    token: Arc<Token>,
    renewable: bool,
    /// Whether it may not ask about itself, so that a refusal of such a question says nothing of it.
    is_mute: bool,
    /// From the login or the last renewal on. `None`: for ever.
    life: Option<Life>,
    /// Until when a refusal is taken to be about rights and not about the token.
    believed: Mutex<Option<Instant>>,
}

impl Session {
    fn is_good(&self) -> bool {
        self.life.is_none_or(|life| Instant::now() < life.end())
    }
}

impl Login {
    /// A login that has not happened yet. Asks nothing. `call` is the deadline of the calls that need it: a renewal takes
    /// half of that at most, so that a Vault which hangs there does not make a session useless that is still good.
    #[must_use]
    pub fn new(server: Server, method: Method, call: Duration) -> Self {
        Self { server, method, state: Mutex::default(), tries: AtomicU64::new(0), patience: call / 2 }
    }

    /// The host, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// Logs in if that is to be done, so that many calls that follow need not all find out that it fails.
    ///
    /// # Errors
    /// What keeps the login from being good.
    pub async fn ready(&self) -> Result<(), Error> {
        self.session(None).await.map(drop)
    }

    /// Makes a call with a good token, and once more with a new one if the first was not good after all.
    ///
    /// # Errors
    /// What keeps the login or the call from being answered. A refusal of the call is an answer.
    pub async fn call<E: Endpoint>(&self, endpoint: impl Fn() -> E + Send + Sync) -> Result<Answer, Error> {
        let session = self.session(None).await?;
        let answer = self.server.call(endpoint(), Some(&session.token)).await?;
        if !matches!(answer.status, 401 | 403) || self.still_knows(&session, &answer).await? {
            return Ok(answer);
        }
        let session = self.session(Some(&session)).await?;
        let answer = self.server.call(endpoint(), Some(&session.token)).await?;
        if matches!(answer.status, 401 | 403) {
            // Fresh from Vault, and refused: another login would end the same way.
            *session.believed.lock().await = Some(session.life.map_or_else(|| Instant::now() + BELIEVED, Life::end));
        }
        Ok(answer)
    }

    /// The present session, made or renewed if need be; another one than `refused`.
    async fn session(&self, refused: Option<&Arc<Session>>) -> Result<Arc<Session>, Error> {
        let tries = self.tries.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let waited = self.tries.load(Ordering::Acquire) != tries;
        if let Some(Failure { error, at }) = &state.failure
            && (waited || (!error.kind.is_transient() && at.elapsed() < REMEMBERED))
        {
            return Err(error.clone());
        }
        let present =
            state.session.clone().filter(|session| refused.is_none_or(|refused| !Arc::ptr_eq(session, refused)));
        let due = state.due.is_some_and(|due| due <= Instant::now());
        let made = match &present {
            Some(session) if !due => return Ok(Arc::clone(session)),
            Some(session) if session.is_good() => {
                let late = |_| Err(Error::new(ErrorKind::Timeout, "no answer to the renewal of the login in time"));
                timeout(self.patience, self.prolong(session)).await.unwrap_or_else(late)
            }
            Some(session) => self.prolong(session).await,
            None => self.log_in(refused.is_some()).await,
        };
        self.tries.fetch_add(1, Ordering::Release);
        match (made, present) {
            (Ok(session), _) => {
                let session = Arc::new(session);
                *state = State { due: session.life.map(Life::due), session: Some(Arc::clone(&session)), failure: None };
                Ok(session)
            }
            (Err(_), Some(session)) if session.is_good() => {
                let rest = session.life.map(|life| life.end().saturating_duration_since(Instant::now()));
                let wait = rest.map_or(POSTPONED, |rest| (rest / 4).min(POSTPONED));
                state.due = Some(Instant::now() + wait);
                Ok(session)
            }
            (Err(error), _) => {
                let failure = Failure { error, at: Instant::now() };
                let error = failure.error.clone();
                *state = State { failure: Some(failure), ..State::default() };
                Err(error)
            }
        }
    }

    /// Renews a session, or replaces it where that gains little.
    async fn prolong(&self, session: &Arc<Session>) -> Result<Session, Error> {
        let replaceable = !matches!(self.method, Method::Token { .. });
        if session.renewable && session.life.is_some_and(|life| Instant::now() < life.end()) {
            let began = Instant::now();
            let endpoint = RenewTokenSelfRequest { increment: None };
            let answer = self.server.call(endpoint, Some(&session.token)).await?;
            let renewed = answer.is_success().then(|| answer.parse::<Issued>()).flatten();
            if let Some(Issued { auth: Issue { client_token: _, lease_duration, renewable } }) = renewed {
                let life =
                    Life::new(began, lease_duration).map(|life| session.life.map_or(life, |before| life.after(before)));
                if !replaceable || life.is_some_and(|life| !life.gains_little()) {
                    let (token, is_mute) = (Arc::clone(&session.token), session.is_mute);
                    return Ok(Session { token, renewable, is_mute, life, believed: Mutex::default() });
                }
            } else if !matches!(answer.status, 400..=404) {
                return Err(of_status(&answer, "renew the login to Vault"));
            }
        }
        self.log_in(false).await
    }

    async fn log_in(&self, was_refused: bool) -> Result<Session, Error> {
        let (tried, began, answer) = match &self.method {
            Method::Token { token, origin } => return self.adopt(token, origin, was_refused).await,
            Method::ServiceAccount { kind, mount, role, account, references } => {
                let issued = references.token(account, DEFAULT_AUDIENCE).await?;
                let jwt = text(&issued.token);
                let (role, mount, began) = (role.clone(), mount.clone(), Instant::now());
                let tried = format!("log in to Vault at auth/{mount} as role {role}");
                let answer = match kind {
                    ServiceAccountMethod::Kubernetes => {
                        self.server.call(LoginWithKubernetesRequest { mount, role, jwt }, None).await?
                    }
                    ServiceAccountMethod::Jwt => {
                        self.server.call(JWTLoginRequest { mount, jwt, role: Some(role) }, None).await?
                    }
                };
                (tried, began, answer)
            }
            Method::AppRole { mount, role_id, secret_id } => {
                let endpoint = LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: role_id.clone(),
                    secret_id: text(secret_id),
                };
                let began = Instant::now();
                (format!("log in to Vault at auth/{mount}"), began, self.server.call(endpoint, None).await?)
            }
        };
        if !answer.is_success() {
            return Err(error::of_login(&answer, &tried));
        }
        let no_token = || failed(ErrorKind::Unexpected, &tried, "the answer holds no token", &answer);
        let Issued { auth: Issue { client_token, lease_duration, renewable } } = answer.parse().ok_or_else(no_token)?;
        let token = Token::new(&SecretValue::from(client_token), "the token").map_err(|_| no_token())?;
        let life = Life::new(began, lease_duration);
        Ok(Session { token: Arc::new(token), renewable, is_mute: false, life, believed: Mutex::default() })
    }

    /// Takes a token that somebody made, and asks Vault how long it lives.
    async fn adopt(&self, token: &Arc<Token>, origin: &str, was_refused: bool) -> Result<Session, Error> {
        let dead = || {
            let why = "it was revoked or has expired; put in a new one";
            Error::new(ErrorKind::Unauthenticated, format!("Vault does not accept the token of {origin}: {why}"))
        };
        if was_refused {
            return Err(dead());
        }
        let began = Instant::now();
        let answer = self.server.call(LookupTokenSelfRequest {}, Some(token)).await?;
        let eternal = Session {
            token: Arc::clone(token),
            renewable: false,
            is_mute: false,
            life: None,
            believed: Mutex::default(),
        };
        match answer.status {
            200 => {}
            // Without the policy `default` a good token may not ask about itself: the first call will tell.
            403 if !is_unknown_token(&answer) => return Ok(Session { is_mute: true, ..eternal }),
            401 | 403 => return Err(dead()),
            _ => return Err(of_status(&answer, "ask Vault about the token")),
        }
        let Some(Known { data: About { ttl, renewable } }) = answer.parse() else {
            return Err(failed(
                ErrorKind::Unexpected,
                "ask Vault about the token",
                "the answer makes no sense",
                &answer,
            ));
        };
        let life = Life::new(began, ttl).filter(|_| renewable);
        Ok(Session { life, renewable, ..eternal })
    }

    /// Whether Vault still knows the token of a refused call.
    async fn still_knows(&self, session: &Session, refused: &Answer) -> Result<bool, Error> {
        if is_unknown_token(refused) {
            return Ok(false);
        }
        // A person's or a Secret's token without the policy `default`: what it may not do must not end what it may.
        if session.is_mute {
            return Ok(true);
        }
        // Held over the question, so that the refusals of one batch ask it once.
        let mut believed = session.believed.lock().await;
        if believed.is_some_and(|until| Instant::now() < until) {
            return Ok(true);
        }
        let answer = self.server.call(LookupTokenSelfRequest {}, Some(&session.token)).await?;
        match answer.status {
            200 => {
                *believed = Some(Instant::now() + BELIEVED);
                Ok(true)
            }
            401 | 403 => Ok(false),
            _ => Err(of_status(&answer, "ask Vault about the token")),
        }
    }
}

/// Vault 1.17 and newer say so; older ones must be asked.
fn is_unknown_token(answer: &Answer) -> bool {
    answer.status == 401 || answer.refusal().is_some_and(|refusal| refusal.says("invalid token"))
}

/// The text of a credential for a field that must be a `String`. What is no text is refused by Vault.
fn text(value: &SecretValue) -> String {
    String::from_utf8_lossy(value.expose().trim_ascii()).into_owned()
}

/// The answer to a login and to a renewal.
#[derive(Deserialize)]
struct Issued {
    auth: Issue,
}

#[derive(Deserialize)]
struct Issue {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

/// The answer to a question about a token.
#[derive(Deserialize)]
struct Known {
    data: About,
}

#[derive(Deserialize)]
struct About {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}
