//! Failures of the API server as kinds of a store's failures: one table for every driver that keeps things in the cluster.

use crate::backend::{Error, ErrorKind};
use crate::cluster::{self, Cause, Refusal, StatusReason};

/// The error of a call to the API server. `tried` says what on which object, as in `read Secret payments/atmos`.
///
/// | answer | kind |
/// |---|---|
/// | 400, 405, 406, 415, 422 | `InvalidConfig`: the API server does not want such a request, ever |
/// | 401, no credentials to present | `Unauthenticated` |
/// | 403 | `GrantMissing`; from quota or admission `PermissionDenied` |
/// | 404 that is not about the object | `Unexpected` |
/// | 408, 504, our deadline | `Timeout` |
/// | 409 | `Conflict` |
/// | 413 | `TooLarge` |
/// | 429 | `RateLimited` |
/// | 410, 500, 502, 503, other 5xx, 403 of an admission that is not ready yet, no connection | `Unavailable` |
pub(crate) fn from_cluster(error: &cluster::Error, tried: &str) -> Error {
    let (kind, why) = match error {
        cluster::Error::Refused(refusal) => return refused(refusal, tried),
        cluster::Error::Timeout(_) => (ErrorKind::Timeout, "the API server did not answer in time"),
        cluster::Error::Unreachable => (ErrorKind::Unavailable, "no connection to the API server"),
        cluster::Error::Credentials => (ErrorKind::Unauthenticated, "there are no credentials for the API server"),
        cluster::Error::Unreadable(_) => (ErrorKind::Unexpected, "the API server's answer makes no sense"),
        cluster::Error::AnswerTooLarge(_) => (ErrorKind::TooLarge, "the API server's answer is too large"),
        cluster::Error::InvalidName => (ErrorKind::InvalidKey, "the name cannot be one of a Kubernetes object"),
        cluster::Error::MissingPrecondition => (ErrorKind::Unexpected, "the object has no uid or resourceVersion"),
    };
    Error::new(kind, format!("cannot {tried}: {why}"))
}

fn refused(refusal: &Refusal, tried: &str) -> Error {
    let Refusal { status, reason, cause, retry_after } = *refusal;
    let (kind, why) = match (status, cause) {
        (_, Cause::Starting) => (ErrorKind::Unavailable, "the API server is starting"),
        (_, Cause::NamespaceTerminating) => (ErrorKind::PermissionDenied, "the namespace is being deleted"),
        (403, Cause::QuotaExceeded) => (ErrorKind::PermissionDenied, "the namespace's quota is exhausted"),
        (_, Cause::AdmissionDenied) => (ErrorKind::PermissionDenied, "an admission policy or webhook refused it"),
        (403, Cause::Unspecified) => (ErrorKind::GrantMissing, "RBAC gives no such right; grant it in this namespace"),
        (401, _) => (ErrorKind::Unauthenticated, "the API server did not accept the credentials"),
        (404, _) => (ErrorKind::Unexpected, "the answer 404 does not come from an API server"),
        (408 | 504, _) => (ErrorKind::Timeout, "the API server did not answer in time"),
        (409, _) => (ErrorKind::Conflict, "somebody else changed it at the same time"),
        (413, _) => (ErrorKind::TooLarge, "the object is larger than the API server takes"),
        (429, _) => (ErrorKind::RateLimited, "the API server asks to be called less often"),
        (410 | 500..=599, _) => (ErrorKind::Unavailable, "the API server cannot answer now"),
        (400 | 405 | 406 | 415 | 422, _) => (ErrorKind::InvalidConfig, "the API server does not take such an object"),
        _ => (ErrorKind::Unexpected, "the API server's answer makes no sense"),
    };
    let word = match reason {
        StatusReason::Other => String::new(),
        named => format!(" {}", named.as_str()),
    };
    Error { retry_after, ..Error::new(kind, format!("cannot {tried}: {why} ({status}{word})")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kind(status: u16, cause: Cause) -> ErrorKind {
        let refusal = Refusal { status, reason: StatusReason::Other, cause, retry_after: None };
        from_cluster(&cluster::Error::Refused(refusal), "read Secret a/b").kind
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, expected) in [
            (400, ErrorKind::InvalidConfig),
            (401, ErrorKind::Unauthenticated),
            (403, ErrorKind::GrantMissing),
            (404, ErrorKind::Unexpected),
            (408, ErrorKind::Timeout),
            (409, ErrorKind::Conflict),
            (410, ErrorKind::Unavailable),
            (413, ErrorKind::TooLarge),
            (422, ErrorKind::InvalidConfig),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (502, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable),
            (504, ErrorKind::Timeout),
            (302, ErrorKind::Unexpected),
        ] {
            assert_eq!(kind(status, Cause::Unspecified), expected, "{status}");
        }
        assert_eq!(kind(403, Cause::QuotaExceeded), ErrorKind::PermissionDenied);
        assert_eq!(kind(403, Cause::NamespaceTerminating), ErrorKind::PermissionDenied);
        assert_eq!(kind(403, Cause::Starting), ErrorKind::Unavailable);
        assert_eq!(kind(422, Cause::AdmissionDenied), ErrorKind::PermissionDenied);
    }

    #[test]
    fn the_message_says_what_was_tried_and_keeps_the_wait() {
        let refusal = Refusal {
            status: 429,
            reason: StatusReason::TooManyRequests,
            cause: Cause::Unspecified,
            retry_after: Some(Duration::from_secs(3)),
        };
        let error = from_cluster(&cluster::Error::Refused(refusal), "read Secret a/b");
        assert_eq!(
            error.message,
            "cannot read Secret a/b: the API server asks to be called less often (429 TooManyRequests)"
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
    }
}
