//! Failures of the SOPS library as kinds of a store's failures.

use crate::backend::{Error, ErrorKind};
use crate::sops;

/// Names that a message about keys lists of each side: an age recipient has 62 characters, a message 256.
const NAMES_SHOWN: usize = 1;

/// The error of a file. `file` names it, as in `orders.enc.yaml of ConfigMap payments/files`.
///
/// The library's texts hold paths, recipients and key names, never a value. Only that of a missing key is shortened, to
/// leave room for both sides; the recipients held stand in the Store's status.
pub(super) fn from_sops(error: &sops::Error, file: &str) -> Error {
    let kind = kind(error);
    match error {
        sops::Error::NoMatchingKey { recipients, held, opened: _, needed: _ } => {
            let message = format!("no key opens {file}: encrypted to {}; keys held: {}", some(recipients), some(held));
            Error::new(kind, message)
        }
        sops::Error::KeyService { recipient: _, source } => match source.downcast_ref::<Error>() {
            // Ours, from a service of keys: it says everything but which file.
            Some(ours) => ours.clone().in_context(file),
            None => Error::new(kind, format!("{file}: {error}")),
        },
        other => Error::new(kind, format!("{file}: {other}")),
    }
}

fn some(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> =
        names.iter().take(NAMES_SHOWN).map(|name| name.escape_debug().take(96).collect()).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} +{more}", shown.join(", ")),
    }
}

fn kind(error: &sops::Error) -> ErrorKind {
    match error {
        sops::Error::NotEncrypted => ErrorKind::NotEncrypted,
        sops::Error::Unparsable { .. }
        | sops::Error::DuplicateKey { .. }
        | sops::Error::TooDeep { .. }
        | sops::Error::TooManyNodes { .. }
        | sops::Error::Unsupported { .. }
        | sops::Error::BadMetadata { .. }
        | sops::Error::DamagedDataKey { .. }
        | sops::Error::DecryptFailed { .. } => ErrorKind::Undecodable,
        sops::Error::BadPath { .. } => ErrorKind::InvalidKey,
        sops::Error::Unwritable { .. } | sops::Error::UnsupportedKeys { .. } => ErrorKind::Unsupported,
        sops::Error::BadRecipient { .. }
        | sops::Error::BadKeyGroups { .. }
        | sops::Error::BadCreationRules { .. }
        | sops::Error::NoCreationRule { .. } => ErrorKind::InvalidConfig,
        sops::Error::NoRandomness | sops::Error::KeyService { .. } => ErrorKind::Unexpected,
        sops::Error::TooLarge { .. } => ErrorKind::TooLarge,
        sops::Error::NoMatchingKey { .. } => ErrorKind::NoMatchingKey,
        sops::Error::MacMismatch | sops::Error::MacMissing => ErrorKind::MacMismatch,
        sops::Error::InvalidIdentity { .. }
        | sops::Error::UnsupportedIdentity { .. }
        | sops::Error::NoIdentity { .. } => ErrorKind::Unauthenticated,
    }
}
