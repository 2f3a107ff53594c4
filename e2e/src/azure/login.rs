//! The token endpoint of Microsoft Entra ID, and who may do what with a token.
//!
//! Reference: <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>; numbers of errors:
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>. A client assertion is a token of a
//! Kubernetes ServiceAccount: the API server that issued it is asked whether it is good (TokenReview), and its subject
//! must be the one that the application trusts
//! (<https://learn.microsoft.com/entra/workload-id/workload-identity-federation>).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::{Answer, Shared, field, fields, refusal};
use crate::control_plane::random_token;

/// Where Entra ID is.
pub(super) const HOST: &str = "login.microsoftonline.com";
/// The audience of a token that is presented as an assertion.
const EXCHANGE: &str = "api://AzureADTokenExchange";
/// How long Entra ID's tokens live, unless a policy says otherwise: 60 to 90 minutes.
const HOUR: Duration = Duration::from_secs(3600);

/// What is known of an application (a service principal, or a managed identity).
#[derive(Clone, Default)]
pub struct AzureApplication {
    /// The tenant that it lives in.
    pub tenant: String,
    /// Its client id.
    pub client: String,
    /// Its client secret, if it has one.
    pub secret: Option<String>,
    /// The subject whose tokens it accepts instead, and the API server that can tell.
    pub federated: Option<(String, Client)>,
    /// Whether it is the identity of the machine that asks.
    pub of_machine: bool,
    /// What it may do with secrets: `get`, `list`, `set`, `delete`, `recover`, `purge`.
    pub rights: Vec<&'static str>,
}

#[derive(Default)]
pub(super) struct Logins {
    applications: BTreeMap<String, AzureApplication>,
    tokens: BTreeMap<String, Token>,
    life: Option<Duration>,
}

struct Token {
    client: String,
    resource: String,
    end: Instant,
}

/// Why a request is not authenticated.
pub(super) enum Unauthenticated {
    Missing,
    Invalid,
}

impl Unauthenticated {
    /// <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>
    pub(super) fn challenge(&self, tenant: &str, resource: &str) -> String {
        let error = match self {
            Self::Missing => "",
            Self::Invalid => r#", error="invalid_token", error_description="AKV10032: Invalid token.""#,
        };
        format!(r#"Bearer authorization="https://{HOST}/{tenant}", resource="{resource}"{error}"#)
    }

    pub(super) fn answer(&self) -> Answer {
        let message = match self {
            Self::Missing => "AKV10000: Request is missing a Bearer or PoP token.",
            Self::Invalid => "AKV10032: Invalid token.",
        };
        refusal(401, "Unauthorized", None, message)
    }
}

impl Logins {
    pub(super) fn register(&mut self, application: AzureApplication) {
        self.applications.insert(application.client.clone(), application);
    }

    /// The tenant that the vault belongs to.
    pub(super) fn tenant(&self) -> &str {
        self.applications.values().next().map_or("common", |application| &application.tenant)
    }

    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn set_life(&mut self, life: Duration) {
        self.life = Some(life);
    }

    pub(super) fn issue(&mut self, client: &str, resource: &str) -> anyhow::Result<String> {
        let token = format!("eyJ0{}{}", random_token()?, random_token()?);
        let end = Instant::now() + self.life.unwrap_or(HOUR);
        let issued = Token { client: client.to_owned(), resource: resource.to_owned(), end };
        self.tokens.insert(token.clone(), issued);
        Ok(token)
    }

    /// What the bearer of a token may do.
    pub(super) fn rights(
        &self,
        authorization: Option<&str>,
        resource: &str,
    ) -> Result<BTreeSet<String>, Unauthenticated> {
        let token = authorization.and_then(|header| header.strip_prefix("Bearer ")).ok_or(Unauthenticated::Missing)?;
        let known = self.tokens.get(token).filter(|known| known.end > Instant::now() && known.resource == resource);
        let application = known.and_then(|known| self.applications.get(&known.client));
        let application = application.ok_or(Unauthenticated::Invalid)?;
        Ok(application.rights.iter().map(|right| (*right).to_owned()).collect())
    }
}

fn refused(status: u16, error: &str, code: u32, message: &str) -> Answer {
    (status, json!({"error": error, "error_description": format!("AADSTS{code}: {message}"), "error_codes": [code]}))
}

fn granted(shared: &Shared, client: &str, resource: &str) -> anyhow::Result<Answer> {
    let mut state = shared.lock();
    let life = state.logins.life.unwrap_or(HOUR).as_secs();
    let token = state.logins.issue(client, resource)?;
    Ok((200, json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token})))
}

/// What Microsoft's libraries look up before they ask for a token: which hosts are the same, and where a tenant's endpoints
/// are (<https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc>). None for other requests.
pub(super) fn discovery(method: &str, path: &str) -> Option<Answer> {
    if method != "GET" {
        return None;
    }
    if path == "/common/discovery/instance" {
        let aliases = [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"];
        let metadata = json!([{"preferred_network": HOST, "preferred_cache": "login.windows.net", "aliases": aliases}]);
        let endpoint = format!("https://{HOST}/common/v2.0/.well-known/openid-configuration");
        let body = json!({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": metadata});
        return Some((200, body));
    }
    let tenant = path.strip_prefix('/')?.strip_suffix("/v2.0/.well-known/openid-configuration")?;
    let at = |end: &str| format!("https://{HOST}/{tenant}/{end}");
    let body = json!({
        "issuer": at("v2.0"),
        "token_endpoint": at("oauth2/v2.0/token"),
        "authorization_endpoint": at("oauth2/v2.0/authorize"),
        "device_authorization_endpoint": at("oauth2/v2.0/devicecode"),
    });
    Some((200, body))
}

/// `POST /{tenant}/oauth2/v2.0/token`
pub(super) async fn token(shared: &Shared, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
    if method != "POST" {
        return Ok(refused(400, "invalid_request", 900_561, "The endpoint only accepts POST requests."));
    }
    let tenant = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let form = fields(std::str::from_utf8(body).context("the form is no text")?);
    let get = |name| field(&form, name).unwrap_or_default();
    let applications = shared.lock().logins.applications.clone();
    if !applications.values().any(|application| application.tenant == tenant) {
        return Ok(refused(400, "invalid_request", 90_002, "Tenant not found."));
    }
    if get("grant_type") != "client_credentials" {
        return Ok(refused(400, "unsupported_grant_type", 70_003, "The grant type is not supported."));
    }
    // Microsoft's libraries ask for scopes of OpenID beside it.
    let mut scopes = get("scope").split(' ').filter_map(|scope| scope.strip_suffix("/.default"));
    let Some(resource) = scopes.next().filter(|resource| !resource.is_empty()) else {
        return Ok(refused(400, "invalid_scope", 70_011, "The scope is not valid."));
    };
    let client = get("client_id");
    let Some(application) = applications.get(client).filter(|application| application.tenant == tenant) else {
        return Ok(refused(400, "unauthorized_client", 700_016, "Application not found in the directory."));
    };
    if let Some(secret) = field(&form, "client_secret") {
        if application.secret.as_deref() != Some(secret) {
            return Ok(refused(401, "invalid_client", 7_000_215, "Invalid client secret provided."));
        }
    } else if let Some(assertion) = field(&form, "client_assertion") {
        if get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return Ok(refused(400, "invalid_request", 900_144, "client_assertion_type is missing."));
        }
        let Some((subject, issuer)) = &application.federated else {
            return Ok(refused(401, "invalid_client", 70_025, "The client has no configured federated credentials."));
        };
        if reviewed(issuer, assertion).await?.as_deref() != Some(subject.as_str()) {
            let message = "No matching federated identity record found for presented assertion.";
            return Ok(refused(401, "invalid_client", 700_213, message));
        }
    } else {
        return Ok(refused(
            401,
            "invalid_client",
            7_000_218,
            "The request body must contain client_assertion or client_secret.",
        ));
    }
    granted(shared, client, resource)
}

/// The subject of a token that its issuer holds to be good for the exchange.
async fn reviewed(issuer: &Client, token: &str) -> anyhow::Result<Option<String>> {
    let spec = TokenReviewSpec { audiences: Some(vec![EXCHANGE.to_owned()]), token: Some(token.to_owned()) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let api: Api<TokenReview> = Api::all(issuer.clone());
    let status = api.create(&PostParams::default(), &review).await.context("could not review a token")?.status;
    let status = status.filter(|status| status.authenticated == Some(true));
    Ok(status.and_then(|status| status.user).and_then(|user| user.username))
}

/// `GET /metadata/identity/oauth2/token`, the service of a machine in Azure
/// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http>).
pub(super) fn metadata(shared: &Shared, method: &str, query: &str, marker: Option<&str>) -> anyhow::Result<Answer> {
    let refused = |description: &str| Ok((400, json!({"error": "invalid_request", "error_description": description})));
    let query = fields(query);
    if method != "GET" || marker != Some("true") {
        return refused("Required metadata header not specified");
    }
    if field(&query, "api-version") != Some("2018-02-01") {
        return refused("Required query variable 'api-version' is missing or wrong");
    }
    let Some(resource) = field(&query, "resource") else {
        return refused("Required query variable 'resource' is missing");
    };
    let wanted = field(&query, "client_id");
    let client = shared.lock().logins.applications.values().find_map(|application| {
        let fits = application.of_machine && wanted.is_none_or(|wanted| wanted == application.client);
        fits.then(|| application.client.clone())
    });
    let Some(client) = client else { return refused("Identity not found") };
    // Numbers are texts there.
    let (status, mut answer) = granted(shared, &client, resource)?;
    if let Some(answer) = answer.as_object_mut() {
        let life = answer.get("expires_in").map(Value::to_string).unwrap_or_default();
        answer.insert("expires_in".to_owned(), json!(life));
    }
    Ok((status, answer))
}
