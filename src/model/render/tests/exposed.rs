//! A declaration with exposed versions, from its plan over a store that keeps versions to the data of its target.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::StackSpec;
use crate::backend::Backend;
use crate::backend::memory::Memory;
use crate::model::backend_key::{KeyLayout, StoreKind};
use crate::model::plan::plan;
use crate::model::{Plan, StoreView, World};

/// What a target would hold after reading every key of the plan, as text.
async fn written(plan: &Plan, store: &Memory) -> Result<BTreeMap<String, String>, Reason> {
    let mut findings = Vec::new();
    for secret in &plan.secrets {
        let key = secret.read.as_ref().unwrap().key.clone();
        let fetched = match store.read(&[key]).await.remove(0) {
            Ok(versioned) => Fetched::Value(versioned),
            Err(error) => Fetched::Error(error),
        };
        findings.push(finding(secret, fetched));
    }
    match decide(plan.targets.first().unwrap(), &plan.secrets, &findings, None, &|_| false) {
        Decision::Hold(problem) => Err(problem.reason),
        Decision::Write { data, .. } => Ok(data
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8(value.expose().to_vec()).unwrap()))
            .collect()),
    }
}

fn compile(expose: &serde_json::Value) -> Plan {
    let mut world = World::default();
    let layout = KeyLayout::new(StoreKind::AwsSecretsManager);
    world.stores.insert(StoreRef::Store("app".to_owned()), StoreView::Usable(layout));
    let spec: StackSpec = serde_json::from_value(json!({
        "defaultStore": "app",
        "components": {"terraform": {"db": {"secrets": {"vars": {
            "DB": {"backendKey": "db", "required": true, "path": ".word", "transforms": [{"case": "upper"}], "expose": expose},
        }}}}},
    }))
    .unwrap();
    plan("payments", "prod", &spec, &world)
}

#[tokio::test]
async fn the_version_before_stands_beside_the_present_one() {
    let store = Memory::new();
    let first = store.set("db", "{\"word\": \"old\"}");
    let optional = compile(
        &json!([{"version": first, "key": "DB_OLD"}, {"version": "never", "key": "DB_NEVER", "optional": true}]),
    );
    let pairs = |pairs: &[(&str, &str)]| {
        Ok::<_, Reason>(
            pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>(),
        )
    };
    assert_eq!(written(&optional, &store).await, pairs(&[("DB", "OLD"), ("DB_OLD", "OLD")]));
    store.set("db", "{\"word\": \"new\"}");
    assert_eq!(written(&optional, &store).await, pairs(&[("DB", "NEW"), ("DB_OLD", "OLD")]));
    let needed = compile(&json!([{"version": "never", "key": "DB_NEVER"}]));
    assert_eq!(written(&needed, &store).await, Err(Reason::VersionMissing));
    store.forget("db");
    assert_eq!(written(&optional, &store).await, Err(Reason::ValueMissing));
}
