//! What the fuzz targets call: the SOPS file format, built from the sources of the operator, and what must hold for it.

#[path = "../src/sops/mod.rs"]
pub mod sops;
#[path = "../src/value.rs"]
pub mod value;

#[expect(clippy::panic, reason = "a property that does not hold ends the run")]
pub mod properties;

use sops::{CreationRules, Encrypted, Format, Plain};
use value::SecretValue;
