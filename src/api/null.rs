//! `null` where an object or a map stands: the same as `{}`.
//!
//! An API server that merges a server-side apply keeps a field whose last entries went as `null`, although the applier
//! wrote `{}`. So the schema lets every such field be null, and each is read here, so that no other part meets a null.
//! Source: `removingWalker` of <https://github.com/kubernetes-sigs/structured-merge-diff/blob/master/typed/remove.go>.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A field that is empty when absent.
pub(super) fn empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A field for which "empty" is something else than "absent".
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    empty(deserializer).map(Some)
}

/// A map whose entries may be empty.
pub(super) fn entries<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let entries: BTreeMap<String, Option<T>> = empty(deserializer)?;
    Ok(entries.into_iter().map(|(name, entry)| (name, entry.unwrap_or_default())).collect())
}

/// A map whose entries may be empty, and for which "empty" is something else than "absent".
pub(super) fn present_entries<'de, D, T>(deserializer: D) -> Result<Option<BTreeMap<String, T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    entries(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use crate::api::{CatalogSpec, ClusterStoreSpec, Component, StackSpec, Target};

    fn read<T: DeserializeOwned>(value: &Value) -> T {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn no_targets_are_not_the_default_target() {
        let targets = |value: Value| read::<Component>(&value).targets;
        assert_eq!(targets(json!({"targets": null})), Some([].into()));
        assert_eq!(targets(json!({"targets": {}})), Some([].into()));
        assert_eq!(targets(json!({})), None);
        let one = [("app".to_owned(), Target::default())];
        assert_eq!(targets(json!({"targets": {"app": null}})), Some(one.into()));
        assert_eq!(read::<StackSpec>(&json!({"targets": null})).targets, Some([].into()));
    }

    /// The same value with `{}` in the place of every null.
    fn emptied(value: &Value) -> Value {
        match value {
            Value::Null => json!({}),
            Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), emptied(field))).collect(),
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => value.clone(),
        }
    }

    fn null_is_empty<T: DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[Value]) {
        for value in values {
            assert_eq!(read::<T>(value), read::<T>(&emptied(value)), "{value}");
        }
    }

    #[test]
    fn null_means_the_same_as_an_empty_object() {
        null_is_empty::<StackSpec>(&[
            json!(null),
            json!({"stores": null, "secrets": null, "targetDefaults": null, "targets": null, "components": null}),
            json!({"targetDefaults": {"labels": null, "annotations": null}}),
            json!({"secrets": {"vars": null}, "targets": {"app": null}, "components": {"terraform": null}}),
            json!({"secrets": {"vars": {"A": null}}, "targets": {"app": {"labels": null, "annotations": null}}}),
            json!({"components": {"terraform": {"db": null}}}),
            json!({"components": {"terraform": {"db": {"metadata": null, "secrets": null, "targets": null}}}}),
            json!({"components": {"terraform": {"db": {"secrets": {"vars": null}, "targets": {"app": null}}}}}),
            json!({"components": {"terraform": {"db": {"secrets": {"vars": {"A": null}}}}}}),
        ]);
        null_is_empty::<CatalogSpec>(&[
            json!(null),
            json!({"stores": null, "secrets": null, "components": null}),
            json!({"secrets": {"vars": null}, "components": {"terraform": null}}),
            json!({"components": {"terraform": {"db": null}}}),
            json!({"components": {"terraform": {"db": {"metadata": null, "secrets": null}}}}),
        ]);
        null_is_empty::<ClusterStoreSpec>(&[
            json!({"allowedNamespaces": null, "awsSsm": {"region": "a", "tags": null}}),
            json!({"allowedNamespaces": {"selector": null}, "awsSecretsManager": {"region": "a", "tags": null}}),
            json!({"allowedNamespaces": {"selector": {"matchLabels": null}}}),
        ]);
    }

    #[test]
    fn null_is_no_text() {
        for value in [json!({"labels": {"a": null}}), json!({"keys": {"a": null}}), json!({"annotations": {"a": null}})]
        {
            assert!(serde_json::from_value::<Target>(value.clone()).is_err(), "{value}");
        }
    }
}
