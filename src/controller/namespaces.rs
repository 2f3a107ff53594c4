//! What the operator may do in each namespace, and what its Secrets and ConfigMaps do there.
//!
//! For each namespace that a Stack or a Store lives in, one task asks the API server which rights were granted:
//!
//! - `list` and `watch`: one metadata-only watch for Secrets and one for ConfigMaps. Drift, changed sources and changed
//!   credentials are seen at once. Of each Secret only our own marks are kept, and only of Secrets that carry them.
//! - `get` only: nothing is watched; targets and sources are asked on a schedule.
//! - neither: the Stacks of the namespace say `GrantMissing`. The rights are asked again after 2 s, doubling to 5 min,
//!   and at once when a person asks for a sync.
//!
//! Metadata say that something changed, never what: values are not in here.

mod attend;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a sync waits for the first list of a namespace: longer than the questions and the list take together.
const FIRST_LIST: Duration = Duration::from_secs(15);

/// What the operator may do with one kind of object in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Not known yet.
    Probing,
    /// It sees every change.
    Watching,
    /// It may ask for one object at a time.
    GetOnly,
    /// Nothing.
    Denied,
}

/// What the operator may do in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// With Secrets.
    pub secrets: Access,
    /// With ConfigMaps.
    pub config_maps: Access,
}

/// Something happened in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A Secret changed or went. `owner` is the Stack that our mark names, if it is (or was) ours.
    Secret {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: String,
        /// The owning Stack's name.
        owner: Option<Box<str>>,
        /// Whether it holds values of a `kubernetes` Store.
        values: bool,
    },
    /// A ConfigMap changed or went.
    ConfigMap {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: String,
    },
    /// All objects of one kind were listed: at the start, and when the watch could not go on where it broke. What went
    /// before a list is in no event, so whatever is not named here is gone, unless it came after the list began.
    Listed {
        /// The namespace.
        namespace: Arc<str>,
        /// The kind.
        kind: Kind,
        /// All of that kind.
        names: HashSet<Box<str>>,
        /// Whether it was watched before, so that somebody may rely on what he knew.
        again: bool,
    },
    /// The rights changed.
    Grant {
        /// The namespace.
        namespace: Arc<str>,
    },
}

/// One of our Secrets as the watch last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its version.
    pub resource_version: Box<str>,
    /// The Stack that the mark names.
    pub stack: Box<str>,
}

/// Whether a Secret of ours is there, as far as the watch knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is, with our marks.
    Ours(Seen),
    /// There is none with our marks. A foreign one may be there.
    NotOurs,
    /// Nothing is watched here.
    Blind,
}

/// All namespaces in use.
pub struct Namespaces {
    client: Client,
    changes: mpsc::UnboundedSender<Change>,
    tasks: TaskTracker,
    stop: CancellationToken,
    map: Mutex<HashMap<Arc<str>, Arc<Namespace>>>,
}

/// One namespace in use.
pub struct Namespace {
    name: Arc<str>,
    grant: watch::Sender<Grant>,
    probe: Notify,
    stop: CancellationToken,
    state: Mutex<NamespaceState>,
}

#[derive(Default)]
struct NamespaceState {
    ours: HashMap<Box<str>, Seen>,
    values: HashSet<Box<str>>,
    /// Secrets that we are writing at this moment.
    writing: HashMap<Box<str>, Disturbed>,
}

/// Whether something happened to a Secret, while we wrote it, that makes the answer to the write no last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbed {
    No,
    /// It went or lost our marks, or everything was listed anew.
    Yes,
}

impl Namespaces {
    /// Nothing is asked until a namespace is used.
    #[must_use]
    pub fn new(
        client: Client,
        changes: mpsc::UnboundedSender<Change>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { client, changes, tasks, stop, map: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Namespace>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace, watched from now on.
    pub fn use_namespace(&self, name: &str) -> Arc<Namespace> {
        let mut map = self.lock();
        if let Some(known) = map.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = Arc::from(name);
        let probing = Grant { secrets: Access::Probing, config_maps: Access::Probing };
        let namespace = Arc::new(Namespace {
            name: Arc::clone(&name),
            grant: watch::Sender::new(probing),
            probe: Notify::new(),
            stop: self.stop.child_token(),
            state: Mutex::default(),
        });
        map.insert(name, Arc::clone(&namespace));
        for kind in [Kind::Secrets, Kind::ConfigMaps] {
            let (client, changes, namespace) = (self.client.clone(), self.changes.clone(), Arc::clone(&namespace));
            self.tasks.spawn(async move {
                let stop = namespace.stop.clone();
                stop.run_until_cancelled(namespace.attend(kind, client, changes)).await;
            });
        }
        namespace
    }

    /// The namespace, if it is in use.
    pub fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        self.lock().get(name).cloned()
    }

    /// Ends the watches of a namespace that nothing needs any more.
    pub fn release(&self, name: &str) {
        if let Some(namespace) = self.lock().remove(name) {
            namespace.stop.cancel();
        }
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Secrets.
    Secrets,
    /// ConfigMaps.
    ConfigMaps,
}

impl Kind {
    fn resource(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::ConfigMaps => "configmaps",
        }
    }
}

impl Namespace {
    fn lock(&self) -> MutexGuard<'_, NamespaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rights as they were last seen.
    #[must_use]
    pub fn grant(&self) -> Grant {
        *self.grant.borrow()
    }

    /// Waits until the rights are known and, where granted, the first list is in. `None` if that takes too long.
    pub async fn known(&self) -> Option<Grant> {
        let mut receiver = self.grant.subscribe();
        let settled =
            receiver.wait_for(|grant| grant.secrets != Access::Probing && grant.config_maps != Access::Probing);
        // The sender lives as long as `self`, so only the time can run out.
        tokio::time::timeout(FIRST_LIST, settled).await.ok()?.ok().map(|grant| *grant)
    }

    /// Asks for the rights again soon, because a call was refused or a person asked.
    pub fn probe_again(&self) {
        self.probe.notify_waiters();
    }

    /// What the watch knows of a Secret.
    #[must_use]
    pub fn sight(&self, name: &str) -> Sight {
        if self.grant().secrets != Access::Watching {
            return Sight::Blind;
        }
        match self.lock().ours.get(name) {
            Some(seen) => Sight::Ours(seen.clone()),
            None => Sight::NotOurs,
        }
    }

    /// The names of our Secrets that carry a Stack's mark. Empty where nothing is watched.
    #[must_use]
    pub fn owned_by(&self, stack: &str) -> Vec<String> {
        let state = self.lock();
        let mut names: Vec<String> =
            state.ours.iter().filter(|(_, seen)| &*seen.stack == stack).map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Says that we are about to write `name`, so that the watch does not take our own write for somebody else's.
    pub fn begin_write(&self, name: &str) {
        self.lock().writing.insert(name.into(), Disturbed::No);
    }

    /// Says that the write ended with this version, now marked as `stack`'s, or failed. `true` if somebody wrote after us.
    ///
    /// The watch tells of most writes only after the API server has answered them. So the answer is taken for what the
    /// watch will say, and its event is then no news: else every write would cause another sync.
    pub fn end_write(&self, name: &str, stack: &str, written: Option<&str>) -> bool {
        let watching = self.grant().secrets == Access::Watching;
        let mut state = self.lock();
        let disturbed = state.writing.remove(name).unwrap_or(Disturbed::Yes);
        let Some(written) = written else { return false };
        let is_news_to_nobody = match state.ours.get(name) {
            Some(seen) if is_newer(&seen.resource_version, written) => return true,
            // A former owner hears of it by the event.
            Some(seen) => *seen.stack == *stack,
            None => true,
        };
        if watching && is_news_to_nobody && disturbed == Disturbed::No {
            let seen = Seen { resource_version: written.into(), stack: stack.into() };
            state.ours.insert(name.into(), seen);
        }
        false
    }
}

/// Whether `this` is a later version than `that`.
///
/// Resource versions of one resource type are comparable as numbers (Kubernetes 1.35, KEP-5504; true in practice since
/// etcd3). Where one is not a number, different means newer, which costs at most one more read.
fn is_newer(this: &str, that: &str) -> bool {
    match (this.parse::<u64>(), that.parse::<u64>()) {
        (Ok(this), Ok(that)) => this > that,
        (Ok(_) | Err(_), _) => this != that,
    }
}

/// Whether `this` is an earlier version than `that` for certain.
pub(super) fn is_older(this: &str, that: &str) -> bool {
    matches!((this.parse::<u64>(), that.parse::<u64>()), (Ok(this), Ok(that)) if this < that)
}

#[cfg(test)]
mod tests;
