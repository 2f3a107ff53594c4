//! What Vault's answers to a login mean, and those answers that mean the same everywhere.

use super::server::Answer;
use crate::backend::{Error, ErrorKind};

/// Why an answer other than success ends a login. `tried` says what, as in `log in to Vault by approle`.
///
/// | answer | kind |
/// |---|---|
/// | 400, 401, 403 | `Unauthenticated`: the method says 400 to a wrong role or secret id, 403 to a wrong token or for want of such a method |
/// | 404, 405 | `InvalidConfig`: what is there is no login method |
/// | any other | as [`of_status`] has it |
///
/// The Kubernetes method also answers 500 to a token of an account that is gone; that cannot be told from a Vault that
/// does not reach the API server, and is `Unavailable` like it.
pub(super) fn of_login(answer: &Answer, tried: &str) -> Error {
    match answer.status {
        400 | 401 | 403 => {
            let why = "Vault did not accept it; check the mount, the role and what it is bound to, and the credentials";
            failed(ErrorKind::Unauthenticated, tried, why, answer)
        }
        404 | 405 => {
            let why = "there is no such login method; check its mount and the namespace";
            failed(ErrorKind::InvalidConfig, tried, why, answer)
        }
        _ => of_status(answer, tried),
    }
}

/// What answers mean whatever was asked (<https://developer.hashicorp.com/vault/api-docs#http-status-codes>).
///
/// | answer | kind |
/// |---|---|
/// | 401 | `Unauthenticated`: Vault itself never says so, a proxy before it does |
/// | 403 | `PermissionDenied` |
/// | 408, 504 | `Timeout` |
/// | 412, 472, 473, 500, 502, 503 (sealed), other 5xx | `Unavailable` |
/// | 413 | `TooLarge` |
/// | 429 | `RateLimited` |
/// | any other | `Unexpected` |
pub(in crate::backend) fn of_status(answer: &Answer, tried: &str) -> Error {
    let (kind, why) = match answer.status {
        401 => (ErrorKind::Unauthenticated, "the credentials were not accepted"),
        403 => (ErrorKind::PermissionDenied, "no policy of this login allows it"),
        408 | 504 => (ErrorKind::Timeout, "Vault did not answer in time"),
        413 => (ErrorKind::TooLarge, "it is larger than Vault takes"),
        429 => (ErrorKind::RateLimited, "Vault asks to be called less often"),
        503 => (ErrorKind::Unavailable, "Vault is sealed or cannot answer now"),
        412 | 472 | 473 | 500..=599 => (ErrorKind::Unavailable, "Vault cannot answer now"),
        _ => (ErrorKind::Unexpected, "the answer makes no sense"),
    };
    failed(kind, tried, why, answer)
}

/// An error that ends with the status, and keeps the wait that was asked for.
pub(in crate::backend) fn failed(kind: ErrorKind, tried: &str, why: &str, answer: &Answer) -> Error {
    let message = format!("cannot {tried}: {why} ({})", answer.status);
    Error { retry_after: answer.retry_after, ..Error::new(kind, message) }
}
