//! What is remembered of a Stack between two syncs: versions and digests, never values.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::relations::StackKey;
use super::target::Remembered;
use crate::model::Uid;

/// What is remembered of one Stack. Gone after a restart; then each target is read once.
#[derive(Default)]
pub struct Recollection {
    /// Tells a Stack from its successor of the same name.
    uid: Uid,
    /// By target name. Few, and one of these is there for each Stack: a list is a quarter of a map's size.
    targets: Vec<(Box<str>, Remembered)>,
    /// What most Stacks have nothing of.
    pub trouble: Trouble,
}

/// What is remembered of a Stack that does not go smoothly.
#[derive(Default)]
pub struct Trouble {
    /// When an optional secret was first found missing, by component and NAME.
    pub missing_since: HashMap<(Box<str>, Box<str>), Instant>,
    /// Since when every sync has to be tried again.
    pub failing: Option<Instant>,
    /// Since when a write is refused for a reason that only others can cure.
    pub refused: Option<Instant>,
    /// By target name, where another writer undid what we wrote.
    pub fights: HashMap<Box<str>, Fight>,
    /// By target name, until when the API server asked us to leave it alone.
    pub waits: HashMap<Box<str>, Instant>,
    /// By target name, the version of the Secret that keeps us from writing; `None` if it is that there is no Secret.
    pub hindrances: HashMap<Box<str>, Option<Box<str>>>,
}

/// Two writers at one Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fight {
    /// How often we undid the other's change.
    undone: u32,
    /// When last.
    last: Instant,
}

/// So many changes by somebody else are undone at once: a person makes them, and wants to see them repaired.
const AT_ONCE: u32 = 3;
/// How long a change stays after that: first, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// After so long without a change a fight is over.
const PEACE: Duration = Duration::from_secs(600);

impl Recollection {
    /// What is remembered of a target.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Remembered> {
        self.targets.iter().find(|(known, _)| **known == *name).map(|(_, remembered)| remembered)
    }

    /// Remembers a target, or forgets it.
    pub fn set_target(&mut self, name: &str, remembered: Option<Remembered>) {
        let known = self.targets.iter().position(|(known, _)| **known == *name);
        match (known, remembered) {
            (Some(index), Some(remembered)) => {
                if let Some((_, before)) = self.targets.get_mut(index) {
                    *before = remembered;
                }
            }
            (Some(index), None) => {
                self.targets.swap_remove(index);
            }
            (None, Some(remembered)) => {
                self.targets.reserve_exact(1);
                self.targets.push((name.into(), remembered));
            }
            (None, None) => {}
        }
    }

    /// Forgets the targets that are not among these.
    pub fn keep_targets(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.targets.retain(|(name, _)| is_kept(name));
        self.trouble.fights.retain(|name, _| is_kept(name));
        self.trouble.waits.retain(|name, _| is_kept(name));
    }
}

impl Trouble {
    fn is_empty(&self) -> bool {
        let Self { missing_since, failing, refused, fights, waits, hindrances } = self;
        let is_at_peace = fights.is_empty() && waits.is_empty() && hindrances.is_empty();
        missing_since.is_empty() && failing.is_none() && refused.is_none() && is_at_peace
    }

    /// How long to wait before the next try: 0.5 s doubling to 30 s.
    pub fn back_off(&mut self, now: Instant) -> Duration {
        wait_as_long(self.failing.get_or_insert(now), now, Duration::from_millis(500), Duration::from_secs(30))
    }

    /// How long to wait before a refused write is tried again: 30 s doubling to 5 min.
    pub fn ask_again(&mut self, now: Instant) -> Duration {
        wait_as_long(self.refused.get_or_insert(now), now, Duration::from_secs(30), Duration::from_secs(300))
    }

    /// How long another writer's change to a target stays from now on. Zero for the first few.
    #[must_use]
    pub fn patience(&self, target: &str, now: Instant) -> Duration {
        let Some(Fight { undone, last }) = self.fights.get(target) else { return Duration::ZERO };
        let since = now.duration_since(*last);
        let Some(rounds) = undone.checked_sub(AT_ONCE) else { return Duration::ZERO };
        let whole = (PATIENCE.0 * 2u32.saturating_pow(rounds.min(5))).min(PATIENCE.1);
        whole.saturating_sub(since)
    }

    /// How long the API server wants a target to be left alone from now on, whatever asks for it meanwhile.
    #[must_use]
    pub fn asked_to_wait(&self, target: &str, now: Instant) -> Option<Duration> {
        self.waits.get(target).map(|until| until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Takes note of how long the API server wants a target to be left alone.
    pub fn wait(&mut self, target: &str, until: Instant) {
        self.waits.insert(target.into(), until);
    }

    /// Takes note that another writer's change was undone.
    pub fn undid(&mut self, target: &str, now: Instant) {
        let fight = self.fights.entry(target.into()).or_insert(Fight { undone: 0, last: now });
        if now.duration_since(fight.last) > PEACE {
            fight.undone = 0;
        }
        fight.undone = fight.undone.saturating_add(1);
        fight.last = now;
    }
}

/// As long as it lasts already, which doubles from try to try and does not grow when something else asks in between.
fn wait_as_long(since: &Instant, now: Instant, first: Duration, longest: Duration) -> Duration {
    now.duration_since(*since).clamp(first, longest)
}

/// All Stacks.
#[derive(Default)]
pub struct Memory {
    stacks: Mutex<HashMap<StackKey, Kept>>,
    /// Since when the syncs of a Stack do not come to their end.
    unfinished: Mutex<HashMap<StackKey, Instant>>,
}

/// A [`Recollection`] between two syncs: small, since there is one for each Stack.
struct Kept {
    uid: Uid,
    targets: Box<[(Box<str>, Remembered)]>,
    trouble: Option<Box<Trouble>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<StackKey, Kept>> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is remembered of a Stack; put it back after the sync. Nothing, if another of the same name had it.
    #[must_use]
    pub fn take(&self, stack: &StackKey, uid: &str) -> Recollection {
        let uid = Uid::from(uid);
        let found = self.lock().remove(stack).filter(|kept| kept.uid == uid);
        match found {
            Some(Kept { uid, targets, trouble }) => Recollection {
                uid,
                targets: targets.into_vec(),
                trouble: trouble.map(|boxed| *boxed).unwrap_or_default(),
            },
            None => Recollection { uid, ..Recollection::default() },
        }
    }

    /// Puts it back.
    pub fn put(&self, stack: &StackKey, recollection: Recollection) {
        let Recollection { uid, targets, trouble } = recollection;
        let trouble = (!trouble.is_empty()).then(|| Box::new(trouble));
        let kept = Kept { uid, targets: targets.into_boxed_slice(), trouble };
        self.lock().insert(stack.clone(), kept);
    }

    /// Takes note that a sync did not come to its end. Returns for how long none did.
    pub fn did_not_finish(&self, stack: &StackKey) -> Duration {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished.entry(stack.clone()).or_insert_with(Instant::now).elapsed()
    }

    /// Takes note that a sync came to its end.
    pub fn finished(&self, stack: &StackKey) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if unfinished.remove(stack).is_some() && unfinished.is_empty() {
            // In an outage it was large.
            *unfinished = HashMap::new();
        }
    }

    /// Forgets a Stack.
    pub fn forget(&self, stack: &StackKey) {
        self.lock().remove(stack);
        self.finished(stack);
    }

    /// The targets of a Stack and the versions at which they were left: `None` if there was no Secret.
    #[must_use]
    pub fn versions(&self, stack: &StackKey) -> Vec<(Box<str>, Option<Box<str>>)> {
        let stacks = self.lock();
        let Some(kept) = stacks.get(stack) else { return Vec::new() };
        let written = kept.targets.iter().map(|(name, known)| (name.clone(), Some(known.resource_version.clone())));
        let hindrances = kept.trouble.iter().flat_map(|trouble| &trouble.hindrances);
        written.chain(hindrances.map(|(name, version)| (name.clone(), version.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_never_gives_up_is_met_ever_more_slowly() {
        let mut memory = Trouble::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = memory.patience("orders", Instant::now());
            waits.push(wait.as_secs());
            tokio::time::advance(wait).await;
            assert_eq!(memory.patience("orders", Instant::now()), Duration::ZERO, "the wait is over");
            memory.undid("orders", Instant::now());
        }
        assert_eq!(waits, [0, 0, 0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(memory.patience("others", Instant::now()), Duration::ZERO, "each target has its own");
        tokio::time::advance(PEACE + Duration::from_secs(1)).await;
        memory.undid("orders", Instant::now());
        assert_eq!(memory.patience("orders", Instant::now()), Duration::ZERO, "after a long peace it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_writes_are_tried_again_ever_more_slowly() {
        let mut memory = Trouble::default();
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = memory.ask_again(Instant::now());
            assert_eq!(memory.ask_again(Instant::now()), wait, "asking twice costs nothing");
            waits.push(wait.as_secs());
            tokio::time::advance(wait).await;
        }
        assert_eq!(waits, [30, 30, 60, 120, 240, 300, 300]);
    }
}
