//! What holds for any bytes whatever: the fuzz targets call this, and so does a test with mutated files.
//!
//! Each function panics where the property does not hold. The library's types come from the module above: it has another
//! name in its own tests.

use super::{CreationRules, Encrypted, Format, Plain, SecretValue};

/// Reading a file of a format ends, in a file or in an error of few words. A plain file that is read can be written, unless
/// that is refused, and what is written reads as the same file.
pub fn file(format: Format, bytes: &[u8]) {
    if let Err(error) = Encrypted::parse(format, bytes) {
        assert!(error.to_string().len() < 2_000);
    }
    let Ok(plain) = Plain::parse(format, &SecretValue::new(bytes.to_vec())) else { return };
    let Ok(once) = plain.to_file() else { return };
    let Ok(again) = Plain::parse(format, &once) else { panic!("what was written cannot be read") };
    let Ok(twice) = again.to_file() else { panic!("what was read cannot be written") };
    assert!(twice.equals(once.expose()), "writing twice is not writing once");
}

/// Any text as the lines of the metadata of a file.
pub fn metadata(bytes: &[u8]) {
    let mut yaml = b"a: ENC[x]\nsops:\n    lastmodified: \"2024-01-02T03:04:05Z\"\n    mac: ENC[x]\n".to_vec();
    let mut dotenv = b"a=ENC[x]\nsops_lastmodified=2024-01-02T03:04:05Z\nsops_mac=ENC[x]\n".to_vec();
    for line in bytes.split(|byte| *byte == b'\n') {
        yaml.extend_from_slice(b"    ");
        yaml.extend_from_slice(line);
        yaml.push(b'\n');
        dotenv.extend_from_slice(b"sops_");
        dotenv.extend_from_slice(line);
        dotenv.push(b'\n');
    }
    for (format, bytes) in [(Format::Yaml, yaml), (Format::Dotenv, dotenv)] {
        match Encrypted::parse(format, &bytes) {
            Ok(encrypted) => assert!(encrypted.recipients().len() <= 1_000),
            Err(error) => assert!(error.to_string().len() < 2_000),
        }
    }
}

/// Any text as a `.sops.yaml`.
pub fn creation_rules(bytes: &[u8]) {
    let Ok(rules) = CreationRules::parse(bytes) else { return };
    for path in ["secrets/dev.yaml", ""] {
        if let Err(error) = rules.for_file(path) {
            assert!(error.to_string().len() < 2_000);
        }
    }
}
