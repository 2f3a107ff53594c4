//! Values, versions and deletions, each looked at with Vault's own API.

use atmos_secrets::api::store::Encoding;
use atmos_secrets::backend::{DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use serde_json::{Value, json};

use super::{Mount, read, user, watch};
use crate::log;
use crate::suite::CANARY;
use crate::suite::only;

fn value(text: &str) -> SecretValue {
    SecretValue::from(text.to_owned())
}

fn pinned(name: &str, version: &str) -> Key {
    Key { version: Some(version.to_owned()), ..Key::current(name) }
}

#[tokio::test]
async fn what_atmos_wrote_is_read_and_what_we_write_is_what_atmos_writes() {
    for kv in [1, 2] {
        let mount = Mount::new(kv).await;
        // The form of Atmos, read: one field `value`, JSON as it is; without it the whole object.
        for (fields, expected) in [
            (json!({"value": "text"}), "text"),
            (json!({"value": ""}), ""),
            (json!({"value": "{\"a\":1}"}), r#"{"a":1}"#),
            (json!({"value": "a<b>&\u{2028}ü\n"}), "a<b>&\u{2028}ü\n"),
            (json!({"value": {"b": [true, null], "a": 1}}), r#"{"a":1,"b":[true,null]}"#),
            (json!({"value": true}), "true"),
            (json!({"value": "x", "note": "y"}), "x"),
            (json!({"user": "u", "password": "p"}), r#"{"password":"p","user":"u"}"#),
        ] {
            mount.put("interop/KEY", fields.clone()).await;
            let found = read(&mount.backend, "interop/KEY").await.map_err(|error| error.message).unwrap();
            assert!(found.value.equals(expected.as_bytes()), "{fields}");
        }
        // Digits are those that Vault keeps. Version 2 itself makes a number a float of 64 bits.
        let number = if kv == 1 { 12_345_678_901_234_567_u64 } else { 9_007_199_254_740_991 };
        mount.put("interop/KEY", json!({"value": number})).await;
        assert!(read(&mount.backend, "interop/KEY").await.unwrap().value.equals(number.to_string().as_bytes()));
        // Written: a leading slash is no part of the path.
        for text in ["", "text\n", "{\"a\": 1.50}", "\"quoted\"", "0012", "a<b>&\u{2028}ü\u{1f511}"] {
            for name in ["atmos/plat/prod/vpc/flow-logs/API_KEY", "/prod/api/API_KEY"] {
                mount.backend.write(&Key::current(name), &value(text), Precondition::None).await.unwrap();
                let stored =
                    mount.vault.must("GET", &mount.data(name.trim_start_matches('/')), Value::Null).await.unwrap();
                let fields = if kv == 2 { &stored["data"]["data"] } else { &stored["data"] };
                assert_eq!(*fields, json!({"value": text}));
            }
        }
    }
}

#[tokio::test]
async fn raw_takes_texts_alone() {
    watch();
    let mount = Mount::new(2).await;
    let raw = user(&mount.spec(), &mount.token, Encoding::Raw).await.unwrap();
    for (fields, expected) in [
        (json!({"value": "\"quoted\""}), Ok("\"quoted\"")),
        (json!({"value": 1}), Err(ErrorKind::Undecodable)),
        (json!({"value": {"a": CANARY}}), Err(ErrorKind::Undecodable)),
        (json!({"user": CANARY}), Err(ErrorKind::Undecodable)),
    ] {
        mount.put("raw", fields.clone()).await;
        match (read(&raw, "raw").await, expected) {
            (Ok(found), Ok(text)) => assert!(found.value.equals(text.as_bytes())),
            (Err(error), Err(kind)) => {
                assert_eq!(error.kind, kind, "{fields}");
                assert!(!error.message.contains(CANARY), "{}", error.message);
            }
            (found, expected) => panic!("{fields}: {:?}, expected {expected:?}", found.err()),
        }
    }
    for backend in [&raw, &mount.backend] {
        let binary = SecretValue::new(vec![0xff, 0xfe]);
        let error = backend.write(&Key::current("raw"), &binary, Precondition::None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("base64"), "{}", error.message);
    }
    log::assert_clean();
}

#[tokio::test]
async fn a_deleted_or_destroyed_latest_version_is_a_missing_value() {
    let mount = Mount::new(2).await;
    let versions = async || mount.backend.versions(&Key::current("a/K")).await.unwrap();
    for text in ["one", "two", "three"] {
        mount.put("a/K", json!({"value": text})).await;
    }
    assert_eq!(versions().await, ["3", "2", "1"]);
    assert!(only(mount.backend.read(&[pinned("a/K", "2")]).await).unwrap().value.equals(b"two"));

    // Deleted by its user, with a way back.
    mount.backend.delete(&Key::current("a/K"), DeleteMode::Recoverable).await.unwrap();
    let check_missing = async |what: &str| {
        let keys = [Key::current("a/K")];
        for error in [only(mount.backend.read(&keys).await).err(), only(mount.backend.probe(&keys).await).err()] {
            let error = error.unwrap_or_else(|| panic!("{what}: there is a value"));
            assert_eq!(error.kind, ErrorKind::NotFound, "{what}");
            assert!(error.message.contains("its latest version, 3, was deleted"), "{}", error.message);
        }
        for keys in [[pinned("a/K", "3")], [pinned("a/K", "9")]] {
            assert_eq!(only(mount.backend.read(&keys).await).err().unwrap().kind, ErrorKind::VersionNotFound, "{what}");
            assert_eq!(
                only(mount.backend.probe(&keys).await).err().unwrap().kind,
                ErrorKind::VersionNotFound,
                "{what}"
            );
        }
        assert!(only(mount.backend.read(&[pinned("a/K", "2")]).await).unwrap().value.equals(b"two"));
        assert_eq!(only(mount.backend.probe(&[pinned("a/K", "2")]).await).unwrap().version, "2");
        assert_eq!(versions().await, ["2", "1"]);
        let again = mount.backend.delete(&Key::current("a/K"), DeleteMode::Recoverable).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::NotFound);
        assert_eq!(mount.backend.list("a/").await.unwrap(), ["a/K"], "its name stays");
    };
    check_missing("deleted").await;
    mount.vault.must("POST", &format!("{}/undelete/a/K", mount.name), json!({"versions": [3]})).await.unwrap();
    assert!(read(&mount.backend, "a/K").await.unwrap().value.equals(b"three"));
    mount.vault.must("PUT", &format!("{}/destroy/a/K", mount.name), json!({"versions": [3]})).await.unwrap();
    check_missing("destroyed").await;

    // A version of a key that never was is a missing key; 0 means the latest to Vault, and none to us.
    assert_eq!(only(mount.backend.read(&[pinned("a/none", "1")]).await).err().unwrap().kind, ErrorKind::NotFound);
    for odd in ["0", "01", "+1", "1.0", "-1", "", "99999999999999999999999"] {
        let error = only(mount.backend.read(&[pinned("a/K", odd)]).await).err().unwrap();
        assert_eq!(error.kind, ErrorKind::VersionNotFound, "{odd}");
    }

    // What is deleted can be written anew, and purged without a trace.
    mount.backend.write(&Key::current("a/K"), &value("four"), Precondition::Absent).await.unwrap();
    assert_eq!(versions().await, ["4", "2", "1"]);
    mount.backend.delete(&Key::current("a/K"), DeleteMode::Recoverable).await.unwrap();
    mount.backend.delete(&Key::current("a/K"), DeleteMode::Purge).await.unwrap();
    assert!(mount.backend.list("a/").await.unwrap().is_empty());
    let (status, _) = mount.vault.call("GET", &format!("{}/metadata/a/K", mount.name), None).await.unwrap();
    assert_eq!(status, 404);
    assert_eq!(mount.backend.versions(&Key::current("a/K")).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_key_with_metadata_alone_has_no_value() {
    let mount = Mount::new(2).await;
    let path = format!("{}/metadata/only", mount.name);
    mount.vault.must("POST", &path, json!({"custom_metadata": {"owner": "payments"}})).await.unwrap();
    let keys = [Key::current("only")];
    assert_eq!(only(mount.backend.read(&keys).await).err().unwrap().kind, ErrorKind::NotFound);
    assert_eq!(only(mount.backend.probe(&keys).await).err().unwrap().kind, ErrorKind::NotFound);
    mount.backend.write(&keys[0], &value("x"), Precondition::Absent).await.unwrap();
    assert!(read(&mount.backend, "only").await.is_ok());
}

#[tokio::test]
async fn a_deletion_that_is_to_come_has_not_happened() {
    let mount = Mount::new(2).await;
    let path = format!("{}/metadata/later", mount.name);
    mount.vault.must("POST", &path, json!({"delete_version_after": "1h"})).await.unwrap();
    mount.put("later", json!({"value": "x"})).await;
    assert!(read(&mount.backend, "later").await.is_ok());
    assert_eq!(only(mount.backend.probe(&[Key::current("later")]).await).unwrap().version, "1");
    assert_eq!(mount.backend.versions(&Key::current("later")).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn writes_hold_their_precondition() {
    let mount = Mount::new(2).await;
    let key = Key::current("cas/K");
    let write = async |text: &str, precondition| mount.backend.write(&key, &value(text), precondition).await;
    assert_eq!(write("one", Precondition::Absent).await.unwrap(), "1");
    assert_eq!(write("no", Precondition::Absent).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(write("two", Precondition::Version("1".into())).await.unwrap(), "2");
    for stale in ["1", "3", "0", "none"] {
        let error = write("no", Precondition::Version(stale.into())).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{stale}");
    }
    assert!(read(&mount.backend, "cas/K").await.unwrap().value.equals(b"two"));
    // Of many who write at the same time under one condition exactly one wins.
    let racers = (0..8).map(|index| {
        let (backend, key) = (mount.backend.clone(), key.clone());
        async move { backend.write(&key, &value(&index.to_string()), Precondition::Version("2".into())).await }
    });
    let outcomes = futures::future::join_all(racers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|error| error.kind == ErrorKind::Conflict));

    // An engine that asks for the version with every write.
    mount.vault.must("POST", &format!("{}/config", mount.name), json!({"cas_required": true})).await.unwrap();
    assert_eq!(write("four", Precondition::None).await.unwrap(), "4");
    let fresh = Key::current("cas/fresh");
    assert_eq!(mount.backend.write(&fresh, &value("x"), Precondition::None).await.unwrap(), "1");
}

#[tokio::test]
async fn version_1_keeps_the_last_value_alone() {
    let mount = Mount::new(1).await;
    let key = Key::current("a/K");
    assert!(!mount.backend.capabilities().versions);
    assert_eq!(mount.backend.write(&key, &value("one"), Precondition::Absent).await.unwrap(), "");
    assert_eq!(
        mount.backend.write(&key, &value("no"), Precondition::Absent).await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    // A name is not taken for a folder, nor a folder for a name.
    mount.put("a/K/below", json!({"value": "x"})).await;
    let keys = ["a/K", "a/K/below", "a", "a/K/belo", "b/K"].map(Key::current);
    let found: Vec<bool> = mount.backend.probe(&keys).await.iter().map(Result::is_ok).collect();
    assert_eq!(found, [true, true, false, false, false]);
    assert_eq!(mount.backend.list("").await.unwrap(), ["a/K", "a/K/below"]);
    mount.backend.delete(&key, DeleteMode::Recoverable).await.unwrap();
    assert_eq!(mount.backend.delete(&key, DeleteMode::Purge).await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(read(&mount.backend, "a/K/below").await.is_ok());
}

#[tokio::test]
async fn a_list_walks_folders_and_keeps_the_form_of_its_prefix() {
    let mount = Mount::new(2).await;
    for path in ["prod/api/A", "prod/api/B", "prod/api-two/C", "prod/api", "stage/api/A"] {
        mount.put(path, json!({"value": "x"})).await;
    }
    let list = async |prefix: &str| mount.backend.list(prefix).await.unwrap();
    assert_eq!(list("").await, ["prod/api", "prod/api-two/C", "prod/api/A", "prod/api/B", "stage/api/A"]);
    assert_eq!(list("prod/api").await, ["prod/api", "prod/api-two/C", "prod/api/A", "prod/api/B"]);
    assert_eq!(list("prod/api/").await, ["prod/api/A", "prod/api/B"]);
    assert_eq!(list("/prod/api/A").await, ["/prod/api/A"]);
    assert!(list("none/such/").await.is_empty());
    assert_eq!(mount.backend.list("a/../b").await.unwrap_err().kind, ErrorKind::InvalidKey);
}

#[tokio::test]
async fn each_distinct_key_is_asked_for_once() {
    let mount = Mount::new(2).await;
    let names: Vec<String> = (0..40).map(|index| format!("many/K{index}")).collect();
    for name in &names {
        mount.put(name, json!({"value": name})).await;
    }
    let keys: Vec<Key> = names.iter().chain(&names).map(Key::current).collect();
    let found = mount.backend.read(&keys).await;
    assert!(found.iter().zip(&keys).all(|(found, key)| found.as_ref().unwrap().value.equals(key.name.as_bytes())));
    assert_eq!(mount.requests().len(), 40, "one request for each key, and none beside them");
}
