//! Whose a Secret is that has the name of a target.

use super::Work;
use crate::api::{Reason, marks};
use crate::cluster::Secret;
use crate::model::{Finding, PlannedTarget, Problem};

/// Whose it is.
pub(super) enum Ownership {
    Ours,
    HandedOver,
    Foreign(Problem),
}

impl Work<'_> {
    pub(super) fn ownership(&self, target: &PlannedTarget, secret: &Secret) -> Ownership {
        let metadata = &secret.metadata;
        let marked = metadata.labels.get(marks::MANAGED).is_some_and(|value| value == "true");
        let stack = metadata.annotations.get(marks::STACK);
        if marked && stack == Some(&*self.stack.name) {
            return Ownership::Ours;
        }
        if metadata.annotations.get(marks::ADOPT) != Some(&*self.stack.name) {
            let whose = match (marked, stack) {
                (true, Some(stack)) => format!("it belongs to Stack {stack}"),
                (_, _) => "it is not marked as ours".to_owned(),
            };
            let message = format!(
                "Secret {} exists and {whose}; rename the target, delete the Secret, or hand it over: \
                 kubectl -n {} annotate secret {} {}={}",
                target.name,
                self.stack.namespace,
                target.name,
                marks::ADOPT,
                self.stack.name
            );
            return Ownership::Foreign(Problem { reason: Reason::OwnerConflict, message, stalled: false });
        }
        let refused = |why: String| {
            let message = format!("Secret {} is not adopted: {why}", target.name);
            Ownership::Foreign(Problem { reason: Reason::OwnerConflict, message, stalled: false })
        };
        if let Some(owner) = metadata.owner_references.iter().find(|owner| owner.controller == Some(true)) {
            return refused(format!("{} {} controls it", owner.kind, owner.name));
        }
        if secret.secret_type != target.secret_type.as_str() {
            return refused(format!(
                "its type is {}, the target's {}",
                secret.secret_type,
                target.secret_type.as_str()
            ));
        }
        let undeclared: Vec<&str> =
            secret.data.keys().map(String::as_str).filter(|key| !self.is_declared(target, key)).collect();
        if !undeclared.is_empty() {
            let names = undeclared.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            return refused(format!("no declaration names its keys {names}; declare them, or remove them"));
        }
        Ownership::HandedOver
    }

    /// Whether the target, or a document of it as it was read, has this key.
    fn is_declared(&self, target: &PlannedTarget, key: &str) -> bool {
        let brings = |index: &usize| match self.findings.get(*index) {
            Some(Finding::Initialized { keys, .. }) => {
                keys.as_ref().zip(target.open_key(key)).is_some_and(|(keys, key)| keys.contains_key(key))
            }
            Some(Finding::Missing(_) | Finding::Error { .. } | Finding::Unknown) | None => false,
        };
        target.keys().any(|own| own == key) || target.documents.iter().any(brings)
    }
}
