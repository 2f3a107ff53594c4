//! What is believed of a store's status: of two versions the later one.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::json;

use super::*;

const KEY: &str = "app";

fn key() -> StoreKey {
    StoreKey::Store { namespace: "payments".into(), name: KEY.into() }
}

fn status(users: u32) -> StoreStatus {
    StoreStatus { users: Some(users), ..StoreStatus::default() }
}

/// A Store as a watch brings it.
fn bring(definitions: &Definitions, uid: &str, version: &str, users: u32) {
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "spec": {"kubernetes": {}},
        "metadata": {"name": KEY, "namespace": "payments", "uid": uid, "generation": 1, "resourceVersion": version},
        "status": status(users),
    });
    definitions.put_store(serde_json::from_value(object).unwrap());
}

fn users(definitions: &Definitions) -> Option<u32> {
    definitions.store(&key()).and_then(|definition| definition.status().users)
}

#[test]
fn an_older_event_does_not_take_back_what_was_reported() {
    let definitions = Definitions::default();
    bring(&definitions, "u", "8", 1);
    // Two reports, before the watch tells of either.
    definitions.reported(&key(), "u", "9", status(2));
    definitions.reported(&key(), "u", "10", status(3));
    for version in ["8", "9"] {
        bring(&definitions, "u", version, 2);
        assert_eq!(users(&definitions), Some(3), "version {version} comes after the report of 10");
    }
    bring(&definitions, "u", "10", 3);
    bring(&definitions, "u", "11", 4);
    assert_eq!(users(&definitions), Some(4), "somebody else wrote since");
    definitions.reported(&key(), "u", "10", status(3));
    assert_eq!(users(&definitions), Some(4), "the answer came after the event of a later write");
}

#[test]
fn a_report_is_about_one_store_only() {
    let definitions = Definitions::default();
    bring(&definitions, "u", "8", 1);
    definitions.reported(&key(), "other", "9", status(2));
    assert_eq!(users(&definitions), Some(1));
    definitions.reported(&key(), "u", "10", status(2));
    bring(&definitions, "anew", "9", 5);
    assert_eq!(users(&definitions), Some(5), "another store of the same name");
    definitions.reported(&key(), "anew", "not a number", status(6));
    bring(&definitions, "anew", "12", 7);
    assert_eq!(users(&definitions), Some(7), "versions that cannot be compared");
}
