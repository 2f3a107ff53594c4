//! The controller: from watches to work to writes.
//!
//! ```text
//! stacks ─────────┐                       ┌─▶ compile ─▶ read ─▶ find ─▶ write targets ─▶ status   (reconcile.rs)
//! definitions ────┼─▶ route ─▶ queue ─────┘                │
//! namespaces ─────┘     │     (two lanes)                  ▼ what was read
//!                       └──────────────────────────▶ refresh (per store) ─▶ queue, only users of what changed
//! ```
//!
//! Everything is recomputed from the API server and the stores. What stays in memory is connections, versions, digests
//! and due times, never values.

pub mod claims;
pub mod compile;
pub mod definitions;
pub mod digest_key;
pub mod drift;
pub mod events;
mod hint;
pub mod labels;
pub mod leftover;
pub mod memory;
pub mod namespaces;
pub mod queue;
pub mod reading;
pub mod reconcile;
pub mod refresh;
pub mod relations;
pub mod rights;
pub mod rotation;
mod route;
pub mod schedule;
pub mod stacks;
pub mod stores;
pub mod target;
#[cfg(test)]
mod tests;
mod watches;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::claims::AllClaims;
use self::definitions::Definitions;
use self::drift::Drift;
use self::events::Events;
use self::labels::Labels;
use self::memory::Memory;
use self::namespaces::Namespaces;
use self::queue::{Lane, Queue};
use self::refresh::Refresh;
use self::relations::{Dependency, Relations, StackKey, StoreKey};
use self::stacks::Stacks;
use self::stores::Stores;
use crate::backend::credentials::StoreRights;
use crate::backend::guarded::{Observer, Operation};
use crate::backend::network::Network;
use crate::cluster::Objects;
use crate::metrics::{Gauges, Metrics};
use crate::model::{Input, Plan};
use crate::value::DigestKey;

/// Who the operator is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own namespace, where credentials of ClusterStores and the digest key lie.
    pub namespace: String,
    /// How RBAC calls it, such as `system:serviceaccount:atmos-secrets:atmos-secrets-operator`.
    pub user: String,
    /// The Pod, for Events.
    pub instance: Option<String>,
}

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stacks worked on at the same time, those aside that wait for a store outside the cluster. The API server commits
    /// writes in groups; 32 to 64 in flight use that.
    pub concurrency: usize,
    /// For tests of containment: the Stack whose sync panics.
    pub panic_on: Option<String>,
}

/// How stores outside the cluster are reached.
#[derive(Clone)]
pub struct Outside {
    /// The only way out.
    pub network: Network,
    /// What stores may use beside the objects that they name.
    pub rights: StoreRights,
}

/// Everything that a sync needs.
pub struct Context {
    /// For our kinds, reviews and Events.
    pub client: Client,
    /// For Secrets and ConfigMaps.
    pub objects: Objects,
    /// For stores outside the cluster.
    pub outside: Outside,
    /// Who we are.
    pub identity: Identity,
    /// How we run.
    pub settings: Settings,
    /// Work on Stacks.
    pub queue: Queue<StackKey>,
    /// Which Stacks there are.
    pub stacks: Stacks,
    /// Stores and Catalogs.
    pub definitions: Definitions,
    /// Who uses what.
    pub relations: Relations,
    /// Rights and watches.
    pub namespaces: Namespaces,
    /// Connections.
    pub stores: Stores,
    /// Questions about values that stores rotate themselves.
    pub rotations: Queue<rotation::Asked>,
    /// The second loop.
    pub refresh: Arc<Refresh>,
    /// What was written.
    pub memory: Memory,
    /// Who yields to whom.
    pub claims: AllClaims,
    /// Drift in namespaces that cannot be watched.
    pub drift: Drift,
    /// Labels that decided something.
    pub labels: Labels,
    /// For people.
    pub events: Events,
    /// For stamps.
    pub digest_key: DigestKey,
    /// For comparisons in memory.
    pub process_key: Arc<DigestKey>,
    /// For machines.
    pub metrics: Arc<Metrics>,
    /// Told about every call to a store.
    pub observer: Arc<dyn Observer>,
    /// Whether the loops turn.
    pub heartbeats: Heartbeats,
    /// Every task of the controller.
    pub tasks: TaskTracker,
    unwatched: AtomicU64,
}

/// How often a loop shows that it turns, at least.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// A loop that was silent for so long does not turn any more.
const SILENT: Duration = Duration::from_secs(60);

/// When each loop last turned.
#[derive(Default)]
pub struct Heartbeats {
    /// `route`.
    pub route: Heartbeat,
    /// [`refresh`].
    pub refresh: Heartbeat,
    /// [`labels`].
    pub labels: Heartbeat,
}

/// When a loop last turned.
pub struct Heartbeat(std::sync::Mutex<Instant>);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(std::sync::Mutex::new(Instant::now()))
    }
}

impl Heartbeat {
    /// It turned.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    fn is_fresh(&self) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed() < SILENT
    }
}

/// What [`Controller::new`] is made from.
pub struct Parts {
    /// For our kinds, reviews and Events.
    pub client: Client,
    /// For stores outside the cluster.
    pub outside: Outside,
    /// For Secrets and ConfigMaps.
    pub objects: Objects,
    /// Who we are.
    pub identity: Identity,
    /// How we run.
    pub settings: Settings,
    /// For stamps.
    pub digest_key: DigestKey,
    /// For comparisons in memory.
    pub process_key: DigestKey,
    /// For machines.
    pub metrics: Arc<Metrics>,
}

/// The controller, ready to run.
pub struct Controller {
    context: Arc<Context>,
    changes: Changes,
    stop: CancellationToken,
}

/// What the watches say.
struct Changes {
    stacks: mpsc::UnboundedReceiver<stacks::Change>,
    definitions: mpsc::UnboundedReceiver<definitions::Changed>,
    namespaces: mpsc::UnboundedReceiver<namespaces::Change>,
    senders: (mpsc::UnboundedSender<stacks::Change>, mpsc::UnboundedSender<definitions::Changed>),
}

impl Controller {
    /// Puts the parts together. Nothing is asked of anybody yet. It stops when `stop` is cancelled.
    #[must_use]
    pub fn new(parts: Parts, stop: CancellationToken) -> Self {
        let Parts { client, objects, outside, identity, settings, digest_key, process_key, metrics } = parts;
        // Unbounded, since a full channel would stall the watches; each message is a few words, and routing them does no
        // I/O, so they cannot pile up.
        let (stacks_sender, stacks_receiver) = mpsc::unbounded_channel();
        let (definitions_sender, definitions_receiver) = mpsc::unbounded_channel();
        let (namespaces_sender, namespaces_receiver) = mpsc::unbounded_channel();
        let tasks = TaskTracker::new();
        let process_key = Arc::new(process_key);
        let observer: Arc<dyn Observer> = {
            let metrics = Arc::clone(&metrics);
            Arc::new(move |operation: Operation, outcome, duration| {
                metrics.store_called(operation.label(), outcome, duration);
            })
        };
        let context = Context {
            queue: Queue::new(settings.concurrency),
            stacks: Stacks::default(),
            definitions: Definitions::default(),
            relations: Relations::default(),
            namespaces: Namespaces::new(client.clone(), namespaces_sender, tasks.clone(), stop.child_token()),
            stores: Stores::default(),
            rotations: Queue::new(rotation::AT_ONCE),
            refresh: Arc::new(Refresh::new(Arc::clone(&process_key))),
            memory: Memory::default(),
            claims: AllClaims::default(),
            drift: Drift::default(),
            labels: Labels::default(),
            events: Events::new(client.clone(), identity.instance.clone()),
            digest_key,
            process_key,
            observer,
            metrics,
            tasks,
            heartbeats: Heartbeats::default(),
            unwatched: AtomicU64::new(0),
            client,
            outside,
            objects,
            identity,
            settings,
        };
        let changes = Changes {
            stacks: stacks_receiver,
            definitions: definitions_receiver,
            namespaces: namespaces_receiver,
            senders: (stacks_sender, definitions_sender),
        };
        Self { context: Arc::new(context), changes, stop }
    }

    /// What the admin endpoints look at.
    #[must_use]
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Runs until the stop token is cancelled; then lets running syncs finish.
    pub async fn run(self) {
        let Self { context, changes, stop } = self;
        let (stacks_sender, definitions_sender) = changes.senders.clone();
        let tasks = context.tasks.clone();
        tasks.spawn({
            let (context, stop) = (Arc::clone(&context), stop.clone());
            async move { context.stacks.watch(context.client.clone(), stacks_sender, stop).await }
        });
        tasks.spawn({
            let (context, stop) = (Arc::clone(&context), stop.clone());
            async move { context.definitions.watch(context.client.clone(), definitions_sender, stop).await }
        });
        tasks.spawn(route::run(Arc::clone(&context), changes, stop.clone()));
        tasks.spawn(Arc::clone(&context.refresh).run(Arc::clone(&context), stop.clone()));
        tasks.spawn({
            let context = Arc::clone(&context);
            async move { context.drift.run(&context).await }
        });
        tasks.spawn(work::on_stacks(Arc::clone(&context), stop.clone()));
        tasks.spawn(work::on_stores(Arc::clone(&context), stop.clone()));
        tasks.spawn(labels::run(Arc::clone(&context), stop.clone()));
        tasks.spawn(rotation::ask(Arc::clone(&context), stop.clone()));
        stop.cancelled().await;
        context.queue.close();
        context.stores.queue.close();
        context.rotations.close();
        context.drift.close();
        tasks.close();
        tasks.wait().await;
    }
}

impl Context {
    /// Waits until all Stacks, stores and Catalogs were listed once.
    pub async fn synced(&self) {
        tokio::join!(self.stacks.synced(), self.definitions.synced());
    }

    /// Whether all Stacks, stores and Catalogs were listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.stacks.is_synced() && self.definitions.is_synced()
    }

    /// Whether the loops turn.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Heartbeats { route, refresh, labels } = &self.heartbeats;
        route.is_fresh() && refresh.is_fresh() && labels.is_fresh()
    }

    /// What is counted only when somebody looks.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let queue::Depth { user, background, delayed, running, away } = self.queue.depth();
        let (stacks, keys) = (self.stacks.count(), self.refresh.key_count());
        Gauges { user, background, delayed, running, waiting: away, stacks, keys }
    }

    /// Takes note that a Stack was worked on, or went. After the last one of a start the stores report their users.
    pub fn note_worked(&self, stack: &StackKey) {
        if self.stacks.worked(stack) {
            self.stores.users_changed(self.definitions.stores());
        }
    }

    /// Forgets a Stack that is gone.
    pub fn forget(&self, stack: &StackKey) {
        self.memory.forget(stack);
        self.refresh.forget(stack);
        self.drift.forget(stack);
        self.labels.forget(stack);
        self.claims.remove(self, stack);
        self.stores.users_changed(self.relations.remove(stack));
        for user in self.relations.users(&Dependency::Stack(stack.clone())) {
            self.queue.add(user, Lane::User);
        }
        self.release_namespace(&stack.namespace);
    }

    /// Ends the watches of a namespace in which no Stack and no store is left.
    pub fn release_namespace(&self, namespace: &str) {
        let is_used = !self.stacks.of_namespace(namespace).is_empty()
            || self.definitions.stores().iter().any(|store| self.namespace_of(store) == namespace);
        if !is_used {
            self.namespaces.release(namespace);
        }
    }

    /// Takes note of one more object that a Stack depends on.
    pub fn depend(&self, stack: &StackKey, input: &Input) {
        self.stores.users_changed(self.relations.add(stack, Dependency::resolve(input, &stack.namespace)));
    }

    /// Takes note of everything that a Stack depends on, and of nothing else.
    pub fn relate(&self, stack: &StackKey, plan: &Plan) {
        let changed = self.relations.set(stack, compile::dependencies(&stack.namespace, plan));
        self.stores.users_changed(changed);
    }

    /// Where the credentials and sources of a store lie.
    #[must_use]
    pub fn namespace_of(&self, store: &StoreKey) -> String {
        match store {
            StoreKey::Store { namespace, .. } => namespace.to_string(),
            StoreKey::ClusterStore { .. } => self.identity.namespace.clone(),
        }
    }

    /// A word that is different each time: a connection made under it is not used again.
    #[must_use]
    pub fn unwatched_credentials(&self) -> String {
        format!("unwatched-{}", self.unwatched.fetch_add(1, Ordering::Relaxed))
    }
}
