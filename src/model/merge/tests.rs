//! The laws of merging.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;
use crate::api::transform::Join;

fn resolve(name: &str) -> Result<StoreRef, Problem> {
    Ok(StoreRef::Store(name.to_owned()))
}

fn patch(declaration: &Declaration) -> Patch {
    stamp_one(declaration, Position::Component, "component", &resolve)
}

fn declaration() -> impl Strategy<Value = Declaration> {
    let word = || proptest::option::of(prop_oneof!["a", "b"]);
    let scope = proptest::option::of(prop_oneof![Just(Scope::Instance), Just(Scope::Stack), Just(Scope::Global)]);
    let flags = (proptest::option::of(any::<bool>()), proptest::option::weighted(0.2, any::<bool>()));
    let transforms = proptest::option::of(proptest::collection::vec(
        word().prop_map(|separator| Transform {
            join: separator.map(|separator| Join { separator }),
            ..Transform::default()
        }),
        0..3,
    ));
    let version =
        prop_oneof!["a", "b"].prop_map(|version| ExposedVersion { key: "K".to_owned(), version, optional: None });
    let expose = proptest::option::of(proptest::collection::vec(version, 0..2));
    let extract = word().prop_map(|prefix| prefix.map(|prefix| Extract { prefix: Some(prefix), ..Extract::default() }));
    let shape = (transforms, expose, extract);
    ((word(), word(), word(), word(), word()), (word(), word(), word(), word()), scope, flags, shape).prop_map(
        |(
            (store, sops, reference, backend_key, key),
            (version, path, default, description),
            scope,
            (required, declared),
            (transforms, expose, extract),
        )| {
            Declaration {
                description,
                store,
                sops,
                scope,
                required,
                reference,
                backend_key,
                key,
                version,
                path,
                transforms,
                expose,
                extract,
                default,
                declared,
            }
        },
    )
}

proptest! {
    #[test]
    fn merging_is_associative(one in declaration(), two in declaration(), three in declaration()) {
        let (one, two, three) = (patch(&one), patch(&two), patch(&three));
        prop_assert_eq!(one.then(&two).then(&three), one.then(&two.then(&three)));
    }

    #[test]
    fn the_empty_layer_changes_only_scope_and_origin(one in declaration()) {
        let one = patch(&one);
        prop_assume!(one.declared);
        let refined = one.then(&patch(&Declaration::default()));
        let expected = Patch { scope: Some(Scope::Instance), ..one.clone() };
        prop_assert_eq!(refined, expected);
    }

    #[test]
    fn later_wins(one in declaration(), two in declaration()) {
        let merged = patch(&one).then(&patch(&two));
        if two.declared == Some(false) {
            prop_assert!(!merged.declared);
        } else {
            for (later, result) in [
                (&two.key, &merged.key), (&two.version, &merged.version), (&two.path, &merged.path),
                (&two.default, &merged.default), (&two.description, &merged.description),
            ] {
                prop_assert!(later.is_none() || later == result);
            }
            prop_assert!(two.required.is_none() || two.required == merged.required);
            prop_assert!(two.transforms.is_none() || two.transforms == merged.transforms);
            prop_assert!(two.extract.is_none() || two.extract == merged.extract);
            prop_assert!(two.expose.is_none() || two.expose == merged.expose);
            if two.store.is_some() || two.sops.is_some() {
                prop_assert_eq!(&merged.version, &two.version);
                prop_assert_eq!(&merged.expose, &two.expose);
                let names_key = matches!(merged.place, Some(Place::BackendKey(_)));
                prop_assert_eq!(names_key, two.backend_key.is_some());
            }
        }
    }
}

#[test]
fn slots_clear_each_other() {
    let text = |text: &str| Some(text.to_owned());
    let base =
        patch(&Declaration { store: text("a"), backend_key: text("k"), version: text("1"), ..Default::default() });
    let moved = base.then(&patch(&Declaration { sops: text("files"), ..Default::default() }));
    assert_eq!(moved.place, Some(Place::Name));
    assert_eq!(moved.version, None);
    assert_eq!(moved.store, Some(Ok(StoreChoice { store: StoreRef::Store("files".to_owned()), must_be_sops: true })));
    let renamed = base.then(&patch(&Declaration { reference: text("r"), ..Default::default() }));
    assert_eq!((renamed.place, renamed.version), (Some(Place::Reference("r".to_owned())), text("1")));
    // One layer that sets both is wrong, until a later one chooses.
    let both = patch(&Declaration { store: text("a"), sops: text("b"), ..Default::default() });
    assert!(matches!(&both.store, Some(Err(problem)) if problem.reason == Reason::AmbiguousBackend));
    let cured = both.then(&patch(&Declaration { store: text("a"), ..Default::default() }));
    assert!(matches!(cured.store, Some(Ok(_))));
}

#[test]
fn scope_is_that_of_the_last_layer() {
    let vars = |scope| Vars::from([("K".to_owned(), Declaration { scope, ..Default::default() })]);
    let stacked = stamp(&vars(Some(Scope::Global)), Position::StackLevel, "stack", &resolve);
    let own = stamp(&vars(None), Position::Component, "component", &resolve);
    let mut merged = stacked.clone();
    lay_over(&mut merged, &own);
    assert_eq!(merged["K"].scope, Some(Scope::Instance));
    for (scope, position, conflicts) in [
        (Scope::Instance, Position::StackLevel, true),
        (Scope::Stack, Position::StackLevel, false),
        (Scope::Global, Position::StackLevel, false),
        (Scope::Instance, Position::Component, false),
        (Scope::Stack, Position::Component, true),
        (Scope::Global, Position::Component, false),
    ] {
        let stamped = stamp(&vars(Some(scope)), position, "stack", &resolve);
        let reason = stamped["K"].problem.as_ref().map(|problem| problem.reason);
        assert_eq!(reason, conflicts.then_some(Reason::ScopeConflict), "{scope:?} {position:?}");
    }
}

#[test]
fn a_dropped_name_starts_anew() {
    let text = |text: &str| Some(text.to_owned());
    let base = patch(&Declaration { store: text("a"), required: Some(true), ..Default::default() });
    let dropped = base.then(&patch(&Declaration { declared: Some(false), ..Default::default() }));
    assert!(!dropped.declared);
    let again = dropped.then(&patch(&Declaration { key: text("k"), ..Default::default() }));
    assert!(again.declared);
    assert_eq!((again.store, again.required, again.key), (None, None, text("k")));
}
