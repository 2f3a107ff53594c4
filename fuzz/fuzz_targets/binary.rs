//! Any bytes as a binary file.
#![no_main]

use atmos_secrets_fuzz::properties;
use atmos_secrets_fuzz::sops::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::file(Format::Binary, bytes));
