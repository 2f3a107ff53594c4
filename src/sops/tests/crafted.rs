//! What `sops` 3.13 reads but no longer writes, or what other writers of the format write: files put together by hand, by
//! the format's description.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes256;
use aes_gcm::{Aes256Gcm, AesGcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha512};

use super::oracle::{Identity, bytes, decrypt, text};
use crate::sops::{Error, Format};

const DATA_KEY: [u8; 32] = [7; 32];
const MODIFIED: &str = "2024-01-02T03:04:05Z";

/// Seals one text. A nonce of 12 bytes is what older writers used.
fn seal(nonce_bytes: usize, plain: &[u8], kind: &str, additional_data: &str) -> String {
    let mut data = plain.to_vec();
    let nonce = vec![9; nonce_bytes];
    let buffer = InOutBuf::from(data.as_mut_slice());
    let additional_data = additional_data.as_bytes();
    let tag = if nonce_bytes == 12 {
        let cipher = Aes256Gcm::new_from_slice(&DATA_KEY).unwrap();
        cipher.encrypt_inout_detached(&Nonce::try_from(&nonce[..]).unwrap(), additional_data, buffer).unwrap()
    } else {
        let cipher = AesGcm::<Aes256, aes_gcm::aead::consts::U32>::new_from_slice(&DATA_KEY).unwrap();
        cipher.encrypt_inout_detached(&Nonce::try_from(&nonce[..]).unwrap(), additional_data, buffer).unwrap()
    };
    let [data, nonce, tag] = [&data[..], &nonce, &tag].map(|part| STANDARD.encode(part));
    format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]")
}

/// A file with these lines of YAML, whose MAC is over `plain`.
fn file(identity: &Identity, data_key: &[u8], lines: &str, plain: &str) -> String {
    let recipient: age::x25519::Recipient = identity.recipient.parse().unwrap();
    let armored = age::encrypt_and_armor(&recipient, data_key).unwrap().replace('\n', "\n        ");
    let mac: String = Sha512::digest(plain).iter().map(|byte| format!("{byte:02X}")).collect();
    let mac = seal(32, mac.as_bytes(), "str", MODIFIED);
    format!(
        "{lines}sops:\n  age:\n    - recipient: {}\n      enc: |\n        {armored}\n  lastmodified: \"{MODIFIED}\"\n  mac: {mac}\n  version: 3.0.0\n",
        identity.recipient
    )
}

async fn reads_as(lines: &str, plain: &str, expected: &[u8]) {
    let identity = Identity::generate();
    let file = file(&identity, &DATA_KEY, lines, plain);
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap_or_else(|error| panic!("{error}\n{file}"));
    assert_eq!(bytes(&document, "a").unwrap(), expected, "{lines}");
}

/// The nonce's length, the sealed text and its type, what the MAC is over, what a reader gets.
type Case = (usize, &'static [u8], &'static str, &'static str, &'static [u8]);

#[tokio::test]
async fn short_initialisation_vectors_and_rare_types_are_read() {
    let huge = "123456789012345678901234567890";
    let cases: &[Case] = &[
        (12, b"older", "str", "older", b"older"),
        (32, b"raw\0bytes", "bytes", "raw\0bytes", b"raw\0bytes"),
        (32, huge.as_bytes(), "int", huge, huge.as_bytes()),
        (32, b"+007", "int", "7", b"7"),
        (32, b"1.50", "float", "1.5", b"1.5"),
        (32, b"TRUE", "bool", "True", b"true"),
        (32, b"0", "bool", "False", b"false"),
        (32, b"2024-01-02T03:04:05.100+00:00", "time", "2024-01-02T03:04:05.1Z", b"2024-01-02T03:04:05.1Z"),
    ];
    for (nonce_bytes, written, kind, plain, expected) in cases {
        reads_as(&format!("a: {}\n", seal(*nonce_bytes, written, kind, "a:")), plain, expected).await;
    }
    let raw = seal(32, b"\xff\0", "bytes", "a:");
    let identity = Identity::generate();
    // The MAC is over bytes that are no text here, so it cannot be right: only the value itself is looked at.
    let error =
        decrypt(&identity, Format::Yaml, &file(&identity, &DATA_KEY, &format!("a: {raw}\n"), "")).await.err().unwrap();
    assert!(matches!(error, Error::MacMismatch), "{error}");
    reads_as(&format!("a: ['{}']\n", seal(32, b"raw", "bytes", "a:")), "raw", br#"["cmF3"]"#).await;
}

#[tokio::test]
async fn what_is_not_of_its_type_is_refused() {
    let identity = Identity::generate();
    for (plain, kind) in
        [("x", "int"), ("", "int"), ("1e5", "int"), ("x", "float"), ("inf", "float"), ("yes", "bool"), ("now", "time")]
    {
        let lines = format!("a: {}\n", seal(32, plain.as_bytes(), kind, "a:"));
        let error = decrypt(&identity, Format::Yaml, &file(&identity, &DATA_KEY, &lines, plain)).await.err().unwrap();
        assert!(matches!(error, Error::DecryptFailed { .. }), "{plain} as {kind}: {error}");
    }
}

#[tokio::test]
async fn keys_that_are_numbers_are_read_by_their_text() {
    let lines = format!("a:\n  1: {}\n  0x2: {}\n", seal(32, b"x", "str", "a:1:"), seal(32, b"y", "str", "a:2:"));
    reads_as(&lines, "xy", br#"{"1":"x","2":"y"}"#).await;
}

#[tokio::test]
async fn comments_sealed_as_text_are_part_of_the_mac() {
    let lines = format!("#{}\na: {}\n", seal(32, b"note", "str", ":"), seal(32, b"x", "str", "a:"));
    reads_as(&lines, "notex", b"x").await;
    let lines = format!("a:\n  #{}\n  b: {}\n", seal(32, b"note", "str", "a:"), seal(32, b"x", "str", "a:b:"));
    reads_as(&lines, "notex", br#"{"b":"x"}"#).await;
    let lines = format!("#{}\na: {}\n", seal(32, b"note", "comment", ":"), seal(32, b"x", "str", "a:"));
    reads_as(&lines, "x", b"x").await;
}

#[tokio::test]
async fn aliases_are_expanded_under_the_path_of_their_anchor_only() {
    let lines = format!("l: [&x '{0}', *x]\na: {1}\n", seal(32, b"1", "int", "l:"), seal(32, b"x", "str", "a:"));
    reads_as(&lines, "11x", b"x").await;
    let identity = Identity::generate();
    let lines = format!("a: &x {}\nb: *x\n", seal(32, b"1", "int", "a:"));
    let error = decrypt(&identity, Format::Yaml, &file(&identity, &DATA_KEY, &lines, "11")).await.err().unwrap();
    assert!(matches!(&error, Error::DecryptFailed { path, .. } if path == "b"), "{error}");
}

#[tokio::test]
async fn data_keys_of_another_length_are_refused() {
    let identity = Identity::generate();
    for length in [0, 16, 31, 33, 65] {
        let file = file(&identity, &vec![7; length], &format!("a: {}\n", seal(32, b"x", "str", "a:")), "x");
        let error = decrypt(&identity, Format::Yaml, &file).await.err().unwrap();
        assert!(matches!(error, Error::BadMetadata { .. }), "{length}: {error}");
    }
}

#[tokio::test]
async fn an_old_file_without_a_rule_takes_the_default_one() {
    let lines = format!("a: {}\nb_unencrypted: open\n", seal(32, b"x", "str", "a:"));
    let identity = Identity::generate();
    let document = decrypt(&identity, Format::Yaml, &file(&identity, &DATA_KEY, &lines, "xopen")).await.unwrap();
    assert_eq!(text(&document, "b_unencrypted").unwrap(), "open");
}
