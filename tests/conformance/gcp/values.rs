//! What is read: forms of values, versions and their states, checksums, rights.

use atmos_secrets::api::store::{Encoding, GcpAuth, GcpSecretManager as Spec};
use atmos_secrets::backend::{Backend, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use e2e::{Fault, Matching};
use serde_json::json;

use super::{Google, READER, key, kind, read, refusal, text, versioned};
use crate::log;
use crate::suite::CANARY;
use crate::suite::only;

/// The forms of Atmos: what it stored is read right, and what we write is that form, byte for byte.
#[tokio::test]
async fn values_are_those_of_atmos() {
    log::watch();
    let google = Google::new("google-atmos").await;
    let backend = google.backend().await;
    let raw = google.try_connect(&google.spec(), Encoding::Raw).await.unwrap();
    for (stored, expected) in [
        (r#""abc""#, "abc"),
        (r#""""#, ""),
        (r#""a\u003cb\n""#, "a<b\n"),
        (r#""{\"a\":1}""#, r#"{"a":1}"#),
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
        ("[1]", "[1]"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("by hand\n", "by hand\n"),
    ] {
        google.gcp.put("K", stored.as_bytes());
        assert_eq!(text(read(&backend, "K").await).0, expected, "{stored}");
        assert_eq!(text(read(&raw, "K").await).0, stored);
    }
    let written = Key::current("W");
    for (value, expected) in [
        ("abc", r#""abc""#),
        ("", r#""""#),
        ("line\n", r#""line\n""#),
        (r#"{"a": 1}"#, r#""{\"a\": 1}""#),
        ("<&>", r#""\u003c\u0026\u003e""#),
        ("123", r#""123""#),
    ] {
        backend.write(&written, &SecretValue::from(value.to_owned()), Precondition::None).await.unwrap();
        assert_eq!(google.gcp.payload("W").as_deref(), Some(expected.as_bytes()), "{value}");
        assert!(google.gcp.has_checksum("W"));
        assert_eq!(text(read(&backend, "W").await).0, value);
    }
    raw.write(&written, &SecretValue::from("abc\n".to_owned()), Precondition::None).await.unwrap();
    assert_eq!(google.gcp.payload("W").as_deref(), Some(b"abc\n".as_slice()));
    let empty = raw.write(&written, &SecretValue::new(Vec::new()), Precondition::None).await;
    assert_eq!(kind(&empty), ErrorKind::Unsupported);
    let fits = SecretValue::new(vec![b'x'; 65_536]);
    assert!(raw.write(&written, &fits, Precondition::None).await.is_ok());
    // The quotes of the literal are two bytes too many.
    let asked = google.gcp.requests().len();
    assert_eq!(kind(&backend.write(&written, &fits, Precondition::None).await), ErrorKind::TooLarge);
    assert_eq!(google.gcp.requests().len(), asked, "found out without asking");
    log::assert_clean();
}

#[tokio::test]
async fn versions_by_number_alias_and_state() {
    log::watch();
    let google = Google::new("google-versions").await;
    let backend = google.backend().await;
    for value in ["first", "second", "third", "fourth"] {
        google.put("K", value);
    }
    google.gcp.set_alias("K", "prod", 2);
    let asked = ["latest", "1", "2", "prod", "9", "none-such", "a b", ""].map(|version| versioned("K", version));
    let results = backend.read(&asked).await;
    let expected = [("fourth", "4"), ("first", "1"), ("second", "2"), ("second", "2")];
    for (result, (value, version)) in results.iter().zip(expected) {
        assert_eq!(text(result.clone()), (value.to_owned(), version.to_owned()));
    }
    assert_eq!(results[4..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::VersionNotFound; 4]);
    let probed: Vec<_> =
        backend.probe(&asked).await.into_iter().map(|found| found.map(|found| found.version)).collect();
    assert_eq!(probed[..4].iter().flatten().collect::<Vec<_>>(), ["4", "1", "2", "2"]);
    assert_eq!(probed[4..].iter().map(kind).collect::<Vec<_>>(), [ErrorKind::VersionNotFound; 4]);
    assert_eq!(kind(&only(backend.read(&[versioned("NONE", "1")]).await)), ErrorKind::NotFound);
    assert_eq!(backend.versions(&Key::current("K")).await.unwrap(), ["4", "3", "2", "1"]);

    // The latest version is the one that was added last, whatever its state: an older one is not the value.
    google.gcp.disable("K", 4);
    google.gcp.destroy("K", 3);
    let (now, third) = (Key::current("K"), versioned("K", "3"));
    for (key, kind, words) in [
        // It is there: nothing else may stand in for it.
        (
            &now,
            ErrorKind::PermissionDenied,
            "the latest version of the secret K is disabled: gcloud secrets versions enable",
        ),
        (&third, ErrorKind::VersionNotFound, "version 3 of the secret K is destroyed, for good: set a new value"),
    ] {
        let read = only(backend.read(std::slice::from_ref(key)).await);
        let probed = only(backend.probe(std::slice::from_ref(key)).await);
        for error in [read.err().unwrap(), probed.err().unwrap()] {
            assert_eq!(error.kind, kind);
            assert!(error.message.starts_with(words), "{}", error.message);
        }
    }
    assert_eq!(backend.versions(&now).await.unwrap(), ["4", "2", "1"], "what is destroyed is no version any more");
    google.gcp.enable("K", 4);
    assert_eq!(text(read(&backend, "K").await).0, "fourth");
    google.gcp.destroy("K", 4);
    let error = read(&backend, "K").await.err().unwrap();
    assert!(error.message.starts_with("the latest version of the secret K is destroyed"), "{}", error.message);
    google.gcp.create_empty("EMPTY");
    assert_eq!(kind(&read(&backend, "EMPTY").await), ErrorKind::NotFound);
    log::assert_clean();
}

/// A version of another secret, of another number, and a value that is not what was stored are never handed on.
#[tokio::test]
async fn what_came_damaged_or_of_something_else_is_no_value() {
    log::watch();
    let google = Google::new("google-damaged").await;
    let backend = google.backend().await;
    google.put("K", CANARY);
    assert_eq!(text(read(&backend, "K").await).0, CANARY);
    google.gcp.damage("K", 1);
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unexpected);
    assert!(error.message.contains("its checksum is another one"), "{}", error.message);
    assert!(error.kind.is_transient(), "asked again, it may come whole");

    let payload = |sum: Option<&str>| {
        let data = crate::kubernetes::base64(CANARY.as_bytes());
        match sum {
            Some(sum) => json!({"data": data, "dataCrc32c": sum}),
            None => json!({"data": data}),
        }
    };
    let answers = [
        (json!({"name": "projects/1/secrets/OTHER/versions/1", "payload": payload(None)}), false),
        (json!({"name": "projects/1/secrets/K/versions/2", "payload": payload(None)}), false),
        (json!({"name": "projects/1/secrets/K/versions/latest", "payload": payload(None)}), false),
        (json!({"name": "projects/1/secrets/K/versions/1"}), false),
        (json!({"name": "projects/1/secrets/K/versions/1", "payload": {"data": "canary!"}}), false),
        (json!({"name": "projects/1/secrets/K/versions/1", "payload": payload(Some("-1"))}), false),
        // Without a checksum there is nothing to check.
        (json!({"name": "projects/1/secrets/K/versions/1", "payload": payload(None)}), true),
    ];
    for (answer, is_good) in answers {
        let fault = Fault::Answer { code: 200, retry_after: None, body: Some(answer.to_string()) };
        google.proxy.inject(fault, Matching::any().path(":access").times(1));
        let found = only(backend.read(&[versioned("K", "1")]).await);
        match is_good {
            true => assert_eq!(text(found).0, CANARY),
            false => assert_eq!(kind(&found), ErrorKind::Unexpected, "{}", answer["name"]),
        }
    }
    log::assert_clean();
}

#[tokio::test]
async fn denied_is_not_missing() {
    log::watch();
    let google = Google::new("google-rights").await;
    google.put("K", CANARY);
    let backend = google.backend().await;
    let keys = ["K", "NONE"].map(Key::current);

    // The least that reading needs (roles/secretmanager.secretAccessor on the project).
    google.gcp.permit_only(READER, &["secretmanager.versions.access"]);
    let results = backend.read(&keys).await;
    assert_eq!(text(results[0].clone()).0, CANARY);
    assert_eq!(kind(&results[1]), ErrorKind::NotFound);
    let error = only(backend.read(&[versioned("K", "7")]).await).err().unwrap();
    assert_eq!(error.kind, ErrorKind::VersionNotFound);
    assert!(error.message.contains("no such version, or no such secret"), "{}", error.message);
    google.gcp.disable("K", 1);
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("is disabled"), "{}", error.message);
    google.gcp.enable("K", 1);
    for result in backend.probe(&keys).await {
        assert_eq!(kind(&result), ErrorKind::PermissionDenied);
    }
    backend.check().await.unwrap();

    // Asking whether it is there reads no value, and needs no right to.
    google.gcp.permit_only(READER, &["secretmanager.versions.get"]);
    assert_eq!(only(backend.probe(&keys[..1]).await).unwrap().version, "1");
    assert_eq!(kind(&read(&backend, "K").await), ErrorKind::PermissionDenied);

    google.gcp.permit_only(READER, &[]);
    for result in backend.read(&keys).await {
        assert_eq!(kind(&result), ErrorKind::PermissionDenied);
    }
    backend.check().await.unwrap();
    assert_eq!(kind(&backend.list("").await), ErrorKind::PermissionDenied);
    let written = backend.write(&keys[1], &SecretValue::from("x".to_owned()), Precondition::None).await;
    assert_eq!(kind(&written), ErrorKind::PermissionDenied);
    log::assert_clean();
}

/// To who has rights on single secrets Google does not tell one that is missing from one that is somebody else's.
#[tokio::test]
async fn with_rights_on_single_secrets_a_missing_one_is_denied() {
    let google = Google::new("google-confined").await;
    google.put("MINE", "mine");
    google.put("OTHERS", "theirs");
    google.gcp.permit_only_on(READER, &["MINE"]);
    let backend = google.backend().await;
    let results = backend.read(&["MINE", "OTHERS", "NONE"].map(Key::current)).await;
    assert_eq!(text(results[0].clone()).0, "mine");
    let messages = results[1..].iter().map(|result| {
        let error = result.as_ref().err().unwrap();
        assert_eq!(error.kind, ErrorKind::PermissionDenied);
        error.message.replace("OTHERS", "NONE")
    });
    let messages: Vec<String> = messages.collect();
    assert_eq!(messages[0], messages[1], "whether there is one is not told");
    assert!(messages[0].contains("or there is none and the right is not on the whole project"), "{}", messages[0]);
    backend.check().await.unwrap();
}

#[tokio::test]
async fn the_wait_that_is_asked_for_is_kept_and_what_is_wrong_with_the_project_is_said() {
    let google = Google::new("google-waits").await;
    let backend = google.backend().await;
    let wait = Fault::Answer { code: 429, retry_after: Some(7), body: Some("{}".into()) };
    google.proxy.inject(wait, Matching::any().times(1));
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!((error.kind, error.retry_after.map(|wait| wait.as_secs())), (ErrorKind::RateLimited, Some(7)));
    for (reason, words) in [
        ("SERVICE_DISABLED", "the API is not enabled"),
        ("CONSUMER_INVALID", "no such project"),
        ("BILLING_DISABLED", "billing"),
    ] {
        let body = json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [{"reason": reason}]}});
        let fault = Fault::Answer { code: 403, retry_after: None, body: Some(body.to_string()) };
        google.proxy.inject(fault, Matching::any().times(2));
        let error = read(&backend, "K").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidConfig);
        assert!(error.message.contains(words), "{}", error.message);
        assert_eq!(kind(&backend.check().await), ErrorKind::InvalidConfig, "a store that cannot work is not connected");
    }
    google.proxy.inject(refusal(503, "UNAVAILABLE"), Matching::any());
    assert_eq!(kind(&backend.check().await), ErrorKind::Unavailable);
}

/// IAM knows whom it refuses; nobody else who answers 403 says anything about the login.
#[tokio::test]
async fn a_check_tells_what_iam_refuses_from_what_others_do() {
    let google = Google::new("google-check").await;
    let backend = google.backend().await;
    let refused = |reason: &str| {
        let details = json!([{"reason": reason}]);
        json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": CANARY, "details": details}})
            .to_string()
    };
    for (body, expected) in [
        (refused("IAM_PERMISSION_DENIED"), None),
        (refused("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), Some(ErrorKind::PermissionDenied)),
        (refused("SECURITY_POLICY_VIOLATED"), Some(ErrorKind::PermissionDenied)),
        ("<html>no</html>".to_owned(), Some(ErrorKind::PermissionDenied)),
    ] {
        let fault = Fault::Answer { code: 403, retry_after: None, body: Some(body.clone()) };
        google.proxy.inject(fault, Matching::any().times(1));
        assert_eq!(backend.check().await.err().map(|error| error.kind), expected, "{body}");
    }
}

#[tokio::test]
async fn a_definition_that_cannot_work_says_what_is_wrong() {
    let google = Google::new("google-definition").await;
    let good = || google.spec();
    let both = GcpAuth { workload_identity: Some(Default::default()), ..key("google") };
    for (spec, expected, words) in [
        (Spec { project_id: "a/secrets/b".into(), ..good() }, ErrorKind::InvalidConfig, "projectId"),
        (Spec { project_id: "..".into(), ..good() }, ErrorKind::InvalidConfig, "projectId"),
        (Spec { project_id: String::new(), ..good() }, ErrorKind::InvalidConfig, "projectId"),
        (Spec { auth: None, ..good() }, ErrorKind::InvalidConfig, "exactly one"),
        (Spec { auth: Some(GcpAuth::default()), ..good() }, ErrorKind::InvalidConfig, "exactly one"),
        (Spec { auth: Some(both), ..good() }, ErrorKind::InvalidConfig, "exactly one"),
        (Spec { auth: Some(key("none")), ..good() }, ErrorKind::SourceNotFound, "there is no Secret"),
        (
            Spec { endpoint: Some("https://elsewhere.example".into()), ..good() },
            ErrorKind::EndpointNotAllowed,
            "elsewhere.example",
        ),
        (
            Spec { endpoint: Some("https://169.254.169.254".into()), ..good() },
            ErrorKind::EndpointNotAllowed,
            "metadata",
        ),
    ] {
        let error = google.try_connect(&spec, Encoding::Atmos).await.err().unwrap();
        assert_eq!(error.kind, expected, "{}", error.message);
        assert!(error.message.contains(words), "{}", error.message);
    }
    assert!(google.gcp.requests().is_empty(), "connecting asks nothing");
    let google_own = Spec { endpoint: None, ..good() };
    assert!(google.try_connect(&google_own, Encoding::Atmos).await.is_ok());
}
