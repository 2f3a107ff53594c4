//! Logins to AWS: keys in a Secret, a ServiceAccount's web identity, or a chain that is there already, and roles on top.
//!
//! ```text
//! secret ─────────────┐
//! ambient, a person's ┼─▶ base credentials ──sts:AssumeRole──▶ … ──▶ what signs the calls
//! serviceAccount ─────┘   └ its first role by sts:AssumeRoleWithWebIdentity
//! ```
//!
//! One [`Login`] belongs to one connected store:
//! - It logs in when the first call needs it, and once for all calls that wait: those who come meanwhile share the
//!   outcome, good or bad.
//! - Credentials with an end are renewed after 80 % of their life by this machine's own monotonic clock, so that neither a
//!   clock that jumps nor one that is an hour off makes it log in again and again. While the renewal fails, those at hand
//!   are used to their end.
//! - Credentials that AWS refuses before that are given up once, and the call is made again; not sooner than
//!   [`FORCED_PAUSE`] after the last time, so that no store turns into a storm of logins.
//! - Keys in a Secret have no renewal: a changed Secret makes a new connection.

mod source;
mod sts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::source::{Source, WebIdentity, from_chain, of_store, of_user};
use self::sts::{Role, Sts};
use super::{Credentials, References, Surroundings};
use crate::api::store::AwsAuth;
use crate::backend::aws::quiet;
use crate::backend::network::Service;
use crate::backend::{Error, ErrorKind};

/// What AWS's own tools ask for, and IAM's identity providers for EKS are set up with.
const DEFAULT_AUDIENCE: &str = "sts.amazonaws.com";
/// The share of their life after which credentials are renewed.
const RENEW_AT: f64 = 0.8;
/// The shortest time between two renewals, whatever life the answer promises: AWS gives 15 minutes at least.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The longest life that is believed: the most that a role can have.
const MOST_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long credentials at hand are used before another try of a renewal that failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// How soon after a login that a refusal forced another one may be forced.
pub const FORCED_PAUSE: Duration = Duration::from_secs(30);

/// The credentials of one store. See the module documentation.
pub struct Login {
    source: Source,
    roles: Vec<Role>,
    sts: Sts,
    state: Mutex<State>,
    /// How many logins have ended, well or not.
    ended: AtomicU64,
    /// The login that the kept credentials are from.
    current: AtomicU64,
}

/// What a SOPS file wants of a login.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// A role on top of all others.
    pub role: Option<&'a str>,
    /// The profile of a person's own configuration; the operator has none.
    pub profile: Option<&'a str>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// Why the last login failed, if it did.
    failed: Option<Error>,
    forced: Option<Instant>,
}

struct Kept {
    keys: Keys,
    /// When to renew and when they end; `None` if never.
    life: Option<(Instant, Instant)>,
}

impl Login {
    /// What a Store's `auth` says, or a person's own credentials. Reads the Secret, and logs in nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an `auth` that cannot work, [`ErrorKind::SourceNotFound`] without the Secret.
    pub async fn new(auth: Option<&AwsAuth>, region: &str, around: &Surroundings) -> Result<Arc<Self>, Error> {
        Self::wanted(auth, region, Wanted::default(), around).await
    }

    /// The same, with what somebody else wants of it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn wanted(
        auth: Option<&AwsAuth>,
        region: &str,
        Wanted { role, profile }: Wanted<'_>,
        around: &Surroundings,
    ) -> Result<Arc<Self>, Error> {
        let (source, mut roles) = match &around.credentials {
            // Roles are for the operator: a person's profile says which ones are theirs.
            Credentials::OfUser(_) => (of_user(region, profile).await, Vec::new()),
            Credentials::OfStore(rights) => of_store(auth, region, rights.ambient, around).await?,
        };
        roles.extend(role.map(|arn| Role::plain(arn, around)));
        let sts = Sts {
            region: region.to_owned(),
            endpoint: around.network.service(Service::AwsSts).map(|url| url.as_str().trim_end_matches('/').to_owned()),
            network: around.network.client(),
        };
        Ok(Arc::new(Self {
            source,
            roles,
            sts,
            state: Mutex::default(),
            ended: AtomicU64::new(0),
            current: AtomicU64::new(0),
        }))
    }

    /// The same, as the SDK wants it.
    #[must_use]
    pub fn provider(self: &Arc<Self>) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Provider(Arc::clone(self)))
    }

    /// Makes a call of the SDK, and once more if AWS refused the credentials and others could be had.
    ///
    /// # Errors
    /// Those of the call; those of the login.
    pub async fn call<T, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        send: impl Fn() -> F + Send,
    ) -> Result<T, Error> {
        let used = self.current.load(Ordering::SeqCst);
        match quiet(send()).await {
            Err(error) if error.kind == ErrorKind::Unauthenticated && self.renew(used).await => quiet(send()).await,
            outcome => outcome,
        }
    }

    /// Whether there are credentials: an error of a call is AWS's answer to it then, and not that of a login.
    pub async fn has_keys(&self) -> bool {
        self.state.lock().await.kept.is_some()
    }

    /// Gives up credentials that were refused. `used` is the login that they were from, or an older one. `false`: there
    /// are no better ones to be had now.
    async fn renew(&self, used: u64) -> bool {
        let mut state = self.state.lock().await;
        let Some(kept) = &state.kept else { return false };
        if kept.life.is_none() {
            return false;
        }
        if self.current.load(Ordering::SeqCst) != used {
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

    /// Credentials to sign with: those kept, or of a login that all callers share.
    async fn keys(&self) -> Result<Keys, Error> {
        let ended = self.ended.load(Ordering::SeqCst);
        // Held while logging in, so that there is one login at a time; a caller that is dropped lets the next one try.
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(kept) = &state.kept
            && kept.life.is_none_or(|(renew, _)| now < renew)
        {
            return Ok(kept.keys.clone());
        }
        if let Some(error) = &state.failed
            && self.ended.load(Ordering::SeqCst) != ended
        {
            return Err(error.clone());
        }
        let outcome = self.log_in().await;
        let number = self.ended.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        match outcome {
            Ok(keys) => {
                let keys = self.keep(&mut state, keys);
                self.current.store(number, Ordering::SeqCst);
                Ok(keys)
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(Kept { keys, life: Some((renew, end)) }) = &mut state.kept
                    && now < *end
                {
                    *renew = now + RENEWAL_PAUSE;
                    return Ok(keys.clone());
                }
                state.kept = None;
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn keep(&self, state: &mut State, mut keys: Keys) -> Keys {
        // The SDK must not judge by this machine's clock; we do by our own.
        let end = keys.expiry_mut().take();
        let life = end.map(|end| {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default().clamp(LEAST_LIFE, MOST_LIFE);
            let now = Instant::now();
            (now + left.mul_f64(RENEW_AT), now + left)
        });
        state.failed = None;
        state.kept = Some(Kept { keys: keys.clone(), life });
        keys
    }

    async fn log_in(&self) -> Result<Keys, Error> {
        let mut keys = match &self.source {
            Source::Keys(keys) => keys.clone(),
            Source::WebIdentity(identity) => {
                let WebIdentity { account, references, role } = identity.as_ref();
                let token = references.token(account, DEFAULT_AUDIENCE).await?;
                self.sts.with_web_identity(role, &token.token).await?
            }
            Source::Chain { provider, hint } => {
                provider.provide_credentials().await.map_err(|error| from_chain(&error, hint))?
            }
        };
        // The whole chain ends when its first link does.
        let mut end = keys.expiry();
        for role in &self.roles {
            keys = self.sts.assume(role, keys).await?;
            end = [end, keys.expiry()].into_iter().flatten().min();
        }
        *keys.expiry_mut() = end;
        Ok(keys)
    }
}

/// A [`Login`] for the SDK. Its own failures keep their kind: `error::from_sdk` finds them again.
struct Provider(Arc<Login>);

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::new(async { self.0.keys().await.map_err(CredentialsError::provider_error) })
    }
}
