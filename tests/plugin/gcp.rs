//! Stores in Google Cloud Secret Manager, with what gcloud keeps for the person.

use e2e::Gcp;
use e2e::gcp::PROJECT;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::store::CANARY;

const PERSON: &str = "ada@example.com";
const READ: &[&str] = &["get", "PASSWORD", "--mask=false", "-r", "--allow-loopback-endpoints"];

/// A Store and a Stack with two secrets there, one of which has a value; the Secret that the Store names for the operator
/// is not there.
async fn prepare(fixture: &Fixture) -> Gcp {
    let gcp = Gcp::start().expect("a Google Cloud");
    gcp.put("prod_db_PASSWORD", json!(CANARY).to_string().as_bytes());
    store(fixture, &gcp.plain_url()).await;
    let vars = json!({"PASSWORD": {}, "LATER": {}});
    let spec = json!({"defaultStore": "google", "components": {"terraform": {"db": {"secrets": {"vars": vars}}}}});
    fixture.stack("prod", spec).await;
    gcp
}

async fn store(fixture: &Fixture, endpoint: &str) {
    let auth = json!({"serviceAccountKey": {"secret": "of-the-operator", "key": "key.json"}});
    fixture
        .apply(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "google"},
            "spec": {"gcpSecretManager": {"projectId": PROJECT, "endpoint": endpoint, "auth": auth}},
        }))
        .await;
}

/// Where a file with credentials says that its tokens are given.
fn with_server(mut file: Value, gcp: &Gcp) -> String {
    file["token_uri"] = json!(format!("{}/token", gcp.plain_url()));
    file.to_string()
}

#[tokio::test]
async fn the_persons_own_credentials_read_and_write() {
    let fixture = Fixture::new("gcp").await;
    let gcp = prepare(&fixture).await;
    let none = fixture.run(READ).await;
    assert_eq!((none.code, none.text()), (3, ""), "{none:?}");
    assert!(none.stderr.contains("gcloud auth application-default login"), "{}", none.stderr);

    // Where `gcloud auth application-default login` leaves them.
    let folder = fixture.home().join(".config/gcloud");
    std::fs::create_dir_all(&folder).expect("a folder");
    let person = gcp.person(PERSON).expect("a refresh token");
    let default = folder.join("application_default_credentials.json");
    std::fs::write(&default, with_server(person, &gcp)).expect("a file");
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
    let set = ["set", "LATER", "--stdin", "--allow-loopback-endpoints"];
    let written = fixture.run_with_input(&set, b"new").await;
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(gcp.payload("prod_db_LATER").as_deref(), Some(br#""new""#.as_slice()));

    // The variables go before the file: a key of a service account, then a token that has ended.
    let key = fixture.home().join("key.json");
    let reader = gcp.account_key("reader@payments-prod.iam.gserviceaccount.com").expect("a key");
    std::fs::write(&key, with_server(reader, &gcp)).expect("a file");
    gcp.permit_only(PERSON, &[]);
    let denied = fixture.run(READ).await;
    assert_eq!((denied.code, denied.text()), (3, ""), "{denied:?}");
    let fixture = fixture.with_variable("GOOGLE_APPLICATION_CREDENTIALS", key);
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
    let fixture = fixture.with_variable("GOOGLE_OAUTH_ACCESS_TOKEN", "ya29.canary-that-has-ended");
    let refused = fixture.run(READ).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("the access token of GOOGLE_OAUTH_ACCESS_TOKEN"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("ya29."), "{}", refused.stderr);
}

#[tokio::test]
async fn a_token_goes_to_googles_hosts_and_to_those_that_the_person_names() {
    let fixture = Fixture::new("gcp").await;
    let gcp = prepare(&fixture).await;
    let token = gcp.access_token(PERSON).expect("a token");
    let fixture = fixture.with_variable("CLOUDSDK_AUTH_ACCESS_TOKEN", token);
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);

    store(&fixture, "https://secretmanager.invalid").await;
    let plain = ["get", "PASSWORD", "--mask=false", "-r"];
    let refused = fixture.run(&plain).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("--allow-endpoint secretmanager.invalid"), "{}", refused.stderr);
    // Named by the person, it is asked, and not found: no such name can be (RFC 6761).
    let named = [plain.as_slice(), &["--allow-endpoint", "secretmanager.invalid"]].concat();
    let asked = fixture.run(&named).await;
    assert!(asked.stderr.contains("cannot resolve host secretmanager.invalid"), "{}", asked.stderr);
}
