//! Requests for tokens: of OAuth, of the Security Token Service, of the IAM Credentials API.
//!
//! | request | source |
//! |---|---|
//! | `POST /token` | RFC 6749 section 6, RFC 7523 section 2.1 |
//! | `POST /v1/token` | <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token> |
//! | `POST /v1/projects/-/serviceAccounts/…:generateAccessToken` | <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken> |

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::error::{of_grant, of_impersonation};
use super::{Issued, Places, SCOPE, bearer, invalid};
use crate::api::store::ServiceAccountToken;
use crate::backend::credentials::References;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// Where tokens are given, unless something else is said.
const OAUTH: &str = "https://oauth2.googleapis.com/token";
/// All that acting as a service account needs.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
/// The life of a service account's token, and the longest that needs no leave of the organisation.
const LIFE: Duration = Duration::from_secs(3600);
/// The life of a token whose answer has none (RFC 6749 section 5.1 leaves it out at will).
const USUAL_LIFE: u64 = 3600;

/// A ServiceAccount whose token is exchanged.
pub(super) struct Federated {
    account: ServiceAccountToken,
    references: References,
    /// The provider's name as the Security Token Service has it.
    audience: String,
    /// The token's audience, if the Store names none.
    token_audience: String,
}

/// The service account that a federated identity acts as.
pub(super) struct Impersonated {
    email: String,
}

/// The answer of a server that gives tokens.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
}

impl Federated {
    pub(super) fn new(provider: &str, account: &ServiceAccountToken, references: &References) -> Result<Self, Error> {
        let Provider { audience, token_audience } = Provider::parse(provider)?;
        Ok(Self { account: account.clone(), references: references.clone(), audience, token_audience })
    }
}

/// Who lets the cluster's ServiceAccounts in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// Its name as the Security Token Service has it.
    pub(super) audience: String,
    /// Whom it takes tokens for.
    pub(super) token_audience: String,
}

impl Provider {
    /// A provider of a pool in any of the forms that Google shows it in (`projects/…`, `//iam.googleapis.com/projects/…`,
    /// and that with `https:` before it), or the one that a cluster of GKE has by itself
    /// (`identitynamespace:<project>.svc.id.goog:https://container.googleapis.com/v1/projects/…`).
    pub(super) fn parse(provider: &str) -> Result<Self, Error> {
        let unusable = || {
            invalid(
                "auth.workloadIdentity.provider is not of the form \
                 projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, or \
                 identitynamespace:PROJECT.svc.id.goog:CLUSTER for GKE",
            )
        };
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        };
        if let Some(rest) = provider.strip_prefix("identitynamespace:") {
            let (pool, cluster) = rest.split_once(':').ok_or_else(unusable)?;
            let path = ["https://container.googleapis.com/v1/", "https://gkehub.googleapis.com/"]
                .into_iter()
                .find_map(|start| cluster.strip_prefix(start))
                .ok_or_else(unusable)?;
            if !(pool.ends_with(".svc.id.goog") && plain(pool) && path.split('/').all(plain)) {
                return Err(unusable());
            }
            return Ok(Self { audience: provider.to_owned(), token_audience: pool.to_owned() });
        }
        let path = provider.strip_prefix("https:").unwrap_or(provider);
        let path = path.strip_prefix("//iam.googleapis.com/").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["projects", project, "locations", location, "workloadIdentityPools", pool, "providers", name]
                if [*project, *location, *pool, *name].into_iter().all(plain) => {}
            _ => return Err(unusable()),
        }
        Ok(Self {
            audience: format!("//iam.googleapis.com/{path}"),
            // What a provider takes that names no audiences: its own name, with or without the scheme
            // (https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers#oidc).
            token_audience: format!("https://iam.googleapis.com/{path}"),
        })
    }
}

impl Impersonated {
    pub(super) fn new(email: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let whole = email.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && !domain.is_empty() && name.bytes().chain(domain.bytes()).all(plain)
        });
        if !whole {
            return Err(invalid("auth.workloadIdentity.serviceAccountEmail is no address of a service account"));
        }
        Ok(Self { email: email.to_owned() })
    }
}

impl Places {
    /// Exchanges a ServiceAccount's token for one of Google.
    pub(super) async fn exchange(&self, federated: &Federated) -> Result<Issued, Error> {
        self.exchange_for(SCOPE, federated).await
    }

    async fn exchange_for(&self, scope: &str, federated: &Federated) -> Result<Issued, Error> {
        let Federated { account, references, audience, token_audience } = federated;
        let subject = references.token(account, token_audience).await?;
        let tried = format!("exchange the token of ServiceAccount {} at Google", account.name);
        let subject = String::from_utf8(subject.token.expose().to_vec())
            .map_err(|_| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: it is no text")))?;
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let fields = [
            ("grant_type", plain("urn:ietf:params:oauth:grant-type:token-exchange")),
            ("audience", plain(audience)),
            ("scope", plain(scope)),
            ("requested_token_type", plain("urn:ietf:params:oauth:token-type:access_token")),
            ("subject_token_type", plain("urn:ietf:params:oauth:token-type:jwt")),
            ("subject_token", Zeroizing::new(subject)),
        ];
        let hint = "check the provider, the audiences that it allows, its conditions and the cluster's issuer";
        self.granted(&format!("{}/v1/token", self.sts), &fields, &tried, hint).await
    }

    /// Asks for a token of a service account, with one that is good for nothing else.
    pub(super) async fn impersonate(&self, account: &Impersonated, federated: &Federated) -> Result<Issued, Error> {
        let token = self.exchange_for(IAM_SCOPE, federated).await?.credential;
        let Impersonated { email } = account;
        let tried = format!("act as the service account {email}");
        let url = format!("{}/v1/projects/-/serviceAccounts/{email}:generateAccessToken", self.iam_credentials);
        // The life that was asked for is the one that counts: the end in the answer is by Google's clock.
        let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", LIFE.as_secs())}).to_string();
        let mut request = post(&url, "application/json", Bytes::from(body), &tried)?;
        request.headers_mut().insert(AUTHORIZATION, token);
        let answer = Answer::new(self.client.send(request).await?);
        if answer.status != 200 {
            return Err(of_impersonation(&answer, &tried));
        }
        let Some(Generated { access_token }) = answer.parse() else { return Err(no_token(&answer, &tried)) };
        issued(access_token, LIFE)
    }

    /// Asks the OAuth server for a token. What whoever runs the process says goes before what the credentials say.
    pub(super) async fn grant(
        &self,
        named: Option<&Url>,
        fields: &[(&'static str, Zeroizing<String>)],
        tried: &str,
    ) -> Result<Issued, Error> {
        let url = match (&self.oauth, named) {
            (Some(base), _) => format!("{base}/token"),
            (None, Some(named)) => named.as_str().to_owned(),
            (None, None) => OAUTH.to_owned(),
        };
        let hint = "it may be disabled, deleted or revoked, or this machine's clock may be wrong";
        self.granted(&url, fields, tried, hint).await
    }

    async fn granted(
        &self,
        url: &str,
        fields: &[(&'static str, Zeroizing<String>)],
        tried: &str,
        hint: &str,
    ) -> Result<Issued, Error> {
        let mut body = String::new();
        for (name, value) in fields {
            let separator = if body.is_empty() { "" } else { "&" };
            body.extend([separator, name, "="]);
            body.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        let request = post(url, "application/x-www-form-urlencoded", Bytes::from(body), tried)?;
        let answer = Answer::new(self.client.send(request).await?);
        if answer.status != 200 {
            return Err(of_grant(&answer, tried, hint));
        }
        let Some(Granted { access_token, expires_in }) = answer.parse() else { return Err(no_token(&answer, tried)) };
        issued(access_token, Duration::from_secs(expires_in.unwrap_or(USUAL_LIFE)))
    }
}

fn issued(token: String, life: Duration) -> Result<Issued, Error> {
    Ok(Issued { credential: bearer(&SecretValue::from(token), "Google")?, life: Some(life) })
}

fn no_token(answer: &Answer, tried: &str) -> Error {
    answer.failed(ErrorKind::Unexpected, tried, "the answer holds no token")
}

fn post(url: &str, kind: &'static str, body: Bytes, tried: &str) -> Result<http::Request<Bytes>, Error> {
    let request = http::Request::post(url).header(CONTENT_TYPE, HeaderValue::from_static(kind)).body(body);
    request.map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("cannot {tried}: its address cannot be one")))
}
