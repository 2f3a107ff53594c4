//! The work queue: each key once, two lanes, a number of turns, never two workers on one key.
//!
//! kube's `Controller` is one FIFO over a reflector that holds whole objects. This queue holds keys only. What a person
//! changed ([`Lane::User`]) goes before what a refresh or a restart found ([`Lane::Background`]), so that an edit does
//! not wait behind thousands of routine items.
//!
//! ```text
//! add ─▶ lane ──a turn is free──▶ handed out ──────────────────────────▶ done
//!         ▲                        │      ▲
//!         │                     away: the turn goes to somebody else
//!         └── back: in line again ─┘
//! ```
//!
//! # Guarantees
//! 1. A key that is queued is not queued twice; the earlier time and the more urgent lane win.
//! 2. A key that is being worked on is not handed out again; adding it meanwhile runs it once more afterwards.
//! 3. Within a lane, first in is first out. The background lane is never starved: after 16 items of the user lane in a
//!    row, one background item goes first.
//! 4. No more keys are worked on at once than there are turns. Work that waits for something far away has no turn
//!    meanwhile ([`Queue::away`]) and takes nobody's: only the number of keys bounds how many wait.
//! 5. Where work that comes back and keys that were not begun wait in one lane, they take turns alternately. So what is
//!    begun ends, and thousands that come back at once do not hold up an edit.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::line::{Line, Next};

/// How urgent an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A person waits for it.
    User,
    /// Routine.
    Background,
}

/// One background item is let through after so many user items in a row.
const STARVATION_LIMIT: u32 = 16;

/// Room for so many keys is kept while there are none.
const USUAL_ROOM: usize = 64;

/// See the module documentation.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    keys: HashMap<K, Slot>,
    user: Line<K>,
    background: Line<K>,
    /// Keys that wait for a time. The number keeps entries of one instant apart.
    delayed: BTreeMap<(Instant, u64), (K, Lane)>,
    next_number: u64,
    user_in_a_row: u32,
    turns: usize,
    /// Keys that have a turn.
    running: usize,
    /// Keys that are handed out and have none.
    away: usize,
    closed: bool,
}

#[derive(Default)]
struct Slot {
    /// In a lane.
    queued: Option<Lane>,
    /// In `delayed`.
    due: Option<(Instant, u64)>,
    /// Handed out.
    work: Option<Work>,
    /// Asked for again while handed out.
    again: Option<Lane>,
}

/// A key that is handed out.
#[derive(Clone, Copy)]
struct Work {
    lane: Lane,
    has_turn: bool,
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.queued.is_none() && self.due.is_none() && self.work.is_none() && self.again.is_none()
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue that lets so many keys be worked on at once.
    #[must_use]
    pub fn new(turns: usize) -> Self {
        Self {
            state: Mutex::new(State {
                keys: HashMap::new(),
                user: Line::default(),
                background: Line::default(),
                delayed: BTreeMap::new(),
                next_number: 0,
                user_in_a_row: 0,
                turns,
                running: 0,
                away: 0,
                closed: false,
            }),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // The state is consistent after every statement that can panic, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for `key` now.
    pub fn add(&self, key: K, lane: Lane) {
        let mut state = self.lock();
        state.push(key, lane);
        drop(state);
        self.changed.notify_one();
    }

    /// Asks for `key` after `delay`, unless it is asked for earlier.
    pub fn add_after(&self, key: K, lane: Lane, delay: Duration) {
        if delay.is_zero() {
            return self.add(key, lane);
        }
        let due = Instant::now() + delay;
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        let slot = state.keys.entry(key.clone()).or_default();
        if slot.queued.is_some() {
            return;
        }
        if let Some(earlier) = slot.due {
            if earlier.0 <= due {
                return;
            }
            slot.due = Some((due, number));
            state.delayed.remove(&earlier);
        } else {
            slot.due = Some((due, number));
        }
        state.delayed.insert((due, number), (key, lane));
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets a key: it is not handed out any more unless it is added again.
    pub fn remove(&self, key: &K) {
        let mut state = self.lock();
        let Some(slot) = state.keys.get_mut(key) else { return };
        let (queued, due) = (slot.queued.take(), slot.due.take());
        slot.again = None;
        let idle = slot.is_idle();
        if let Some(lane) = queued {
            state.line(lane).remove(key);
        }
        if let Some(due) = due {
            state.delayed.remove(&due);
        }
        if idle {
            state.keys.remove(key);
        }
    }

    /// Waits for the next key, and for a turn. `None` after [`close`](Self::close). Cancel safe.
    ///
    /// Every key that is handed out must be given back with [`done`](Self::done).
    pub async fn next(&self) -> Option<(K, Lane)> {
        loop {
            let notified = self.changed.notified();
            let wake = {
                let mut state = self.lock();
                if state.closed {
                    self.changed.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(item) = state.hand_out() {
                    if state.running < state.turns && !(state.user.is_empty() && state.background.is_empty()) {
                        self.changed.notify_one();
                    }
                    return Some(item);
                }
                state.delayed.keys().next().map(|(due, _)| *due)
            };
            match wake {
                Some(due) => {
                    tokio::select! {
                        () = notified => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => notified.await,
            }
        }
    }

    /// Waits for something far away on behalf of a key that was handed out, while others have its turn. Returns when it
    /// has a turn again.
    ///
    /// Cancel safe: a key whose work is dropped meanwhile is given back like any other. Without anybody in
    /// [`next`](Self::next) nobody gets a turn; after [`close`](Self::close) everybody has one at once.
    pub async fn away<T>(&self, key: &K, wait: impl Future<Output = T>) -> T {
        if self.lock().leave(key) {
            self.changed.notify_one();
        }
        let result = wait.await;
        let turn = self.lock().come_back(key);
        if let Some(turn) = turn {
            self.changed.notify_one();
            // The sender is kept until it has sent: the error cannot be.
            let _ = turn.await;
        }
        result
    }

    /// Gives a key back, and its turn if it has one.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        let Some(slot) = state.keys.get_mut(key) else { return };
        let (work, again, idle) = (slot.work.take(), slot.again.take(), slot.is_idle());
        match work {
            Some(Work { lane: _, has_turn: true }) => state.running = state.running.saturating_sub(1),
            Some(Work { lane: _, has_turn: false }) => state.away = state.away.saturating_sub(1),
            None => {}
        }
        if let Some(lane) = again {
            state.push(key.clone(), lane);
        } else if idle {
            state.keys.remove(key);
            state.let_go();
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Hands out nothing any more; keys that are handed out may finish.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let returning: Vec<_> = state.user.take_returning().chain(state.background.take_returning()).collect();
        for (key, turn) in returning {
            state.resume(&key, turn);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many keys wait now in each lane, wait for a time, run, and are away.
    pub fn depth(&self) -> Depth {
        let state = self.lock();
        Depth {
            user: state.user.not_begun(),
            background: state.background.not_begun(),
            delayed: state.delayed.len(),
            running: state.running,
            away: state.away,
        }
    }
}

/// See [`Queue::depth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// In the user lane.
    pub user: usize,
    /// In the background lane.
    pub background: usize,
    /// Waiting for a time.
    pub delayed: usize,
    /// Handed out, with a turn.
    pub running: usize,
    /// Handed out, without one: see [`Queue::away`].
    pub away: usize,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn push(&mut self, key: K, lane: Lane) {
        let slot = self.keys.entry(key.clone()).or_default();
        if let Some(due) = slot.due.take() {
            self.delayed.remove(&due);
        }
        if slot.work.is_some() {
            slot.again = Some(slot.again.map_or(lane, |before| before.min(lane)));
            return;
        }
        match (slot.queued, lane) {
            (Some(Lane::User), _) | (Some(Lane::Background), Lane::Background) => return,
            (Some(Lane::Background), Lane::User) => {
                slot.queued = Some(Lane::User);
                self.background.remove(&key);
            }
            (None, lane) => slot.queued = Some(lane),
        }
        self.line(lane).begin(key);
    }

    fn line(&mut self, lane: Lane) -> &mut Line<K> {
        match lane {
            Lane::User => &mut self.user,
            Lane::Background => &mut self.background,
        }
    }

    /// Lets go of the room that a start or a large change needed.
    fn let_go(&mut self) {
        if self.keys.is_empty() && self.keys.capacity() > USUAL_ROOM {
            self.keys = HashMap::new();
        }
        self.user.let_go();
        self.background.let_go();
    }

    /// Moves what is due into the lanes.
    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (key, lane) = entry.remove();
            if let Some(slot) = self.keys.get_mut(&key) {
                slot.due = None;
            }
            self.push(key, lane);
        }
    }

    /// Gives free turns to what comes back, until it is a new key's turn: that one is returned.
    fn hand_out(&mut self) -> Option<(K, Lane)> {
        while self.running < self.turns {
            let (next, lane) = self.pop()?;
            match next {
                Next::Begin(key) => {
                    if let Some(slot) = self.keys.get_mut(&key) {
                        slot.queued = None;
                        slot.work = Some(Work { lane, has_turn: true });
                    }
                    self.running += 1;
                    return Some((key, lane));
                }
                Next::GoOn(key, turn) => self.resume(&key, turn),
            }
        }
        None
    }

    fn pop(&mut self) -> Option<(Next<K>, Lane)> {
        let starving = self.user_in_a_row >= STARVATION_LIMIT && !self.background.is_empty();
        if starving || self.user.is_empty() {
            self.user_in_a_row = 0;
            Some((self.background.pop()?, Lane::Background))
        } else {
            self.user_in_a_row = self.user_in_a_row.saturating_add(1);
            Some((self.user.pop()?, Lane::User))
        }
    }

    /// Takes the turn of a key that is handed out. `false` if it has none.
    fn leave(&mut self, key: &K) -> bool {
        let work = self.keys.get_mut(key).and_then(|slot| slot.work.as_mut());
        let Some(work) = work.filter(|work| work.has_turn) else { return false };
        work.has_turn = false;
        self.running = self.running.saturating_sub(1);
        self.away += 1;
        true
    }

    /// Puts a key that is away in line for a turn; `None` if it has one now.
    fn come_back(&mut self, key: &K) -> Option<oneshot::Receiver<()>> {
        let slot = self.keys.get(key)?;
        let Work { lane, has_turn } = slot.work?;
        if has_turn {
            return None;
        }
        // Who wants it meanwhile wants this to end.
        let lane = slot.again.map_or(lane, |again| again.min(lane));
        let (turn, receiver) = oneshot::channel();
        let nobody_waits = self.user.is_empty() && self.background.is_empty();
        if self.closed || (nobody_waits && self.running < self.turns) {
            self.resume(key, turn);
            return None;
        }
        self.line(lane).go_on(key.clone(), turn);
        Some(receiver)
    }

    /// Gives a turn to a key that was away, unless its work was dropped meanwhile.
    fn resume(&mut self, key: &K, turn: oneshot::Sender<()>) {
        if turn.send(()).is_err() {
            return;
        }
        if let Some(work) = self.keys.get_mut(key).and_then(|slot| slot.work.as_mut()) {
            work.has_turn = true;
            self.away = self.away.saturating_sub(1);
            self.running += 1;
        }
    }
}
