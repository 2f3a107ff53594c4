//! Reads the keys of a plan, once each, and says what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::Context;
use super::queue::Lane;
use super::refresh::Reading;
use super::relations::{StackKey, StoreKey};
use super::rights::is_ready;
use crate::api::Reason;
use crate::backend::connect::Connected;
use crate::backend::{Error, ErrorKind, Key, Versioned};
use crate::model::render::finding;
use crate::model::{Fetched, Finding, Plan, StoreRef};

/// Results by store and key; each distinct key is asked once.
pub type Results = BTreeMap<StoreRef, BTreeMap<Key, Result<Versioned, Error>>>;

/// Reads every key of the plan in one pass, all stores at the same time.
///
/// What the API server answers is asked for within the sync's turn, so that no more asks it at once than there are turns.
/// Stores outside the cluster may hang as long as they like: nobody waits for them with a turn.
pub async fn read_keys(context: &Context, stack: &StackKey, plan: &Plan) -> Results {
    let mut wanted: BTreeMap<StoreRef, BTreeSet<Key>> = BTreeMap::new();
    if plan.blocked.is_none() {
        for read in plan.secrets.iter().filter_map(|secret| secret.read.as_ref().ok()) {
            wanted.entry(read.store.clone()).or_default().insert(read.key.clone());
        }
    }
    let connections = wanted.into_iter().map(|(store, keys)| async move {
        let store_key = StoreKey::resolve(&store, &stack.namespace);
        let live = context.stores.connect(context, &store_key).await;
        Asked { store, store_key, keys: keys.into_iter().collect(), live }
    });
    let (outside, inside): (Vec<Asked>, Vec<Asked>) =
        join_all(connections).await.into_iter().partition(|asked| asked.live.as_ref().is_ok_and(|live| live.outside));
    let inside = pin!(join_all(inside.into_iter().map(|asked| asked.read(context))));
    if outside.is_empty() {
        return inside.await.into_iter().collect();
    }
    let outside = pin!(join_all(outside.into_iter().map(|asked| asked.read(context))));
    let (inside, outside) = match select(inside, outside).await {
        Either::Left((inside, outside)) => (inside, context.queue.away(stack, outside).await),
        Either::Right((outside, inside)) => (inside.await, outside),
    };
    inside.into_iter().chain(outside).collect()
}

/// Keys of one store.
struct Asked {
    store: StoreRef,
    store_key: StoreKey,
    keys: Vec<Key>,
    live: Result<Arc<Connected>, Error>,
}

impl Asked {
    async fn read(self, context: &Context) -> (StoreRef, BTreeMap<Key, Result<Versioned, Error>>) {
        let Self { store, store_key, keys, live } = self;
        let results = read_of(context, &store_key, &live, &keys).await;
        (store, keys.into_iter().zip(results).collect())
    }
}

/// Reads keys of one store. What an API server refuses that is not ready counts as an error that passes.
pub async fn read_of(
    context: &Context,
    store: &StoreKey,
    live: &Result<Arc<Connected>, Error>,
    keys: &[Key],
) -> Vec<Result<Versioned, Error>> {
    let mut results = match live {
        Ok(live) => live.reads.read(keys).await,
        Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
    };
    let refused = |result: &Result<Versioned, Error>| result.as_ref().is_err_and(|error| is_refusal(error.kind));
    if results.iter().any(refused) && !is_ready(&context.client, &context.namespace_of(store)).await {
        for result in results.iter_mut().filter(|result| refused(result)) {
            let message = format!("{store}: the API server is not ready, so that it refuses says nothing yet");
            *result = Err(Error::new(ErrorKind::Unavailable, message));
        }
    }
    context.stores.note_results(store, &results);
    results
}

/// Whether an error can be a refusal by the API server, of the operator's rights or of its token: as an object that holds
/// values is read, or the credentials of a store outside the cluster.
pub fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::GrantMissing | ErrorKind::Unauthenticated)
}

/// What is known of each secret, once its key was read.
pub fn find(context: &Context, key: &StackKey, plan: &Plan, results: &Results) -> Vec<Finding> {
    plan.secrets
        .iter()
        .map(|secret| {
            let result = secret
                .read
                .as_ref()
                .ok()
                .and_then(|read| results.get(&read.store).and_then(|keys| keys.get(&read.key)));
            let fetched = match result {
                Some(Ok(versioned)) => Fetched::Value(versioned.clone()),
                Some(Err(error)) => Fetched::Error(error.clone()),
                None => Fetched::Unknown,
            };
            let mut finding = finding(secret, fetched);
            if let Finding::Error { problem, .. } = &mut finding
                && problem.reason == Reason::GrantMissing
                && let Ok(read) = &secret.read
            {
                let store = StoreKey::resolve(&read.store, &key.namespace);
                problem.message = context.read_hint(&store, &problem.message);
            }
            finding
        })
        .collect()
}

/// For each secret, whether the last good read is young enough to stand in for a passing error.
pub fn covered(context: &Context, key: &StackKey, plan: &Plan) -> Vec<bool> {
    let is_covered = |store: &StoreRef, backend_key: &Key| {
        context.refresh.is_covered(&StoreKey::resolve(store, &key.namespace), backend_key)
    };
    plan.secrets
        .iter()
        .map(|secret| secret.read.as_ref().is_ok_and(|read| is_covered(&read.store, &read.key)))
        .collect()
}

/// Tells the refresh loop what is in use, and what was seen.
pub fn register(
    context: &Context,
    key: &StackKey,
    plan: &Plan,
    intervals: &BTreeMap<StoreRef, Option<Duration>>,
    results: &Results,
    since: u64,
) {
    if plan.blocked.is_some() {
        // What is in use is not known, so what was in use stays so.
        return;
    }
    let readings: Vec<Reading<'_>> = results
        .iter()
        .flat_map(|(store, keys)| {
            let interval = intervals.get(store).copied().flatten();
            keys.iter().map(move |(backend_key, result)| Reading {
                store: StoreKey::resolve(store, &key.namespace),
                key: backend_key.clone(),
                interval,
                result,
            })
        })
        .collect();
    for user in context.refresh.register(key, &readings, since) {
        context.queue.add(user, Lane::Background);
    }
}
