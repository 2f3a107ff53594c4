//! What the answers to a login mean.

use super::answer::{Answer, of_status};
use crate::backend::{Error, ErrorKind};

/// Why a server that gives tokens gave none. `tried` says what, as in `exchange the token of ServiceAccount n/a`.
///
/// | answer | kind |
/// |---|---|
/// | 400 `invalid_grant`, `invalid_client`, `unauthorized_client`, `access_denied` | `Unauthenticated` |
/// | 400 with another error of OAuth (`invalid_target`, `invalid_request`, `invalid_scope`, …) | `InvalidConfig` |
/// | 401, 403 | `Unauthenticated`: a condition of the provider is among them |
/// | 404 | `InvalidConfig`: what is there gives no tokens |
/// | any other | as [`of_status`] has it |
///
/// Sources: RFC 6749 section 5.2, RFC 8693 section 2.2.2.
pub(super) fn of_grant(answer: &Answer, tried: &str, hint: &str) -> Error {
    let known = answer.refusal().map(|refusal| refusal.status).unwrap_or_default();
    match (answer.status, known.as_str()) {
        (400, "invalid_grant" | "invalid_client" | "unauthorized_client" | "access_denied") | (401 | 403, _) => {
            answer.failed(ErrorKind::Unauthenticated, tried, &format!("Google refused it; {hint}"))
        }
        (400, known) if !known.is_empty() => {
            answer.failed(ErrorKind::InvalidConfig, tried, &format!("Google does not take the request; {hint}"))
        }
        (404, _) => answer.failed(ErrorKind::InvalidConfig, tried, "the address gives no tokens"),
        _ => of_status(answer, tried),
    }
}

/// Why there is no token of a service account for an identity.
///
/// | answer | kind |
/// |---|---|
/// | 401 | `Unauthenticated` |
/// | 403 `SERVICE_DISABLED`, … | `InvalidConfig`, as [`of_status`] has it |
/// | 403, 404 | `Unauthenticated`: Google tells the two apart only for who may see the account |
/// | 400 | `InvalidConfig`: the one part that varies is the address of the account |
/// | any other | as [`of_status`] has it |
pub(super) fn of_impersonation(answer: &Answer, tried: &str) -> Error {
    let error = of_status(answer, tried);
    match answer.status {
        403 | 404 if error.kind != ErrorKind::InvalidConfig && answer.refusal().is_some() => {
            let why = "it is not there, or does not let this identity act as it (roles/iam.workloadIdentityUser)";
            answer.failed(ErrorKind::Unauthenticated, tried, why)
        }
        400 if answer.refusal().is_some() => {
            answer.failed(ErrorKind::InvalidConfig, tried, "Google does not take such an account")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_to_a_grant_has_its_kind() {
        let oauth = |word: &str| format!(r#"{{"error": "{word}", "error_description": "remote words"}}"#);
        for (status, body, expected) in [
            (400, oauth("invalid_grant"), ErrorKind::Unauthenticated),
            (400, oauth("invalid_client"), ErrorKind::Unauthenticated),
            (400, oauth("unauthorized_client"), ErrorKind::Unauthenticated),
            (400, oauth("access_denied"), ErrorKind::Unauthenticated),
            (401, oauth("invalid_client"), ErrorKind::Unauthenticated),
            (403, oauth("access_denied"), ErrorKind::Unauthenticated),
            (400, oauth("invalid_target"), ErrorKind::InvalidConfig),
            (400, oauth("invalid_request"), ErrorKind::InvalidConfig),
            (400, oauth("invalid_scope"), ErrorKind::InvalidConfig),
            (400, "oops".to_owned(), ErrorKind::Unexpected),
            (404, "<html>".to_owned(), ErrorKind::InvalidConfig),
            (429, String::new(), ErrorKind::RateLimited),
            (500, oauth("internal_failure"), ErrorKind::Unavailable),
            (503, String::new(), ErrorKind::Unavailable),
            (504, String::new(), ErrorKind::Timeout),
            (302, String::new(), ErrorKind::Unexpected),
        ] {
            let error = of_grant(&Answer::of(status, &body), "log in", "check it");
            assert_eq!(error.kind, expected, "{status} {body}");
            assert!(!error.message.contains("remote words"), "{}", error.message);
        }
    }

    #[test]
    fn every_answer_to_an_impersonation_has_its_kind() {
        let body = |status: &str, reason: &str| {
            format!(r#"{{"error": {{"status": "{status}", "details": [{{"reason": "{reason}"}}]}}}}"#)
        };
        for (status, body, expected) in [
            (400, body("INVALID_ARGUMENT", ""), ErrorKind::InvalidConfig),
            (401, body("UNAUTHENTICATED", ""), ErrorKind::Unauthenticated),
            (403, body("PERMISSION_DENIED", "IAM_PERMISSION_DENIED"), ErrorKind::Unauthenticated),
            (403, body("PERMISSION_DENIED", "SERVICE_DISABLED"), ErrorKind::InvalidConfig),
            (404, body("NOT_FOUND", ""), ErrorKind::Unauthenticated),
            (404, "<html>".to_owned(), ErrorKind::Unexpected),
            (403, "<html>".to_owned(), ErrorKind::PermissionDenied),
            (429, String::new(), ErrorKind::RateLimited),
            (503, String::new(), ErrorKind::Unavailable),
        ] {
            assert_eq!(of_impersonation(&Answer::of(status, &body), "act as a").kind, expected, "{status} {body}");
        }
    }
}
