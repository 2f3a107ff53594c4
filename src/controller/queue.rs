//! The work queue: each key once, two lanes, never two workers on one key.
//!
//! kube's `Controller` is one FIFO over a reflector that holds whole objects. This queue holds keys only. What a person
//! changed ([`Lane::User`]) goes before what a refresh or a restart found ([`Lane::Background`]), so that an edit does
//! not wait behind thousands of routine items.
//!
//! # Guarantees
//! 1. A key that is queued is not queued twice; the earlier time and the more urgent lane win.
//! 2. A key that is being worked on is not handed out again; adding it meanwhile runs it once more afterwards.
//! 3. Within a lane, first in is first out. The background lane is never starved: after 16 items of the user lane in a
//!    row, one background item goes first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

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
    user: VecDeque<K>,
    background: VecDeque<K>,
    /// Keys that wait for a time. The number keeps entries of one instant apart.
    delayed: BTreeMap<(Instant, u64), (K, Lane)>,
    next_number: u64,
    user_in_a_row: u32,
    running: usize,
    closed: bool,
}

#[derive(Default)]
struct Slot {
    /// In a lane.
    queued: Option<Lane>,
    /// In `delayed`.
    due: Option<(Instant, u64)>,
    running: bool,
    /// Asked for again while running.
    again: Option<Lane>,
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.queued.is_none() && self.due.is_none() && !self.running && self.again.is_none()
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                keys: HashMap::new(),
                user: VecDeque::new(),
                background: VecDeque::new(),
                delayed: BTreeMap::new(),
                next_number: 0,
                user_in_a_row: 0,
                running: 0,
                closed: false,
            }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
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
        match queued {
            Some(Lane::User) => state.user.retain(|other| other != key),
            Some(Lane::Background) => state.background.retain(|other| other != key),
            None => {}
        }
        if let Some(due) = due {
            state.delayed.remove(&due);
        }
        if idle {
            state.keys.remove(key);
        }
    }

    /// Waits for the next key. `None` after [`close`](Self::close). Cancel safe.
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
                if let Some(item) = state.pop() {
                    if !state.user.is_empty() || !state.background.is_empty() {
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

    /// Gives a key back.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        state.running = state.running.saturating_sub(1);
        let Some(slot) = state.keys.get_mut(key) else { return };
        slot.running = false;
        if let Some(lane) = slot.again.take() {
            state.push(key.clone(), lane);
            drop(state);
            self.changed.notify_one();
        } else if slot.is_idle() {
            state.keys.remove(key);
            state.let_go();
        }
    }

    /// Hands out nothing any more; running keys may finish.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// How many keys wait now in each lane, wait for a time, and run.
    pub fn depth(&self) -> Depth {
        let state = self.lock();
        Depth {
            user: state.user.len(),
            background: state.background.len(),
            delayed: state.delayed.len(),
            running: state.running,
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
    /// Handed out.
    pub running: usize,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn push(&mut self, key: K, lane: Lane) {
        let slot = self.keys.entry(key.clone()).or_default();
        if let Some(due) = slot.due.take() {
            self.delayed.remove(&due);
        }
        if slot.running {
            slot.again = Some(slot.again.map_or(lane, |before| before.min(lane)));
            return;
        }
        match (slot.queued, lane) {
            (Some(Lane::User), _) | (Some(Lane::Background), Lane::Background) => {}
            (Some(Lane::Background), Lane::User) => {
                slot.queued = Some(Lane::User);
                self.background.retain(|other| *other != key);
                self.user.push_back(key);
            }
            (None, Lane::User) => {
                slot.queued = Some(Lane::User);
                self.user.push_back(key);
            }
            (None, Lane::Background) => {
                slot.queued = Some(Lane::Background);
                self.background.push_back(key);
            }
        }
    }

    /// Lets go of the room that a start or a large change needed.
    fn let_go(&mut self) {
        if self.keys.is_empty() && self.keys.capacity() > USUAL_ROOM {
            self.keys = HashMap::new();
        }
        for lane in [&mut self.user, &mut self.background] {
            if lane.is_empty() && lane.capacity() > USUAL_ROOM {
                *lane = VecDeque::new();
            }
        }
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

    fn pop(&mut self) -> Option<(K, Lane)> {
        let background_first = self.user_in_a_row >= STARVATION_LIMIT && !self.background.is_empty();
        let (key, lane) = match (background_first, self.user.pop_front()) {
            (false, Some(key)) => {
                self.user_in_a_row = self.user_in_a_row.saturating_add(1);
                (key, Lane::User)
            }
            (true, Some(key)) => {
                self.user.push_front(key);
                self.user_in_a_row = 0;
                (self.background.pop_front()?, Lane::Background)
            }
            (_, None) => {
                self.user_in_a_row = 0;
                (self.background.pop_front()?, Lane::Background)
            }
        };
        if let Some(slot) = self.keys.get_mut(&key) {
            slot.queued = None;
            slot.running = true;
        }
        self.running += 1;
        Some((key, lane))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once_and_runs_alone() {
        let queue = Queue::default();
        queue.add("a", Lane::Background);
        queue.add("a", Lane::Background);
        assert_eq!(queue.next().await, Some(("a", Lane::Background)));
        queue.add("a", Lane::User);
        queue.add("b", Lane::Background);
        assert_eq!(queue.next().await, Some(("b", Lane::Background)), "a is running and must not be handed out");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some(("a", Lane::User)));
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(queue.depth(), Depth { user: 0, background: 0, delayed: 0, running: 0 });
        assert!(queue.lock().keys.is_empty(), "an idle key costs no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn people_go_first_and_nobody_starves() {
        let queue = Queue::default();
        for number in 0..3 {
            queue.add(1000 + number, Lane::Background);
        }
        for number in 0..40 {
            queue.add(number, Lane::User);
        }
        let mut order = Vec::new();
        for _ in 0..43 {
            order.push(queue.next().await.unwrap().0);
        }
        assert_eq!(order.first(), Some(&0));
        let first_background = order.iter().position(|key| *key == 1000).unwrap();
        assert_eq!(first_background, STARVATION_LIMIT as usize);
        assert_eq!(order.len(), 43);
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_request_overtakes() {
        let queue = Queue::default();
        queue.add("slow", Lane::Background);
        queue.add("edited", Lane::Background);
        queue.add("edited", Lane::User);
        assert_eq!(queue.next().await, Some(("edited", Lane::User)));
        assert_eq!(queue.next().await, Some(("slow", Lane::Background)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_time_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Lane::Background, Duration::from_secs(60));
        queue.add_after("a", Lane::Background, Duration::from_secs(10));
        queue.add_after("a", Lane::Background, Duration::from_secs(30));
        assert_eq!(queue.next().await, Some(("a", Lane::Background)));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        queue.add_after("a", Lane::Background, Duration::from_secs(60));
        queue.done(&"a");
        queue.add("a", Lane::User);
        assert_eq!(queue.next().await, Some(("a", Lane::User)));
        queue.done(&"a");
        assert_eq!(queue.depth().delayed, 0, "a request now replaces the one for later");
    }

    #[tokio::test(start_paused = true)]
    async fn removed_keys_do_not_come_back() {
        let queue = Queue::default();
        queue.add("a", Lane::User);
        queue.add_after("b", Lane::User, Duration::from_secs(1));
        queue.remove(&"a");
        queue.remove(&"b");
        let waiting = tokio::time::timeout(Duration::from_secs(5), queue.next()).await;
        assert!(waiting.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_wakes_every_worker() {
        let queue = Arc::new(Queue::<u32>::default());
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn many_workers_share_all_keys() {
        let queue = Arc::new(Queue::default());
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move {
                    let mut seen = 0usize;
                    while let Some((key, _)) = queue.next().await {
                        tokio::task::yield_now().await;
                        queue.done(&key);
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        for number in 0..1000 {
            queue.add(number, Lane::Background);
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        while queue.depth() != (Depth { user: 0, background: 0, delayed: 0, running: 0 }) {
            tokio::task::yield_now().await;
        }
        queue.close();
        let mut total = 0;
        for worker in workers {
            total += worker.await.unwrap();
        }
        assert_eq!(total, 1000);
    }
}
