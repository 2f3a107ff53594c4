//! The page about shaping values, example by example, and what a declaration may not say at once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::api::declaration::Scope;
use crate::api::transform::{ExposedVersion, Extract as WrittenExtract, Transform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    value: String,
    path: Option<String>,
    transforms: Option<Vec<Transform>>,
    extract: Option<WrittenExtract>,
    result: Option<String>,
    keys: Option<BTreeMap<String, String>>,
    fails: Option<Reason>,
    message: Option<String>,
}

fn planned(shape: Shape) -> PlannedSecret {
    let Shape { path, transforms, extract } = shape;
    PlannedSecret {
        component: String::new(),
        name: "NAME".to_owned(),
        scope: Scope::Stack,
        required: false,
        description: None,
        origin: "stack".to_owned(),
        default: None,
        path,
        transforms,
        extract,
        exposure: None,
        read: Err(Problem::new(Reason::NoBackend, "not read")),
        store: None,
    }
}

fn text(value: &SecretValue) -> String {
    String::from_utf8(value.expose().to_vec()).unwrap()
}

fn run(example: &str) {
    #[expect(clippy::disallowed_methods, reason = "our own page, in a test")]
    let Example { value, path, transforms, extract, result, keys, fails, message } =
        serde_saphyr::from_str(example).unwrap_or_else(|error| panic!("{example}: {error}"));
    let patch = Patch { path, transforms, extract, ..Patch::default() };
    let shape = Shape::of(&patch).unwrap_or_else(|message| panic!("{example}: {message}"));
    let found = content(&planned(shape), "store-key", &Arc::new(SecretValue::from(value)));
    match found {
        Ok(found) => {
            assert_eq!(fails, None, "{example}");
            let brought: Option<BTreeMap<String, String>> =
                found.keys.as_ref().map(|keys| keys.iter().map(|(key, value)| (key.clone(), text(value))).collect());
            assert_eq!(brought, keys, "{example}");
            assert_eq!(keys.is_none().then(|| text(&found.value)), result, "{example}");
        }
        Err(problem) => {
            assert_eq!(Some(problem.reason), fails, "{example}: {}", problem.message);
            let expected = message.unwrap();
            assert!(problem.message.contains(&expected), "{example}: {}", problem.message);
            assert!(problem.message.starts_with("the value at store-key: "), "{}", problem.message);
        }
    }
}

#[test]
fn every_example_of_the_page_is_true() {
    let page = include_str!("../../../docs/transforms.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<&str> = blocks.filter(|block| block.starts_with("value:")).collect();
    assert!(examples.len() >= 15, "only {} examples", examples.len());
    examples.iter().for_each(|example| run(example));
}

#[test]
fn the_page_has_every_step() {
    let page = include_str!("../../../docs/transforms.md");
    let schema = serde_json::to_value(schemars::schema_for!(Transform)).unwrap();
    let steps: Vec<&String> = schema.get("properties").unwrap().as_object().unwrap().keys().collect();
    assert!(steps.len() > 15);
    for step in steps {
        assert!(page.contains(&format!("\n| `{step}: ")), "{step} is not in the table");
    }
}

#[test]
fn a_document_goes_with_nothing_that_shapes_one_key() {
    let extract = || Some(WrittenExtract::default());
    let version = ExposedVersion { version: "1".to_owned(), key: "K".to_owned(), optional: None };
    for (patch, field) in [
        (Patch { extract: extract(), key: Some("k".to_owned()), ..Patch::default() }, "key"),
        (Patch { extract: extract(), path: Some(".a".to_owned()), ..Patch::default() }, "path"),
        (Patch { extract: extract(), default: Some("d".to_owned()), ..Patch::default() }, "default"),
        (Patch { extract: extract(), expose: Some(vec![version.clone()]), ..Patch::default() }, "expose"),
    ] {
        let error = Shape::of(&patch).map(|_| ()).unwrap_err();
        assert!(error.contains(&format!("`extract`, which brings its own keys, and `{field}`")), "{error}");
        assert!(Shape::of(&Patch { extract: None, ..patch }).is_ok());
    }
    assert!(Shape::of(&Patch { extract: extract(), expose: Some(Vec::new()), ..Patch::default() }).is_ok());
}
