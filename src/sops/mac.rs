//! The message authentication code: SHA-512 over the plaintexts of a file, in order.

use std::fmt::Write;

use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::tree::{Kind, Scalar};

/// What SOPS writes first where the MAC covers encrypted values only (`MACOnlyEncryptedInitialization` in `sops.go`:
/// SHA-256 of `sops`), so that a MAC of one setting never passes under the other.
const ONLY_ENCRYPTED_PREFIX: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Collects the plaintexts. Keys are covered by each value's additional data instead.
pub(super) struct Mac {
    hash: Sha512,
    only_encrypted: bool,
}

impl Mac {
    pub(super) fn new(only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if only_encrypted {
            hash.update(ONLY_ENCRYPTED_PREFIX);
        }
        Self { hash, only_encrypted }
    }

    /// Adds one value. `encrypted` says what the file's rules want for it, not what it looks like.
    pub(super) fn add(&mut self, value: &Scalar, encrypted: bool) {
        if self.only_encrypted && !encrypted {
            return;
        }
        match value.kind {
            Kind::Boolean if value.text.expose() == b"true" => self.hash.update(b"True"),
            Kind::Boolean => self.hash.update(b"False"),
            Kind::Text | Kind::Integer | Kind::Float | Kind::Time | Kind::Bytes => {
                self.hash.update(value.text.expose())
            }
        }
    }

    /// The code as SOPS stores it: upper-case hexadecimal.
    pub(super) fn finish(self) -> Zeroizing<String> {
        self.hash.finalize().iter().fold(Zeroizing::new(String::with_capacity(128)), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02X}");
            text
        })
    }
}
