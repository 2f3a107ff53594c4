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
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};

use super::sts::Role;
use super::{References, Surroundings};
use crate::api::store::{Ambient, AssumeRole, AwsAuth, AwsKeys, ServiceAccountToken};
use crate::backend::aws::error::{Meaning, from_sdk};
use crate::backend::aws::quiet;
use crate::backend::network::find;
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

/// Why a chain gave no credentials. What passes is told apart from what somebody must mend.
pub(super) fn from_chain(error: &CredentialsError, hint: &str) -> Error {
    if let Some((kind, why)) = passing(error) {
        return Error::new(kind, format!("cannot get AWS credentials: {why}"));
    }
    let why = match error {
        CredentialsError::CredentialsNotLoaded(_) => "there are no AWS credentials",
        CredentialsError::InvalidConfiguration(_) => "the configuration of the AWS credentials cannot be read",
        // An open list; a session that has ended is among them.
        _ => "the AWS credentials could not be had",
    };
    Error::new(ErrorKind::Unauthenticated, format!("{why}: {hint}"))
}

const PASSING: [(ErrorKind, &str); 3] = [
    (ErrorKind::Unavailable, "the service that gives them cannot be reached or cannot answer now"),
    (ErrorKind::Timeout, "the service that gives them did not answer in time"),
    (ErrorKind::RateLimited, "the service that gives them asks to be called less often"),
];

/// A service that gives credentials and is away, slow or busy: it says nothing about the identity.
fn passing(error: &CredentialsError) -> Option<(ErrorKind, &'static str)> {
    let kind = if matches!(error, CredentialsError::ProviderTimedOut(_)) {
        Some(ErrorKind::Timeout)
    } else if let Some(connector) = find::<ConnectorError>(error) {
        Some(if connector.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable })
    } else {
        find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error).map(|refusal| match refusal {
            SdkError::TimeoutError(_) => ErrorKind::Timeout,
            _ => from_sdk(refusal, "get AWS credentials", of_issuer).kind,
        })
    };
    PASSING.into_iter().find(|(passing, _)| Some(*passing) == kind)
}

/// AssumeRoleWithWebIdentity, beside the table that all services share.
fn of_issuer(code: &str) -> Option<Meaning> {
    let is_issuer = matches!(code, "IDPCommunicationError" | "IDPCommunicationErrorException");
    is_issuer.then_some((ErrorKind::Unavailable, "AWS cannot reach the issuer of the token"))
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

#[cfg(test)]
mod tests {
    use std::io;

    use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError as Refusal;
    use aws_sdk_sts::types::error::{ExpiredTokenException, IdpCommunicationErrorException};
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    type Failure = SdkError<Refusal, HttpResponse>;

    fn kind(failure: Failure) -> ErrorKind {
        let error = from_chain(&CredentialsError::provider_error(failure), "log in");
        assert_eq!(error.message.ends_with(": log in"), !error.kind.is_transient(), "{}", error.message);
        assert!(!error.message.contains("REMOTE"), "{}", error.message);
        error.kind
    }

    fn answer(status: u16, error: Refusal) -> Failure {
        let status = aws_smithy_runtime_api::http::StatusCode::try_from(status).unwrap_or_else(|_| unreachable!());
        SdkError::service_error(error, HttpResponse::new(status, SdkBody::from("REMOTE")))
    }

    #[test]
    fn an_sts_that_is_away_is_no_bad_identity() {
        let away = || Box::new(io::Error::other("REMOTE"));
        assert_eq!(kind(SdkError::dispatch_failure(ConnectorError::io(away()))), ErrorKind::Unavailable);
        assert_eq!(kind(SdkError::dispatch_failure(ConnectorError::timeout(away()))), ErrorKind::Timeout);
        assert_eq!(kind(SdkError::timeout_error(away())), ErrorKind::Timeout);
        let code = ErrorMetadata::builder().code("IDPCommunicationError").build();
        let busy = IdpCommunicationErrorException::builder().message("REMOTE").meta(code).build();
        assert_eq!(kind(answer(400, Refusal::IdpCommunicationErrorException(busy))), ErrorKind::Unavailable);
        assert_eq!(kind(answer(503, Refusal::unhandled("REMOTE"))), ErrorKind::Unavailable);
        assert_eq!(kind(answer(429, Refusal::unhandled("REMOTE"))), ErrorKind::RateLimited);
        let expired = ExpiredTokenException::builder().message("REMOTE").build();
        assert_eq!(kind(answer(400, Refusal::ExpiredTokenException(expired))), ErrorKind::Unauthenticated);
        assert_eq!(kind(answer(403, Refusal::unhandled("REMOTE"))), ErrorKind::Unauthenticated);
    }

    #[test]
    fn without_an_identity_the_hint_says_what_to_do() {
        for (error, expected) in [
            (CredentialsError::not_loaded("REMOTE"), ErrorKind::Unauthenticated),
            (CredentialsError::invalid_configuration("REMOTE"), ErrorKind::Unauthenticated),
            (CredentialsError::unhandled("REMOTE"), ErrorKind::Unauthenticated),
        ] {
            let error = from_chain(&error, "log in");
            assert_eq!(error.kind, expected, "{}", error.message);
            assert!(error.message.ends_with(": log in") && !error.message.contains("REMOTE"), "{}", error.message);
        }
    }
}
