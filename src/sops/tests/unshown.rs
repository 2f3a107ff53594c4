//! What no message may show: the private half of a key where the public one belongs, and the text of a file as it stands.

use super::exchange::now;
use super::oracle::Identity;
use crate::sops::{
    AgeRecipients, AwsKmsKey, Creation, CreationRules, Encrypted, Error, Format, KeyGroups, Path, Plain, Recipient,
    Value,
};

/// Private halves of keys, each with what must not be seen of it.
fn private_halves() -> Vec<(String, String)> {
    let secret = Identity::generate().secret;
    let canary = secret[20..].to_owned();
    let ssh = include_str!("ssh/ed25519.key");
    vec![
        (secret.to_ascii_lowercase(), canary.to_ascii_lowercase()),
        (format!(" {secret}"), canary),
        (ssh.to_owned(), ssh.lines().nth(1).unwrap().to_owned()),
        ("-----BEGIN RSA PRIVATE KEY-----CANARY".to_owned(), "CANARY".to_owned()),
        ("AGE-PLUGIN-YUBIKEY-1CANARY".to_owned(), "CANARY".to_owned()),
        ("AGE-SECRET-KEY-PQ-1CANARY".to_owned(), "CANARY".to_owned()),
    ]
}

#[tokio::test]
async fn private_halves_in_the_place_of_recipients_are_never_shown() {
    for (private, canary) in private_halves() {
        let quoted = serde_json::to_string(&private).unwrap();
        let rules = format!("creation_rules: [{{age: [{quoted}], kms: [{quoted}], pgp: [{quoted}]}}]\n");
        let ruled = CreationRules::parse(rules.as_bytes()).unwrap().for_file("a.yaml").unwrap().unwrap();
        let file = format!(
            "a: b\nsops:\n  lastmodified: \"2024-01-02T03:04:05Z\"\n  age: [{{recipient: {quoted}, enc: x}}]\n  \
             kms: [{{arn: {quoted}, enc: x}}]\n  pgp: [{{fp: {quoted}, enc: x}}]\n"
        );
        let encrypted = Encrypted::parse(Format::Yaml, file.as_bytes()).unwrap();
        let error = encrypted.decrypt(&Identity::generate().keys()).await.err().unwrap();
        assert!(matches!(error, Error::NoMatchingKey { .. }), "{error}");
        let mut said = vec![
            format!("{ruled:?}"),
            format!("{error} {error:?} {:?} {:?}", encrypted.recipients(), encrypted.key_groups()),
        ];
        let kms = AwsKmsKey { arn: private.clone(), ..AwsKmsKey::default() };
        for recipient in [
            Recipient::Age(private.clone()),
            Recipient::AwsKms(kms),
            Recipient::GcpKms { resource_id: private.clone() },
            Recipient::HuaweiKms { key_id: private.clone() },
            Recipient::Pgp { fingerprint: private.clone() },
        ] {
            said.push(format!("{recipient} {recipient:?}"));
            let mut plain = Plain::new(Format::Yaml);
            plain.set(&Path::key("a"), Value::integer(1)).unwrap();
            let creation = Creation { keys: KeyGroups::single(vec![recipient]), ..Creation::default() };
            let error = plain.encrypt(&creation, &AgeRecipients, now()).await.err().unwrap();
            said.push(format!("{error} {error:?}"));
        }
        said.push(Recipient::Age(format!("age1x {private}")).to_string());
        for said in said {
            assert!(!said.contains(&canary), "{said}");
            assert!(said.contains("not shown"), "{said}");
        }
    }
}

#[test]
fn recipients_that_hold_nothing_private_are_shown_as_they_are() {
    for recipient in [
        Recipient::GcpKms { resource_id: "projects/age-secret-key-1/locations/l/keyRings/r/cryptoKeys/k".to_owned() },
        Recipient::VaultTransit {
            address: "https://vault:8200".to_owned(),
            engine_path: "transit".to_owned(),
            key_name: "private key".to_owned(),
        },
        Recipient::Age("age1yubikey1qq".to_owned()),
    ] {
        assert!(!recipient.to_string().contains("not shown"), "{recipient}");
    }
}

/// A name from the file that goes into a message is cut, and cannot begin a line of a log.
#[test]
fn names_of_fields_are_escaped_and_cut() {
    let long = "x".repeat(1_000);
    let forged = "x\\nlevel=error forged";
    let begin = "a: b\nsops:\n  lastmodified: \"2024-01-02T03:04:05Z\"\n";
    for name in [forged, &long] {
        for field in [
            format!("kms: [{{arn: a, context: {{\"{name}\": [1]}}}}]"),
            format!("key_groups: [{{kms: [{{arn: a, context: {{\"{name}\": {{}}}}}}]}}]"),
        ] {
            let error = Encrypted::parse(Format::Yaml, format!("{begin}  {field}\n").as_bytes()).err().unwrap();
            assert!(matches!(error, Error::BadMetadata { .. }), "{error}");
            let said = error.to_string();
            assert!(!said.contains('\n') && said.len() < 500, "{} characters: {said}", said.len());
        }
    }
}
