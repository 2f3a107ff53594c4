//! What is remembered of a Stack between two syncs: versions and digests, never values.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::relations::StackKey;
use super::target::Remembered;

/// What is remembered of one Stack. Gone after a restart; then each target is read once.
#[derive(Default)]
pub struct Recollection {
    /// Tells a Stack from its successor of the same name.
    pub uid: Box<str>,
    /// By target name.
    pub targets: HashMap<Box<str>, Remembered>,
    /// When an optional secret was first found missing, by component and NAME.
    pub missing_since: HashMap<(Box<str>, Box<str>), Instant>,
    /// How often in a row the last syncs have to be tried again.
    pub failures: u32,
}

impl Recollection {
    /// How long to wait before the next try: 0.5 s doubling to 1 min.
    pub fn back_off(&mut self) -> Duration {
        let wait = Duration::from_millis(500) * 2u32.saturating_pow(self.failures.min(7));
        self.failures = self.failures.saturating_add(1);
        wait.min(Duration::from_secs(60))
    }
}

/// All Stacks.
#[derive(Default)]
pub struct Memory {
    stacks: Mutex<HashMap<StackKey, Recollection>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<StackKey, Recollection>> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is remembered of a Stack; put it back after the sync. Nothing, if another of the same name had it.
    #[must_use]
    pub fn take(&self, stack: &StackKey, uid: &str) -> Recollection {
        let found = self.lock().remove(stack).filter(|recollection| &*recollection.uid == uid);
        found.unwrap_or_else(|| Recollection { uid: uid.into(), ..Recollection::default() })
    }

    /// Puts it back.
    pub fn put(&self, stack: &StackKey, recollection: Recollection) {
        self.lock().insert(stack.clone(), recollection);
    }

    /// Forgets a Stack.
    pub fn forget(&self, stack: &StackKey) {
        self.lock().remove(stack);
    }

    /// The targets of a Stack and their versions.
    #[must_use]
    pub fn versions(&self, stack: &StackKey) -> Vec<(Box<str>, Box<str>)> {
        let stacks = self.lock();
        let Some(recollection) = stacks.get(stack) else { return Vec::new() };
        recollection
            .targets
            .iter()
            .map(|(name, remembered)| (name.clone(), remembered.resource_version.clone()))
            .collect()
    }
}
