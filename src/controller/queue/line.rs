//! What waits for a turn in one lane of the queue: keys that were not begun, and work that comes back.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::USUAL_ROOM;

/// Both kinds first in, first out; where both wait, they take turns alternately.
pub(super) struct Line<K> {
    begin: VecDeque<K>,
    go_on: VecDeque<(K, oneshot::Sender<()>)>,
    /// Whether the last turn went to work that came back.
    went_on: bool,
}

/// What has the next turn.
pub(super) enum Next<K> {
    /// A key that was not begun.
    Begin(K),
    /// Work that came back; it hears of its turn by this.
    GoOn(K, oneshot::Sender<()>),
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self { begin: VecDeque::new(), go_on: VecDeque::new(), went_on: false }
    }
}

impl<K: Eq> Line<K> {
    pub(super) fn begin(&mut self, key: K) {
        self.begin.push_back(key);
    }

    pub(super) fn go_on(&mut self, key: K, turn: oneshot::Sender<()>) {
        self.go_on.push_back((key, turn));
    }

    /// Forgets a key that was not begun.
    pub(super) fn remove(&mut self, key: &K) {
        self.begin.retain(|other| other != key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.go_on.is_empty()
    }

    pub(super) fn not_begun(&self) -> usize {
        self.begin.len()
    }

    pub(super) fn pop(&mut self) -> Option<Next<K>> {
        self.went_on = !self.go_on.is_empty() && (!self.went_on || self.begin.is_empty());
        if self.went_on {
            self.go_on.pop_front().map(|(key, turn)| Next::GoOn(key, turn))
        } else {
            self.begin.pop_front().map(Next::Begin)
        }
    }

    /// Takes out all work that came back.
    pub(super) fn take_returning(&mut self) -> impl Iterator<Item = (K, oneshot::Sender<()>)> + use<K> {
        std::mem::take(&mut self.go_on).into_iter()
    }

    /// Lets go of the room that a start or a large change needed.
    pub(super) fn let_go(&mut self) {
        if self.begin.is_empty() && self.begin.capacity() > USUAL_ROOM {
            self.begin = VecDeque::new();
        }
        if self.go_on.is_empty() && self.go_on.capacity() > USUAL_ROOM {
            self.go_on = VecDeque::new();
        }
    }
}
