//! Each way to a verdict.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::{Value, json};

use super::*;

fn stack(conditions: &[(&str, &str, &str)], secrets: Value, targets: Value) -> Stack {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"})
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": "prod", "namespace": "payments"},
        "spec": {"components": {"terraform": {"db": {}, "web": {}}}},
        "status": {"conditions": conditions, "secrets": secrets, "targets": targets},
    }))
    .unwrap()
}

fn secret(name: &str, state: &str, reason: &str, required: bool) -> Value {
    let mut secret =
        json!({"component": "terraform/db", "name": name, "state": state, "scope": "instance", "required": required});
    if !reason.is_empty() {
        let fields = secret.as_object_mut().unwrap();
        fields.insert("reason".to_owned(), json!(reason));
        fields.insert("message".to_owned(), json!("m"));
    }
    secret
}

#[test]
fn states_and_reasons_decide() {
    use Verdict::{Invalid, Undetermined, Valid};
    let good = secret("A", "Initialized", "", true);
    for (what, other, verdict) in [
        ("all have a value", secret("B", "Initialized", "", true), Valid),
        ("a required one has none", secret("B", "Missing", "ValueMissing", true), Invalid),
        ("an optional one has none", secret("B", "Missing", "ValueMissing", false), Valid),
        ("a required one is in error", secret("B", "Error", "AccessDenied", true), Undetermined),
        ("an optional one is in error", secret("B", "Error", "AccessDenied", false), Valid),
        ("a required one was not asked", secret("B", "Unknown", "", true), Undetermined),
        ("an optional one is declared wrongly", secret("B", "Error", "NoBackend", false), Invalid),
        ("a store is not there yet", secret("B", "Error", "BackendNotFound", true), Undetermined),
    ] {
        let ready = [("Ready", "False", "ValueMissing")];
        let report = of_status(&stack(&ready, json!([good, other]), json!([])), None);
        assert_eq!(report.verdict, verdict, "{what}: {report:?}");
        assert_eq!(report.offending.is_empty(), verdict == Valid, "{what}");
    }
}

#[test]
fn a_definite_no_goes_before_cannot_tell() {
    let secrets = json!([secret("A", "Error", "Unreachable", true), secret("B", "Missing", "ValueMissing", true)]);
    let report = of_status(&stack(&[("Ready", "False", "ValueMissing")], secrets, json!([])), None);
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(
        report.summary(),
        "invalid: Stack payments/prod: 0 of 2 secrets have a value, 1 required without a value, 1 in error"
    );
}

#[test]
fn conditions_decide_where_secrets_cannot() {
    use Verdict::{Invalid, Undetermined, Valid};
    let good = json!([secret("A", "Initialized", "", true)]);
    for (conditions, secrets, verdict) in [
        (vec![("Ready", "False", "TooManySecrets"), ("Stalled", "True", "TooManySecrets")], json!([]), Invalid),
        (vec![("Ready", "False", "InheritanceCycle")], json!([]), Invalid),
        (vec![("Ready", "False", "CatalogNotFound")], json!([]), Undetermined),
        (vec![("Ready", "False", "CatalogNotFound")], good.clone(), Undetermined),
        (vec![("Ready", "False", "InternalError")], good.clone(), Undetermined),
        (vec![("Ready", "False", "GrantMissing")], json!([]), Undetermined),
        (vec![("Ready", "False", "GrantMissing")], good.clone(), Valid),
        (vec![("Ready", "False", "AWordOfALaterVersion")], json!([]), Undetermined),
        (vec![("Ready", "True", "Synced")], json!([]), Valid),
        (vec![], good, Undetermined),
    ] {
        let report = of_status(&stack(&conditions, secrets, json!([])), None);
        assert_eq!(report.verdict, verdict, "{conditions:?}: {report:?}");
    }
}

#[test]
fn only_the_chosen_component_counts() {
    let secrets = json!([secret("A", "Missing", "ValueMissing", true)]);
    let stack = stack(&[("Ready", "False", "ValueMissing")], secrets, json!([]));
    assert_eq!(of_status(&stack, Some("terraform/db")).verdict, Verdict::Invalid);
    assert_eq!(of_status(&stack, Some("terraform/web")).verdict, Verdict::Valid);
}

#[test]
fn targets_that_cannot_be_written_are_told_but_only_a_wrong_spec_counts() {
    let good = json!([secret("A", "Initialized", "", true)]);
    let target = |reason: &str| json!([{"name": "t", "component": "terraform/db", "ready": false, "reason": reason, "message": "m"}]);
    let foreign =
        of_status(&stack(&[("Ready", "False", "OwnerConflict")], good.clone(), target("OwnerConflict")), None);
    assert_eq!((foreign.verdict, foreign.notes.len()), (Verdict::Valid, 1));
    let wrong = of_status(&stack(&[("Ready", "False", "OwnerConflict")], good, target("InvalidTarget")), None);
    assert_eq!((wrong.verdict, wrong.stack_problems.len()), (Verdict::Invalid, 1));
}
