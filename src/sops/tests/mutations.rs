//! The properties of the fuzz targets, on good files that are changed at random but the same way every time.

use super::exchange::sample;
use super::oracle::{Identity, encrypt_bytes_under};
use crate::sops::{CreationRules, Encrypted, Format, Plain};
use crate::value::SecretValue;

#[path = "../../../fuzz/properties.rs"]
pub(super) mod properties;

/// A small generator whose numbers are the same in every run (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below.max(1)
    }
}

/// Pieces that mean something to one parser or another.
const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\t",
    " ",
    ":",
    ": ",
    "-",
    "- ",
    "? ",
    "#",
    ";",
    "=",
    "\"",
    "'",
    "`",
    "\"\"\"",
    "\\",
    "\\n",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!!binary ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "<<: ",
    "%TAG ! x\n",
    "null",
    "\0",
    "\u{feff}",
    "\u{2028}",
    "ENC[",
    "sops:\n",
    "sops_",
    "__list_0",
    "__map_x",
    "[sops]\n",
    "1e999",
    "0x",
    "9223372036854775808",
    "2024-01-02",
];

fn mutated(numbers: &mut Numbers, good: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=numbers.next(4) {
        let place = numbers.next(bytes.len() + 1);
        let end = (place + numbers.next(40)).min(bytes.len());
        match numbers.next(6) {
            0 => drop(bytes.drain(place..end)),
            1 => {
                let piece = PIECES[numbers.next(PIECES.len())].bytes();
                drop(bytes.splice(place..place, piece));
            }
            2 => {
                let copy = bytes[place..end].to_vec();
                let to = numbers.next(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            3 => {
                let from = numbers.next(other.len());
                let until = (from + numbers.next(80)).min(other.len());
                drop(bytes.splice(place..end, other[from..until].iter().copied()));
            }
            4 => bytes.truncate(place),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = u8::try_from(numbers.next(256)).unwrap();
                }
            }
        }
    }
    bytes
}

fn corpus(format: Format, identity: &Identity) -> Vec<Vec<u8>> {
    let plain = sample(format);
    let rule = format!("age: {}", identity.recipient);
    let clear = format!("{rule}\nencrypted_regex: ^nothing$");
    vec![encrypt_bytes_under(&rule, format, &plain), encrypt_bytes_under(&clear, format, &plain), plain]
}

#[test]
fn mutated_files_keep_the_properties_of_the_fuzz_targets() {
    let identity = Identity::generate();
    let mut numbers = Numbers(0x5e_ed0f_5095);
    for format in Format::ALL {
        let corpus = corpus(format, &identity);
        for good in &corpus {
            properties::file(format, good);
        }
        for round in 0..400 {
            let (good, other) = (&corpus[round % corpus.len()], &corpus[numbers.next(corpus.len())]);
            let bytes = mutated(&mut numbers, good, other);
            let said = std::panic::catch_unwind(|| properties::file(format, &bytes));
            assert!(said.is_ok(), "{format}, round {round}:\n{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn mutated_metadata_keep_the_properties_of_the_fuzz_targets() {
    let good = b"age:\n    - recipient: age1x\n      enc: |\n        armored\nkms:\n    - arn: arn:aws:kms:x\n      context: {a: b}\n      created_at: \"2024-01-01T00:00:00Z\"\nshamir_threshold: 2\nkey_groups:\n    - pgp:\n        - {fp: AB, enc: x}\n    - age: []\nencrypted_regex: ^a$\nmac_only_encrypted: true\nversion: 3.13.3\n";
    let flat = b"age__list_0__map_recipient=age1x\nage__list_0__map_enc=x\nkms__list_0__map_context__map_a=b\nkey_groups__list_1__map_pgp__list_0__map_fp=AB\nshamir_threshold=2\n";
    let rules = b"x: &x {age: [a, b]}\ncreation_rules:\n  - path_regex: ^secrets/.*\\.yaml$\n    shamir_threshold: 2\n    key_groups:\n      - *x\n      - merge: [*x]\n        kms: [{arn: a, role: b, context: {c: d}}]\n  - <<: *x\n    encrypted_regex: ^a$\n";
    let mut numbers = Numbers(0xf1a7);
    for _ in 0..1_000 {
        properties::metadata(&mutated(&mut numbers, good, flat));
        properties::metadata(&mutated(&mut numbers, flat, good));
        properties::creation_rules(&mutated(&mut numbers, rules, good));
    }
}
