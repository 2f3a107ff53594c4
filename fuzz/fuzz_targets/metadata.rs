//! Any bytes as the metadata of a file.
#![no_main]

use atmos_secrets_fuzz::properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::metadata(bytes));
