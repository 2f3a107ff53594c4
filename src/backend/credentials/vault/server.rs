//! One Vault server, in one of its namespaces: requests with the headers of Vault, answers with their status.
//!
//! The endpoints are those of `vaultrs`, sent through `rustify`. Its client is not used: it is bound to an HTTP client of
//! its own, drops the headers of answers (`Retry-After`), puts whole bodies into errors, prints the token in `Debug`, and
//! panics on a token that is no header.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, Uri};
use reqwest::Url;
use rustify::endpoint::{Endpoint, MiddleWare};
use rustify::errors::ClientError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::backend::network::rustify::Transport;
use crate::backend::network::{Client, find, retry_after};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// A server. Every call is one request.
pub struct Server {
    transport: Transport,
    /// What every path begins with, the server's own path included: `https://vault.example.com/v1`.
    root: String,
    namespace: Option<HeaderValue>,
    host: String,
}

/// A token of Vault that can be sent.
pub struct Token(SecretValue);

/// What a server said.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
    body: Zeroizing<Vec<u8>>,
}

/// The part of a refusal that decides what it means. The texts are matched and never shown.
#[derive(Default, Deserialize)]
pub struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

impl Server {
    /// A server at an address that was checked. Asks nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the namespace cannot be one.
    pub fn new(client: Client, address: &Url, namespace: Option<&str>) -> Result<Self, Error> {
        let namespace = match namespace.map(|name| name.trim_matches('/')) {
            None | Some("") => None,
            Some(name) => Some(header(name).ok_or_else(|| {
                Error::new(ErrorKind::InvalidConfig, "vault.namespace cannot be the name of a namespace")
            })?),
        };
        let origin = address.origin().ascii_serialization();
        let path = address.path().trim_end_matches('/');
        let host = address.host_str().unwrap_or_default().to_owned();
        Ok(Self { root: format!("{origin}{path}/v1"), transport: Transport::new(client, origin), namespace, host })
    }

    /// The host, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sends one request. Any status is an answer.
    ///
    /// # Errors
    /// As [`Client::send`] has them.
    pub async fn call<E: Endpoint>(&self, endpoint: E, token: Option<&Token>) -> Result<Answer, Error> {
        let headers = Headers { root: &self.root, namespace: self.namespace.as_ref(), token };
        let sent = endpoint.with_middleware(&headers).exec(&self.transport).await;
        let answer = sent.map_err(|error| match find::<Error>(&error) {
            Some(ours) => ours.clone(),
            None => Error::new(ErrorKind::Unexpected, "the request for Vault could not be put together"),
        })?;
        let (parts, body) = answer.response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            retry_after: retry_after(&parts.headers),
            body: Zeroizing::new(body),
        })
    }
}

impl Token {
    /// Takes a token as people store it, with white space around it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it cannot be one; `origin` says in the message where it comes from.
    pub fn new(text: &SecretValue, origin: &str) -> Result<Self, Error> {
        let token = text.expose().trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Error::new(ErrorKind::InvalidConfig, format!("{origin} is no token of Vault")));
        }
        Ok(Self(SecretValue::new(token.to_vec())))
    }
}

impl Answer {
    #[cfg(test)]
    pub(in crate::backend) fn new(status: u16, body: &str) -> Self {
        Self { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    /// Whether the request was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as it is. It may hold values.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a type that holds no value; `None` if it is anything else. The parser's words are dropped: they quote
    /// what they read.
    #[must_use]
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body of a refusal; `None` if the answer is not Vault's.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.parse()
    }
}

impl Refusal {
    /// Whether one of the errors has these words of Vault's source.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.errors.iter().any(|error| error.contains(words))
    }

    /// Whether it is nothing but "there is none": no error, no warning.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.errors.is_empty() && self.warnings.as_ref().is_none_or(Vec::is_empty)
    }
}

/// A header that does not show in logs.
fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What every request to Vault has (<https://developer.hashicorp.com/vault/api-docs#the-x-vault-request-header>).
struct Headers<'a> {
    root: &'a str,
    namespace: Option<&'a HeaderValue>,
    token: Option<&'a Token>,
}

impl MiddleWare for Headers<'_> {
    fn request<E: Endpoint>(&self, _: &E, request: &mut Request<Vec<u8>>) -> Result<(), ClientError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        // A query of which every part was left out is written as a bare `?`.
        let path = path.strip_suffix('?').unwrap_or(path);
        let uri = Uri::try_from(format!("{}{path}", self.root));
        *request.uri_mut() = uri.map_err(|source| ClientError::UrlBuildError { source })?;
        let has_body = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.insert("X-Vault-Request", HeaderValue::from_static("true"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(namespace) = self.namespace {
            headers.insert("X-Vault-Namespace", namespace.clone());
        }
        // A token that is no header was refused when it was made.
        if let Some(token) = self.token
            && let Some(token) = std::str::from_utf8(token.0.expose()).ok().and_then(header)
        {
            headers.insert("X-Vault-Token", token);
        }
        Ok(())
    }

    fn response<E: Endpoint>(&self, _: &E, _: &mut Response<Vec<u8>>) -> Result<(), ClientError> {
        Ok(())
    }
}
