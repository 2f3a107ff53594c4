//! Parameters that fail a call for the others in it, and so are asked by themselves.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most that are remembered. A store with more that fail has a policy to mend, and not a few odd names.
const MOST: usize = 1000;

/// Names, and whether they failed with decryption: the right on a KMS key matters only there.
#[derive(Default)]
pub(super) struct Apart(Mutex<BTreeSet<(String, bool)>>);

impl Apart {
    /// Whether a parameter failed when it was last asked for.
    pub(super) fn holds(&self, name: &str, decrypted: bool) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(name.to_owned(), decrypted))
    }

    /// Takes note of how a parameter that was asked by itself ended.
    pub(super) fn note(&self, name: &str, decrypted: bool, failed: bool) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            names.remove(&(name.to_owned(), decrypted));
        } else if names.len() < MOST {
            names.insert((name.to_owned(), decrypted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_has_an_end() {
        let apart = Apart::default();
        for number in 0..=MOST {
            apart.note(&format!("/app/{number}"), true, true);
        }
        assert!(apart.holds("/app/0", true) && !apart.holds("/app/0", false));
        assert!(!apart.holds(&format!("/app/{MOST}"), true));
        apart.note("/app/0", true, false);
        assert!(!apart.holds("/app/0", true));
        apart.note(&format!("/app/{MOST}"), true, true);
        assert!(apart.holds(&format!("/app/{MOST}"), true));
    }
}
