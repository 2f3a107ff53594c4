//! Conflicts between Stacks of one namespace: who must yield, and who may go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Context;
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
pub async fn apply(context: &Context, key: &StackKey, read: &Read, mut plan: Plan) -> Plan {
    let claimant = Claimant { name: key.name.to_string(), created: read.created, uid: read.uid.clone() };
    let affected = context.claims.with(&key.namespace, |claims| claims.settle(&claimant, &mut plan));
    for name in affected {
        context.queue.add(StackKey::new(&key.namespace, &name), Lane::Background);
    }
    for target in plan.targets.iter_mut().filter(|target| target.problem.is_none()) {
        let winner = context.claims.oldest_claimant(&key.namespace, &target.name);
        let Some(winner) = winner.filter(|winner| **winner != *key.name) else { continue };
        if decides_by_its_marks(context, key, &target.name).await {
            continue;
        }
        let message = format!(
            "the older Stack {winner} writes a Secret of this name; rename the target in one of them, or hand an \
             existing Secret over with the annotation {}",
            marks::ADOPT
        );
        target.problem = Some(Problem { reason: Reason::OwnerConflict, message, stalled: false });
    }
    plan
}

/// Whether the Secret is there with marks that tell whose it is, so that age does not count. Asked only where an older
/// Stack wants the same target.
async fn decides_by_its_marks(context: &Context, key: &StackKey, target: &str) -> bool {
    let sight = context.namespaces.use_namespace(&key.namespace).sight(target);
    if let Sight::Ours(_) = sight {
        return true;
    }
    match context.objects.get_secret_metadata(&key.namespace, target).await {
        Ok(Some(metadata)) => {
            let managed = metadata.labels.get(marks::MANAGED).is_some_and(|value| value == "true");
            managed || metadata.annotations.get(marks::ADOPT) == Some(&*key.name)
        }
        Ok(None) => false,
        // Where nothing is watched the write reads the Secret first, and says what is wrong.
        Err(_) => sight == Sight::Blind,
    }
}
