//! What Azure Key Vault answers, as kinds.
//!
//! | status | code | inner code | kind |
//! |---|---|---|---|
//! | 400 | any | | `InvalidConfig` |
//! | 401 | any | | `Unauthenticated` |
//! | 403 | `Forbidden` | `SecretDisabled` | `PermissionDenied`: it is disabled |
//! | 403 | `Forbidden` | `ForbiddenByFirewall`, `ForbiddenByConnection` | `PermissionDenied`: the network |
//! | 403 | any | any other (`ForbiddenByRbac`, `ForbiddenByPolicy`, `AccessDenied`) | `PermissionDenied` |
//! | 404 | `SecretNotFound` | | `NotFound` |
//! | 404 | any other | | `Unexpected`: not Key Vault's answer |
//! | 409 | `Conflict` | `ObjectIsDeletedButRecoverable` | `PendingDeletion` |
//! | 409 | `Conflict` | `ObjectIsBeingDeleted`, `ObjectIsBeingRecovered` | `Unavailable`: unfinished |
//! | 409 | any | any other | `Conflict` |
//! | 408, 504 | | | `Timeout` |
//! | 413 | | | `TooLarge` |
//! | 429 | | | `RateLimited` |
//! | other 5xx | | | `Unavailable` |
//! | any other | | | `Unexpected` |
//!
//! Sources: <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>,
//! <https://learn.microsoft.com/azure/key-vault/general/common-error-codes>,
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret#keyvaulterror>.
//!
//! Nothing that the vault sent gets into a message: codes are compared with ours, and their texts are dropped.

use std::time::Duration;

use azure_core::error::ErrorKind as AzureKind;
use azure_core::http::headers::RETRY_AFTER;
use serde::Deserialize;

use crate::backend::network::find;
use crate::backend::{Error, ErrorKind};

/// The body of a refusal.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Code,
}

#[derive(Default, Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
    #[serde(default, alias = "innerError")]
    innererror: Option<Inner>,
}

#[derive(Default, Deserialize)]
struct Inner {
    #[serde(default)]
    code: String,
}

/// A refusal that says: not yet, somebody deletes or recovers it at this moment.
pub(super) fn is_unfinished(error: &azure_core::Error) -> bool {
    matches!(refusal(error), Some((409, Refusal { error: Code { innererror: Some(inner), .. } }))
        if matches!(inner.code.as_str(), "ObjectIsBeingDeleted" | "ObjectIsBeingRecovered"))
}

/// A refusal for want of a role: the login is known, and may do other things. A firewall or an access policy refuses it for
/// the whole vault.
pub(super) fn is_of_role(error: &azure_core::Error) -> bool {
    matches!(refusal(error), Some((403, Refusal { error: Code { innererror: Some(inner), .. } }))
        if inner.code == "ForbiddenByRbac")
}

/// The error of a call. `tried` says what on which object, as in `read the secret app-db`.
pub(super) fn from_sdk(error: &azure_core::Error, tried: &str) -> Error {
    // Ours, from the network or the login: it says everything already.
    if let Some(ours) = find::<Error>(error) {
        return ours.clone();
    }
    let (kind, why) = match refusal(error) {
        Some((status, Refusal { error: Code { code, innererror } })) => {
            meaning(status, &code, innererror.as_ref().map_or("", |inner| &inner.code))
        }
        // The parser's words quote what it read.
        None => (ErrorKind::Unexpected, "the answer makes no sense: does vaultUrl lead to Key Vault?"),
    };
    Error { retry_after: retry_after(error), ..Error::new(kind, format!("cannot {tried}: {why}")) }
}

/// The status and the body of an answer that is a refusal.
fn refusal(error: &azure_core::Error) -> Option<(u16, Refusal)> {
    let AzureKind::HttpResponse { status, error_code: _, raw_response } = error.kind() else { return None };
    let body = raw_response.as_ref().map(|response| response.body());
    let refusal = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    Some((u16::from(*status), refusal))
}

/// The seconds of `Retry-After` (RFC 9110 section 10.2.3).
fn retry_after(error: &azure_core::Error) -> Option<Duration> {
    let AzureKind::HttpResponse { status: _, error_code: _, raw_response } = error.kind() else { return None };
    let seconds = raw_response.as_ref()?.headers().get_optional_str(&RETRY_AFTER)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn meaning(status: u16, code: &str, inner: &str) -> (ErrorKind, &'static str) {
    match (status, code, inner) {
        (400, _, _) => (ErrorKind::InvalidConfig, "Key Vault does not take such a request (400)"),
        (401, _, _) => {
            (ErrorKind::Unauthenticated, "the vault does not accept the login: is it of the vault's tenant?")
        }
        (403, _, "SecretDisabled") => (
            ErrorKind::PermissionDenied,
            "it is disabled; az keyvault secret set-attributes --enabled true makes it readable",
        ),
        (403, _, "ForbiddenByFirewall" | "ForbiddenByConnection") => {
            (ErrorKind::PermissionDenied, "the vault's firewall does not admit this network")
        }
        (403, _, _) => (ErrorKind::PermissionDenied, "the login's role or access policy does not allow it (403)"),
        (404, "SecretNotFound", _) => (ErrorKind::NotFound, "there is no such secret"),
        (409, _, "ObjectIsDeletedButRecoverable") => {
            (ErrorKind::PendingDeletion, "it is deleted and keeps its name until it is recovered or purged")
        }
        (409, _, "ObjectIsBeingDeleted" | "ObjectIsBeingRecovered") => {
            (ErrorKind::Unavailable, "it is being deleted or recovered at this moment; try again in a minute")
        }
        (409, _, _) => (ErrorKind::Conflict, "somebody else changes it at the same time"),
        (408 | 504, _, _) => (ErrorKind::Timeout, "the vault did not answer in time"),
        (413, _, _) => (ErrorKind::TooLarge, "it is larger than Key Vault takes"),
        (429, _, _) => (ErrorKind::RateLimited, "the vault asks to be called less often"),
        (500..=599, _, _) => (ErrorKind::Unavailable, "the vault cannot answer now (5xx)"),
        _ => (ErrorKind::Unexpected, "the answer makes no sense: does vaultUrl lead to Key Vault?"),
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::headers::Headers;
    use azure_core::http::{RawResponse, StatusCode};
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: String) -> azure_core::Error {
        let mut headers = Headers::new();
        headers.insert(RETRY_AFTER, "7");
        let status = StatusCode::from(status);
        let response = RawResponse::from_bytes(status, headers, body);
        AzureKind::HttpResponse { status, error_code: None, raw_response: Some(Box::new(response)) }.into_error()
    }

    fn body(code: &str, inner: &str) -> String {
        json!({"error": {"code": code, "message": "REMOTE", "innererror": {"code": inner}}}).to_string()
    }

    #[test]
    fn every_answer_has_its_kind() {
        for (status, code, inner, kind) in [
            (400, "BadParameter", "", ErrorKind::InvalidConfig),
            (401, "Unauthorized", "", ErrorKind::Unauthenticated),
            (403, "Forbidden", "SecretDisabled", ErrorKind::PermissionDenied),
            (403, "Forbidden", "ForbiddenByFirewall", ErrorKind::PermissionDenied),
            (403, "Forbidden", "ForbiddenByConnection", ErrorKind::PermissionDenied),
            (403, "Forbidden", "ForbiddenByRbac", ErrorKind::PermissionDenied),
            (403, "Forbidden", "ForbiddenByPolicy", ErrorKind::PermissionDenied),
            (403, "Forbidden", "AccessDenied", ErrorKind::PermissionDenied),
            (404, "SecretNotFound", "", ErrorKind::NotFound),
            (404, "ResourceNotFound", "", ErrorKind::Unexpected),
            (409, "Conflict", "ObjectIsDeletedButRecoverable", ErrorKind::PendingDeletion),
            (409, "Conflict", "ObjectIsBeingDeleted", ErrorKind::Unavailable),
            (409, "Conflict", "ObjectIsBeingRecovered", ErrorKind::Unavailable),
            (409, "Conflict", "", ErrorKind::Conflict),
            (408, "", "", ErrorKind::Timeout),
            (504, "", "", ErrorKind::Timeout),
            (413, "", "", ErrorKind::TooLarge),
            (429, "Throttled", "", ErrorKind::RateLimited),
            (500, "InternalServerError", "", ErrorKind::Unavailable),
            (502, "", "", ErrorKind::Unavailable),
            (503, "", "", ErrorKind::Unavailable),
            (307, "", "", ErrorKind::Unexpected),
            (418, "", "", ErrorKind::Unexpected),
        ] {
            let refused = refused(status, body(code, inner));
            let error = from_sdk(&refused, "read the secret x");
            assert_eq!(error.kind, kind, "{status} {code} {inner}");
            assert!(error.message.starts_with("cannot read the secret x: "), "{error}");
            assert!(!error.message.contains("REMOTE"), "{error}");
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
            assert_eq!(is_unfinished(&refused), inner.starts_with("ObjectIsBeing"), "{inner}");
            assert_eq!(is_of_role(&refused), inner == "ForbiddenByRbac", "{inner}");
        }
    }

    #[test]
    fn what_is_not_key_vaults_is_judged_by_its_status_and_never_missing() {
        for (status, kind) in [
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::Unexpected),
            (409, ErrorKind::Conflict),
            (502, ErrorKind::Unavailable),
        ] {
            for body in ["<html>SecretNotFound</html>", "", "[]", "{\"error\": \"SecretNotFound\"}"] {
                assert_eq!(from_sdk(&refused(status, body.to_owned()), "x").kind, kind, "{status} {body}");
            }
        }
        let unreadable = azure_core::Error::with_message(AzureKind::DataConversion, "REMOTE");
        let error = from_sdk(&unreadable, "read x");
        assert!(error.kind == ErrorKind::Unexpected && !error.message.contains("REMOTE"), "{error}");
    }

    #[test]
    fn our_own_errors_keep_their_kind() {
        let ours = Error::new(ErrorKind::EndpointNotAllowed, "no");
        let wrapped = azure_core::Error::new(AzureKind::Other, ours.clone()).with_context("sending");
        assert_eq!(from_sdk(&wrapped, "x"), ours);
    }
}
