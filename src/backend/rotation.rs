//! What stores tell of values that they rotate themselves.
//!
//! It is asked for apart from the value, when the value's version changed and twice a day: rotation moves the version, and
//! all else about it changes when a person changes it. No value ever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Backend, Key, Rotation};

/// After so long it is asked for again.
pub const KEPT: Duration = Duration::from_secs(12 * 60 * 60);

/// What one store told. Holds nothing for stores that rotate nothing.
pub struct Rotations {
    backend: Arc<dyn Backend>,
    told: Mutex<HashMap<Key, Told>>,
}

struct Told {
    /// The version that was seen last.
    version: String,
    /// When the store was asked about that version.
    asked: Option<Instant>,
    rotation: Option<Rotation>,
}

impl Rotations {
    /// Asks `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, told: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store last told about a value that was just read at this version, and whether it should be asked again.
    #[must_use]
    pub fn of(&self, key: &Key, version: &str) -> (Option<Rotation>, bool) {
        if !self.backend.rotates() {
            return (None, false);
        }
        let mut told = self.lock();
        let entry = told.entry(key.clone()).or_insert_with(|| Told {
            version: version.to_owned(),
            asked: None,
            rotation: None,
        });
        if entry.version != version {
            version.clone_into(&mut entry.version);
            entry.asked = None;
        }
        (entry.rotation.clone(), entry.asked.is_none_or(|asked| asked.elapsed() >= KEPT))
    }

    /// Asks the store and says whether it told something new; `None` if it did not answer. Cancel safe.
    pub async fn ask(&self, key: &Key) -> Option<bool> {
        let answer = self.backend.rotations(std::slice::from_ref(key)).await.into_iter().next();
        let rotation = match answer {
            Some(Ok(rotation)) => rotation,
            // Who may read a value and not its metadata is not asked for every sync.
            Some(Err(error)) if !error.kind.is_transient() => None,
            Some(Err(_)) | None => return None,
        };
        let mut told = self.lock();
        let entry = told.get_mut(key)?;
        entry.asked = Some(Instant::now());
        let changed = entry.rotation != rotation;
        entry.rotation = rotation;
        Some(changed)
    }
}

#[cfg(test)]
mod tests;
