//! The refresh loop: per store, not per Stack.
//!
//! For each store it keeps which keys are in use, by whom, how often they should be read, and a digest of what was last
//! seen. It re-reads what is due in full batches and queues only the Stacks whose keys changed. So an unchanged refresh
//! touches no Stack and writes nothing, and it costs ⌈distinct keys ÷ batch⌉ calls however many Stacks share them.
//!
//! What is due:
//! - a key of a store whose source changed (a watch said so): at once;
//! - a key of a store that cannot be watched: at the tick of its interval;
//! - a key that is missing or in a passing error: after 15 s, doubling to min(5 min, interval). A missing one is probed,
//!   not read. Where the source is watched, a missing key needs no asking: the watch tells.
//!
//! Values are digested under a key that lives as long as the process, and dropped.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::Lane;
use super::relations::{StackKey, StoreKey};
use super::{Context, schedule};
use crate::backend::{Error, ErrorKind, Key, Versioned};
use crate::value::{Digest, DigestKey};

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

/// A key in use. Both are the ones of the index, so that a Stack costs two words for each of its keys.
type Used = (Arc<StoreKey>, Arc<Key>);

#[derive(Default)]
struct State {
    stores: HashMap<Arc<StoreKey>, Index>,
    of_stack: HashMap<StackKey, Box<[Used]>>,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_number: u64,
    /// Changes of sources so far.
    changes: u64,
    /// The last changes of each store's source.
    recent: HashMap<StoreKey, Recent>,
}

/// The last changes of one store's source, so that a read that was under way meanwhile can be told to be too early.
#[derive(Default)]
struct Recent {
    /// The number of the change, and the object; `None` is all of it.
    changes: VecDeque<(u64, Option<Box<str>>)>,
    /// The number of the last change that is no longer listed.
    forgotten: u64,
}

/// More changes of one store than this during one read count as a change of everything.
const RECENT: usize = 256;

#[derive(Default)]
struct Index {
    /// Boxed, since a map has up to as much room again as it needs.
    keys: HashMap<Arc<Key>, Box<Entry>>,
    ticks: HashSet<Duration>,
    dirty: HashSet<Arc<Key>>,
    running: bool,
}

struct Entry {
    /// Sorted, since a key may have thousands of users. It grows by one: nearly always it has one.
    users: Vec<(StackKey, Option<Duration>)>,
    seen: Seen,
    last_good: Instant,
    retry: Option<Duration>,
    told_stale: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Value(Digest),
    Missing(ErrorKind, Box<str>),
    /// The message tells one cause from another; it is empty for what passes by itself, whose words come and go.
    Failed(ErrorKind, Box<str>),
}

impl Seen {
    fn error(error: &Error) -> Self {
        let Error { kind, message, retry_after: _ } = error;
        match (kind.is_missing(), kind.is_transient()) {
            (true, _) => Self::Missing(*kind, message.as_str().into()),
            (false, false) => Self::Failed(*kind, message.as_str().into()),
            (false, true) => Self::Failed(*kind, Box::default()),
        }
    }
}

enum Timer {
    Tick(StoreKey, Duration),
    Retry(StoreKey, Arc<Key>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Changed,
    Tick,
    Retry,
}

struct Job {
    store: StoreKey,
    keys: Vec<Arc<Key>>,
    why: Why,
}

impl Entry {
    /// A key that nobody has read.
    fn new(started: Instant) -> Self {
        Self { users: Vec::new(), seen: Seen::Nothing, last_good: started, retry: None, told_stale: false }
    }

    fn set_user(&mut self, stack: &StackKey, interval: Option<Duration>) {
        match self.users.binary_search_by(|(user, _)| user.cmp(stack)) {
            Ok(index) => {
                if let Some((_, before)) = self.users.get_mut(index) {
                    *before = interval;
                }
            }
            Err(index) => {
                if self.users.is_empty() {
                    self.users.reserve_exact(1);
                }
                self.users.insert(index, (stack.clone(), interval));
            }
        }
    }

    /// The shortest interval that a user asks for.
    fn interval(&self) -> Option<Duration> {
        self.users.iter().filter_map(|(_, interval)| *interval).min()
    }

    fn interval_or_default(&self) -> Duration {
        self.interval().unwrap_or(crate::api::duration::DEFAULT_REFRESH_INTERVAL)
    }
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
                Err(error) if error.kind.is_transient() && covered && matches!(entry.seen, Seen::Value(_)) => {}
                result => {
                    let seen = self.see(&reading.key, result);
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
            let wants_retry =
                reading.result.as_ref().is_err_and(|error| wants_retry(error.kind)) && entry.retry.is_none();
            let tick = entry.interval();
            if wants_retry {
                let wait = schedule::next_retry(None, entry.interval_or_default());
                entry.retry = Some(wait);
                state.arm(now + wait, Timer::Retry(reading.store.clone(), Arc::clone(&key)));
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

    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, context: Arc<Context>, stop: CancellationToken) {
        loop {
            context.heartbeats.refresh.beat();
            let notified = self.wake.notified();
            let (jobs, next) = self.collect(Instant::now());
            for job in jobs {
                let (refresh, context, stop) = (Arc::clone(&self), Arc::clone(&context), stop.clone());
                context.tasks.clone().spawn(async move {
                    stop.run_until_cancelled(refresh.work(&context, job)).await;
                });
            }
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = notified => {}
                () = sleep => {}
                () = tokio::time::sleep(super::HEARTBEAT) => {}
            }
        }
    }

    /// Takes what is due now, at most one job for each store, and says when the next thing will be.
    fn collect(&self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let mut state = self.lock();
        let mut jobs = Vec::new();
        let mut again = Vec::new();
        while let Some(first) = state.timers.first_entry() {
            if first.key().0 > now {
                break;
            }
            let timer = first.remove();
            match timer {
                Timer::Tick(store, interval) => {
                    let Some(index) = state.stores.get_mut(&store) else { continue };
                    index.ticks.remove(&interval);
                    let keys: Vec<Arc<Key>> = index
                        .keys
                        .iter()
                        .filter(|(_, entry)| entry.interval() == Some(interval))
                        .map(|(key, _)| Arc::clone(key))
                        .collect();
                    if !keys.is_empty() {
                        again.push((store.clone(), interval));
                        jobs.push(Job { store, keys, why: Why::Tick });
                    }
                }
                Timer::Retry(store, key) => {
                    let waiting = state
                        .stores
                        .get(&store)
                        .and_then(|index| index.keys.get(&key))
                        .is_some_and(|entry| entry.retry.is_some());
                    if waiting {
                        match jobs.iter_mut().find(|job| job.store == store && job.why == Why::Retry) {
                            Some(job) => job.keys.push(key),
                            None => jobs.push(Job { store, keys: vec![key], why: Why::Retry }),
                        }
                    }
                }
            }
        }
        for (store, interval) in again {
            state.arm_tick(&store, interval, now, schedule::until_next_tick);
        }
        for (store, index) in &mut state.stores {
            if !index.dirty.is_empty() && !index.running {
                let keys = index.dirty.drain().collect();
                index.running = true;
                jobs.push(Job { store: StoreKey::clone(store), keys, why: Why::Changed });
            }
        }
        (jobs, state.timers.keys().next().map(|(due, _)| *due))
    }

    async fn work(&self, context: &Context, job: Job) {
        let watched = context.stores.is_watched(context, &job.store);
        let skip = match job.why {
            Why::Changed | Why::Retry => false,
            // The watch tells of every change, so the clock need not ask.
            Why::Tick => watched,
        };
        if !skip {
            let affected = self.read(context, &job, watched).await;
            let lane = match job.why {
                Why::Changed => Lane::User,
                Why::Tick | Why::Retry => Lane::Background,
            };
            for stack in affected {
                context.queue.add(stack, lane);
            }
        }
        if job.why == Why::Changed {
            if let Some(index) = self.lock().stores.get_mut(&job.store) {
                index.running = false;
            }
            self.wake.notify_one();
        }
    }

    async fn read(&self, context: &Context, job: &Job, watched: bool) -> HashSet<StackKey> {
        let (probe, read): (Vec<Arc<Key>>, Vec<Arc<Key>>) = {
            let state = self.lock();
            let index = state.stores.get(&job.store);
            job.keys.iter().cloned().partition(|key| {
                job.why == Why::Retry
                    && index
                        .and_then(|index| index.keys.get(key))
                        .is_some_and(|entry| matches!(entry.seen, Seen::Missing(..)))
            })
        };
        let mut affected = HashSet::new();
        let live = context.stores.connect(context, &job.store).await;
        let _slot = match &live {
            Ok(live) if !live.outside => self.slots.acquire().await.ok(),
            Ok(_) | Err(_) => None,
        };
        let read_keys: Vec<Key> = read.iter().map(|key| Key::clone(key)).collect();
        let results = match &live {
            Ok(live) => live.reads.read(&read_keys).await,
            Err(error) => read_keys.iter().map(|_| Err(error.clone())).collect(),
        };
        context.stores.note_results(&job.store, &results);
        for (key, result) in read.iter().zip(&results) {
            let seen = self.see(key, result);
            self.take(&job.store, key, seen, result.as_ref().err(), watched, &mut affected);
        }
        let probe_keys: Vec<Key> = probe.iter().map(|key| Key::clone(key)).collect();
        let presence = match &live {
            Ok(live) if !probe_keys.is_empty() => live.backend.probe(&probe_keys).await,
            Ok(_) => Vec::new(),
            Err(error) => probe_keys.iter().map(|_| Err(error.clone())).collect(),
        };
        for (key, result) in probe.iter().zip(&presence) {
            let seen = match result {
                // It is there now; its Stacks read it.
                Ok(_) => Seen::Nothing,
                Err(error) => Seen::error(error),
            };
            self.take(&job.store, key, seen, result.as_ref().err(), watched, &mut affected);
        }
        affected
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
        let retry =
            error.is_some_and(|error| if watched { error.kind.is_transient() } else { wants_retry(error.kind) });
        if retry {
            let wait = schedule::next_retry(entry.retry, entry.interval_or_default());
            entry.retry = Some(wait);
            state.arm(now + wait, Timer::Retry(store.clone(), Arc::clone(key)));
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

/// Whether a key with this error is asked again before its tick: what is missing, what passes, and what a person may
/// cure in another place without our hearing of it.
fn wants_retry(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::NotFound
        | ErrorKind::VersionNotFound
        | ErrorKind::PendingDeletion
        | ErrorKind::SourceNotFound
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::GrantMissing
        | ErrorKind::EndpointNotAllowed
        | ErrorKind::Conflict
        | ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Unexpected => true,
        ErrorKind::InvalidConfig
        | ErrorKind::InvalidKey
        | ErrorKind::NotEncrypted
        | ErrorKind::Undecodable
        | ErrorKind::MacMismatch
        | ErrorKind::NoMatchingKey
        | ErrorKind::Ambiguous
        | ErrorKind::TooLarge
        | ErrorKind::Unsupported => false,
    }
}

impl State {
    fn note_change(&mut self, store: &StoreKey, object: Option<&str>) {
        self.changes += 1;
        let recent = self.recent.entry(store.clone()).or_default();
        recent.changes.push_back((self.changes, object.map(Box::from)));
        while recent.changes.len() > RECENT {
            if let Some((number, _)) = recent.changes.pop_front() {
                recent.forgotten = number;
            }
        }
    }

    /// Whether the object of a key changed after the mark.
    fn changed_since(&self, store: &StoreKey, key: &Key, since: u64) -> bool {
        let Some(recent) = self.recent.get(store) else { return false };
        let object = key.name.split_once('#').map(|(object, _)| object);
        recent.forgotten > since
            || recent
                .changes
                .iter()
                .rev()
                .take_while(|(number, _)| *number > since)
                .any(|(_, changed)| changed.is_none() || changed.as_deref() == object)
    }

    fn arm(&mut self, due: Instant, timer: Timer) {
        let number = self.next_number;
        self.next_number += 1;
        self.timers.insert((due, number), timer);
    }

    fn arm_tick(
        &mut self,
        store: &StoreKey,
        interval: Duration,
        now: Instant,
        until: fn(&str, Duration, Duration) -> Duration,
    ) {
        let Some(index) = self.stores.get_mut(store) else { return };
        if !index.ticks.insert(interval) {
            return;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wait = until(&store.to_string(), interval, wall);
        self.arm(now + wait, Timer::Tick(store.clone(), interval));
    }

    fn drop_user<'a>(&mut self, stack: &StackKey, used: impl Iterator<Item = &'a Used>) {
        for (store, key) in used {
            let Some(index) = self.stores.get_mut(store) else { continue };
            if let Some(entry) = index.keys.get_mut(key) {
                entry.users.retain(|(user, _)| user != stack);
                if entry.users.is_empty() {
                    index.keys.remove(key);
                    index.dirty.remove(key);
                }
            }
            if index.keys.is_empty() && !index.running {
                self.stores.remove(store);
            }
        }
    }
}

#[cfg(test)]
mod tests;
