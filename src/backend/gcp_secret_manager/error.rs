//! What Secret Manager's refusals mean.
//!
//! Source: <https://cloud.google.com/apis/design/errors#handling_errors>; the words on states are those of the service.

use std::fmt;

use super::name::Asked;
use crate::backend::credentials::gcp::{Answer, of_status};
use crate::backend::{Error, ErrorKind};

/// What was tried, for messages: `read version 3 of the secret a`.
pub(super) struct Tried(String);

impl Tried {
    pub(super) fn version(verb: &str, asked: &Asked) -> Self {
        match asked.is_current() {
            true => Self::secret(verb, &asked.id),
            false => Self(format!("{verb} version {} of the secret {}", asked.version(), asked.id)),
        }
    }

    pub(super) fn secret(verb: &str, id: &str) -> Self {
        Self(format!("{verb} the secret {id}"))
    }

    pub(super) fn other(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a version was not read.
///
/// | answer | kind |
/// |---|---|
/// | 400 `FAILED_PRECONDITION` "… is in DISABLED state" | `PermissionDenied`: it is there, and withheld |
/// | 400 `FAILED_PRECONDITION` "… is in DESTROYED state" | `VersionNotFound` |
/// | 400 `FAILED_PRECONDITION` | `Undecodable`: the secret's own KMS key cannot be used, for one |
/// | 400 `INVALID_ARGUMENT` about a version by number or alias | `VersionNotFound`: the name is known to be good |
/// | any other | as [`of_secret`] has it |
pub(super) fn of_version(answer: &Answer, asked: &Asked, tried: &Tried) -> Error {
    let refusal = answer.refusal().unwrap_or_default();
    match (answer.status, refusal.status.as_str()) {
        (400, "FAILED_PRECONDITION") if refusal.says("DISABLED state") => disabled(asked),
        (400, "FAILED_PRECONDITION") if refusal.says("DESTROYED state") => destroyed(asked),
        (400, "FAILED_PRECONDITION") => {
            let why = "its state does not allow it; look at the version's state and at the secret's KMS key";
            answer.failed(ErrorKind::Undecodable, &tried.0, why)
        }
        (400, "INVALID_ARGUMENT") if !asked.is_current() => {
            answer.failed(ErrorKind::VersionNotFound, &tried.0, "there can be no such version")
        }
        _ => of_secret(answer, tried),
    }
}

/// Why a call about a secret, or about all of them, was not done.
///
/// | answer | kind |
/// |---|---|
/// | 400 | `InvalidConfig`: names and sizes were checked before, so it is the project |
/// | 403 | `PermissionDenied`; to who has no right on the whole project a missing secret looks the same |
/// | 404 of Google | `NotFound` |
/// | 404 of anybody else | `Unexpected` |
/// | 409 | `Conflict` |
/// | any other | as [`of_status`] has it |
pub(super) fn of_secret(answer: &Answer, tried: &Tried) -> Error {
    let tried = tried.0.as_str();
    let refusal = answer.refusal();
    match answer.status {
        400 if refusal.is_some() => {
            answer.failed(ErrorKind::InvalidConfig, tried, "Google does not take the request; check projectId")
        }
        404 => match refusal {
            Some(refusal) if refusal.status == "NOT_FOUND" => {
                answer.failed(ErrorKind::NotFound, tried, "there is no such secret, or it has no version")
            }
            Some(_) | None => {
                answer.failed(ErrorKind::Unexpected, tried, "the answer does not come from Secret Manager")
            }
        },
        409 => answer.failed(ErrorKind::Conflict, tried, "somebody else changed it"),
        _ => {
            let error = of_status(answer, tried);
            match (error.kind, refusal) {
                (ErrorKind::PermissionDenied, Some(refusal)) if !refusal.is_for("ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
                    let why = "IAM does not allow it, or there is none and the right is not on the whole project";
                    answer.failed(ErrorKind::PermissionDenied, tried, why)
                }
                _ => error,
            }
        }
    }
}

/// Whether a refusal is one of IAM: who is told that, was known, and asked for something that is not theirs. Google's front
/// ends, organisations' perimeters and tokens for something else are refused with the same status for other reasons.
pub(super) fn is_of_iam(answer: &Answer) -> bool {
    answer.status == 403
        && answer.refusal().is_some_and(|refusal| {
            refusal.status == "PERMISSION_DENIED"
                && (refusal.reasons.is_empty() || refusal.is_for("IAM_PERMISSION_DENIED"))
        })
}

/// Why a secret was not created.
///
/// | answer | kind |
/// |---|---|
/// | 400 | `InvalidConfig`: `locations`, or a policy of the organisation on them |
/// | 409 `ALREADY_EXISTS` | `Conflict` |
/// | any other | as [`of_secret`] has it |
pub(super) fn of_creation(answer: &Answer, tried: &Tried) -> Error {
    match answer.status {
        400 if answer.refusal().is_some() => {
            let why = "Google does not take it; check locations and the organisation's policy on them";
            answer.failed(ErrorKind::InvalidConfig, &tried.0, why)
        }
        _ => of_secret(answer, tried),
    }
}

/// Why a secret was not deleted.
///
/// | answer | kind |
/// |---|---|
/// | 400 `FAILED_PRECONDITION` | `Conflict`: its etag is another one (<https://cloud.google.com/secret-manager/docs/etags>) |
/// | any other | as [`of_secret`] has it |
pub(super) fn of_deletion(answer: &Answer, tried: &Tried) -> Error {
    let refusal = answer.refusal().unwrap_or_default();
    match (answer.status, refusal.status.as_str()) {
        (400, "FAILED_PRECONDITION") => answer.failed(ErrorKind::Conflict, &tried.0, "somebody else changed it"),
        _ => of_secret(answer, tried),
    }
}

/// A version that is switched off. It is not missing: no default may stand in for it.
pub(super) fn disabled(asked: &Asked) -> Error {
    let Asked { id, .. } = asked;
    let message = format!(
        "{} of the secret {id} is disabled: gcloud secrets versions enable brings it back, a new value replaces it",
        shown(asked)
    );
    Error::new(ErrorKind::PermissionDenied, message)
}

/// A version whose value is gone.
pub(super) fn destroyed(asked: &Asked) -> Error {
    let Asked { id, .. } = asked;
    let message = format!("{} of the secret {id} is destroyed, for good: set a new value", shown(asked));
    Error::new(ErrorKind::VersionNotFound, message)
}

/// A write or a deletion whose condition does not hold.
pub(super) fn changed(id: &str) -> Error {
    let message = format!("the secret {id} is not as it was expected: somebody else wrote it");
    Error::new(ErrorKind::Conflict, message)
}

fn shown(asked: &Asked) -> String {
    match asked.is_current() {
        true => "the latest version".to_owned(),
        false => format!("version {}", asked.version()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::backend::Key;

    fn asked(version: Option<&str>) -> Asked {
        Asked::new(&Key { name: "prod_K".into(), version: version.map(str::to_owned) }).unwrap()
    }

    fn refusal(code: u16, status: &str, message: &str) -> Answer {
        let body = format!(r#"{{"error": {{"code": {code}, "message": "{message}", "status": "{status}"}}}}"#);
        Answer::of(code, &body)
    }

    const DISABLED: &str = "Secret Version [projects/1/secrets/prod_K/versions/3] is in DISABLED state.";
    const DESTROYED: &str = "Secret Version [projects/1/secrets/prod_K/versions/3] is in DESTROYED state.";

    #[test]
    fn every_refusal_to_read_has_its_kind() {
        let (latest, third) = (asked(None), asked(Some("3")));
        for (answer, asked, expected) in [
            (refusal(400, "FAILED_PRECONDITION", DISABLED), &latest, ErrorKind::PermissionDenied),
            (refusal(400, "FAILED_PRECONDITION", DISABLED), &third, ErrorKind::PermissionDenied),
            (refusal(400, "FAILED_PRECONDITION", DESTROYED), &third, ErrorKind::VersionNotFound),
            (refusal(400, "FAILED_PRECONDITION", "Cloud KMS key"), &latest, ErrorKind::Undecodable),
            (refusal(400, "INVALID_ARGUMENT", ""), &third, ErrorKind::VersionNotFound),
            (refusal(400, "INVALID_ARGUMENT", ""), &latest, ErrorKind::InvalidConfig),
            (Answer::of(400, "<html>"), &latest, ErrorKind::Unexpected),
            (refusal(401, "UNAUTHENTICATED", ""), &latest, ErrorKind::Unauthenticated),
            (refusal(403, "PERMISSION_DENIED", ""), &latest, ErrorKind::PermissionDenied),
            (Answer::of(403, "<html>"), &latest, ErrorKind::PermissionDenied),
            (refusal(404, "NOT_FOUND", ""), &latest, ErrorKind::NotFound),
            (refusal(404, "", ""), &latest, ErrorKind::Unexpected),
            (Answer::of(404, "404 page not found"), &latest, ErrorKind::Unexpected),
            (refusal(409, "ABORTED", ""), &latest, ErrorKind::Conflict),
            (refusal(429, "RESOURCE_EXHAUSTED", ""), &latest, ErrorKind::RateLimited),
            (refusal(503, "UNAVAILABLE", ""), &latest, ErrorKind::Unavailable),
            (refusal(504, "DEADLINE_EXCEEDED", ""), &latest, ErrorKind::Timeout),
        ] {
            let error = of_version(&answer, asked, &Tried::version("read", asked));
            assert_eq!(error.kind, expected, "{}: {}", answer.status, error.message);
            assert!(error.message.contains("the secret prod_K"), "{}", error.message);
            assert!(!error.message.contains("projects/1"), "{}", error.message);
        }
    }

    #[test]
    fn iams_refusals_are_told_from_all_others() {
        let refused = |reason: &str| {
            let body =
                format!(r#"{{"error": {{"status": "PERMISSION_DENIED", "details": [{{"reason": "{reason}"}}]}}}}"#);
            is_of_iam(&Answer::of(403, &body))
        };
        assert!(refused("IAM_PERMISSION_DENIED"));
        for other in ["ACCESS_TOKEN_SCOPE_INSUFFICIENT", "SECURITY_POLICY_VIOLATED", "SERVICE_DISABLED", "NEW_REASON"] {
            assert!(!refused(other), "{other}");
        }
        assert!(is_of_iam(&refusal(403, "PERMISSION_DENIED", "")), "older answers have no reason");
        for other in [refusal(404, "PERMISSION_DENIED", ""), refusal(403, "", ""), Answer::of(403, "<html>")] {
            assert!(!is_of_iam(&other), "{}", other.status);
        }
    }

    #[test]
    fn what_only_creation_and_deletion_say_has_its_kind() {
        let tried = Tried::secret("x", "prod_K");
        let creation = |answer: &Answer| of_creation(answer, &tried).kind;
        assert_eq!(creation(&refusal(400, "INVALID_ARGUMENT", "")), ErrorKind::InvalidConfig);
        assert_eq!(creation(&refusal(400, "FAILED_PRECONDITION", "")), ErrorKind::InvalidConfig);
        assert_eq!(creation(&refusal(409, "ALREADY_EXISTS", "")), ErrorKind::Conflict);
        assert_eq!(creation(&refusal(403, "PERMISSION_DENIED", "")), ErrorKind::PermissionDenied);
        let deletion = |answer: &Answer| of_deletion(answer, &tried).kind;
        assert_eq!(deletion(&refusal(400, "FAILED_PRECONDITION", "")), ErrorKind::Conflict);
        assert_eq!(deletion(&refusal(404, "NOT_FOUND", "")), ErrorKind::NotFound);
        assert_eq!(deletion(&refusal(400, "INVALID_ARGUMENT", "")), ErrorKind::InvalidConfig);
    }

    #[test]
    fn what_can_be_done_about_a_state_is_said() {
        let said = |answer: &Answer, version| {
            let asked = asked(version);
            of_version(answer, &asked, &Tried::version("read", &asked)).message
        };
        let message = said(&refusal(400, "FAILED_PRECONDITION", DISABLED), None);
        assert!(message.starts_with("the latest version of the secret prod_K is disabled"), "{message}");
        let message = said(&refusal(400, "FAILED_PRECONDITION", DESTROYED), Some("3"));
        assert_eq!(message, "version 3 of the secret prod_K is destroyed, for good: set a new value");
        // Whether there is one is not told to who may not know.
        let message = said(&refusal(403, "PERMISSION_DENIED", ""), Some("prod"));
        assert!(message.contains("version prod of the secret prod_K") && message.contains("or there is none"));
    }
}
