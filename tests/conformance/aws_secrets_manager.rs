//! The `awsSecretsManager` driver on moto.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::{AwsSecretsManager as Spec, Encoding, TagValue};
use atmos_secrets::backend::aws_secrets_manager::{self, AwsSecretsManager};
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::{Backend, DeleteMode, Error, ErrorKind, Key, Precondition, Versioned};
use atmos_secrets::value::SecretValue;
use e2e::{Fault, FaultProxy, Matching};
use serde_json::{Value, json};

use crate::aws::{self, Aws, REGION, auth, refusal, target};
use crate::kubernetes::base64;
use crate::log;
use crate::suite::{self, CANARY, Subject, kind, only};

struct Store {
    aws: Aws,
    backend: Arc<AwsSecretsManager>,
    prefix: String,
    reads: e2e::fault_proxy::Injected,
    broken: Vec<(&'static str, FaultProxy, ErrorKind)>,
}

fn spec(endpoint: &str) -> Spec {
    Spec { region: REGION.into(), endpoint: Some(endpoint.into()), auth: Some(auth("aws")), ..Spec::default() }
}

async fn connect(aws: &Aws, spec: &Spec, encoding: Encoding) -> AwsSecretsManager {
    aws_secrets_manager::connect(spec, &aws.around(encoding)).await.unwrap()
}

async fn read(backend: &AwsSecretsManager, name: &str, version: Option<&str>) -> Result<Versioned, Error> {
    only(backend.read(&[Key { name: name.into(), version: version.map(str::to_owned) }]).await)
}

/// As Atmos writes: documents as they are, other texts as JSON string literals.
async fn store(aws: &Aws, name: &str, bytes: &[u8]) {
    let (field, value) = match std::str::from_utf8(bytes) {
        Ok(text) => ("SecretString", json!(text).to_string()),
        Err(_) => ("SecretBinary", base64(bytes)),
    };
    store_raw(aws, name, field, &value).await;
}

async fn store_raw(aws: &Aws, name: &str, field: &str, value: &str) {
    let put = json!({"SecretId": name, field: value});
    if aws.call("secretsmanager.PutSecretValue", put).await.is_err() {
        aws.call("secretsmanager.CreateSecret", json!({"Name": name, field: value})).await.unwrap();
    }
}

async fn stored(aws: &Aws, name: &str) -> Value {
    aws.call("secretsmanager.GetSecretValue", json!({"SecretId": name, "VersionStage": "AWSCURRENT"})).await.unwrap()
}

impl Store {
    async fn new(prefix: &str) -> Self {
        let aws = Aws::new(prefix).await;
        let backend = Arc::new(connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await);
        let reads = aws.count("GetSecretValue");
        let mut broken = Vec::new();
        for (how, fault, kind) in aws::faults() {
            let proxy = FaultProxy::to_http(aws.moto.url()).await.unwrap();
            proxy.inject(fault, Matching::any());
            broken.push((how, proxy, kind));
        }
        let prefix = format!("conformance/{}", aws.cluster.namespace);
        Self { aws, backend, prefix, reads, broken }
    }
}

#[async_trait]
impl Subject for Store {
    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    fn key(&self, name: &str) -> Key {
        Key::current(format!("{}/{name}", self.prefix))
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        for (name, bytes) in values {
            store(&self.aws, &self.key(name).name, bytes).await;
        }
    }

    async fn unset(&self, name: &str) {
        let purge = json!({"SecretId": self.key(name).name, "ForceDeleteWithoutRecovery": true});
        self.aws.call("secretsmanager.DeleteSecret", purge).await.unwrap();
    }

    fn holds_binary(&self) -> bool {
        true
    }

    fn largest(&self) -> usize {
        // Two bytes are the quotes of Atmos.
        65_536 - 2
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a.b-c_d", "-", "+=@", "deep/er/still", ".hidden", "9", "ends-abcdef"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        let long = "x".repeat(513);
        [
            "",
            "a b",
            "a:b",
            "a#b",
            "a\n",
            "ü",
            &long,
            "arn:aws:ssm:x",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a",
        ]
        .map(Key::current)
        .to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let mut failing: Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> = Vec::new();
        for (how, proxy, kind) in &self.broken {
            failing.push((how, Arc::new(connect(&self.aws, &spec(&proxy.url()), Encoding::Atmos).await), *kind));
        }
        let nobody = connect(&self.aws, &spec("http://127.0.0.1:1"), Encoding::Atmos).await;
        failing.push(("nobody there", Arc::new(nobody), ErrorKind::Unavailable));
        let (_, silent, _) = &self.broken[0];
        silent.clear();
        silent.inject(Fault::Stall, Matching::any());
        let silent = Arc::new(connect(&self.aws, &spec(&silent.url()), Encoding::Atmos).await);
        let limit = Duration::from_millis(300);
        let late =
            Guarded::new(silent, "Store/app".into(), limit, Arc::new(|_: Operation, _: &'static str, _: Duration| {}));
        failing.remove(0);
        failing.push(("silence", Arc::new(late), ErrorKind::Timeout));
        failing
    }

    fn value_reads(&self) -> Option<usize> {
        Some(self.reads.hits())
    }
}

#[tokio::test]
async fn secrets_manager_keeps_the_guarantees() {
    suite::run(&Store::new("asm").await).await;
}

/// The forms of atmos-spec: what Atmos stored is read right, and what we write is that form, byte for byte.
#[tokio::test]
async fn values_are_those_of_atmos() {
    log::watch();
    let aws = Aws::new("asm-atmos").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let raw = connect(&aws, &spec(&aws.proxy.url()), Encoding::Raw).await;
    let name = format!("atmos/{}/K", aws.cluster.namespace);
    for (stored, text) in [
        (r#""abc""#, "abc"),
        (r#""""#, ""),
        ("abc", "abc"),
        (r#"{"a": 1.50}"#, r#"{"a": 1.50}"#),
        ("[1]", "[1]"),
        ("12345678901234567890", "12345678901234567890"),
        ("007", "007"),
        ("null", "null"),
        (r#""a\u003cb\u003e\u0026\u2028""#, "a<b>&\u{2028}"),
    ] {
        store_raw(&aws, &name, "SecretString", stored).await;
        assert!(read(&backend, &name, None).await.unwrap().value.equals(text.as_bytes()), "{stored}");
        assert!(read(&raw, &name, None).await.unwrap().value.equals(stored.as_bytes()), "{stored}");
    }
    let key = Key::current(name.clone());
    for (text, expected) in [
        ("abc", r#""abc""#),
        ("", r#""""#),
        ("123", r#""123""#),
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
        (" [1] ", r#"" [1] ""#),
        ("a<b>&\u{2028}\n", r#""a\u003cb\u003e\u0026\u2028\n""#),
    ] {
        backend.write(&key, &SecretValue::from(text.to_owned()), Precondition::None).await.unwrap();
        assert_eq!(stored(&aws, &name).await["SecretString"], expected, "{text}");
        assert!(read(&backend, &name, None).await.unwrap().value.equals(text.as_bytes()), "{text}");
        if !text.is_empty() {
            raw.write(&key, &SecretValue::from(text.to_owned()), Precondition::None).await.unwrap();
            assert_eq!(self::stored(&aws, &name).await["SecretString"], text);
        }
    }
    for backend in [&backend, &raw] {
        backend.write(&key, &SecretValue::new(vec![0, 0xff, 10]), Precondition::None).await.unwrap();
        let found = stored(&aws, &name).await;
        assert_eq!((&found["SecretBinary"], &found["SecretString"]), (&json!(base64(&[0, 0xff, 10])), &Value::Null));
        assert!(read(backend, &name, None).await.unwrap().value.equals(&[0, 0xff, 10]));
    }
    let empty = raw.write(&key, &SecretValue::new(Vec::new()), Precondition::None).await;
    assert_eq!(kind(&empty), ErrorKind::Unsupported);
    let long = SecretValue::new(vec![b'x'; 65_537]);
    assert_eq!(kind(&raw.write(&key, &long, Precondition::None).await), ErrorKind::TooLarge);
    log::assert_clean();
}

#[tokio::test]
async fn twenty_values_are_one_call() {
    let aws = Aws::new("asm-batches").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let keys: Vec<Key> = (0..41).map(|number| Key::current(format!("{}/K{number}", aws.cluster.namespace))).collect();
    for key in &keys {
        store(&aws, &key.name, key.name.as_bytes()).await;
    }
    let (all, batches) = (aws.count("secretsmanager."), aws.count("BatchGetSecretValue"));
    let twice = [keys.clone(), keys.clone()].concat();
    for (key, result) in twice.iter().zip(backend.read(&twice).await) {
        assert!(result.unwrap().value.equals(key.name.as_bytes()));
    }
    assert_eq!((batches.hits(), all.hits()), (3, 0), "41 keys, each asked for twice");
}

#[tokio::test]
async fn keys_without_a_value_do_not_spoil_a_batch() {
    log::watch();
    let aws = Aws::new("asm-partial").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let name = |name: &str| format!("{}/{name}", aws.cluster.namespace);
    for key in ["GOOD", "DELETED"] {
        store(&aws, &name(key), CANARY.as_bytes()).await;
    }
    aws.call("secretsmanager.CreateSecret", json!({"Name": name("EMPTY")})).await.unwrap();
    aws.call("secretsmanager.DeleteSecret", json!({"SecretId": name("DELETED")})).await.unwrap();
    let keys = ["GOOD", "DELETED", "NONE", "EMPTY"].map(|key| Key::current(name(key)));
    let results = backend.read(&keys).await;
    assert!(results[0].as_ref().is_ok_and(|found| found.value.equals(CANARY.as_bytes())));
    let kinds: Vec<ErrorKind> = results[1..].iter().map(kind).collect();
    let expected = [ErrorKind::PendingDeletion, ErrorKind::NotFound, ErrorKind::NotFound];
    assert_eq!(kinds, expected);
    let probes = backend.probe(&keys).await;
    assert_eq!(probes[1..].iter().map(kind).collect::<Vec<_>>(), expected);
    assert_eq!(probes[0].as_ref().unwrap().version, results[0].as_ref().unwrap().version);
    assert!(kind(&read(&backend, &name("DELETED"), Some("AWSPREVIOUS")).await).is_missing());
    log::assert_clean();
}

#[tokio::test]
async fn what_the_service_rotates_is_told_without_the_value() {
    log::watch();
    let aws = Aws::new("asm-rotation").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let name = |name: &str| format!("{}/{name}", aws.cluster.namespace);
    for key in ["ROTATED", "PLAIN"] {
        store(&aws, &name(key), CANARY.as_bytes()).await;
    }
    let rules = json!({"SecretId": name("ROTATED"), "RotationRules": {"AutomaticallyAfterDays": 30}});
    aws.call("secretsmanager.RotateSecret", rules).await.unwrap();
    let facts = aws.call("secretsmanager.DescribeSecret", json!({"SecretId": name("ROTATED")})).await.unwrap();
    let seconds = |field: &str| facts[field].as_f64().map(f64::trunc);
    assert!(seconds("NextRotationDate").is_some(), "{facts}");

    let reads = aws.count("GetSecretValue");
    let keys = ["ROTATED", "PLAIN", "NONE"].map(|key| Key::current(name(key)));
    let told = backend.rotations(&keys).await;
    let rotated = told[0].as_ref().unwrap().clone().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let found = [rotated.last, rotated.next].map(|time| time.map(|time| time.as_second() as f64));
    assert_eq!(found, [seconds("LastRotatedDate"), seconds("NextRotationDate")]);
    assert!(told[1].as_ref().unwrap().is_none());
    assert_eq!(kind(&told[2]), ErrorKind::NotFound);
    assert_eq!(reads.hits(), 0);
    log::assert_clean();
}

#[tokio::test]
async fn versions_by_stage_and_by_id() {
    log::watch();
    let aws = Aws::new("asm-versions").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let name = format!("{}/K", aws.cluster.namespace);
    for value in ["first", "second", "third"] {
        store(&aws, &name, value.as_bytes()).await;
    }
    let versions = backend.versions(&Key::current(name.clone())).await.unwrap();
    let holds = |found: Result<Versioned, Error>, text: &str| {
        let found = found.map_err(|error| error.message).unwrap();
        assert!(found.value.equals(text.as_bytes()), "{text}");
        found.version
    };
    let current = holds(read(&backend, &name, None).await, "third");
    assert_eq!(current, versions[0]);
    assert_eq!(holds(read(&backend, &name, Some("AWSPREVIOUS")).await, "second"), versions[1]);
    holds(read(&backend, &name, Some(&versions[1])).await, "second");
    for none in ["AWSPENDING", "none-such", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(kind(&read(&backend, &name, Some(none)).await), ErrorKind::VersionNotFound, "{none}");
        assert_eq!(kind(&read(&backend, "none/such", Some(none)).await), ErrorKind::NotFound, "{none}");
        let key = Key { name: name.clone(), version: Some(none.into()) };
        assert_eq!(kind(&only(backend.probe(&[key]).await)), ErrorKind::VersionNotFound, "{none}");
    }

    // The label moves back: moto's batches still answer the newest value, without the label.
    let moved = json!({"SecretId": name, "VersionStage": "AWSCURRENT",
        "MoveToVersionId": versions[1], "RemoveFromVersionId": versions[0]});
    aws.call("secretsmanager.UpdateSecretVersionStage", moved).await.unwrap();
    assert_eq!(holds(read(&backend, &name, None).await, "second"), versions[1]);
    log::assert_clean();
}

#[tokio::test]
async fn arns_whole_and_partial() {
    let aws = Aws::new("asm-arns").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let name = format!("{}/K", aws.cluster.namespace);
    store(&aws, &name, b"by arn").await;
    let arn = stored(&aws, &name).await["ARN"].as_str().unwrap().to_owned();
    let partial = arn[..arn.len() - 7].to_owned();
    let keys = [name.as_str(), &arn, &partial].map(Key::current);
    for (key, result) in keys.iter().zip(backend.read(&keys).await) {
        assert!(result.unwrap().value.equals(b"by arn"), "{key:?}");
    }
    assert!(backend.probe(&keys).await.iter().all(Result::is_ok));
    backend.write(&keys[1], &SecretValue::from("new".to_owned()), Precondition::None).await.unwrap();
    assert!(read(&backend, &name, None).await.unwrap().value.equals(b"new"));
    let absent = Key::current(format!("{}-none", &partial));
    assert_eq!(
        kind(&backend.write(&absent, &SecretValue::new(vec![1]), Precondition::None).await),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn what_is_marked_for_deletion_comes_back_with_a_new_value() {
    let aws = Aws::new("asm-restore").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let key = Key::current(format!("{}/K", aws.cluster.namespace));
    let value = |text: &str| SecretValue::from(text.to_owned());
    for precondition in [Precondition::None, Precondition::Absent] {
        store(&aws, &key.name, b"old").await;
        backend.delete(&key, DeleteMode::Recoverable).await.unwrap();
        let again = backend.delete(&key, DeleteMode::Recoverable).await;
        assert_eq!(kind(&again), ErrorKind::PendingDeletion);
        assert!(!backend.list(&key.name).await.unwrap().contains(&key.name));
        backend.write(&key, &value("new"), precondition).await.unwrap();
        assert!(read(&backend, &key.name, None).await.unwrap().value.equals(b"new"));
    }
    backend.delete(&key, DeleteMode::Recoverable).await.unwrap();
    backend.delete(&key, DeleteMode::Purge).await.unwrap();
    assert_eq!(kind(&read(&backend, &key.name, None).await), ErrorKind::NotFound);
    assert_eq!(kind(&backend.delete(&key, DeleteMode::Purge).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_write_keeps_its_condition_and_what_the_store_says_of_new_secrets() {
    let aws = Aws::new("asm-writes").await;
    let tags = [("team".to_owned(), TagValue("payments".into()))].into();
    let spec = Spec { kms_key_id: Some("alias/app".into()), tags, ..spec(&aws.proxy.url()) };
    let backend = connect(&aws, &spec, Encoding::Atmos).await;
    let key = Key::current(format!("{}/K", aws.cluster.namespace));
    let value = |text: &str| SecretValue::from(text.to_owned());
    let absent = backend.write(&key, &value("x"), Precondition::Version("v".into())).await;
    assert_eq!(kind(&absent), ErrorKind::Conflict);
    let first = backend.write(&key, &value("1"), Precondition::Absent).await.unwrap();
    let described = aws.call("secretsmanager.DescribeSecret", json!({"SecretId": key.name})).await.unwrap();
    assert_eq!(described["KmsKeyId"], "alias/app");
    assert_eq!(described["Tags"], json!([{"Key": "team", "Value": "payments"}]));
    assert_eq!(kind(&backend.write(&key, &value("2"), Precondition::Absent).await), ErrorKind::Conflict);
    let second = backend.write(&key, &value("2"), Precondition::Version(first.clone())).await.unwrap();
    assert_eq!(kind(&backend.write(&key, &value("3"), Precondition::Version(first)).await), ErrorKind::Conflict);
    assert_eq!(read(&backend, &key.name, None).await.unwrap().version, second);
    let pinned = Key { version: Some(second), ..key };
    assert_eq!(kind(&backend.write(&pinned, &value("4"), Precondition::None).await), ErrorKind::Unsupported);
}

/// The rights are checked by moto itself: IAM policies, signatures and all.
#[tokio::test]
async fn denied_is_not_missing_and_a_denied_batch_is_remembered() {
    log::watch();
    let aws = Aws::of_its_own("asm-rights").await;
    let names: Vec<String> = (0..3).map(|number| format!("app/K{number}")).collect();
    for name in &names {
        store(&aws, name, CANARY.as_bytes()).await;
    }
    let (id, key) = aws::user(aws.moto, "nobody", &[]).await;
    aws.set_keys("nobody", &id, &key).await;
    aws.set_keys("forged", &id, "not-the-key").await;
    aws.set_keys("unknown", "AKIAXXXXXXXXXXXXXXXX", &key).await;
    let (id, key) = aws::user(aws.moto, "single", &["secretsmanager:GetSecretValue"]).await;
    aws.set_keys("single", &id, &key).await;
    let (id, key) =
        aws::user(aws.moto, "reader", &["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"]).await;
    aws.set_keys("reader", &id, &key).await;
    aws.moto.check_rights().await.unwrap();

    let keys: Vec<Key> = names.iter().map(Key::current).collect();
    for (who, expected) in [
        ("nobody", ErrorKind::PermissionDenied),
        ("forged", ErrorKind::Unauthenticated),
        ("unknown", ErrorKind::Unauthenticated),
    ] {
        let backend = connect(&aws, &Spec { auth: Some(auth(who)), ..spec(&aws.proxy.url()) }, Encoding::Atmos).await;
        for result in backend.read(&keys).await {
            assert_eq!(kind(&result), expected, "{who}: {:?}", result.as_ref().err());
        }
        assert_eq!(kind(&only(backend.probe(&keys[..1]).await)), expected, "{who}");
        assert_eq!(
            backend.check().await.map_err(|error| error.kind),
            match expected {
                ErrorKind::PermissionDenied => Ok(()),
                kind => Err(kind),
            }
        );
    }
    let (singles, batches) = (aws.count("secretsmanager.GetSecretValue"), aws.count("BatchGetSecretValue"));
    let single = connect(&aws, &Spec { auth: Some(auth("single")), ..spec(&aws.proxy.url()) }, Encoding::Atmos).await;
    for _ in 0..2 {
        assert!(
            single
                .read(&keys)
                .await
                .iter()
                .all(|result| result.as_ref().is_ok_and(|found| found.value.equals(CANARY.as_bytes())))
        );
    }
    assert_eq!((batches.hits(), singles.hits()), (1, 6), "the denial is remembered");
    let reader = connect(&aws, &Spec { auth: Some(auth("reader")), ..spec(&aws.proxy.url()) }, Encoding::Atmos).await;
    assert!(reader.read(&keys).await.iter().all(Result::is_ok));
    assert_eq!((batches.hits(), singles.hits()), (2, 6));
    log::assert_clean();
}

#[tokio::test]
async fn a_replica_answers_while_the_first_region_does_not() {
    log::watch();
    let aws = Aws::new("asm-replica").await;
    let region = |region: &str| Matching::any().header(http::header::AUTHORIZATION, &format!("/{region}/"));
    let name = |name: &str| format!("{}/{name}", aws.cluster.namespace);
    let create = json!({"Name": name("BOTH"), "SecretString": "here", "AddReplicaRegions": [{"Region": "eu-west-1"}]});
    aws.call("secretsmanager.CreateSecret", create).await.unwrap();
    store(&aws, &name("HERE"), b"here").await;
    let spec = Spec { replica_regions: vec!["eu-west-1".into()], ..spec(&aws.proxy.url()) };
    // Each region has a share of it, which only the silent one should ever use up.
    let within = |seconds: u64| atmos_secrets::backend::credentials::Surroundings {
        timeout: Duration::from_secs(seconds),
        ..aws.around(Encoding::Atmos)
    };
    let backend = aws_secrets_manager::connect(&spec, &within(60)).await.unwrap();
    let keys = ["BOTH", "HERE", "NONE"].map(|key| Key::current(name(key)));
    let away = aws.proxy.inject(Fault::answer(503), region(REGION));
    let results = backend.read(&keys).await;
    assert!(results[0].as_ref().is_ok_and(|found| found.value.equals(b"here")));
    // That a replica has none says nothing.
    assert_eq!(results[1..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::Unavailable; 2]);
    let tries = away.hits();
    assert!(backend.read(&keys[..1]).await[0].is_ok());
    assert_eq!(away.hits(), tries, "the region that is away is left alone for a while");
    away.remove();

    let silent = aws.proxy.inject(Fault::Stall, region(REGION));
    let backend = aws_secrets_manager::connect(&spec, &within(20)).await.unwrap();
    assert!(backend.read(&keys[..1]).await[0].is_ok());
    assert_eq!(silent.hits(), 1);
    silent.remove();
    let backend = aws_secrets_manager::connect(&spec, &within(60)).await.unwrap();
    let elsewhere = aws.proxy.inject(Fault::Delay(Duration::ZERO), region("eu-west-1"));
    let results = backend.read(&keys).await;
    assert!(results[0].is_ok() && results[1].is_ok() && kind(&results[2]) == ErrorKind::NotFound);
    assert_eq!(elsewhere.hits(), 0);
    log::assert_clean();
}

#[tokio::test]
async fn one_key_that_fails_in_a_batch_fails_alone() {
    log::watch();
    let aws = Aws::new("asm-errors").await;
    let keys = ["DENIED", "BROKEN", "THROTTLED", "GOOD"].map(|name| Key::current(format!("app/{name}")));
    let failed =
        |number: usize, code: &str| json!({"SecretId": keys[number].name, "ErrorCode": code, "Message": CANARY});
    let answer = json!({
        "SecretValues": [{"Name": keys[3].name, "ARN": "arn:aws:secretsmanager:us-east-1:1:secret:app/GOOD-abcdef",
            "VersionId": "1", "SecretString": "good", "VersionStages": ["AWSCURRENT"]}],
        "Errors": [failed(0, "AccessDeniedException"), failed(1, "DecryptionFailure"), failed(2, "ThrottlingException")],
    });
    let answer = Fault::Answer { code: 200, retry_after: None, body: Some(answer.to_string()) };
    aws.proxy.inject(answer, Matching::any().header(target(), "BatchGetSecretValue"));
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let results = backend.read(&keys).await;
    let kinds: Vec<ErrorKind> = results[..3].iter().map(kind).collect();
    assert_eq!(kinds, [ErrorKind::PermissionDenied, ErrorKind::Undecodable, ErrorKind::RateLimited]);
    assert!(results[3].as_ref().is_ok_and(|found| found.value.equals(b"good")));
    let text = format!("{:?}", results.iter().filter_map(|result| result.as_ref().err()).collect::<Vec<_>>());
    assert!(!text.contains(CANARY), "{text}");

    // A retry is told to wait as long as the service asks for.
    let Fault::Answer { code, body, .. } = refusal(400, "ThrottlingException") else { unreachable!() };
    aws.proxy.inject(Fault::Answer { code, retry_after: Some(7), body }, Matching::any());
    let error = read(&backend, "app/GOOD", None).await.err().unwrap();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(7))));
    log::assert_clean();
}
