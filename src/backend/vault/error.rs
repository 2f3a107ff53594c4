//! What Vault's answers to calls of the KV engine mean.

use crate::backend::credentials::vault::{Answer, failed, of_status};
use crate::backend::{Error, ErrorKind};

/// Why an answer other than success and 404 ends a call. `tried` says what, as in `read prod/api/KEY`.
///
/// | answer | kind |
/// |---|---|
/// | 400 "check-and-set …" | `Conflict` |
/// | 400 | `InvalidKey`: the one part of a request that varies is the key |
/// | 403 | `PermissionDenied`; where the token is not known, one new login comes before |
/// | 405 | `InvalidConfig`: what is mounted there is no KV engine of this version |
/// | 404 | see [`of_missing`] |
/// | any other | as for logins: 401 `Unauthenticated`, 413 `TooLarge`, 429 `RateLimited`, 408 and 504 `Timeout`, 412, 472, 473 and other 5xx `Unavailable`, else `Unexpected` |
pub(super) fn of_answer(answer: &Answer, tried: &str) -> Error {
    match answer.status {
        400 if answer.refusal().is_some_and(|refusal| refusal.says("check-and-set")) => {
            failed(ErrorKind::Conflict, tried, "somebody else wrote it first", answer)
        }
        400 => failed(ErrorKind::InvalidKey, tried, "Vault does not take such a key", answer),
        405 => failed(ErrorKind::InvalidConfig, tried, "the engine there is not KV of this version", answer),
        _ => of_status(answer, tried),
    }
}

/// What a 404 means that says nothing of a deleted version: `Ok` if there is no such key.
///
/// | body | kind |
/// |---|---|
/// | no errors, no warnings | the key is missing, once the mount is known to be a KV engine of this version |
/// | an error ("no handler for route") | `InvalidConfig`: there is no such mount |
/// | a warning ("invalid path for a versioned K/V secrets engine") | `InvalidConfig`: `kvVersion` is wrong |
/// | anything else | `Unexpected`: the answer is not Vault's |
pub(super) fn of_missing(answer: &Answer, tried: &str) -> Result<(), Error> {
    match answer.refusal() {
        None => Err(failed(ErrorKind::Unexpected, tried, "the answer does not come from Vault", answer)),
        Some(refusal) if refusal.is_silent() => Ok(()),
        Some(_) => {
            let why = "there is no KV engine of this version at the mount; check mount, kvVersion and namespace";
            Err(failed(ErrorKind::InvalidConfig, tried, why, answer))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// The words are those of Vault 1.21.1.
    #[test]
    fn every_answer_has_its_kind() {
        let (denied, sealed) = (r#"{"errors":["permission denied"]}"#, r#"{"errors":["Vault is sealed"]}"#);
        let mismatch = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
        let required = r#"{"errors":["check-and-set parameter required for this call"]}"#;
        for (status, body, expected) in [
            (400, mismatch, ErrorKind::Conflict),
            (400, required, ErrorKind::Conflict),
            (400, "", ErrorKind::InvalidKey),
            (401, "<html>", ErrorKind::Unauthenticated),
            (403, denied, ErrorKind::PermissionDenied),
            (405, r#"{"errors":["unsupported operation"]}"#, ErrorKind::InvalidConfig),
            (408, "", ErrorKind::Timeout),
            (412, "", ErrorKind::Unavailable),
            (413, "", ErrorKind::TooLarge),
            (429, r#"{"errors":["request path: rate limit quota exceeded"]}"#, ErrorKind::RateLimited),
            (472, "", ErrorKind::Unavailable),
            (473, "", ErrorKind::Unavailable),
            (500, r#"{"errors":["internal error"]}"#, ErrorKind::Unavailable),
            (502, "<html>", ErrorKind::Unavailable),
            (503, sealed, ErrorKind::Unavailable),
            (504, "", ErrorKind::Timeout),
            (507, "", ErrorKind::Unavailable),
            (302, "", ErrorKind::Unexpected),
            (418, "", ErrorKind::Unexpected),
        ] {
            let error = of_answer(&Answer::new(status, body), "read prod/K");
            assert_eq!(error.kind, expected, "{status} {body}");
            assert!(error.message.starts_with("cannot read prod/K: "), "{}", error.message);
            assert!(error.message.ends_with(&format!(" ({status})")), "{}", error.message);
        }
    }

    #[test]
    fn a_404_is_a_missing_key_only_if_vault_says_nothing_else() {
        let kind = |body: &str| of_missing(&Answer::new(404, body), "read prod/K").err().map(|error| error.kind);
        assert_eq!(kind(r#"{"errors":[]}"#), None);
        assert_eq!(
            kind(r#"{"errors":["no handler for route \"x/data/K\". route entry not found."]}"#),
            Some(ErrorKind::InvalidConfig)
        );
        let versioned = r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}"#;
        assert_eq!(kind(versioned), Some(ErrorKind::InvalidConfig));
        for other in ["", "404 page not found", "<html>", "[1]", "\"x\""] {
            assert_eq!(kind(other), Some(ErrorKind::Unexpected), "{other}");
        }
        let shown = of_missing(&Answer::new(404, r#"{"errors":["remote words"]}"#), "read K").unwrap_err();
        assert!(!shown.message.contains("remote words"));
    }
}
