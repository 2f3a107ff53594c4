//! Stores, ClusterStores and Catalogs as the API server has them.
//!
//! They are few and small, so whole specs are kept. Each object is decoded on its own: one that this version of the API
//! cannot read is kept as [`Lookup::Invalid`] and disturbs nobody else.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::namespaces::is_older;
use super::relations::{Dependency, StoreKey};
use super::watches::persistent;
use crate::api::{Catalog, CatalogSpec, ClusterStore, ClusterStoreSpec, Store, StoreSpec, StoreStatus, marks};
use crate::model::Lookup;

/// One object.
#[derive(Clone, Debug)]
pub struct Definition<T> {
    /// Identity.
    pub uid: Arc<str>,
    /// Of the spec.
    pub generation: i64,
    /// The sync request.
    pub sync_requested: Option<String>,
    /// The spec, if it can be read.
    pub spec: Lookup<Arc<T>>,
    /// The status, for stores; what cannot be read counts as empty.
    pub status: Arc<StoreStatus>,
    /// The version of the object that had this status when we last heard of it.
    status_version: Box<str>,
}

impl<T> Definition<T> {
    /// Takes over a status, unless what is known is that of a later version.
    fn take_status(&mut self, version: &str, status: Arc<StoreStatus>) {
        if !is_older(version, &self.status_version) {
            self.status = status;
            self.status_version = version.into();
        }
    }

    /// Keeps the status that was known of the same object, if it is that of a later version: a watch tells of our own
    /// writes long after their answer, and one by one.
    fn keep_later_status(&mut self, known: &Self) {
        if self.uid == known.uid && is_older(&self.status_version, &known.status_version) {
            self.status = Arc::clone(&known.status);
            self.status_version = known.status_version.clone();
        }
    }
}

/// The spec of either kind of store.
#[derive(Clone, Debug)]
pub enum StoreDefinition {
    /// A Store.
    Store(Definition<StoreSpec>),
    /// A ClusterStore.
    ClusterStore(Definition<ClusterStoreSpec>),
}

impl StoreDefinition {
    /// Identity.
    #[must_use]
    pub fn uid(&self) -> &Arc<str> {
        match self {
            Self::Store(definition) => &definition.uid,
            Self::ClusterStore(definition) => &definition.uid,
        }
    }

    /// Generation of the spec.
    #[must_use]
    pub fn generation(&self) -> i64 {
        match self {
            Self::Store(definition) => definition.generation,
            Self::ClusterStore(definition) => definition.generation,
        }
    }

    /// The sync request.
    #[must_use]
    pub fn sync_requested(&self) -> Option<&str> {
        match self {
            Self::Store(definition) => definition.sync_requested.as_deref(),
            Self::ClusterStore(definition) => definition.sync_requested.as_deref(),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> &Arc<StoreStatus> {
        match self {
            Self::Store(definition) => &definition.status,
            Self::ClusterStore(definition) => &definition.status,
        }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The object.
    pub object: Dependency,
    /// Whether only its sync request is new.
    pub sync_only: bool,
}

/// The cache. Filled by [`Definitions::watch`].
pub struct Definitions {
    state: Mutex<State>,
    ready: watch::Sender<u8>,
}

#[derive(Default)]
struct State {
    catalogs: HashMap<Arc<str>, Definition<CatalogSpec>>,
    stores: HashMap<StoreKey, StoreDefinition>,
}

/// How many watches must have listed before the cache may be used.
const KINDS: u8 = 3;

impl Default for Definitions {
    fn default() -> Self {
        Self { state: Mutex::default(), ready: watch::Sender::new(0) }
    }
}

impl Definitions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every kind was listed once.
    pub async fn synced(&self) {
        let mut receiver = self.ready.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = receiver.wait_for(|listed| *listed >= KINDS).await;
    }

    /// Whether every kind was listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.ready.borrow() >= KINDS
    }

    /// A Catalog.
    #[must_use]
    pub fn catalog(&self, name: &str) -> Option<Definition<CatalogSpec>> {
        self.lock().catalogs.get(name).cloned()
    }

    /// A store.
    #[must_use]
    pub fn store(&self, key: &StoreKey) -> Option<StoreDefinition> {
        self.lock().stores.get(key).cloned()
    }

    /// Every store.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreKey> {
        self.lock().stores.keys().cloned().collect()
    }

    /// Takes a Store as a watch would bring it.
    #[cfg(test)]
    pub(super) fn put_store(&self, object: DynamicObject) {
        Store::store(object, &mut self.lock());
    }

    /// Takes a ClusterStore as a watch would bring it.
    #[cfg(test)]
    pub(super) fn put_cluster_store(&self, object: DynamicObject) {
        ClusterStore::store(object, &mut self.lock());
    }

    /// Takes a Catalog as a watch would bring it.
    #[cfg(test)]
    pub(super) fn put_catalog(&self, object: DynamicObject) {
        Catalog::store(object, &mut self.lock());
    }

    /// Loses a store as when a watch says that it went.
    #[cfg(test)]
    pub(super) fn remove_store(&self, key: &StoreKey) {
        self.lock().stores.remove(key);
    }

    /// Takes over a status that was just written to the store of this uid, whose version that made.
    pub fn reported(&self, key: &StoreKey, uid: &str, version: &str, status: StoreStatus) {
        let status = Arc::new(status);
        match self.lock().stores.get_mut(key) {
            Some(StoreDefinition::Store(definition)) if &*definition.uid == uid => {
                definition.take_status(version, status);
            }
            Some(StoreDefinition::ClusterStore(definition)) if &*definition.uid == uid => {
                definition.take_status(version, status);
            }
            Some(StoreDefinition::Store(_) | StoreDefinition::ClusterStore(_)) | None => {}
        }
    }

    /// Follows all three kinds until `stop`.
    pub async fn watch(&self, client: Client, changes: mpsc::UnboundedSender<Changed>, stop: CancellationToken) {
        let catalogs = self.follow::<Catalog>(client.clone(), &changes);
        let stores = self.follow::<Store>(client.clone(), &changes);
        let cluster_stores = self.follow::<ClusterStore>(client, &changes);
        stop.run_until_cancelled(async { tokio::join!(catalogs, stores, cluster_stores) }).await;
    }

    async fn follow<K>(&self, client: Client, changes: &mpsc::UnboundedSender<Changed>)
    where
        K: Followed,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let mut stream = std::pin::pin!(persistent(watcher(api, watcher::Config::default())));
        let mut listed: HashSet<Dependency> = HashSet::new();
        let mut first = true;
        loop {
            match stream.try_next().await {
                Ok(Some(Event::Init)) => listed = HashSet::new(),
                Ok(Some(Event::InitApply(object))) => {
                    listed.insert(K::identify(&object));
                    self.take::<K>(object, changes);
                }
                Ok(Some(Event::Apply(object))) => self.take::<K>(object, changes),
                Ok(Some(Event::Delete(object))) => self.drop_object(&K::identify(&object), changes),
                Ok(Some(Event::InitDone)) => {
                    let listed = std::mem::take(&mut listed);
                    for gone in self.known::<K>().into_iter().filter(|object| !listed.contains(object)) {
                        self.drop_object(&gone, changes);
                    }
                    if std::mem::take(&mut first) {
                        self.ready.send_modify(|listed| *listed += 1);
                    }
                }
                Ok(None) => return,
                Err(_) => tracing::debug!(kind = %K::kind(&()), "the watch broke and starts again"),
            }
        }
    }

    fn known<K: Followed>(&self) -> Vec<Dependency> {
        let state = self.lock();
        let catalogs = state.catalogs.keys().map(|name| Dependency::Catalog(Arc::clone(name)));
        let stores = state.stores.keys().map(|key| Dependency::Store(key.clone()));
        catalogs.chain(stores).filter(K::is_mine).collect()
    }

    fn take<K: Followed>(&self, object: DynamicObject, changes: &mpsc::UnboundedSender<Changed>) {
        let key = K::identify(&object);
        let difference = K::store(object, &mut self.lock());
        let sync_only = match difference {
            Difference::None => return,
            Difference::SyncRequest => true,
            Difference::Spec => false,
        };
        // A closed channel means that the process is ending.
        let _ = changes.send(Changed { object: key, sync_only });
    }

    fn drop_object(&self, object: &Dependency, changes: &mpsc::UnboundedSender<Changed>) {
        let mut state = self.lock();
        let existed = match object {
            Dependency::Catalog(name) => state.catalogs.remove(name).is_some(),
            Dependency::Store(key) => state.stores.remove(key).is_some(),
            Dependency::Stack(_) => false,
        };
        drop(state);
        if existed {
            let _ = changes.send(Changed { object: object.clone(), sync_only: false });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    None,
    SyncRequest,
    Spec,
}

/// The kinds that the cache follows.
trait Followed: Resource<DynamicType = ()> {
    fn identify(object: &DynamicObject) -> Dependency;
    fn is_mine(object: &Dependency) -> bool;
    fn store(object: DynamicObject, state: &mut State) -> Difference;
}

impl Followed for Catalog {
    fn identify(object: &DynamicObject) -> Dependency {
        Dependency::Catalog(object.name_any().into())
    }

    fn is_mine(object: &Dependency) -> bool {
        match object {
            Dependency::Catalog(_) => true,
            Dependency::Stack(_) | Dependency::Store(_) => false,
        }
    }

    fn store(object: DynamicObject, state: &mut State) -> Difference {
        let name: Arc<str> = object.name_any().into();
        let new = definition::<CatalogSpec>(&object);
        let difference = compare(state.catalogs.get(&name), &new);
        state.catalogs.insert(name, new);
        difference
    }
}

impl Followed for Store {
    fn identify(object: &DynamicObject) -> Dependency {
        Dependency::Store(StoreKey::Store {
            namespace: object.namespace().unwrap_or_default().into(),
            name: object.name_any().into(),
        })
    }

    fn is_mine(object: &Dependency) -> bool {
        matches!(object, Dependency::Store(StoreKey::Store { .. }))
    }

    fn store(object: DynamicObject, state: &mut State) -> Difference {
        let key = StoreKey::Store {
            namespace: object.namespace().unwrap_or_default().into(),
            name: object.name_any().into(),
        };
        let mut new = definition::<StoreSpec>(&object);
        let difference = match state.stores.get(&key) {
            Some(StoreDefinition::Store(old)) => {
                new.keep_later_status(old);
                compare(Some(old), &new)
            }
            Some(StoreDefinition::ClusterStore(_)) | None => Difference::Spec,
        };
        state.stores.insert(key, StoreDefinition::Store(new));
        difference
    }
}

impl Followed for ClusterStore {
    fn identify(object: &DynamicObject) -> Dependency {
        Dependency::Store(StoreKey::ClusterStore { name: object.name_any().into() })
    }

    fn is_mine(object: &Dependency) -> bool {
        matches!(object, Dependency::Store(StoreKey::ClusterStore { .. }))
    }

    fn store(object: DynamicObject, state: &mut State) -> Difference {
        let key = StoreKey::ClusterStore { name: object.name_any().into() };
        let mut new = definition::<ClusterStoreSpec>(&object);
        let difference = match state.stores.get(&key) {
            Some(StoreDefinition::ClusterStore(old)) => {
                new.keep_later_status(old);
                compare(Some(old), &new)
            }
            Some(StoreDefinition::Store(_)) | None => Difference::Spec,
        };
        state.stores.insert(key, StoreDefinition::ClusterStore(new));
        difference
    }
}

fn compare<T>(old: Option<&Definition<T>>, new: &Definition<T>) -> Difference {
    match old {
        Some(old) if old.uid == new.uid && old.generation == new.generation => {
            if old.sync_requested == new.sync_requested { Difference::None } else { Difference::SyncRequest }
        }
        Some(_) | None => Difference::Spec,
    }
}

fn definition<T: DeserializeOwned>(object: &DynamicObject) -> Definition<T> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let status = object.data.get("status").cloned().unwrap_or_default();
    Definition {
        uid: object.uid().unwrap_or_default().into(),
        generation: object.metadata.generation.unwrap_or_default(),
        sync_requested: object.annotations().get(marks::SYNC_REQUESTED_AT).cloned(),
        spec: serde_json::from_value(spec).map_or(Lookup::Invalid, |spec| Lookup::Found(Arc::new(spec))),
        status: Arc::new(serde_json::from_value(status).unwrap_or_default()),
        status_version: object.resource_version().unwrap_or_default().into(),
    }
}
