//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{Catalog, ClusterStore, Stack, Store};

/// The definitions of all kinds, in the order in which they are documented.
///
/// Five things are adjusted after generation. Optional fields are not nullable, so that the API server drops a `null` as
/// if the field were absent, but for objects and maps that may be empty, where null means `{}`. No default is written
/// into a spec. The status of a new object starts as `observedGeneration: -1`, so that GitOps tools wait for the first reconcile. Formats of numbers that the API server
/// does not know are dropped, since it warns of each; the ranges stay. Descriptions lose the line breaks of the source.
///
/// # Errors
/// The generated definition cannot be read back after the adjustment, which a test excludes.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [Stack::crd(), Store::crd(), ClusterStore::crd(), Catalog::crd()].into_iter().map(adjust).collect()
}

fn adjust(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let kind = definition.spec.names.kind.clone();
    let mut document = serde_json::to_value(definition)?;
    if let Some(versions) = document.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                adjust_schema(schema);
                if let Some(spec) = schema.pointer_mut("/properties/spec") {
                    let_null_mean_empty(&kind, spec);
                }
                if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
                    status.insert("default".to_owned(), json!({"observedGeneration": -1}));
                }
            }
        }
    }
    serde_json::from_value(document)
}

/// Lets whatever may be `{}` be null too: see `super::null`. In a Stack and a Catalog these are all objects and maps. In a
/// store they are the maps and who is admitted; which provider is meant, and with whose credentials, is never null.
fn let_null_mean_empty(kind: &str, spec: &mut Value) {
    match kind {
        "Stack" | "Catalog" => mark_nullable(spec, &|_| true),
        _ => {
            mark_nullable(spec, &|schema| schema.contains_key("additionalProperties"));
            for path in ["/properties/allowedNamespaces", "/properties/allowedNamespaces/properties/selector"] {
                if let Some(schema) = spec.pointer_mut(path).and_then(Value::as_object_mut) {
                    schema.insert("nullable".to_owned(), Value::Bool(true));
                }
            }
        }
    }
}

/// Marks the objects that may be empty and that `which` admits, here and below.
fn mark_nullable(schema: &mut Value, which: &dyn Fn(&Map<String, Value>) -> bool) {
    let Some(keywords) = schema.as_object_mut() else { return };
    let is_object = keywords.get("type").is_some_and(|word| word == "object");
    let needs_entries = ["required", "minProperties"].iter().any(|keyword| keywords.contains_key(*keyword));
    if is_object && !needs_entries && which(keywords) {
        keywords.insert("nullable".to_owned(), Value::Bool(true));
    }
    if let Some(properties) = keywords.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| mark_nullable(property, which));
    }
    for keyword in ["additionalProperties", "items"] {
        if let Some(below) = keywords.get_mut(keyword) {
            mark_nullable(below, which);
        }
    }
}

/// Adjusts a schema and everything below it.
fn adjust_schema(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("nullable");
    fields.remove("default");
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        fields.remove("format");
    }
    if let Some(Value::String(description)) = fields.get_mut("description") {
        *description = join_lines(description);
    }
    for (keyword, below) in fields.iter_mut() {
        match keyword.as_str() {
            // A map from property names to schemas: the names are not keywords.
            "properties" => {
                if let Some(properties) = below.as_object_mut() {
                    properties.values_mut().for_each(adjust_schema);
                }
            }
            "additionalProperties" | "items" | "not" => adjust_schema(below),
            "allOf" | "anyOf" | "oneOf" => {
                if let Some(alternatives) = below.as_array_mut() {
                    alternatives.iter_mut().for_each(adjust_schema);
                }
            }
            _ => {}
        }
    }
}

/// Paragraphs stay apart; `kubectl explain` breaks their lines where its reader's window ends.
fn join_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// For enums: what a value does is said by the field, which knows the default; the generator would put the enum's own
/// sentence in the place of the field's.
pub(super) fn leave_description_to_the_field(schema: &mut Schema) {
    schema.remove("description");
}
