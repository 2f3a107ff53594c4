//! What AWS Systems Manager answers beside the table that all services of AWS share.
//!
//! | code | kind |
//! |---|---|
//! | `ParameterNotFound` | `NotFound` |
//! | `ParameterVersionNotFound` | `VersionNotFound` |
//! | `InvalidKeyId` | `Undecodable` on a read, `InvalidConfig` on a write |
//! | `ParameterAlreadyExists` | `Conflict` |
//! | `TooManyUpdates`, `ConcurrentModificationException` | `RateLimited`: nothing was written |
//! | `ParameterLimitExceeded`, `ParameterMaxVersionLimitExceeded`, `HierarchyLevelLimitExceededException` | `PermissionDenied` |
//! | `ParameterPatternMismatchException`, `HierarchyTypeMismatchException`, `UnsupportedParameterType`, `ValidationException`, `InvalidFilter…` | `InvalidConfig` |
//! | `InternalServerError` | `Unavailable` |
//!
//! Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html> and the pages of the
//! other operations.

use crate::backend::ErrorKind;
use crate::backend::aws::error::Meaning;

pub(super) fn codes(code: &str) -> Option<Meaning> {
    Some(match code {
        "ParameterNotFound" => (ErrorKind::NotFound, "there is no such parameter"),
        "ParameterVersionNotFound" => (ErrorKind::VersionNotFound, "it has no such version or label"),
        "InvalidKeyId" => {
            (ErrorKind::Undecodable, "its KMS key is disabled or deleted, or may not be used; see the key's state")
        }
        "ParameterAlreadyExists" => (ErrorKind::Conflict, "it has a value already"),
        "TooManyUpdates" | "ConcurrentModificationException" => {
            (ErrorKind::RateLimited, "somebody else writes it at the same time")
        }
        "ParameterLimitExceeded" | "ParameterMaxVersionLimitExceeded" | "HierarchyLevelLimitExceededException" => {
            (ErrorKind::PermissionDenied, "a quota of AWS Systems Manager is exhausted")
        }
        "ParameterPatternMismatchException"
        | "HierarchyTypeMismatchException"
        | "UnsupportedParameterType"
        | "ValidationException"
        | "InvalidFilterKey"
        | "InvalidFilterOption"
        | "InvalidFilterValue"
        | "InvalidNextToken" => (ErrorKind::InvalidConfig, "AWS Systems Manager does not take such a request"),
        _ => return None,
    })
}

/// The same for a write, where a KMS key is what the Store names.
pub(super) fn codes_of_writes(code: &str) -> Option<Meaning> {
    match code {
        "InvalidKeyId" => {
            Some((ErrorKind::InvalidConfig, "the KMS key cannot be used; see kmsKeyId and the key's state"))
        }
        _ => codes(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::aws::error::from_code;

    #[test]
    fn every_code_has_its_kind() {
        for (code, kind) in [
            ("ParameterNotFound", ErrorKind::NotFound),
            ("ParameterVersionNotFound", ErrorKind::VersionNotFound),
            ("InvalidKeyId", ErrorKind::Undecodable),
            ("ParameterAlreadyExists", ErrorKind::Conflict),
            ("TooManyUpdates", ErrorKind::RateLimited),
            ("ConcurrentModificationException", ErrorKind::RateLimited),
            ("ParameterLimitExceeded", ErrorKind::PermissionDenied),
            ("ParameterMaxVersionLimitExceeded", ErrorKind::PermissionDenied),
            ("HierarchyLevelLimitExceededException", ErrorKind::PermissionDenied),
            ("ParameterPatternMismatchException", ErrorKind::InvalidConfig),
            ("HierarchyTypeMismatchException", ErrorKind::InvalidConfig),
            ("UnsupportedParameterType", ErrorKind::InvalidConfig),
            ("ValidationException", ErrorKind::InvalidConfig),
            ("InvalidFilterKey", ErrorKind::InvalidConfig),
            ("InvalidFilterOption", ErrorKind::InvalidConfig),
            ("InvalidFilterValue", ErrorKind::InvalidConfig),
            ("InvalidNextToken", ErrorKind::InvalidConfig),
            // From the table that all services share.
            ("InternalServerError", ErrorKind::Unavailable),
            ("AccessDeniedException", ErrorKind::PermissionDenied),
            ("ThrottlingException", ErrorKind::RateLimited),
        ] {
            assert_eq!(from_code(code, "read the parameter /x", codes).kind, kind, "{code}");
        }
        assert_eq!(from_code("InvalidKeyId", "write", codes_of_writes).kind, ErrorKind::InvalidConfig);
        assert_eq!(from_code("ParameterAlreadyExists", "write", codes_of_writes).kind, ErrorKind::Conflict);
    }
}
