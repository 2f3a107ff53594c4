//! What can go wrong with a store, in our words.
//!
//! A driver maps its SDK's errors to an [`ErrorKind`] and writes the message itself: text that a backend or a parser
//! produced may quote a value and never gets in here.

use std::time::Duration;

use crate::api::Reason;

/// The kinds of failure that callers tell apart. *Missing* is never confused with *denied* or *failed*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The store answered that it holds no such key.
    NotFound,
    /// The key is there, the version is not.
    VersionNotFound,
    /// The key is marked for deletion.
    PendingDeletion,
    /// The object that holds the values (a ConfigMap, a Secret) is not there.
    SourceNotFound,
    /// The credentials were not accepted.
    Unauthenticated,
    /// The credentials are good, the permission is not.
    PermissionDenied,
    /// The operator has no Kubernetes rights where the values or the credentials lie.
    GrantMissing,
    /// The store's definition cannot work.
    InvalidConfig,
    /// The store's address is not one that may be connected to.
    EndpointNotAllowed,
    /// The key cannot be a key of this store.
    InvalidKey,
    /// A file that should be encrypted is not.
    NotEncrypted,
    /// What is stored cannot be decrypted or read.
    Undecodable,
    /// What is stored was changed after it was encrypted.
    MacMismatch,
    /// No key that is held opens it.
    NoMatchingKey,
    /// Two keys lead to one place.
    Ambiguous,
    /// Larger than the store or we allow.
    TooLarge,
    /// Somebody else wrote first.
    Conflict,
    /// Asked too often.
    RateLimited,
    /// No answer, or an answer that says "later".
    Unavailable,
    /// No answer in time.
    Timeout,
    /// The store cannot do this.
    Unsupported,
    /// An answer that makes no sense.
    Unexpected,
}

impl ErrorKind {
    /// Whether asking again, unchanged, may help.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Conflict | Self::RateLimited | Self::Unavailable | Self::Timeout | Self::Unexpected => true,
            Self::NotFound
            | Self::VersionNotFound
            | Self::PendingDeletion
            | Self::SourceNotFound
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::GrantMissing
            | Self::InvalidConfig
            | Self::EndpointNotAllowed
            | Self::InvalidKey
            | Self::NotEncrypted
            | Self::Undecodable
            | Self::MacMismatch
            | Self::NoMatchingKey
            | Self::Ambiguous
            | Self::TooLarge
            | Self::Unsupported => false,
        }
    }

    /// Whether the store said for certain that there is no value.
    #[must_use]
    pub fn is_missing(self) -> bool {
        match self {
            Self::NotFound | Self::VersionNotFound | Self::PendingDeletion => true,
            Self::SourceNotFound
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::GrantMissing
            | Self::InvalidConfig
            | Self::EndpointNotAllowed
            | Self::InvalidKey
            | Self::NotEncrypted
            | Self::Undecodable
            | Self::MacMismatch
            | Self::NoMatchingKey
            | Self::Ambiguous
            | Self::TooLarge
            | Self::Conflict
            | Self::RateLimited
            | Self::Unavailable
            | Self::Timeout
            | Self::Unsupported
            | Self::Unexpected => false,
        }
    }

    /// The word that users see.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::NotFound => Reason::ValueMissing,
            Self::VersionNotFound => Reason::VersionMissing,
            Self::PendingDeletion => Reason::PendingDeletion,
            Self::SourceNotFound => Reason::SourceNotFound,
            Self::Unauthenticated => Reason::AuthFailed,
            Self::PermissionDenied => Reason::AccessDenied,
            Self::GrantMissing => Reason::GrantMissing,
            Self::InvalidConfig | Self::Unsupported => Reason::Unsupported,
            Self::EndpointNotAllowed => Reason::EndpointNotAllowed,
            Self::InvalidKey => Reason::InvalidKeyName,
            Self::NotEncrypted => Reason::NotEncrypted,
            Self::Undecodable => Reason::DecryptFailed,
            Self::MacMismatch => Reason::MacMismatch,
            Self::NoMatchingKey => Reason::NoMatchingKey,
            Self::Ambiguous => Reason::PathCollision,
            Self::TooLarge => Reason::ValueTooLarge,
            Self::RateLimited => Reason::Throttled,
            Self::Conflict | Self::Unavailable | Self::Unexpected => Reason::Unreachable,
            Self::Timeout => Reason::Timeout,
        }
    }

    /// The value of a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::VersionNotFound => "version_not_found",
            Self::PendingDeletion => "pending_deletion",
            Self::SourceNotFound => "source_not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::GrantMissing => "grant_missing",
            Self::InvalidConfig => "invalid_config",
            Self::EndpointNotAllowed => "endpoint_not_allowed",
            Self::InvalidKey => "invalid_key",
            Self::NotEncrypted => "not_encrypted",
            Self::Undecodable => "undecodable",
            Self::MacMismatch => "mac_mismatch",
            Self::NoMatchingKey => "no_matching_key",
            Self::Ambiguous => "ambiguous",
            Self::TooLarge => "too_large",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Unexpected => "unexpected",
        }
    }
}

/// The most characters of a message: it goes into status and Events, once for each secret.
pub const MESSAGE_LIMIT: usize = 256;

fn limited(mut message: String) -> String {
    if message.chars().count() > MESSAGE_LIMIT {
        let end = message.char_indices().nth(MESSAGE_LIMIT - 1).map_or(message.len(), |(index, _)| index);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A failure of one call or of one key in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// What we tried, on which object, what to do. Lower case, at most 256 characters, never a value or a remote text.
    pub message: String,
    /// How long the store asked us to wait.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with our own words, cut to [`MESSAGE_LIMIT`].
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: limited(message.into()), retry_after: None }
    }

    /// The same error with "`subject`: " before its message.
    #[must_use]
    pub fn in_context(self, subject: &str) -> Self {
        Self { message: limited(format!("{subject}: {}", self.message)), ..self }
    }
}
