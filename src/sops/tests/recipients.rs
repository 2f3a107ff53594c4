//! Who can open what we write: creation, key groups, recipients that come and go, entries that we do not know.

use jiff::Timestamp;

use super::editing::difference;
use super::exchange::{KeyPair, now};
use super::oracle::{Identity, Workplace, encrypt, encrypt_under};
use crate::sops::{
    AgeKeys, AgeRecipients, Creation, Editor, Encrypted, Error, Format, KeyGroups, KeySource, KeyWrapper, MasterKey,
    Path, Plain, Recipient, Value, Wrapped, update_keys,
};
use crate::value::SecretValue;

const PLAIN: &str = "a: secret\n";

fn plain(format: Format) -> Plain {
    let mut plain = Plain::new(format);
    let path = if format == Format::Ini { Path::key("s").then("a") } else { Path::key("a") };
    let path = if format == Format::Binary { Path::key("data") } else { path };
    plain.set(&path, Value::text(SecretValue::from("secret".to_owned()))).unwrap();
    plain
}

fn age(identity: &Identity) -> Recipient {
    Recipient::Age(identity.recipient.clone())
}

fn ring(identities: &[&Identity]) -> AgeKeys {
    let mut keys = AgeKeys::default();
    for identity in identities {
        keys.extend(identity.keys());
    }
    keys
}

fn people(count: usize) -> Vec<Identity> {
    (0..count).map(|_| Identity::generate()).collect()
}

#[tokio::test]
async fn shares_of_ours_open_with_sops_and_with_us_at_the_threshold() {
    let people = people(6);
    let groups: Vec<Vec<Recipient>> = people.chunks(2).map(|pair| pair.iter().map(age).collect()).collect();
    for format in Format::ALL {
        for (threshold, good, bad) in
            [(Some(2), vec![0, 3], vec![0, 1]), (None, vec![1, 3, 4], vec![0, 2]), (Some(3), vec![0, 2, 5], vec![4, 2])]
        {
            let keys = KeyGroups { groups: groups.clone(), threshold };
            let creation = Creation { keys, ..Creation::default() };
            let file = plain(format).encrypt(&creation, &AgeRecipients, now()).await.unwrap();
            let of = |which: &[usize]| -> Vec<&Identity> { which.iter().map(|index| &people[*index]).collect() };
            let secrets =
                |which: &[usize]| -> Vec<&str> { which.iter().map(|index| people[*index].secret.as_str()).collect() };
            Editor::open(format, &file, &ring(&of(&good))).await.unwrap();
            Workplace::new(format, &secrets(&good)).decrypt(&file).unwrap();
            let error = Editor::open(format, &file, &ring(&of(&bad))).await.err().unwrap();
            assert!(matches!(error, Error::NoMatchingKey { .. }), "{format}: {error}");
            assert!(Workplace::new(format, &secrets(&bad)).decrypt(&file).is_err(), "{format}");
        }
    }
}

#[tokio::test]
async fn groups_that_nobody_could_open_are_refused() {
    let one = age(&Identity::generate());
    for keys in [
        KeyGroups::default(),
        KeyGroups { groups: vec![vec![]], threshold: None },
        KeyGroups { groups: vec![vec![one.clone()], vec![]], threshold: None },
        KeyGroups { groups: vec![vec![one.clone()], vec![one.clone()]], threshold: Some(1) },
        KeyGroups { groups: vec![vec![one.clone()], vec![one.clone()]], threshold: Some(3) },
    ] {
        let creation = Creation { keys: keys.clone(), ..Creation::default() };
        let error = plain(Format::Yaml).encrypt(&creation, &AgeRecipients, now()).await.err().unwrap();
        assert!(matches!(error, Error::BadKeyGroups { .. }), "{keys:?}: {error}");
    }
    for bad in [
        "",
        "age1",
        "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvuq",
        "age1pq1qq",
        "age1yubikey1qq",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAI",
        "AGE-SECRET-KEY-1CANARY",
        "age-secret-key-1canary",
        "-----BEGIN OPENSSH PRIVATE KEY-----CANARY",
    ] {
        let creation =
            Creation { keys: KeyGroups::single(vec![Recipient::Age(bad.to_owned())]), ..Creation::default() };
        let error = plain(Format::Yaml).encrypt(&creation, &AgeRecipients, now()).await.err().unwrap();
        assert!(matches!(error, Error::BadRecipient { .. }), "{bad}: {error}");
        let said = format!("{error} {error:?}").to_ascii_lowercase();
        assert!(!said.contains("canary"), "a private half is not shown: {said}");
    }
}

#[tokio::test]
async fn recipients_come_and_go_without_a_change_of_values() {
    let people = people(3);
    for format in Format::ALL {
        let creation = Creation { keys: KeyGroups::single(vec![age(&people[0])]), ..Creation::default() };
        let file = plain(format).encrypt(&creation, &AgeRecipients, now()).await.unwrap();
        let change = async |file: &[u8], by: &Identity, to: &[&Identity]| {
            let groups = KeyGroups::single(to.iter().map(|identity| age(identity)).collect());
            update_keys(format, file, &by.keys(), &groups, &AgeRecipients, now()).await.unwrap()
        };
        assert!(change(&file, &people[0], &[&people[0]]).await.is_none(), "{format}: nothing to do");

        let (added, changes) = change(&file, &people[0], &[&people[0], &people[1]]).await.unwrap();
        assert_eq!((changes.added, changes.removed), (vec![age(&people[1])], vec![]));
        for person in &people[..2] {
            Workplace::new(format, &[&person.secret]).decrypt(&added).unwrap();
            Editor::open(format, &added, &person.keys()).await.unwrap();
        }
        let kept = |file: &[u8], what: &str| -> Vec<String> {
            let text = String::from_utf8(file.to_vec()).unwrap();
            text.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
        };
        for what in ["mac", "lastmodified"] {
            assert_eq!(kept(&file, what), kept(&added, what), "{format}");
        }

        let (removed, changes) = change(&added, &people[1], &[&people[2], &people[1]]).await.unwrap();
        assert_eq!((changes.added, changes.removed), (vec![age(&people[2])], vec![age(&people[0])]));
        assert!(Workplace::new(format, &[&people[0].secret]).decrypt(&removed).is_err());
        for person in &people[1..] {
            Workplace::new(format, &[&person.secret]).decrypt(&removed).unwrap();
        }
        assert_eq!(
            Encrypted::parse(format, &removed).unwrap().recipients(),
            [people[2].recipient.clone(), people[1].recipient.clone()]
        );
    }
}

#[tokio::test]
async fn a_file_of_sops_gains_and_loses_groups() {
    let people = people(4);
    let file = encrypt(&people[0], "", Format::Yaml, PLAIN);
    let groups = |count: usize, threshold| KeyGroups {
        groups: people[..count].iter().map(|person| vec![age(person)]).collect(),
        threshold,
    };
    let change = async |file: &[u8], by: &[&Identity], to: KeyGroups| {
        update_keys(Format::Yaml, file, &ring(by), &to, &AgeRecipients, now()).await.unwrap().unwrap()
    };
    let (shared, changes) = change(file.as_bytes(), &[&people[0]], groups(3, Some(2))).await;
    assert_eq!(changes.threshold, (1, 2));
    Workplace::new(Format::Yaml, &[&people[1].secret, &people[2].secret]).decrypt(&shared).unwrap();
    assert!(Workplace::new(Format::Yaml, &[&people[1].secret]).decrypt(&shared).is_err());
    // As many as before, where no number is named.
    let (wider, changes) = change(&shared, &[&people[1], &people[0]], groups(4, None)).await;
    assert_eq!(changes.threshold, (2, 2));
    Workplace::new(Format::Yaml, &[&people[3].secret, &people[2].secret]).decrypt(&wider).unwrap();
    let (single, changes) = change(&wider, &[&people[1], &people[2]], groups(1, None)).await;
    assert_eq!(changes.removed.len(), 3);
    let text = String::from_utf8(single.clone()).unwrap();
    assert!(!text.contains("key_groups") && !text.contains("shamir"), "{text}");
    Workplace::new(Format::Yaml, &[&people[0].secret]).decrypt(&single).unwrap();
}

const UNKNOWN: &str = "\
sops:
    a_future_field:
        nested: [1, two]
    pgp:
        - created_at: \"2024-01-01T00:00:00Z\"
          enc: |-
            -----BEGIN PGP MESSAGE-----
            kept as it is
            -----END PGP MESSAGE-----
          fp: 85D77543B3D624B63CEA9E6DBC17301B491B3F21
          a_future_detail: kept
";

#[tokio::test]
async fn pgp_keys_and_fields_of_later_versions_stay() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let pgp = Recipient::Pgp { fingerprint: "85d77543b3d624b63cea9e6dbc17301b491b3f21".to_owned() };
    let file = encrypt(&one, "", Format::Yaml, PLAIN).replace("sops:\n", UNKNOWN);
    let stays = |file: &[u8]| {
        let text = String::from_utf8(file.to_vec()).unwrap();
        for line in UNKNOWN.lines() {
            assert!(text.contains(line), "{line}\n{text}");
        }
    };
    let mut editor = Editor::open(Format::Yaml, file.as_bytes(), &one.keys()).await.unwrap();
    editor.set(&Path::key("b"), Value::integer(2)).unwrap();
    stays(&editor.save(now()).unwrap());

    let groups = KeyGroups::single(vec![age(&one), age(&two), pgp.clone()]);
    let (updated, changes) =
        update_keys(Format::Yaml, file.as_bytes(), &one.keys(), &groups, &AgeRecipients, now()).await.unwrap().unwrap();
    assert_eq!((changes.added, changes.removed), (vec![age(&two)], vec![]));
    stays(&updated);
    Workplace::new(Format::Yaml, &[&two.secret]).decrypt(&updated).unwrap();

    // A new data key cannot be encrypted to it, and a file without it is another matter.
    let mut editor = Editor::open(Format::Yaml, &updated, &two.keys()).await.unwrap();
    let error = editor.rotate(&AgeRecipients, now()).await.err().unwrap();
    assert!(matches!(&error, Error::BadRecipient { recipient, .. } if recipient.starts_with("85D7")), "{error}");
    assert_eq!(editor.save(now()).unwrap(), updated, "nothing has changed");
    let changes =
        editor.update_keys(&KeyGroups::single(vec![age(&two)]), &AgeRecipients, now()).await.unwrap().unwrap();
    assert_eq!(changes.removed.len(), 2);
    editor.rotate(&AgeRecipients, now()).await.unwrap();
    let rotated = editor.save(now()).unwrap();
    assert!(String::from_utf8(rotated.clone()).unwrap().contains("a_future_field"));
    Workplace::new(Format::Yaml, &[&two.secret]).decrypt(&rotated).unwrap();

    let unknown = file.replace("    pgp:\n", "    a_future_kms:\n        - enc: AQ==\n    pgp:\n");
    let mut editor = Editor::open(Format::Yaml, unknown.as_bytes(), &one.keys()).await.unwrap();
    assert!(matches!(editor.rotate(&AgeRecipients, now()).await, Err(Error::BadKeyGroups { .. })));
}

#[tokio::test]
async fn a_file_for_pgp_alone_says_why_it_stays_shut() {
    let one = Identity::generate();
    let file = encrypt(&one, "", Format::Yaml, PLAIN).replace("sops:\n", UNKNOWN);
    let (before, rest) = file.split_once("    age:\n").unwrap();
    let (_, after) = rest.split_once("    lastmodified").unwrap();
    let error = Editor::open(Format::Yaml, format!("{before}    lastmodified{after}").as_bytes(), &one.keys())
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, Error::UnsupportedKeys { recipients } if recipients.len() == 1), "{error}");
    assert!(error.to_string().contains("PGP"), "{error}");
}

/// A stand-in for a KMS: what it wraps is the key itself, turned around.
struct Mirror;

#[async_trait::async_trait]
impl KeyWrapper for Mirror {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, Error> {
        let recipient = match recipient {
            Recipient::Age(_) | Recipient::Pgp { .. } => return Ok(None),
            Recipient::AzureKeyVault { vault_url, name, version } if version.is_empty() => Recipient::AzureKeyVault {
                vault_url: vault_url.clone(),
                name: name.clone(),
                version: "newest".to_owned(),
            },
            other => other.clone(),
        };
        let encrypted = data_key.expose().iter().rev().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Wrapped { recipient, encrypted }))
    }
}

#[async_trait::async_trait]
impl KeySource for Mirror {
    fn names(&self) -> Vec<String> {
        vec!["mirror".to_owned()]
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        if matches!(master_key.recipient, Recipient::Age(_)) {
            return Ok(None);
        }
        let hex = master_key.encrypted.as_bytes();
        let bytes = hex.chunks(2).rev().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        Ok(Some(SecretValue::new(bytes.collect())))
    }
}

#[tokio::test]
async fn every_kind_of_key_is_written_as_sops_reads_it() {
    let identity = Identity::generate();
    let kms = crate::sops::AwsKmsKey {
        arn: "arn:aws:kms:eu-west-1:111122223333:key/one".to_owned(),
        role: Some("arn:aws:iam::111122223333:role/reader".to_owned()),
        context: [("App".to_owned(), "web".to_owned()), ("Env".to_owned(), "dev".to_owned())].into(),
        profile: None,
    };
    let recipients = vec![
        age(&identity),
        Recipient::AwsKms(kms),
        Recipient::GcpKms { resource_id: "projects/p/locations/global/keyRings/r/cryptoKeys/k".to_owned() },
        Recipient::AzureKeyVault {
            vault_url: "https://v.vault.azure.net".to_owned(),
            name: "k".to_owned(),
            version: String::new(),
        },
        Recipient::VaultTransit {
            address: "https://vault:8200".to_owned(),
            engine_path: "team/transit".to_owned(),
            key_name: "k".to_owned(),
        },
        Recipient::HuaweiKms { key_id: "region:uuid".to_owned() },
    ];
    let wrapper: Vec<Box<dyn KeyWrapper>> = vec![Box::new(AgeRecipients), Box::new(Mirror)];
    let source: Vec<Box<dyn KeySource>> = vec![Box::new(Identity::generate().keys()), Box::new(Mirror)];
    for format in Format::ALL {
        let creation = Creation { keys: KeyGroups::single(recipients.clone()), ..Creation::default() };
        let file = plain(format).encrypt(&creation, &wrapper, now()).await.unwrap();
        // `sops` reads the entries of all kinds before it opens the one that it has a key for.
        Workplace::new(format, &[&identity.secret]).decrypt(&file).unwrap();
        let read = Encrypted::parse(format, &file).unwrap().recipients();
        assert_eq!(read.len(), recipients.len(), "{format}: {read:?}");
        assert!(read.contains(&"https://v.vault.azure.net/keys/k/newest".to_owned()), "{read:?}");

        // Opened without age, and a new data key for all.
        let mut editor = Editor::open(format, &file, &source).await.unwrap();
        editor.rotate(&wrapper, now()).await.unwrap();
        let rotated = editor.save(now()).unwrap();
        Workplace::new(format, &[&identity.secret]).decrypt(&rotated).unwrap();
        assert_eq!(Encrypted::parse(format, &rotated).unwrap().recipients(), read);
        // Nobody wraps for them: the file stays as it was.
        let error = editor.rotate(&AgeRecipients, now()).await.err().unwrap();
        assert!(matches!(error, Error::BadRecipient { .. }), "{error}");
    }
}

#[tokio::test]
async fn identities_of_every_kind_stand_side_by_side() {
    let pairs = KeyPair::all();
    let mut keys = AgeKeys::default();
    for pair in &pairs {
        keys.extend(pair.keys());
    }
    assert_eq!(keys.recipients().count(), pairs.len());
    for pair in &pairs {
        let file = encrypt_under(&format!("age: {}", pair.recipient), Format::Yaml, PLAIN);
        Editor::open(Format::Yaml, file.as_bytes(), &keys).await.unwrap();
        let mut others = AgeKeys::default();
        for other in pairs.iter().filter(|other| other.recipient != pair.recipient) {
            others.extend(other.keys());
        }
        let error = Editor::open(Format::Yaml, file.as_bytes(), &others).await.err().unwrap();
        assert!(matches!(error, Error::NoMatchingKey { .. }), "{error}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    }
    for (text, what) in [
        (include_str!("ssh/passphrase.key"), "with a passphrase"),
        (include_str!("ssh/ecdsa.key"), "neither ed25519 nor RSA"),
    ] {
        let error = AgeKeys::parse("k", &SecretValue::from(text.to_owned())).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
    }
    let cut = &include_str!("ssh/rsa.key")[..900];
    for text in [cut.to_owned(), "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned() + &"A".repeat(100_000)] {
        let error = AgeKeys::parse("k", &SecretValue::from(text.clone())).err().unwrap();
        assert!(matches!(error, Error::InvalidIdentity { .. }), "{error}");
        assert!(!error.to_string().contains(&text[40..60]), "{error}");
    }
}

#[tokio::test]
async fn sops_adds_a_recipient_and_the_diff_is_the_same_as_ours() {
    let people = people(2);
    let file = encrypt(&people[0], "", Format::Yaml, PLAIN);
    let workplace = Workplace::new(Format::Yaml, &[&people[0].secret]);
    workplace.write_rules(&format!("creation_rules:\n  - age: {},{}\n", people[0].recipient, people[1].recipient));
    let theirs = workplace.change(file.as_bytes(), &["updatekeys", "--yes"]).unwrap();
    let groups = KeyGroups::single(people.iter().map(age).collect());
    let (ours, _) =
        update_keys(Format::Yaml, file.as_bytes(), &people[0].keys(), &groups, &AgeRecipients, Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
            .unwrap();
    // The same lines, apart from what is random.
    let about = |file: &[u8]| -> Vec<String> {
        let text = String::from_utf8(file.to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.contains(": ") || line.contains("-----"));
        lines.map(|line| line.split(": ENC").next().unwrap().to_owned()).collect()
    };
    assert_eq!(about(&ours), about(&theirs));
    // What was there stays to the byte, where `sops` encrypts to everyone anew.
    assert!(difference(&file, &String::from_utf8(ours).unwrap()).iter().all(|line| line.starts_with('+')));
}
