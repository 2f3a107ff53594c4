//! Any bytes as a `.sops.yaml`.
#![no_main]

use atmos_secrets_fuzz::properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::creation_rules(bytes));
