//! Stores in a real Vault, with the person's own token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::store::CANARY;

/// A Store in Vault and a Stack with two secrets there, one of which has a value; the Secret that the Store names for the
/// operator is not there.
async fn prepare(fixture: &Fixture) -> &'static e2e::Vault {
    let vault = e2e::Vault::shared().await.expect("a Vault");
    let mount = &fixture.namespace;
    let engine = json!({"type": "kv", "options": {"version": "1"}});
    vault.must("POST", &format!("sys/mounts/{mount}"), engine).await.expect("a mount");
    vault.must("POST", &format!("{mount}/prod/db/PASSWORD"), json!({"value": CANARY})).await.expect("a value");
    fixture
        .apply(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "vault"},
            "spec": {"vault": {"address": vault.url(), "mount": mount, "kvVersion": 1,
                "auth": {"token": {"secret": "of-the-operator", "key": "token"}}}},
        }))
        .await;
    let vars = json!({"PASSWORD": {}, "LATER": {}});
    let spec = json!({"defaultStore": "vault", "components": {"terraform": {"db": {"secrets": {"vars": vars}}}}});
    fixture.stack("prod", spec).await;
    vault
}

const READ: &[&str] = &["get", "PASSWORD", "--mask=false", "-r", "--allow-loopback-endpoints"];

#[tokio::test]
async fn the_persons_own_token_reads_and_writes() {
    let fixture = Fixture::new("vault").await;
    let vault = prepare(&fixture).await;
    let none = fixture.run(READ).await;
    assert_eq!((none.code, none.text()), (3, ""), "{none:?}");
    assert!(none.stderr.contains("run `vault login`, or set VAULT_TOKEN"), "{}", none.stderr);

    // Where `vault login` leaves it.
    std::fs::write(fixture.home().join(".vault-token"), format!("{}\n", vault.root_token())).expect("a file");
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
    let set = ["set", "LATER", "--stdin", "--allow-loopback-endpoints"];
    let written = fixture.run_with_input(&set, b"new").await;
    assert_eq!(written.code, 0, "{written:?}");
    let path = format!("{}/prod/db/LATER", fixture.namespace);
    let stored = vault.must("GET", &path, Value::Null).await.expect("a value");
    assert_eq!(stored["data"], json!({"value": "new"}));

    // The variable goes before the file.
    let fixture = fixture.with_variable("VAULT_TOKEN", "hvs.none-such");
    let refused = fixture.run(READ).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("the token of VAULT_TOKEN"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_token_goes_to_the_host_of_the_address_alone() {
    let fixture = Fixture::new("vault").await;
    let vault = prepare(&fixture).await;
    let fixture = fixture.with_variable("VAULT_TOKEN", vault.root_token());
    let elsewhere = |address: &str| {
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "vault"},
            "spec": {"vault": {"address": address, "mount": "secret",
                "auth": {"token": {"secret": "of-the-operator", "key": "token"}}}}})
    };
    fixture.apply(elsewhere("https://vault.invalid:8200")).await;
    let plain = &["get", "PASSWORD", "--mask=false", "-r"];
    let refused = fixture.run(plain).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("--allow-endpoint vault.invalid"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: your own credentials would go to that host"), "{}", refused.stderr);
    // Named by the person, it is asked, and not found: no such name can be (RFC 6761).
    let fixture = fixture.with_variable("VAULT_ADDR", "https://vault.invalid:8200");
    let asked = fixture.run(plain).await;
    assert!(asked.stderr.contains("cannot resolve host vault.invalid"), "{}", asked.stderr);
    // Another port is another host.
    fixture.apply(elsewhere("https://vault.invalid:8201")).await;
    let refused = fixture.run(plain).await;
    assert!(refused.stderr.contains("--allow-endpoint vault.invalid"), "{}", refused.stderr);
}

/// An engine of version 2 in which PASSWORD got these values one after the other; the Store leads there.
async fn with_versions(fixture: &Fixture, vault: &e2e::Vault, values: &[&str]) -> String {
    let mount = format!("{}-2", fixture.namespace);
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    vault.must("POST", &format!("sys/mounts/{mount}"), engine).await.expect("a mount");
    for value in values {
        e2e::wait_until("the engine to take values", Duration::from_secs(120), async || {
            vault.must("POST", &format!("{mount}/data/prod/db/PASSWORD"), json!({"data": {"value": value}})).await
        })
        .await
        .expect("a value");
    }
    fixture
        .apply(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "vault"},
            "spec": {"vault": {"address": vault.url(), "mount": mount, "kvVersion": 2,
                "auth": {"token": {"secret": "of-the-operator", "key": "token"}}}},
        }))
        .await;
    mount
}

/// Declares PASSWORD alone, with these fields.
async fn declare(fixture: &Fixture, fields: Value) {
    let vars = json!({"PASSWORD": fields, "LATER": null});
    fixture.change("prod", json!({"components": {"terraform": {"db": {"secrets": {"vars": vars}}}}})).await;
}

#[tokio::test]
async fn a_declaration_that_is_held_at_a_version_can_be_set_and_deleted() {
    let fixture = Fixture::new("vault").await;
    let vault = prepare(&fixture).await;
    let fixture = fixture.with_variable("VAULT_TOKEN", vault.root_token());
    let mount = with_versions(&fixture, vault, &["one", "two", "three"]).await;
    declare(&fixture, json!({"version": "2"})).await;
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, "two"), "{}", read.stderr);

    let set = ["set", "PASSWORD", "--stdin", "--force", "--allow-loopback-endpoints"];
    let written = fixture.run_with_input(&set, b"four").await;
    assert_eq!(written.code, 0, "{written:?}");
    assert!(written.stderr.contains("PASSWORD is held at version 2"), "{written:?}");
    let stored = vault.must("GET", &format!("{mount}/data/prod/db/PASSWORD"), Value::Null).await.expect("a value");
    assert_eq!(stored["data"]["data"], json!({"value": "four"}));

    // The version that it is held at is gone, the value is not.
    let destroy = format!("{mount}/destroy/prod/db/PASSWORD");
    vault.must("POST", &destroy, json!({"versions": [2]})).await.expect("an answer");
    let delete = ["delete", "PASSWORD", "--yes", "--allow-loopback-endpoints"];
    let deleted = fixture.run(&delete).await;
    assert!(deleted.code == 0 && deleted.stderr.starts_with("deleted PASSWORD"), "{deleted:?}");
    let gone = fixture.run(&delete).await;
    assert!(gone.code == 0 && gone.stderr.contains("has no value"), "{gone:?}");
}

#[tokio::test]
async fn a_required_version_that_is_not_there_makes_a_stack_invalid() {
    let fixture = Fixture::new("vault").await;
    let vault = prepare(&fixture).await;
    let fixture = fixture.with_variable("VAULT_TOKEN", vault.root_token());
    with_versions(&fixture, vault, &[CANARY]).await;
    for (optional, code, verdict) in [(true, 0, "valid: "), (false, 1, "invalid: ")] {
        declare(&fixture, json!({"expose": [{"version": "7", "key": "OLD", "optional": optional}]})).await;
        let outcome = fixture.run(&["validate", "--verify", "--allow-loopback-endpoints"]).await;
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(outcome.text().contains(verdict) && !outcome.text().contains(CANARY), "{outcome:?}");
    }
}
