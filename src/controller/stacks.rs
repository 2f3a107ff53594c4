//! Stacks on the wire: following them, reading one, patching its status.
//!
//! Each object is decoded on its own and whatever its spec says, so that one that this version of the API cannot read
//! disturbs nobody. Of a Stack at rest nothing but a mark is kept. One that changed is held until its sync, which then
//! needs no request for it; every other sync reads its Stack anew. So no decision rests on an old copy.

mod object;
mod pending;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::object::Read;
use self::object::StackObject;
use self::pending::Pending;
use super::relations::StackKey;
use super::watches::persistent;
use crate::api::StackStatus;
use crate::cluster::is_object_name;
use crate::model::Uid;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Stacks in one page of a list. A page is in memory as a whole, and a Stack may be a megabyte.
const PAGE: u32 = 100;

/// What happened to a Stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was there when we started, or came while the watch was broken.
    Listed(StackKey),
    /// Its spec or its sync request changed, or it is new.
    Edited(StackKey),
    /// It went.
    Gone(StackKey),
}

/// Follows Stacks; holds of each only what tells a real change from a status write of our own.
pub struct Stacks {
    state: Mutex<State>,
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    seen: HashMap<StackKey, Mark>,
    /// One text for each namespace, shared by its keys.
    namespaces: HashSet<Arc<str>>,
    pending: Pending,
    /// Those of the first list that were not worked on yet; `None` before the first list.
    unworked: Option<HashSet<StackKey>>,
}

/// What tells a real change from a status write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    /// Seconds since the Unix epoch, as precise as the API server is.
    created: i64,
    uid: Uid,
    generation: i64,
    sync_requested: Option<Box<str>>,
}

impl State {
    /// The key of an object: the same as the one in use, if there is one.
    fn key(&mut self, object: &StackObject) -> StackKey {
        let (namespace, name) = object.place();
        let namespace = match self.namespaces.get(namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = Arc::from(namespace);
                self.namespaces.insert(Arc::clone(&new));
                new
            }
        };
        let key = StackKey::within(&namespace, name);
        self.seen.get_key_value(&key).map_or(key, |(known, _)| known.clone())
    }
}

impl Default for Stacks {
    fn default() -> Self {
        Self { state: Mutex::default(), ready: watch::Sender::new(false) }
    }
}

impl Stacks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all Stacks were listed once.
    pub async fn synced(&self) {
        let mut receiver = self.ready.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = receiver.wait_for(|ready| *ready).await;
    }

    /// Whether all Stacks were listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.ready.borrow()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().seen.len()
    }

    /// Takes note that a Stack was worked on, or went. `true` if it was the last one of the first list: only from now on
    /// it is known who uses what.
    pub fn worked(&self, key: &StackKey) -> bool {
        let mut state = self.lock();
        let Some(unworked) = &mut state.unworked else { return false };
        let was_last = unworked.remove(key) && unworked.is_empty();
        if was_last {
            // It held every Stack.
            *unworked = HashSet::new();
        }
        was_last
    }

    /// Whether every Stack of the first list was worked on.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.lock().unworked.as_ref().is_some_and(HashSet::is_empty)
    }

    /// The same key as the watch has it, so that all indexes share one text; `None` if the watch knows none.
    #[must_use]
    pub fn shared_key(&self, key: &StackKey) -> Option<StackKey> {
        self.lock().seen.get_key_value(key).map(|(key, _)| key.clone())
    }

    /// Whether there is one of this name, as far as the watch knows.
    #[must_use]
    pub fn contains(&self, key: &StackKey) -> bool {
        self.lock().seen.contains_key(key)
    }

    /// The Stacks of a namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Vec<StackKey> {
        self.lock().seen.keys().filter(|key| &*key.namespace == namespace).cloned().collect()
    }

    /// The Stack for its sync: as the watch delivered it, if no sync had it since, else read anew. `None` if there is none.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn read(&self, client: &Client, key: &StackKey) -> Result<Option<Read>, Failure> {
        let held = self.lock().pending.take(key);
        match held {
            Some(object) => Ok(Some(object.into())),
            None => get(client, key).await,
        }
    }

    /// Writes a status if it differs from what was read. `true` if it was written.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn patch_status(
        &self,
        client: &Client,
        key: &StackKey,
        read: &Read,
        status: &StackStatus,
    ) -> Result<bool, Failure> {
        let Some(patch) = difference(&read.raw_status, status) else { return Ok(false) };
        let api: Api<StackObject> = Api::namespaced(client.clone(), &key.namespace);
        // The uid makes the API server refuse the patch if the object was re-created meanwhile.
        let patch = json!({"metadata": {"uid": read.uid}, "status": patch});
        let written = within(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch))).await;
        let mut state = self.lock();
        match &written {
            Ok(written) => {
                if let Some(version) = written.version_number() {
                    state.pending.wrote(key, version);
                }
            }
            // Without an answer it is not known what is stored now.
            Err(_) => state.pending.forget(key),
        }
        written.map(|_| true)
    }

    /// Follows until `stop`.
    pub async fn watch(&self, client: Client, changes: mpsc::UnboundedSender<Change>, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow(client, &changes)).await;
    }

    async fn follow(&self, client: Client, changes: &mpsc::UnboundedSender<Change>) {
        let api: Api<StackObject> = Api::all(client);
        let configuration = watcher::Config::default().page_size(PAGE);
        let mut stream = std::pin::pin!(persistent(watcher(api, configuration)));
        let mut listed: HashMap<StackKey, Mark> = HashMap::new();
        loop {
            // A closed channel means that the process is ending, so failed sends are ignored.
            match stream.try_next().await {
                Ok(Some(Event::Init)) => {
                    self.lock().pending.clear();
                    listed = HashMap::new();
                }
                Ok(Some(Event::InitApply(object))) => {
                    let (key, mark) = self.take_listed(object);
                    listed.insert(key, mark);
                }
                Ok(Some(Event::InitDone)) => {
                    for change in self.take_list(std::mem::take(&mut listed)) {
                        let _ = changes.send(change);
                    }
                    self.ready.send_replace(true);
                }
                Ok(Some(Event::Apply(object))) => {
                    if let Some(key) = self.take(object) {
                        let _ = changes.send(Change::Edited(key));
                    }
                }
                Ok(Some(Event::Delete(object))) => {
                    let mut state = self.lock();
                    let key = state.key(&object);
                    state.seen.remove(&key);
                    state.pending.told_up_to(object.version_number());
                    state.pending.forget(&key);
                    drop(state);
                    let _ = changes.send(Change::Gone(key));
                }
                Ok(None) => return,
                Err(_) => {
                    self.lock().pending.clear();
                    tracing::debug!("the watch on stacks broke and starts again");
                }
            }
        }
    }

    /// Takes one object of a list.
    fn take_listed(&self, object: StackObject) -> (StackKey, Mark) {
        let mark = object.mark();
        let mut state = self.lock();
        let key = state.key(&object);
        let is_new = state.seen.get(&key) != Some(&mark);
        state.pending.told(&key, object.version_number());
        if is_new {
            state.pending.hold(&key, object);
        }
        (key, mark)
    }

    /// Takes a complete list. Returns what changed, the older Stacks first, since the younger yields where two claim one
    /// key.
    fn take_list(&self, listed: HashMap<StackKey, Mark>) -> Vec<Change> {
        let mut state = self.lock();
        state.unworked.get_or_insert_with(|| listed.keys().cloned().collect());
        let gone: Vec<StackKey> = state.seen.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        for key in &gone {
            state.pending.forget(key);
        }
        let mut new: Vec<(&StackKey, &Mark)> =
            listed.iter().filter(|(key, mark)| state.seen.get(*key) != Some(*mark)).collect();
        new.sort_by_key(|(_, mark)| (mark.created, mark.uid));
        let new: Vec<StackKey> = new.into_iter().map(|(key, _)| key.clone()).collect();
        state.namespaces = listed.keys().map(|key| Arc::clone(&key.namespace)).collect();
        state.seen = listed;
        gone.into_iter().map(Change::Gone).chain(new.into_iter().map(Change::Listed)).collect()
    }

    /// Takes one event. Returns the key if a person changed the Stack.
    fn take(&self, object: StackObject) -> Option<StackKey> {
        let mark = object.mark();
        let mut state = self.lock();
        let key = state.key(&object);
        let State { seen, namespaces: _, pending, unworked: _ } = &mut *state;
        pending.told_up_to(object.version_number());
        pending.told(&key, object.version_number());
        if seen.get(&key) == Some(&mark) {
            pending.renew(&key, object);
            return None;
        }
        pending.hold(&key, object);
        seen.insert(key.clone(), mark);
        Some(key)
    }
}

/// Reads a Stack from the API server. `None` if there is none.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn get(client: &Client, key: &StackKey) -> Result<Option<Read>, Failure> {
    // A Stack imports others by names that nobody has checked. In a request's path one that is no name could lead into
    // another namespace.
    if !is_object_name(&key.name) {
        return Ok(None);
    }
    let api: Api<StackObject> = Api::namespaced(client.clone(), &key.namespace);
    match within(api.get(&key.name)).await {
        Ok(found) => Ok(Some(found.into())),
        Err(Failure::Status(404)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The JSON merge patch (RFC 7386) from what is stored to what should be; `None` if they are equal.
pub fn difference<S: serde::Serialize>(stored: &Value, wanted: &S) -> Option<Value> {
    let Ok(Value::Object(wanted)) = serde_json::to_value(wanted) else { return None };
    let empty = Map::new();
    let stored = stored.as_object().unwrap_or(&empty);
    let patch = difference_of(stored, &wanted);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn difference_of(stored: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, value) in wanted {
        match (stored.get(name), value) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(name.clone(), Value::Object(difference_of(before, after)));
            }
            (_, after) => {
                patch.insert(name.clone(), after.clone());
            }
        }
    }
    for name in stored.keys().filter(|name| !wanted.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    patch
}

/// Why the API server did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It answered with this status. 404 is its own "not found", about this object.
    #[error("the API server answered {0}")]
    Status(u16),
    /// No answer, or one that is not the API server's.
    #[error("the API server did not answer")]
    Unreachable,
}

/// Runs a call under the deadline.
///
/// # Errors
/// As the call has them, without the server's text.
pub async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        // The page of a proxy, or of a server that does not serve our kinds yet: it says nothing about the object.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 && status.reason != "NotFound" => {
            Err(Failure::Unreachable)
        }
        Ok(Err(kube::Error::Api(status))) => Err(Failure::Status(status.code)),
        Ok(Err(_)) | Err(_) => Err(Failure::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_only_what_differs() {
        let stored = json!({"initialized": "1/2", "missing": "A", "inputs": {"Store/a": 1, "Store/b": 1}});
        assert_eq!(difference(&stored, &stored), None);
        let wanted = json!({"initialized": "2/2", "inputs": {"Store/a": 1}});
        assert_eq!(
            difference(&stored, &wanted),
            Some(json!({"initialized": "2/2", "missing": null, "inputs": {"Store/b": null}}))
        );
    }

    #[tokio::test]
    async fn only_the_api_servers_own_not_found_is_absence() {
        let answer = |reason: &str| {
            let status = kube::core::Status { code: 404, reason: reason.to_owned(), ..kube::core::Status::default() };
            async { Err::<(), _>(kube::Error::Api(Box::new(status))) }
        };
        assert_eq!(within(answer("NotFound")).await, Err(Failure::Status(404)));
        assert_eq!(within(answer("Failed to parse error data")).await, Err(Failure::Unreachable));
    }

    #[test]
    fn lists_are_replaced_whole() {
        let stored = json!({"secrets": [{"name": "A"}, {"name": "B"}]});
        let wanted = json!({"secrets": [{"name": "A"}]});
        assert_eq!(difference(&stored, &wanted), Some(wanted));
    }
}
