//! What goes over the wire, and what a real Vault does not do on command: an echo of requests, limits, odd paths.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atmos_secrets::api::store::{self, Encoding, VaultAuth};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, UserCredentials};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::vault::connect;
use atmos_secrets::backend::{ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use axum::Router;
use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{around, read, spec, user, watch};
use crate::suite::CANARY;
use crate::suite::only;
use crate::{log, wire};

type Seen = Arc<Mutex<Vec<(String, String, HeaderMap)>>>;

/// A Vault that has one value everywhere, and keeps what it was asked.
async fn recording() -> (String, Seen, tokio::task::JoinHandle<()>) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let answer = move |request: Request| {
        let (method, uri) = (request.method().to_string(), request.uri().to_string());
        let data = if uri.ends_with("/lookup-self") {
            json!({"ttl": 0, "renewable": false})
        } else if uri.contains("/sys/") {
            json!({"type": "kv", "options": {"version": "2"}})
        } else {
            json!({"data": {"value": CANARY}, "metadata": {"version": 7}, "version": 8})
        };
        kept.lock().unwrap().push((method, uri, request.headers().clone()));
        async move { json!({"data": data}).to_string() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    (url, seen, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

#[tokio::test]
async fn the_namespace_goes_with_every_request_and_each_segment_is_encoded() {
    watch();
    let (url, seen, task) = recording().await;
    // The namespace header is a part of Vault Enterprise (https://developer.hashicorp.com/vault/docs/enterprise/namespaces).
    let with_base = store::Vault { namespace: Some("admin/team/".into()), ..spec(&format!("{url}/base/"), "my kv", 2) };
    let backend = user(&with_base, "hvs.token\n", Encoding::Atmos).await.unwrap();
    assert_eq!(read(&backend, "/prod/a b/ü%2f?x#y").await.unwrap().version, "7");
    backend.write(&Key::current("prod/K"), &SecretValue::from("x".to_owned()), Precondition::None).await.unwrap();
    let pinned = Key { version: Some("3".into()), ..Key::current("prod/K") };
    assert!(only(backend.read(&[pinned]).await).is_ok());
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let asked: Vec<String> = seen.iter().map(|(method, uri, _)| format!("{method} {uri}")).collect();
    assert_eq!(
        asked,
        [
            "GET /base/v1/auth/token/lookup-self",
            "GET /base/v1/my%20kv/data/prod/a%20b/%C3%BC%252f%3Fx%23y",
            "GET /base/v1/sys/internal/ui/mounts/my%20kv",
            "POST /base/v1/my%20kv/data/prod/K",
            "GET /base/v1/my%20kv/data/prod/K?version=3",
        ]
    );
    for (_, uri, headers) in &seen {
        let header = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(header("x-vault-namespace"), ["admin/team"], "{uri}");
        assert_eq!(header("x-vault-token"), ["hvs.token"], "{uri}");
        assert_eq!(header("x-vault-request"), ["true"], "{uri}");
    }
    task.abort();
    log::assert_clean();
}

#[tokio::test]
async fn the_wait_that_vault_asks_for_is_kept() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = || async { (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "7")], r#"{"errors":["rate limit"]}"#) };
    let task = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    let backend = user(&spec(&url, "secret", 2), "t", Encoding::Atmos).await.unwrap();
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(7))));
    task.abort();
}

#[tokio::test]
async fn a_definition_that_cannot_work_says_what_is_wrong() {
    let good = || spec("http://127.0.0.1:1", "secret", 2);
    let objects = wire::absent().await.objects.clone();
    for (spec, kind, hint) in [
        (good(), ErrorKind::InvalidConfig, "vault.auth is missing"),
        (store::Vault { auth: Some(VaultAuth::default()), ..good() }, ErrorKind::InvalidConfig, "exactly one of token"),
        (store::Vault { mount: "a/../sys".into(), ..good() }, ErrorKind::InvalidConfig, "vault.mount has"),
        (store::Vault { mount: "/".into(), ..good() }, ErrorKind::InvalidConfig, "vault.mount is empty"),
        (store::Vault { address: "vault".into(), ..good() }, ErrorKind::InvalidConfig, "vault.address"),
        (
            store::Vault { address: "https://other.example".into(), ..good() },
            ErrorKind::EndpointNotAllowed,
            "other.example",
        ),
        (
            store::Vault { address: "https://169.254.169.254".into(), ..good() },
            ErrorKind::EndpointNotAllowed,
            "metadata",
        ),
        (store::Vault { kv_version: Some(3), ..good() }, ErrorKind::InvalidConfig, "vault.kvVersion"),
    ] {
        let credentials = Credentials::OfStore(StoreRights::default());
        let error = connect(&spec, &around(objects.clone(), "n", credentials, Encoding::Atmos)).await.err().unwrap();
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(hint), "{}", error.message);
    }
    let bad_namespace = store::Vault { namespace: Some("a\nb".into()), ..good() };
    assert_eq!(user(&bad_namespace, "t", Encoding::Atmos).await.err().unwrap().kind, ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn a_persons_token_goes_to_no_host_that_the_person_did_not_name() {
    let (url, seen, task) = recording().await;
    let given = || UserCredentials {
        vault: Some(("VAULT_TOKEN".into(), SecretValue::from("hvs.token".to_owned()))),
        ..UserCredentials::default()
    };
    let objects = wire::absent().await.objects.clone();
    let settings = Settings { allowed_hosts: vec!["vault.example.com:8200".parse().unwrap()], ..Settings::default() };
    for address in [url.as_str(), "https://vault.example.com", "https://elsewhere.example:8200"] {
        let around = atmos_secrets::backend::credentials::Surroundings {
            network: Network::new(settings.clone()).unwrap(),
            ..around(objects.clone(), "n", Credentials::OfUser(given()), Encoding::Atmos)
        };
        let error = connect(&spec(address, "secret", 2), &around).await.err().unwrap();
        assert!(matches!(error.kind, ErrorKind::EndpointNotAllowed | ErrorKind::InvalidConfig), "{}", error.message);
    }
    assert!(seen.lock().unwrap().is_empty());
    let none = Credentials::OfUser(UserCredentials::default());
    let around = around(objects, "n", none, Encoding::Atmos);
    let error = connect(&spec(&url, "secret", 2), &around).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("vault login"), "{}", error.message);
    task.abort();
}
