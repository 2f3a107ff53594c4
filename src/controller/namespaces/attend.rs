//! The task of one namespace: asks for the rights, watches what may be watched, tells what changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use super::super::rights::{is_ready, may};
use super::super::watches::{WatchBackoff, persistent};
use super::{Access, Change, Disturbed, Grant, Kind, Namespace, NamespaceState, Seen, is_older};
use crate::api::marks;

/// When missing rights are asked for again: first, and at most. A grant is often applied together with the Stacks that need
/// it, so the first wait is short.
const PROBE_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// How long after a look that found rights gone the second one is.
const SECOND_LOOK: Duration = Duration::from_secs(5);

impl Namespace {
    /// Probes and watches one kind of object for as long as the namespace is in use.
    pub(super) async fn attend(&self, kind: Kind, client: Client, changes: mpsc::UnboundedSender<Change>) {
        let mut wait = PROBE_AGAIN.0;
        let mut backoff = WatchBackoff::default();
        loop {
            // From here on, since whoever asks while the question is under way may know of rights that its answer does not.
            let asked = self.probe.notified();
            let Some(access) = probe(&client, &self.name, kind).await else {
                // Nothing is concluded from silence: what was known stays until the API server answers.
                backoff.pause().await;
                continue;
            };
            if is_loss(self.access(kind), access) {
                // Rights that were there are gone only if a second look says so, too, and the server was ready before it:
                // one that starts knows no roles for a moment.
                tokio::time::sleep(SECOND_LOOK).await;
                if !is_ready(&client, &self.name).await || probe(&client, &self.name, kind).await != Some(access) {
                    continue;
                }
            }
            if access == Access::Watching {
                wait = PROBE_AGAIN.0;
                // Returns when the rights are gone; until then kube's watcher recovers by itself.
                self.watch(kind, &client, &changes).await;
                backoff.pause().await;
                continue;
            }
            self.set_access(kind, access, &changes);
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(PROBE_AGAIN.1),
                () = asked => wait = PROBE_AGAIN.0,
            }
        }
    }

    fn access(&self, kind: Kind) -> Access {
        let Grant { secrets, config_maps } = self.grant();
        match kind {
            Kind::Secrets => secrets,
            Kind::ConfigMaps => config_maps,
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
        let mut stream = std::pin::pin!(persistent(watcher(api, watcher::Config::default())));
        let mut listed: HashMap<Box<str>, Seen> = HashMap::new();
        let mut listed_values: HashSet<Box<str>> = HashSet::new();
        let mut names: HashSet<Box<str>> = HashSet::new();
        loop {
            match stream.try_next().await {
                Ok(Some(Event::Init)) => {
                    listed.clear();
                    listed_values.clear();
                    names.clear();
                }
                Ok(Some(Event::InitApply(meta))) => {
                    let name: Box<str> = meta.name_any().into();
                    names.insert(name.clone());
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
                    self.tell_list(Kind::Secrets, std::mem::take(&mut names), changes);
                    self.set_access(Kind::Secrets, Access::Watching, changes);
                }
                Ok(Some(Event::Apply(meta))) => self.take_secret(&meta, changes),
                Ok(Some(Event::Delete(meta))) => self.drop_secret(&meta, changes),
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
    pub(super) fn take_list(
        &self,
        listed: HashMap<Box<str>, Seen>,
        listed_values: HashSet<Box<str>>,
        changes: &mpsc::UnboundedSender<Change>,
    ) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.ours, listed.clone());
        let values_before = std::mem::replace(&mut state.values, listed_values.clone());
        state.writing.values_mut().for_each(|disturbed| *disturbed = Disturbed::Yes);
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
                self.tell_secret(name, Some(seen.stack.clone()), listed_values.contains(name), changes);
            }
        }
        for name in values_before.symmetric_difference(&listed_values) {
            self.tell_secret(name, None, true, changes);
        }
    }

    pub(super) fn take_secret(&self, meta: &PartialObjectMeta<Secret>, changes: &mpsc::UnboundedSender<Change>) {
        let name = meta.name_any();
        let values = holds_values(meta);
        let seen = our_marks(meta);
        let mut state = self.lock();
        if state.is_outdated(&name, meta) {
            return;
        }
        let values_before =
            if values { !state.values.insert(name.as_str().into()) } else { state.values.remove(name.as_str()) };
        let owner_now = seen.as_ref().map(|seen| seen.stack.clone());
        let is_written = state.writing.contains_key(name.as_str());
        if seen.is_none()
            && let Some(disturbed) = state.writing.get_mut(name.as_str())
        {
            *disturbed = Disturbed::Yes;
        }
        let is_known = seen.is_some() && state.ours.get(name.as_str()) == seen.as_ref();
        let our_own_write = owner_now.is_some() && (is_written || is_known);
        let before = match seen {
            Some(seen) => state.ours.insert(name.as_str().into(), seen),
            None => state.ours.remove(name.as_str()),
        };
        let former = before.map(|seen| seen.stack).filter(|former| Some(former) != owner_now.as_ref());
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

    pub(super) fn drop_secret(&self, meta: &PartialObjectMeta<Secret>, changes: &mpsc::UnboundedSender<Change>) {
        let name = meta.name_any();
        let mut state = self.lock();
        if state.is_outdated(&name, meta) {
            return;
        }
        if let Some(disturbed) = state.writing.get_mut(name.as_str()) {
            *disturbed = Disturbed::Yes;
        }
        let owner = state.ours.remove(name.as_str()).map(|seen| seen.stack);
        let values = state.values.remove(name.as_str());
        drop(state);
        self.tell_secret(&name, owner, values, changes);
    }

    fn tell_secret(&self, name: &str, owner: Option<Box<str>>, values: bool, changes: &mpsc::UnboundedSender<Change>) {
        let change = Change::Secret { namespace: Arc::clone(&self.name), name: name.to_owned(), owner, values };
        let _ = changes.send(change);
    }

    /// Tells of a complete list before the namespace counts as watched.
    pub(super) fn tell_list(&self, kind: Kind, names: HashSet<Box<str>>, changes: &mpsc::UnboundedSender<Change>) {
        let again = self.access(kind) == Access::Watching;
        let _ = changes.send(Change::Listed { namespace: Arc::clone(&self.name), kind, names, again });
    }

    async fn watch_config_maps(&self, client: &Client, changes: &mpsc::UnboundedSender<Change>) {
        let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), &self.name);
        let mut stream = std::pin::pin!(persistent(watcher(api, watcher::Config::default())));
        let mut names: HashSet<Box<str>> = HashSet::new();
        loop {
            let name = match stream.try_next().await {
                Ok(Some(Event::Init)) => {
                    names.clear();
                    continue;
                }
                Ok(Some(Event::InitDone)) => {
                    self.tell_list(Kind::ConfigMaps, std::mem::take(&mut names), changes);
                    self.set_access(Kind::ConfigMaps, Access::Watching, changes);
                    continue;
                }
                Ok(Some(Event::InitApply(meta))) => {
                    let name = meta.name_any();
                    names.insert(name.as_str().into());
                    name
                }
                Ok(Some(Event::Apply(meta) | Event::Delete(meta))) => meta.name_any(),
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

impl NamespaceState {
    /// Whether we know, from the answer to a write of ours, a later version than the one the watch tells of now.
    fn is_outdated(&self, name: &str, meta: &PartialObjectMeta<Secret>) -> bool {
        let known = self.ours.get(name);
        known.zip(meta.resource_version()).is_some_and(|(known, told)| is_older(&told, &known.resource_version))
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

/// Whether rights that were there at the last look are gone.
pub(super) fn is_loss(before: Access, now: Access) -> bool {
    match (before, now) {
        (Access::Watching, Access::GetOnly | Access::Denied) | (Access::GetOnly, Access::Denied) => true,
        (Access::Watching | Access::GetOnly, Access::Watching)
        | (Access::GetOnly, Access::GetOnly)
        | (Access::Probing | Access::Denied, _)
        | (_, Access::Probing) => false,
    }
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
