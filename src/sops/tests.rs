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
mod creation_rules;
mod editing;
mod exchange;
mod expressions;
mod flat_files;
mod fuzzed;
mod hostile;
mod kept;
mod keys;
mod master_keys;
mod mutations;
mod oracle;
mod random;
mod recipients;
mod round_trips;
mod tampered;
mod times;
mod unshown;
mod values;
