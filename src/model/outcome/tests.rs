#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod exposures;
mod pinned;
mod rotation;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::api::Scope;
use crate::api::stack::{DeletionPolicy, DriftPolicy, Format, MissingPolicy, SecretType, SyncPolicy};
use crate::backend::Key;
use crate::model::transform::Transforms;
use crate::model::{PlannedRead, PlannedTarget};
use crate::value::SecretValue;

fn secret(component: &str, name: &str, required: bool) -> PlannedSecret {
    PlannedSecret {
        component: component.into(),
        name: name.into(),
        scope: if component.is_empty() { Scope::Stack } else { Scope::Instance },
        required,
        description: None,
        origin: "component".into(),
        default: None,
        path: None,
        transforms: Transforms::default(),
        extract: None,
        exposure: None,
        read: Ok(PlannedRead {
            store: StoreRef::Store("app".into()),
            coordinate: None,
            key: Key::current(format!("object#{name}")),
            caseless: false,
        }),
        store: Some(StoreRef::Store("app".into())),
    }
}

fn plan(secrets: Vec<PlannedSecret>) -> Plan {
    let entries = secrets.iter().enumerate().map(|(index, secret)| (secret.name.clone(), index)).collect();
    Plan {
        stack: "prod".into(),
        refresh_interval: None,
        drift: DriftPolicy::Correct,
        blocked: None,
        secrets,
        dropped: BTreeSet::new(),
        targets: vec![PlannedTarget {
            name: "orders-db".into(),
            component: "terraform/orders-db".into(),
            secret_type: SecretType::Opaque,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            deletion: DeletionPolicy::Retain,
            missing: MissingPolicy::Keep,
            sync: SyncPolicy::AllOrNothing,
            format: Format::Data,
            entries,
            documents: BTreeSet::new(),
            templates: BTreeMap::new(),
            problem: None,
        }],
        inputs: BTreeSet::new(),
    }
}

fn good() -> Finding {
    Finding::Initialized {
        value: Arc::new(SecretValue::new(b"canary".to_vec())),
        keys: None,
        version: String::new(),
        from_default: false,
    }
}

fn problem(reason: Reason) -> Problem {
    Problem { reason, message: format!("message of {reason}"), stalled: false }
}

fn missing() -> Finding {
    Finding::Missing(problem(Reason::ValueMissing))
}

fn failing(transient: bool) -> Finding {
    Finding::Error { problem: problem(if transient { Reason::Unreachable } else { Reason::AccessDenied }), transient }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn ready() -> TargetReport {
    TargetReport { ready: true, resource_version: Some("7".into()), ..TargetReport::default() }
}

fn held(reason: Reason, derived: bool) -> TargetReport {
    TargetReport { problem: Some(problem(reason)), derived, ..TargetReport::default() }
}

fn observe(
    plan: &Plan,
    findings: &[Finding],
    covered: bool,
    target: TargetReport,
    previous: &StackStatus,
    now: Timestamp,
) -> StackStatus {
    status(&Observation {
        plan,
        findings,
        covered: &vec![covered; findings.len()],
        rotations: &BTreeMap::new(),
        targets: &[target],
        kept: &BTreeSet::new(),
        previous,
        generation: 3,
        inputs: BTreeMap::new(),
        aliases: &BTreeMap::from([(StoreRef::Store("app".into()), "app-secrets".to_owned())]),
        handled_sync: None,
        leftover: Vec::new(),
        now,
    })
}

fn condition<'a>(status: &'a StackStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

#[test]
fn an_unchanged_sync_gives_an_equal_status() {
    let plan = plan(vec![secret("terraform/orders-db", "DB_USER", true), secret("", "OPTIONAL", false)]);
    let first = observe(&plan, &[good(), missing()], false, ready(), &StackStatus::default(), at(0));
    let second = observe(&plan, &[good(), missing()], false, ready(), &first, at(500));
    assert_eq!(first, second);
    assert_eq!(condition(&first, READY).unwrap().status, "True");
    assert_eq!(first.initialized.as_deref(), Some("1/2"));
    assert_eq!(first.missing, None, "an optional secret without a value is not in the column");
    assert_eq!(first.stores.as_deref(), Some("app-secrets"));
    assert!(!serde_json::to_string(&first).unwrap().contains("canary"));
}

#[test]
fn missing_required_secrets_are_named() {
    let plan = plan(vec![
        secret("terraform/orders-db", "DB_PASSWORD", true),
        secret("terraform/orders-db", "DB_USER", true),
        secret("terraform/orders-db", "HOST", false),
    ]);
    let findings = [missing(), missing(), good()];
    let status = observe(&plan, &findings, false, held(Reason::ValueMissing, true), &StackStatus::default(), at(0));
    let condition = condition(&status, READY).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "ValueMissing"));
    assert_eq!(
        condition.message,
        "2 required secrets have no value: terraform/orders-db DB_PASSWORD, terraform/orders-db DB_USER"
    );
    assert_eq!(status.missing.as_deref(), Some("orders-db DB_PASSWORD +1"));
    assert_eq!(status.summary, Some(Summary { missing: 2, error: 0, unknown: 0 }));
}

#[test]
fn times_move_only_where_something_changed() {
    let plan = plan(vec![secret("terraform/orders-db", "A", true), secret("terraform/orders-db", "B", true)]);
    let first =
        observe(&plan, &[good(), missing()], false, held(Reason::ValueMissing, true), &StackStatus::default(), at(0));
    let changed = TargetReport { changed: true, ..ready() };
    let second = observe(&plan, &[good(), good()], false, changed, &first, at(60));
    let changes: Vec<_> = second.secrets.iter().map(|entry| entry.last_changed.clone().unwrap().0).collect();
    assert_eq!(changes, [at(0), at(60)]);
    assert_eq!(condition(&second, READY).unwrap().last_transition_time.0, at(60));
    assert_eq!(second.targets.first().unwrap().last_changed.clone().unwrap().0, at(60));
}

#[test]
fn a_passing_error_is_covered_by_the_last_good_read() {
    let plan = plan(vec![secret("terraform/orders-db", "A", true)]);
    let before = observe(&plan, &[good()], true, ready(), &StackStatus::default(), at(0));
    let during = observe(
        &plan,
        &[failing(true)],
        true,
        TargetReport { ready: true, ..TargetReport::default() },
        &before,
        at(60),
    );
    assert_eq!(during, before, "one hiccup of a store changes nothing");

    let stale = observe(&plan, &[failing(true)], false, held(Reason::Unreachable, true), &before, at(600));
    assert_eq!(condition(&stale, READY).unwrap().reason, "Unreachable");
    assert_eq!(stale.secrets.first().unwrap().state, SecretState::Error);

    let denied = observe(&plan, &[failing(false)], true, held(Reason::AccessDenied, true), &before, at(60));
    assert_eq!(condition(&denied, READY).unwrap().reason, "AccessDenied", "what waiting cannot cure flips at once");
}

#[test]
fn the_problem_that_only_an_edit_cures_comes_first_and_stalls() {
    let plan = plan(vec![secret("terraform/orders-db", "A", true), secret("terraform/orders-db", "B", true)]);
    let mut stalled = problem(Reason::NoBackend);
    stalled.stalled = true;
    let findings = [failing(false), Finding::Error { problem: stalled, transient: false }];
    let status = observe(&plan, &findings, false, held(Reason::NoBackend, true), &StackStatus::default(), at(0));
    assert_eq!(condition(&status, READY).unwrap().reason, "NoBackend");
    assert_eq!(condition(&status, STALLED).unwrap().status, "True");

    let cured = observe(&plan, &[good(), good()], false, ready(), &status, at(1));
    assert!(condition(&cured, STALLED).is_none(), "Stalled is there only while it is true");
}

#[test]
fn a_blocked_plan_keeps_what_was_told() {
    let known = plan(vec![secret("terraform/orders-db", "A", true)]);
    let before = observe(&known, &[good()], false, ready(), &StackStatus::default(), at(0));
    let mut blocked = plan(Vec::new());
    blocked.targets.clear();
    blocked.blocked = Some(problem(Reason::CatalogNotFound));
    let status = observe(&blocked, &[], false, ready(), &before, at(60));
    assert_eq!(condition(&status, READY).unwrap().reason, "CatalogNotFound");
    assert_eq!((&status.secrets, &status.targets), (&before.secrets, &before.targets));
}

#[test]
fn suspending_leaves_ready_as_it_was() {
    let plan = plan(vec![secret("terraform/orders-db", "A", true)]);
    let before = observe(&plan, &[good()], false, ready(), &StackStatus::default(), at(0));
    let status = suspended(&before, 4, at(60));
    assert_eq!(condition(&status, SUSPENDED).unwrap().status, "True");
    assert_eq!(condition(&status, READY), condition(&before, READY));
    assert_eq!(status.observed_generation, Some(4));
    let fresh = suspended(&StackStatus::default(), 1, at(0));
    assert_eq!(condition(&fresh, READY).unwrap().status, "Unknown");
}

#[test]
fn targets_with_problems_of_their_own_are_named() {
    let plan = plan(vec![secret("terraform/orders-db", "A", true)]);
    let status = observe(&plan, &[good()], false, held(Reason::OwnerConflict, false), &StackStatus::default(), at(0));
    let condition = condition(&status, READY).unwrap();
    assert_eq!(condition.reason, "OwnerConflict");
    assert_eq!(condition.message, "target orders-db: message of OwnerConflict");
}
