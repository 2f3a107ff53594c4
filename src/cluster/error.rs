//! What can go wrong with a call to the API server: codes and closed words, never the server's text.
//!
//! The message of a `Status` may quote what was sent, and an admission webhook writes what it likes into it. It is looked
//! at once, to tell apart refusals that share a code, and dropped.

use std::time::Duration;

use serde::Deserialize;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The API server answered with an error.
    #[error("the API server answered {} {}", .0.status, .0.reason.as_str())]
    Refused(Refusal),
    /// No answer in time. A write may have happened.
    #[error("the API server did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// No connection, or it broke. A write may have happened.
    #[error("cannot reach the API server")]
    Unreachable,
    /// The client could not get credentials of its own to present.
    #[error("cannot get credentials for the API server")]
    Credentials,
    /// The answer is not what was asked for.
    #[error("the answer of the API server cannot be read as a {0}")]
    Unreadable(&'static str),
    /// The answer is longer than anything the API server stores; the limit in bytes.
    #[error("the answer of the API server is larger than {0} bytes")]
    AnswerTooLarge(usize),
    /// The namespace or the name cannot be one. Nothing was sent.
    #[error("the name cannot be the name of a Kubernetes object")]
    InvalidName,
    /// A write that needs a uid or a resourceVersion was asked for without it. Nothing was sent.
    #[error("the write names no uid or resourceVersion to check")]
    MissingPrecondition,
}

impl Error {
    pub(super) fn from_client(error: &kube::Error) -> Self {
        match error {
            kube::Error::Auth(_) => Self::Credentials,
            // Everything else is the connection or something below it; `kube::Error` is open to new variants.
            _ => Self::Unreachable,
        }
    }

    /// What the API server answered, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Timeout(_)
            | Self::Unreachable
            | Self::Credentials
            | Self::Unreadable(_)
            | Self::AnswerTooLarge(_)
            | Self::InvalidName
            | Self::MissingPrecondition => None,
        }
    }

    /// Whether somebody else wrote first, or created the object first.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == 409 && refusal.cause != Cause::NamespaceTerminating)
    }
}

/// An error that the API server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub status: u16,
    /// The word of the `Status` object.
    pub reason: StatusReason,
    /// What stands behind it, as far as it can be told.
    pub cause: Cause,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
}

/// What refused a request, told apart because one code (403) stands for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing more is known; for a 403 that is a missing right.
    Unspecified,
    /// The namespace's quota is exhausted.
    QuotaExceeded,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// An admission webhook or policy denied it.
    AdmissionDenied,
    /// The server starts, and a part of its admission is not ready.
    Starting,
}

macro_rules! status_reasons {
    ($($name:ident),+ $(,)?) => {
        /// The `reason` of a `Status` object (`k8s.io/apimachinery`, `meta/v1/types.go`, `StatusReason`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words are Kubernetes' own")]
        pub enum StatusReason {
            $($name,)+
            /// A word that this list does not have, or none.
            Other,
        }

        impl StatusReason {
            /// The word; empty for [`Self::Other`].
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ Self::Other => "" }
            }

            fn parse(word: &str) -> Self {
                match word { $(stringify!($name) => Self::$name,)+ _ => Self::Other }
            }
        }
    };
}

status_reasons! {
    Unauthorized, Forbidden, NotFound, AlreadyExists, Conflict, Gone, Invalid, ServerTimeout, StoreReadError, Timeout,
    TooManyRequests, BadRequest, MethodNotAllowed, NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType,
    InternalError, Expired, ServiceUnavailable,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status<'a> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    reason: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    message: std::borrow::Cow<'a, str>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Option<Vec<StatusCause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusCause {
    reason: String,
}

impl Refusal {
    pub(super) fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let answer: Status<'_> = serde_json::from_slice(body).unwrap_or_default();
        if answer.kind != "Status" {
            return Self { status, reason: StatusReason::Other, cause: Cause::Unspecified, retry_after };
        }
        let details = answer.details.unwrap_or_default();
        Self {
            status,
            reason: StatusReason::parse(&answer.reason),
            cause: cause(&answer.message, details.causes.as_deref().unwrap_or_default()),
            retry_after: retry_after.or(details.retry_after_seconds.map(Duration::from_secs)),
        }
    }
}

/// Admission comes first, because a webhook writes its own text behind the fixed words and could quote the others.
///
/// Sources of the words: `k8s.io/apiserver` `plugin/webhook/errors/statuserror.go` and `plugin/policy/validating`;
/// `plugin/resourcequota/controller.go`; "not yet ready to handle request" is what plugins of `k8s.io/apiserver`,
/// `pkg/admission/plugin` (namespace lifecycle, webhooks, policies) and of the quota say; `NamespaceTerminating` is
/// `NamespaceTerminatingCause` of `k8s.io/api/core/v1`.
fn cause(message: &str, causes: &[StatusCause]) -> Cause {
    if (message.contains("admission webhook ") && message.contains(" denied the request"))
        || (message.contains("ValidatingAdmissionPolicy ") && message.contains(" denied request"))
    {
        Cause::AdmissionDenied
    } else if causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        || message.contains("because it is being terminated")
    {
        Cause::NamespaceTerminating
    } else if message.contains("exceeded quota: ") {
        Cause::QuotaExceeded
    } else if message.ends_with("not yet ready to handle request") {
        Cause::Starting
    } else {
        Cause::Unspecified
    }
}
