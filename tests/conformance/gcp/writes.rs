//! What is written, deleted and listed.

use atmos_secrets::api::store::GcpSecretManager as Spec;
use atmos_secrets::backend::{Backend, DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use e2e::{Fault, Matching};
use serde_json::json;

use super::{Google, READER, kind, read, refusal, text, versioned};

fn value(text: &str) -> SecretValue {
    SecretValue::from(text.to_owned())
}

#[tokio::test]
async fn a_write_keeps_its_condition() {
    let google = Google::new("google-writes").await;
    let backend = google.backend().await;
    let key = Key::current("K");
    let version = |number: &str| Precondition::Version(number.into());
    assert_eq!(kind(&backend.write(&key, &value("x"), version("1")).await), ErrorKind::Conflict);
    assert_eq!(google.gcp.payload("K"), None, "nothing was made of it");
    assert_eq!(backend.write(&key, &value("1"), Precondition::Absent).await.unwrap(), "1");
    assert_eq!(backend.write(&key, &value("2"), Precondition::None).await.unwrap(), "2");
    assert_eq!(kind(&backend.write(&key, &value("x"), Precondition::Absent).await), ErrorKind::Conflict);
    assert_eq!(kind(&backend.write(&key, &value("x"), version("1")).await), ErrorKind::Conflict);
    assert_eq!(backend.write(&key, &value("3"), version("2")).await.unwrap(), "3");
    assert_eq!(text(read(&backend, "K").await), ("3".to_owned(), "3".to_owned()));
    // What is disabled is there, what is destroyed is not, and neither is what has no version.
    google.gcp.disable("K", 3);
    assert_eq!(kind(&backend.write(&key, &value("x"), Precondition::Absent).await), ErrorKind::Conflict);
    google.gcp.destroy("K", 3);
    assert_eq!(backend.write(&key, &value("4"), Precondition::Absent).await.unwrap(), "4");
    google.gcp.create_empty("EMPTY");
    assert_eq!(backend.write(&Key::current("EMPTY"), &value("1"), Precondition::Absent).await.unwrap(), "1");
    let pinned = backend.write(&versioned("K", "3"), &value("x"), Precondition::None).await;
    assert_eq!(kind(&pinned), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_new_secret_is_made_once_and_where_the_store_says() {
    let google = Google::new("google-creates").await;
    let backend = google.backend().await;
    let many = (0..8).map(|_| async {
        backend.write(&Key::current("RACE"), &value("v"), Precondition::None).await.map_err(|error| error.message)
    });
    for version in futures::future::join_all(many).await {
        version.unwrap();
    }
    assert_eq!(google.gcp.replication("RACE"), Some(json!({"automatic": {}})));
    let spec = Spec { locations: vec!["europe-west1".into(), "europe-west3".into()], ..google.spec() };
    let placed = google.connect(&spec).await;
    placed.write(&Key::current("PLACED"), &value("v"), Precondition::None).await.unwrap();
    let replicas = json!([{"location": "europe-west1"}, {"location": "europe-west3"}]);
    assert_eq!(google.gcp.replication("PLACED"), Some(json!({"userManaged": {"replicas": replicas}})));

    // Who may only add versions needs nothing more where the secret is there.
    google.gcp.permit_only(READER, &["secretmanager.versions.add"]);
    assert!(backend.write(&Key::current("RACE"), &value("w"), Precondition::None).await.is_ok());
    let denied = backend.write(&Key::current("NEW"), &value("w"), Precondition::None).await;
    assert_eq!(kind(&denied), ErrorKind::PermissionDenied);

    google.gcp.permit_only(READER, &["secretmanager.versions.add", "secretmanager.secrets.create"]);
    google.proxy.inject(refusal(400, "INVALID_ARGUMENT"), Matching::any().path("secretId=").times(1));
    let error = placed.write(&Key::current("NEW"), &value("w"), Precondition::None).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert!(error.message.contains("check locations"), "{}", error.message);
}

#[tokio::test]
async fn a_deletion_is_for_good_and_not_of_something_newer() {
    let google = Google::new("google-deletes").await;
    let backend = google.backend().await;
    let key = Key::current("K");
    for mode in [DeleteMode::Recoverable, DeleteMode::Purge] {
        google.put("K", "v");
        google.put("K", "w");
        backend.delete(&key, mode).await.unwrap();
        assert_eq!(google.gcp.payload("K"), None);
        assert_eq!(kind(&backend.delete(&key, mode).await), ErrorKind::NotFound);
    }
    google.put("K", "v");
    let stale = json!({"name": "projects/1/secrets/K", "etag": "\"stale\""}).to_string();
    let fault = Fault::Answer { code: 200, retry_after: None, body: Some(stale) };
    google.proxy.inject(fault, Matching::any().method("GET").path("secrets/K").times(1));
    assert_eq!(kind(&backend.delete(&key, DeleteMode::Purge).await), ErrorKind::Conflict);
    assert!(google.gcp.payload("K").is_some());
}

#[tokio::test]
async fn long_lists_come_whole() {
    let google = Google::new("google-lists").await;
    let backend = google.backend().await;
    for number in 0..2500 {
        google.put(&format!("app_{number:04}"), "v");
    }
    for other in ["APP_upper", "my_app_1"] {
        google.put(other, "v");
    }
    let names = backend.list("app_").await.unwrap();
    assert_eq!((names.len(), names[0].as_str(), names[2499].as_str()), (2500, "app_0000", "app_2499"));
    assert_eq!(google.gcp.count("GET /v1/projects/payments-prod/secrets?"), 3, "a thousand on each page");
    assert_eq!(backend.list("").await.unwrap().len(), 2502);
    assert_eq!(backend.list("my_app_1").await.unwrap(), ["my_app_1"]);
    assert!(backend.list("no/such").await.unwrap().is_empty());
    for _ in 0..1500 {
        google.put("app_0000", "v");
    }
    let versions = backend.versions(&Key::current("app_0000")).await.unwrap();
    assert_eq!((versions.len(), versions[0].as_str(), versions[1500].as_str()), (1501, "1501", "1"));
}

#[tokio::test]
async fn each_distinct_key_is_read_once() {
    let google = Google::new("google-counts").await;
    let backend = google.backend().await;
    let keys: Vec<Key> = (0..40).map(|number| Key::current(format!("K{number}"))).collect();
    for key in &keys {
        google.put(&key.name, &key.name);
    }
    let twice = [keys.clone(), keys].concat();
    for (key, result) in twice.iter().zip(backend.read(&twice).await) {
        assert!(result.unwrap().value.equals(key.name.as_bytes()));
    }
    assert_eq!((google.gcp.count(":access"), google.gcp.count("POST /token")), (40, 1));
}
