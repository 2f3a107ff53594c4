//! A growing byte buffer that zeroes everything it ever held.

use std::io;

use bytes::Bytes;
use zeroize::Zeroizing;

/// Bytes on their way to or from the API server. Growing a `Vec` leaves the old bytes in freed memory; this one copies
/// them and zeroes the old place.
#[derive(Default)]
pub(super) struct ZeroingBuffer(Zeroizing<Vec<u8>>);

impl ZeroingBuffer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len().saturating_add(more.len());
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.0.capacity().saturating_mul(2))));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(more);
    }

    /// The bytes as a request's body: zeroed when the last holder lets go of them.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl io::Write for ZeroingBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
