//! Conflicts between Stacks of one namespace: who must yield, and who may go on.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::Context;
use super::memory::Recollection;
use super::namespaces::Sight;
use super::queue::Lane;
use super::relations::StackKey;
use super::stacks::Read;
use crate::api::{Reason, marks};
use crate::model::claims::{Claimant, Claims};
use crate::model::{Plan, Problem};

/// The claims of every namespace.
#[derive(Default)]
pub struct AllClaims {
    namespaces: Mutex<HashMap<Arc<str>, Claims>>,
}

impl AllClaims {
    fn with<T>(&self, namespace: &Arc<str>, act: impl FnOnce(&mut Claims) -> T) -> T {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = namespaces.entry(Arc::clone(namespace)).or_default();
        let result = act(claims);
        if claims.is_empty() {
            namespaces.remove(namespace);
        }
        result
    }

    /// The Stack that should have a target, if nobody has it.
    #[must_use]
    pub fn oldest_claimant(&self, namespace: &Arc<str>, target: &str) -> Option<String> {
        self.with(namespace, |claims| claims.target_winner(target, None).map(str::to_owned))
    }

    /// Every Stack that wants a target.
    #[must_use]
    pub fn claimants(&self, namespace: &Arc<str>, target: &str) -> Vec<String> {
        self.with(namespace, |claims| claims.target_claimants(target).map(str::to_owned).collect())
    }

    /// Every Stack that wants a target of which this is true.
    #[must_use]
    pub fn claimants_of_any(&self, namespace: &Arc<str>, is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.with(namespace, |claims| claims.claimants_of_any(is_meant).map(str::to_owned).collect())
    }

    /// Drops the claims of a Stack that is gone; the Stacks that had to yield to it are tried again.
    pub fn remove(&self, context: &Context, stack: &StackKey) {
        let freed = self.with(&stack.namespace, |claims| claims.remove(&stack.name));
        for name in freed {
            context.queue.add(StackKey::new(&stack.namespace, &name), Lane::User);
        }
    }
}

/// Enters the plan's claims and marks in it what must yield to another Stack.
///
/// The present owner of a target keeps it, and so does a Stack that a person handed it to; where there is neither, the
/// older Stack gets it.
pub async fn apply(context: &Context, key: &StackKey, read: &Read, mut plan: Plan, memory: &mut Recollection) -> Plan {
    // Found anew by this sync.
    memory.trouble.hindrances.clear();
    let claimant = Claimant { name: key.name.to_string(), created: read.created, uid: read.uid.clone() };
    let affected = context.claims.with(&key.namespace, |claims| claims.settle(&claimant, &mut plan));
    for name in affected {
        context.queue.add(StackKey::new(&key.namespace, &name), Lane::Background);
    }
    for target in plan.targets.iter_mut().filter(|target| target.problem.is_none()) {
        let winner = context.claims.oldest_claimant(&key.namespace, &target.name);
        let Some(winner) = winner.filter(|winner| **winner != *key.name) else { continue };
        let Marks::Silent(version) = marks_of(context, key, &target.name).await else { continue };
        memory.trouble.hindrances.insert(target.name.as_str().into(), version);
        let message = format!(
            "the older Stack {winner} writes a Secret of this name; rename the target in one of them, or hand an \
             existing Secret over with the annotation {}",
            marks::ADOPT
        );
        target.problem = Some(Problem { reason: Reason::OwnerConflict, message, stalled: false });
    }
    plan
}

/// What the marks of a Secret say about whose it is.
enum Marks {
    /// They tell, so that age does not count.
    Decide,
    /// Nothing, at this version; `None` if there is no Secret.
    Silent(Option<Box<str>>),
}

/// Asked only where an older Stack wants the same target.
async fn marks_of(context: &Context, key: &StackKey, target: &str) -> Marks {
    let sight = context.namespaces.use_namespace(&key.namespace).sight(target);
    if let Sight::Ours(_) = sight {
        return Marks::Decide;
    }
    match context.objects.get_secret_metadata(&key.namespace, target).await {
        Ok(Some(metadata)) => {
            let managed = metadata.labels.get(marks::MANAGED).is_some_and(|value| value == "true");
            if managed || metadata.annotations.get(marks::ADOPT) == Some(&*key.name) {
                return Marks::Decide;
            }
            Marks::Silent(Some(metadata.resource_version.into()))
        }
        // Where nothing is watched the write reads the Secret first, and says what is wrong.
        Err(_) if sight == Sight::Blind => Marks::Decide,
        Ok(None) | Err(_) => Marks::Silent(None),
    }
}
