//! Any bytes as a .sops.yaml.
#![no_main]

use atmos_secrets::sops::{CreationRules, Encrypted, Format, Plain};
use atmos_secrets::value::SecretValue;

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::creation_rules(bytes));
