//! Drift where nothing may be watched: one metadata GET for each target and tick.
//!
//! A target that is held because of the Secret that is there, or is not, counts as well: a person who clears the way is
//! found out like one who edits.
//!
//! In a namespace that grants `list` and `watch`, the watch tells of every edit and nothing here runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Context;
use super::namespaces::Access;
use super::queue::{Lane, Queue};
use super::relations::StackKey;
use super::schedule::{until_next_tick, until_tick};
use crate::model::Plan;

/// The ticks.
pub struct Drift {
    queue: Queue<StackKey>,
    intervals: std::sync::Mutex<std::collections::HashMap<StackKey, Duration>>,
}

impl Default for Drift {
    fn default() -> Self {
        Self { queue: Queue::new(1), intervals: std::sync::Mutex::default() }
    }
}

impl Drift {
    /// Looks at the targets of a Stack at its next tick, if its namespace cannot be watched.
    pub fn arm(&self, context: &Context, stack: &StackKey, plan: &Plan) {
        let blind = context
            .namespaces
            .get(&stack.namespace)
            .is_some_and(|namespace| namespace.grant().secrets == Access::GetOnly);
        let mut intervals = self.intervals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match plan.refresh_interval {
            Some(interval) if blind && !plan.targets.is_empty() => {
                intervals.insert(stack.clone(), interval);
                drop(intervals);
                self.arm_next(stack, interval, until_tick);
            }
            Some(_) | None => {
                intervals.remove(stack);
            }
        }
    }

    fn arm_next(&self, stack: &StackKey, interval: Duration, until: fn(&str, Duration, Duration) -> Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.queue.add_after(stack.clone(), Lane::Background, until(&stack.to_string(), interval, now));
    }

    /// Forgets a Stack.
    pub fn forget(&self, stack: &StackKey) {
        self.intervals.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(stack);
        self.queue.remove(stack);
    }

    /// Ends [`run`](Self::run).
    pub fn close(&self) {
        self.queue.close();
    }

    /// Runs until closed.
    pub async fn run(&self, context: &Arc<Context>) {
        while let Some((stack, _)) = self.queue.next().await {
            let interval =
                self.intervals.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&stack).copied();
            if let Some(interval) = interval {
                look(context, &stack).await;
                self.arm_next(&stack, interval, until_next_tick);
            }
            self.queue.done(&stack);
        }
    }
}

/// Queues the Stack if a target is not as we left it.
async fn look(context: &Context, stack: &StackKey) {
    for (name, version) in context.memory.versions(stack) {
        let changed = match context.objects.get_secret_metadata(&stack.namespace, &name).await {
            Ok(found) => found.map(|metadata| metadata.resource_version).as_deref() != version.as_deref(),
            // Nothing is concluded from a failure; the next tick asks again.
            Err(_) => false,
        };
        if changed {
            context.queue.add(stack.clone(), Lane::User);
            return;
        }
    }
}
