//! What Google's services answer, and what that means whatever was asked.
//!
//! A refusal is a `google.rpc.Status` as JSON (<https://cloud.google.com/apis/design/errors#http_mapping>); the two servers
//! that give tokens use the errors of OAuth (RFC 6749 section 5.2). Their texts are matched and never shown.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::backend::network::{Response, retry_after};
use crate::backend::{Error, ErrorKind};

/// One answer, whatever its status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
    body: Bytes,
}

/// The parts of a refusal that decide what it means.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical code, such as `NOT_FOUND`, or OAuth's, such as `invalid_grant`.
    pub status: String,
    /// The reasons of its `ErrorInfo`s, such as `SERVICE_DISABLED`.
    pub reasons: Vec<String>,
    message: String,
    delay: Option<Duration>,
}

#[derive(Deserialize)]
struct Wire {
    error: WireError,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireError {
    OAuth(String),
    Status(WireStatus),
}

#[derive(Deserialize)]
struct WireStatus {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// `google.rpc.ErrorInfo` has a reason, `google.rpc.RetryInfo` a delay.
#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, rename = "retryDelay")]
    retry_delay: Option<String>,
}

impl Answer {
    /// Takes an answer as it came.
    #[must_use]
    pub fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), retry_after: retry_after(&parts.headers), body }
    }

    #[cfg(test)]
    pub(in crate::backend) fn of(status: u16, body: &str) -> Self {
        Self { status, retry_after: None, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    /// The body; `None` if it is anything else. The parser's words are dropped: they quote what they read.
    #[must_use]
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body of a refusal; `None` if the answer is not Google's.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let Wire { error } = self.parse()?;
        Some(match error {
            WireError::OAuth(status) => Refusal { status, ..Refusal::default() },
            WireError::Status(WireStatus { status, message, details }) => {
                let delay = details.iter().find_map(|detail| seconds(detail.retry_delay.as_deref()?));
                let reasons = details.into_iter().filter_map(|detail| detail.reason).collect();
                Refusal { status, reasons, message, delay }
            }
        })
    }

    /// An error of this answer in our words, with the wait that was asked for.
    #[must_use]
    pub fn failed(&self, kind: ErrorKind, tried: &str, why: &str) -> Error {
        let message = format!("cannot {tried}: {why} ({})", self.status);
        let retry_after = self.retry_after.or_else(|| self.refusal()?.delay);
        Error { retry_after, ..Error::new(kind, message) }
    }
}

impl Refusal {
    /// Whether the message has these words.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.message.contains(words)
    }

    /// Whether one of its reasons is this one.
    #[must_use]
    pub fn is_for(&self, reason: &str) -> bool {
        self.reasons.iter().any(|mine| mine == reason)
    }
}

/// A duration as protobuf writes it in JSON, such as `7s` or `0.5s`, in whole seconds.
fn seconds(text: &str) -> Option<Duration> {
    let whole = text.strip_suffix('s')?.split('.').next()?;
    whole.parse().ok().map(Duration::from_secs)
}

/// What answers mean whatever was asked.
///
/// | answer | kind |
/// |---|---|
/// | 401 | `Unauthenticated` |
/// | 403 `SERVICE_DISABLED`, `CONSUMER_INVALID`, `BILLING_DISABLED` | `InvalidConfig`: the project cannot be used so |
/// | 403 | `PermissionDenied` |
/// | 408, 504 | `Timeout` |
/// | 413 | `TooLarge` |
/// | 429 | `RateLimited` |
/// | 499 (cancelled), 500, 502, 503, other 5xx but 501 | `Unavailable` |
/// | any other | `Unexpected` |
#[must_use]
pub fn of_status(answer: &Answer, tried: &str) -> Error {
    let refusal = answer.refusal().unwrap_or_default();
    let (kind, why) = match answer.status {
        401 => (ErrorKind::Unauthenticated, "Google does not accept the credentials"),
        403 if refusal.is_for("SERVICE_DISABLED") => {
            (ErrorKind::InvalidConfig, "the API is not enabled in the project (gcloud services enable)")
        }
        403 if refusal.is_for("CONSUMER_INVALID") => (ErrorKind::InvalidConfig, "there is no such project"),
        403 if refusal.is_for("BILLING_DISABLED") => (ErrorKind::InvalidConfig, "billing of the project is disabled"),
        403 if refusal.is_for("ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
            (ErrorKind::PermissionDenied, "the access token is not for this API: it needs the scope cloud-platform")
        }
        403 => (ErrorKind::PermissionDenied, "IAM does not allow it"),
        408 | 504 => (ErrorKind::Timeout, "Google did not answer in time"),
        413 => (ErrorKind::TooLarge, "it is larger than Google takes"),
        429 => (ErrorKind::RateLimited, "Google asks to be called less often"),
        499 | 500 | 502..=599 => (ErrorKind::Unavailable, "Google cannot answer now"),
        _ => (ErrorKind::Unexpected, "the answer makes no sense"),
    };
    answer.failed(kind, tried, why)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn status(code: u16, status: &str, reason: &str) -> Answer {
        let info = r#""@type": "type.googleapis.com/google.rpc.ErrorInfo""#;
        let body = format!(
            r#"{{"error": {{"code": {code}, "message": "words", "status": "{status}", "details": [{{{info}, "reason": "{reason}"}}]}}}}"#
        );
        Answer::of(code, &body)
    }

    #[test]
    fn every_status_has_its_kind() {
        for (answer, expected) in [
            (status(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"), ErrorKind::Unauthenticated),
            (Answer::of(401, "<html>"), ErrorKind::Unauthenticated),
            (status(403, "PERMISSION_DENIED", "SERVICE_DISABLED"), ErrorKind::InvalidConfig),
            (status(403, "PERMISSION_DENIED", "CONSUMER_INVALID"), ErrorKind::InvalidConfig),
            (status(403, "PERMISSION_DENIED", "BILLING_DISABLED"), ErrorKind::InvalidConfig),
            (status(403, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), ErrorKind::PermissionDenied),
            (status(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED"), ErrorKind::PermissionDenied),
            (Answer::of(403, "<html>"), ErrorKind::PermissionDenied),
            (Answer::of(408, ""), ErrorKind::Timeout),
            (status(504, "DEADLINE_EXCEEDED", ""), ErrorKind::Timeout),
            (Answer::of(413, ""), ErrorKind::TooLarge),
            (status(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"), ErrorKind::RateLimited),
            (status(499, "CANCELLED", ""), ErrorKind::Unavailable),
            (status(500, "INTERNAL", ""), ErrorKind::Unavailable),
            (Answer::of(502, "<html>"), ErrorKind::Unavailable),
            (status(503, "UNAVAILABLE", ""), ErrorKind::Unavailable),
            (status(501, "UNIMPLEMENTED", ""), ErrorKind::Unexpected),
            (Answer::of(302, ""), ErrorKind::Unexpected),
            (Answer::of(418, ""), ErrorKind::Unexpected),
        ] {
            let error = of_status(&answer, "read the secret a");
            assert_eq!(error.kind, expected, "{}", error.message);
            assert!(error.message.starts_with("cannot read the secret a: "), "{}", error.message);
            assert!(error.message.ends_with(&format!(" ({})", answer.status)), "{}", error.message);
            assert!(!error.message.contains("words"), "{}", error.message);
        }
    }

    #[test]
    fn the_wait_that_is_asked_for_is_kept() {
        let body = r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]}}"#;
        let of_detail = of_status(&Answer::of(429, body), "x").retry_after;
        assert_eq!(of_detail, Some(Duration::from_secs(7)));
        let mut response = http::Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("3"));
        assert_eq!(of_status(&Answer::new(response), "x").retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_refusal_of_either_form_is_read() {
        let oauth = Answer::of(400, r#"{"error": "invalid_grant", "error_description": "words"}"#).refusal().unwrap();
        assert_eq!((oauth.status.as_str(), oauth.says("words")), ("invalid_grant", false));
        let status = status(403, "PERMISSION_DENIED", "SERVICE_DISABLED").refusal().unwrap();
        assert!(status.is_for("SERVICE_DISABLED") && status.says("words") && status.status == "PERMISSION_DENIED");
        for other in ["", "[]", "{}", "<html>", r#"{"error": 7}"#] {
            assert_eq!(Answer::of(404, other).refusal(), None, "{other}");
        }
    }
}
