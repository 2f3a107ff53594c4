//! Roles: what AWS STS gives for credentials or for a token.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::backend::aws::Place;
use crate::backend::aws::error::{Meaning, from_sdk};
use crate::backend::network::Client;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// A role and how it is assumed.
#[derive(Clone)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) external_id: Option<String>,
    pub(super) session: String,
}

/// Where STS is asked.
pub(super) struct Sts {
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    pub(super) network: Client,
}

impl Sts {
    fn config(&self, credentials: Option<SharedCredentialsProvider>) -> SdkConfig {
        let Self { region, endpoint, network } = self;
        Place { region, endpoint: endpoint.as_deref(), network: network.clone() }.config(credentials)
    }

    pub(super) async fn with_web_identity(&self, role: &Role, token: &SecretValue) -> Result<Keys, Error> {
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

    pub(super) async fn assume(&self, role: &Role, keys: Keys) -> Result<Keys, Error> {
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
