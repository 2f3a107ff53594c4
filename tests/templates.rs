//! The examples of `docs/templates.md`, each compiled and rendered as the operator does it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use atmos_secrets::api::StackSpec;
use atmos_secrets::backend::{Error, ErrorKind, Versioned};
use atmos_secrets::model::backend_key::{KeyLayout, StoreKind};
use atmos_secrets::model::plan::plan;
use atmos_secrets::model::render::{decide, finding};
use atmos_secrets::model::{Decision, Fetched, Finding, StoreRef, StoreView, World};
use atmos_secrets::value::SecretValue;
use serde_json::{Value, json};

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/templates.md")).unwrap()
}

/// The values that the page says its examples have.
fn values(page: &str) -> BTreeMap<&str, &str> {
    let (_, table) = page.split_once("| name | value |").unwrap();
    let rows =
        table.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.strip_suffix("` |")?.split_once("` | `"));
    rows.collect()
}

/// Each example and what it gives.
fn examples(page: &str) -> Vec<(&str, &str)> {
    let fences = page.split("```yaml\n").skip(1);
    fences
        .map(|rest| {
            let (example, rest) = rest.split_once("```\n").unwrap();
            let (between, rest) = rest.split_once("```text\n").unwrap();
            assert!(between.trim().is_empty(), "no result follows: {example}");
            (example, rest.split_once("```\n").unwrap().0)
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the page's own YAML")]
fn parsed(example: &str) -> Value {
    serde_saphyr::from_str(example).unwrap()
}

/// What the one target of an example holds, as the page writes it.
fn rendered(example: &str, values: &BTreeMap<&str, &str>) -> String {
    let component = parsed(example);
    let names = values.keys().copied().chain(["DB_PORT", "READ_ONLY"]);
    let vars: serde_json::Map<String, Value> = names.map(|name| (name.to_owned(), json!({}))).collect();
    let spec = json!({"name": "plat-prod", "defaultStore": "app", "components": {"terraform": {"orders-db":
        {"secrets": {"vars": vars}, "targets": component.get("targets").unwrap()}}}});
    let spec: StackSpec = serde_json::from_value(spec).unwrap();
    let mut world = World::default();
    let layout = StoreView::Usable(KeyLayout::new(StoreKind::Kubernetes));
    world.stores.insert(StoreRef::Store("app".to_owned()), layout);
    let plan = plan("payments", "prod", &spec, &world);
    let findings: Vec<Finding> = plan
        .secrets
        .iter()
        .map(|secret| {
            let fetched = match values.get(secret.name.as_str()) {
                Some(value) => Fetched::Value(Versioned {
                    value: Arc::new(SecretValue::from((*value).to_owned())),
                    version: String::new(),
                }),
                None => Fetched::Error(Error::new(ErrorKind::NotFound, "no value")),
            };
            finding(secret, fetched)
        })
        .collect();
    let [target] = plan.targets.as_slice() else { panic!("not one target: {example}") };
    let data = match decide(target, &plan.secrets, &findings, None, &|_| false) {
        Decision::Write { data, incomplete: None, .. } => data,
        Decision::Write { incomplete: Some(problem), .. } | Decision::Hold(problem) => {
            panic!("{}: {example}", problem.message)
        }
    };
    let mut text = String::new();
    for (key, value) in data {
        let value = std::str::from_utf8(value.expose()).unwrap();
        let end = if value.ends_with('\n') { "" } else { "\n" };
        write!(text, "== {key}\n{value}{end}").unwrap();
    }
    text
}

#[test]
fn the_examples_of_the_documentation_give_what_they_say() {
    let page = page();
    let values = values(&page);
    assert_eq!(values.len(), 5);
    let examples = examples(&page);
    assert!(examples.len() >= 8, "only {} examples were found", examples.len());
    for (example, expected) in examples {
        assert_eq!(rendered(example, &values), expected, "{example}");
    }
}
