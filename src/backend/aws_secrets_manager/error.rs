//! What AWS Secrets Manager answers beside the table that all services of AWS share.
//!
//! | code | kind |
//! |---|---|
//! | `ResourceNotFoundException` | `NotFound`; for a version that was asked for `VersionNotFound`, if DescribeSecret finds the secret |
//! | `InvalidRequestException` | `PendingDeletion`, if DescribeSecret says so; else `InvalidConfig` |
//! | `DecryptionFailure` | `Undecodable` |
//! | `EncryptionFailure` | `InvalidConfig` |
//! | `ResourceExistsException`, `PreconditionNotMetException` | `Conflict` |
//! | `LimitExceededException` | `PermissionDenied` |
//! | `InvalidParameterException`, `ValidationException`, `InvalidNextTokenException` | `InvalidConfig` |
//! | `UnknownOperationException` | `Unsupported` |
//!
//! Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html> and the pages of the
//! other operations.

use crate::backend::ErrorKind;
use crate::backend::aws::error::Meaning;

pub(super) fn codes(code: &str) -> Option<Meaning> {
    Some(match code {
        "ResourceNotFoundException" => (ErrorKind::NotFound, "there is no such secret, or it has no value yet"),
        "InvalidRequestException" => (ErrorKind::PendingDeletion, "it is marked for deletion"),
        "DecryptionFailure" => {
            (ErrorKind::Undecodable, "its KMS key is disabled or deleted, or does not decrypt it; see the key's state")
        }
        "EncryptionFailure" => {
            (ErrorKind::InvalidConfig, "the KMS key does not encrypt it; see kmsKeyId and its state")
        }
        "ResourceExistsException" => {
            (ErrorKind::Conflict, "somebody else wrote it at the same time, or it has a value")
        }
        "PreconditionNotMetException" => (ErrorKind::Conflict, "its state changed in between"),
        "LimitExceededException" => (ErrorKind::PermissionDenied, "a quota of AWS Secrets Manager is exhausted"),
        "InvalidParameterException" | "ValidationException" | "InvalidNextTokenException" => {
            (ErrorKind::InvalidConfig, "AWS Secrets Manager does not take such a request")
        }
        "UnknownOperationException" => (ErrorKind::Unsupported, "the endpoint does not know this operation"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::aws::error::from_code;

    #[test]
    fn every_code_has_its_kind() {
        for (code, kind) in [
            ("ResourceNotFoundException", ErrorKind::NotFound),
            ("InvalidRequestException", ErrorKind::PendingDeletion),
            ("DecryptionFailure", ErrorKind::Undecodable),
            ("EncryptionFailure", ErrorKind::InvalidConfig),
            ("ResourceExistsException", ErrorKind::Conflict),
            ("PreconditionNotMetException", ErrorKind::Conflict),
            ("LimitExceededException", ErrorKind::PermissionDenied),
            ("InvalidParameterException", ErrorKind::InvalidConfig),
            ("ValidationException", ErrorKind::InvalidConfig),
            ("InvalidNextTokenException", ErrorKind::InvalidConfig),
            ("UnknownOperationException", ErrorKind::Unsupported),
            // From the table that all services share.
            ("AccessDeniedException", ErrorKind::PermissionDenied),
            ("ThrottlingException", ErrorKind::RateLimited),
            ("InternalServiceError", ErrorKind::Unavailable),
        ] {
            assert_eq!(from_code(code, "read the secret x", codes).kind, kind, "{code}");
        }
    }
}
