//! `validate`.

use std::time::Duration;

use atmos_secrets::api::marks::SYNC_REQUESTED_AT;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Fixture, ready};
use crate::list::payments;

fn secret(state: &str) -> serde_json::Value {
    json!({"component": "", "name": "A", "state": state, "scope": "stack", "store": "Store/app", "required": true})
}

#[tokio::test]
async fn a_missing_required_value_is_1() {
    let fixture = Fixture::new("validate").await;
    payments(&fixture).await;
    let missing = "missing: terraform/db PASSWORD: ValueMissing: no value at atmos.plat-ue1-prod.db#PASSWORD\n";
    let name = format!("{}/prod (plat-ue1-prod)", fixture.namespace);
    fixture.run(&["validate"]).await.is(
        1,
        &format!("{missing}invalid: Stack {name}: 2 of 4 secrets have a value, 1 required without a value\n"),
        "warning: optional, unknown: CA: not checked yet\n",
    );
    fixture.run(&["validate", "-c", "web"]).await.is(
        0,
        &format!("valid: Stack {name}: 1 of 2 secrets have a value\n"),
        "warning: optional, unknown: CA: not checked yet\n",
    );
    let report = fixture.run(&["validate", "-o", "json"]).await;
    assert_eq!((report.code, report.stderr.as_str()), (1, ""));
    let report = report.json();
    assert_eq!(report["verdict"], "invalid");
    assert_eq!(report["offending"][0]["name"], "PASSWORD");
    assert_eq!((&report["declared"], &report["initialized"]), (&json!(4), &json!(2)));
}

#[tokio::test]
async fn all_required_values_are_0_and_cannot_tell_is_3() {
    let fixture = Fixture::new("validate").await;
    let name = format!("{}/prod", fixture.namespace);
    fixture.stack("prod", json!({"secrets": {"vars": {"A": {"store": "app", "required": true}}}})).await;
    let status = json!({"conditions": [ready("True", "Synced", "")], "secrets": [secret("Initialized")]});
    fixture.status("prod", status).await;
    fixture.run(&["validate"]).await.is(0, &format!("valid: Stack {name}: 1 of 1 secrets have a value\n"), "");
    fixture.status("prod", json!({"secrets": [secret("Unknown")]})).await;
    fixture.run(&["validate"]).await.is(
        3,
        &format!(
            "unknown: A: not checked yet\nundetermined: Stack {name}: 0 of 1 secrets have a value, 1 not checked yet\n"
        ),
        "",
    );
}

#[tokio::test]
async fn a_spec_that_is_wrong_is_1() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({})).await;
    let stalled = json!({"type": "Stalled", "status": "True", "reason": "InheritanceCycle", "message": "a → b → a"});
    let conditions = json!([ready("False", "InheritanceCycle", "a → b → a"), stalled]);
    fixture.status("prod", json!({"conditions": conditions})).await;
    fixture.run(&["validate"]).await.is(
        1,
        &format!(
            "InheritanceCycle: a → b → a\ninvalid: Stack {}/prod: 0 of 0 secrets have a value\n",
            fixture.namespace
        ),
        "",
    );
}

#[tokio::test]
async fn a_silent_operator_is_3() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({})).await;
    let hint = "hint: is the operator running? --timeout waits longer, --verify asks the stores instead\n";
    fixture.run(&["validate", "--timeout", "0s"]).await.is(
        3,
        &format!(
            "undetermined: Stack {}/prod: the operator did not look at generation 1 of the spec within 0s\n",
            fixture.namespace
        ),
        hint,
    );
    fixture.status("prod", json!({"conditions": [ready("True", "Synced", "")]})).await;
    assert_eq!(fixture.run(&["validate", "--timeout", "0s"]).await.code, 0);
    fixture.stack("prod", json!({"refreshInterval": "2h"})).await;
    let outdated = fixture.run(&["validate", "--timeout", "1s"]).await;
    assert_eq!(outdated.code, 3);
    assert!(outdated.text().contains("generation 2 of the spec within 1s"), "{outdated:?}");
}

#[tokio::test]
async fn no_stack_no_rights_and_suspended_are_3() {
    let fixture = Fixture::new("validate").await;
    assert_eq!(fixture.run(&["validate"]).await.code, 3);
    assert_eq!(fixture.run(&["validate", "-s", "none"]).await.code, 3);
    fixture.stack("prod", json!({"suspend": true})).await;
    fixture.status("prod", json!({"conditions": [ready("True", "Synced", "")]})).await;
    fixture.run(&["validate"]).await.is(
        3,
        &format!("undetermined: Stack {}/prod: suspended: nothing is read, so nothing is known\n", fixture.namespace),
        "hint: set spec.suspend to false, or ask the stores with --verify\n",
    );
    let fixture = fixture.with_rights(json!([])).await;
    assert_eq!(fixture.run(&["validate", "-s", "prod"]).await.code, 3);
}

#[tokio::test]
async fn waits_for_the_spec_and_for_the_inputs() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({})).await;
    fixture.stack("base", json!({})).await;
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "app"},
                      "spec": {"kubernetes": {}}}))
        .await;
    let conditions = json!([ready("True", "Synced", "")]);
    // Generations of objects that are there, of one that is not, and of one that was there when it was computed.
    let current = json!({"Store/app": 1, "Stack/base": 1, "Catalog/none": 0});
    fixture.status("prod", json!({"conditions": conditions, "inputs": current})).await;
    assert_eq!(fixture.run(&["validate", "-s", "prod", "--timeout", "0s"]).await.code, 0);
    for (input, generation) in [("Store/app", 2), ("Stack/base", 3), ("Store/gone", 1), ("Catalog/gone", 4)] {
        fixture.status("prod", json!({"inputs": {(input): generation}})).await;
        let outdated = fixture.run(&["validate", "-s", "prod", "--timeout", "0s"]).await;
        assert_eq!(outdated.code, 3, "{input}: {outdated:?}");
        assert!(outdated.text().contains(&format!("did not look at the present {input}")), "{outdated:?}");
        // A merge patch takes it out again, or puts the right one back.
        fixture.status("prod", json!({"inputs": {(input): current.get(input)}})).await;
    }
    // While the plugin waits, the operator catches up.
    fixture.status("prod", json!({"inputs": {"Store/app": 2}})).await;
    let waiting = fixture.run(&["validate", "-s", "prod"]);
    let catching_up = async {
        fixture.status("prod", json!({"inputs": {"Store/app": 1}})).await;
    };
    let (outcome, ()) = tokio::join!(waiting, catching_up);
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[tokio::test]
async fn what_came_after_the_status_is_waited_for() {
    let fixture = Fixture::new("validate").await;
    let of_nothing = json!({"component": "", "name": "A", "state": "Error", "scope": "stack", "store": "Store/app",
                            "required": true, "reason": "BackendNotFound", "message": "m"});
    fixture.stack("prod", json!({"imports": [{"stack": "base"}]})).await;
    fixture
        .status("prod", json!({"conditions": [ready("False", "BackendNotFound", "m")], "secrets": [of_nothing]}))
        .await;
    let nothing = fixture.run(&["validate", "-s", "prod", "--timeout", "0s"]).await;
    assert!(nothing.code == 3 && nothing.text().starts_with("error: A: BackendNotFound: m\n"), "{nothing:?}");
    fixture.stack("base", json!({})).await;
    let import = fixture.run(&["validate", "-s", "prod", "--timeout", "0s"]).await;
    assert!(import.text().contains("did not look at the present Stack/base"), "{import:?}");
    fixture.status("prod", json!({"inputs": {"Stack/base": 1}})).await;
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "app"},
                      "spec": {"kubernetes": {}}}))
        .await;
    let store = fixture.run(&["validate", "-s", "prod", "--timeout", "0s"]).await;
    assert!(store.text().contains("did not look at the present Store/app"), "{store:?}");
    // What only an edit of the Stack can cure waits for nothing.
    let stalled = json!({"type": "Stalled", "status": "True", "reason": "NoBackend", "message": "m"});
    fixture.status("prod", json!({"conditions": [ready("False", "NoBackend", "m"), stalled]})).await;
    let stalled = fixture.run(&["validate", "-s", "prod", "--refresh", "--timeout", "0s"]).await;
    assert_eq!(stalled.code, 1, "{stalled:?}");
}

#[tokio::test]
async fn an_input_that_one_may_not_read_is_trusted() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({})).await;
    let conditions = json!([ready("True", "Synced", "")]);
    fixture.status("prod", json!({"conditions": conditions, "inputs": {"ClusterStore/shared": 7}})).await;
    assert_eq!(fixture.run(&["validate", "--timeout", "0s"]).await.code, 3, "the administrator sees that it is gone");
    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks"], "verbs": ["get", "list"]}]))
        .await;
    assert_eq!(fixture.run(&["validate", "--timeout", "0s"]).await.code, 0);
}

#[tokio::test]
async fn refresh_asks_and_waits_for_the_echo() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({"secrets": {"vars": {"A": {"store": "app", "required": true}}}})).await;
    let status = json!({"conditions": [ready("True", "Synced", "")], "secrets": [secret("Initialized")],
                        "lastHandledSync": "2026-01-01T00:00:00Z"});
    fixture.status("prod", status).await;
    let silent = fixture.run(&["validate", "--refresh", "--timeout", "0s"]).await;
    assert_eq!(silent.code, 3);
    assert!(silent.text().contains("did not finish the sync that was asked for"), "{silent:?}");
    let first = requested(&fixture).await;
    assert!(first.as_deref().is_some_and(|stamp| stamp.ends_with('Z') && stamp.len() == 30), "{first:?}");

    let operator = async {
        let stamp = e2e::wait_until("another request", Duration::from_secs(120), async || {
            let stamp = requested(&fixture).await;
            if stamp == first { Err("none yet") } else { stamp.ok_or("none at all") }
        })
        .await
        .expect("a request");
        fixture.status("prod", json!({"lastHandledSync": stamp, "secrets": [secret("Missing")]})).await;
    };
    let (outcome, ()) = tokio::join!(fixture.run(&["validate", "--refresh", "--timeout", "5m"]), operator);
    assert_eq!(outcome.code, 1, "the answer is what the sync found: {outcome:?}");

    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks"], "verbs": ["get", "list"]}]))
        .await;
    let refused = fixture.run(&["validate", "--refresh"]).await;
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.starts_with("error: could not ask for a sync of Stack prod"), "{refused:?}");
}

async fn requested(fixture: &Fixture) -> Option<String> {
    let stack = fixture.stacks().get("prod").await.expect("the Stack");
    stack.annotations().get(SYNC_REQUESTED_AT).cloned()
}

#[tokio::test]
async fn a_stack_that_goes_while_one_waits_is_3() {
    let fixture = Fixture::new("validate").await;
    fixture.stack("prod", json!({})).await;
    let deletion = async {
        fixture
            .stacks()
            .patch("prod", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}})))
            .await
            .expect("the Stack is there");
        fixture.stacks().delete("prod", &kube::api::DeleteParams::default()).await.expect("the Stack is deleted");
    };
    let (outcome, ()) = tokio::join!(fixture.run(&["validate", "-s", "prod", "--timeout", "20s"]), deletion);
    assert_eq!(outcome.code, 3, "{outcome:?}");
}
