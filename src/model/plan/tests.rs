//! Whole Stacks: what is planned, and every error of section 1.2 of the API's rules.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod errors;
mod imports;
mod shapes;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::CatalogSpec;
use crate::api::stack::{DeletionPolicy, DriftPolicy, MissingPolicy, SecretType, SyncPolicy};
use crate::model::Lookup;

/// A world with the stores `files` (sops), `app` (kubernetes) and the ClusterStore `shared` (Secrets Manager).
pub(super) fn world() -> World {
    let mut world = World::default();
    for (store, kind) in [
        (StoreRef::Store("files".to_owned()), StoreKind::Sops),
        (StoreRef::Store("app".to_owned()), StoreKind::Kubernetes),
        (StoreRef::Store("ssm".to_owned()), StoreKind::AwsSsm),
        (StoreRef::Store("azure".to_owned()), StoreKind::AzureKeyVault),
        (StoreRef::ClusterStore("shared".to_owned()), StoreKind::AwsSecretsManager),
    ] {
        world.stores.insert(store, StoreView::Usable(KeyLayout::new(kind)));
    }
    world
}

pub(super) fn stack(spec: Value) -> StackSpec {
    serde_json::from_value(spec).unwrap()
}

pub(super) fn with_catalog(mut world: World, name: &str, spec: Value) -> World {
    let spec: CatalogSpec = serde_json::from_value(spec).unwrap();
    world.catalogs.insert(name.to_owned(), Lookup::Found(Arc::new(spec)));
    world
}

pub(super) fn with_stack(mut world: World, name: &str, spec: Value) -> World {
    world.stacks.insert(name.to_owned(), Lookup::Found(Arc::new(stack(spec))));
    world
}

pub(super) fn compile(spec: Value, world: &World) -> Plan {
    plan("payments", "prod", &stack(spec), world)
}

/// `component NAME` to what is read, or to the reason why not.
pub(super) fn reads(plan: &Plan) -> BTreeMap<String, String> {
    let line = |secret: &PlannedSecret| match &secret.read {
        Ok(read) => format!("{} {}", read.store, read.key.name),
        Err(problem) => problem.reason.to_string(),
    };
    plan.secrets.iter().map(|secret| (format!("{} {}", secret.component, secret.name), line(secret))).collect()
}

/// The entries of a target by key, as `component NAME`.
pub(super) fn entries(plan: &Plan, target: &str) -> BTreeMap<String, String> {
    let target = plan.targets.iter().find(|planned| planned.name == target).unwrap();
    let label = |index: usize| format!("{} {}", plan.secrets[index].component, plan.secrets[index].name);
    target.entries.iter().map(|(key, index)| (key.clone(), label(*index))).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn full() -> Value {
    json!({
        "name": "plat-ue1-prod",
        "drift": "Report",
        "stores": {"app-secrets": {"clusterStore": "shared"}, "team/files": {"store": "files"}},
        "secrets": {"vars": {
            "DATADOG_API_KEY": {"store": "app-secrets", "required": true},
            "ROOT_CA": {"store": "app-secrets", "scope": "global"},
        }},
        "targetDefaults": {"labels": {"team": "pay", "tier": "1"}, "deletionPolicy": "Delete"},
        "components": {"terraform": {
            "base-db": {
                "metadata": {"type": "abstract"},
                "secrets": {"vars": {"DB_PASSWORD": {"sops": "team/files", "required": true}}},
            },
            "off": {"metadata": {"enabled": false}, "secrets": {"vars": {"X": {"store": "app"}}}},
            "Net/orders_db": {
                "metadata": {"inherits": ["base-db"]},
                "secrets": {"vars": {
                    "DB_USER": {"sops": "team/files", "key": "username"},
                    "DB_HOST": {"store": "app-secrets", "reference": "DB_ENDPOINT", "path": ".host", "default": "localhost"},
                    "LEGACY": {"store": "app-secrets", "backendKey": "legacy/orders/db", "version": "AWSPREVIOUS"},
                    "ROOT_CA": {"declared": false},
                }},
            },
            "api": {
                "secrets": {"vars": {"DATADOG_API_KEY": {"required": false}, "TOKEN": {"store": "app"}}},
                "targets": {
                    "api-own": {"inherit": "Own", "labels": {"tier": "2"}, "missingPolicy": "Remove"},
                    "api-keys": {"type": "kubernetes.io/basic-auth", "keys": {"password": "TOKEN", "ca": "ROOT_CA"},
                                 "syncPolicy": "PerKey", "deletionPolicy": "Retain"},
                },
            },
            "tracked": {"targets": {}},
        }},
    })
}

#[test]
fn compiles_a_whole_stack() {
    let plan = compile(full(), &world());
    assert_eq!(plan.blocked, None);
    assert_eq!((plan.stack.as_str(), plan.drift), ("plat-ue1-prod", DriftPolicy::Report));
    assert_eq!(plan.refresh_interval, Some(Duration::from_secs(3600)));
    let labels: Vec<String> =
        plan.secrets.iter().map(|secret| format!("{} {}", secret.component, secret.name)).collect();
    assert_eq!(
        labels,
        [
            " DATADOG_API_KEY",
            " ROOT_CA",
            "terraform/Net/orders_db DB_HOST",
            "terraform/Net/orders_db DB_PASSWORD",
            "terraform/Net/orders_db DB_USER",
            "terraform/Net/orders_db LEGACY",
            "terraform/api DATADOG_API_KEY",
            "terraform/api TOKEN",
        ]
    );
    let lookups = reads(&plan);
    assert_eq!(lookups[" DATADOG_API_KEY"], "ClusterStore/shared /plat/ue1/prod/DATADOG_API_KEY");
    assert_eq!(lookups[" ROOT_CA"], "ClusterStore/shared /ROOT_CA");
    assert_eq!(
        lookups["terraform/Net/orders_db DB_HOST"],
        "ClusterStore/shared /plat/ue1/prod/Net/orders_db/DB_ENDPOINT"
    );
    assert_eq!(
        lookups["terraform/Net/orders_db DB_PASSWORD"],
        "Store/files plat-ue1-prod.Net.orders_db.enc.yaml#DB_PASSWORD"
    );
    assert_eq!(lookups["terraform/Net/orders_db LEGACY"], "ClusterStore/shared legacy/orders/db");
    assert_eq!(lookups["terraform/api DATADOG_API_KEY"], "ClusterStore/shared /plat/ue1/prod/api/DATADOG_API_KEY");
    assert_eq!(lookups["terraform/api TOKEN"], "Store/app atmos.plat-ue1-prod.api#TOKEN");

    let by_name = |name: &str| plan.secrets.iter().find(|secret| secret.name == name).unwrap();
    assert_eq!(by_name("DB_PASSWORD").origin, "inherits/base-db");
    assert_eq!((by_name("DB_PASSWORD").scope, by_name("DB_PASSWORD").required), (Scope::Instance, true));
    assert_eq!(by_name("DB_USER").origin, "component");
    assert_eq!(by_name("ROOT_CA").scope, Scope::Global);
    let legacy = by_name("LEGACY").read.as_ref().unwrap();
    assert_eq!((&legacy.coordinate, legacy.key.version.as_deref()), (&None, Some("AWSPREVIOUS")));
    assert_eq!(by_name("DB_HOST").path.as_ref().unwrap().to_string(), ".host");

    let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["api-keys", "api-own", "prod-net-orders-db"]);
    assert!(plan.targets.iter().all(|target| target.problem.is_none()));
    assert_eq!(
        entries(&plan, "prod-net-orders-db"),
        map(&[
            ("DATADOG_API_KEY", " DATADOG_API_KEY"),
            ("DB_HOST", "terraform/Net/orders_db DB_HOST"),
            ("DB_PASSWORD", "terraform/Net/orders_db DB_PASSWORD"),
            ("LEGACY", "terraform/Net/orders_db LEGACY"),
            ("username", "terraform/Net/orders_db DB_USER"),
        ])
    );
    assert_eq!(
        entries(&plan, "api-own"),
        map(&[("DATADOG_API_KEY", "terraform/api DATADOG_API_KEY"), ("TOKEN", "terraform/api TOKEN")])
    );
    assert_eq!(entries(&plan, "api-keys"), map(&[("ca", " ROOT_CA"), ("password", "terraform/api TOKEN")]));
    let [keys, own, default] = plan.targets.as_slice() else { unreachable!() };
    assert_eq!(
        (keys.secret_type, keys.sync, keys.deletion),
        (SecretType::BasicAuth, SyncPolicy::PerKey, DeletionPolicy::Retain)
    );
    assert_eq!((own.missing, own.deletion), (MissingPolicy::Remove, DeletionPolicy::Delete));
    assert_eq!(own.labels, map(&[("team", "pay"), ("tier", "2")]));
    assert_eq!(
        (default.missing, default.sync, default.labels["tier"].as_str()),
        (MissingPolicy::Keep, SyncPolicy::AllOrNothing, "1")
    );
    assert_eq!(default.component, "terraform/Net/orders_db");
}

#[test]
fn names_every_input_until_none_is_missing() {
    let spec = json!({
        "imports": [{"catalog": "one"}], "defaultStore": "app",
        "secrets": {"vars": {"A": {"store": "files"}, "B": {}}},
    });
    let full = with_catalog(
        with_catalog(world(), "one", json!({"imports": [{"catalog": "two"}]})),
        "two",
        json!({"stores": {"s": {"clusterStore": "shared"}}, "secrets": {"vars": {"C": {"store": "s"}}}}),
    );
    // Load step by step what the plan names, as a caller does.
    let mut known = World::default();
    let mut loaded = BTreeSet::new();
    let mut rounds = 0;
    let plan = loop {
        let plan = compile(spec.clone(), &known);
        let missing = missing_inputs(&plan, &loaded);
        if missing.is_empty() {
            break plan;
        }
        rounds += 1;
        for input in missing {
            match &input {
                Input::Catalog(name) => known.catalogs.extend(full.catalogs.get(name).map(|spec| {
                    let Lookup::Found(spec) = spec else { unreachable!() };
                    (name.clone(), Lookup::Found(Arc::clone(spec)))
                })),
                Input::Store(store) => {
                    known.stores.extend(full.stores.get(store).map(|view| (store.clone(), view.clone())));
                }
                Input::Stack(_) => unreachable!(),
            }
            loaded.insert(input);
        }
    };
    assert_eq!(rounds, 3);
    assert_eq!(plan.blocked, None);
    let inputs: Vec<String> = plan.inputs.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["Catalog/one", "Catalog/two", "Store/app", "Store/files", "ClusterStore/shared"]);
    assert!(plan.secrets.iter().all(|secret| secret.read.is_ok()));
}

#[test]
fn intervals_are_bounded() {
    for (text, seconds) in [
        (None, Some(3600)),
        (Some("0s"), None),
        (Some("1s"), Some(10)),
        (Some("9000h"), Some(2_592_000)),
        (Some("?"), Some(3600)),
    ] {
        let plan = compile(json!({"refreshInterval": text}), &World::default());
        assert_eq!(plan.refresh_interval, seconds.map(Duration::from_secs), "{text:?}");
    }
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["[ab]", "[ab]", "-", "_", "\\.", "/"], 1..4).prop_map(|parts| parts.concat())
}

type Names = Vec<(String, bool)>;

fn vars(names: &Names, store: &str) -> Value {
    let declaration = |reference: &str, global: bool| match global {
        true => json!({"store": store, "scope": "global", "reference": reference}),
        false => json!({"store": store, "reference": reference}),
    };
    let named = names.iter().enumerate();
    let named = named.map(|(index, (reference, global))| (format!("N{index}"), declaration(reference, *global)));
    json!({"vars": named.collect::<serde_json::Map<_, _>>()})
}

proptest! {
    /// No two coordinates share a key unnoticed, and nothing is reported that does not collide.
    #[test]
    fn collisions_are_exactly_what_is_reported(
        components in proptest::collection::btree_map(name(), proptest::collection::vec((name(), any::<bool>()), 1..4), 1..6),
        shared in proptest::collection::vec((name(), any::<bool>()), 0..4),
        store in prop_oneof![Just("files"), Just("app"), Just("ssm"), Just("azure")],
        stack_name in prop_oneof![Just("a-b"), Just("a"), Just("a/b"), Just("global")],
    ) {
        let spec = json!({
            "name": stack_name,
            "secrets": vars(&shared, store),
            "components": {"terraform": components.iter()
                .map(|(name, names)| (name.clone(), json!({"secrets": vars(names, store)})))
                .collect::<serde_json::Map<_, _>>()},
        });
        let plan = compile(spec, &world());

        let StoreView::Usable(layout) = &world().stores[&StoreRef::Store(store.to_owned())] else { unreachable!() };
        let mut places: BTreeMap<(String, String), Coordinate> = BTreeMap::new();
        for (component, names) in components.iter().chain([(&String::new(), &shared)]) {
            for (index, (reference, global)) in names.iter().enumerate() {
                let scope = match (global, component.is_empty()) {
                    (true, _) => Scope::Global,
                    (false, true) => Scope::Stack,
                    (false, false) => Scope::Instance,
                };
                let label = match component.as_str() {
                    "" => String::new(),
                    name => format!("terraform/{name}"),
                };
                places.insert((label, format!("N{index}")), Coordinate::new(scope, stack_name, component, reference));
            }
        }
        prop_assert_eq!(plan.secrets.len(), places.len());
        for secret in &plan.secrets {
            let mine = &places[&(secret.component.clone(), secret.name.clone())];
            let meets = |other: &Coordinate| other != mine && layout.key(other).is_ok() && layout.key(other) == layout.key(mine);
            let outcome = secret.read.as_ref().map_err(|problem| problem.reason);
            match layout.key(mine) {
                Ok(_) if places.values().any(meets) => prop_assert_eq!(outcome, Err(Reason::PathCollision)),
                Ok(key) => prop_assert_eq!(outcome.map(|read| &read.key.name), Ok(&key)),
                Err(problem) => prop_assert_eq!(outcome, Err(problem.reason)),
            }
        }
    }
}
