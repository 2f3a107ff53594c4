//! Keys of several kinds in one file: beside each other in one group, and in groups of which two are needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::sops::{
    AgeKeys, Creation, Editor, Error, Format, KeyGroups, KeySource, KeyWrapper, Path, Plain, Recipient, Value,
};
use atmos_secrets::value::SecretValue;

use super::exchange::Workplace;
use super::services::{self, Service};
use super::variables;
use crate::log;
use crate::suite::CANARY;

/// Somebody with an age identity.
struct Person {
    recipient: String,
    secret: String,
}

impl Person {
    fn new() -> Self {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        Self { recipient, secret: identity.to_string().expose_secret().to_owned() }
    }

    fn keys(&self) -> Box<dyn KeySource> {
        Box::new(AgeKeys::parse("a person", &SecretValue::from(self.secret.clone())).unwrap())
    }
}

fn wrappers(services: &[&Service]) -> Vec<Box<dyn KeyWrapper>> {
    services.iter().map(|service| Box::new(Arc::clone(&service.keys)) as Box<dyn KeyWrapper>).collect()
}

fn source(keys: &Arc<Keyring>) -> Box<dyn KeySource> {
    Box::new(Arc::clone(keys))
}

/// The variables of all; `order` is which keys `sops` tries first.
fn environment(services: &[&Service], order: &str, person: Option<&Person>) -> BTreeMap<String, String> {
    let mut all = variables(&[("SOPS_DECRYPTION_ORDER", order)]);
    all.extend(person.map(|person| ("SOPS_AGE_KEY".to_owned(), person.secret.clone())));
    all.extend(services.iter().flat_map(|service| service.environment.clone()));
    all
}

fn plain(format: Format) -> (Plain, Path) {
    let path = match format {
        Format::Yaml | Format::Json | Format::Dotenv => Path::key("PASSWORD"),
        Format::Ini => Path::key("section").then("PASSWORD"),
        Format::Binary => Path::key("data"),
    };
    let mut plain = Plain::new(format);
    plain.set(&path, Value::text(SecretValue::from(CANARY.to_owned()))).unwrap();
    (plain, path)
}

/// The file by us and by `sops`.
async fn files(format: Format, creation: &Creation, rule: &str, services: &[&Service]) -> [Vec<u8>; 2] {
    let (plain, _) = plain(format);
    let ours = plain.encrypt(creation, &wrappers(services), jiff::Timestamp::UNIX_EPOCH).await;
    let everything = environment(services, "age", None);
    let bytes = plain.to_file().unwrap();
    let theirs = Workplace::new(&everything).encrypt(rule, format, bytes.expose()).await;
    [ours.map_err(|error| error.to_string()).unwrap(), theirs]
}

async fn assert_opens(format: Format, file: &[u8], keys: Vec<Box<dyn KeySource>>) {
    let editor = Editor::open(format, file, &keys).await.map_err(|error| error.to_string()).unwrap();
    let value = editor.document().find(&plain(format).1).unwrap();
    assert!(value.equals(CANARY.as_bytes()), "{format}");
}

async fn assert_sops_opens(format: Format, file: &[u8], environment: &BTreeMap<String, String>) {
    let printed = Workplace::new(environment).decrypt(format, file).await;
    let printed = printed.unwrap_or_else(|said| panic!("{format}: {said}"));
    let printed = Plain::parse(format, &SecretValue::new(printed)).unwrap();
    assert!(printed.document().find(&plain(format).1).unwrap().equals(CANARY.as_bytes()), "{format}");
}

#[tokio::test]
async fn any_one_key_of_a_group_of_several_kinds_opens_the_file() {
    log::watch();
    let person = Person::new();
    let aws = services::aws_kms("group-aws").await;
    let transit = services::vault_transit("group-transit").await;
    let age = Recipient::Age(person.recipient.clone());
    let keys = KeyGroups::single(vec![age, aws.recipient.clone(), transit.recipient.clone()]);
    let creation = Creation { keys, ..Creation::default() };
    let rule = format!("age: {}\n{}\n{}", person.recipient, aws.rule, transit.rule);
    for format in Format::ALL {
        for file in files(format, &creation, &rule, &[&aws, &transit]).await {
            assert_opens(format, &file, vec![person.keys()]).await;
            assert_opens(format, &file, vec![source(&aws.keys)]).await;
            assert_opens(format, &file, vec![source(&transit.keys)]).await;
            assert_sops_opens(format, &file, &environment(&[], "age", Some(&person))).await;
            assert_sops_opens(format, &file, &environment(&[&aws], "kms", None)).await;
            assert_sops_opens(format, &file, &environment(&[&transit], "hc_vault", None)).await;
        }
    }
    log::assert_clean();
}

#[tokio::test]
async fn two_of_three_groups_of_several_kinds_open_the_file() {
    log::watch();
    let person = Person::new();
    let aws = services::aws_kms("groups-aws").await;
    let transit = services::vault_transit("groups-transit").await;
    let gcp = services::gcp_kms("groups-gcp").await;
    let (azure, _) = services::azure_keys().await;
    let age = Recipient::Age(person.recipient.clone());
    let groups = vec![
        vec![age, aws.recipient.clone()],
        vec![transit.recipient.clone()],
        vec![gcp.recipient.clone(), azure.recipient.clone()],
    ];
    let creation = Creation { keys: KeyGroups { groups, threshold: Some(2) }, ..Creation::default() };
    let listed = |services: &[&Service]| {
        let field = |service: &&Service| format!("    {}: [{}]\n", service.group.0, service.group.1);
        services.iter().map(field).collect::<String>()
    };
    let rule = format!(
        "shamir_threshold: 2\nkey_groups:\n  - age: [{}]\n{}  -\n{}  -\n{}",
        person.recipient,
        listed(&[&aws]),
        listed(&[&transit]),
        listed(&[&gcp, &azure])
    );
    let all = [&aws, &transit, &gcp, &azure];
    for format in Format::ALL {
        for file in files(format, &creation, &rule, &all).await {
            let pairs = [[&transit, &aws], [&gcp, &transit], [&aws, &azure]];
            for [one, other] in pairs {
                assert_opens(format, &file, vec![source(&one.keys), source(&other.keys)]).await;
            }
            assert_opens(format, &file, vec![person.keys(), source(&azure.keys)]).await;
            // Two keys of one group are one share.
            for keys in [vec![person.keys(), source(&aws.keys)], vec![source(&gcp.keys), source(&azure.keys)]] {
                let error = Editor::open(format, &file, &keys).await.err().unwrap();
                assert!(matches!(error, Error::NoMatchingKey { opened: 1, needed: 2, .. }), "{format}: {error}");
            }
            // `sops` asks for every share that it can get, however many are needed.
            let mut two = environment(&all, "age,hc_vault", Some(&person));
            two.extend(variables(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "none"), ("AZURE_CLIENT_SECRET", "none")]));
            assert_sops_opens(format, &file, &two).await;
            two.insert("VAULT_TOKEN".to_owned(), "none".to_owned());
            let refused = Workplace::new(&two).decrypt(format, &file).await;
            assert!(refused.is_err_and(|said| said.contains("data key")), "{format}: one share is not enough");
            assert_sops_opens(format, &file, &environment(&all, "kms,azure_kv,hc_vault,gcp_kms", None)).await;
        }
    }
    log::assert_clean();
}
