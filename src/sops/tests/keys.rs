//! Who can open a file: recipients, several identities, key groups, keys of other kinds, identities files.

use super::oracle::{Identity, decrypt, encrypt, encrypt_under, text};
use crate::sops::{AgeKeys, Encrypted, Error, Format, KeySource};
use crate::value::SecretValue;

const PLAIN: &str = "a: secret\n";

fn parse(name: &str, text: &str) -> Result<AgeKeys, Error> {
    AgeKeys::parse(name, &SecretValue::from(text.to_owned()))
}

/// The keys of all these identities together.
fn ring(identities: &[&Identity]) -> AgeKeys {
    let mut keys = AgeKeys::default();
    for identity in identities {
        keys.extend(identity.keys());
    }
    keys
}

async fn open(file: &str, keys: &AgeKeys) -> Result<String, Error> {
    let document = Encrypted::parse(Format::Yaml, file.as_bytes())?.decrypt(keys).await?;
    Ok(text(&document, "a").unwrap())
}

#[tokio::test]
async fn any_one_recipient_opens_a_file() {
    let (one, two, other) = (Identity::generate(), Identity::generate(), Identity::generate());
    let file = encrypt_under(&format!("age: {},{}", one.recipient, two.recipient), Format::Yaml, PLAIN);
    assert_eq!(open(&file, &ring(&[&one])).await.unwrap(), "secret");
    assert_eq!(open(&file, &ring(&[&two])).await.unwrap(), "secret");
    assert_eq!(open(&file, &ring(&[&other, &two])).await.unwrap(), "secret");
    let recipients = Encrypted::parse(Format::Yaml, file.as_bytes()).unwrap().recipients();
    assert_eq!(recipients, [one.recipient.clone(), two.recipient.clone()]);
}

#[tokio::test]
async fn the_wrong_key_is_told_with_recipients_and_names() {
    let (right, wrong) = (Identity::generate(), Identity::generate());
    let file = encrypt(&right, "", Format::Yaml, PLAIN);
    let error = open(&file, &wrong.keys()).await.unwrap_err();
    let Error::NoMatchingKey { recipients, held, opened: 0, needed: 1 } = &error else { panic!("{error}") };
    assert_eq!(recipients, std::slice::from_ref(&right.recipient));
    assert_eq!(held, &[format!("test key ({})", wrong.recipient)]);
    let said = error.to_string();
    assert!(said.contains(&right.recipient) && said.contains("test key") && !said.contains("AGE-SECRET-KEY"), "{said}");

    let error = open(&file, &AgeKeys::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("keys held: none"), "{error}");
}

#[tokio::test]
async fn key_groups_need_as_many_as_the_threshold_says() {
    let people: Vec<Identity> = (0..6).map(|_| Identity::generate()).collect();
    let groups = |threshold: &str| {
        let mut rule = format!("{threshold}key_groups:");
        for pair in people.chunks(2) {
            rule.push_str(&format!("\n  - age: [{}, {}]", pair[0].recipient, pair[1].recipient));
        }
        rule
    };
    let two_of_three = encrypt_under(&groups("shamir_threshold: 2\n"), Format::Yaml, PLAIN);
    for pair in [[0, 2], [1, 4], [5, 3], [4, 0]] {
        let keys = ring(&[&people[pair[0]], &people[pair[1]]]);
        assert_eq!(open(&two_of_three, &keys).await.unwrap(), "secret", "{pair:?}");
    }
    assert_eq!(open(&two_of_three, &ring(&people.iter().collect::<Vec<_>>())).await.unwrap(), "secret");
    for group in [[0, 1], [2, 3]] {
        let keys = ring(&[&people[group[0]], &people[group[1]]]);
        let error = open(&two_of_three, &keys).await.unwrap_err();
        assert!(matches!(error, Error::NoMatchingKey { opened: 1, needed: 2, .. }), "{error}");
        assert!(error.to_string().contains("1 of 2 needed key groups"), "{error}");
    }

    // Without a threshold all groups are needed.
    let all = encrypt_under(&groups(""), Format::Json, "{\"a\": \"secret\"}");
    let opened = |people: &[&Identity]| {
        let keys = ring(people);
        let encrypted = Encrypted::parse(Format::Json, all.as_bytes()).unwrap();
        async move { encrypted.decrypt(&keys).await.map(|document| text(&document, "a").unwrap()) }
    };
    assert_eq!(opened(&[&people[0], &people[3], &people[5]]).await.unwrap(), "secret");
    let error = opened(&[&people[0], &people[3]]).await.unwrap_err();
    assert!(matches!(error, Error::NoMatchingKey { opened: 2, needed: 3, .. }), "{error}");

    // One group is no sharing.
    let single = format!("key_groups:\n  - age: [{}]", people[0].recipient);
    let single = encrypt_under(&single, Format::Yaml, PLAIN);
    assert_eq!(open(&single, &people[0].keys()).await.unwrap(), "secret");
}

#[tokio::test]
async fn a_threshold_lowered_by_hand_opens_nothing() {
    let people: Vec<Identity> = (0..3).map(|_| Identity::generate()).collect();
    let mut rule = "shamir_threshold: 3\nkey_groups:".to_owned();
    for person in &people {
        rule.push_str(&format!("\n  - age: [{}]", person.recipient));
    }
    let file = encrypt_under(&rule, Format::Yaml, PLAIN).replace("shamir_threshold: 3", "shamir_threshold: 2");
    let error = open(&file, &ring(&[&people[0], &people[1]])).await.unwrap_err();
    assert!(matches!(error, Error::DecryptFailed { .. }), "{error}");
    let file = file.replace("shamir_threshold: 2", "shamir_threshold: 9");
    assert!(matches!(open(&file, &ring(&[&people[0]])).await, Err(Error::BadMetadata { .. })));
}

#[tokio::test]
async fn keys_of_other_kinds_are_named_and_passed_over() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, PLAIN);
    let others = "\
sops:
    kms:
        - arn: arn:aws:kms:eu-west-1:111122223333:key/one
          created_at: \"2024-01-01T00:00:00Z\"
          enc: AQ==
          aws_profile: \"\"
    gcp_kms:
        - resource_id: projects/p/locations/global/keyRings/r/cryptoKeys/k
          enc: AQ==
    azure_kv:
        - vault_url: https://v.vault.azure.net
          name: k
          version: \"12\"
          enc: AQ
    hc_vault:
        - vault_address: https://vault:8200
          engine_path: transit
          key_name: k
          enc: vault:v1:AQ==
    hckms: []
    pgp:
        - fp: 85D77543B3D624B63CEA9E6DBC17301B491B3F21
          enc: |
            -----BEGIN PGP MESSAGE-----
";
    let file = file.replace("sops:\n", others);
    assert_eq!(open(&file, &identity.keys()).await.unwrap(), "secret");
    let expected = [
        identity.recipient.as_str(),
        "arn:aws:kms:eu-west-1:111122223333:key/one",
        "projects/p/locations/global/keyRings/r/cryptoKeys/k",
        "https://v.vault.azure.net/keys/k/12",
        "https://vault:8200/v1/transit/keys/k",
        "85D77543B3D624B63CEA9E6DBC17301B491B3F21",
    ];
    assert_eq!(Encrypted::parse(Format::Yaml, file.as_bytes()).unwrap().recipients(), expected);
    let error = open(&file, &Identity::generate().keys()).await.unwrap_err();
    for recipient in expected {
        assert!(error.to_string().contains(recipient), "{error}");
    }
}

#[tokio::test]
async fn lists_that_are_null_as_older_versions_wrote_them_are_empty() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, PLAIN);
    let file =
        file.replace("sops:\n", "sops:\n    kms: null\n    gcp_kms: []\n    pgp: ~\n    unknown_field: {a: [1]}\n");
    assert_eq!(open(&file, &identity.keys()).await.unwrap(), "secret");
}

#[tokio::test]
async fn a_damaged_data_key_is_told_from_a_missing_one() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let file = encrypt(&one, "", Format::Yaml, PLAIN);
    let renamed = file.replace(&one.recipient, &two.recipient);
    let error = open(&renamed, &two.keys()).await.unwrap_err();
    assert!(matches!(error, Error::DamagedDataKey { .. }), "{error}");
    for damaged in [file.replace("-----END AGE", "-----END AGF"), file.replace("YWdl", "YWdm")] {
        assert_ne!(damaged, file);
        let error = open(&damaged, &one.keys()).await.unwrap_err();
        assert!(matches!(error, Error::DamagedDataKey { .. }), "{error}");
    }
    // Another entry that opens makes up for it.
    let both = encrypt_under(&format!("age: {},{}", one.recipient, two.recipient), Format::Yaml, PLAIN);
    let damaged = both.replacen("-----END AGE", "-----END AGF", 1);
    assert_eq!(open(&damaged, &ring(&[&one, &two])).await.unwrap(), "secret");
}

#[tokio::test]
async fn identities_files_have_comments_empty_lines_and_several_keys() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let written = format!("# created: today\r\n\r\n  {}  \r\n#\n\n{}", one.secret, two.secret);
    let keys = parse("keys.txt", &written).unwrap();
    assert_eq!(keys.recipients().collect::<Vec<_>>(), [&one.recipient, &two.recipient]);
    assert_eq!(keys.names(), [format!("keys.txt ({})", one.recipient), format!("keys.txt ({})", two.recipient)]);
    let file = encrypt(&two, "", Format::Yaml, PLAIN);
    assert_eq!(open(&file, &keys).await.unwrap(), "secret");
    // Bech32 may be written in capitals.
    let capitals = file.replace(&two.recipient, &two.recipient.to_ascii_uppercase());
    assert_eq!(open(&capitals, &keys).await.unwrap(), "secret");
    assert!(decrypt(&two, Format::Yaml, &file).await.is_ok());
}

#[test]
fn what_is_no_identity_is_told_by_line_and_never_shown() {
    let identity = Identity::generate();
    let good = &identity.secret;
    let mut cut = good.clone();
    cut.pop();
    let mut changed = good.clone();
    changed.replace_range(30..31, if &good[30..31] == "Q" { "P" } else { "Q" });
    let joined = format!("{good}{good}");
    for bad in [cut.as_str(), &changed, &joined, "canary", &identity.recipient, "\"AGE-SECRET-KEY-1\""] {
        let error = parse("store/key", &format!("# first\n{good}\n{bad}\n")).err().unwrap();
        assert!(matches!(&error, Error::InvalidIdentity { name, line: 3 } if name == "store/key"), "{error}");
        assert!(!error.to_string().contains(bad) && !error.to_string().contains(&good[16..]), "{error}");
        assert!(!format!("{error:?}").contains(bad), "{error:?}");
    }
    let error = AgeKeys::parse("raw", &SecretValue::new(b"\xff\xfe\n".to_vec())).err().unwrap();
    assert!(matches!(error, Error::InvalidIdentity { line: 1, .. }), "{error}");
    for empty in ["", "\n\n", "# only a comment"] {
        assert!(matches!(parse("k", empty).err().unwrap(), Error::NoIdentity { .. }));
    }
    for kind in [
        "AGE-PLUGIN-YUBIKEY-1QQ",
        "AGE-SECRET-KEY-PQ-1QQ",
        "-----BEGIN AGE ENCRYPTED FILE-----",
        "# first\n-----BEGIN OPENSSH PRIVATE KEY-----",
    ] {
        let error = parse("k", kind).err().unwrap();
        assert!(matches!(error, Error::UnsupportedIdentity { line: 1 | 2, .. }), "{error}");
    }
}
