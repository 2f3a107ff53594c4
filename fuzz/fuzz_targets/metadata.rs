//! Any bytes as the metadata of a file.
#![no_main]

use atmos_secrets::sops::{CreationRules, Encrypted, Format, Plain};
use atmos_secrets::value::SecretValue;

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::metadata(bytes));
