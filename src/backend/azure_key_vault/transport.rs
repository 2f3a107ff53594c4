//! Sends the SDK's requests through the one door to the network, each with the store's own token.
//!
//! The SDK never holds a token, and never sees a challenge. It wants one before its first request, to learn what a token
//! must be for; it gets one from here, not from the vault: what a token is for and who gives it follows from the Store, so
//! that no answer can send it elsewhere. For the same reason a page that is to be had from another host than the vault's
//! is not asked for.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind as AzureKind;
use azure_core::http::headers::{AUTHORIZATION as AZURE_AUTHORIZATION, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode};
use azure_core::time::{Duration, OffsetDateTime};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::Url;
use tokio::sync::Semaphore;

use crate::backend::credentials::azure::Login;
use crate::backend::network::{self, Client, Response};
use crate::backend::{Error, ErrorKind};

/// The way to one vault.
pub(super) struct Transport {
    pub(super) network: Client,
    pub(super) login: Arc<Login>,
    /// The vault: nothing else is asked.
    pub(super) vault: Url,
    /// Turns to ask it: a vault that hangs must not cost a connection for each key.
    pub(super) turns: Semaphore,
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.headers().get_optional_str(&AZURE_AUTHORIZATION).is_none() {
            return Ok(challenge());
        }
        // Ours stays in there, to be found again.
        let answer = self.send(request).await.map_err(|error| azure_core::Error::new(AzureKind::Other, error))?;
        Ok(as_azures(answer))
    }
}

impl Transport {
    /// Asks the vault, and once more if it refused the token and another one could be had.
    async fn send(&self, request: &Request) -> Result<Response, Error> {
        if request.url().origin() != self.vault.origin() {
            let host = self.vault.host_str().unwrap_or_default();
            return Err(Error::new(ErrorKind::Unexpected, format!("an answer of {host} leads to another host")));
        }
        let closed = |_| Error::new(ErrorKind::Unexpected, "the vault takes no calls: please report this defect");
        let _turn = self.turns.acquire().await.map_err(closed)?;
        self.login.send(&self.network, |token| with_token(request, token)).await
    }
}

/// What the SDK takes for the vault's first answer.
fn challenge() -> AsyncRawResponse {
    let mut headers = Headers::new();
    headers.insert(
        "www-authenticate",
        r#"Bearer authorization="https://login.invalid", resource="https://vault.invalid""#,
    );
    AsyncRawResponse::from_bytes(StatusCode::Unauthorized, headers, Bytes::new())
}

fn with_token(request: &Request, token: HeaderValue) -> Result<network::Request, Error> {
    let unusable = |what: &str| Error::new(ErrorKind::Unexpected, format!("the SDK of Azure made {what}"));
    let body = match request.body() {
        Body::Bytes(bytes) => bytes.clone(),
        // The operations that we use have none.
        Body::SeekableStream(_) => return Err(unusable("a request with a stream")),
    };
    let mut made = http::Request::new(body);
    *made.method_mut() = http::Method::from_bytes(request.method().as_str().as_bytes())
        .map_err(|_| unusable("a request without a method"))?;
    *made.uri_mut() = request.url().as_str().parse().map_err(|_| unusable("a request without an address"))?;
    for (name, value) in request.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|_| unusable("a header without a name"))?;
        let value = HeaderValue::from_str(value.as_str()).map_err(|_| unusable("a header that is no text"))?;
        made.headers_mut().insert(name, value);
    }
    made.headers_mut().insert(AUTHORIZATION, token);
    Ok(made)
}

/// The answer without its challenge: the SDK would ask once more, with the same token.
fn as_azures(answer: Response) -> AsyncRawResponse {
    let (parts, body) = answer.into_parts();
    let mut headers = Headers::new();
    for (name, value) in &parts.headers {
        if let (false, Ok(value)) = (name == WWW_AUTHENTICATE, value.to_str()) {
            headers.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    AsyncRawResponse::from_bytes(StatusCode::from(parts.status.as_u16()), headers, body)
}

/// What the SDK takes for a credential: the header that it makes of it is replaced.
#[derive(Debug)]
pub(super) struct Placeholder;

#[async_trait]
impl TokenCredential for Placeholder {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        // The SDK keeps it for so long.
        Ok(AccessToken::new("none", OffsetDateTime::now_utc() + Duration::days(365)))
    }
}
