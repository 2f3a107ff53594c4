//! What the fuzz targets call: the SOPS file format, built from the sources of the operator, and what must hold for it.

// The tests of these sources belong to the operator. `--all-targets` would build them here, too.
#[cfg(not(test))]
#[path = "../src/sops/mod.rs"]
pub mod sops;
#[cfg(not(test))]
#[path = "../src/value.rs"]
pub mod value;

#[cfg(not(test))]
#[expect(clippy::panic, reason = "a property that does not hold ends the run")]
pub mod properties;

#[cfg(not(test))]
use sops::{CreationRules, Encrypted, Format, Plain};
#[cfg(not(test))]
use value::SecretValue;
