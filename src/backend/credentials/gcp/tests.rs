//! What can be said of a login without a server; `tests/conformance/gcp` logs in to one.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::{Value, json};

use super::exchange::Provider;
use super::person::source;
use super::*;
use crate::backend::network::Settings;

fn network() -> Network {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Network::new(Settings::default()).unwrap()
}

#[test]
fn a_provider_is_taken_in_every_form_that_google_shows() {
    let path = "projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod-1";
    for start in ["", "//iam.googleapis.com/", "https://iam.googleapis.com/"] {
        let parsed = Provider::parse(&format!("{start}{path}")).unwrap();
        assert_eq!(parsed.audience, format!("//iam.googleapis.com/{path}"));
        assert_eq!(parsed.token_audience, format!("https://iam.googleapis.com/{path}"));
    }
    let gke = "identitynamespace:payments-prod.svc.id.goog:\
               https://container.googleapis.com/v1/projects/payments-prod/locations/europe-west1/clusters/prod";
    let parsed = Provider::parse(gke).unwrap();
    assert_eq!((parsed.audience.as_str(), parsed.token_audience.as_str()), (gke, "payments-prod.svc.id.goog"));
    for bad in [
        "",
        "clusters",
        "projects/1/locations/global/workloadIdentityPools/clusters",
        "projects/1/locations/global/workloadIdentityPools/clusters/providers/",
        "projects/1/locations/global/workloadIdentityPools/a b/providers/p",
        "https://iam.example.com/projects/1/locations/global/workloadIdentityPools/c/providers/p",
        "projects/1/locations/global/workloadIdentityPools/c/providers/p/x",
        "identitynamespace:payments-prod.svc.id.goog",
        "identitynamespace:kubernetes:https://container.googleapis.com/v1/projects/p",
        "identitynamespace:payments-prod.svc.id.goog:https://elsewhere.example/v1/projects/p",
        "identitynamespace:payments-prod.svc.id.goog:https://container.googleapis.com/v1/",
    ] {
        assert_eq!(Provider::parse(bad).err().map(|error| error.kind), Some(ErrorKind::InvalidConfig), "{bad}");
    }
}

#[test]
fn an_account_to_act_as_is_an_address() {
    assert!(Impersonated::new("reader@payments-prod.iam.gserviceaccount.com").is_ok());
    for bad in ["", "reader", "@x", "a@", "a@b/c", "a@b:generateIdToken", "a b@c", "a@b?x=y"] {
        assert_eq!(Impersonated::new(bad).err().unwrap().kind, ErrorKind::InvalidConfig, "{bad}");
    }
}

#[test]
fn what_is_no_key_is_told_without_being_shown() {
    let network = network();
    let good = json!({"type": "service_account", "client_email": "a@b.c", "private_key": "canary-PEM",
        "universe_domain": "googleapis.com", "token_uri": "https://oauth2.googleapis.com/token"});
    let with = |field: &str, value: Value| {
        let mut key = good.clone();
        *key.get_mut(field).unwrap() = value;
        key.to_string()
    };
    for (text, why) in [
        ("canary-oops".to_owned(), "is no key of a Google service account"),
        (json!({"type": "service_account"}).to_string(), "is no key of a Google service account"),
        (with("type", json!("authorized_user")), "not of type service_account"),
        (with("universe_domain", json!("canary.example")), "another universe"),
        (good.to_string(), "no key in PEM"),
        (with("private_key", json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), "no RSA key"),
    ] {
        let parsed = ServiceAccountKey::parse(&SecretValue::from(text), "Secret payments/google, key json", &network);
        let error = parsed.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert!(error.message.starts_with("Secret payments/google, key json: "), "{}", error.message);
        assert!(error.message.contains(why) && !error.message.contains("canary"), "{}", error.message);
    }
}

#[test]
fn a_key_sends_its_assertion_to_google_alone() {
    let network = network();
    for uri in [
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v4/token",
    ] {
        assert!(token_uri(Some(uri), &network).is_ok(), "{uri}");
    }
    for (uri, expected) in [
        ("https://tokens.example.com/token", ErrorKind::EndpointNotAllowed),
        ("https://169.254.169.254/token", ErrorKind::EndpointNotAllowed),
        ("https://oauth2.googleapis.com:8443/token", ErrorKind::EndpointNotAllowed),
        ("http://oauth2.googleapis.com/token", ErrorKind::InvalidConfig),
        ("token", ErrorKind::InvalidConfig),
    ] {
        assert_eq!(token_uri(Some(uri), &network).err().unwrap().kind, expected, "{uri}");
    }
}

#[test]
fn a_person_has_what_gcloud_leaves() {
    let network = network();
    let at = |text: &str| Some(("adc.json".to_owned(), Personal::File(SecretValue::from(text.to_owned()))));
    let user = json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "canary"});
    assert!(matches!(source(at(&user.to_string()).as_ref(), &network), Ok(Source::Refresh(_))));
    for (found, why) in [
        (None, "gcloud auth application-default login"),
        (at("canary"), "holds no credentials of Google"),
        (at(r#"{"type": "authorized_user", "refresh_token": "canary"}"#), "lacks a part"),
        (at(r#"{"type": "external_account", "canary": 1}"#), "GOOGLE_OAUTH_ACCESS_TOKEN"),
        (at(r#"{"type": "service_account", "canary": 1}"#), "is no key of a Google service account"),
    ] {
        let error = source(found.as_ref(), &network).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert!(error.message.contains(why) && !error.message.contains("canary"), "{}", error.message);
    }
}
