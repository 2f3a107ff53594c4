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

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Credentials, References, Surroundings};
use crate::api::store::{Ambient, AssumeRole, AwsAuth, AwsKeys, ServiceAccountToken};
use crate::backend::aws::error::{Meaning, from_sdk};
use crate::backend::aws::{Place, quiet};
use crate::backend::network::{Client, Service};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// What AWS's own tools ask for, and IAM's identity providers for EKS are set up with.
const DEFAULT_AUDIENCE: &str = "sts.amazonaws.com";
/// The longest name of a session (`RoleSessionName` of AssumeRole).
const SESSION_NAME: usize = 64;
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

/// Where the first credentials come from.
enum Source {
    /// Static.
    Keys(Keys),
    /// A ServiceAccount's token, for a role.
    WebIdentity { account: ServiceAccountToken, references: References, role: Role },
    /// A chain of AWS's own, and what to do when it has none.
    Chain { provider: SharedCredentialsProvider, hint: &'static str },
}

/// A role and how it is assumed.
#[derive(Clone)]
struct Role {
    arn: String,
    external_id: Option<String>,
    session: String,
}

/// Where STS is asked.
struct Sts {
    region: String,
    endpoint: Option<String>,
    network: Client,
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
        let (source, roles) = match &around.credentials {
            // Roles are for the operator: a person's profile says which ones are theirs.
            Credentials::OfUser(_) => (of_user(region).await, Vec::new()),
            Credentials::OfStore(rights) => of_store(auth, region, rights.ambient, around).await?,
        };
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
            Source::WebIdentity { account, references, role } => {
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

impl Sts {
    fn config(&self, credentials: Option<SharedCredentialsProvider>) -> SdkConfig {
        let Self { region, endpoint, network } = self;
        Place { region, endpoint: endpoint.as_deref(), network: network.clone() }.config(credentials)
    }

    async fn with_web_identity(&self, role: &Role, token: &SecretValue) -> Result<Keys, Error> {
        let tried = format!("assume role {} with the ServiceAccount's token", role.arn);
        let token = String::from_utf8_lossy(token.expose()).into_owned();
        let client = aws_sdk_sts::Client::new(&self.config(None));
        let call = client
            .assume_role_with_web_identity()
            .role_arn(&role.arn)
            .role_session_name(&role.session)
            .web_identity_token(token);
        let answer = call.send().await.map_err(|error| from_sdk(&error, &tried, codes))?;
        issued(answer.credentials, &tried)
    }

    async fn assume(&self, role: &Role, keys: Keys) -> Result<Keys, Error> {
        let tried = format!("assume role {}", role.arn);
        let client = aws_sdk_sts::Client::new(&self.config(Some(SharedCredentialsProvider::new(keys))));
        let call = client
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(&role.session)
            .set_external_id(role.external_id.clone());
        let answer = call.send().await.map_err(|error| from_sdk(&error, &tried, codes))?;
        issued(answer.credentials, &tried)
    }
}

/// What STS answers beside the table that all services share. An identity that may not assume a role has no credentials
/// for the store: that is `AuthFailed`, not a missing permission on a secret.
///
/// | code | kind |
/// |---|---|
/// | `AccessDenied` | `Unauthenticated`: the trust policy |
/// | `InvalidIdentityToken`, `IDPRejectedClaim` | `Unauthenticated`: the token |
/// | `IDPCommunicationError` | `Unavailable` |
/// | `RegionDisabledException`, `ValidationError`, `MalformedPolicyDocument` | `InvalidConfig` |
///
/// Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.
fn codes(code: &str) -> Option<Meaning> {
    Some(match code {
        "AccessDenied" | "AccessDeniedException" => {
            (ErrorKind::Unauthenticated, "its trust policy does not admit this identity, or the external id differs")
        }
        "InvalidIdentityToken" | "InvalidIdentityTokenException" | "IDPRejectedClaim" | "IDPRejectedClaimException" => {
            (ErrorKind::Unauthenticated, "AWS does not accept the token: is the cluster an identity provider in IAM?")
        }
        "IDPCommunicationError" | "IDPCommunicationErrorException" => {
            (ErrorKind::Unavailable, "AWS cannot reach the cluster's issuer to check the token")
        }
        "RegionDisabledException" => (ErrorKind::InvalidConfig, "STS is not active in the region for this account"),
        "ValidationError" | "MalformedPolicyDocument" | "MalformedPolicyDocumentException" => {
            (ErrorKind::InvalidConfig, "the ARN, the external id or the session name cannot be one")
        }
        _ => return None,
    })
}

fn issued(found: Option<aws_sdk_sts::types::Credentials>, tried: &str) -> Result<Keys, Error> {
    let nothing = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer holds no credentials"));
    let aws_sdk_sts::types::Credentials { access_key_id, secret_access_key, session_token, expiration, .. } =
        found.ok_or_else(nothing)?;
    let end = SystemTime::try_from(expiration).map_err(|_| nothing())?;
    Ok(Keys::new(access_key_id, secret_access_key, Some(session_token), Some(end), "AssumeRole"))
}

fn from_chain(error: &CredentialsError, hint: &str) -> Error {
    let (kind, why) = match error {
        CredentialsError::CredentialsNotLoaded(_) => (ErrorKind::Unauthenticated, "there are no AWS credentials"),
        CredentialsError::ProviderTimedOut(_) => (ErrorKind::Timeout, "the AWS credentials did not come in time"),
        CredentialsError::InvalidConfiguration(_) => {
            (ErrorKind::Unauthenticated, "the configuration of the AWS credentials cannot be read")
        }
        // An open list; a session that has ended is among them.
        _ => (ErrorKind::Unauthenticated, "the AWS credentials could not be had"),
    };
    Error::new(kind, format!("{why}: {hint}"))
}

/// The chain of AWS's own tools: environment, profiles with SSO and all, and what the machine has.
async fn of_user(region: &str) -> Source {
    let chain = quiet(DefaultCredentialsChain::builder().region(Region::new(region.to_owned())).build()).await;
    Source::Chain {
        provider: SharedCredentialsProvider::new(chain),
        hint: "choose a profile with AWS_PROFILE, and log in again (aws sso login) if it has a session",
    }
}

/// What the process has without any file of a person: no profile, and so no `credential_process`.
fn ambient(region: &str) -> Source {
    let config = ProviderConfig::without_region().with_region(Some(Region::new(region.to_owned())));
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("WebIdentityToken", WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
        .or_else("Container", EcsCredentialsProvider::builder().configure(&config).build())
        .or_else("Instance", ImdsCredentialsProvider::builder().configure(&config).build());
    Source::Chain {
        provider: SharedCredentialsProvider::new(chain),
        hint: "give the operator's Pod an identity (IRSA, EKS Pod Identity), or name keys in auth.secret",
    }
}

async fn of_store(
    auth: Option<&AwsAuth>,
    region: &str,
    may_use_ambient: bool,
    around: &Surroundings,
) -> Result<(Source, Vec<Role>), Error> {
    let one = || invalid("auth must name exactly one of secret, serviceAccount and ambient");
    let AwsAuth { secret, service_account, ambient: wants_ambient, assume_role } = auth.ok_or_else(one)?;
    let role = |AssumeRole { role_arn, external_id, session_name }: &AssumeRole| Role {
        arn: role_arn.clone(),
        external_id: external_id.clone(),
        session: session_name.clone().unwrap_or_else(|| around.session_name(SESSION_NAME)),
    };
    let mut roles: Vec<Role> = assume_role.iter().map(role).collect();
    let source = match (secret, service_account, wants_ambient) {
        (Some(named), None, None) => Source::Keys(static_keys(named, &around.references).await?),
        (None, Some(account), None) => {
            if roles.is_empty() {
                return Err(invalid("auth.serviceAccount needs a role: name it first under auth.assumeRole"));
            }
            let role = roles.remove(0);
            if role.external_id.is_some() {
                return Err(invalid(
                    "the first role is assumed with the ServiceAccount's token, where there is no externalId",
                ));
            }
            Source::WebIdentity { account: account.clone(), references: around.references.clone(), role }
        }
        (None, None, Some(Ambient {})) if may_use_ambient && around.store.starts_with("ClusterStore/") => {
            ambient(region)
        }
        (None, None, Some(Ambient {})) => {
            return Err(invalid(
                "auth.ambient is for ClusterStores, of an operator started with --allow-ambient-credentials",
            ));
        }
        _ => return Err(one()),
    };
    Ok((source, roles))
}

async fn static_keys(named: &AwsKeys, references: &References) -> Result<Keys, Error> {
    let AwsKeys { name, access_key_id_key, secret_access_key_key, session_token_key } = named;
    let mut secret = references.secret(name).await?;
    let mut take = |key: &str| -> Result<String, Error> {
        let value = match secret.data.remove(key) {
            Some(value) => value,
            None => return Err(Error::new(ErrorKind::SourceNotFound, format!("Secret {name} has no key {key}"))),
        };
        // Line feeds at the end come from files; neither keys nor tokens of AWS have white space.
        let text = std::str::from_utf8(value.expose()).unwrap_or_default().trim();
        if text.is_empty() || text.starts_with("${") {
            let message =
                format!("key {key} of Secret {name} is no AWS credential: it is empty, binary or a placeholder");
            return Err(Error::new(ErrorKind::Unauthenticated, message));
        }
        Ok(text.to_owned())
    };
    let id = take(access_key_id_key.as_deref().unwrap_or("accessKeyId"))?;
    let key = take(secret_access_key_key.as_deref().unwrap_or("secretAccessKey"))?;
    let token = session_token_key.as_deref().map(take).transpose()?;
    Ok(Keys::new(id, key, token, None, "Secret"))
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

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
