//! Stores: their connections, what they depend on, and their status.

mod credentials;
mod doubt;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use self::credentials::Look;
use self::doubt::SECOND_LOOK;
use super::definitions::StoreDefinition;
use super::namespaces::{Access, Kind};
use super::queue::{Lane, Queue};
use super::relations::{Dependency, StoreKey};
use super::schedule::next_retry;
use super::stacks::{Failure, difference, within};
use super::{Context, Outside};
use crate::api::status::READY;
use crate::api::store::Connection;
use crate::api::{ClusterStore, Reason, Store, StoreStatus};
use crate::backend::connect::{ConnectRequest, Connected, Dependencies, Watched, connect, dependencies, kind};
use crate::backend::credentials::Credentials;
use crate::backend::pool::{Identity, Pool};
use crate::backend::{Error, ErrorKind, Versioned};
use crate::model::Lookup;
use crate::model::outcome::condition_of;

/// Changes of the number of users are gathered so long before the status says so.
const GATHER_USERS: Duration = Duration::from_secs(2);
/// How often a store in trouble is checked at least.
const CHECK_AT_LEAST: Duration = Duration::from_secs(300);

/// Stores checked at the same time, those aside that wait for an answer from outside the cluster.
const CHECKS_AT_ONCE: usize = 4;

/// See the module documentation.
pub struct Stores {
    pool: Pool<Connected>,
    /// Stores whose status is to be looked at.
    pub queue: Queue<StoreKey>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<StoreKey, Known>,
    by_object: HashMap<Watched, HashSet<StoreKey>>,
}

struct Known {
    uid: Arc<str>,
    dependencies: Dependencies,
    look: Arc<Look>,
    in_trouble: bool,
    /// Since when every check failed.
    failing: Option<Instant>,
    retry: Option<Duration>,
}

/// A store that a changed object concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concerned {
    /// The store.
    pub store: StoreKey,
    /// The object that changed, where its name is the first part of keys.
    pub object: Option<String>,
}

impl Default for Stores {
    fn default() -> Self {
        Self { pool: Pool::new(), queue: Queue::new(CHECKS_AT_ONCE), state: Mutex::default() }
    }
}

impl Stores {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a new, changed or removed definition.
    pub fn define(&self, context: &Context, key: &StoreKey) {
        let definition = context.definitions.store(key);
        let mut state = self.lock();
        let old = state.known.remove(key);
        if let Some(old) = &old {
            for object in old.dependencies.sources.iter().chain(&old.dependencies.credentials) {
                if let Some(stores) = state.by_object.get_mut(object) {
                    stores.remove(key);
                    if stores.is_empty() {
                        state.by_object.remove(object);
                    }
                }
            }
        }
        let Some(definition) = definition else {
            drop(state);
            if let Some(old) = old {
                self.pool.remove(&old.uid);
            }
            self.queue.remove(key);
            context.refresh.forget_store(key);
            return;
        };
        // Deleted and made anew since the last look: nobody asks by the old uid again.
        if let Some(old) = old.filter(|old| old.uid != *definition.uid()) {
            self.pool.remove(&old.uid);
        }
        let namespace = context.namespace_of(key);
        let dependencies = connection(&definition)
            .map(|(connection, kubernetes)| dependencies(&connection, kubernetes, &namespace))
            .unwrap_or_default();
        for object in dependencies.sources.iter().chain(&dependencies.credentials) {
            state.by_object.entry(object.clone()).or_default().insert(key.clone());
        }
        let watches = !dependencies.sources.is_empty();
        let known = Known {
            uid: Arc::clone(definition.uid()),
            dependencies,
            look: Arc::default(),
            in_trouble: false,
            failing: None,
            retry: None,
        };
        state.known.insert(key.clone(), known);
        drop(state);
        if watches {
            context.namespaces.use_namespace(&namespace);
        }
        self.queue.add(key.clone(), Lane::User);
    }

    /// Whether every object that the store depends on is watched, so that it need not be polled.
    #[must_use]
    pub fn is_watched(&self, context: &Context, key: &StoreKey) -> bool {
        let state = self.lock();
        let Some(known) = state.known.get(key) else { return false };
        let Dependencies { sources, credentials } = &known.dependencies;
        !sources.is_empty() && sources.iter().chain(credentials).all(|object| is_object_watched(context, object))
    }

    /// The names of the objects of one kind and namespace that stores depend on.
    #[must_use]
    pub fn objects_in(&self, namespace: &str, kind: Kind) -> Vec<String> {
        let state = self.lock();
        let names = state.by_object.keys().filter_map(|object| match (object, kind) {
            (Watched::Secret { namespace: its, name }, Kind::Secrets)
            | (Watched::ConfigMap { namespace: its, name }, Kind::ConfigMaps) => (its == namespace).then_some(name),
            (Watched::Secret { .. }, Kind::ConfigMaps)
            | (Watched::ConfigMap { .. }, Kind::Secrets)
            | (Watched::ValueSecrets { .. }, Kind::Secrets | Kind::ConfigMaps) => None,
        });
        names.cloned().collect()
    }

    /// The stores that read values from an object that changed.
    #[must_use]
    pub fn by_source(&self, namespace: &str, name: &str, secret: bool, values: bool) -> Vec<Concerned> {
        let state = self.lock();
        let (namespace_text, name_text) = (namespace.to_owned(), name.to_owned());
        let object = if secret {
            Watched::Secret { namespace: namespace_text.clone(), name: name_text }
        } else {
            Watched::ConfigMap { namespace: namespace_text.clone(), name: name_text }
        };
        let mut concerned: Vec<Concerned> = Vec::new();
        if let Some(stores) = state.by_object.get(&object) {
            let sources = stores.iter().filter(|store| {
                state.known.get(*store).is_some_and(|known| known.dependencies.sources.contains(&object))
            });
            concerned.extend(sources.map(|store| Concerned { store: store.clone(), object: None }));
        }
        if values
            && secret
            && let Some(stores) = state.by_object.get(&Watched::ValueSecrets { namespace: namespace_text })
        {
            let object = Some(name.to_owned());
            concerned.extend(stores.iter().map(|store| Concerned { store: store.clone(), object: object.clone() }));
        }
        concerned
    }

    /// The connected store.
    ///
    /// # Errors
    /// The definition cannot work, or the credentials cannot be had.
    pub async fn connect(&self, context: &Context, key: &StoreKey) -> Result<Arc<Connected>, Error> {
        let absent = || Error::new(ErrorKind::InvalidConfig, format!("{key} does not exist or cannot be read"));
        let definition = context.definitions.store(key).ok_or_else(absent)?;
        let (connection, kubernetes) = connection(&definition).ok_or_else(absent)?;
        let namespace = context.namespace_of(key);
        let identity = Identity {
            uid: definition.uid().to_string(),
            generation: definition.generation(),
            credentials: self.credentials_version(context, key).await,
        };
        let (objects, observer, store) = (context.objects.clone(), Arc::clone(&context.observer), key.to_string());
        let Outside { network, rights } = context.outside.clone();
        let connected = self
            .pool
            .get(&identity, || async move {
                connect(ConnectRequest {
                    store,
                    namespace: &namespace,
                    connection: &connection,
                    kubernetes,
                    objects: &objects,
                    network: &network,
                    credentials: Credentials::OfStore(rights),
                    observer,
                })
                .await
            })
            .await;
        // The store may have gone, or been made anew, since its definition was taken: then whoever takes note of that has
        // been here already, and nobody else would ever let go of this connection.
        if self.lock().known.get(key).is_none_or(|known| *known.uid != *identity.uid) {
            self.pool.remove(&identity.uid);
        }
        connected
    }

    /// Looks at the results of a read: a store that begins or ends to be in trouble is checked at once.
    pub fn note_results(&self, key: &StoreKey, results: &[Result<Versioned, Error>]) {
        if results.is_empty() {
            return;
        }
        let trouble = results.iter().all(|result| result.as_ref().is_err_and(|error| is_trouble(error.kind)));
        let mut state = self.lock();
        let Some(known) = state.known.get_mut(key) else { return };
        let turned = known.in_trouble != trouble;
        known.in_trouble = trouble;
        drop(state);
        if turned {
            self.queue.add(key.clone(), Lane::User);
        }
    }

    /// Says that the number of users changed.
    pub fn users_changed(&self, stores: impl IntoIterator<Item = StoreKey>) {
        for store in stores {
            self.queue.add_after(store, Lane::Background, GATHER_USERS);
        }
    }

    /// Checks a store and reports its status.
    ///
    /// # Errors
    /// The API server did not take the status.
    pub async fn reconcile(&self, context: &Context, key: &StoreKey) -> Result<(), Failure> {
        let Some(definition) = context.definitions.store(key) else { return Ok(()) };
        let readable = connection(&definition);
        let checked = match &readable {
            None => {
                Err(Error::new(ErrorKind::InvalidConfig, "this version of the operator cannot read the definition"))
            }
            Some(_) => match self.connect(context, key).await {
                Ok(live) => {
                    let check = live.backend.check();
                    let checked = if live.outside { self.queue.away(key, check).await } else { check.await };
                    checked.map(|()| live.recipients.clone())
                }
                Err(error) => Err(error),
            },
        };
        let (status, reason, message) = match &checked {
            Ok(_) => ("True", Reason::Connected, "the store answers".to_owned()),
            Err(_) if readable.is_none() => {
                ("False", Reason::InvalidSpec, "this version of the operator cannot read the definition".to_owned())
            }
            Err(error) if error.kind == ErrorKind::GrantMissing => {
                ("False", Reason::GrantMissing, context.read_hint(key, &error.message))
            }
            Err(error) => ("False", error.kind.reason(), error.message.clone()),
        };
        let before = definition.status();
        let generation = definition.generation();
        let is_doubtful = self.is_doubtful(context, key, &definition, checked.as_ref().err()).await;
        let now = jiff::Timestamp::now();
        // While a start has not looked at every Stack yet, the number of before is nearer to the truth.
        let counted = u32::try_from(context.relations.count(&Dependency::Store(key.clone()))).ok();
        let users = if context.stacks.are_known() { counted } else { before.users.or(counted) };
        let wanted = StoreStatus {
            observed_generation: Some(generation),
            kind: readable
                .as_ref()
                .and_then(|(connection, kubernetes)| kind(connection, *kubernetes))
                .map(str::to_owned),
            last_handled_sync: definition
                .sync_requested()
                .map(str::to_owned)
                .or_else(|| before.last_handled_sync.clone()),
            users,
            recipients: checked.as_ref().cloned().unwrap_or_else(|_| before.recipients.clone()),
            conditions: if is_doubtful {
                before.conditions.clone()
            } else {
                vec![condition_of(&before.conditions, READY, status, reason, &message, generation, now)]
            },
        };
        self.plan_next_check(key, checked.as_ref().err(), is_doubtful);
        let stored = serde_json::to_value(&**before).unwrap_or_default();
        if let Some(patch) = difference(&stored, &wanted) {
            let Some(version) = patch_status(context, key, definition.uid(), &patch).await? else { return Ok(()) };
            // The watch will say the same; until then this is what is stored.
            context.definitions.reported(key, definition.uid(), &version, wanted);
            let told = is_doubtful
                || before.conditions.iter().any(|condition| {
                    condition.type_ == READY && condition.status == status && condition.reason == reason.as_str()
                });
            // The number of users comes and goes with Stacks, which have lines of their own.
            if !told {
                tracing::info!(store = %key, ready = status, reason = reason.as_str(), "store status changed");
            }
        }
        Ok(())
    }

    fn plan_next_check(&self, key: &StoreKey, error: Option<&Error>, is_doubtful: bool) {
        let mut state = self.lock();
        let Some(known) = state.known.get_mut(key) else { return };
        match error {
            None => {
                known.retry = None;
                known.in_trouble = false;
            }
            Some(_) => {
                let wait = if is_doubtful { SECOND_LOOK } else { next_retry(known.retry, CHECK_AT_LEAST) };
                known.retry = (!is_doubtful).then_some(wait);
                drop(state);
                self.queue.add_after(key.clone(), Lane::Background, wait);
            }
        }
    }
}

fn is_object_watched(context: &Context, object: &Watched) -> bool {
    let (namespace, secret) = match object {
        Watched::Secret { namespace, .. } | Watched::ValueSecrets { namespace } => (namespace, true),
        Watched::ConfigMap { namespace, .. } => (namespace, false),
    };
    context.namespaces.get(namespace).is_some_and(|namespace| {
        let grant = namespace.grant();
        (if secret { grant.secrets } else { grant.config_maps }) == Access::Watching
    })
}

/// Whether an error says something about the store, and not about one key.
fn is_trouble(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::SourceNotFound
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::GrantMissing
        | ErrorKind::InvalidConfig
        | ErrorKind::EndpointNotAllowed
        | ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Unsupported
        | ErrorKind::NoMatchingKey => true,
        ErrorKind::NotFound
        | ErrorKind::VersionNotFound
        | ErrorKind::PendingDeletion
        | ErrorKind::InvalidKey
        | ErrorKind::NotEncrypted
        | ErrorKind::Undecodable
        | ErrorKind::MacMismatch
        | ErrorKind::Ambiguous
        | ErrorKind::TooLarge
        | ErrorKind::Conflict
        | ErrorKind::Unexpected => false,
    }
}

/// The part of a definition that says how to connect; `None` if it cannot be read.
fn connection(definition: &StoreDefinition) -> Option<(Connection, bool)> {
    match definition {
        StoreDefinition::Store(definition) => match &definition.spec {
            Lookup::Found(spec) => Some((spec.common.clone(), spec.kubernetes.is_some())),
            Lookup::Invalid => None,
        },
        StoreDefinition::ClusterStore(definition) => match &definition.spec {
            Lookup::Found(spec) => Some((spec.common.clone(), false)),
            Lookup::Invalid => None,
        },
    }
}

/// Patches a status. The version that the object has now; `None` if the store of this uid is not there any more.
async fn patch_status(
    context: &Context,
    key: &StoreKey,
    uid: &str,
    status: &serde_json::Value,
) -> Result<Option<String>, Failure> {
    let (api, name): (Api<DynamicObject>, &str) = match key {
        StoreKey::Store { namespace, name } => {
            (Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<Store>(&())), name)
        }
        StoreKey::ClusterStore { name } => {
            (Api::all_with(context.client.clone(), &ApiResource::erase::<ClusterStore>(&())), name)
        }
    };
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    match within(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(written) => Ok(Some(written.resource_version().unwrap_or_default())),
        // Gone or replaced meanwhile: the watch tells.
        Err(Failure::Status(404 | 409)) => Ok(None),
        Err(failure) => Err(failure),
    }
}
