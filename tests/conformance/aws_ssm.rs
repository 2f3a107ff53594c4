//! The `awsSsm` driver on moto.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::{AwsSsm as Spec, Encoding, SsmTier, TagValue};
use atmos_secrets::backend::aws_ssm::{self, AwsSsm};
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::{Backend, DeleteMode, Error, ErrorKind, Key, Precondition, Versioned};
use atmos_secrets::value::SecretValue;
use e2e::{Fault, FaultProxy, Matching};
use serde_json::{Value, json};

use crate::aws::{self, Aws, REGION, auth, refusal, target};
use crate::log;
use crate::suite::{self, CANARY, Subject, kind, only};

struct Store {
    aws: Aws,
    backend: Arc<AwsSsm>,
    prefix: String,
    broken: Vec<(&'static str, FaultProxy, ErrorKind)>,
}

fn spec(endpoint: &str) -> Spec {
    Spec { region: REGION.into(), endpoint: Some(endpoint.into()), auth: Some(auth("aws")), ..Spec::default() }
}

async fn connect(aws: &Aws, spec: &Spec, encoding: Encoding) -> AwsSsm {
    aws_ssm::connect(spec, &aws.around(encoding)).await.unwrap()
}

async fn read(backend: &AwsSsm, name: &str, version: Option<&str>) -> Result<Versioned, Error> {
    only(backend.read(&[Key { name: name.into(), version: version.map(str::to_owned) }]).await)
}

async fn put(aws: &Aws, name: &str, text: &str) {
    put_as(aws, name, text, "SecureString").await;
}

async fn put_as(aws: &Aws, name: &str, text: &str, kind: &str) {
    let body = json!({"Name": name, "Value": text, "Type": kind, "Overwrite": true});
    aws.call("AmazonSSM.PutParameter", body).await.unwrap();
}

async fn stored(aws: &Aws, name: &str) -> Value {
    let body = json!({"Name": name, "WithDecryption": true});
    aws.call("AmazonSSM.GetParameter", body).await.unwrap()["Parameter"].clone()
}

impl Store {
    async fn new(prefix: &str) -> Self {
        let aws = Aws::new(prefix).await;
        let backend = Arc::new(connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await);
        let mut broken = Vec::new();
        for (how, fault, kind) in aws::faults() {
            let proxy = FaultProxy::to_http(aws.moto.url()).await.unwrap();
            proxy.inject(fault, Matching::any());
            broken.push((how, proxy, kind));
        }
        let prefix = format!("/conformance/{}", aws.cluster.namespace);
        Self { aws, backend, prefix, broken }
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
            let text = std::str::from_utf8(bytes).unwrap();
            // As Atmos: raw, but SSM takes no empty value.
            put(&self.aws, &self.key(name).name, if text.is_empty() { r#""""# } else { text }).await;
        }
    }

    async fn unset(&self, name: &str) {
        self.aws.call("AmazonSSM.DeleteParameter", json!({"Name": self.key(name).name})).await.unwrap();
    }

    fn holds_binary(&self) -> bool {
        false
    }

    fn largest(&self) -> usize {
        8192
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a.b-c_d", "-", "_", "deep/er/still", ".hidden", "9"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        let deep = "/x".repeat(16);
        ["", "/", "a/b", "/a b", "/a:1", "/aws/x", "ssm-x", "/ü", "/a\n", &deep].map(Key::current).to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let mut failing: Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> = Vec::new();
        for (how, proxy, kind) in &self.broken {
            failing.push((how, Arc::new(connect(&self.aws, &spec(&proxy.url()), Encoding::Atmos).await), *kind));
        }
        let nobody = connect(&self.aws, &spec("http://127.0.0.1:1"), Encoding::Atmos).await;
        failing.push(("nobody there", Arc::new(nobody), ErrorKind::Unavailable));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        // It takes connections as long as the process lives, and says nothing.
        std::mem::forget(silent);
        let silent = Arc::new(connect(&self.aws, &spec(&url), Encoding::Atmos).await);
        let limit = Duration::from_millis(300);
        let late =
            Guarded::new(silent, "Store/app".into(), limit, Arc::new(|_: Operation, _: &'static str, _: Duration| {}));
        failing.push(("silence", Arc::new(late), ErrorKind::Timeout));
        failing
    }

    fn value_reads(&self) -> Option<usize> {
        // What is decrypted shows in the body of the requests: `probing_decrypts_nothing`.
        None
    }
}

#[tokio::test]
async fn ssm_keeps_the_guarantees() {
    suite::run(&Store::new("parameters").await).await;
}

/// The forms of atmos-spec: what Atmos stored is read right, and what we write is that form, byte for byte.
#[tokio::test]
async fn values_are_those_of_atmos() {
    log::watch();
    let aws = Aws::new("parameters-atmos").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let raw = connect(&aws, &spec(&aws.proxy.url()), Encoding::Raw).await;
    let name = format!("/atmos/{}/K", aws.cluster.namespace);
    for (stored, text) in [
        ("abc", "abc"),
        (r#""abc""#, "abc"),
        (r#""""#, ""),
        (r#"{"a":1}"#, r#"{"a":1}"#),
        ("[1]", "[1]"),
        ("1e5", "1e5"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("null", "null"),
        ("007", "007"),
    ] {
        put(&aws, &name, stored).await;
        assert!(read(&backend, &name, None).await.unwrap().value.equals(text.as_bytes()), "{stored}");
        assert!(read(&raw, &name, None).await.unwrap().value.equals(stored.as_bytes()), "{stored}");
    }
    let key = Key::current(name.clone());
    for (text, expected) in [
        ("abc", "abc"),
        ("", r#""""#),
        ("line\n", "line\n"),
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
        (r#""abc""#, r#""\"abc\"""#),
    ] {
        backend.write(&key, &SecretValue::from(text.to_owned()), Precondition::None).await.unwrap();
        let found = stored(&aws, &name).await;
        assert_eq!((&found["Value"], &found["Type"]), (&json!(expected), &json!("SecureString")), "{text}");
        assert!(read(&backend, &name, None).await.unwrap().value.equals(text.as_bytes()), "{text}");
    }
    raw.write(&key, &SecretValue::from(r#""abc""#.to_owned()), Precondition::None).await.unwrap();
    assert_eq!(stored(&aws, &name).await["Value"], r#""abc""#);
    for (value, expected) in [
        (vec![0xff, 0xfe], ErrorKind::Unsupported),
        (b"a {{ b }}".to_vec(), ErrorKind::Unsupported),
        (b"kms:alias/aws/ssm:v".to_vec(), ErrorKind::Unsupported),
        (vec![b'x'; 8193], ErrorKind::TooLarge),
    ] {
        let value = SecretValue::new(value);
        assert_eq!(kind(&backend.write(&key, &value, Precondition::None).await), expected);
    }
    assert_eq!(kind(&raw.write(&key, &SecretValue::new(Vec::new()), Precondition::None).await), ErrorKind::Unsupported);
    let standard = Spec { tier: Some(SsmTier::Standard), ..spec(&aws.proxy.url()) };
    let standard = connect(&aws, &standard, Encoding::Atmos).await;
    let value = SecretValue::new(vec![b'x'; 4097]);
    assert_eq!(kind(&standard.write(&key, &value, Precondition::None).await), ErrorKind::TooLarge);
    log::assert_clean();
}

#[tokio::test]
async fn ten_values_are_one_call() {
    let aws = Aws::new("parameters-batches").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let keys: Vec<Key> = (0..21).map(|number| Key::current(format!("/{}/K{number}", aws.cluster.namespace))).collect();
    for key in &keys {
        put(&aws, &key.name, &key.name).await;
    }
    let (all, batches) = (aws.count("AmazonSSM."), aws.count("GetParameters"));
    let twice = [keys.clone(), keys.clone()].concat();
    for (key, result) in twice.iter().zip(backend.read(&twice).await) {
        assert!(result.unwrap().value.equals(key.name.as_bytes()));
    }
    assert_eq!((batches.hits(), all.hits()), (3, 0), "21 keys, each asked for twice");
}

#[tokio::test]
async fn versions_by_number_and_by_label() {
    log::watch();
    let aws = Aws::new("parameters-versions").await;
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let name = format!("/{}/K", aws.cluster.namespace);
    for value in ["first", "second", "third"] {
        put(&aws, &name, value).await;
    }
    let label = json!({"Name": name, "ParameterVersion": 2, "Labels": ["prod"]});
    aws.call("AmazonSSM.LabelParameterVersion", label).await.unwrap();
    assert_eq!(backend.versions(&Key::current(name.clone())).await.unwrap(), ["3", "2", "1"]);
    // All at once, too: answers name the parameter and not the version.
    let versions = [None, Some("1"), Some("2"), Some("3"), Some("prod"), Some("9"), Some("none-such"), Some("a b")];
    let key = |version: Option<&str>| Key { name: name.clone(), version: version.map(str::to_owned) };
    let results = backend.read(&versions.map(key)).await;
    let expected = [("third", "3"), ("first", "1"), ("second", "2"), ("third", "3"), ("second", "2")];
    for ((result, (text, version)), asked) in results.iter().zip(expected).zip(versions) {
        let found = result.as_ref().map_err(|error| error.message.clone()).unwrap();
        assert!(found.value.equals(text.as_bytes()), "{asked:?}");
        assert_eq!(found.version, version, "{asked:?}");
    }
    assert_eq!(results[5..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::VersionNotFound; 3]);
    let probes = backend.probe(&versions.map(key)).await;
    let found: Vec<&str> = probes[..5].iter().map(|found| found.as_ref().unwrap().version.as_str()).collect();
    assert_eq!(found, ["3", "1", "2", "3", "2"]);
    assert_eq!(probes[5..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::VersionNotFound; 3]);
    assert_eq!(kind(&read(&backend, "/none/such", Some("1")).await), ErrorKind::NotFound);
    log::assert_clean();
}

#[tokio::test]
async fn only_secure_strings_are_values_unless_the_store_says_otherwise() {
    log::watch();
    let aws = Aws::new("parameters-types").await;
    let name = |name: &str| format!("/{}/{name}", aws.cluster.namespace);
    put(&aws, &name("SECURE"), CANARY).await;
    put_as(&aws, &name("PLAIN"), CANARY, "String").await;
    put_as(&aws, &name("LIST"), "a,b", "StringList").await;
    let keys = ["SECURE", "PLAIN", "LIST"].map(|key| Key::current(name(key)));
    let strict = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    let results = strict.read(&keys).await;
    assert!(results[0].is_ok());
    assert_eq!(results[1..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::NotEncrypted; 2]);
    let loose = Spec { allow_plaintext_source: Some(true), ..spec(&aws.proxy.url()) };
    let results = connect(&aws, &loose, Encoding::Atmos).await.read(&keys).await;
    assert!(results[..2].iter().all(|result| result.as_ref().is_ok_and(|found| found.value.equals(CANARY.as_bytes()))));
    assert_eq!(kind(&results[2]), ErrorKind::NotEncrypted);
    log::assert_clean();
}

/// What moto answers without decryption, and what AWS does, instead of the value.
#[tokio::test]
async fn what_came_undecrypted_is_no_value() {
    log::watch();
    let aws = Aws::new("parameters-wrapped").await;
    let name = format!("/{}/K", aws.cluster.namespace);
    put(&aws, &name, CANARY).await;
    let wrapped = aws.call("AmazonSSM.GetParameter", json!({"Name": name, "WithDecryption": false})).await.unwrap();
    let of_moto = wrapped["Parameter"]["Value"].as_str().unwrap().to_owned();
    assert!(of_moto.starts_with("kms:"), "{of_moto}");
    let of_aws = format!("AQICAHh{}=", "Ab0+/".repeat(40));
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    for value in [of_moto, of_aws] {
        let parameter = json!({"Name": name, "Type": "SecureString", "Value": value, "Version": 1});
        let body = json!({"Parameters": [parameter], "InvalidParameters": []}).to_string();
        aws.proxy.inject(Fault::Answer { code: 200, retry_after: None, body: Some(body) }, Matching::any().times(1));
        assert_eq!(kind(&read(&backend, &name, None).await), ErrorKind::Undecodable);
    }
    log::assert_clean();
}

/// With the rights of IAM checked by moto: a probe needs no right to decrypt, and asks for no decryption.
#[tokio::test]
async fn denied_is_not_missing() {
    log::watch();
    let aws = Aws::of_its_own("parameters-rights").await;
    put(&aws, "/app/K", CANARY).await;
    let (id, key) = aws::user(aws.moto, "nobody", &["ssm:GetParameter"]).await;
    aws.set_keys("nobody", &id, &key).await;
    aws.set_keys("forged", &id, "not-the-key").await;
    let (id, key) = aws::user(aws.moto, "reader", &["ssm:GetParameters"]).await;
    aws.set_keys("reader", &id, &key).await;
    aws.moto.check_rights().await.unwrap();
    let keys = ["/app/K", "/app/NONE"].map(Key::current);
    for (who, expected) in [("nobody", ErrorKind::PermissionDenied), ("forged", ErrorKind::Unauthenticated)] {
        let backend = connect(&aws, &Spec { auth: Some(auth(who)), ..spec(&aws.proxy.url()) }, Encoding::Atmos).await;
        for result in backend.read(&keys).await {
            assert_eq!(kind(&result), expected, "{who}: {:?}", result.as_ref().err());
        }
        assert_eq!(kind(&backend.probe(&keys).await.remove(0)), expected, "{who}");
        assert_eq!(backend.check().await.is_ok(), expected == ErrorKind::PermissionDenied);
    }
    let reader = connect(&aws, &Spec { auth: Some(auth("reader")), ..spec(&aws.proxy.url()) }, Encoding::Atmos).await;
    let results = reader.read(&keys).await;
    assert!(results[0].as_ref().is_ok_and(|found| found.value.equals(CANARY.as_bytes())));
    assert_eq!(kind(&results[1]), ErrorKind::NotFound);
    log::assert_clean();
}

/// AWS refuses all ten for one that may not be read, or whose key is disabled.
#[tokio::test]
async fn one_parameter_that_fails_the_call_fails_alone() {
    log::watch();
    let aws = Aws::new("parameters-alone").await;
    let keys: Vec<Key> = (0..3).map(|number| Key::current(format!("/{}/K{number}", aws.cluster.namespace))).collect();
    for key in &keys[..2] {
        put(&aws, &key.name, CANARY).await;
    }
    let backend = connect(&aws, &spec(&aws.proxy.url()), Encoding::Atmos).await;
    for word in ["AccessDeniedException", "InvalidKeyId", "ValidationException"] {
        aws.proxy.inject(refusal(400, word), Matching::any().header(target(), "GetParameters").times(1));
        let results = backend.read(&keys).await;
        assert!(
            results[..2].iter().all(|result| result.as_ref().is_ok_and(|found| found.value.equals(CANARY.as_bytes()))),
            "{word}"
        );
        assert_eq!(kind(&results[2]), ErrorKind::NotFound, "{word}");
    }
    // What concerns the store fails all at once.
    let throttled = aws.proxy.inject(refusal(400, "ThrottlingException"), Matching::any());
    assert!(backend.read(&keys).await.iter().all(|result| kind(result) == ErrorKind::RateLimited));
    assert_eq!(throttled.hits(), 1);
    log::assert_clean();
}

/// As AWS has it: one that may not be read fails the call, whatever else is in it.
#[tokio::test]
async fn a_parameter_that_fails_the_others_is_asked_apart_until_it_is_answered() {
    let aws = Aws::new("parameters-apart").await;
    let (denied, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_denied, counted) = (Arc::clone(&denied), Arc::clone(&calls));
    let answer = move |body: axum::body::Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let names: Vec<&str> = asked["Names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let found = |name: &&str| json!({"Name": name, "Type": "SecureString", "Value": "value", "Version": 1});
        let answer = if is_denied.load(Ordering::SeqCst) && names.contains(&"/app/K3") {
            (axum::http::StatusCode::BAD_REQUEST, json!({"__type": "AccessDeniedException"}).to_string())
        } else {
            let found: Vec<Value> = names.iter().map(found).collect();
            (axum::http::StatusCode::OK, json!({"Parameters": found, "InvalidParameters": []}).to_string())
        };
        async { answer }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let backend = connect(&aws, &spec(&url), Encoding::Atmos).await;
    let keys: Vec<Key> = (0..10).map(|number| Key::current(format!("/app/K{number}"))).collect();
    let read = async |expected: usize, denied: Option<usize>| {
        let before = calls.load(Ordering::SeqCst);
        for (index, result) in backend.read(&keys).await.iter().enumerate() {
            match result {
                Ok(found) => assert!(found.value.equals(b"value") && denied != Some(index)),
                Err(error) => assert!(error.kind == ErrorKind::PermissionDenied && denied == Some(index), "{error}"),
            }
        }
        assert_eq!(calls.load(Ordering::SeqCst) - before, expected);
    };
    read(11, Some(3)).await;
    read(2, Some(3)).await;
    read(2, Some(3)).await;
    denied.store(false, Ordering::SeqCst);
    read(2, None).await;
    read(1, None).await;
    // Again, and found out again.
    denied.store(true, Ordering::SeqCst);
    read(11, Some(3)).await;
    read(2, Some(3)).await;
}

#[tokio::test]
async fn a_write_keeps_its_condition_and_what_the_store_says_of_new_parameters() {
    let aws = Aws::new("parameters-writes").await;
    let tags = [("team".to_owned(), TagValue("payments".into()))].into();
    let spec =
        Spec { kms_key_id: Some("alias/app".into()), tier: Some(SsmTier::Advanced), tags, ..spec(&aws.proxy.url()) };
    let backend = connect(&aws, &spec, Encoding::Atmos).await;
    let key = Key::current(format!("/{}/K", aws.cluster.namespace));
    let value = |text: &str| SecretValue::from(text.to_owned());
    let absent = backend.write(&key, &value("x"), Precondition::Version("1".into())).await;
    assert_eq!(kind(&absent), ErrorKind::Conflict);
    assert_eq!(backend.write(&key, &value("1"), Precondition::None).await.unwrap(), "1");
    let filter = json!({"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [key.name]}]});
    let described = aws.call("AmazonSSM.DescribeParameters", filter).await.unwrap()["Parameters"][0].clone();
    assert_eq!((&described["KeyId"], &described["Tier"]), (&json!("alias/app"), &json!("Advanced")));
    let tags = json!({"ResourceType": "Parameter", "ResourceId": key.name});
    let tags = aws.call("AmazonSSM.ListTagsForResource", tags).await.unwrap();
    assert_eq!(tags["TagList"], json!([{"Key": "team", "Value": "payments"}]));
    assert_eq!(backend.write(&key, &value("2"), Precondition::None).await.unwrap(), "2");
    assert_eq!(kind(&backend.write(&key, &value("3"), Precondition::Absent).await), ErrorKind::Conflict);
    assert_eq!(kind(&backend.write(&key, &value("3"), Precondition::Version("1".into())).await), ErrorKind::Conflict);
    assert_eq!(backend.write(&key, &value("3"), Precondition::Version("2".into())).await.unwrap(), "3");
    assert!(read(&backend, &key.name, None).await.unwrap().value.equals(b"3"));
    let pinned = Key { version: Some("3".into()), ..key.clone() };
    assert_eq!(kind(&backend.write(&pinned, &value("4"), Precondition::None).await), ErrorKind::Unsupported);
    backend.delete(&key, DeleteMode::Recoverable).await.unwrap();
    assert_eq!(kind(&backend.delete(&key, DeleteMode::Purge).await), ErrorKind::NotFound);
}

/// Every request for values asks for decryption, and no probe does.
#[tokio::test]
async fn probing_decrypts_nothing() {
    let aws = Aws::new("parameters-probe").await;
    let (mut requests, url) = recording().await;
    let backend = connect(&aws, &spec(&url), Encoding::Atmos).await;
    let key = [Key::current("/app/K")];
    let _ = backend.read(&key).await;
    assert_eq!(requests.recv().await.unwrap()["WithDecryption"], true);
    let _ = backend.probe(&key).await;
    assert_eq!(requests.recv().await.unwrap()["WithDecryption"], false);
    let _ = backend.versions(&key[0]).await;
    assert_eq!(requests.recv().await.unwrap()["WithDecryption"], false);
    let _ = backend.check().await;
    assert_eq!(requests.recv().await.unwrap()["WithDecryption"], false);
}

/// A server that finds nothing, and tells what it was asked.
async fn recording() -> (tokio::sync::mpsc::UnboundedReceiver<Value>, String) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(move |body: axum::body::Bytes| {
        let _ = sender.send(serde_json::from_slice(&body).unwrap());
        async { (axum::http::StatusCode::BAD_REQUEST, r#"{"__type": "ParameterNotFound"}"#) }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (receiver, url)
}
