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

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PartialObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::marks;

/// How long one rights question may take.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// When missing rights are asked for again: first, and at most. A grant is often applied together with the Stacks that need
/// it, so the first wait is short.
const PROBE_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// How long after a look that found rights gone the second one is.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// How long a sync waits for the first list of a namespace: longer than the questions and the list take together.
const FIRST_LIST: Duration = Duration::from_secs(15);

/// When an unanswered question is asked again.
const NO_ANSWER: Duration = Duration::from_secs(1);

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
    writing: HashSet<Box<str>>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Secrets,
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
        self.lock().writing.insert(name.into());
    }

    /// Says that the write ended with this version, or failed. `true` if somebody wrote after us.
    pub fn end_write(&self, name: &str, written: Option<&str>) -> bool {
        let mut state = self.lock();
        state.writing.remove(name);
        match (written, state.ours.get(name)) {
            (Some(written), Some(seen)) => is_newer(&seen.resource_version, written),
            (Some(_) | None, _) => false,
        }
    }

    /// Probes and watches one kind of object for as long as the namespace is in use.
    async fn attend(&self, kind: Kind, client: Client, changes: mpsc::UnboundedSender<Change>) {
        let mut wait = PROBE_AGAIN.0;
        loop {
            let Some(access) = probe(&client, &self.name, kind).await else {
                // Nothing is concluded from silence: what was known stays until the API server answers.
                tokio::time::sleep(NO_ANSWER).await;
                continue;
            };
            if access == Access::Denied && self.has(kind) {
                // An API server that starts knows no roles for a moment. Rights that were there are gone only if a
                // second look says so, too.
                tokio::time::sleep(SECOND_LOOK).await;
                if probe(&client, &self.name, kind).await != Some(Access::Denied) {
                    continue;
                }
            }
            if access == Access::Watching {
                wait = PROBE_AGAIN.0;
                // Returns when the rights are gone; until then kube's watcher recovers by itself.
                self.watch(kind, &client, &changes).await;
                tokio::time::sleep(NO_ANSWER).await;
                continue;
            }
            self.set_access(kind, access, &changes);
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(PROBE_AGAIN.1),
                () = self.probe.notified() => wait = PROBE_AGAIN.0,
            }
        }
    }

    /// Whether there were any rights at the last look.
    fn has(&self, kind: Kind) -> bool {
        let Grant { secrets, config_maps } = self.grant();
        let access = match kind {
            Kind::Secrets => secrets,
            Kind::ConfigMaps => config_maps,
        };
        match access {
            Access::Watching | Access::GetOnly => true,
            Access::Probing | Access::Denied => false,
        }
    }

    fn set_access(&self, kind: Kind, access: Access, changes: &mpsc::UnboundedSender<Change>) {
        let mut before = access;
        let changed = self.grant.send_if_modified(|grant| {
            let field = match kind {
                Kind::Secrets => &mut grant.secrets,
                Kind::ConfigMaps => &mut grant.config_maps,
            };
            before = std::mem::replace(field, access);
            before != access
        });
        // Whoever needs to know the rights waits for the first answer, so that one is no news. If it were, a restart
        // would queue every Stack a second time, and before what people edit meanwhile.
        if changed && before != Access::Probing {
            if kind == Kind::Secrets && access != Access::Watching {
                let mut state = self.lock();
                state.ours.clear();
                state.values.clear();
            }
            // A closed channel means that the process is ending.
            let _ = changes.send(Change::Grant { namespace: Arc::clone(&self.name) });
        }
    }

    async fn watch(&self, kind: Kind, client: &Client, changes: &mpsc::UnboundedSender<Change>) {
        match kind {
            Kind::Secrets => self.watch_secrets(client, changes).await,
            Kind::ConfigMaps => self.watch_config_maps(client, changes).await,
        }
    }

    async fn watch_secrets(&self, client: &Client, changes: &mpsc::UnboundedSender<Change>) {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), &self.name);
        let mut stream =
            std::pin::pin!(watcher(api, watcher::Config::default()).backoff(super::watches::WatchBackoff::default()));
        let mut listed: HashMap<Box<str>, Seen> = HashMap::new();
        let mut listed_values: HashSet<Box<str>> = HashSet::new();
        loop {
            match stream.try_next().await {
                Ok(Some(Event::Init)) => {
                    listed.clear();
                    listed_values.clear();
                }
                Ok(Some(Event::InitApply(meta))) => {
                    let name: Box<str> = meta.name_any().into();
                    if holds_values(&meta) {
                        listed_values.insert(name.clone());
                    }
                    if let Some(seen) = our_marks(&meta) {
                        listed.insert(name, seen);
                    } else {
                        self.tell_secret(&name, None, holds_values(&meta), changes);
                    }
                }
                Ok(Some(Event::InitDone)) => {
                    self.take_list(std::mem::take(&mut listed), std::mem::take(&mut listed_values), changes);
                    self.set_access(Kind::Secrets, Access::Watching, changes);
                }
                Ok(Some(Event::Apply(meta))) => self.take_secret(&meta, changes),
                Ok(Some(Event::Delete(meta))) => {
                    let name = meta.name_any();
                    let mut state = self.lock();
                    let owner = state.ours.remove(name.as_str()).map(|seen| seen.stack);
                    let values = state.values.remove(name.as_str());
                    drop(state);
                    self.tell_secret(&name, owner, values, changes);
                }
                Ok(None) => return,
                Err(error) => {
                    if is_forbidden(&error) {
                        return;
                    }
                    tracing::debug!(namespace = %self.name, "the watch on secrets broke and starts again");
                }
            }
        }
    }

    /// Compares a complete list with what was known and tells the differences.
    fn take_list(
        &self,
        listed: HashMap<Box<str>, Seen>,
        listed_values: HashSet<Box<str>>,
        changes: &mpsc::UnboundedSender<Change>,
    ) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.ours, listed.clone());
        let values_before = std::mem::replace(&mut state.values, listed_values.clone());
        drop(state);
        for (name, seen) in &before {
            if !listed.contains_key(name) {
                self.tell_secret(name, Some(seen.stack.clone()), false, changes);
            }
        }
        // Before the first list nobody could work on the targets, so nothing in it is news either.
        let is_first = self.grant().secrets == Access::Probing;
        for (name, seen) in &listed {
            if !is_first && before.get(name) != Some(seen) {
                self.tell_secret(name, Some(seen.stack.clone()), false, changes);
            }
        }
        for name in values_before.symmetric_difference(&listed_values) {
            self.tell_secret(name, None, true, changes);
        }
    }

    fn take_secret(&self, meta: &PartialObjectMeta<Secret>, changes: &mpsc::UnboundedSender<Change>) {
        let name = meta.name_any();
        let values = holds_values(meta);
        let seen = our_marks(meta);
        let mut state = self.lock();
        let values_before =
            if values { !state.values.insert(name.as_str().into()) } else { state.values.remove(name.as_str()) };
        let owner_now = seen.as_ref().map(|seen| seen.stack.clone());
        let before = match seen {
            Some(seen) => state.ours.insert(name.as_str().into(), seen),
            None => state.ours.remove(name.as_str()),
        };
        let former = before.map(|seen| seen.stack).filter(|former| Some(former) != owner_now.as_ref());
        let our_own_write = owner_now.is_some() && state.writing.contains(name.as_str());
        drop(state);
        if former.is_none() && our_own_write {
            return;
        }
        // A Secret that changes hands concerns both, also when it was the new owner who wrote.
        if former.is_some() && owner_now.is_some() {
            self.tell_secret(&name, owner_now.clone(), false, changes);
        }
        self.tell_secret(&name, former.or(owner_now), values || values_before, changes);
    }

    fn tell_secret(&self, name: &str, owner: Option<Box<str>>, values: bool, changes: &mpsc::UnboundedSender<Change>) {
        let change = Change::Secret { namespace: Arc::clone(&self.name), name: name.to_owned(), owner, values };
        let _ = changes.send(change);
    }

    async fn watch_config_maps(&self, client: &Client, changes: &mpsc::UnboundedSender<Change>) {
        let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), &self.name);
        let mut stream =
            std::pin::pin!(watcher(api, watcher::Config::default()).backoff(super::watches::WatchBackoff::default()));
        loop {
            let name = match stream.try_next().await {
                Ok(Some(Event::Init)) => continue,
                Ok(Some(Event::InitDone)) => {
                    self.set_access(Kind::ConfigMaps, Access::Watching, changes);
                    continue;
                }
                Ok(Some(Event::InitApply(meta) | Event::Apply(meta) | Event::Delete(meta))) => meta.name_any(),
                Ok(None) => return,
                Err(error) => {
                    if is_forbidden(&error) {
                        return;
                    }
                    tracing::debug!(namespace = %self.name, "the watch on configmaps broke and starts again");
                    continue;
                }
            };
            let _ = changes.send(Change::ConfigMap { namespace: Arc::clone(&self.name), name });
        }
    }
}

/// Our marks on a Secret; `None` if it is not ours.
fn our_marks(meta: &PartialObjectMeta<Secret>) -> Option<Seen> {
    if meta.labels().get(marks::MANAGED).is_none_or(|value| value != "true") {
        return None;
    }
    let stack = meta.annotations().get(marks::STACK)?;
    let resource_version = meta.resource_version()?;
    Some(Seen { resource_version: resource_version.into(), stack: stack.as_str().into() })
}

fn holds_values(meta: &PartialObjectMeta<Secret>) -> bool {
    meta.labels().get(marks::VALUES).is_some_and(|value| value == "true")
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

fn is_forbidden(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(status) => return status.code == 403,
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(cause, kube::Error::Api(status) if status.code == 403)
}

/// What the rights allow; `None` if the API server did not answer.
async fn probe(client: &Client, namespace: &str, kind: Kind) -> Option<Access> {
    if !may(client, namespace, kind.resource(), "get").await? {
        return Some(Access::Denied);
    }
    let list = may(client, namespace, kind.resource(), "list").await?;
    let watch = may(client, namespace, kind.resource(), "watch").await?;
    Some(if list && watch { Access::Watching } else { Access::GetOnly })
}

/// Whether the operator may do this, as the API server's own authorizer says. `None` if it did not answer.
pub async fn may(client: &Client, namespace: &str, resource: &str, verb: &str) -> Option<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = tokio::time::timeout(REVIEW_TIMEOUT, api.create(&PostParams::default(), &review)).await;
    match answer {
        Ok(Ok(review)) => review.status.map(|status| status.allowed),
        Ok(Err(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use kube::core::{ObjectMeta, PartialObjectMetaExt};

    fn owned_by(stack: &str, version: &str) -> PartialObjectMeta<Secret> {
        let mark = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
        let meta = ObjectMeta {
            name: Some("target".to_owned()),
            resource_version: Some(version.to_owned()),
            labels: mark(marks::MANAGED, "true"),
            annotations: mark(marks::STACK, stack),
            ..ObjectMeta::default()
        };
        meta.into_response_partial()
    }

    #[tokio::test]
    async fn our_own_write_is_news_only_to_a_former_owner() {
        let watching = Grant { secrets: Access::Watching, config_maps: Access::Watching };
        let namespace = Namespace {
            name: "payments".into(),
            grant: watch::Sender::new(watching),
            probe: Notify::new(),
            stop: CancellationToken::new(),
            state: Mutex::default(),
        };
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut told = || {
            let mut owners = Vec::new();
            while let Ok(Change::Secret { owner, .. }) = receiver.try_recv() {
                owners.extend(owner.map(String::from));
            }
            owners
        };
        namespace.begin_write("target");
        namespace.take_secret(&owned_by("first", "1"), &sender);
        namespace.take_secret(&owned_by("first", "2"), &sender);
        assert_eq!(told(), Vec::<String>::new());
        namespace.take_secret(&owned_by("second", "3"), &sender);
        assert_eq!(told(), ["second", "first"]);
        namespace.end_write("target", Some("3"));
        namespace.take_secret(&owned_by("second", "4"), &sender);
        assert_eq!(told(), ["second"]);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_newer("1000", "999"));
        assert!(!is_newer("999", "1000"));
        assert!(!is_newer("7", "7"));
        assert!(is_newer("b", "a"));
    }
}
