//! The first credentials of a login: what a Store names, what the process has, what a person has.

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;

use super::sts::Role;
use super::{References, Surroundings};
use crate::api::store::{Ambient, AssumeRole, AwsAuth, AwsKeys, ServiceAccountToken};
use crate::backend::aws::quiet;
use crate::backend::{Error, ErrorKind};

/// The longest name of a session (`RoleSessionName` of AssumeRole).
const SESSION_NAME: usize = 64;

/// Where the first credentials come from.
pub(super) enum Source {
    /// Static.
    Keys(Keys),
    /// A ServiceAccount's token, for a role.
    WebIdentity(Box<WebIdentity>),
    /// A chain of AWS's own, and what to do when it has none.
    Chain { provider: SharedCredentialsProvider, hint: &'static str },
}

/// A ServiceAccount, the objects of its namespace, and the role that its token is for.
pub(super) struct WebIdentity {
    pub(super) account: ServiceAccountToken,
    pub(super) references: References,
    pub(super) role: Role,
}

pub(super) fn from_chain(error: &CredentialsError, hint: &str) -> Error {
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

/// The chain of AWS's own tools: environment, profiles with SSO and all, and what the machine has. A profile that is named goes
/// before all that.
pub(super) async fn of_user(region: &str, profile: Option<&str>) -> Source {
    if let Some(name) = profile {
        let config = ProviderConfig::without_region().with_region(Some(Region::new(region.to_owned())));
        let profile = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
        return Source::Chain {
            provider: SharedCredentialsProvider::new(profile),
            hint: "the file names a profile of your own configuration of AWS: log in again if it has a session, or make it",
        };
    }
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

impl Role {
    /// A role as a file of SOPS names it.
    pub(super) fn plain(arn: &str, around: &Surroundings) -> Self {
        Self { arn: arn.to_owned(), external_id: None, session: around.session_name(SESSION_NAME) }
    }
}

pub(super) async fn of_store(
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
            Source::WebIdentity(Box::new(WebIdentity {
                account: account.clone(),
                references: around.references.clone(),
                role,
            }))
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

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
