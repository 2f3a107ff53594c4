//! Labels of namespaces that ClusterStores select by: what they decided, and whether they are still the same.
//!
//! A namespace gains and loses a ClusterStore by its own labels. The operator may `get` a namespace and nothing more: to be
//! told of changes it would have to list and watch every namespace of the cluster. So each one whose labels decided
//! something is looked at from time to time. Where no selector is in use, nobody is asked.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::queue::{Lane, Queue};
use super::relations::StackKey;
use super::schedule::{until_next_tick, until_tick};
use super::stacks::{Failure, within};
use super::{Context, HEARTBEAT};

/// How often the labels of a namespace are looked at. Whoever takes a label off takes a right away, and that must not wait
/// for the interval of a Stack. A thousand namespaces are 33 small requests a second, one after the other.
const LOOK: Duration = Duration::from_secs(30);

/// The labels of a namespace.
pub type NamespaceLabels = BTreeMap<String, String>;

/// See the module documentation.
pub struct Labels {
    /// Namespaces to look at.
    queue: Queue<Arc<str>>,
    noted: Mutex<HashMap<Arc<str>, Noted>>,
}

/// Labels as they were last seen, and the Stacks for which they decided something.
struct Noted {
    labels: NamespaceLabels,
    stacks: HashSet<StackKey>,
}

impl Noted {
    /// Takes over labels. Returns the Stacks that were decided by others.
    fn take(&mut self, labels: &NamespaceLabels) -> Vec<StackKey> {
        if self.labels == *labels {
            return Vec::new();
        }
        self.labels.clone_from(labels);
        self.stacks.iter().cloned().collect()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self { queue: Queue::new(1), noted: Mutex::default() }
    }
}

impl Labels {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The labels of a Stack's namespace, by which something is decided for it: it is synced when they change.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn decide(&self, context: &Context, stack: &StackKey) -> Result<NamespaceLabels, Failure> {
        let labels = read(&context.client, &stack.namespace).await?;
        // Of two syncs at the same time each may have seen others.
        self.sync(context, self.note(stack, &labels));
        Ok(labels)
    }

    fn note(&self, stack: &StackKey, labels: &NamespaceLabels) -> Vec<StackKey> {
        let namespace = Arc::clone(&stack.namespace);
        let mut all = self.lock();
        if let Some(noted) = all.get_mut(&namespace) {
            noted.stacks.insert(stack.clone());
            return noted.take(labels);
        }
        let noted = Noted { labels: labels.clone(), stacks: HashSet::from([stack.clone()]) };
        all.insert(Arc::clone(&namespace), noted);
        let wait = until_tick(&namespace, LOOK, now());
        self.queue.add_after(namespace, Lane::Background, wait);
        Vec::new()
    }

    /// Takes note that no labels decide anything for a Stack.
    pub fn forget(&self, stack: &StackKey) {
        let mut all = self.lock();
        let Some(noted) = all.get_mut(&stack.namespace) else { return };
        noted.stacks.remove(stack);
        if noted.stacks.is_empty() {
            all.remove(&stack.namespace);
            self.queue.remove(&stack.namespace);
        }
    }

    fn sync(&self, context: &Context, stacks: Vec<StackKey>) {
        for stack in stacks {
            context.queue.add(stack, Lane::User);
        }
    }

    /// Looks at the labels of one namespace, if they decide anything.
    async fn look(&self, context: &Context, namespace: &Arc<str>) {
        if !self.lock().contains_key(namespace) {
            return;
        }
        // Nothing is concluded from a failure; the next look asks again.
        if let Ok(labels) = read(&context.client, namespace).await {
            let concerned = self.lock().get_mut(namespace).map(|noted| noted.take(&labels)).unwrap_or_default();
            if !concerned.is_empty() {
                tracing::debug!(%namespace, "the labels of a namespace changed");
            }
            self.sync(context, concerned);
        }
        let all = self.lock();
        if all.contains_key(namespace) {
            let wait = until_next_tick(namespace, LOOK, now());
            self.queue.add_after(Arc::clone(namespace), Lane::Background, wait);
        }
    }
}

/// Looks at labels until `stop`.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let labels = &context.labels;
    let looking = async {
        loop {
            context.heartbeats.labels.beat();
            let Ok(next) = tokio::time::timeout(HEARTBEAT, labels.queue.next()).await else { continue };
            let Some((namespace, _)) = next else { return };
            labels.look(&context, &namespace).await;
            labels.queue.done(&namespace);
        }
    };
    stop.run_until_cancelled(looking).await;
}

/// A namespace that is gone has none.
async fn read(client: &Client, namespace: &str) -> Result<NamespaceLabels, Failure> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    match within(api.get_metadata(namespace)).await {
        Ok(object) => Ok(object.labels().clone()),
        Err(Failure::Status(404)) => Ok(NamespaceLabels::new()),
        Err(failure) => Err(failure),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
