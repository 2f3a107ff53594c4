//! Findings and decisions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod documents;
mod exposed;
mod formats;
mod templates;

use proptest::prelude::*;

use super::*;
use crate::api::Scope;
use crate::api::stack::{DeletionPolicy, Format};
use crate::backend::{Error, ErrorKind, Key, Versioned};
use crate::model::path::Path;
use crate::model::transform::Transforms;
use crate::model::{PlannedRead, StoreRef};

const CANARY: &str = "c4n4ry-v4lu3";

fn secret(name: &str, required: bool) -> PlannedSecret {
    let store = StoreRef::Store("files".to_owned());
    PlannedSecret {
        component: "terraform/db".to_owned(),
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
            key: Key::current("f.yaml#K"),
            caseless: false,
        }),
        store: Some(store),
    }
}

fn found(text: &str) -> Fetched {
    Fetched::Value(Versioned { value: Arc::new(SecretValue::from(text.to_owned())), version: "7".to_owned() })
}

fn failed(kind: ErrorKind) -> Fetched {
    Fetched::Error(Error::new(kind, "said the store"))
}

fn words(finding: &Finding) -> String {
    match finding {
        Finding::Initialized { value, keys: _, version, from_default } => {
            format!("{} {version} {from_default}", std::str::from_utf8(value.expose()).unwrap())
        }
        Finding::Missing(problem) => format!("missing {}", problem.reason),
        Finding::Error { problem, transient } => format!("error {} {transient}", problem.reason),
        Finding::Unknown => "unknown".to_owned(),
    }
}

#[test]
fn findings_tell_missing_from_failed() {
    let plain = secret("A", false);
    let with_default = PlannedSecret { default: Some("plain".to_owned()), ..plain.clone() };
    let with_path = PlannedSecret { path: Some(Path::parse(".a.b").unwrap()), ..plain.clone() };
    let with_both = PlannedSecret { default: Some("plain".to_owned()), ..with_path.clone() };
    let broken = PlannedSecret { read: Err(Problem::new(Reason::NoBackend, "x")), ..with_default.clone() };
    for (secret, fetched, expected) in [
        (&plain, found("v"), "v 7 false"),
        (&plain, failed(ErrorKind::NotFound), "missing ValueMissing"),
        (&plain, failed(ErrorKind::VersionNotFound), "missing VersionMissing"),
        (&plain, failed(ErrorKind::PendingDeletion), "missing PendingDeletion"),
        (&plain, failed(ErrorKind::SourceNotFound), "error SourceNotFound false"),
        (&plain, failed(ErrorKind::PermissionDenied), "error AccessDenied false"),
        (&plain, failed(ErrorKind::Timeout), "error Timeout true"),
        (&plain, Fetched::Unknown, "unknown"),
        (&with_default, found("v"), "v 7 false"),
        (&with_default, failed(ErrorKind::NotFound), "plain  true"),
        (&with_default, failed(ErrorKind::PermissionDenied), "error AccessDenied false"),
        (&with_default, failed(ErrorKind::Unavailable), "error Unreachable true"),
        (&with_default, Fetched::Unknown, "unknown"),
        (&with_path, found("{\"a\":{\"b\":1.0}}"), "1.0 7 false"),
        (&with_path, found("a: 1"), "missing PathNotFound"),
        (&with_path, found("no structure"), "error NotStructured false"),
        (&with_path, failed(ErrorKind::NotFound), "missing ValueMissing"),
        (&with_both, found("a: {c: 1}"), "plain  true"),
        (&with_both, found("no structure"), "error NotStructured false"),
        (&broken, found("v"), "error NoBackend false"),
    ] {
        assert_eq!(words(&finding(secret, fetched)), expected);
    }
}

#[test]
fn problems_and_debug_hold_no_value() {
    let with_path = PlannedSecret { path: Some(Path::parse(".a.b").unwrap()), ..secret("A", true) };
    for document in [
        format!("{{\"a\": \"{CANARY}\"}}"),
        format!("a: [{CANARY}]"),
        CANARY.to_owned(),
        format!("a: b: {CANARY}"),
        format!("{{\"a\": {CANARY}"),
        format!("*{CANARY}"),
        format!("a: !!{CANARY} x"),
    ] {
        let problem = match finding(&with_path, found(&document)) {
            Finding::Missing(problem) | Finding::Error { problem, .. } => problem,
            Finding::Initialized { .. } | Finding::Unknown => panic!("{document}"),
        };
        assert!(!format!("{problem:?}").contains(CANARY), "{problem:?}");
    }
    let secrets = [secret("A", true), secret("B", false)];
    let findings = [found(CANARY), failed(ErrorKind::NotFound)];
    let findings: Vec<Finding> =
        secrets.iter().zip(findings).map(|(secret, fetched)| finding(secret, fetched)).collect();
    let docker = PlannedTarget {
        secret_type: SecretType::DockerConfigJson,
        entries: BTreeMap::from([(".dockerconfigjson".to_owned(), 0)]),
        ..target(SyncPolicy::AllOrNothing, MissingPolicy::Keep)
    };
    let Decision::Hold(problem) = decide(&docker, &secrets, &findings, None, &|_| false) else { panic!("written") };
    assert_eq!(problem.reason, Reason::InvalidTarget);
    assert!(!format!("{problem:?} {docker:?} {secrets:?}").contains(CANARY));
}

fn target(sync: SyncPolicy, missing: MissingPolicy) -> PlannedTarget {
    PlannedTarget {
        name: "t".to_owned(),
        component: "terraform/db".to_owned(),
        secret_type: SecretType::Opaque,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        deletion: DeletionPolicy::Retain,
        missing,
        sync,
        format: Format::Data,
        entries: BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 1)]),
        documents: BTreeSet::new(),
        templates: BTreeMap::new(),
        problem: None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Fresh,
    Missing,
    Failed,
    Unknown,
}

impl State {
    fn finding(self, secret: &PlannedSecret) -> Finding {
        finding(
            secret,
            match self {
                Self::Fresh => found("new"),
                Self::Missing => failed(ErrorKind::NotFound),
                Self::Failed => failed(ErrorKind::Timeout),
                Self::Unknown => Fetched::Unknown,
            },
        )
    }
}

fn current(keys: &[&str], verified: bool) -> Current {
    let data = keys.iter().map(|key| ((*key).to_owned(), SecretValue::from("old".to_owned()))).collect();
    Current { data, verified }
}

/// `a=new b=old`, then `ready` or the reason that it is incomplete; or `hold` and the reason.
fn outcome(decision: &Decision) -> String {
    match decision {
        Decision::Hold(problem) => format!("hold {}", problem.reason),
        Decision::Write { data, incomplete, kept: _ } => {
            let pairs =
                data.iter().map(|(key, value)| format!("{key}={} ", std::str::from_utf8(value.expose()).unwrap()));
            let state = incomplete.as_ref().map_or("ready".to_owned(), |problem| problem.reason.to_string());
            format!("{}{state}", pairs.collect::<String>())
        }
    }
}

#[test]
fn decides_as_the_policies_say() {
    use MissingPolicy::{Keep, Remove};
    use State::{Failed, Fresh, Missing, Unknown};
    use SyncPolicy::{AllOrNothing, PerKey};
    let new = None;
    let ours = Some((["a", "b"].as_slice(), true));
    let only_a = Some((["a"].as_slice(), true));
    let edited = Some((["a", "b"].as_slice(), false));
    // `a` is always read; `b` is required or not.
    for (sync, missing, required, b, current_secret, removable, expected) in [
        (AllOrNothing, Keep, true, Fresh, new, false, "a=new b=new ready"),
        (AllOrNothing, Keep, true, Missing, new, false, "hold ValueMissing"),
        (AllOrNothing, Keep, true, Missing, ours, false, "hold ValueMissing"),
        (AllOrNothing, Keep, true, Failed, ours, false, "hold Timeout"),
        (AllOrNothing, Keep, false, Failed, ours, false, "hold Timeout"),
        (AllOrNothing, Keep, false, Failed, new, false, "hold Timeout"),
        (AllOrNothing, Keep, false, Unknown, ours, false, "hold Unreachable"),
        (AllOrNothing, Keep, false, Missing, new, false, "a=new ready"),
        (AllOrNothing, Keep, false, Missing, only_a, false, "a=new ready"),
        (AllOrNothing, Keep, false, Missing, ours, false, "a=new b=old ValueMissing"),
        (AllOrNothing, Keep, false, Missing, ours, true, "a=new b=old ValueMissing"),
        (AllOrNothing, Keep, false, Missing, edited, false, "hold Drifted"),
        (AllOrNothing, Keep, false, Fresh, edited, false, "a=new b=new ready"),
        (AllOrNothing, Remove, false, Missing, ours, false, "a=new b=old ValueMissing"),
        (AllOrNothing, Remove, false, Missing, ours, true, "a=new ready"),
        (AllOrNothing, Remove, false, Missing, edited, true, "a=new ready"),
        (AllOrNothing, Remove, true, Missing, ours, true, "hold ValueMissing"),
        (AllOrNothing, Remove, false, Failed, ours, true, "hold Timeout"),
        (PerKey, Keep, true, Missing, new, false, "hold ValueMissing"),
        (PerKey, Keep, true, Failed, new, false, "hold Timeout"),
        (PerKey, Keep, false, Failed, new, false, "a=new Timeout"),
        (PerKey, Keep, false, Missing, new, false, "a=new ready"),
        (PerKey, Keep, true, Missing, ours, false, "a=new b=old ValueMissing"),
        (PerKey, Keep, true, Failed, ours, false, "a=new b=old Timeout"),
        (PerKey, Keep, true, Failed, only_a, false, "a=new Timeout"),
        (PerKey, Keep, false, Failed, ours, false, "a=new b=old Timeout"),
        (PerKey, Keep, false, Failed, edited, false, "hold Drifted"),
        (PerKey, Keep, false, Unknown, ours, false, "hold Unreachable"),
        (PerKey, Remove, false, Missing, ours, true, "a=new ready"),
    ] {
        let secrets = [secret("A", true), secret("B", required)];
        let findings = [Fresh.finding(&secrets[0]), b.finding(&secrets[1])];
        let current_secret = current_secret.map(|(keys, verified)| current(keys, verified));
        let decision = decide(&target(sync, missing), &secrets, &findings, current_secret.as_ref(), &|index| {
            removable && index == 1
        });
        assert_eq!(outcome(&decision), expected, "{sync:?} {missing:?} {required} {b:?} {removable}");
    }
}

#[test]
fn a_name_that_left_the_spec_leaves_the_secret() {
    let secrets = [secret("A", true), secret("B", true)];
    let findings = [State::Fresh.finding(&secrets[0]), State::Fresh.finding(&secrets[1])];
    let decision = decide(
        &target(SyncPolicy::AllOrNothing, MissingPolicy::Keep),
        &secrets,
        &findings,
        Some(&current(&["a", "gone"], true)),
        &|_| false,
    );
    assert_eq!(outcome(&decision), "a=new b=new ready");
}

#[test]
fn says_which_and_how_many() {
    let secrets = [secret("A", true), secret("B", true)];
    let findings = [State::Missing.finding(&secrets[0]), State::Missing.finding(&secrets[1])];
    let target = target(SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
    assert_eq!(problem.message, "2 required secrets have no value: terraform/db A +1: said the store");
}

#[test]
fn what_the_api_server_would_refuse_is_held() {
    let secrets = [secret("A", true), secret("B", false)];
    let half = "x".repeat(MAX_SECRET_BYTES / 2);
    let write = |one: &str, two: &str, secret_type: SecretType, keys: [&str; 2]| {
        let target = PlannedTarget {
            secret_type,
            entries: keys.into_iter().map(str::to_owned).zip(0..).collect(),
            ..target(SyncPolicy::AllOrNothing, MissingPolicy::Keep)
        };
        let two = if two.is_empty() { failed(ErrorKind::NotFound) } else { found(two) };
        let findings = [finding(&secrets[0], found(one)), finding(&secrets[1], two)];
        match decide(&target, &secrets, &findings, None, &|_| false) {
            Decision::Hold(problem) => Some(problem.reason),
            Decision::Write { .. } => None,
        }
    };
    assert_eq!(write(&half, &half, SecretType::Opaque, ["a", "b"]), None);
    assert_eq!(write(&half, &format!("{half}x"), SecretType::Opaque, ["a", "b"]), Some(Reason::ValueTooLarge));
    assert_eq!(write("c", "k", SecretType::Tls, ["tls.crt", "tls.key"]), None);
    assert_eq!(write("c", "", SecretType::Tls, ["tls.crt", "tls.key"]), Some(Reason::ValueMissing));
    assert_eq!(write("c", "", SecretType::BasicAuth, ["username", "password"]), None);
    assert_eq!(write("{}", "x", SecretType::DockerConfigJson, [".dockerconfigjson", "x"]), None);
    for no_object in ["{", "[]", "\"x\"", "1"] {
        let refused = write(no_object, "x", SecretType::DockerConfigJson, [".dockerconfigjson", "x"]);
        assert_eq!(refused, Some(Reason::InvalidTarget), "{no_object}");
    }
}

fn states() -> impl Strategy<Value = Vec<(bool, State, Option<bool>)>> {
    let state = prop_oneof![
        Just(State::Fresh),
        Just(State::Fresh),
        Just(State::Missing),
        Just(State::Failed),
        Just(State::Unknown)
    ];
    // Whether it is required, what its read gave, and whether the Secret holds its key.
    proptest::collection::vec((any::<bool>(), state, proptest::option::of(any::<bool>())), 1..6)
}

proptest! {
    /// Under AllOrNothing nothing partial is written, and under every policy no key with last good bytes is lost unless
    /// it may be removed.
    #[test]
    fn writes_are_whole(
        states in states(), per_key in any::<bool>(), remove in any::<bool>(), exists in any::<bool>(),
        verified in any::<bool>(), removable in any::<bool>(),
    ) {
        let secrets: Vec<PlannedSecret> =
            states.iter().enumerate().map(|(index, (required, ..))| secret(&format!("N{index}"), *required)).collect();
        let findings: Vec<Finding> =
            states.iter().zip(&secrets).map(|((_, state, _), secret)| state.finding(secret)).collect();
        let held: Vec<String> = states.iter().enumerate()
            .filter(|(_, (_, _, held))| held == &Some(true)).map(|(index, _)| index.to_string()).collect();
        let held: Vec<&str> = held.iter().map(String::as_str).collect();
        let current_secret = exists.then(|| current(&held, verified));
        let target = PlannedTarget {
            entries: (0..states.len()).map(|index| (index.to_string(), index)).collect(),
            ..target(
                if per_key { SyncPolicy::PerKey } else { SyncPolicy::AllOrNothing },
                if remove { MissingPolicy::Remove } else { MissingPolicy::Keep },
            )
        };
        if let Decision::Write { data, incomplete, kept: _ } =
            decide(&target, &secrets, &findings, current_secret.as_ref(), &|_| removable)
        {
            let mut stale = false;
            for (index, (required, state, _)) in states.iter().enumerate() {
                let key = index.to_string();
                let had = current_secret.as_ref().is_some_and(|current| current.data.contains_key(&key));
                let value = data.get(&key).map(|value| value.expose());
                prop_assert!(*state != State::Unknown);
                if *state == State::Fresh {
                    prop_assert_eq!(value, Some(b"new".as_slice()));
                    continue;
                }
                let may_go = remove && removable && !*required && *state == State::Missing;
                prop_assert_eq!(value, (had && !may_go).then_some(b"old".as_slice()));
                prop_assert!(!had || may_go || verified, "unverified bytes are not ours");
                if !per_key {
                    prop_assert!(*state == State::Missing && !*required);
                } else if *required {
                    prop_assert!(exists);
                }
                stale |= *required || *state == State::Failed || (had && !may_go);
            }
            prop_assert_eq!(incomplete.is_some(), stale);
        }
    }
}
