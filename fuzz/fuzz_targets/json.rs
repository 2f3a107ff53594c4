//! Any bytes as a JSON file.
#![no_main]

use atmos_secrets_fuzz::properties;
use atmos_secrets_fuzz::sops::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::file(Format::Json, bytes));
