//! The result of a step while it is made: it never grows above 1 MiB, and leaves no copy behind where it moves.

use zeroize::Zeroizing;

use super::Failure;
use crate::model::document::MAX_BYTES;
use crate::value::SecretValue;

/// Bytes that are appended to.
pub(super) struct Output(Zeroizing<Vec<u8>>);

impl Output {
    /// Room for about so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes.min(MAX_BYTES))))
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = self.0.len().saturating_add(bytes.len());
        if length > MAX_BYTES {
            return Err(Failure::TooLarge);
        }
        if length > self.0.capacity() {
            // A vector that grows by itself gives its old bytes back as they are; this one is zeroed when it is replaced.
            let mut larger = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2).min(MAX_BYTES)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub fn into_value(mut self) -> SecretValue {
        SecretValue::new(std::mem::take(&mut *self.0))
    }
}
