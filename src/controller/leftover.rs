//! Targets that left the spec: deleted where the policy was `Delete`, listed where it was `Retain`.

use std::collections::BTreeSet;

use super::Context;
use super::relations::StackKey;
use super::stacks::Read;
use super::target::{Again, Done};
use crate::api::{GROUP, marks};
use crate::cluster;
use crate::model::Plan;

/// How many names the schema lets the status hold.
const MOST_LISTED: usize = 1024;

/// The Secrets of a Stack that no target names.
pub struct Leftover {
    /// Those that stay, or may be there still.
    pub names: Vec<String>,
    /// When to try again because one could not be looked at or deleted.
    pub again: Again,
}

/// Handles the Secrets of the Stack that no target names.
///
/// A Secret that was written under `deletionPolicy: Delete` carries our ownerReference and is deleted, once the Stack
/// compiles and all its remaining targets are ready; every delete names uid and resourceVersion. Where nothing is watched,
/// only the Secrets that the status remembers are known.
pub async fn handle(context: &Context, key: &StackKey, read: &Read, plan: &Plan, targets: &[Done]) -> Leftover {
    if plan.blocked.is_some() {
        return Leftover { names: read.status.leftover.clone(), again: Again::Never };
    }
    let named: BTreeSet<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    let namespace = context.namespaces.use_namespace(&key.namespace);
    let mut candidates: BTreeSet<String> = namespace.owned_by(&key.name).into_iter().collect();
    candidates.extend(read.status.targets.iter().map(|target| target.name.clone()));
    candidates.extend(read.status.leftover.iter().cloned());
    candidates.retain(|name| !named.contains(name.as_str()));

    let compiles = plan.targets.iter().all(|target| target.problem.is_none())
        && plan.secrets.iter().all(|secret| secret.read.is_ok());
    let may_delete = compiles && targets.iter().all(|done| done.report.ready);
    let mut leftover = Leftover { names: Vec::new(), again: Again::Never };
    for name in candidates {
        match context.objects.get_secret(&key.namespace, &name).await {
            Ok(None) => {}
            Ok(Some(secret)) => {
                let metadata = &secret.metadata;
                let ours = metadata.labels.get(marks::MANAGED).is_some_and(|value| value == "true")
                    && metadata.annotations.get(marks::STACK) == Some(&*key.name);
                if !ours {
                    continue;
                }
                let owned = metadata.owner_references.iter().any(|owner| {
                    owner.kind == "Stack"
                        && owner.uid == read.uid
                        && owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
                });
                if !(owned && may_delete) {
                    leftover.names.push(name);
                } else if let Err(error) = delete(context, key, &name, metadata).await {
                    leftover.keep(name, &error);
                }
            }
            // Not known to be gone. Where nothing is watched, the list is all that remembers it.
            Err(error) => leftover.keep(name, &error),
        }
    }
    leftover.names.truncate(MOST_LISTED);
    leftover
}

impl Leftover {
    /// Takes note of a Secret of which nothing is known after this error.
    fn keep(&mut self, name: String, error: &cluster::Error) {
        self.names.push(name);
        let is_refused = error.refusal().is_some_and(|refusal| refusal.status == 403);
        if !is_refused {
            self.again = Again::Soon;
        } else if self.again == Again::Never {
            self.again = Again::Sometimes;
        }
    }
}

async fn delete(
    context: &Context,
    key: &StackKey,
    name: &str,
    metadata: &cluster::Metadata,
) -> Result<(), cluster::Error> {
    let deleted = context.objects.delete_secret(&key.namespace, name, &metadata.uid, &metadata.resource_version).await;
    match &deleted {
        Ok(()) => tracing::info!(stack = %key, target = name, "deleted a target that left the spec"),
        Err(error) => {
            tracing::warn!(stack = %key, target = name, %error, "a target that left the spec could not be deleted");
        }
    }
    deleted
}
