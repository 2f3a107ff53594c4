//! What is particular to secrets of Key Vault: attributes, soft deletion, pages, names without case, conditions.

use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::store::Encoding;
use atmos_secrets::backend::credentials::Surroundings;
use atmos_secrets::backend::guarded::{Guarded, Operation};
use atmos_secrets::backend::{Backend, DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use e2e::{AzureVault, Fault, Matching};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{RIGHTS, allow, literal, read, refusal, user, value_reads, vault};
use crate::log;
use crate::suite::CANARY;

fn value(text: &str) -> SecretValue {
    SecretValue::from(text.to_owned())
}

async fn write(
    backend: &Arc<dyn Backend>,
    name: &str,
    text: &str,
    condition: Precondition,
) -> Result<String, ErrorKind> {
    backend.write(&Key::current(name), &value(text), condition).await.map_err(|error| error.kind)
}

async fn kind(backend: &Arc<dyn Backend>, name: &str) -> Option<ErrorKind> {
    read(backend, name).await.err().map(|error| error.kind)
}

/// `pkg/store/azure_keyvault_store.go` of Atmos writes JSON, and reads JSON or the text itself.
#[tokio::test]
async fn what_atmos_wrote_is_read_and_what_we_write_is_what_atmos_writes() {
    let azure = vault(&RIGHTS).await;
    let (atmos, raw) = (user(&azure, Encoding::Atmos).await, user(&azure, Encoding::Raw).await);
    for (stored, text) in [
        ("\"abc\"", "abc"),
        ("abc", "abc"),
        ("\"\"", ""),
        ("\"a\\u003cb\\u003e\\u0026\"", "a<b>&"),
        ("\"{\\\"a\\\":1}\"", "{\"a\":1}"),
        ("{\"a\":1.50}", "{\"a\":1.50}"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        (" \"x\" ", "x"),
    ] {
        azure.set("dev-app-K", stored, Value::Null).unwrap();
        assert!(read(&atmos, "dev-app-K").await.unwrap().value.equals(text.as_bytes()), "{stored}");
        assert!(read(&raw, "dev-app-K").await.unwrap().value.equals(stored.as_bytes()), "{stored}");
    }
    for (text, stored) in [
        ("abc", "\"abc\""),
        ("", "\"\""),
        ("a<b>&", "\"a\\u003cb\\u003e\\u0026\""),
        ("{\"a\": 1}", "\"{\\\"a\\\": 1}\""),
        ("line\n\u{2028}ü", "\"line\\n\\u2028ü\""),
    ] {
        let version = write(&atmos, "dev-app-W", text, Precondition::None).await.unwrap();
        assert_eq!(azure.stored("dev-app-W").as_deref(), Some(stored));
        assert_eq!(read(&atmos, "dev-app-W").await.unwrap().version, version);
        write(&raw, "dev-app-R", text, Precondition::None).await.unwrap();
        assert_eq!(azure.stored("dev-app-R").as_deref(), Some(text));
    }
    assert_eq!(
        raw.write(&Key::current("b"), &SecretValue::new(vec![0xff]), Precondition::None).await.unwrap_err().kind,
        ErrorKind::Unsupported
    );
}

#[tokio::test]
async fn a_value_that_its_owner_withdrew_is_not_handed_on() {
    log::watch();
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    let now = Timestamp::now().as_second();
    for (name, attributes, word) in [
        ("off", json!({"enabled": false}), "it is disabled"),
        ("early", json!({"nbf": now + 3600}), "it is not valid before"),
        ("late", json!({"exp": now - 3600}), "it expired at"),
    ] {
        let old = azure.set(name, &literal("old"), Value::Null).unwrap();
        azure.set(name, &literal(CANARY), attributes).unwrap();
        let of_read = read(&backend, name).await.err().unwrap();
        let of_probe = backend.probe(&[Key::current(name)]).await.remove(0).err().unwrap();
        for error in [of_read, of_probe] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{name}: {error}");
            assert!(error.message.contains(word), "{name}: {error}");
        }
        // The version before it is not the value, but can be asked for.
        let pinned = Key { name: name.into(), version: Some(old) };
        assert!(backend.read(&[pinned]).await.remove(0).unwrap().value.equals(b"old"));
        // A new value is one.
        write(&backend, name, "new", Precondition::None).await.unwrap();
        assert!(read(&backend, name).await.unwrap().value.equals(b"new"));
    }
    azure.set("in-time", &literal("x"), json!({"nbf": now - 60, "exp": now + 3600})).unwrap();
    assert!(read(&backend, "in-time").await.is_ok());
    log::assert_clean();
}

#[tokio::test]
async fn a_deleted_secret_keeps_its_name_until_it_is_recovered_or_purged() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    let first = azure.set("app", &literal("first"), Value::Null).unwrap();
    backend.delete(&Key::current("app"), DeleteMode::Recoverable).await.unwrap();
    for _ in 0..2 {
        let error = read(&backend, "app").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::PendingDeletion);
        assert!(error.message.contains("az keyvault secret recover"), "{error}");
        let probed = backend.probe(&[Key::current("app")]).await.remove(0);
        assert_eq!(probed.err().unwrap().kind, ErrorKind::PendingDeletion);
        let deleted = backend.delete(&Key::current("app"), DeleteMode::Recoverable).await;
        assert_eq!(deleted.unwrap_err().kind, ErrorKind::PendingDeletion);
    }

    // A new value recovers it, however long the vault takes for that, and the old version with it.
    azure.linger(2);
    let second = write(&backend, "app", "second", Precondition::Absent).await.unwrap();
    assert_eq!(backend.versions(&Key::current("app")).await.unwrap(), [second, first]);
    assert!(read(&backend, "app").await.unwrap().value.equals(b"second"));

    // Who may not recover is told what is in the way.
    azure.delete("app");
    allow(&azure, &["get", "list", "set"]);
    let error = backend.write(&Key::current("app"), &value("third"), Precondition::None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PendingDeletion);
    assert!(error.message.contains("held by a deleted secret"), "{error}");
    assert!(!RIGHTS.is_empty() && azure.stored("app").is_none());

    // Purged, also while the vault has not finished the deletion, it is gone at once and the name is free.
    allow(&azure, &RIGHTS);
    backend.delete(&Key::current("app"), DeleteMode::Purge).await.unwrap();
    assert_eq!(kind(&backend, "app").await, Some(ErrorKind::NotFound));
    azure.set("app", &literal("again"), Value::Null).unwrap();
    azure.linger(2);
    backend.delete(&Key::current("app"), DeleteMode::Purge).await.unwrap();
    assert_eq!(kind(&backend, "app").await, Some(ErrorKind::NotFound));
    write(&backend, "app", "new", Precondition::Absent).await.unwrap();

    // A vault that protects what is deleted keeps it.
    allow(&azure, &["get", "list", "set", "delete"]);
    let error = backend.delete(&Key::current("app"), DeleteMode::Purge).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("can be recovered"), "{error}");
    assert_eq!(kind(&backend, "app").await, Some(ErrorKind::PendingDeletion));
}

#[tokio::test]
async fn what_the_vault_never_finishes_ends_in_time() {
    let azure = vault(&RIGHTS).await;
    let objects = crate::wire::absent().await.objects.clone();
    let around = super::around(super::network(&azure), objects, "payments", super::person(super::SECRET));
    let around = Surroundings { timeout: Duration::from_secs(1), ..around };
    let backend: Arc<dyn Backend> = Arc::new(super::connect(&super::spec(&azure), &around).await.unwrap());
    azure.set("app", &literal("x"), Value::Null).unwrap();
    azure.delete("app");
    azure.linger(usize::MAX);
    let error = backend.write(&Key::current("app"), &value("y"), Precondition::None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("try again in a minute"), "{error}");

    // Also where the vault has been slow before that, and under the deadline of the whole. With more patience than the
    // rest of it, the last answer would come too late; with four fifths of the whole, it comes four seconds before.
    let limit = Duration::from_secs(20);
    let around = Surroundings { timeout: limit, ..around };
    let driver = Arc::new(super::connect(&super::spec(&azure), &around).await.unwrap());
    let observer = Arc::new(|_: Operation, _: &'static str, _: Duration| {});
    let guarded = Guarded::new(driver, "Store/app".into(), limit, observer);
    azure.proxy().inject(Fault::Delay(limit / 2), Matching::any().method("PUT").times(1));
    let error = guarded.write(&Key::current("app"), &value("y"), Precondition::None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("try again in a minute"), "{error}");
}

#[tokio::test]
async fn a_check_tells_a_role_on_single_secrets_from_no_way_in() {
    for (code, inner, expected) in [
        (403, "ForbiddenByRbac", None),
        (403, "ForbiddenByPolicy", Some(ErrorKind::PermissionDenied)),
        (403, "ForbiddenByFirewall", Some(ErrorKind::PermissionDenied)),
        (401, "ForbiddenByRbac", Some(ErrorKind::Unauthenticated)),
    ] {
        let azure = vault(&RIGHTS).await;
        let backend = user(&azure, Encoding::Atmos).await;
        azure.proxy().inject(refusal(code, "Forbidden", inner), Matching::any().path("/secrets/"));
        assert_eq!(backend.check().await.err().map(|error| error.kind), expected, "{code} {inner}");
    }
    // A role for which the vault has nothing at all is one that others may widen.
    let azure = vault(&[]).await;
    let backend = user(&azure, Encoding::Atmos).await;
    azure.set("k", &literal(CANARY), Value::Null).unwrap();
    backend.check().await.unwrap();
    assert_eq!(kind(&backend, "k").await, Some(ErrorKind::PermissionDenied));
}

#[tokio::test]
async fn lists_have_pages_and_names_have_no_case() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    azure.set_page(2);
    let mut expected: Vec<String> = (0..7).map(|number| format!("atmos-K{number}")).collect();
    for name in &expected {
        azure.set(name, &literal("x"), Value::Null).unwrap();
    }
    azure.set("Atmos-K8", &literal("x"), Value::Null).unwrap();
    azure.set("other", &literal("x"), Value::Null).unwrap();
    expected.insert(0, "Atmos-K8".into());
    assert_eq!(backend.list("atmos-k").await.unwrap(), expected);
    assert_eq!(backend.list("").await.unwrap().len(), 9);
    assert!(read(&backend, "ATMOS-k3").await.is_ok());

    let mut ids: Vec<String> = Vec::new();
    for number in 0..5 {
        ids.insert(0, write(&backend, "v", &number.to_string(), Precondition::None).await.unwrap());
    }
    assert_eq!(backend.versions(&Key::current("v")).await.unwrap(), ids);
    assert_eq!(backend.versions(&Key::current("none")).await.unwrap_err().kind, ErrorKind::NotFound);
}

/// What a page says is followed within the vault alone: the token goes nowhere else.
#[tokio::test]
async fn a_page_of_another_host_is_not_asked_for() {
    let (azure, other) = (vault(&RIGHTS).await, AzureVault::start().await.unwrap());
    let backend = user(&azure, Encoding::Atmos).await;
    let page = json!({"value": [], "nextLink": format!("{}/secrets?api-version=7.4", other.url())});
    let fault = Fault::Answer { code: 200, retry_after: None, body: Some(page.to_string()) };
    azure.proxy().inject(fault, Matching::any().path("/secrets"));
    for error in [
        backend.list("").await.unwrap_err(),
        backend.versions(&Key::current("v")).await.unwrap_err(),
        backend.probe(&[Key::current("v")]).await.remove(0).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unexpected);
        assert!(error.message.contains("leads to another host"), "{error}");
    }
    assert_eq!((other.proxy().counts(), other.requests()), (Default::default(), Vec::new()));
}

#[tokio::test]
async fn writes_hold_their_precondition() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    let one = write(&backend, "k", "1", Precondition::Absent).await.unwrap();
    assert_eq!(write(&backend, "k", "2", Precondition::Absent).await, Err(ErrorKind::Conflict));
    let two = write(&backend, "k", "2", Precondition::Version(one.clone())).await.unwrap();
    assert_eq!(write(&backend, "k", "3", Precondition::Version(one)).await, Err(ErrorKind::Conflict));
    assert_eq!(write(&backend, "none", "3", Precondition::Version(two)).await, Err(ErrorKind::Conflict));
    assert!(read(&backend, "k").await.unwrap().value.equals(b"2"));
    assert_eq!(azure.stored("none"), None);
    assert_eq!(value_reads(&azure), 1, "a precondition is no read of a value");
}

#[tokio::test]
async fn limits_are_known_before_the_vault_is_asked() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Raw).await;
    let fits = "x".repeat(25 * 1024);
    write(&backend, "k", &fits, Precondition::None).await.unwrap();
    let asked = azure.requests().len();
    assert_eq!(write(&backend, "k", &format!("{fits}x"), Precondition::None).await, Err(ErrorKind::TooLarge));
    assert_eq!(write(&backend, "a_b", "x", Precondition::None).await, Err(ErrorKind::InvalidKey));
    assert_eq!(kind(&backend, "a_b").await, Some(ErrorKind::InvalidKey));
    assert_eq!(azure.requests().len(), asked);
    // With quotes around it, it does not fit.
    let atmos = user(&azure, Encoding::Atmos).await;
    assert_eq!(write(&atmos, "k", &fits, Precondition::None).await, Err(ErrorKind::TooLarge));
}

#[tokio::test]
async fn a_version_that_is_not_there_is_told_from_a_secret_that_is_not() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    azure.set("k", &literal("x"), Value::Null).unwrap();
    let pinned = |name: &str| Key { name: name.into(), version: Some("0".repeat(32)) };
    let found = backend.read(&[pinned("k"), pinned("none")]).await;
    let kinds: Vec<ErrorKind> = found.into_iter().map(|result| result.err().unwrap().kind).collect();
    assert_eq!(kinds, [ErrorKind::VersionNotFound, ErrorKind::NotFound]);
    let found = backend.probe(&[pinned("k"), pinned("none")]).await;
    let kinds: Vec<ErrorKind> = found.into_iter().map(|result| result.err().unwrap().kind).collect();
    assert_eq!(kinds, [ErrorKind::VersionNotFound, ErrorKind::NotFound]);
    // Without the right to list, the vault's word is all that there is.
    allow(&azure, &["get"]);
    assert_eq!(backend.read(&[pinned("k")]).await.remove(0).err().unwrap().kind, ErrorKind::VersionNotFound);
    assert!(read(&backend, "k").await.is_ok());
    assert_eq!(kind(&backend, "none").await, Some(ErrorKind::NotFound));
    backend.check().await.unwrap();
}

#[tokio::test]
async fn a_wait_that_the_vault_asks_for_is_kept() {
    let azure = vault(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    let fault = match refusal(429, "Throttled", "") {
        Fault::Answer { code, retry_after: _, body } => Fault::Answer { code, retry_after: Some(17), body },
        other => other,
    };
    azure.proxy().inject(fault, Matching::any().path("/secrets"));
    let error = read(&backend, "k").await.err().unwrap();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));
}
