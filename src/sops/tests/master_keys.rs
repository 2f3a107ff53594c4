//! The lists of master keys: thresholds that mean nothing, lists made to cost calls, identities of which some are unknown.

use std::sync::Mutex;

use super::exchange::now;
use super::oracle::{Identity, Workplace, encrypt, encrypt_under};
use crate::sops::{
    AgeKeys, AgeRecipients, Editor, Encrypted, Error, Format, KeyGroups, KeySource, MasterKey, Path, Recipient, Value,
    update_keys,
};
use crate::value::SecretValue;

const PLAIN: &str = "a: secret\n";

/// `sops` copies the threshold of a rule into the file whatever the number of groups, and reads it where there are several.
#[tokio::test]
async fn a_threshold_beside_one_group_means_nothing() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let keys = |people: &[&Identity]| {
        KeyGroups::single(people.iter().map(|person| Recipient::Age(person.recipient.clone())).collect())
    };
    for rule in [
        format!("shamir_threshold: 2\nage: {}", one.recipient),
        format!("shamir_threshold: 3\nkey_groups:\n  - age: [{}]", one.recipient),
    ] {
        let file = encrypt_under(&rule, Format::Yaml, PLAIN);
        assert!(file.contains("shamir_threshold: "), "{file}");
        let workplace = Workplace::new(Format::Yaml, &[&one.secret]);
        workplace.decrypt(file.as_bytes()).unwrap();

        let mut editor = Editor::open(Format::Yaml, file.as_bytes(), &one.keys()).await.unwrap();
        editor.set(&Path::key("b"), Value::integer(2)).unwrap();
        workplace.decrypt(&editor.save(now()).unwrap()).unwrap();
        editor.rotate(&AgeRecipients, now()).await.unwrap();
        workplace.decrypt(&editor.save(now()).unwrap()).unwrap();

        let change = async |groups: KeyGroups| {
            update_keys(Format::Yaml, file.as_bytes(), &one.keys(), &groups, &AgeRecipients, now()).await.unwrap()
        };
        assert!(change(keys(&[&one])).await.is_none(), "nothing to do: {rule}");
        let (added, changes) = change(keys(&[&one, &two])).await.unwrap();
        assert_eq!(changes.threshold, (1, 1));
        Workplace::new(Format::Yaml, &[&two.secret]).decrypt(&added).unwrap();
        let groups = KeyGroups { groups: [keys(&[&one]).groups, keys(&[&two]).groups].concat(), threshold: None };
        let (shared, changes) = change(groups).await.unwrap();
        assert_eq!(changes.threshold, (1, 2));
        Workplace::new(Format::Yaml, &[&one.secret, &two.secret]).decrypt(&shared).unwrap();
    }
}

/// A service that fails for every key but one, and remembers what it was asked.
#[derive(Default)]
struct Service {
    asked: Mutex<Vec<String>>,
}

impl Service {
    async fn asked_for(file: &str) -> (Vec<String>, Error) {
        let service = Self::default();
        let encrypted = Encrypted::parse(Format::Yaml, file.as_bytes()).unwrap();
        let error = encrypted.decrypt(&service).await.err().unwrap();
        (service.asked.into_inner().unwrap(), error)
    }
}

#[async_trait::async_trait]
impl KeySource for Service {
    fn names(&self) -> Vec<String> {
        vec!["service".to_owned()]
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, Error> {
        let name = master_key.recipient.to_string();
        self.asked.lock().unwrap().push(name.clone());
        match name.as_str() {
            "foreign" => Ok(None),
            "good" => Ok(Some(SecretValue::new(vec![7; 33]))),
            _ => Err(Error::KeyService { recipient: name, source: "denied".into() }),
        }
    }
}

fn file(lists: &str) -> String {
    format!("a: b\nsops:\n  lastmodified: \"2024-01-02T03:04:05Z\"\n  mac: x\n{lists}")
}

fn keys(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("{{arn: {name}, enc: x}}")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_list_made_to_cost_calls_costs_few() {
    let same = keys((0..1_000).map(|_| "same".to_owned()));
    let (asked, error) = Service::asked_for(&file(&format!("  kms: [{same}]\n"))).await;
    assert_eq!(asked, ["same"], "who failed once fails again");
    assert!(matches!(error, Error::KeyService { .. }), "{error}");

    let distinct = keys((0..1_000).map(|number| format!("key{number}")));
    let (asked, error) = Service::asked_for(&file(&format!("  kms: [{distinct}]\n"))).await;
    assert_eq!(asked.len(), 50);
    assert!(matches!(error, Error::KeyService { .. }), "{error}");

    let groups: String =
        (0..255).map(|_| format!("    - kms: [{}]\n", keys(["same".to_owned()].into_iter()))).collect();
    let (asked, _) = Service::asked_for(&file(&format!("  key_groups:\n{groups}"))).await;
    assert_eq!(asked.len(), 50);
}

#[tokio::test]
async fn keys_that_are_not_held_cost_nothing_and_do_not_count() {
    let foreign = keys((0..900).map(|_| "foreign".to_owned()).chain(["good".to_owned()]));
    let (asked, error) = Service::asked_for(&file(&format!("  kms: [{foreign}]\n"))).await;
    assert_eq!(asked.last().unwrap(), "good");
    assert!(matches!(error, Error::BadMetadata { .. }), "a share instead of a key: {error}");
    // Failed in one group, the same key may open another one.
    let groups = format!(
        "  key_groups:\n    - kms: [{0}]\n    - kms: [{0}]\n  shamir_threshold: 2\n",
        keys(["bad".to_owned(), "good".to_owned()].into_iter())
    );
    let (asked, _) = Service::asked_for(&file(&groups)).await;
    assert_eq!(asked, ["bad", "good", "bad", "good"]);
}

#[tokio::test]
async fn identities_of_other_kinds_leave_the_others_good() {
    let (one, two, other) = (Identity::generate(), Identity::generate(), Identity::generate());
    let plugin = "AGE-PLUGIN-YUBIKEY-1CANARY";
    let text = format!("{}\n# a token\n{plugin}\nAGE-SECRET-KEY-PQ-1CANARY\n{}\n", one.secret, two.secret);
    let keys = AgeKeys::parse("store/key", &SecretValue::from(text)).unwrap();
    assert_eq!(keys.recipients().collect::<Vec<_>>(), [&one.recipient, &two.recipient]);
    for identity in [&one, &two] {
        let file = encrypt(identity, "", Format::Yaml, PLAIN);
        assert!(Editor::open(Format::Yaml, file.as_bytes(), &keys).await.is_ok());
    }
    let file = encrypt(&other, "", Format::Yaml, PLAIN);
    let error = Editor::open(Format::Yaml, file.as_bytes(), &keys).await.err().unwrap();
    let said = format!("{error} {error:?}");
    assert!(said.contains("store/key line 3 (the identity of an age plugin, not supported)"), "{said}");
    assert!(said.contains("store/key line 4 (a post-quantum identity, not supported)"), "{said}");
    assert!(!said.contains("CANARY"), "{said}");
}
