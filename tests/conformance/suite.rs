//! The guarantees of a backend as one suite: [`run`] tries all of them on one driver.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::api::store::Encoding;
use atmos_secrets::backend::credentials::{Credentials, References, StoreRights, Surroundings};
use atmos_secrets::backend::network::Network;
use atmos_secrets::backend::{Backend, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use atmos_secrets::cluster::Objects;
use atmos_secrets::value::SecretValue;
use futures::FutureExt as _;

use crate::log;

/// Part of every value that the suite stores (but the empty one). It must not show anywhere.
pub const CANARY: &str = "canary-0e1f2d3c4b5a69788796a5b4c3d2e1f0";

/// One driver with a store of its own.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The driver.
    fn backend(&self) -> Arc<dyn Backend>;
    /// The store's key for a plain name.
    fn key(&self, name: &str) -> Key;
    /// Sets values behind the driver's back, as other users of the store do.
    async fn set(&self, values: &[(&str, &[u8])]);
    /// Takes a value away behind the driver's back.
    async fn unset(&self, name: &str);
    /// Whether the store can hold bytes that are no text.
    fn holds_binary(&self) -> bool;
    /// The most bytes of a text that the store can hold, up to 64 KiB.
    fn largest(&self) -> usize {
        64 << 10
    }
    /// Names at the edge of what is legal.
    fn odd_names(&self) -> Vec<&'static str>;
    /// Keys that can be none of this store.
    fn illegal_keys(&self) -> Vec<Key>;
    /// The same store, reached in a way that must fail: how, the driver, the kind for every key.
    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)>;
    /// How often values were read or decrypted so far, if probing must not do so.
    fn value_reads(&self) -> Option<usize>;
}

/// What a driver is connected with; the rights are those that the credentials bring.
pub fn surroundings(
    objects: &Objects,
    namespace: &str,
    credentials: Credentials,
    encoding: Encoding,
    network: Network,
) -> Surroundings {
    let rights = match &credentials {
        Credentials::OfStore(rights) => rights.clone(),
        Credentials::OfUser(_) => StoreRights::default(),
    };
    Surroundings {
        store: "Store/app".into(),
        namespace: namespace.into(),
        encoding,
        timeout: Duration::from_secs(10),
        references: References::new(objects.clone(), namespace.into(), rights),
        credentials,
        network,
    }
}

/// The rights of a Store of the operator, which has an account of its own.
pub fn of_operator() -> Credentials {
    let own_account = "system:serviceaccount:operator:operator".into();
    Credentials::OfStore(StoreRights { own_account, ..StoreRights::default() })
}

/// Tries every guarantee.
pub async fn run(subject: &dyn Subject) {
    log::watch();
    tracing::debug!("conformance begins");
    one_result_for_each_key_in_order(subject).await;
    bytes_come_back_as_they_were_stored(subject).await;
    missing_is_not_found(subject).await;
    failing_is_not_missing(subject).await;
    a_bad_key_fails_alone(subject).await;
    odd_names_work(subject).await;
    versions_are_stable_and_change(subject).await;
    probing_reads_no_value(subject).await;
    what_is_not_supported_says_so(subject).await;
    writing(subject).await;
    listing(subject).await;
    concurrent_calls(subject).await;
    a_dropped_call_does_no_harm(subject).await;
    subject.backend().check().await.expect("the store is good");
    log::assert_clean();
}

async fn read(subject: &dyn Subject, name: &str) -> Result<Versioned, Error> {
    only(subject.backend().read(&[subject.key(name)]).await)
}

async fn probe(subject: &dyn Subject, name: &str) -> Result<Presence, Error> {
    only(subject.backend().probe(&[subject.key(name)]).await)
}

/// The one result of a call for one key.
pub fn only<T>(results: Vec<Result<T, Error>>) -> Result<T, Error> {
    let count = results.len();
    let [result] = <[_; 1]>::try_from(results).unwrap_or_else(|_| panic!("{count} results for one key"));
    result
}

fn value(tag: &str) -> Vec<u8> {
    format!("{CANARY} {tag}").into_bytes()
}

/// The kind of an error whose texts hold no value (guarantee 9).
#[track_caller]
pub fn kind<T>(result: &Result<T, Error>) -> ErrorKind {
    let error = result.as_ref().err().expect("an error");
    let shown = format!("{error} {error:?}");
    assert!(log::forms().iter().all(|form| !shown.contains(form)), "a value is in an error: {shown}");
    let message = &error.message;
    assert!(!message.is_empty() && message.chars().count() <= 256, "{message}");
    assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
    error.kind
}

#[track_caller]
fn assert_holds(result: &Result<Versioned, Error>, expected: &[u8], what: &str) {
    match result {
        Ok(found) => assert!(found.value.equals(expected), "{what}: other bytes than were stored"),
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Guarantee 1.
async fn one_result_for_each_key_in_order(subject: &dyn Subject) {
    let (one, two) = (value("one"), value("two"));
    subject.set(&[("ORDER_1", &one), ("ORDER_2", &two)]).await;
    assert!(subject.backend().read(&[]).await.is_empty());
    assert!(subject.backend().probe(&[]).await.is_empty());
    let keys = ["ORDER_2", "ORDER_NONE", "ORDER_1", "ORDER_2"].map(|name| subject.key(name));
    let results = subject.backend().read(&keys).await;
    assert_eq!(results.len(), 4);
    let expected = [Some(&two), None, Some(&one), Some(&two)];
    for (result, expected) in results.iter().zip(expected) {
        match expected {
            Some(bytes) => assert_holds(result, bytes, "in order"),
            None => assert_eq!(kind(result), ErrorKind::NotFound),
        }
    }
    let found: Vec<bool> = subject.backend().probe(&keys).await.iter().map(Result::is_ok).collect();
    assert_eq!(found, [true, false, true, true]);
    // More than any batch limit that is not "no limit".
    let many: Vec<Key> =
        (0..1500).map(|index| subject.key(if index % 2 == 0 { "ORDER_1" } else { "ORDER_2" })).collect();
    let results = subject.backend().read(&many).await;
    assert_eq!(results.len(), many.len());
    assert_holds(&results[1498], &one, "last but one of many");
    assert_holds(&results[1499], &two, "last of many");
}

/// Guarantee 2.
async fn bytes_come_back_as_they_were_stored(subject: &dyn Subject) {
    let mut cases = vec![
        ("TEXT", value("grüße, 世界, \u{1f511}")),
        ("NEWLINE_AT_END", value("line\n")),
        ("NEWLINES", value("\n\r\n\ttab\n\n")),
        ("SPACES", format!("  {CANARY}  ").into_bytes()),
        ("EMPTY", Vec::new()),
        ("QUOTES", value(r#""quoted" 'single' \backslash {json: [1]} # no comment"#)),
        ("LOOKS_LIKE_NUMBER", b"0012.50".to_vec()),
        ("LOOKS_LIKE_TRUTH", b"yes".to_vec()),
        ("LOOKS_LIKE_NULL", b"null".to_vec()),
        ("LARGE", CANARY.bytes().cycle().take(subject.largest()).collect()),
    ];
    if subject.holds_binary() {
        cases.push(("BINARY", (0..=255).collect()));
        cases.push(("NOT_UTF8", [value("").as_slice(), &[0xff, 0xfe, 0, 10]].concat()));
    }
    let values: Vec<(&str, &[u8])> = cases.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    subject.set(&values).await;
    for (name, bytes) in &cases {
        assert_holds(&read(subject, name).await, bytes, name);
        assert!(probe(subject, name).await.is_ok(), "{name}");
    }
}

/// Guarantee 3, first half.
async fn missing_is_not_found(subject: &dyn Subject) {
    let bytes = value("gone soon");
    subject.set(&[("GONE", &bytes)]).await;
    assert!(read(subject, "GONE").await.is_ok());
    subject.unset("GONE").await;
    for name in ["GONE", "NEVER_WAS", "gone", "GON", "GONE_"] {
        assert_eq!(kind(&read(subject, name).await), ErrorKind::NotFound, "{name}");
        assert_eq!(kind(&probe(subject, name).await), ErrorKind::NotFound, "{name}");
    }
}

/// Guarantee 3, second half: denied, broken or late is never missing.
async fn failing_is_not_missing(subject: &dyn Subject) {
    let bytes = value("there");
    subject.set(&[("THERE", &bytes)]).await;
    for (how, backend, expected) in subject.failing().await {
        let keys = ["THERE", "NEVER_WAS"].map(|name| subject.key(name));
        let results = backend.read(&keys).await;
        assert_eq!(results.len(), keys.len(), "{how}");
        for result in &results {
            assert_eq!(kind(result), expected, "{how}: {:?}", result.as_ref().err());
            assert!(!expected.is_missing(), "{how}");
        }
    }
    assert!(read(subject, "THERE").await.is_ok());
}

/// Guarantee 4.
async fn a_bad_key_fails_alone(subject: &dyn Subject) {
    let bytes = value("good");
    subject.set(&[("GOOD", &bytes)]).await;
    for bad in subject.illegal_keys() {
        let keys = [bad.clone(), subject.key("GOOD")];
        let results = subject.backend().read(&keys).await;
        assert_eq!(kind(&results[0]), ErrorKind::InvalidKey, "{bad:?}");
        assert_holds(&results[1], &bytes, "beside a bad key");
        let results = subject.backend().probe(&keys).await;
        assert_eq!(kind(&results[0]), ErrorKind::InvalidKey, "{bad:?}");
        assert!(results[1].is_ok());
    }
}

async fn odd_names_work(subject: &dyn Subject) {
    let names = subject.odd_names();
    let values: Vec<Vec<u8>> = names.iter().map(|name| value(name)).collect();
    let pairs: Vec<(&str, &[u8])> = names.iter().zip(&values).map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    subject.set(&pairs).await;
    for (name, bytes) in names.iter().zip(&values) {
        assert_holds(&read(subject, name).await, bytes, name);
    }
}

/// Guarantee 5.
async fn versions_are_stable_and_change(subject: &dyn Subject) {
    let (first, second) = (value("first"), value("second"));
    subject.set(&[("VERSIONED", &first)]).await;
    let before = read(subject, "VERSIONED").await.unwrap().version;
    assert_eq!(read(subject, "VERSIONED").await.unwrap().version, before);
    assert_eq!(probe(subject, "VERSIONED").await.unwrap().version, before);
    subject.set(&[("VERSIONED", &second)]).await;
    let after = read(subject, "VERSIONED").await.unwrap().version;
    let pinned = |version: &str| Key { version: Some(version.to_owned()), ..subject.key("VERSIONED") };
    if subject.backend().capabilities().versions {
        assert!(!before.is_empty() && before != after);
        assert_holds(&only(subject.backend().read(&[pinned(&before)]).await), &first, "a pinned version");
        assert_eq!(kind(&only(subject.backend().read(&[pinned("none-such")]).await)), ErrorKind::VersionNotFound);
        let versions = subject.backend().versions(&subject.key("VERSIONED")).await.unwrap();
        assert_eq!(versions.iter().take(2).collect::<Vec<_>>(), [&after, &before]);
    } else {
        assert_eq!((before.as_str(), after.as_str()), ("", ""));
        assert_eq!(kind(&only(subject.backend().read(&[pinned("1")]).await)), ErrorKind::Unsupported);
        assert_eq!(kind(&only(subject.backend().probe(&[pinned("1")]).await)), ErrorKind::Unsupported);
    }
}

/// Guarantee 6.
async fn probing_reads_no_value(subject: &dyn Subject) {
    let bytes = value("probed");
    subject.set(&[("PROBED", &bytes)]).await;
    let Some(before) = subject.value_reads() else { return };
    assert!(probe(subject, "PROBED").await.is_ok());
    assert_eq!(kind(&probe(subject, "NEVER_WAS").await), ErrorKind::NotFound);
    assert_eq!(subject.value_reads(), Some(before), "probing read a value");
    assert!(read(subject, "PROBED").await.is_ok());
    assert!(subject.value_reads() > Some(before), "reading is not counted");
}

/// Guarantee 7.
async fn what_is_not_supported_says_so(subject: &dyn Subject) {
    let bytes = value("unsupported");
    subject.set(&[("KEPT", &bytes)]).await;
    let (backend, key) = (subject.backend(), subject.key("KEPT"));
    let capabilities = backend.capabilities();
    assert!(capabilities.batch > 0);
    if !capabilities.write {
        let result = backend.write(&key, &SecretValue::new(value("new")), Precondition::None).await;
        assert_eq!(kind(&result), ErrorKind::Unsupported);
    }
    if !capabilities.delete {
        assert_eq!(kind(&backend.delete(&key, DeleteMode::Purge).await), ErrorKind::Unsupported);
    }
    if !capabilities.list {
        assert_eq!(kind(&backend.list("").await), ErrorKind::Unsupported);
    }
    if !capabilities.versions {
        assert_eq!(kind(&backend.versions(&key).await), ErrorKind::Unsupported);
    }
    assert_holds(&read(subject, "KEPT").await, &bytes, "after what is not supported");
}

async fn writing(subject: &dyn Subject) {
    let backend = subject.backend();
    let (write, delete) = (backend.capabilities().write, backend.capabilities().delete);
    if !write {
        return;
    }
    let key = subject.key("WRITTEN");
    let mut bytes = vec![Vec::new(), value("text\n"), CANARY.bytes().cycle().take(subject.largest()).collect()];
    if subject.holds_binary() {
        bytes.push((0..=255).collect());
    }
    for bytes in &bytes {
        let version = backend.write(&key, &SecretValue::new(bytes.clone()), Precondition::None).await.unwrap();
        let found = read(subject, "WRITTEN").await;
        assert_holds(&found, bytes, "after a write");
        assert_eq!(found.unwrap().version, version);
    }
    let last = bytes.pop().unwrap();
    let new = || SecretValue::new(value("refused"));
    assert_eq!(kind(&backend.write(&key, &new(), Precondition::Absent).await), ErrorKind::Conflict);
    let stale = backend.write(&key, &new(), Precondition::Version("none-such".to_owned())).await;
    let expected = if backend.capabilities().versions { ErrorKind::Conflict } else { ErrorKind::Unsupported };
    assert_eq!(kind(&stale), expected);
    let large = SecretValue::new(CANARY.bytes().cycle().take((1 << 20) + 1).collect());
    assert_eq!(kind(&backend.write(&key, &large, Precondition::None).await), ErrorKind::TooLarge);
    for bad in subject.illegal_keys() {
        assert_eq!(kind(&backend.write(&bad, &new(), Precondition::None).await), ErrorKind::InvalidKey, "{bad:?}");
    }
    assert_holds(&read(subject, "WRITTEN").await, &last, "after refused writes");

    if !delete {
        return;
    }
    backend.delete(&key, DeleteMode::Purge).await.unwrap();
    assert_eq!(kind(&read(subject, "WRITTEN").await), ErrorKind::NotFound);
    assert_eq!(kind(&backend.delete(&key, DeleteMode::Purge).await), ErrorKind::NotFound);
    backend.write(&key, &new(), Precondition::Absent).await.unwrap();
    backend.delete(&key, DeleteMode::Recoverable).await.unwrap();
    assert!(kind(&read(subject, "WRITTEN").await).is_missing());
}

async fn listing(subject: &dyn Subject) {
    let backend = subject.backend();
    if !backend.capabilities().list {
        return;
    }
    let bytes = value("listed");
    subject.set(&[("LIST_B", &bytes), ("LIST_A", &bytes), ("OTHER", &bytes)]).await;
    let prefix = subject.key("LIST_").name;
    assert_eq!(backend.list(&prefix).await.unwrap(), ["LIST_A", "LIST_B"].map(|name| subject.key(name).name));
    let all = backend.list("").await.unwrap();
    assert!(all.is_sorted() && all.contains(&subject.key("OTHER").name));
    assert!(backend.list("none such").await.unwrap().is_empty());
}

/// Guarantee 8, first half.
async fn concurrent_calls(subject: &dyn Subject) {
    let backend = subject.backend();
    let names: Vec<String> = (0..8).map(|index| format!("CONCURRENT_{index}")).collect();
    let values: Vec<Vec<u8>> = names.iter().map(|name| value(name)).collect();
    if backend.capabilities().write {
        let writes = names.iter().zip(&values).map(|(name, bytes)| {
            let (backend, key, bytes) = (&backend, subject.key(name), SecretValue::new(bytes.clone()));
            async move { backend.write(&key, &bytes, Precondition::None).await }
        });
        for result in futures::future::join_all(writes).await {
            result.unwrap();
        }
    } else {
        let pairs: Vec<(&str, &[u8])> =
            names.iter().zip(&values).map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
        subject.set(&pairs).await;
    }
    let keys: Vec<Key> = names.iter().map(|name| subject.key(name)).collect();
    let reads = (0..16).map(|_| backend.read(&keys));
    for results in futures::future::join_all(reads).await {
        for (result, bytes) in results.iter().zip(&values) {
            assert_holds(result, bytes, "concurrently");
        }
    }
}

/// Guarantee 8, second half.
async fn a_dropped_call_does_no_harm(subject: &dyn Subject) {
    let backend = subject.backend();
    let bytes = value("after");
    subject.set(&[("DROPPED", &bytes)]).await;
    let keys = [subject.key("DROPPED")];
    for _ in 0..20 {
        // Polled once, so that it has begun, and dropped with its answer under way.
        assert!(backend.read(&keys).now_or_never().is_none(), "the read ended at once");
        let _ = backend.probe(&keys).now_or_never();
        let _ = backend.check().now_or_never();
    }
    assert_holds(&read(subject, "DROPPED").await, &bytes, "after dropped calls");
}
