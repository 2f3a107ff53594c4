//! What answers to a login mean, and what can be a token. Logins themselves are tried on a real Vault.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use reqwest::Url;
use serde_json::json;

use super::*;
use crate::backend::network::{Network, Settings};

#[test]
fn every_answer_to_a_login_has_its_kind() {
    for (status, expected) in [
        (400, ErrorKind::Unauthenticated),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::Unauthenticated),
        (404, ErrorKind::InvalidConfig),
        (405, ErrorKind::InvalidConfig),
        (408, ErrorKind::Timeout),
        (412, ErrorKind::Unavailable),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (504, ErrorKind::Timeout),
        (302, ErrorKind::Unexpected),
    ] {
        let answer = Answer::new(status, r#"{"errors":["invalid secret id REMOTE"]}"#);
        let error = error::of_login(&answer, "log in to Vault at auth/approle");
        assert_eq!(error.kind, expected, "{status}");
        assert!(error.message.starts_with("cannot log in to Vault at auth/approle: "), "{}", error.message);
        assert!(!error.message.contains("REMOTE"));
    }
}

#[test]
fn an_unknown_token_is_told_from_a_missing_right() {
    // The words of Vault 1.21.1.
    let unknown = r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
    assert!(is_unknown_token(&Answer::new(403, unknown)));
    assert!(!is_unknown_token(&Answer::new(403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#)));
    assert!(!is_unknown_token(&Answer::new(403, "<html>invalid token</html>")));
    assert!(is_unknown_token(&Answer::new(401, "")));
}

#[test]
fn a_token_is_one_word_with_white_space_around_it() {
    let token = |text: &str| Token::new(&SecretValue::from(text.to_owned()), "VAULT_TOKEN");
    assert!(token(" hvs.abc-_./=\n").is_ok());
    for bad in ["", " \n", "two words", "line\nline", "grüße", "a\0b"] {
        let error = token(bad).err().unwrap();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::InvalidConfig, "VAULT_TOKEN is no token of Vault")
        );
    }
}

/// A server that answers every login, renewal and question about a token with what `answer` says of the path.
async fn answering(answer: impl Fn(&str) -> (u16, serde_json::Value) + Clone + Send + Sync + 'static) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = axum::Router::new().fallback(async move |request: axum::extract::Request| {
        let (status, body) = answer(request.uri().path());
        (axum::http::StatusCode::from_u16(status).unwrap(), body.to_string())
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn login(url: &Url, method: Method) -> Login {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let network = Network::new(Settings { loopback: true, ..Settings::default() }).unwrap();
    Login::new(Server::new(network.client(), url, None).unwrap(), method, Duration::from_secs(10))
}

fn app_role() -> Method {
    let secret_id = SecretValue::from("s".to_owned());
    Method::AppRole { mount: "approle".to_owned(), role_id: "r".to_owned(), secret_id }
}

fn of_secret() -> Method {
    let token = Token::new(&SecretValue::from("t".to_owned()), "Secret vault").unwrap();
    Method::Token { token: Arc::new(token), origin: "Secret vault".to_owned() }
}

/// Some read of a value.
fn a_read() -> vaultrs::api::kv2::requests::ReadSecretRequest {
    vaultrs::api::kv2::requests::ReadSecretRequest { mount: "kv".to_owned(), path: "K".to_owned(), version: None }
}

#[tokio::test]
async fn a_life_longer_than_any_clock_is_a_long_life() {
    let auth = |seconds: u64| json!({"client_token": "t", "lease_duration": seconds, "renewable": true});
    for first in [u64::MAX, i64::MAX.unsigned_abs(), 1] {
        let url = answering(move |path| match path {
            "/v1/auth/approle/login" => (200, json!({"auth": auth(first)})),
            "/v1/auth/token/renew-self" => (200, json!({"auth": auth(u64::MAX)})),
            "/v1/auth/token/lookup-self" => (200, json!({"data": {"ttl": first, "renewable": true}})),
            _ => (200, json!({})),
        });
        let url = url.await;
        for method in [app_role(), of_secret()] {
            let login = login(&url, method);
            login.ready().await.unwrap();
            // Past the renewal of a short life, whose answer has a long one.
            tokio::time::pause();
            tokio::time::advance(Duration::from_millis(900)).await;
            tokio::time::resume();
            assert_eq!(login.call(a_read).await.unwrap().status, 200, "{first}");
        }
    }
}

#[tokio::test]
async fn a_token_that_could_ask_about_itself_and_no_longer_can_is_gone() {
    // Before version 1.17 Vault says no more of a token that it does not know.
    let denied = || (403, json!({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}));
    for was_known in [true, false] {
        let asked = Arc::new(AtomicU64::new(0));
        let url = answering(move |path| match path {
            "/v1/auth/token/lookup-self" if was_known && asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                (200, json!({"data": {"ttl": 3600, "renewable": false}}))
            }
            _ => denied(),
        });
        let login = login(&url.await, of_secret());
        for _ in 0..3 {
            let answer = login.call(a_read).await.map(|answer| answer.status).map_err(|error| error.kind);
            assert_eq!(answer, if was_known { Err(ErrorKind::Unauthenticated) } else { Ok(403) });
        }
    }
}
