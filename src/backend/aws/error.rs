//! Errors of AWS as kinds of a store's errors: the table that all services share.
//!
//! | code | kind |
//! |---|---|
//! | `AccessDeniedException`, `AccessDenied`, `UnauthorizedOperation`, `OptInRequired` | `PermissionDenied` |
//! | `ExpiredToken…`, `RequestExpired` | `Unauthenticated`: expired |
//! | `UnrecognizedClientException`, `InvalidClientTokenId`, `InvalidSignature…`, `SignatureDoesNotMatch`, `AuthFailure`, `MissingAuthenticationToken…`, `IncompleteSignature…`, `InvalidAccessKeyId`, `InvalidToken` | `Unauthenticated` |
//! | `RequestTimeTooSkewed` | `Unauthenticated`: the clock |
//! | `Throttling…`, `TooManyRequests…`, `RequestLimitExceeded`, `RequestThrottled…`, `SlowDown`, `BandwidthLimitExceeded`, `PriorRequestNotComplete` | `RateLimited` |
//! | `InternalFailure`, `InternalServerError`, `InternalServiceError…`, `ServiceUnavailable…` | `Unavailable` |
//! | `RequestTimeout…` | `Timeout` |
//!
//! Sources: the page "Common Errors" in the API reference of each service
//! (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>), and the SDK's own list of codes that
//! mean throttling (`aws_runtime::retries::classifiers`).
//!
//! A code that is in no table counts by its HTTP status:
//!
//! | status | kind |
//! |---|---|
//! | 401 | `Unauthenticated` |
//! | 403 | `PermissionDenied` |
//! | 408, 504 | `Timeout` |
//! | 413 | `TooLarge` |
//! | 429 | `RateLimited` |
//! | other 5xx | `Unavailable` |
//! | anything else | `Unexpected` |
//!
//! Nothing that AWS sent gets into a message: codes are compared with ours, and their texts are dropped.

use std::error::Error as StdError;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::backend::network::find;
use crate::backend::{Error, ErrorKind};

/// What a code means: its kind, and why in our words.
pub type Meaning = (ErrorKind, &'static str);

/// The codes of one service, asked before the table that all share.
pub type Codes = fn(&str) -> Option<Meaning>;

/// The most bytes of an answer that is not the service's own in which a code is looked for.
const HEAD: usize = 4096;

/// The error of a call. `tried` says what on which object, as in `read the secret app/db`.
pub fn from_sdk<E>(error: &SdkError<E, HttpResponse>, tried: &str, codes: Codes) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    // Ours, from the network or a login: it says everything already.
    if let Some(ours) = find::<Error>(error) {
        return ours.clone();
    }
    let response = error.raw_response();
    let status = response.map(|response| response.status().as_u16());
    // Answers from in front of a service, for one, are XML whatever the service speaks.
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
    let code = code.or_else(|| response.and_then(code_in_xml));
    let (kind, why) = meaning(code.as_deref(), status, codes);
    Error { retry_after: response.and_then(retry_after), ..Error::new(kind, format!("cannot {tried}: {why}")) }
}

/// The error of one key in an answer to many.
#[must_use]
pub fn from_code(code: &str, tried: &str, codes: Codes) -> Error {
    let (kind, why) = meaning(Some(code), None, codes);
    Error::new(kind, format!("cannot {tried}: {why}"))
}

fn meaning(code: Option<&str>, status: Option<u16>, codes: Codes) -> Meaning {
    // Some services put a namespace before a code: `com.amazonaws.ssm#ThrottlingException`.
    let code = code.map(|code| code.rsplit('#').next().unwrap_or(code));
    code.and_then(codes).or_else(|| code.and_then(shared)).unwrap_or_else(|| by_status(status))
}

fn shared(code: &str) -> Option<Meaning> {
    Some(match code {
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "OptInRequired" => {
            (ErrorKind::PermissionDenied, "the identity's policies do not allow it")
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            (ErrorKind::Unauthenticated, "the credentials have expired")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidToken" => (ErrorKind::Unauthenticated, "AWS does not accept the credentials"),
        "RequestTimeTooSkewed" => {
            (ErrorKind::Unauthenticated, "the clock of this machine is wrong, and AWS refuses signatures made by it")
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete" => (ErrorKind::RateLimited, "AWS asks to be called less often"),
        "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalServiceErrorException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => (ErrorKind::Unavailable, "AWS cannot answer now"),
        "RequestTimeout" | "RequestTimeoutException" => (ErrorKind::Timeout, "AWS did not get the request in time"),
        _ => return None,
    })
}

fn by_status(status: Option<u16>) -> Meaning {
    match status {
        Some(401) => (ErrorKind::Unauthenticated, "the credentials were not accepted (401)"),
        Some(403) => (ErrorKind::PermissionDenied, "it is not allowed (403)"),
        Some(408 | 504) => (ErrorKind::Timeout, "no answer in time (408 or 504)"),
        Some(413) => (ErrorKind::TooLarge, "it is larger than the service takes (413)"),
        Some(429) => (ErrorKind::RateLimited, "the service asks to be called less often (429)"),
        Some(500..=599) => (ErrorKind::Unavailable, "the service cannot answer now (5xx)"),
        Some(_) | None => (ErrorKind::Unexpected, "the answer makes no sense: does the endpoint lead to AWS?"),
    }
}

/// The code in an XML error, if it is one that we know.
fn code_in_xml(response: &HttpResponse) -> Option<String> {
    let body = response.body().bytes()?;
    let head = String::from_utf8_lossy(body.get(..HEAD).unwrap_or(body)).into_owned();
    let (_before, rest) = head.split_once("<Code>")?;
    let (code, _after) = rest.split_once("</Code>")?;
    shared(code).map(|_| code.to_owned())
}

/// The seconds of `Retry-After`.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    response.headers().get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<Meaning> {
        None
    }

    #[test]
    fn every_code_has_its_kind() {
        for (codes, kind) in [
            (
                ["AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "OptInRequired"].as_slice(),
                ErrorKind::PermissionDenied,
            ),
            (&["ExpiredTokenException", "ExpiredToken", "RequestExpired"], ErrorKind::Unauthenticated),
            (
                &[
                    "UnrecognizedClientException",
                    "InvalidClientTokenId",
                    "InvalidSignatureException",
                    "SignatureDoesNotMatch",
                    "AuthFailure",
                    "MissingAuthenticationTokenException",
                    "IncompleteSignatureException",
                    "InvalidAccessKeyId",
                    "InvalidToken",
                    "RequestTimeTooSkewed",
                ],
                ErrorKind::Unauthenticated,
            ),
            (
                &[
                    "Throttling",
                    "ThrottlingException",
                    "TooManyRequestsException",
                    "RequestLimitExceeded",
                    "RequestThrottledException",
                    "SlowDown",
                ],
                ErrorKind::RateLimited,
            ),
            (
                &["InternalFailure", "InternalServerError", "InternalServiceError", "ServiceUnavailable"],
                ErrorKind::Unavailable,
            ),
            (&["RequestTimeout", "RequestTimeoutException"], ErrorKind::Timeout),
        ] {
            for code in codes {
                assert_eq!(from_code(code, "read x", none).kind, kind, "{code}");
                // A status that would say otherwise does not count beside a code.
                assert_eq!(meaning(Some(code), Some(418), none).0, kind, "{code}");
            }
        }
        assert_eq!(from_code("com.amazonaws.ssm#ThrottlingException", "read x", none).kind, ErrorKind::RateLimited);
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, kind) in [
            (401, ErrorKind::Unauthenticated),
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::Unexpected),
            (408, ErrorKind::Timeout),
            (413, ErrorKind::TooLarge),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (504, ErrorKind::Timeout),
            (301, ErrorKind::Unexpected),
            (400, ErrorKind::Unexpected),
        ] {
            assert_eq!(meaning(None, Some(status), none).0, kind, "{status}");
            assert_eq!(meaning(Some("NobodyKnows"), Some(status), none).0, kind, "{status}");
        }
        assert_eq!(meaning(None, None, none).0, ErrorKind::Unexpected);
    }

    #[test]
    fn a_service_knows_its_codes_best_and_unknown_ones_are_not_repeated() {
        let own = |code: &str| (code == "AccessDeniedException").then_some((ErrorKind::NotFound, "ours"));
        assert_eq!(from_code("AccessDeniedException", "read x", own).kind, ErrorKind::NotFound);
        let unknown = from_code("hunter2", "read x", none);
        assert_eq!(unknown.message, "cannot read x: the answer makes no sense: does the endpoint lead to AWS?");
    }
}
