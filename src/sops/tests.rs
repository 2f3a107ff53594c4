//! What the module promises, held against files that the real `sops` binary makes while the tests run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod comments;
mod crafted;
mod hostile;
mod keys;
mod oracle;
mod random;
mod tampered;
mod values;
