//! The HTTP client behind every driver.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::tls::Version;
use reqwest::{Certificate, Url};
use zeroize::Zeroize as _;

use super::{Error, ErrorKind, Rules};

/// A request; its body may hold a value.
pub type Request = http::Request<Bytes>;
/// An answer; its body may hold values.
pub type Response = http::Response<Bytes>;

/// How long a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is kept so long: a little more than the default refresh of most stores would be waste, and clouds
/// close theirs after about a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Idle connections to one host.
const IDLE_CONNECTIONS: usize = 4;
/// The most bytes of an answer: 20 values of 64 KiB each, the largest batch that a store answers, in JSON escapes that
/// triple them, fit four times over.
const MAX_ANSWER: usize = 16 << 20;

/// Sends requests under the rules of a [`Network`](super::Network). Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    rules: Arc<Rules>,
    limit: usize,
}

impl Client {
    pub(super) fn new(rules: &Arc<Rules>, authorities: Option<&[u8]>) -> Result<Self, Error> {
        let invalid = |what: &str| Error::new(ErrorKind::InvalidConfig, what.to_owned());
        let unreadable = || invalid("the certificate authority is not a list of certificates in PEM");
        let certificates = |pem: &[u8]| Certificate::from_pem_bundle(pem).map_err(|_| unreadable());
        let builder = || {
            reqwest::Client::builder()
                .redirect(Policy::none())
                .referer(false)
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .tls_version_min(Version::TLS_1_2)
                .dns_resolver(Resolver { rules: Arc::clone(rules) })
        };
        let built = match authorities {
            Some(pem) => {
                let certificates = certificates(pem)?;
                if certificates.is_empty() {
                    return Err(unreadable());
                }
                builder().tls_certs_only(certificates).build()
            }
            None => {
                let own = certificates(&rules.roots)?;
                // A system without any certificate authority, such as an image that holds nothing but a program, is an
                // error to the library. Whoever needs none, or brings them along, must not be kept from starting.
                let with_system = builder().tls_certs_merge(own.clone()).build();
                with_system.or_else(|_| builder().tls_certs_only(own).build())
            }
        };
        let http = built.map_err(|_| invalid("cannot make a TLS client from the certificate authorities"))?;
        Ok(Self { http, rules: Arc::clone(rules), limit: MAX_ANSWER })
    }

    /// The same client with another limit for answers, in bytes.
    #[must_use]
    pub fn with_limit(&self, limit: usize) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Sends a request and reads the whole answer, whatever its status. Cancel safe: dropping it abandons the request.
    ///
    /// # Errors
    /// [`ErrorKind::EndpointNotAllowed`], [`ErrorKind::Unavailable`] without an answer, [`ErrorKind::Timeout`] if there
    /// was no connection in time, [`ErrorKind::Unexpected`] for an answer above the limit.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|_| Error::new(ErrorKind::InvalidConfig, "the address of a request cannot be one"))?;
        // Names are checked as they are resolved; an address that is written out never is.
        self.rules.check_scheme(&url)?;
        self.rules.check_literal(&url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let answer = self.http.execute(request).await.map_err(|error| failure(&error, &host))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = self.collect(answer, &host).await?;
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    async fn collect(&self, mut answer: reqwest::Response, host: &str) -> Result<Bytes, Error> {
        let too_large = || {
            let message = format!("{host} sent an answer of more than {} bytes", self.limit);
            Error::new(ErrorKind::Unexpected, message)
        };
        let announced = answer.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > self.limit) {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error, host))? {
            let length = body.len().saturating_add(chunk.len());
            if length > self.limit {
                body.zeroize();
                return Err(too_large());
            }
            if length > body.capacity() {
                // Grown by hand, so that the smaller copy is not left behind.
                let mut larger = Vec::with_capacity(length.saturating_mul(2).min(self.limit));
                larger.extend_from_slice(&body);
                body.zeroize();
                body = larger;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(body))
    }
}

/// The seconds of a `Retry-After` header (RFC 9110 section 10.2.3); a date is not read.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What went wrong, in our words. Our own refusal is somewhere below the client's error.
fn failure(error: &reqwest::Error, host: &str) -> Error {
    if let Some(refused) = find::<Error>(error) {
        return refused.clone();
    }
    if error.is_timeout() {
        return Error::new(ErrorKind::Timeout, format!("no connection to {host} in time"));
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return Error::new(
            ErrorKind::Unavailable,
            format!("no safe connection to {host}: {}", certificate_reason(tls)),
        );
    }
    if error.is_connect() {
        return Error::new(ErrorKind::Unavailable, format!("cannot connect to {host}"));
    }
    Error::new(ErrorKind::Unavailable, format!("the connection to {host} broke"))
}

/// Looks for one of our own types among an error and what caused it.
#[must_use]
pub fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error shows what is in it here, and its cause only below that.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Why a certificate is not trusted, in words of ours: the certificate itself is the remote side's text.
fn certificate_reason(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "its certificate is not valid yet",
            Certificate::UnknownIssuer => "its certificate is from an authority that is not trusted",
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            Certificate::Revoked => "its certificate was revoked",
            // An open list of faults of the certificate itself.
            _ => "its certificate is not valid",
        },
        // An open list of faults of the protocol.
        _ => "TLS 1.2 or newer could not be agreed on",
    }
}

/// Resolves names for the client, and hands on addresses that were checked.
struct Resolver {
    rules: Arc<Rules>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let found = rules.resolve(name.as_str()).await?;
            // The client puts the port in.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
