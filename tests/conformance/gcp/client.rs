//! Google's own Python client and our driver on one service, over TLS: each reads what the other wrote, and both are told
//! the same. A fake that only our driver understood would fail here.

use std::collections::BTreeMap;

use atmos_secrets::api::store::{Encoding, GcpSecretManager as Spec};
use atmos_secrets::backend::{Backend, DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use e2e::GcpPythonClient;
use serde_json::{Value, json};

use super::{Google, READER, kind, read, text, versioned};
use crate::kubernetes::base64;
use crate::log;

fn ok(results: &[Value]) -> Vec<&Value> {
    results.iter().map(|result| result.get("ok").unwrap_or_else(|| panic!("{result}"))).collect()
}

#[tokio::test]
async fn what_one_writes_the_other_reads() {
    log::watch();
    let google = Google::new("google-client").await;
    let client = GcpPythonClient::new(&google.gcp).await.unwrap();
    let token = google.gcp.access_token("administrator@example.com").unwrap();
    let backend = google.connect(&Spec { endpoint: Some(google.gcp.url()), ..google.spec() }).await;

    // Theirs, ours, and theirs again.
    let binary: Vec<u8> = (0..=255).collect();
    let steps = json!([
        {"do": "create", "id": "theirs"},
        {"do": "add", "id": "theirs", "data": base64(b"\"first\"")},
        {"do": "add", "id": "theirs", "data": base64("\"grüße\\n\"".as_bytes())},
        {"do": "create", "id": "bytes"},
        {"do": "add", "id": "bytes", "data": base64(&binary)},
    ]);
    let results = client.run(&token, steps).await.unwrap();
    assert_eq!(ok(&results), [&json!("theirs"), &json!("1"), &json!("2"), &json!("bytes"), &json!("1")]);
    assert_eq!(text(read(&backend, "theirs").await), ("grüße\n".to_owned(), "2".to_owned()));
    let first = backend.read(&[versioned("theirs", "1"), Key::current("bytes")]).await;
    assert!(first[0].as_ref().is_ok_and(|found| found.value.equals(b"first")));
    assert!(first[1].as_ref().is_ok_and(|found| found.value.equals(&binary)));

    let ours: BTreeMap<&str, Vec<u8>> =
        [("text", "a \"quoted\" <text>\n".into()), ("bytes", binary.clone()), ("empty", Vec::new())].into();
    for (name, value) in &ours {
        let key = Key::current(format!("ours_{name}"));
        backend.write(&key, &SecretValue::new(value.clone()), Precondition::Absent).await.unwrap();
    }
    let placed = Spec { locations: vec!["europe-west1".into()], endpoint: Some(google.gcp.url()), ..google.spec() };
    let placed = google.connect(&placed).await;
    placed.write(&Key::current("placed"), &SecretValue::from("v".to_owned()), Precondition::None).await.unwrap();
    let steps = json!([
        {"do": "access", "id": "ours_text"},
        {"do": "access", "id": "ours_bytes"},
        {"do": "access", "id": "ours_empty", "version": "1"},
        {"do": "list", "filter": "name:ours_"},
        {"do": "replication", "id": "ours_text"},
        {"do": "replication", "id": "placed"},
        {"do": "versions", "id": "theirs"},
    ]);
    let results = client.run(&token, steps).await.unwrap();
    let results = ok(&results);
    for (result, stored) in results.iter().zip([br#""a \"quoted\" \u003ctext\u003e\n""#.as_slice(), &binary, b"\"\""]) {
        assert_eq!(result["data"], json!(base64(stored)));
        assert_eq!(result["crc32c"], json!(crc32c::crc32c(stored)));
    }
    assert_eq!(results[3], &json!(["ours_bytes", "ours_empty", "ours_text"]));
    assert!(results[4].get("automatic").is_some(), "{}", results[4]);
    assert_eq!(results[5]["user_managed"]["replicas"][0]["location"], "europe-west1");
    assert_eq!(results[6], &json!([["2", "ENABLED"], ["1", "ENABLED"]]));
    assert_eq!(backend.list("").await.unwrap(), ["bytes", "ours_bytes", "ours_empty", "ours_text", "placed", "theirs"]);
    log::assert_clean();
}

#[tokio::test]
async fn both_are_told_the_same() {
    log::watch();
    let google = Google::new("google-client-errors").await;
    let client = GcpPythonClient::new(&google.gcp).await.unwrap();
    let token = google.gcp.access_token("administrator@example.com").unwrap();
    let backend = google.connect(&Spec { endpoint: Some(google.gcp.url()), ..google.spec() }).await;
    let raw = Spec { endpoint: Some(google.gcp.url()), ..google.spec() };
    let raw = google.try_connect(&raw, Encoding::Raw).await.unwrap();
    for name in ["disabled", "destroyed", "deleted", "kept"] {
        google.put(name, "v");
    }
    let steps = json!([
        {"do": "disable", "id": "disabled"},
        {"do": "destroy", "id": "destroyed"},
        {"do": "delete", "id": "deleted"},
        {"do": "access", "id": "disabled"},
        {"do": "access", "id": "destroyed"},
        {"do": "access", "id": "deleted"},
        {"do": "access", "id": "kept", "version": "7"},
        {"do": "create", "id": "kept"},
        {"do": "add", "id": "kept", "data": ""},
        {"do": "add", "id": "kept", "data": base64(&[b'x'; 65_537])},
        {"do": "delete", "id": "kept", "etag": "\"stale\""},
    ]);
    let results = client.run(&token, steps).await.unwrap();
    assert_eq!(ok(&results[..3]), [&json!("DISABLED"), &json!("DESTROYED"), &Value::Null]);
    let errors: Vec<&str> = results[3..].iter().filter_map(|result| result["error"].as_str()).collect();
    let expected =
        ["BadRequest", "BadRequest", "NotFound", "NotFound", "Conflict", "BadRequest", "BadRequest", "BadRequest"];
    assert_eq!(errors, expected);
    let keys = [Key::current("disabled"), Key::current("destroyed"), Key::current("deleted"), versioned("kept", "7")];
    let kinds: Vec<ErrorKind> = backend.read(&keys).await.iter().map(kind).collect();
    let missing = ErrorKind::VersionNotFound;
    // A disabled one is there.
    assert_eq!(kinds, [ErrorKind::PermissionDenied, missing, ErrorKind::NotFound, missing]);
    let kept = Key::current("kept");
    let empty = raw.write(&kept, &SecretValue::new(Vec::new()), Precondition::None).await;
    assert_eq!(kind(&empty), ErrorKind::Unsupported);
    let large = raw.write(&kept, &SecretValue::new(vec![b'x'; 65_537]), Precondition::None).await;
    assert_eq!(kind(&large), ErrorKind::TooLarge);
    backend.delete(&kept, DeleteMode::Recoverable).await.unwrap();
    let results = client.run(&token, json!([{"do": "access", "id": "kept"}])).await.unwrap();
    assert_eq!(results, [json!({"error": "NotFound"})]);
    // A token that is not known: their client, too, would get another one and ask again.
    let nobody = client.run("ya29.none-such", json!([{"do": "list"}])).await.unwrap_err().to_string();
    assert!(nobody.contains("do not contain the necessary fields need to refresh"), "{nobody}");
    log::assert_clean();
}

/// The servers that give tokens take what Google's own library sends: a JWT signed with a key, and a federated token.
#[tokio::test]
async fn both_log_in_alike() {
    let google = Google::new("google-client-logins").await;
    let client = GcpPythonClient::new(&google.gcp).await.unwrap();
    google.put("K", "v");
    let steps = json!([{"do": "access", "id": "K"}]);
    let key = |name: &str| {
        let mut key = google.gcp.account_key(name).unwrap();
        key["token_uri"] = json!(format!("{}/token", google.gcp.plain_url()));
        key
    };
    let good = client.run_as(key(READER), steps.clone()).await.unwrap();
    assert_eq!(good[0]["ok"]["data"], json!(base64(b"\"v\"")));
    let replaced = key(READER);
    key(READER);
    let refused = client.run_as(replaced, steps.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("Invalid JWT Signature"), "{refused}");

    let provider = "projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod";
    let namespace = &google.cluster.namespace;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}});
    google.cluster.control_plane.apply_yaml(&account.to_string()).await.unwrap();
    let audience = format!("--audience=https://iam.googleapis.com/{provider}");
    let arguments = ["-n", namespace, "create", "token", "reader", &audience];
    let output = google.cluster.control_plane.kubectl(arguments).await.unwrap();
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), &output.stdout).unwrap();
    let subject = format!("system:serviceaccount:{namespace}:reader");
    let act = format!("{}/v1/projects/-/serviceAccounts/{READER}:generateAccessToken", google.gcp.url());
    let external = json!({"type": "external_account", "audience": format!("//iam.googleapis.com/{provider}"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/v1/token", google.gcp.url()), "service_account_impersonation_url": act,
        "credential_source": {"file": token.path()}});
    google.gcp.trust(provider, &subject);
    let refused = client.run_as(external.clone(), steps.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("iam.serviceAccounts.getAccessToken"), "{refused}");
    google.gcp.let_act_as(&subject, READER);
    let good = client.run_as(external, steps).await.unwrap();
    assert_eq!(good[0]["ok"]["data"], json!(base64(b"\"v\"")));
}
