//! Who yields to whom, and who is told.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::backend_key::{KeyLayout, StoreKind};
use crate::model::{StoreView, World, plan::plan};

fn claimant(name: &str, age: i64) -> Claimant {
    // Ordered as the names are.
    let digits: String = name.bytes().take(6).map(|byte| format!("{byte:02x}")).collect();
    let uid = format!("00000000-0000-4000-8000-{digits:0<12}");
    Claimant { name: name.to_owned(), created: Timestamp::from_second(1000 - age).unwrap(), uid }
}

/// A Stack with one stack-level secret whose reference is `reference`, and one target.
fn planned(object: &str, stack: &str, reference: &str, target: &str) -> Plan {
    let layout = KeyLayout::new(StoreKind::AzureKeyVault);
    let world =
        World { stores: [(StoreRef::Store("s".to_owned()), StoreView::Usable(layout))].into(), ..World::default() };
    let spec = json!({
        "name": stack, "targets": {target: {}},
        "secrets": {"vars": {"A": {"store": "s", "reference": reference}}},
    });
    plan("payments", object, &serde_json::from_value(spec).unwrap(), &world)
}

fn collides(plan: &Plan) -> bool {
    plan.secrets.iter().any(|secret| secret.read.as_ref().is_err_and(|problem| problem.reason == Reason::PathCollision))
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn whoever_wants_one_of_several_targets_is_found() {
    let mut claims = Claims::new();
    for (name, target) in [("one", "t1"), ("two", "t1"), ("three", "t2")] {
        claims.settle(&claimant(name, 1), &mut planned(name, name, name, target));
    }
    let found = |wanted: &[&str]| -> BTreeSet<String> {
        claims.claimants_of_any(|target| wanted.contains(&target)).map(str::to_owned).collect()
    };
    assert_eq!(found(&["t1"]), names(&["one", "two"]));
    assert_eq!(found(&["t1", "t2"]), names(&["one", "three", "two"]));
    assert_eq!(found(&["other"]), names(&[]));
}

#[test]
fn the_younger_yields_and_recovers() {
    let mut claims = Claims::new();
    let (old, young) = (claimant("old", 10), claimant("young", 5));
    let mut young_plan = planned("young", "x", "a-b", "t1");
    assert_eq!(claims.settle(&young, &mut young_plan), names(&[]));
    assert!(!collides(&young_plan));

    let mut old_plan = planned("old", "x", "a_b", "t2");
    assert_eq!(claims.settle(&old, &mut old_plan), names(&["young"]));
    assert!(!collides(&old_plan));
    let mut young_plan = planned("young", "x", "a-b", "t1");
    assert_eq!(claims.settle(&young, &mut young_plan), names(&[]), "nothing changed for others");
    assert!(collides(&young_plan));

    // The older moves away: the younger is told, and recovers.
    assert_eq!(claims.settle(&old, &mut planned("old", "x", "other", "t2")), names(&["young"]));
    let mut young_plan = planned("young", "x", "a-b", "t1");
    claims.settle(&young, &mut young_plan);
    assert!(!collides(&young_plan));
}

#[test]
fn names_that_differ_in_case_alone_meet_in_key_vault() {
    let mut claims = Claims::new();
    claims.settle(&claimant("old", 10), &mut planned("old", "x", "TOKEN", "t1"));
    let mut young = planned("young", "x", "token", "t2");
    claims.settle(&claimant("young", 5), &mut young);
    assert!(collides(&young));
}

#[test]
fn one_coordinate_may_have_many_users() {
    let mut claims = Claims::new();
    let mut one = planned("one", "same", "A", "t1");
    let mut two = planned("two", "same", "A", "t2");
    claims.settle(&claimant("one", 2), &mut one);
    assert_eq!(claims.settle(&claimant("two", 1), &mut two), names(&[]));
    assert!(!collides(&one) && !collides(&two));
}

#[test]
fn the_oldest_decides_for_all_that_share_its_coordinate() {
    let mut claims = Claims::new();
    let mut youngest = planned("youngest", "x", "a-b", "t1");
    claims.settle(&claimant("youngest", 1), &mut youngest);
    let mut middle = planned("middle", "x", "a_b", "t2");
    assert_eq!(claims.settle(&claimant("middle", 2), &mut middle), names(&["youngest"]));
    let mut oldest = planned("oldest", "x", "a-b", "t3");
    assert_eq!(claims.settle(&claimant("oldest", 3), &mut oldest), names(&["middle", "youngest"]));
    let mut middle = planned("middle", "x", "a_b", "t2");
    claims.settle(&claimant("middle", 2), &mut middle);
    let mut youngest = planned("youngest", "x", "a-b", "t1");
    claims.settle(&claimant("youngest", 1), &mut youngest);
    assert_eq!((collides(&oldest), collides(&middle), collides(&youngest)), (false, true, false));
}

#[test]
fn targets_have_one_owner() {
    let mut claims = Claims::new();
    claims.settle(&claimant("young", 1), &mut planned("young", "a", "A", "t"));
    assert_eq!(claims.settle(&claimant("old", 2), &mut planned("old", "b", "A", "t")), names(&["young"]));
    assert_eq!(claims.target_winner("t", None), Some("old"));
    assert_eq!(claims.target_winner("t", Some("young")), Some("young"));
    assert_eq!(claims.target_winner("other", None), None);
    assert_eq!(claims.remove("old"), names(&["young"]));
    assert_eq!(claims.target_winner("t", None), Some("young"));
    assert_eq!(claims.remove("young"), names(&[]));
    assert!(claims.is_empty() && claims.keys.is_empty() && claims.targets.is_empty());
}

#[test]
fn a_blocked_plan_keeps_its_claims() {
    let mut claims = Claims::new();
    claims.settle(&claimant("one", 2), &mut planned("one", "a", "A", "t"));
    let mut blocked = planned("one", "a", "A", "t");
    blocked.blocked = Some(Problem::new(Reason::CatalogNotFound, "x"));
    blocked.targets.clear();
    assert_eq!(claims.settle(&claimant("one", 2), &mut blocked), names(&[]));
    assert_eq!(claims.target_winner("t", None), Some("one"));
}

#[test]
fn age_decides_and_then_the_uid() {
    let (one, two) = (claimant("a", 1), claimant("b", 1));
    assert!(one.created == two.created && one.uid < two.uid);
    let mut claims = Claims::new();
    claims.settle(&one, &mut planned("a", "x", "k-k", "t"));
    let mut plan = planned("b", "x", "k_k", "u");
    claims.settle(&two, &mut plan);
    assert!(collides(&plan));
    // Re-created under its name, the first is the younger one: the other is told.
    let again = Claimant { uid: "z".to_owned(), created: Timestamp::from_second(2000).unwrap(), ..one };
    assert_eq!(claims.settle(&again, &mut planned("a", "x", "k-k", "t")), names(&["b"]));
}

proptest! {
    /// However Stacks come and go: told are all whose outcome differs, and no two different coordinates share a key.
    #[test]
    fn everyone_concerned_is_told(steps in proptest::collection::vec((0..4usize, 0..5usize, 0..3usize), 1..25)) {
        let stacks = ["p", "q", "r", "s"];
        let references = [Some("a-b"), Some("a_b"), Some("a--b"), Some("c"), None];
        let mut claims = Claims::new();
        let mut alive: BTreeMap<&str, (&str, String)> = BTreeMap::new();
        let outcome = |claims: &Claims, name: &str, (reference, target): &(&str, String)| {
            let mut plan = planned(name, "x", reference, target);
            claims.mark(name, &mut plan);
            (collides(&plan), claims.target_winner(target, None).map(str::to_owned))
        };
        for (stack, reference, target) in steps {
            let name = stacks.get(stack).copied().unwrap();
            let before: BTreeMap<&str, _> =
                alive.iter().map(|(name, wish)| (*name, outcome(&claims, name, wish))).collect();
            let told = match references.get(reference).copied().unwrap() {
                Some(reference) => {
                    let wish = (reference, format!("t{target}"));
                    let mut plan = planned(name, "x", wish.0, &wish.1);
                    alive.insert(name, wish);
                    claims.settle(&claimant(name, stack as i64), &mut plan)
                }
                None => {
                    alive.remove(name);
                    claims.remove(name)
                }
            };
            for (other, wish) in alive.iter().filter(|(other, _)| **other != name) {
                let changed = before.get(other).is_some_and(|before| *before != outcome(&claims, other, wish));
                prop_assert!(!changed || told.contains(*other), "{} changed by {}", other, name);
            }
            let readers: BTreeSet<&str> = alive.iter()
                .filter(|(name, wish)| wish.0 != "c" && !outcome(&claims, name, wish).0)
                .map(|(_, wish)| wish.0).collect();
            prop_assert!(readers.len() <= 1, "{:?}", readers);
        }
    }
}
