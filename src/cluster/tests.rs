//! [`Objects`] against an HTTP server that answers whatever the test wants.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::*;
use crate::value::SecretValue;

const CANARY: &str = "canary-7f3a";
/// `canary-7f3a` as base64.
const CANARY_BASE64: &str = "Y2FuYXJ5LTdmM2E=";

/// A request as it came in.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    uri: Uri,
    accept: String,
    body: Vec<u8>,
}

struct Server {
    objects: Objects,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers every request with what `answer` makes of it.
    async fn start<A: IntoResponse>(answer: impl Fn(&Seen) -> A + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let accept = headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            let request = Seen { method, uri, accept, body: body.to_vec() };
            log.lock().unwrap().push(request.clone());
            let response: Response = answer(&request).into_response();
            async move { response }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        Self { objects: Objects::connect(&config).unwrap(), seen, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn secret(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "data": data,
    })
}

#[tokio::test]
async fn a_refusal_says_its_code_and_its_cause_and_no_text() {
    let status = |code: u16, reason: &str, message: &str| {
        (code, json!({"kind": "Status", "reason": reason, "message": message, "code": code}).to_string())
    };
    let webhook = format!("admission webhook \"a.b\" denied the request: exceeded quota: {CANARY}");
    let policy =
        format!("secrets \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {CANARY}");
    let quota = format!("secrets \"s\" is forbidden: exceeded quota: {CANARY}, requested: secrets=1");
    let gone = "secrets \"s\" is forbidden: unable to create new content in namespace n because it is being terminated";
    let starting = "secrets \"s\" is forbidden: not yet ready to handle request";
    for ((code, body), reason, cause) in [
        (status(403, "Forbidden", CANARY), StatusReason::Forbidden, Cause::Unspecified),
        (status(403, "Forbidden", &quota), StatusReason::Forbidden, Cause::QuotaExceeded),
        (status(403, "Forbidden", gone), StatusReason::Forbidden, Cause::NamespaceTerminating),
        (status(403, "Forbidden", &webhook), StatusReason::Forbidden, Cause::AdmissionDenied),
        (status(403, "Forbidden", starting), StatusReason::Forbidden, Cause::Starting),
        (status(422, "Invalid", &policy), StatusReason::Invalid, Cause::AdmissionDenied),
        (status(409, "AlreadyExists", CANARY), StatusReason::AlreadyExists, Cause::Unspecified),
        (status(500, CANARY, CANARY), StatusReason::Other, Cause::Unspecified),
        ((502, format!("<html>{CANARY}")), StatusReason::Other, Cause::Unspecified),
        ((404, "not found".to_owned()), StatusReason::Other, Cause::Unspecified),
    ] {
        let answer = (StatusCode::from_u16(code).unwrap(), body.clone());
        let server = Server::start(move |_| answer.clone()).await;
        let error = server.objects.get_secret("n", "s").await.err().expect("an error");
        assert_eq!(error, Error::Refused(Refusal { status: code, reason, cause, retry_after: None }), "{body}");
        assert!(!format!("{error} {error:?}").contains(CANARY));
    }
}

#[tokio::test]
async fn only_the_api_servers_own_not_found_is_absence() {
    let body = json!({"kind": "Status", "reason": "NotFound", "code": 404}).to_string();
    let server = Server::start(move |_| (StatusCode::NOT_FOUND, body.clone())).await;
    assert!(server.objects.get_secret("n", "s").await.unwrap().is_none());
    assert!(server.objects.get_config_map("n", "s").await.unwrap().is_none());
    let server = Server::start(|_| (StatusCode::NOT_FOUND, "404 page not found")).await;
    assert!(server.objects.get_secret("n", "s").await.is_err());
}

#[tokio::test]
async fn a_call_is_one_request() {
    let server = Server::start(|_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "")).await;
    let error = server.objects.get_secret("n", "s").await.err().expect("an error");
    assert_eq!(error.refusal().unwrap().retry_after, Some(Duration::from_secs(1)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    // Accepts, and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let limit = Duration::from_millis(50);
    let objects = Objects::connect(&config).unwrap().with_timeout(limit);
    assert_eq!(objects.get_secret("n", "s").await.err(), Some(Error::Timeout(limit)));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    drop(listener);
    let objects = Objects::connect(&config).unwrap();
    assert_eq!(objects.get_secret("n", "s").await.err(), Some(Error::Unreachable));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let server = Server::start(|_| "x".repeat(MAX_OBJECT + 1)).await;
    assert_eq!(server.objects.get_secret("n", "s").await.err(), Some(Error::AnswerTooLarge(MAX_OBJECT)));
}

#[tokio::test]
async fn names_that_would_leave_their_place_in_the_path_are_refused_unsent() {
    let server = Server::start(|_| secret(json!({})).to_string()).await;
    let long = "a".repeat(254);
    for name in ["", ".", "..", "a/b", "a%2fb", "a?b", "A", "a_b", "-a", "a-", "a..b", "a b", "ä", long.as_str()] {
        assert_eq!(server.objects.get_secret("n", name).await.err(), Some(Error::InvalidName), "{name:?}");
        assert_eq!(server.objects.get_secret(name, "s").await.err(), Some(Error::InvalidName), "{name:?}");
    }
    assert!(server.seen().is_empty());
    for name in ["a", "0", "a-b.c9"] {
        assert!(server.objects.get_secret("n", name).await.is_ok(), "{name:?}");
    }
}

#[tokio::test]
async fn a_replacement_carries_on_what_belongs_to_others() {
    let stored = json!({
        "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "s", "namespace": "n", "uid": "u", "resourceVersion": "7",
            "labels": {"team": "a"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY, "a": "b"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x", "controller": true}],
            "finalizers": ["example.com/keep"],
            "managedFields": [{"manager": "kubectl"}],
        },
        "data": {"k": CANARY_BASE64, "empty": ""},
    });
    let answer = stored.to_string();
    let server = Server::start(move |_| answer.clone()).await;
    let mut found = server.objects.get_secret("n", "s").await.unwrap().unwrap();
    found.metadata.annotations.insert("ours", "1");
    assert!(found.data.get("k").unwrap().equals(CANARY.as_bytes()));
    let new = SecretValue::new(vec![0, 255, b'\n']);
    let mut data: std::collections::BTreeMap<&str, &SecretValue> =
        found.data.iter().map(|(key, value)| (key.as_str(), value)).collect();
    data.insert("new", &new);
    let draft = SecretDraft { metadata: &found.metadata, secret_type: OPAQUE, immutable: false, data };
    let written = server.objects.replace_secret(&draft).await.unwrap();
    assert_eq!(written, Written { uid: "u".into(), resource_version: "7".into() });

    let request = server.seen().pop().unwrap();
    assert_eq!((request.method, request.uri.path()), (Method::PUT, "/api/v1/namespaces/n/secrets/s"));
    let mut expected = stored;
    expected["apiVersion"] = json!("v1");
    expected["data"]["new"] = json!("AP8K");
    expected["metadata"]["annotations"]["ours"] = json!("1");
    expected["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);
}

#[tokio::test]
async fn a_creation_names_no_state_and_a_write_without_state_is_refused_unsent() {
    let server = Server::start(|_| secret(json!({})).to_string()).await;
    let metadata = Metadata { namespace: "n".into(), name: "s".into(), uid: "old".into(), ..Metadata::default() };
    let draft = || SecretDraft { metadata: &metadata, secret_type: OPAQUE, immutable: true, data: Default::default() };
    server.objects.create_secret(&draft()).await.unwrap();
    let request = server.seen().pop().unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((request.method, request.uri.path()), (Method::POST, "/api/v1/namespaces/n/secrets"));
    assert_eq!(body["immutable"], json!(true));
    assert!(body["metadata"].get("uid").is_none() && body["metadata"].get("resourceVersion").is_none());

    let sent = server.seen().len();
    assert_eq!(server.objects.replace_secret(&draft()).await.err(), Some(Error::MissingPrecondition));
    assert_eq!(server.objects.delete_secret("n", "s", "u", "").await.err(), Some(Error::MissingPrecondition));
    assert_eq!(server.seen().len(), sent);
}

#[tokio::test]
async fn metadata_are_asked_for_without_data() {
    let server = Server::start(|_| secret(json!({"k": CANARY_BASE64})).to_string()).await;
    let metadata = server.objects.get_secret_metadata("n", "s").await.unwrap().unwrap();
    assert_eq!(metadata.resource_version, "7");
    assert!(server.seen().pop().unwrap().accept.contains("PartialObjectMetadata"));
}

#[tokio::test]
async fn lists_are_read_to_the_last_page() {
    let server = Server::start(|request| {
        let next = if request.uri.query().unwrap().contains("continue=t1") { "" } else { "t1" };
        json!({"kind": "SecretList", "metadata": {"continue": next}, "items": [secret(json!({"k": CANARY_BASE64}))]})
            .to_string()
    })
    .await;
    let found = server.objects.list_secrets("n", "secrets.atmos.tools/values", "true").await.unwrap();
    assert_eq!(found.len(), 2);
    let queries: Vec<String> = server.seen().iter().map(|seen| seen.uri.query().unwrap().to_owned()).collect();
    assert!(
        queries.iter().all(|query| query.contains("labelSelector=secrets.atmos.tools%2Fvalues%3Dtrue")),
        "{queries:?}"
    );
}

#[tokio::test]
async fn config_maps_give_text_and_binary_data() {
    let body = json!({
        "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "data": {"a.yaml": "x: \"1\"\n"}, "binaryData": {"b.bin": "AP8K"},
    })
    .to_string();
    let server = Server::start(move |_| body.clone()).await;
    let found = server.objects.get_config_map("n", "c").await.unwrap().unwrap();
    assert!(found.data.get("a.yaml").unwrap().equals(b"x: \"1\"\n"));
    assert!(found.data.get("b.bin").unwrap().equals(&[0, 255, b'\n']));
}
