//! What the Secret of a target should be, beside the marks of others that stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{Remembered, Work};
use crate::api::stack::DeletionPolicy;
use crate::api::{GROUP, VERSION, marks};
use crate::cluster;
use crate::controller::digest_key;
use crate::model::PlannedTarget;
use crate::value::{Digest, SecretValue};

/// What a Secret should be.
pub(super) struct Desired<'a> {
    data: &'a BTreeMap<String, Arc<SecretValue>>,
    labels: BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    owner: Option<OwnerReference>,
}

impl Work<'_> {
    pub(super) fn desired<'d>(
        &self,
        target: &'d PlannedTarget,
        data: &'d BTreeMap<String, Arc<SecretValue>>,
    ) -> Desired<'d> {
        let mut labels = target.labels.clone();
        labels.insert(marks::MANAGED.to_owned(), "true".to_owned());
        labels.insert(marks::STACK.to_owned(), label_value(&self.stack.name));
        if let Some((_, component)) = target.component.split_once('/') {
            labels.insert(marks::COMPONENT.to_owned(), label_value(component));
        }
        let owner = match target.deletion {
            DeletionPolicy::Retain => None,
            DeletionPolicy::Delete => Some(OwnerReference {
                api_version: format!("{GROUP}/{VERSION}"),
                kind: "Stack".to_owned(),
                name: self.stack.name.to_string(),
                uid: self.uid.to_owned(),
                controller: None,
                block_owner_deletion: None,
            }),
        };
        Desired { data, labels, annotations: &target.annotations, owner }
    }

    /// Puts our marks, the user's labels and annotations, the owner and the stamp on.
    pub(super) fn dress(&self, metadata: &mut cluster::Metadata, target: &PlannedTarget, desired: &Desired<'_>) {
        for (key, value) in &desired.labels {
            metadata.labels.insert(key.clone(), value.clone());
        }
        for (key, value) in desired.annotations {
            metadata.annotations.insert(key.clone(), value.clone());
        }
        metadata.annotations.insert(marks::STACK, self.stack.name.to_string());
        let data = desired.data.iter().map(|(key, value)| (key.as_str(), &**value));
        let stamp = digest_key::stamp(&self.context.digest_key, &self.stack.namespace, &target.name, data);
        metadata.annotations.insert(marks::DIGEST, stamp);
        metadata.owner_references.retain(|owner| !is_stack(owner));
        metadata.owner_references.extend(desired.owner.clone());
    }

    /// Whether [`dress`](Self::dress) would change nothing but the stamp.
    pub(super) fn is_dressed(metadata: &cluster::Metadata, desired: &Desired<'_>) -> bool {
        let Desired { data: _, labels, annotations, owner } = desired;
        labels.iter().all(|(key, value)| metadata.labels.get(key) == Some(value))
            && annotations.iter().all(|(key, value)| metadata.annotations.get(key) == Some(value.as_str()))
            && metadata.owner_references.iter().filter(|owner| is_stack(owner)).eq(owner.iter())
    }

    pub(super) fn digest(&self, target: &PlannedTarget, desired: &Desired<'_>) -> Digest {
        let Desired { data, labels, annotations, owner } = desired;
        let mut parts: Vec<&[u8]> = vec![target.secret_type.as_str().as_bytes()];
        for (key, value) in labels {
            parts.extend([b"label".as_slice(), key.as_bytes(), value.as_bytes()]);
        }
        for (key, value) in *annotations {
            parts.extend([b"annotation".as_slice(), key.as_bytes(), value.as_bytes()]);
        }
        if let Some(owner) = owner {
            parts.extend([b"owner".as_slice(), owner.uid.as_bytes()]);
        }
        for (key, value) in *data {
            parts.extend([b"data".as_slice(), key.as_bytes(), value.expose()]);
        }
        self.context.process_key.digest(parts)
    }

    pub(super) fn remember(&self, target: &PlannedTarget, desired: &Desired<'_>, resource_version: &str) -> Remembered {
        Remembered { resource_version: resource_version.into(), desired: self.digest(target, desired) }
    }
}

fn is_stack(owner: &OwnerReference) -> bool {
    owner.kind == "Stack" && owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

/// A label value for selecting: the name itself, or a prefix and a hash where it is too long or not a label value.
///
/// The hash says nothing secret: names are public. Full names are in the annotation.
fn label_value(name: &str) -> String {
    let fits = name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fits {
        return name.to_owned();
    }
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(name.as_bytes());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let prefix: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .skip_while(|c| *c == '-')
        .take(40)
        .collect();
    format!("{}-{hash}", if prefix.is_empty() { "x" } else { prefix.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_legal_and_distinct() {
        assert_eq!(label_value("orders-db"), "orders-db");
        let slash = label_value("network/vpc");
        assert!(slash.starts_with("network-vpc-") && slash.len() <= 63, "{slash}");
        assert_ne!(slash, label_value("network-vpc"));
        let long = "a".repeat(200);
        assert!(label_value(&long).len() <= 63);
        assert_ne!(label_value(&long), label_value(&"a".repeat(201)));
        assert!(label_value("///").starts_with("x-"));
    }
}
