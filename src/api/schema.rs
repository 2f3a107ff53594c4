//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::{Value, json};

use super::{Catalog, ClusterStore, Stack, Store};

/// The definitions of all kinds, in the order in which they are documented.
///
/// Five things are adjusted after generation. Optional fields are not nullable: the API server then drops a `null` as if
/// the field were absent, and no reader ever meets one. No default is written into a spec. The status of a new object starts as
/// `observedGeneration: -1`, so that GitOps tools wait for the first reconcile. Formats of numbers that the API server
/// does not know are dropped, since it warns of each; the ranges stay. Descriptions lose the line breaks of the source.
///
/// # Errors
/// The generated definition cannot be read back after the adjustment, which a test excludes.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [Stack::crd(), Store::crd(), ClusterStore::crd(), Catalog::crd()].into_iter().map(adjust).collect()
}

fn adjust(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut document = serde_json::to_value(definition)?;
    if let Some(versions) = document.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                adjust_schema(schema);
                if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
                    status.insert("default".to_owned(), json!({"observedGeneration": -1}));
                }
            }
        }
    }
    serde_json::from_value(document)
}

/// Lets the rules of a map see entries without a value (`NAME:`). Elsewhere the API server takes `null` for "absent" and
/// drops the entry without a word; here that would be a declaration or a target that its author believes in.
pub(super) fn let_rules_see_null(schema: &mut Schema) {
    if let Some(entry) = schema.pointer_mut("/additionalProperties").and_then(Value::as_object_mut) {
        entry.insert("nullable".to_owned(), Value::Bool(true));
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
            "additionalProperties" => {
                // Only `let_rules_see_null` says this of an entry.
                let null = below.get("nullable").cloned();
                adjust_schema(below);
                if let (Some(null), Some(entry)) = (null, below.as_object_mut()) {
                    entry.insert("nullable".to_owned(), null);
                }
            }
            "items" | "not" => adjust_schema(below),
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
