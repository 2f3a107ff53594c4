//! A person's own credentials, as gcloud keeps them
//! (<https://cloud.google.com/docs/authentication/application-default-credentials>).
//!
//! | `type` of the file | what it is |
//! |---|---|
//! | `authorized_user` | a refresh token, of `gcloud auth application-default login` |
//! | `service_account` | the key of a service account |
//!
//! Files of other types (`external_account`, `impersonated_service_account`) may name programs to run and files to read;
//! an access token of gcloud does the same without.

use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::key::ServiceAccountKey;
use super::{Source, token_uri};
use crate::backend::network::Network;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// What was found of a person's credentials.
pub enum Personal {
    /// An access token.
    Token(SecretValue),
    /// A file of Application Default Credentials.
    File(SecretValue),
}

/// What `gcloud auth application-default login` leaves.
pub(super) struct RefreshToken {
    client_id: String,
    client_secret: Zeroizing<String>,
    refresh_token: Zeroizing<String>,
    token_uri: Option<Url>,
    origin: String,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    #[serde(default)]
    token_uri: Option<String>,
}

impl Drop for AuthorizedUser {
    fn drop(&mut self) {
        self.client_secret.zeroize();
        self.refresh_token.zeroize();
    }
}

/// Where a person's tokens come from. `found` is named by where it was found.
pub(super) fn source(found: Option<&(String, Personal)>, network: &Network) -> Result<Source, Error> {
    let unauthenticated = |message: String| Err(Error::new(ErrorKind::Unauthenticated, message));
    let Some((origin, personal)) = found else {
        let message = "there are no credentials of Google: run `gcloud auth application-default login`, or set \
                       GOOGLE_APPLICATION_CREDENTIALS";
        return unauthenticated(message.to_owned());
    };
    let text = match personal {
        Personal::Token(token) => {
            let token = Arc::new(SecretValue::new(token.expose().trim_ascii().to_vec()));
            return Ok(Source::Token(token, origin.clone()));
        }
        Personal::File(text) => text,
    };
    let Ok(Kind { kind }) = serde_json::from_slice(text.expose()) else {
        return unauthenticated(format!("{origin} holds no credentials of Google"));
    };
    match kind.as_str() {
        "service_account" => Ok(Source::Key(ServiceAccountKey::parse(text, origin, network)?)),
        "authorized_user" => {
            let Ok(user) = serde_json::from_slice::<AuthorizedUser>(text.expose()) else {
                return unauthenticated(format!("{origin} lacks a part of its refresh token: log in again"));
            };
            Ok(Source::Refresh(RefreshToken {
                client_id: user.client_id.clone(),
                client_secret: Zeroizing::new(user.client_secret.clone()),
                refresh_token: Zeroizing::new(user.refresh_token.clone()),
                token_uri: token_uri(user.token_uri.as_deref(), network).map_err(|error| error.in_context(origin))?,
                origin: origin.clone(),
            }))
        }
        _ => unauthenticated(format!(
            "{origin} is of a type that is not supported (service_account and authorized_user are): set \
             GOOGLE_OAUTH_ACCESS_TOKEN to what `gcloud auth print-access-token` prints"
        )),
    }
}

impl RefreshToken {
    pub(super) fn token_uri(&self) -> Option<&Url> {
        self.token_uri.as_ref()
    }

    pub(super) fn tried(&self) -> String {
        format!("log in to Google with {}", self.origin)
    }

    /// The fields of the request for a token (RFC 6749 section 6).
    pub(super) fn grant(&self) -> Vec<(&'static str, Zeroizing<String>)> {
        let Self { client_id, client_secret, refresh_token, token_uri: _, origin: _ } = self;
        vec![
            ("grant_type", Zeroizing::new("refresh_token".to_owned())),
            ("client_id", Zeroizing::new(client_id.clone())),
            ("client_secret", client_secret.clone()),
            ("refresh_token", refresh_token.clone()),
        ]
    }
}
