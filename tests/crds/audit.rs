//! What holds for every field of every definition.

use std::collections::BTreeSet;

use atmos_secrets::api::{self, Reason};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::cluster::{Cluster, installed};
use crate::{declaration, stack, store, target};

/// One schema below a definition: its path (as `explain` takes it, `*` for the values of a map) and its keywords.
type Field = (String, Value);

fn fields() -> Vec<Field> {
    let mut found = Vec::new();
    for definition in api::crds().unwrap() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        collect(&definition.spec.names.plural, &schema["openAPIV3Schema"], &mut found);
    }
    assert!(found.len() > 300, "only {} fields", found.len());
    found
}

fn collect(path: &str, schema: &Value, found: &mut Vec<Field>) {
    found.push((path.to_owned(), schema.clone()));
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        collect(&format!("{path}.{name}"), below, found);
    }
    for (keyword, name) in [("additionalProperties", "*"), ("items", "[]")] {
        if let Some(below) = schema.get(keyword) {
            collect(&format!("{path}.{name}"), below, found);
        }
    }
}

#[test]
fn every_field_of_a_spec_has_a_type_and_a_maximum() {
    let unbounded: Vec<_> = fields()
        .into_iter()
        .filter(|(path, _)| path.contains(".spec"))
        .filter(|(_, schema)| match schema["type"].as_str().unwrap_or_default() {
            "string" => schema.get("maxLength").or(schema.get("enum")).is_none(),
            "array" => schema.get("maxItems").is_none(),
            "object" => schema.get("additionalProperties").is_some() && schema.get("maxProperties").is_none(),
            "integer" => schema.get("maximum").is_none(),
            "boolean" => false,
            _ => true,
        })
        .map(|(path, _)| path)
        .collect();
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

#[test]
fn every_field_is_documented_in_sentences_for_people() {
    let ours = |path: &str| !path.contains(".conditions");
    let mut wrong = Vec::new();
    for (path, schema) in fields().into_iter().filter(|(path, _)| ours(path)) {
        let text = schema["description"].as_str().unwrap_or_default();
        let is_property = !path.ends_with(".*") && !path.ends_with("[]");
        let complete = text.ends_with(['.', ':', '`']) && !text.contains("[`") && !text.contains("`]");
        if (is_property || !text.is_empty()) && (!complete || text.contains("crate::") || text.contains("](")) {
            // kube writes the sentence about `metadata` and the API version itself.
            wrong.push(format!("{path}: {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_schema_writes_no_default_but_the_unobserved_status() {
    let defaults: Vec<_> = fields()
        .into_iter()
        .filter_map(|(path, schema)| schema.get("default").map(|default| format!("{path}: {default}")))
        .collect();
    let expected =
        ["stacks", "stores", "clusterstores"].map(|kind| format!("{kind}.status: {{\"observedGeneration\":-1}}"));
    assert_eq!(defaults, expected);
}

/// Where `{}` is refused null is too, and the other way round: an apply that empties a field makes it null.
#[test]
fn whatever_may_be_empty_in_a_stack_or_catalog_may_be_null() {
    let mut wrong = Vec::new();
    for (path, schema) in fields() {
        let ours = ["stacks.spec", "catalogs.spec"].iter().any(|spec| path.starts_with(spec));
        if ours {
            let may_be_empty = schema["type"] == "object"
                && ["required", "minProperties"].iter().all(|word| schema.get(word).is_none());
            if may_be_empty != (schema["nullable"] == true) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Credentials or a provider that became null must never mean "whatever the surroundings offer".
#[test]
fn in_a_store_maps_and_who_is_admitted_may_be_null() {
    let nullable: BTreeSet<_> = fields()
        .into_iter()
        .filter(|(path, schema)| path.contains("stores.spec") && schema["nullable"] == true)
        .map(|(path, _)| path)
        .collect();
    let admitted =
        ["", ".selector", ".selector.matchLabels"].map(|field| format!("clusterstores.spec.allowedNamespaces{field}"));
    let tags = ["stores", "clusterstores"]
        .into_iter()
        .flat_map(|kind| ["awsSecretsManager", "awsSsm"].map(|store| format!("{kind}.spec.{store}.tags")));
    assert_eq!(nullable, admitted.into_iter().chain(tags).collect());
}

/// A reference that could leave its namespace would lend one tenant the rights of another.
#[test]
fn no_reference_has_a_namespace() {
    let namespaces: BTreeSet<_> =
        fields().into_iter().map(|(path, _)| path).filter(|path| path.ends_with(".namespace")).collect();
    // These are namespaces of Vault Enterprise.
    let vault = ["vault.namespace", "sops.vaultTransit.namespace"];
    let expected =
        ["stores", "clusterstores"].into_iter().flat_map(|kind| vault.map(|path| format!("{kind}.spec.{path}")));
    assert_eq!(namespaces, expected.collect());
}

#[test]
fn every_rule_has_a_case_that_it_refuses() {
    let tables = [declaration::RULES, stack::RULES, target::RULES, store::RULES];
    let tried: Vec<_> =
        tables.into_iter().flatten().flat_map(|rule| rule.refuses).map(|(_, _, words)| *words).collect();
    let rules: BTreeSet<_> = fields()
        .into_iter()
        .filter_map(|(_, schema)| schema["x-kubernetes-validations"].as_array().cloned())
        .flatten()
        .map(|rule| rule["message"].as_str().unwrap().to_owned())
        .collect();
    let untried: Vec<_> = rules
        .iter()
        .filter(|message| *message != stack::IMMUTABLE && !tried.iter().any(|words| words.ends_with(message.as_str())))
        .collect();
    assert!(untried.is_empty(), "{untried:#?}");
    assert!(rules.len() > 25, "only {} rules", rules.len());
}

#[tokio::test]
async fn the_committed_files_install_what_the_code_says() {
    let cluster = Cluster::new().await.unwrap();
    let installed = installed(&cluster).await;
    for ours in api::crds().unwrap() {
        let theirs = installed.iter().find(|theirs| theirs.metadata.name == ours.metadata.name).unwrap();
        let schema = |definition: &CustomResourceDefinition| definition.spec.versions.clone();
        assert_eq!(schema(theirs), schema(&ours));
        let conditions = theirs.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let holds =
            |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
        assert!(holds("Established") && holds("NamesAccepted"), "{conditions:?}");
        assert!(!holds("NonStructuralSchema"), "{conditions:?}");
    }
}

#[test]
fn reasons_are_unique_words_with_a_meaning() {
    let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        // The form that `metav1.Condition` asks of a reason.
        let word = reason.as_str();
        assert!(
            word.chars().all(|letter| letter.is_ascii_alphanumeric()) && word.starts_with(char::is_uppercase),
            "{word}"
        );
        assert!(reason.meaning().ends_with('.') && !reason.meaning().contains("[`"), "{word}: {}", reason.meaning());
        assert_eq!(serde_json::to_value(reason).unwrap(), word);
    }
}
