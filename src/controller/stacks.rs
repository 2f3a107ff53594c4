//! Stacks on the wire: following them, reading one, patching its status.
//!
//! Only metadata are watched, so that one object that cannot be decoded disturbs nobody and memory holds no specs. A
//! Stack is read when there is work to do on it, which also means that no decision rests on an old copy.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ApiResource, DynamicObject, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::relations::StackKey;
use crate::api::{Stack, StackSpec, StackStatus, marks};
use crate::model::Lookup;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    seen: Mutex<HashMap<StackKey, Mark>>,
    /// Those of the first list that were not worked on yet; `None` before the first list.
    unworked: Mutex<Option<HashSet<StackKey>>>,
    ready: watch::Sender<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    created: jiff::Timestamp,
    uid: Box<str>,
    generation: i64,
    sync_requested: Option<Box<str>>,
}

impl Default for Stacks {
    fn default() -> Self {
        Self { seen: Mutex::default(), unworked: Mutex::default(), ready: watch::Sender::new(false) }
    }
}

impl Stacks {
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
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes note that a Stack was worked on, or went. `true` if it was the last one of the first list: only from now on
    /// it is known who uses what.
    pub fn worked(&self, key: &StackKey) -> bool {
        let mut unworked = self.unworked.lock().unwrap_or_else(PoisonError::into_inner);
        unworked.as_mut().is_some_and(|unworked| unworked.remove(key) && unworked.is_empty())
    }

    /// Whether every Stack of the first list was worked on.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.unworked.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(HashSet::is_empty)
    }

    /// Whether there is one of this name, as far as the watch knows.
    #[must_use]
    pub fn contains(&self, key: &StackKey) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// The Stacks of a namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Vec<StackKey> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.keys().filter(|key| &*key.namespace == namespace).cloned().collect()
    }

    /// Follows until `stop`.
    pub async fn watch(&self, client: Client, changes: mpsc::UnboundedSender<Change>, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow(client, &changes)).await;
    }

    async fn follow(&self, client: Client, changes: &mpsc::UnboundedSender<Change>) {
        let api: Api<PartialObjectMeta<Stack>> = Api::all(client);
        let mut stream =
            std::pin::pin!(watcher(api, watcher::Config::default()).backoff(super::watches::WatchBackoff::default()));
        let mut listed: HashMap<StackKey, Mark> = HashMap::new();
        loop {
            // A closed channel means that the process is ending, so failed sends are ignored.
            match stream.try_next().await {
                Ok(Some(Event::Init)) => listed.clear(),
                Ok(Some(Event::InitApply(meta))) => {
                    let (key, mark) = identify(&meta);
                    listed.insert(key, mark);
                }
                Ok(Some(Event::InitDone)) => {
                    let listed = std::mem::take(&mut listed);
                    let before = std::mem::replace(
                        &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
                        listed.clone(),
                    );
                    self.unworked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert_with(|| listed.keys().cloned().collect());
                    for key in before.keys().filter(|key| !listed.contains_key(key)) {
                        let _ = changes.send(Change::Gone(key.clone()));
                    }
                    // The older first, since the younger yields where two claim one key.
                    let mut new: Vec<(&StackKey, &Mark)> =
                        listed.iter().filter(|(key, mark)| before.get(*key) != Some(*mark)).collect();
                    new.sort_by_key(|(_, mark)| (mark.created, &mark.uid));
                    for (key, _) in new {
                        let _ = changes.send(Change::Listed(key.clone()));
                    }
                    self.ready.send_replace(true);
                }
                Ok(Some(Event::Apply(meta))) => {
                    let (key, mark) = identify(&meta);
                    let before =
                        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), mark.clone());
                    if before.as_ref() != Some(&mark) {
                        let _ = changes.send(Change::Edited(key));
                    }
                }
                Ok(Some(Event::Delete(meta))) => {
                    let (key, _) = identify(&meta);
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    let _ = changes.send(Change::Gone(key));
                }
                Ok(None) => return,
                Err(_) => tracing::debug!("the watch on stacks broke and starts again"),
            }
        }
    }
}

fn identify(meta: &PartialObjectMeta<Stack>) -> (StackKey, Mark) {
    let key = StackKey::new(&meta.namespace().unwrap_or_default(), &meta.name_any());
    let mark = Mark {
        created: meta.creation_timestamp().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        uid: meta.uid().unwrap_or_default().into(),
        generation: meta.metadata.generation.unwrap_or_default(),
        sync_requested: meta.annotations().get(marks::SYNC_REQUESTED_AT).map(|text| text.as_str().into()),
    };
    (key, mark)
}

/// A Stack as it was read.
pub struct Read {
    /// Identity.
    pub uid: String,
    /// Of the spec.
    pub generation: i64,
    /// When it was created.
    pub created: Time,
    /// The sync request.
    pub sync_requested: Option<String>,
    /// The spec, if this version of the API can read it.
    pub spec: Lookup<Arc<StackSpec>>,
    /// The status; empty if it cannot be read.
    pub status: StackStatus,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    raw_status: Value,
}

/// Reads a Stack. `None` if there is none.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn get(client: &Client, key: &StackKey) -> Result<Option<Read>, Failure> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource());
    let object = within(api.get_opt(&key.name)).await?;
    Ok(object.map(|object| {
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let raw_status = object.data.get("status").cloned().unwrap_or_default();
        Read {
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            created: object.creation_timestamp().unwrap_or(Time(jiff::Timestamp::UNIX_EPOCH)),
            sync_requested: object.annotations().get(marks::SYNC_REQUESTED_AT).cloned(),
            spec: serde_json::from_value(spec).map_or(Lookup::Invalid, |spec| Lookup::Found(Arc::new(spec))),
            status: serde_json::from_value(raw_status.clone()).unwrap_or_default(),
            is_being_deleted: object.metadata.deletion_timestamp.is_some(),
            raw_status,
        }
    }))
}

/// Writes a status if it differs from what was read. `true` if it was written.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn patch_status(client: &Client, key: &StackKey, read: &Read, status: &StackStatus) -> Result<bool, Failure> {
    let Some(patch) = difference(&read.raw_status, status) else { return Ok(false) };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource());
    // The uid makes the API server refuse the patch if the object was re-created meanwhile.
    let patch = json!({"metadata": {"uid": read.uid}, "status": patch});
    within(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch))).await?;
    Ok(true)
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

fn resource() -> ApiResource {
    ApiResource::erase::<Stack>(&())
}

/// Why the API server did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It answered with this status.
    #[error("the API server answered {0}")]
    Status(u16),
    /// No answer.
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

    #[test]
    fn lists_are_replaced_whole() {
        let stored = json!({"secrets": [{"name": "A"}, {"name": "B"}]});
        let wanted = json!({"secrets": [{"name": "A"}]});
        assert_eq!(difference(&stored, &wanted), Some(wanted));
    }
}
