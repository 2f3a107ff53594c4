//! Stacks that the watch delivered and no sync has taken yet, so that their sync need not ask for them again.
//!
//! # Guarantees
//! 1. What [`take`](Pending::take) returns is never older than a version that was held before, or than a status that we
//!    wrote: a sync that took its own earlier status for the stored one would leave wrong fields standing.
//! 2. A watch that broke tells of no change, so nothing that it delivered is held on ([`clear`](Pending::clear)).
//! 3. All texts together stay below [`MOST_BYTES`]. What does not fit is read when its sync is due.

use std::collections::HashMap;

use super::object::StackObject;
use crate::controller::relations::StackKey;

/// At a start every Stack is held until its sync. This is enough for some ten thousand that are new, and some three
/// thousand that have a status, and little against what a process of that size needs.
const MOST_BYTES: usize = 8 << 20;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Pending {
    held: HashMap<StackKey, Held>,
    bytes: usize,
    /// Versions of our own status writes that the watch has not told of yet.
    written: HashMap<StackKey, u64>,
    /// The last version that the watch told of.
    told: u64,
}

struct Held {
    version: u64,
    /// JSON: a fifth of the size of what it is decoded to.
    text: Box<[u8]>,
}

impl Pending {
    /// Holds an object that a sync will be asked for.
    pub(super) fn hold(&mut self, key: &StackKey, object: StackObject) {
        self.drop_held(key);
        let Some(version) = object.version_number() else { return };
        let Ok(text) = serde_json::to_vec(&object) else { return };
        if self.bytes + text.len() > MOST_BYTES {
            return;
        }
        self.bytes += text.len();
        self.held.insert(key.clone(), Held { version, text: text.into_boxed_slice() });
    }

    /// Holds an object in place of an earlier version, if one is held.
    pub(super) fn renew(&mut self, key: &StackKey, object: StackObject) {
        if self.held.contains_key(key) {
            self.hold(key, object);
        }
    }

    /// The held object; not held any more.
    pub(super) fn take(&mut self, key: &StackKey) -> Option<StackObject> {
        let Held { version, text } = self.drop_held(key)?;
        if self.written.get(key).is_some_and(|written| version < *written) {
            return None;
        }
        serde_json::from_slice(&text).ok()
    }

    /// Takes note of a version that our own write made.
    pub(super) fn wrote(&mut self, key: &StackKey, version: u64) {
        if version > self.told {
            self.written.insert(key.clone(), version);
        }
    }

    /// Takes note of a version that the watch, or a list, told.
    pub(super) fn told(&mut self, key: &StackKey, version: Option<u64>) {
        if version.is_some_and(|version| self.written.get(key).is_some_and(|written| *written <= version)) {
            self.written.remove(key);
        }
    }

    /// Takes note that the watch, which tells of versions in their order, is so far.
    pub(super) fn told_up_to(&mut self, version: Option<u64>) {
        self.told = self.told.max(version.unwrap_or_default());
    }

    /// Forgets a Stack that is gone.
    pub(super) fn forget(&mut self, key: &StackKey) {
        self.drop_held(key);
        self.written.remove(key);
    }

    /// Holds nothing any more.
    pub(super) fn clear(&mut self) {
        self.held = HashMap::new();
        self.bytes = 0;
    }

    fn drop_held(&mut self, key: &StackKey) -> Option<Held> {
        let held = self.held.remove(key)?;
        self.bytes = self.bytes.saturating_sub(held.text.len());
        if self.held.is_empty() {
            // After a start it was large.
            self.held = HashMap::new();
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;

    fn stack(version: &str, filling: usize) -> StackObject {
        let stack = json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack",
            "metadata": {
                "name": "prod", "namespace": "payments", "uid": "u", "resourceVersion": version, "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"secrets.atmos.tools/sync-requested-at": "now", "last-applied": "x".repeat(99)},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"anything": [1, 2.5, null, {"goes": "x".repeat(filling)}]},
            "status": {"initialized": "1/1"},
        });
        serde_json::from_str(&stack.to_string()).unwrap()
    }

    fn key() -> StackKey {
        StackKey::new("payments", "prod")
    }

    fn taken(pending: &mut Pending) -> Option<u64> {
        pending.take(&key()).map(|object| object.version_number().unwrap())
    }

    #[test]
    fn what_is_held_is_given_once_and_whole() {
        let mut pending = Pending::default();
        pending.hold(&key(), stack("7", 1));
        let object = pending.take(&key()).unwrap();
        assert_eq!(serde_json::to_value(&object).unwrap(), serde_json::to_value(stack("7", 1)).unwrap());
        assert_eq!(object.mark(), stack("8", 2).mark(), "uid, age, generation and sync request");
        assert_eq!((taken(&mut pending), pending.bytes), (None, 0));
    }

    #[test]
    fn a_later_event_renews_what_is_held_and_holds_nothing_else() {
        let mut pending = Pending::default();
        pending.renew(&key(), stack("6", 1));
        assert_eq!(taken(&mut pending), None);
        pending.hold(&key(), stack("7", 1));
        pending.renew(&key(), stack("8", 1));
        assert_eq!(taken(&mut pending), Some(8));
    }

    #[test]
    fn nothing_older_than_our_own_status_is_given() {
        let mut pending = Pending::default();
        // The edit was version 10, our status 11, and the watch is not so far.
        pending.wrote(&key(), 11);
        pending.hold(&key(), stack("10", 1));
        assert_eq!(taken(&mut pending), None);
        pending.hold(&key(), stack("10", 1));
        pending.told(&key(), Some(11));
        pending.renew(&key(), stack("11", 1));
        assert_eq!(taken(&mut pending), Some(11));
        assert!(pending.written.is_empty(), "what the watch has told is not remembered");
        pending.told_up_to(Some(20));
        pending.wrote(&key(), 15);
        assert!(pending.written.is_empty(), "nor what it had told before");
    }

    #[test]
    fn bytes_are_bounded_and_counted() {
        let mut pending = Pending::default();
        for number in 0..20 {
            pending.hold(&StackKey::new("payments", &format!("s{number}")), stack("7", 1 << 20));
        }
        assert!(pending.bytes <= MOST_BYTES && pending.held.len() == 7, "{} bytes", pending.bytes);
        for number in 0..20 {
            pending.forget(&StackKey::new("payments", &format!("s{number}")));
        }
        assert_eq!((pending.bytes, pending.held.len()), (0, 0));
        pending.hold(&key(), stack("not a number", 1));
        assert_eq!(taken(&mut pending), None, "versions that cannot be compared");
    }
}
