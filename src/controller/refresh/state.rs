//! What is in use, what was seen of it, and when it is due.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::backend::{Error, ErrorKind, Key};
use crate::controller::relations::{StackKey, StoreKey};
use crate::controller::schedule;
use crate::value::Digest;

/// A key in use. Both are the ones of the index, so that a Stack costs two words for each of its keys.
pub(super) type Used = (Arc<StoreKey>, Arc<Key>);

#[derive(Default)]
pub(super) struct State {
    pub(super) stores: HashMap<Arc<StoreKey>, Index>,
    pub(super) of_stack: HashMap<StackKey, Box<[Used]>>,
    pub(super) timers: BTreeMap<(Instant, u64), Timer>,
    pub(super) next_number: u64,
    /// Changes of sources so far.
    pub(super) changes: u64,
    /// The last changes of each store's source.
    pub(super) recent: HashMap<StoreKey, Recent>,
}

/// The last changes of one store's source, so that a read that was under way meanwhile can be told to be too early.
#[derive(Default)]
pub(super) struct Recent {
    /// The number of the change, and the object; `None` is all of it.
    pub(super) changes: VecDeque<(u64, Option<Box<str>>)>,
    /// The number of the last change that is no longer listed.
    pub(super) forgotten: u64,
}

/// More changes of one store than this during one read count as a change of everything.
pub(super) const RECENT: usize = 256;

#[derive(Default)]
pub(super) struct Index {
    /// Boxed, since a map has up to as much room again as it needs.
    pub(super) keys: HashMap<Arc<Key>, Box<Entry>>,
    /// The timer of each interval; another one that is left from before does nothing.
    pub(super) ticks: HashMap<Duration, u64>,
    pub(super) dirty: HashSet<Arc<Key>>,
    pub(super) running: bool,
}

pub(super) struct Entry {
    /// Sorted, since a key may have thousands of users. It grows by one: nearly always it has one.
    pub(super) users: Vec<(StackKey, Option<Duration>)>,
    pub(super) seen: Seen,
    pub(super) last_good: Instant,
    /// Boxed, as few keys have one.
    pub(super) retry: Option<Box<Retry>>,
    pub(super) told_stale: bool,
    /// The Stacks whose syncs went without the value: to them the next good read is news, whatever it finds.
    #[expect(clippy::box_collection, reason = "there are many entries, and few have one: a word instead of six")]
    pub(super) missed: Option<Box<HashSet<StackKey>>>,
}

/// A key that is asked for again before its tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// How long that was to wait.
    pub(super) wait: Duration,
    /// The timer, until it goes off; another one that is left from before does nothing.
    pub(super) timer: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Value(Digest),
    Missing(ErrorKind, Box<str>),
    /// The message tells one cause from another; it is empty for what passes by itself, whose words come and go.
    Failed(ErrorKind, Box<str>),
}

impl Seen {
    pub(super) fn error(error: &Error) -> Self {
        let Error { kind, message, retry_after: _ } = error;
        match (kind.is_missing(), kind.is_transient()) {
            (true, _) => Self::Missing(*kind, message.as_str().into()),
            (false, false) => Self::Failed(*kind, message.as_str().into()),
            (false, true) => Self::Failed(*kind, Box::default()),
        }
    }
}

pub(super) enum Timer {
    Tick(StoreKey, Duration),
    Retry(StoreKey, Arc<Key>),
}

impl Entry {
    /// A key that nobody has read.
    pub(super) fn new(started: Instant) -> Self {
        Self {
            users: Vec::new(),
            seen: Seen::Nothing,
            last_good: started,
            retry: None,
            told_stale: false,
            missed: None,
        }
    }

    /// Those who went without the value until now.
    pub(super) fn take_missed(&mut self) -> impl Iterator<Item = StackKey> + use<> {
        self.missed.take().into_iter().flat_map(|missed| *missed)
    }

    pub(super) fn set_user(&mut self, stack: &StackKey, interval: Option<Duration>) {
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
    pub(super) fn interval(&self) -> Option<Duration> {
        self.users.iter().filter_map(|(_, interval)| *interval).min()
    }

    pub(super) fn interval_or_default(&self) -> Duration {
        self.interval().unwrap_or(crate::api::duration::DEFAULT_REFRESH_INTERVAL)
    }
}

impl State {
    pub(super) fn note_change(&mut self, store: &StoreKey, object: Option<&str>) {
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
    pub(super) fn changed_since(&self, store: &StoreKey, key: &Key, since: u64) -> bool {
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

    /// Returns the number of the timer.
    fn arm(&mut self, due: Instant, timer: Timer) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.timers.insert((due, number), timer);
        number
    }

    /// Has a key asked for again after `wait`, and not by an earlier timer.
    pub(super) fn arm_retry(&mut self, store: &StoreKey, key: &Arc<Key>, wait: Duration) {
        let timer = self.arm(Instant::now() + wait, Timer::Retry(store.clone(), Arc::clone(key)));
        let entry = self.stores.get_mut(store).and_then(|index| index.keys.get_mut(key));
        if let Some(entry) = entry {
            entry.retry = Some(Box::new(Retry { wait, timer: Some(timer) }));
        }
    }

    pub(super) fn arm_tick(
        &mut self,
        store: &StoreKey,
        interval: Duration,
        now: Instant,
        until: fn(&str, Duration, Duration) -> Duration,
    ) {
        if self.stores.get(store).is_none_or(|index| index.ticks.contains_key(&interval)) {
            return;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wait = until(&store.to_string(), interval, wall);
        let timer = self.arm(now + wait, Timer::Tick(store.clone(), interval));
        if let Some(index) = self.stores.get_mut(store) {
            index.ticks.insert(interval, timer);
        }
    }

    pub(super) fn drop_user<'a>(&mut self, stack: &StackKey, used: impl Iterator<Item = &'a Used>) {
        for (store, key) in used {
            let Some(index) = self.stores.get_mut(store) else { continue };
            let mut interval = None;
            if let Some(entry) = index.keys.get_mut(key) {
                entry.users.retain(|(user, _)| user != stack);
                if let Some(missed) = &mut entry.missed {
                    missed.remove(stack);
                }
                interval = entry.interval();
                if entry.users.is_empty() {
                    index.keys.remove(key);
                    index.dirty.remove(key);
                }
            }
            if index.keys.is_empty() && !index.running {
                self.stores.remove(store);
            } else if let Some(interval) = interval {
                // Nobody needed the tick of a longer interval until now.
                self.arm_tick(store, interval, Instant::now(), schedule::until_tick);
            }
        }
    }
}

/// Whether a key with this error is asked again before its tick: what is missing, unless a watch tells when it comes; what
/// passes; and what a person may cure in another place without our hearing of it.
pub(super) fn wants_retry(kind: ErrorKind, watched: bool) -> bool {
    match kind {
        ErrorKind::NotFound | ErrorKind::VersionNotFound | ErrorKind::PendingDeletion | ErrorKind::SourceNotFound => {
            !watched
        }
        ErrorKind::Unauthenticated
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
