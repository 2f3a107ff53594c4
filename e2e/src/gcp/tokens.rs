//! What gives tokens: OAuth for keys and refresh tokens, the Security Token Service, the IAM Credentials API.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::alg_id;
use serde_json::{Value, json};

use super::answer::{self, oauth_error};
use super::{World, at};
use crate::tls_server::{Request, Response};

/// Whom a JWT is for (<https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>).
pub(super) const OAUTH_AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// The client that refresh tokens are of.
pub(super) const CLIENT_ID: &str = "gcloud.apps.googleusercontent.com";
pub(super) const CLIENT_SECRET: &str = "not-so-secret";

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// All that acting as a service account needs.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
const LIFE: u64 = 3600;

/// An RSA key: the private half as PKCS #8 PEM, the public half as PKCS #1 DER.
pub(super) fn new_key() -> anyhow::Result<(String, Vec<u8>)> {
    let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).context("could not make an RSA key")?;
    Ok((pair.serialize_pem(), pair.public_key_raw().to_vec()))
}

impl World {
    /// `POST /token` (RFC 7523 section 2.1, RFC 6749 section 6).
    pub(super) fn oauth(&mut self, request: &Request) -> Response {
        let form = form(request);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let refused = |error: &str, why: &str| oauth_error(StatusCode::BAD_REQUEST, error, why);
        let principal = match field("grant_type") {
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => match self.account_of(field("assertion")) {
                Ok(email) => email,
                Err(why) => return refused("invalid_grant", &why),
            },
            "refresh_token" => {
                if (field("client_id"), field("client_secret")) != (CLIENT_ID, CLIENT_SECRET) {
                    let why = "The OAuth client was not found.";
                    return oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", why);
                }
                match self.refresh.get(field("refresh_token")) {
                    Some(email) => email.clone(),
                    None => return refused("invalid_grant", "Token has been expired or revoked."),
                }
            }
            _ => return refused("unsupported_grant_type", "Invalid grant_type"),
        };
        self.granted(&principal, None)
    }

    /// Whose key signed a JWT for us, a moment ago and for no longer than an hour.
    fn account_of(&self, assertion: &str) -> Result<String, String> {
        let bad = |why: &str| Err(format!("Invalid JWT: {why}"));
        let Some((signed, signature)) = assertion.rsplit_once('.') else { return bad("not signed") };
        let Some((header, claims)) = signed.split_once('.') else { return bad("not of three parts") };
        let (header, claims) = (decoded(header), decoded(claims));
        let email = at(&claims, "/iss").as_str().unwrap_or_default();
        let Some((id, public)) = self.keys.get(email) else { return bad("account not found") };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        if at(&header, "/alg") != "RS256"
            || at(&header, "/kid") != id.as_str()
            || !is_signed(public, signed, &signature)
        {
            return Err("Invalid JWT Signature.".to_owned());
        }
        let now = jiff::Timestamp::now().as_second();
        let (issued, ends) = (at(&claims, "/iat").as_i64().unwrap_or(0), at(&claims, "/exp").as_i64().unwrap_or(0));
        if issued > now || ends <= now || ends - issued > 3600 {
            return bad("Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
        }
        if at(&claims, "/aud") != OAUTH_AUDIENCE
            && at(&claims, "/aud").as_str().is_none_or(|uri| !uri.starts_with("http://127.0.0.1"))
        {
            return bad("wrong audience");
        }
        if at(&claims, "/scope") != SCOPE {
            return bad("no scope");
        }
        Ok(email.to_owned())
    }

    /// `POST /v1/token` (RFC 8693; <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>).
    pub(super) fn exchange(&mut self, request: &Request) -> Response {
        let form = form(request);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let refused = |error: &str, why: &str| oauth_error(StatusCode::BAD_REQUEST, error, why);
        for (name, expected) in [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ] {
            if field(name) != expected {
                return refused("invalid_request", &format!("Invalid value for {name}"));
            }
        }
        if ![SCOPE, IAM_SCOPE].contains(&field("scope")) {
            return refused("invalid_scope", "Some requested scopes were invalid.");
        }
        let audience = field("audience");
        // Of a pool that somebody made, or of the one that a cluster of GKE has by itself.
        let (provider, own) = match (audience.strip_prefix("//iam.googleapis.com/"), audience.split_once(':')) {
            (Some(path), _) => (path, vec![audience.to_owned(), format!("https:{audience}")]),
            (None, Some(("identitynamespace", rest))) => {
                (audience, rest.split_once(':').map(|(pool, _)| pool.to_owned()).into_iter().collect())
            }
            _ => return refused("invalid_request", "Invalid value for audience"),
        };
        let Some(subjects) = self.providers.get(provider) else {
            return refused("invalid_target", "The target service indicated by the audience parameters is invalid.");
        };
        let claims = field("subject_token").split('.').nth(1).map(decoded).unwrap_or_default();
        let given = match at(&claims, "/aud") {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        if !own.iter().any(|own| given.contains(&json!(own))) {
            return refused("invalid_grant", "The audience in ID Token does not match the expected audience.");
        }
        if at(&claims, "/exp").as_i64().unwrap_or(0) <= jiff::Timestamp::now().as_second() {
            return refused("invalid_grant", "ID Token is stale to sign-in.");
        }
        let subject = at(&claims, "/sub").as_str().unwrap_or_default().to_owned();
        if !subjects.contains(&subject) {
            let why = "The given credential is rejected by the attribute condition.";
            return oauth_error(StatusCode::UNAUTHORIZED, "unauthorized_client", why);
        }
        let is_for_iam = field("scope") == IAM_SCOPE;
        let response = self.granted(&subject, Some("urn:ietf:params:oauth:token-type:access_token"));
        if is_for_iam {
            self.for_iam.extend(self.given_out.last().cloned());
        }
        response
    }

    /// `POST …:generateAccessToken`.
    pub(super) fn generate(&mut self, request: &Request) -> Response {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
        let caller = header.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token)).cloned();
        let Some(caller) = caller else {
            return answer::error("UNAUTHENTICATED", "Request had invalid authentication credentials.");
        };
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
        let named = path.strip_prefix("/v1/projects/-/serviceAccounts/").and_then(|rest| rest.rsplit_once(':'));
        let Some((email, "generateAccessToken")) = named else { return answer::not_found_page() };
        if !self.actors.contains(&(caller, email.to_owned())) {
            let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
            return answer::error_for("PERMISSION_DENIED", message, "IAM_PERMISSION_DENIED");
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        if *at(&body, "/scope") != json!([SCOPE]) || at(&body, "/lifetime").as_str().is_none_or(|life| life != "3600s")
        {
            return answer::error("INVALID_ARGUMENT", "Request contains an invalid argument.");
        }
        match self.token(email) {
            Ok(token) => answer::ok(&json!({"accessToken": token, "expireTime": "2099-01-01T00:00:00Z"})),
            Err(_) => answer::error("INTERNAL", "no randomness"),
        }
    }

    fn granted(&mut self, principal: &str, kind: Option<&str>) -> Response {
        let Ok(token) = self.token(principal) else { return answer::error("INTERNAL", "no randomness") };
        let mut body = json!({"access_token": token, "expires_in": LIFE, "token_type": "Bearer"});
        if let (Some(kind), Value::Object(body)) = (kind, &mut body) {
            body.insert("issued_token_type".to_owned(), json!(kind));
        }
        answer::ok(&body)
    }
}

fn form(request: &Request) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(request.body()).into_owned();
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

/// A part of a JWT; null if it is none.
fn decoded(part: &str) -> Value {
    URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2).
fn is_signed(public: &[u8], message: &str, signature: &[u8]) -> bool {
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let fits = |algorithm: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
        algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION
            && algorithm.signature_alg_id() == alg_id::RSA_PKCS1_SHA256
    };
    let found = algorithms.all.iter().find(fits);
    found.is_some_and(|algorithm| algorithm.verify_signature(public, message.as_bytes(), signature).is_ok())
}
