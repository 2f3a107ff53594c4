//! Collects the concurrent reads of one store: each key once, in full batches, shared among all who ask.
//!
//! ```text
//! read(a, b) ─┐                    ┌─▶ driver.read(a, b, c)   up to `capabilities().batch` keys
//! read(b, c) ─┴─ gather for 2 ms ──┤
//! read(a)    ── a is under way: ───┴─▶ driver.read(a)          once the first is done
//! ```
//!
//! # Guarantees
//! 1. A caller gets a value that was read after it asked. A read that is already under way is therefore not joined: it
//!    may have seen the state before the change that made the caller ask. Those who come meanwhile share the next one, so
//!    that a key is never read twice at the same time.
//! 2. Callers do the work themselves: nothing is spawned. A caller that is dropped leaves the others undisturbed, and the
//!    read goes on if one of them is left.
//! 3. Nothing is kept: a value lives as long as those who asked for it.
//! 4. Errors are shared like values; there is no retry here.
//!
//! One of these belongs to one connected store. Reads are never shared across two stores, even if they lead to one place:
//! their rights may differ.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Notify;

use super::{Backend, Error, ErrorKind, Key, Versioned};

/// How long a batch stays open. The reconciles that one change causes begin within a millisecond of each other, and no
/// store answers so fast that two more matter.
const WINDOW: Duration = Duration::from_millis(2);

type Answers = Arc<BTreeMap<Key, Result<Versioned, Error>>>;
type Flight = Shared<BoxFuture<'static, Answers>>;
type WeakFlight = WeakShared<BoxFuture<'static, Answers>>;

/// The reads of one store. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Batch {
    shared: Arc<Collector>,
}

struct Collector {
    backend: Arc<dyn Backend>,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// Batches that still take keys.
    gathering: HashMap<u64, Gathering>,
    /// The batch in [`Self::gathering`] that each key waits in.
    waiting: HashMap<Key, u64>,
    /// The batch that reads each key at this moment.
    under_way: HashMap<Key, (u64, WeakFlight)>,
    /// The open batch for keys that nobody reads, and the one for keys that somebody does. They are apart so that the
    /// first never waits for the second.
    open: Option<u64>,
    open_behind: Option<u64>,
}

struct Gathering {
    keys: Vec<Key>,
    /// Reads of the same keys that must end first.
    ahead: Vec<WeakFlight>,
    /// Wakes the batch before its window ends.
    full: Arc<Notify>,
    flight: WeakFlight,
}

impl Batch {
    /// Collects the reads of `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let limit = backend.capabilities().batch.max(1);
        Self { shared: Arc::new(Collector { backend, limit, state: Mutex::default() }) }
    }

    /// Reads keys: one result for each, in order. Cancel safe.
    pub async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        // Sorted, so that keys of one object come into one batch where they fit.
        let wanted: BTreeSet<&Key> = keys.iter().collect();
        let mut flights: BTreeMap<u64, Flight> = BTreeMap::new();
        {
            let mut state = self.shared.state();
            for key in wanted {
                let (id, flight) = self.shared.join(&mut state, key);
                flights.insert(id, flight);
            }
        }
        let answers = futures::future::join_all(flights.into_values()).await;
        let answer = |key: &Key| answers.iter().find_map(|answers| answers.get(key).cloned());
        keys.iter()
            .map(|key| {
                let lost = "the store's driver gave no result for the key: please report this defect";
                answer(key).unwrap_or_else(|| Err(Error::new(ErrorKind::Unexpected, lost)))
            })
            .collect()
    }
}

impl Collector {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, stale entries would be replaced like those of a dropped batch.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that will read `key`. The caller must keep the flight beyond the lock: dropping the last holder of a
    /// flight takes the lock again.
    fn join(self: &Arc<Self>, state: &mut State, key: &Key) -> (u64, Flight) {
        if let Some(id) = state.waiting.get(key)
            && let Some(flight) = state.gathering.get(id).and_then(|gathering| gathering.flight.upgrade())
        {
            return (*id, flight);
        }
        let ahead = state.under_way.get(key).map(|(_, flight)| flight.clone());
        let open = if ahead.is_some() { state.open_behind } else { state.open };
        let joined = open.and_then(|id| {
            let gathering = state.gathering.get(&id).filter(|gathering| gathering.keys.len() < self.limit)?;
            Some((id, gathering.flight.upgrade()?))
        });
        let (id, flight) = match joined {
            Some(joined) => joined,
            None => self.open(state, ahead.is_some()),
        };
        if let Some(gathering) = state.gathering.get_mut(&id) {
            gathering.keys.push(key.clone());
            gathering.ahead.extend(ahead);
            if gathering.keys.len() >= self.limit {
                gathering.full.notify_one();
            }
        }
        state.waiting.insert(key.clone(), id);
        (id, flight)
    }

    fn open(self: &Arc<Self>, state: &mut State, behind: bool) -> (u64, Flight) {
        state.last_id += 1;
        let id = state.last_id;
        let full = Arc::new(Notify::new());
        // Made here, since a future that is dropped before its first poll never ran a line.
        let landing = Landing { collector: Arc::clone(self), id };
        let flight = Arc::clone(self).fly(landing, Arc::clone(&full)).boxed().shared();
        // A shared future has a weak form until it is done, and this one has not begun.
        if let Some(weak) = flight.downgrade() {
            state.gathering.insert(id, Gathering { keys: Vec::new(), ahead: Vec::new(), full, flight: weak });
        }
        if behind {
            state.open_behind = Some(id);
        } else {
            state.open = Some(id);
        }
        (id, flight)
    }

    /// The life of one batch.
    async fn fly(self: Arc<Self>, landing: Landing, full: Arc<Notify>) -> Answers {
        let id = landing.id;
        // Either end of the window will do.
        let _ = tokio::time::timeout(WINDOW, full.notified()).await;
        let keys = loop {
            // Bound first: a guard in the head of a `match` would be held over the wait.
            let decision = self.state().take_off(id);
            match decision {
                TakeOff::Now(keys) => break keys,
                TakeOff::After(ahead) => {
                    for flight in ahead.iter().filter_map(WeakFlight::upgrade) {
                        flight.await;
                    }
                }
            }
        };
        let results = self.backend.read(&keys).await;
        drop(landing);
        Arc::new(keys.into_iter().zip(results).collect())
    }
}

enum TakeOff {
    Now(Vec<Key>),
    After(Vec<WeakFlight>),
}

impl State {
    /// Closes a batch, unless it has to wait for others.
    fn take_off(&mut self, id: u64) -> TakeOff {
        if let Some(gathering) = self.gathering.get_mut(&id)
            && !gathering.ahead.is_empty()
        {
            return TakeOff::After(std::mem::take(&mut gathering.ahead));
        }
        let Some(Gathering { keys, ahead: _, full: _, flight }) = self.close(id) else {
            return TakeOff::Now(Vec::new());
        };
        for key in &keys {
            self.under_way.insert(key.clone(), (id, flight.clone()));
        }
        TakeOff::Now(keys)
    }

    /// Takes a batch out of everything that lets keys join it.
    fn close(&mut self, id: u64) -> Option<Gathering> {
        let gathering = self.gathering.remove(&id)?;
        for key in &gathering.keys {
            if self.waiting.get(key) == Some(&id) {
                self.waiting.remove(key);
            }
        }
        self.open = self.open.filter(|open| *open != id);
        self.open_behind = self.open_behind.filter(|open| *open != id);
        Some(gathering)
    }
}

/// Removes what is known of a batch when its read ends, or when everybody who waited for it is gone.
struct Landing {
    collector: Arc<Collector>,
    id: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.collector.state();
        state.close(self.id);
        state.under_way.retain(|_, (id, _)| *id != self.id);
    }
}
