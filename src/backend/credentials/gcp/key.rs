//! Keys of service accounts: a JWT signed with one is what Google gives a token for.
//!
//! Source: <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use serde::Deserialize;
use serde_json::json;
use zeroize::{Zeroize, Zeroizing};

use super::{SCOPE, token_uri};
use crate::backend::network::Network;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// Whom a JWT is for, unless the key says otherwise.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// Google takes no JWT that lives longer.
const LIFE: i64 = 3600;
/// How far this machine's clock may be ahead: Google takes no JWT from the future.
const SKEW: i64 = 30;

/// The key of a service account, as Google gives it out.
pub(super) struct ServiceAccountKey {
    email: String,
    id: Option<String>,
    key: Arc<dyn SigningKey>,
    token_uri: Option<Url>,
    origin: String,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    token_uri: Option<String>,
    #[serde(default)]
    universe_domain: Option<String>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

impl ServiceAccountKey {
    /// Reads a key as JSON. `origin` says in messages where it was found.
    pub(super) fn parse(text: &SecretValue, origin: &str, network: &Network) -> Result<Self, Error> {
        let unusable = |what: &str| Err(Error::new(ErrorKind::Unauthenticated, format!("{origin}: {what}")));
        // The parser's words quote what they read.
        let Ok(wire) = serde_json::from_slice::<Wire>(text.expose()) else {
            return unusable("this is no key of a Google service account (JSON with client_email and private_key)");
        };
        if wire.kind != "service_account" {
            return unusable("the credentials are not of type service_account");
        }
        if wire.universe_domain.as_deref().is_some_and(|domain| domain != "googleapis.com") {
            return unusable("the key is for another universe than googleapis.com, which is not supported");
        }
        let Ok(der) = PrivateKeyDer::from_pem_slice(wire.private_key.as_bytes()) else {
            return unusable("its private_key is no key in PEM");
        };
        let signing = any_supported_type(&der).ok();
        let Some(key) = signing.filter(|key| key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_some()) else {
            return unusable("its private_key is no RSA key");
        };
        let token_uri = token_uri(wire.token_uri.as_deref(), network).map_err(|error| error.in_context(origin))?;
        Ok(Self {
            email: wire.client_email.clone(),
            id: wire.private_key_id.clone(),
            key,
            token_uri,
            origin: origin.to_owned(),
        })
    }

    pub(super) fn token_uri(&self) -> Option<&Url> {
        self.token_uri.as_ref()
    }

    pub(super) fn tried(&self) -> String {
        format!("log in to Google with the key of {}", self.origin)
    }

    /// The fields of the request for a token.
    pub(super) fn grant(&self) -> Result<Vec<(&'static str, Zeroizing<String>)>, Error> {
        let now = jiff::Timestamp::now().as_second();
        Ok(vec![
            ("grant_type", Zeroizing::new("urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned())),
            ("assertion", self.assertion(now)?),
        ])
    }

    /// A JWT (RFC 7523) of now, RS256.
    fn assertion(&self, now: i64) -> Result<Zeroizing<String>, Error> {
        let header = match &self.id {
            Some(id) => json!({"alg": "RS256", "typ": "JWT", "kid": id}),
            None => json!({"alg": "RS256", "typ": "JWT"}),
        };
        let audience = self.token_uri.as_ref().map_or(AUDIENCE, Url::as_str);
        let issued = now.saturating_sub(SKEW);
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": audience, "iat": issued, "exp": issued.saturating_add(LIFE),
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut text = Zeroizing::new(format!("{}.{}", encode(header), encode(claims)));
        let failed = || Error::new(ErrorKind::Unexpected, format!("cannot {}: nothing could be signed", self.tried()));
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(failed)?;
        let signature = signer.sign(text.as_bytes()).map_err(|_| failed())?;
        write!(text, ".{}", URL_SAFE_NO_PAD.encode(signature)).map_err(|_| failed())?;
        Ok(text)
    }
}
