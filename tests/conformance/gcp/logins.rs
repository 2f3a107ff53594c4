//! Logins by every method, counted at the servers that give tokens.

use std::time::Duration;

use atmos_secrets::api::store::{
    Encoding, GcpAuth, GcpSecretManager as Spec, GcpWorkloadIdentity, ServiceAccountToken,
};
use atmos_secrets::backend::credentials::gcp::Personal;
use atmos_secrets::backend::credentials::{Credentials, Surroundings, UserCredentials};
use atmos_secrets::backend::gcp_secret_manager::{self, GcpSecretManager};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key};
use atmos_secrets::value::SecretValue;
use e2e::{Fault, Matching};
use serde_json::{Value, json};

use super::{Google, READER, kind, read, refusal, text};
use crate::kubernetes::base64;
use crate::log;
use crate::suite::CANARY;

const PROVIDER: &str = "projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod";
const LOGIN: &str = "POST /token";

async fn read_often(backend: &GcpSecretManager) {
    for result in futures::future::join_all((0..10).map(|_| read(backend, "K"))).await {
        assert_eq!(text(result).0, CANARY);
    }
}

#[tokio::test]
async fn one_login_serves_every_read_and_one_more_the_end_of_its_token() {
    log::watch();
    let google = Google::new("google-key").await;
    google.put("K", CANARY);
    let backend = google.backend().await;
    assert!(google.gcp.requests().is_empty(), "connecting asks nothing");
    read_often(&backend).await;
    backend.check().await.unwrap();
    assert_eq!(google.gcp.count(LOGIN), 1);
    google.gcp.end_tokens();
    read_often(&backend).await;
    assert_eq!(google.gcp.count(LOGIN), 2, "exactly one login after the token's end");
    // A token that is refused whatever it is makes no storm of logins.
    google.proxy.inject(refusal(401, "UNAUTHENTICATED"), Matching::any());
    for _ in 0..5 {
        assert_eq!(kind(&read(&backend, "K").await), ErrorKind::Unauthenticated);
    }
    assert_eq!(google.gcp.count(LOGIN), 2, "refused again so soon, it is not the login");
    log::assert_clean();
}

/// Lets time pass for everything that waits for it, but not while anything is under way.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life_and_used_to_its_end() {
    let google = Google::new("google-renewal").await;
    google.put("K", CANARY);
    let backend = google.backend().await;
    read_often(&backend).await;
    pass(2800).await;
    read_often(&backend).await;
    assert_eq!(google.gcp.count(LOGIN), 1);
    pass(100).await;
    read_often(&backend).await;
    assert_eq!(google.gcp.count(LOGIN), 2, "after 2,880 of 3,600 seconds");

    let away = google.tokens.inject(Fault::answer(503), Matching::any());
    pass(3000).await;
    read_often(&backend).await;
    read_often(&backend).await;
    assert_eq!(away.hits(), 1, "a renewal that failed is not tried again at once");
    pass(700).await;
    assert_eq!(kind(&read(&backend, "K").await), ErrorKind::Unavailable);
    away.remove();
    read_often(&backend).await;
    assert_eq!(google.gcp.count(LOGIN), 3);
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_repeated_for_every_key() {
    log::watch();
    let google = Google::new("google-refused").await;
    let backend = google.backend().await;
    // Google forgets the key that the Secret holds.
    let newer = google.gcp.account_key(READER).unwrap();
    let many: Vec<Key> = (0..100).map(|number| Key::current(format!("K{number}"))).collect();
    for result in backend.read(&many).await {
        let error = result.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        let origin = format!("with the key of Secret {}/google, key key.json: ", google.cluster.namespace);
        assert!(error.message.contains(&origin), "{}", error.message);
    }
    assert_eq!(google.gcp.count(LOGIN), 1);
    assert_eq!(google.gcp.count("GET "), 0, "nothing is asked without a token");
    // A changed Secret makes a new connection.
    let data = json!({"key.json": base64(newer.to_string().as_bytes())});
    google.cluster.patch_secret("google", &json!({"data": data})).await;
    google.backend().await.check().await.unwrap();
    log::assert_clean();
}

/// The provider that a cluster of GKE has by itself, as the clients of many projects name it to Google.
const GKE: &str = "identitynamespace:payments-prod.svc.id.goog:https://container.googleapis.com/v1/projects/payments-prod/locations/europe-west1/clusters/prod";

fn identity(account: &str, audience: Option<&str>, email: Option<&str>) -> GcpAuth {
    let identity = GcpWorkloadIdentity {
        provider: PROVIDER.into(),
        service_account_email: email.map(str::to_owned),
        service_account: ServiceAccountToken { name: account.into(), audience: audience.map(str::to_owned) },
    };
    GcpAuth { workload_identity: Some(identity), ..GcpAuth::default() }
}

/// With tokens of a real API server, for the audience that Google's providers take by default.
#[tokio::test]
async fn a_service_account_is_a_federated_identity() {
    log::watch();
    let google = Google::new("google-federation").await;
    google.put("K", CANARY);
    let namespace = &google.cluster.namespace;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}});
    google.cluster.control_plane.apply_yaml(&account.to_string()).await.unwrap();
    let subject = format!("system:serviceaccount:{namespace}:reader");
    let connect = |auth: GcpAuth| {
        let spec = Spec { auth: Some(auth), ..google.spec() };
        let google = &google;
        async move { google.connect(&spec).await }
    };

    let backend = connect(identity("reader", None, None)).await;
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidConfig, "{}", error.message);
    google.gcp.trust(PROVIDER, "system:serviceaccount:elsewhere:reader");
    let error = read(&connect(identity("reader", None, None)).await, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("the token of ServiceAccount reader"), "{}", error.message);

    google.gcp.trust(PROVIDER, &subject);
    let backend = connect(identity("reader", None, None)).await;
    read_often(&backend).await;
    let exchanges = google.gcp.count("POST /v1/token");
    google.gcp.permit_only(&subject, &[]);
    assert_eq!(kind(&read(&backend, "K").await), ErrorKind::PermissionDenied, "it is that identity");

    let full = format!("//iam.googleapis.com/{PROVIDER}");
    let acting = connect(identity("reader", Some(&full), Some(READER))).await;
    let error = read(&acting, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains(&format!("act as the service account {READER}")), "{}", error.message);
    google.gcp.let_act_as(&subject, READER);
    let acting = connect(identity("reader", Some(&full), Some(READER))).await;
    read_often(&acting).await;
    google.gcp.end_tokens();
    read_often(&acting).await;
    assert_eq!(google.gcp.count("POST /v1/token"), exchanges + 3, "one exchange for each login");
    assert_eq!(google.gcp.count(":generateAccessToken"), 3);

    let before = google.gcp.requests().len();
    for (auth, expected) in [
        (identity("nobody", None, None), ErrorKind::SourceNotFound),
        (identity("reader", Some("https://kubernetes.default.svc"), None), ErrorKind::InvalidConfig),
    ] {
        assert_eq!(kind(&read(&connect(auth).await, "K").await), expected);
    }
    assert_eq!(google.gcp.requests().len(), before, "no token left the cluster");
    let wrong = connect(identity("reader", Some("somebody-else"), None)).await;
    assert_eq!(kind(&read(&wrong, "K").await), ErrorKind::Unauthenticated);

    google.gcp.trust(GKE, &subject);
    for email in [None, Some(READER)] {
        let mut auth = identity("reader", None, email);
        auth.workload_identity.as_mut().unwrap().provider = GKE.into();
        let expected = if email.is_some() { Ok(CANARY) } else { Err(ErrorKind::PermissionDenied) };
        let found = read(&connect(auth).await, "K").await.map_err(|error| error.kind);
        assert_eq!(found.map(|found| found.value.equals(CANARY.as_bytes())), expected.map(|_| true));
    }
    log::assert_clean();
}

#[tokio::test]
async fn a_login_that_fails_has_its_kind() {
    log::watch();
    let google = Google::new("google-login-errors").await;
    google.put("K", CANARY);
    let oauth = |code: u16, word: &str| {
        let body = json!({"error": word, "error_description": CANARY}).to_string();
        Fault::Answer { code, retry_after: None, body: Some(body) }
    };
    for (fault, expected) in [
        (oauth(400, "invalid_grant"), ErrorKind::Unauthenticated),
        (oauth(401, "invalid_client"), ErrorKind::Unauthenticated),
        (oauth(400, "invalid_scope"), ErrorKind::InvalidConfig),
        (refusal(429, "RESOURCE_EXHAUSTED"), ErrorKind::RateLimited),
        (oauth(500, "internal_failure"), ErrorKind::Unavailable),
        (refusal(503, "UNAVAILABLE"), ErrorKind::Unavailable),
        (Fault::Answer { code: 200, retry_after: None, body: Some("{}".into()) }, ErrorKind::Unexpected),
        (
            Fault::Answer { code: 200, retry_after: None, body: Some(r#"{"access_token": "a\nb"}"#.into()) },
            ErrorKind::Unauthenticated,
        ),
        (Fault::Cut { after_bytes: 0 }, ErrorKind::Unavailable),
    ] {
        google.tokens.clear();
        let failed = google.tokens.inject(fault.clone(), Matching::any());
        let error = read(&google.backend().await, "K").await.err().unwrap();
        assert_eq!(error.kind, expected, "{fault:?}: {}", error.message);
        assert_eq!(failed.hits(), 1, "{fault:?}");
        assert!(!error.message.contains(CANARY));
    }
    google.tokens.clear();
    let wait = Fault::Answer { code: 429, retry_after: Some(5), body: None };
    google.tokens.inject(wait, Matching::any());
    let error = read(&google.backend().await, "K").await.err().unwrap();
    assert_eq!(error.retry_after, Some(Duration::from_secs(5)));
    log::assert_clean();
}

async fn of_person(google: &Google, found: Option<(&str, Personal)>) -> Result<GcpSecretManager, Error> {
    let gcp = found.map(|(origin, personal)| (origin.to_owned(), personal));
    let credentials = Credentials::OfUser(UserCredentials { gcp, ..UserCredentials::default() });
    // The Secret that the Store names is not touched.
    let spec = Spec { auth: Some(super::key("none-such")), ..google.spec() };
    gcp_secret_manager::connect(&spec, &Surroundings { credentials, ..google.around(Encoding::Atmos) }).await
}

#[tokio::test]
async fn a_person_logs_in_with_what_gcloud_has() {
    log::watch();
    let google = Google::new("google-person").await;
    google.put("K", "v");
    let file = |json: &Value| Personal::File(SecretValue::from(json.to_string()));

    let error = of_person(&google, None).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("gcloud auth application-default login"), "{}", error.message);

    let person = google.gcp.person("ada@example.com").unwrap();
    let backend = of_person(&google, Some(("adc.json", file(&person)))).await.unwrap();
    assert_eq!(text(read(&backend, "K").await).0, "v");
    google.gcp.permit_only("ada@example.com", &[]);
    assert_eq!(kind(&read(&backend, "K").await), ErrorKind::PermissionDenied, "with the person's own rights");
    let revoked = json!({"refresh_token": CANARY});
    let revoked: Value = json!({"type": "authorized_user", "client_id": person["client_id"], "client_secret": person["client_secret"],
            "refresh_token": revoked["refresh_token"]});
    let error = read(&of_person(&google, Some(("adc.json", file(&revoked)))).await.unwrap(), "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("with adc.json") && !error.message.contains(CANARY), "{}", error.message);

    let key = google.gcp.account_key(READER).unwrap();
    let backend = of_person(&google, Some(("key.json", file(&key)))).await.unwrap();
    assert_eq!(text(read(&backend, "K").await).0, "v");

    // A token that somebody made is not renewed, and is used as it is.
    google.gcp.accept_token(CANARY, "grace@example.com");
    let token = || Personal::Token(SecretValue::from(format!("{CANARY}\n")));
    let logins = google.gcp.count(LOGIN);
    let backend = of_person(&google, Some(("GOOGLE_OAUTH_ACCESS_TOKEN", token()))).await.unwrap();
    assert_eq!(text(read(&backend, "K").await).0, "v");
    google.gcp.end_tokens();
    let error = read(&backend, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("the access token of GOOGLE_OAUTH_ACCESS_TOKEN"), "{}", error.message);
    assert_eq!(google.gcp.count(LOGIN), logins);
    log::assert_clean();
}
