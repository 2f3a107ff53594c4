//! The health script over every status that the operator can write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atmos_secrets::api::stack::{DeletionPolicy, DriftPolicy, Format, MissingPolicy, SecretType, SyncPolicy};
use atmos_secrets::api::status::READY;
use atmos_secrets::api::{Reason, Scope, StackStatus};
use atmos_secrets::backend::Key;
use atmos_secrets::model::outcome::{self, Observation, TargetReport};
use atmos_secrets::model::transform::Transforms;
use atmos_secrets::model::{Finding, Plan, PlannedRead, PlannedSecret, PlannedTarget, Problem, StoreRef};
use atmos_secrets::value::SecretValue;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::judge::{self, Flux, argocd, flux};

const GENERATION: i64 = 3;

fn object(status: &Value) -> Value {
    json!({"kind": "Stack", "metadata": {"name": "prod", "generation": GENERATION}, "status": status})
}

fn reported(status: &StackStatus) -> Value {
    object(&serde_json::to_value(status).unwrap())
}

fn problem(reason: Reason) -> Problem {
    Problem::new(reason, format!("a sentence about {reason}"))
}

/// A Stack of two secrets in one target, after its stores gave these answers.
fn synced(findings: &[Finding; 2], target: TargetReport) -> StackStatus {
    let store = StoreRef::Store("app".to_owned());
    let secret = |name: &str, required: bool| PlannedSecret {
        component: "terraform/orders-db".to_owned(),
        name: name.to_owned(),
        scope: Scope::Instance,
        required,
        description: None,
        origin: "component".to_owned(),
        default: None,
        path: None,
        transforms: Transforms::default(),
        extract: None,
        exposure: None,
        read: Ok(PlannedRead {
            store: store.clone(),
            coordinate: None,
            key: Key::current(name.to_owned()),
            caseless: false,
        }),
        store: Some(store.clone()),
    };
    let plan = Plan {
        stack: "prod".to_owned(),
        refresh_interval: None,
        drift: DriftPolicy::Correct,
        blocked: None,
        secrets: vec![secret("REQUIRED", true), secret("OPTIONAL", false)],
        dropped: BTreeSet::new(),
        targets: vec![PlannedTarget {
            name: "orders-db".to_owned(),
            component: "terraform/orders-db".to_owned(),
            secret_type: SecretType::Opaque,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            deletion: DeletionPolicy::Retain,
            missing: MissingPolicy::Keep,
            sync: SyncPolicy::AllOrNothing,
            format: Format::Data,
            entries: BTreeMap::from([("REQUIRED".to_owned(), 0), ("OPTIONAL".to_owned(), 1)]),
            templates: BTreeMap::new(),
            documents: BTreeSet::new(),
            problem: None,
        }],
        inputs: BTreeSet::new(),
    };
    outcome::status(&Observation {
        plan: &plan,
        findings,
        covered: &[false, false],
        rotations: &BTreeMap::new(),
        targets: &[target],
        kept: &BTreeSet::new(),
        previous: &StackStatus::default(),
        generation: GENERATION,
        inputs: BTreeMap::new(),
        aliases: &BTreeMap::from([(store, "app".to_owned())]),
        handled_sync: None,
        leftover: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
    })
}

fn value() -> Finding {
    let value = Arc::new(SecretValue::new(b"canary".to_vec()));
    Finding::Initialized { value, keys: None, version: String::new(), from_default: false }
}

fn ready() -> TargetReport {
    TargetReport { ready: true, ..TargetReport::default() }
}

fn held(reason: Reason) -> TargetReport {
    TargetReport { problem: Some(problem(reason)), derived: true, ..TargetReport::default() }
}

/// What a Stack or a store that is not ready for this reason alone is to Argo CD. A reason that is new must be decided here
/// and in the script.
fn expected(reason: Reason) -> &'static str {
    match reason {
        // It comes, or it passes.
        Reason::BackendNotFound
        | Reason::CatalogNotFound
        | Reason::BaseNotFound
        | Reason::ValueMissing
        | Reason::VersionMissing
        | Reason::PendingDeletion
        | Reason::PathNotFound
        | Reason::SourceNotFound
        | Reason::NamespaceNotAllowed
        | Reason::GrantMissing
        | Reason::Throttled
        | Reason::Unreachable
        | Reason::Timeout => "Progressing",
        // It is there, and wrong.
        Reason::InvalidSpec
        | Reason::NotDeclared
        | Reason::NoBackend
        | Reason::AmbiguousBackend
        | Reason::InheritanceCycle
        | Reason::ScopeConflict
        | Reason::NotOverridable
        | Reason::PathCollision
        | Reason::InvalidKeyName
        | Reason::InvalidTarget
        | Reason::TargetImmutable
        | Reason::OwnerConflict
        | Reason::TooManySecrets
        | Reason::AccessDenied
        | Reason::AuthFailed
        | Reason::NotEncrypted
        | Reason::DecryptFailed
        | Reason::MacMismatch
        | Reason::NoMatchingKey
        | Reason::NotStructured
        | Reason::TransformFailed
        | Reason::TypeMismatch
        | Reason::TaintedSink
        | Reason::EndpointNotAllowed
        | Reason::ValueTooLarge
        | Reason::Drifted
        | Reason::AdmissionDenied
        | Reason::QuotaExceeded
        | Reason::Unsupported
        | Reason::InternalError => "Degraded",
        // Never reasons of what is not ready; if they were, somebody should look.
        Reason::Synced | Reason::Connected | Reason::Suspended | Reason::Pinned | Reason::RotationOverdue => "Degraded",
    }
}

#[test]
fn every_reason_has_its_health() {
    for reason in Reason::ALL {
        let status = outcome::failed(&StackStatus::default(), &problem(*reason), GENERATION, Timestamp::UNIX_EPOCH);
        let stack = reported(&status);
        let message = format!("{reason}: a sentence about {reason}");
        assert_eq!(argocd(&stack), (expected(*reason).to_owned(), message.clone()));
        assert_eq!(flux(&stack), Flux::InProgress, "{reason}");
        let stalled = problem(*reason).stalled_if(true);
        let status = outcome::failed(&StackStatus::default(), &stalled, GENERATION, Timestamp::UNIX_EPOCH);
        let stack = reported(&status);
        assert_eq!(argocd(&stack), ("Degraded".to_owned(), message));
        assert_eq!(flux(&stack), Flux::Failed, "{reason}");
    }
}

#[test]
fn the_page_names_what_is_waited_for() {
    let page = include_str!("../../docs/gitops.md");
    let (_before, list) = page.split_once("Waited for are ").unwrap();
    let named: BTreeSet<&str> = list.split("\n\n").next().unwrap().split('`').skip(1).step_by(2).collect();
    let awaited = Reason::ALL.iter().filter(|reason| expected(**reason) == "Progressing");
    assert_eq!(named, awaited.map(|reason| reason.as_str()).collect());
}

#[test]
fn a_store_is_judged_like_a_stack() {
    let store = |status: &str, reason: Reason| {
        let now = Timestamp::UNIX_EPOCH;
        let condition = outcome::condition_of(&[], READY, status, reason, "a sentence", GENERATION, now);
        object(&json!({"observedGeneration": GENERATION, "kind": "sops", "users": 2, "conditions": [condition]}))
    };
    assert_eq!(argocd(&store("True", Reason::Connected)).0, "Healthy");
    assert_eq!(argocd(&store("False", Reason::SourceNotFound)).0, "Progressing");
    assert_eq!(argocd(&store("False", Reason::AuthFailed)).0, "Degraded");
}

/// The API server writes `observedGeneration: -1` into what it creates, so that nothing new is taken for finished.
#[test]
fn what_nobody_looked_at_is_not_finished() {
    let earlier = StackStatus { observed_generation: Some(GENERATION - 1), ..synced(&[value(), value()], ready()) };
    for status in [json!({"observedGeneration": -1}), serde_json::to_value(earlier).unwrap()] {
        let stack = object(&status);
        assert_eq!((argocd(&stack).0.as_str(), flux(&stack)), ("Progressing", Flux::InProgress), "{status}");
    }
    for status in [Value::Null, json!({}), json!({"observedGeneration": GENERATION})] {
        assert_eq!(argocd(&object(&status)).0, "Progressing", "{status}");
    }
    assert_eq!(argocd(&json!({"metadata": {"generation": 1}})).0, "Progressing");
}

#[test]
fn what_is_synced_is_healthy() {
    let missing = || Finding::Missing(problem(Reason::ValueMissing));
    let optional_alone = synced(&[value(), missing()], ready());
    for status in [synced(&[value(), value()], ready()), optional_alone] {
        let stack = reported(&status);
        assert_eq!((argocd(&stack).0.as_str(), flux(&stack)), ("Healthy", Flux::Current), "{status:?}");
    }
}

#[test]
fn a_missing_value_is_waited_for_and_a_broken_one_is_not() {
    let missing = || Finding::Missing(problem(Reason::ValueMissing));
    let broken = || Finding::Error { problem: problem(Reason::MacMismatch), transient: false };
    let (health, message) = argocd(&reported(&synced(&[missing(), value()], held(Reason::ValueMissing))));
    assert_eq!(health, "Progressing");
    assert_eq!(message, "ValueMissing: 1 required secret has no value: terraform/orders-db REQUIRED");
    let (health, message) = argocd(&reported(&synced(&[missing(), broken()], held(Reason::MacMismatch))));
    assert_eq!(health, "Degraded", "the broken one is named first: {message}");
    assert!(message.starts_with("MacMismatch: "), "{message}");
}

#[test]
fn a_suspended_stack_is_suspended_whatever_it_was() {
    let before = [
        StackStatus::default(),
        synced(&[value(), value()], ready()),
        synced(&[value(), value()], held(Reason::OwnerConflict)),
    ];
    let expected = [Flux::InProgress, Flux::Current, Flux::InProgress];
    for (before, expected) in before.iter().zip(expected) {
        let stack = reported(&outcome::suspended(before, GENERATION, Timestamp::UNIX_EPOCH));
        assert_eq!((argocd(&stack).0.as_str(), flux(&stack)), ("Suspended", expected), "{before:?}");
    }
}

/// Argo CD's Lua is that of version 5.1, the one here is newer: <https://github.com/yuin/gopher-lua>.
#[test]
fn the_script_keeps_to_lua_5_1() {
    for line in judge::SCRIPT.lines().map(|line| line.split("--").next().unwrap()) {
        for newer in ["//", "&", "|", ">>", "<<", "goto", "::", "<const>", "<close>", "utf8", "math.", "string.", "os."]
        {
            assert!(!line.contains(newer), "`{newer}` in: {line}");
        }
        assert!(!line.replace("~=", "").contains('~'), "{line}");
    }
}
