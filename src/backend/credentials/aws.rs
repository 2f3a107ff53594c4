//! Logins to AWS: keys in a Secret, a ServiceAccount's web identity, or a chain that is there already, and roles on top.
//!
//! ```text
//! secret ─────────────┐
//! ambient, a person's ┼─▶ base credentials ──sts:AssumeRole──▶ … ──▶ what signs the calls
//! serviceAccount ─────┘   └ its first role by sts:AssumeRoleWithWebIdentity
//! ```
//!
//! One [`Login`] belongs to one connected store; when it happens, `credentials/kept.rs` says. Keys in a Secret have no
//! renewal: a changed Secret makes a new connection.

mod source;
mod sts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use self::source::{Source, WebIdentity, from_chain, of_store, of_user};
use self::sts::{Role, Sts};
use super::kept::{Issued, Keeper};
use super::{Credentials, References, Surroundings};
use crate::api::store::AwsAuth;
use crate::backend::aws::quiet;
use crate::backend::network::Service;
use crate::backend::{Error, ErrorKind};

/// What AWS's own tools ask for, and IAM's identity providers for EKS are set up with.
const DEFAULT_AUDIENCE: &str = "sts.amazonaws.com";

/// The credentials of one store. See the module documentation.
pub struct Login {
    source: Source,
    roles: Vec<Role>,
    sts: Sts,
    keeper: Keeper<Keys>,
    /// The newest login that a call was signed with.
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
        Ok(Arc::new(Self { source, roles, sts, keeper: Keeper::new(around.timeout), current: AtomicU64::new(0) }))
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
            Err(error) if error.kind == ErrorKind::Unauthenticated && self.keeper.give_up(used).await => {
                quiet(send()).await
            }
            outcome => outcome,
        }
    }

    /// Whether there are credentials: an error of a call is AWS's answer to it then, and not that of a login.
    pub async fn has_keys(&self) -> bool {
        self.keeper.has_one().await
    }

    /// Credentials to sign with: those kept, or of a login that all callers share.
    async fn keys(&self) -> Result<Keys, Error> {
        let kept = self.keeper.get(self.log_in()).await?;
        self.current.fetch_max(kept.number, Ordering::SeqCst);
        Ok(kept.credential)
    }

    async fn log_in(&self) -> Result<Issued<Keys>, Error> {
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
        // The SDK must not judge by this machine's clock; we do by our own.
        *keys.expiry_mut() = None;
        let life = end.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        Ok(Issued { credential: keys, life })
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
