//! The refresh loop: per store, not per Stack.
//!
//! For each store it keeps which keys are in use, by whom, how often they should be read, and a digest of what was last
//! seen. It re-reads what is due in full batches and queues only the Stacks whose keys changed. So an unchanged refresh
//! touches no Stack and writes nothing, and it costs ⌈distinct keys ÷ batch⌉ calls however many Stacks share them.
//!
//! What is due:
//! - a key of a store whose source changed (a watch said so): at once;
//! - a key of a store that cannot be watched: at the tick of its interval;
//! - a key that is missing, refused or in a passing error: after 15 s, doubling to min(5 min, interval). A missing one is
//!   probed, not read. Where the source is watched, a missing key needs no asking: the watch tells.
//!
//! Values are digested under a key that lives as long as the process, and dropped.

mod due;
mod state;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use self::state::{Entry, Index, Seen, State, Used, wants_retry};
use super::relations::{StackKey, StoreKey};
use super::schedule;
use crate::backend::{Error, Key, Versioned};
use crate::value::DigestKey;

/// How many stores are read at once of those that the API server answers for. One outside the cluster has a pace of its
/// own, and must not hold up the others while it hangs.
const STORES_AT_ONCE: usize = 16;

/// A key as a reconcile read it.
pub struct Reading<'a> {
    /// The store.
    pub store: StoreKey,
    /// The key.
    pub key: Key,
    /// How often the Stack wants it read; `None` for never on its own.
    pub interval: Option<Duration>,
    /// What was found.
    pub result: &'a Result<Versioned, Error>,
}

/// See the module documentation.
pub struct Refresh {
    state: Mutex<State>,
    wake: Notify,
    slots: Arc<Semaphore>,
    digest_key: Arc<DigestKey>,
    started: Instant,
}

impl Refresh {
    /// Empty; digests are made under `digest_key`, which must not outlive the process.
    #[must_use]
    pub fn new(digest_key: Arc<DigestKey>) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(STORES_AT_ONCE)),
            digest_key,
            started: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a reconcile of `stack` read: these keys, and no others, are in use by it from now on.
    ///
    /// `since` is the [`mark`](Self::mark) taken before the read. A source that changed after it is read again, since the
    /// read may have been too early. Returns the other Stacks whose keys this read found changed: the loop will see what is
    /// registered here as known, so they must be told now.
    pub fn register(&self, stack: &StackKey, readings: &[Reading<'_>], since: u64) -> HashSet<StackKey> {
        let now = Instant::now();
        let mut affected = HashSet::new();
        let mut state = self.lock();
        let mut used: Vec<Used> = Vec::with_capacity(readings.len());
        for reading in readings {
            let too_early = state.changed_since(&reading.store, &reading.key, since);
            let store = match state.stores.get_key_value(&reading.store) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::new(reading.store.clone()),
            };
            let index = state.stores.entry(Arc::clone(&store)).or_default();
            let key = match index.keys.get_key_value(&reading.key) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::new(reading.key.clone()),
            };
            let entry = index.keys.entry(Arc::clone(&key)).or_insert_with(|| Box::new(Entry::new(self.started)));
            entry.set_user(stack, reading.interval);
            let covered = now.duration_since(entry.last_good) < schedule::stale_after(entry.interval_or_default());
            match reading.result {
                Err(error) if error.kind.is_transient() && covered && matches!(entry.seen, Seen::Value(_)) => {
                    entry.missed.get_or_insert_default().insert(stack.clone());
                }
                result => {
                    let seen = self.see(&reading.key, result);
                    affected.extend(entry.take_missed().filter(|user| user != stack));
                    if entry.seen != Seen::Nothing && entry.seen != seen {
                        affected.extend(entry.users.iter().map(|(user, _)| user.clone()).filter(|user| user != stack));
                    }
                    entry.seen = seen;
                }
            }
            if too_early {
                index.dirty.insert(Arc::clone(&key));
            }
            if reading.result.is_ok() {
                entry.last_good = now;
                entry.told_stale = false;
                entry.retry = None;
            }
            // Whether a watch makes this needless is known once it is asked for.
            let wants_retry =
                reading.result.as_ref().is_err_and(|error| wants_retry(error.kind, false)) && entry.retry.is_none();
            let (tick, wait) = (entry.interval(), schedule::next_retry(None, entry.interval_or_default()));
            if wants_retry {
                state.arm_retry(&reading.store, &key, wait);
            }
            if let Some(interval) = tick {
                state.arm_tick(&reading.store, interval, Instant::now(), schedule::until_tick);
            }
            used.push((store, key));
        }
        let before = state.of_stack.remove(stack).unwrap_or_default();
        state.drop_user(stack, before.iter().filter(|old| !used.contains(old)));
        if !used.is_empty() {
            state.of_stack.insert(stack.clone(), used.into_boxed_slice());
        }
        drop(state);
        self.wake.notify_one();
        affected
    }

    /// A point in time for [`register`](Self::register).
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.lock().changes
    }

    /// Forgets a Stack.
    pub fn forget(&self, stack: &StackKey) {
        let mut state = self.lock();
        if let Some(used) = state.of_stack.remove(stack) {
            state.drop_user(stack, used.iter());
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Says that the source of a store changed: one of its objects, or all of it.
    pub fn source_changed(&self, store: &StoreKey, object: Option<&str>) {
        let mut state = self.lock();
        state.note_change(store, object);
        let Some(index) = state.stores.get_mut(store) else { return };
        let Index { keys, dirty, .. } = index;
        let inside = |key: &Key| object.is_none_or(|object| key.name.split_once('#').is_some_and(|(o, _)| o == object));
        dirty.extend(keys.keys().filter(|key| inside(key)).cloned());
        drop(state);
        self.wake.notify_one();
    }

    /// Forgets the changes of a store that is gone.
    pub fn forget_store(&self, store: &StoreKey) {
        self.lock().recent.remove(store);
    }

    /// Whether the last good read of a key is young enough for its Stacks to stay ready through a passing error.
    #[must_use]
    pub fn is_covered(&self, store: &StoreKey, key: &Key) -> bool {
        let state = self.lock();
        let Some(entry) = state.stores.get(store).and_then(|index| index.keys.get(key)) else {
            // Not read in this life of the process: the time since the start is what is known.
            return self.started.elapsed() < schedule::STALE_AT_LEAST;
        };
        entry.last_good.elapsed() < schedule::stale_after(entry.interval_or_default())
    }

    /// The Stacks that use a key.
    #[must_use]
    pub fn users(&self, store: &StoreKey, key: &Key) -> Vec<StackKey> {
        let state = self.lock();
        let entry = state.stores.get(store).and_then(|index| index.keys.get(key));
        entry.map(|entry| entry.users.iter().map(|(stack, _)| stack.clone()).collect()).unwrap_or_default()
    }

    /// The keys in use of a store, and the Stacks that use them.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.lock().stores.values().map(|index| index.keys.len()).sum()
    }

    /// Compares what was found with what was seen before, and adds the users of a changed key to `affected`.
    fn take(
        &self,
        store: &StoreKey,
        key: &Arc<Key>,
        seen: Seen,
        error: Option<&Error>,
        watched: bool,
        affected: &mut HashSet<StackKey>,
    ) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(entry) = state.stores.get_mut(store).and_then(|index| index.keys.get_mut(key)) else { return };
        let stale = now.duration_since(entry.last_good) >= schedule::stale_after(entry.interval_or_default());
        let transient = error.is_some_and(|error| error.kind.is_transient());
        let mut changed = false;
        if transient && matches!(entry.seen, Seen::Value(_)) {
            if stale && !entry.told_stale {
                entry.told_stale = true;
                changed = true;
            }
        } else {
            affected.extend(entry.take_missed());
            changed = entry.seen != seen || entry.told_stale;
            entry.seen = seen;
            entry.told_stale = false;
            if error.is_none() {
                entry.last_good = now;
            }
        }
        if changed {
            affected.extend(entry.users.iter().map(|(stack, _)| stack.clone()));
        }
        if error.is_some_and(|error| wants_retry(error.kind, watched)) {
            // Who asked at a tick leaves the next question when it was to be.
            if entry.retry.as_ref().is_none_or(|retry| retry.timer.is_none()) {
                let before = entry.retry.as_ref().map(|retry| retry.wait);
                let wait = schedule::next_retry(before, entry.interval_or_default());
                state.arm_retry(store, key, wait);
            }
        } else {
            entry.retry = None;
        }
    }

    fn see(&self, key: &Key, result: &Result<Versioned, Error>) -> Seen {
        match result {
            Ok(found) => Seen::Value(self.digest_key.digest([
                key.name.as_bytes(),
                found.version.as_bytes(),
                found.value.expose(),
            ])),
            Err(error) => Seen::error(error),
        }
    }
}

#[cfg(test)]
mod tests;
