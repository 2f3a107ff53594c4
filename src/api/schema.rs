//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{Catalog, ClusterStore, Stack, Store};

/// The definitions of all kinds, in the order in which they are documented.
///
/// Three things are adjusted after generation. Optional fields do not accept `null`, so that `null` is reported where it
/// stands and not taken for "absent". No default is written into a spec. The status of a new object starts as
/// `observedGeneration: -1`, so that GitOps tools wait for the first reconcile.
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
                drop_null_and_default(schema);
                if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
                    status.insert("default".to_owned(), json!({"observedGeneration": -1}));
                }
            }
        }
    }
    serde_json::from_value(document)
}

/// Removes `nullable` and `default` from a schema and everything below it.
fn drop_null_and_default(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("nullable");
    fields.remove("default");
    for (keyword, below) in fields.iter_mut() {
        match keyword.as_str() {
            // A map from property names to schemas: the names are not keywords.
            "properties" => {
                if let Some(properties) = below.as_object_mut() {
                    properties.values_mut().for_each(drop_null_and_default);
                }
            }
            "items" | "additionalProperties" | "not" => drop_null_and_default(below),
            "allOf" | "anyOf" | "oneOf" => {
                if let Some(alternatives) = below.as_array_mut() {
                    alternatives.iter_mut().for_each(drop_null_and_default);
                }
            }
            _ => {}
        }
    }
}
