//! What an answer other than a token means.
//!
//! | answer of Entra ID | kind |
//! |---|---|
//! | 400, 401, 403 | `Unauthenticated`; the known numbers below say why |
//! | 400 with `temporarily_unavailable` | `Unavailable` |
//! | 404, 405, 410 | `InvalidConfig`: what is there is no login |
//! | 408, 504 | `Timeout` |
//! | 429 | `RateLimited` |
//! | other 5xx | `Unavailable` |
//! | any other | `Unexpected` |
//!
//! The metadata service of a machine differs in 404 and 410, which it says while it is being updated: `Unavailable`.
//!
//! | number | meaning |
//! |---|---|
//! | 90002, 900023 | there is no such tenant |
//! | 700016 | there is no such application in the tenant |
//! | 7000215 | the client secret is wrong |
//! | 7000222 | the client secret has expired |
//! | 70021, 70025, 700211, 700212, 700213 | no federated credential fits the token's issuer, subject or audience |
//! | 700024, 700027, 50027 | the token is not accepted |
//! | 7000112, 700082 | the application is disabled, or its grant has expired |
//!
//! Sources: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>,
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#error-response>,
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>.

use serde::Deserialize;

use crate::backend::network::{Response, retry_after};
use crate::backend::{Error, ErrorKind};

/// The part of a refusal that decides what it means. Its texts are never shown.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
}

/// Why Entra ID gave no token. `tried` says what was asked, as in `log in to Azure as …`.
pub(super) fn of_login(answer: &Response, tried: &str) -> Error {
    let refusal: Refusal = serde_json::from_slice(answer.body()).unwrap_or_default();
    let (kind, why) = match answer.status().as_u16() {
        400 if refusal.error == "temporarily_unavailable" => {
            (ErrorKind::Unavailable, "Microsoft Entra ID cannot answer now")
        }
        400 | 401 | 403 => (ErrorKind::Unauthenticated, why(&refusal.error_codes)),
        404 | 405 | 410 => (ErrorKind::InvalidConfig, "what is there is no login of Microsoft Entra ID"),
        status => shared(status),
    };
    failed(kind, tried, why, answer)
}

/// Why the machine's metadata service gave no token.
pub(super) fn of_machine(answer: &Response, tried: &str) -> Error {
    let (kind, why) = match answer.status().as_u16() {
        400 | 401 | 403 => (ErrorKind::Unauthenticated, "this machine has no such managed identity"),
        404 | 410 => (ErrorKind::Unavailable, "the machine's metadata service cannot answer now"),
        status => shared(status),
    };
    failed(kind, tried, why, answer)
}

fn shared(status: u16) -> (ErrorKind, &'static str) {
    match status {
        408 | 504 => (ErrorKind::Timeout, "no answer in time"),
        429 => (ErrorKind::RateLimited, "it asks to be called less often"),
        500..=599 => (ErrorKind::Unavailable, "it cannot answer now"),
        _ => (ErrorKind::Unexpected, "the answer makes no sense"),
    }
}

fn failed(kind: ErrorKind, tried: &str, why: &str, answer: &Response) -> Error {
    let message = format!("cannot {tried}: {why} ({})", answer.status().as_u16());
    Error { retry_after: retry_after(answer.headers()), ..Error::new(kind, message) }
}

fn why(codes: &[u32]) -> &'static str {
    let known = codes.iter().find_map(|code| match code {
        90_002 | 900_023 => Some("there is no such tenant"),
        700_016 => Some("there is no such application in the tenant"),
        7_000_215 => Some("the client secret is wrong: name its value, not its id"),
        7_000_222 => Some("the client secret has expired"),
        70_021 | 70_025 | 700_211 | 700_212 | 700_213 => {
            Some("no federated credential of the application fits the token's issuer, subject and audience")
        }
        700_024 | 700_027 | 50_027 => {
            Some("the ServiceAccount's token is not accepted: is the issuer's key published?")
        }
        7_000_112 | 700_082 => Some("the application is disabled, or its grant has expired"),
        _ => None,
    });
    known.unwrap_or("Microsoft Entra ID does not accept the credentials")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        let built = http::Response::builder().status(status).header("retry-after", "7");
        built.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[test]
    fn every_answer_to_a_login_has_its_kind() {
        let body = r#"{"error": "invalid_client", "error_description": "AADSTS1: REMOTE", "error_codes": [1]}"#;
        for (status, login, machine) in [
            (400, ErrorKind::Unauthenticated, ErrorKind::Unauthenticated),
            (401, ErrorKind::Unauthenticated, ErrorKind::Unauthenticated),
            (403, ErrorKind::Unauthenticated, ErrorKind::Unauthenticated),
            (404, ErrorKind::InvalidConfig, ErrorKind::Unavailable),
            (405, ErrorKind::InvalidConfig, ErrorKind::Unexpected),
            (410, ErrorKind::InvalidConfig, ErrorKind::Unavailable),
            (408, ErrorKind::Timeout, ErrorKind::Timeout),
            (504, ErrorKind::Timeout, ErrorKind::Timeout),
            (429, ErrorKind::RateLimited, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable, ErrorKind::Unavailable),
            (503, ErrorKind::Unavailable, ErrorKind::Unavailable),
            (302, ErrorKind::Unexpected, ErrorKind::Unexpected),
        ] {
            let (login_error, machine_error) =
                (of_login(&answer(status, body), "x"), of_machine(&answer(status, body), "x"));
            assert_eq!((login_error.kind, machine_error.kind), (login, machine), "{status}");
            for error in [login_error, machine_error] {
                assert!(error.message.starts_with("cannot x: ") && !error.message.contains("REMOTE"), "{error}");
                assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
            }
        }
        let later = answer(400, r#"{"error": "temporarily_unavailable"}"#);
        assert_eq!(of_login(&later, "x").kind, ErrorKind::Unavailable);
        assert_eq!(of_login(&answer(400, "<html>"), "x").kind, ErrorKind::Unauthenticated);
    }

    #[test]
    fn known_numbers_say_why() {
        for (code, word) in [
            (90_002, "tenant"),
            (900_023, "tenant"),
            (700_016, "no such application"),
            (7_000_215, "secret is wrong"),
            (7_000_222, "secret has expired"),
            (70_021, "federated"),
            (70_025, "federated"),
            (700_211, "federated"),
            (700_212, "federated"),
            (700_213, "federated"),
            (700_024, "token is not accepted"),
            (700_027, "token is not accepted"),
            (50_027, "token is not accepted"),
            (7_000_112, "disabled"),
            (700_082, "disabled"),
            (1, "does not accept the credentials"),
        ] {
            let body = format!(r#"{{"error": "invalid_client", "error_codes": [{code}]}}"#);
            let error = of_login(&answer(401, &body), "log in");
            assert!(error.message.contains(word), "{code}: {error}");
        }
    }
}
