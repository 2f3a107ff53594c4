//! The maxima of the schema: what is just allowed, and one more.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind, Unknown};

/// A map of `count` entries with keys `prefix0`, `prefix1`, …
fn map(count: usize, prefix: &str, value: &Value) -> Value {
    (0..count).map(|number| (format!("{prefix}{number}"), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

fn of_declaration(field: &str, value: Value) -> Value {
    json!({"secrets": {"vars": {"A": {(field): value}}}})
}

fn component(fields: Value) -> Value {
    json!({"components": {"terraform": {"db": fields}}})
}

/// One maximum: the field's path, how many it admits, and a spec with so many.
type Maximum = (&'static str, usize, fn(usize) -> Value);

const STACK: &[Maximum] = &[
    ("spec.components", 8, |count| json!({"components": map(count, "type", &json!({}))})),
    ("spec.components.terraform", 128, |count| json!({"components": {"terraform": map(count, "db", &json!({}))}})),
    ("spec.secrets.vars", 256, |count| json!({"secrets": {"vars": map(count, "NAME", &json!({}))}})),
    ("spec.components.terraform.db.secrets.vars", 256, |count| {
        component(json!({"secrets": {"vars": map(count, "NAME", &json!({}))}}))
    }),
    ("spec.targets", 8, |count| json!({"targets": map(count, "app", &json!({}))})),
    ("spec.components.terraform.db.targets", 8, |count| component(json!({"targets": map(count, "app", &json!({}))}))),
    ("spec.targets.app.keys", 64, |count| json!({"targets": {"app": {"keys": map(count, "key", &json!("NAME"))}}})),
    (
        "spec.targets.app.template.data",
        16,
        |count| json!({"targets": {"app": {"template": {"data": map(count, "key", &json!("{{ NAME }}"))}}}}),
    ),
    ("spec.targets.app.labels", 32, |count| json!({"targets": {"app": {"labels": map(count, "key", &json!("a"))}}})),
    (
        "spec.targets.app.annotations",
        32,
        |count| json!({"targets": {"app": {"annotations": map(count, "key", &json!("a"))}}}),
    ),
    ("spec.targetDefaults.labels", 32, |count| json!({"targetDefaults": {"labels": map(count, "key", &json!("a"))}})),
    ("spec.stores", 64, |count| json!({"stores": map(count, "alias", &json!({"store": "a"}))})),
    ("spec.imports", 32, |count| json!({"imports": vec![json!({"catalog": "a"}); count]})),
    ("spec.secrets.vars.A.transforms", 16, |count| {
        of_declaration("transforms", json!(vec![json!({"trim": {}}); count]))
    }),
    ("spec.secrets.vars.A.expose", 8, |count| {
        of_declaration("expose", json!(vec![json!({"version": "1", "key": "a"}); count]))
    }),
    ("spec.secrets.vars.A.extract.include", 64, |count| {
        of_declaration("extract", json!({"include": vec!["a"; count]}))
    }),
    ("spec.secrets.vars.A.extract.exclude", 64, |count| {
        of_declaration("extract", json!({"exclude": vec!["a"; count]}))
    }),
    ("spec.secrets.vars.A.extract.rename", 64, |count| {
        of_declaration("extract", json!({"rename": map(count, "name", &json!("a"))}))
    }),
    ("spec.components.terraform.db.metadata.inherits", 16, |count| {
        component(json!({"metadata": {"inherits": vec!["base"; count]}}))
    }),
];

#[tokio::test]
async fn counts_have_maxima() {
    let cluster = Cluster::new().await.unwrap();
    for (field, most, spec) in STACK {
        let object = json!({"metadata": {}, "spec": spec(*most)});
        if let Err(refusal) = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await {
            panic!("{most} of {field} should be stored: {refusal:?}");
        }
        let more = most + 1;
        let object = json!({"metadata": {}, "spec": spec(more)});
        let refusal = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await.unwrap_err();
        let words = format!("Too many: {more}: must have at most {most} items");
        assert!(refusal.is(field, &words), "{more} of {field}: {refusal:?}");
    }
}

/// Texts in a declaration or elsewhere: path, most characters, spec with the text.
type Longest = (&'static str, usize, fn(&str) -> Value);

const TEXTS: &[Longest] = &[
    ("spec.name", 253, |text| json!({"name": text})),
    ("spec.defaultStore", 253, |text| json!({"defaultStore": text})),
    ("spec.stores.app.store", 253, |text| json!({"stores": {"app": {"store": text}}})),
    ("spec.stores.app.clusterStore", 253, |text| json!({"stores": {"app": {"clusterStore": text}}})),
    ("spec.secrets.vars.A.description", 1024, |text| declaration("description", text)),
    ("spec.secrets.vars.A.store", 253, |text| declaration("store", text)),
    ("spec.secrets.vars.A.sops", 253, |text| declaration("sops", text)),
    ("spec.secrets.vars.A.reference", 253, |text| declaration("reference", text)),
    ("spec.secrets.vars.A.backendKey", 1024, |text| declaration("backendKey", text)),
    ("spec.secrets.vars.A.key", 253, |text| declaration("key", text)),
    ("spec.secrets.vars.A.version", 256, |text| declaration("version", text)),
    ("spec.secrets.vars.A.path", 1024, |text| declaration("path", text)),
    ("spec.secrets.vars.A.default", 4096, |text| declaration("default", text)),
    ("spec.secrets.vars.A.transforms[0].jsonExtract.path", 1024, |text| step(json!({"jsonExtract": {"path": text}}))),
    ("spec.secrets.vars.A.transforms[0].lines.join", 64, |text| step(json!({"lines": {"join": text}}))),
    ("spec.secrets.vars.A.transforms[0].replace.from", 1024, |text| step(json!({"replace": {"from": text, "to": ""}}))),
    ("spec.secrets.vars.A.transforms[0].replace.to", 1024, |text| step(json!({"replace": {"from": "a", "to": text}}))),
    ("spec.secrets.vars.A.transforms[0].regexReplace.pattern", 256, |text| {
        step(json!({"regexReplace": {"pattern": text, "replacement": ""}}))
    }),
    ("spec.secrets.vars.A.transforms[0].regexReplace.replacement", 1024, |text| {
        step(json!({"regexReplace": {"pattern": "a", "replacement": text}}))
    }),
    ("spec.secrets.vars.A.transforms[0].join.separator", 64, |text| step(json!({"join": {"separator": text}}))),
    ("spec.secrets.vars.A.transforms[0].split.separator", 64, |text| step(json!({"split": {"separator": text}}))),
    ("spec.secrets.vars.A.expose[0].version", 256, |text| {
        of_declaration("expose", json!([{"version": text, "key": "a"}]))
    }),
    ("spec.secrets.vars.A.expose[0].key", 253, |text| of_declaration("expose", json!([{"version": "1", "key": text}]))),
    ("spec.secrets.vars.A.extract.include[0]", 253, |text| of_declaration("extract", json!({"include": [text]}))),
    ("spec.secrets.vars.A.extract.rename.a", 253, |text| of_declaration("extract", json!({"rename": {"a": text}}))),
    ("spec.secrets.vars.A.extract.prefix", 128, |text| of_declaration("extract", json!({"prefix": text}))),
    ("spec.targets.app.labels.a", 63, |text| json!({"targets": {"app": {"labels": {"a": text}}}})),
    ("spec.targets.app.annotations.a", 4096, |text| json!({"targets": {"app": {"annotations": {"a": text}}}})),
    ("spec.targets.app.template.data.a", 4096, |text| json!({"targets": {"app": {"template": {"data": {"a": text}}}}})),
    ("spec.targets.app.keys.a", 253, |text| json!({"targets": {"app": {"keys": {"a": text}}}})),
];

fn step(step: Value) -> Value {
    of_declaration("transforms", json!([step]))
}

fn declaration(field: &str, text: &str) -> Value {
    json!({"secrets": {"vars": {"A": {(field): text}}}})
}

#[tokio::test]
async fn texts_have_maxima() {
    let cluster = Cluster::new().await.unwrap();
    for (field, most, spec) in TEXTS {
        let object = json!({"metadata": {}, "spec": spec(&"a".repeat(*most))});
        if let Err(refusal) = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await {
            panic!("{most} characters in {field} should be stored: {refusal:?}");
        }
        let object = json!({"metadata": {}, "spec": spec(&"a".repeat(most + 1))});
        let refusal = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await.unwrap_err();
        let words = format!("Too long: may not be more than {most} bytes");
        assert!(refusal.is(field, &words), "{field}: {refusal:?}");
    }
}

#[tokio::test]
async fn keys_of_maps_have_maxima() {
    let cluster = Cluster::new().await.unwrap();
    type Keyed = (&'static str, usize, &'static str, fn(&str) -> Value);
    let keyed: [Keyed; 7] = [
        ("spec.secrets.vars", 253, "names of secrets", |key| json!({"secrets": {"vars": {(key): {}}}})),
        ("spec.components", 63, "component types", |key| json!({"components": {(key): {}}})),
        (
            "spec.components[terraform]",
            253,
            "names of components",
            |key| json!({"components": {"terraform": {(key): {}}}}),
        ),
        ("spec.stores", 253, "aliases of stores", |key| json!({"stores": {(key): {"store": "a"}}})),
        ("spec.targets", 253, "the keys of targets", |key| json!({"targets": {(key): {}}})),
        ("spec.targets[app].keys", 253, "keys of a Secret", |key| json!({"targets": {"app": {"keys": {(key): "A"}}}})),
        ("spec.targets[app].labels", 63, "keys of labels", |key| json!({"targets": {"app": {"labels": {(key): "a"}}}})),
    ];
    let mut wrong = String::new();
    for (field, most, words, spec) in keyed {
        let object = json!({"metadata": {}, "spec": spec(&"a".repeat(most))});
        if let Err(refusal) = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await {
            writeln!(wrong, "{most} characters in {field} should be stored: {refusal:?}").unwrap();
        }
        let object = json!({"metadata": {}, "spec": spec(&"a".repeat(most + 1))});
        let refusal = cluster.create_with(Kind::Stack, Unknown::Refused, &object).await.unwrap_err();
        let [(path, message)] = refusal.causes.as_slice() else { panic!("{field}: {refusal:?}") };
        if path != field || !message.starts_with(words) {
            writeln!(wrong, "{field}: {refusal:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
