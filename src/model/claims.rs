//! Which Stacks of one namespace claim which backend keys and target names, and who yields to whom.
//!
//! The index keeps 128-bit hashes, not names, so that ten thousand keys cost well below a megabyte. It is fed one plan at
//! a time; nothing here knows other namespaces, so that none can find out about, or block, another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::Reason;
use crate::model::{Coordinate, Plan, PlannedRead, Problem, StoreRef};

/// The first half of a SHA-256: no two keys share one by chance or by intent.
type Hash = [u8; 16];

/// Who a Stack is, and how old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.uid`: decides between two of the same second.
    pub uid: String,
}

impl Claimant {
    fn is_older_than(&self, other: &Self) -> bool {
        (self.created, &self.uid) < (other.created, &other.uid)
    }
}

/// The claims of all Stacks of one namespace.
#[derive(Debug, Default)]
pub struct Claims {
    stacks: BTreeMap<Arc<str>, Entry>,
    keys: HashMap<Hash, BTreeMap<Arc<str>, Hash>>,
    targets: HashMap<String, BTreeSet<Arc<str>>>,
}

#[derive(Debug)]
struct Entry {
    claimant: Claimant,
    /// Key to coordinate.
    keys: BTreeMap<Hash, Hash>,
    targets: BTreeSet<String>,
}

impl Claims {
    /// An index without claims.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the claims of a plan as [`crate::model::plan::plan`] made it, in place of the Stack's earlier ones, and marks
    /// in it the secrets that must yield to an older Stack. Returns the other Stacks whose outcome may differ now: plan
    /// them again.
    ///
    /// A blocked plan claims what the Stack claimed before, since its targets stay.
    pub fn settle(&mut self, claimant: &Claimant, plan: &mut Plan) -> BTreeSet<String> {
        if plan.blocked.is_some() {
            return BTreeSet::new();
        }
        let keys: BTreeMap<Hash, Hash> = plan
            .secrets
            .iter()
            .filter_map(|secret| match &secret.read {
                Ok(PlannedRead { store, coordinate: Some(coordinate), key }) => {
                    Some((key_hash(store, &key.name), coordinate_hash(coordinate)))
                }
                Ok(PlannedRead { coordinate: None, .. }) | Err(_) => None,
            })
            .collect();
        let targets: BTreeSet<String> = plan.targets.iter().map(|target| target.name.clone()).collect();
        let affected = self.replace(&claimant.name, Some(Entry { claimant: claimant.clone(), keys, targets }));
        self.mark(claimant, plan);
        affected
    }

    /// Drops the claims of a Stack that is gone. Returns the Stacks whose outcome may differ now.
    pub fn remove(&mut self, name: &str) -> BTreeSet<String> {
        self.replace(name, None)
    }

    /// The Stack that a target belongs to: the `present` owner of the Secret if it has one, else the oldest claimant.
    #[must_use]
    pub fn target_winner<'a>(&'a self, target: &str, present: Option<&'a str>) -> Option<&'a str> {
        present.or_else(|| {
            let claimants = self.targets.get(target)?.iter().filter_map(|name| self.stacks.get(name));
            let oldest = claimants.reduce(|one, other| match other.claimant.is_older_than(&one.claimant) {
                true => other,
                false => one,
            })?;
            Some(oldest.claimant.name.as_str())
        })
    }

    /// Every Stack that wants a target.
    pub fn target_claimants(&self, target: &str) -> impl Iterator<Item = &str> {
        self.targets.get(target).into_iter().flatten().map(|name| &**name)
    }

    /// Whether no Stack claims anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    fn mark(&self, claimant: &Claimant, plan: &mut Plan) {
        for secret in &mut plan.secrets {
            let Ok(PlannedRead { store, coordinate: Some(coordinate), key }) = &secret.read else { continue };
            let mine = coordinate_hash(coordinate);
            let Some(users) = self.keys.get(&key_hash(store, &key.name)) else { continue };
            // The oldest user decides which coordinate the key belongs to; all that share it may read it.
            let users = users.iter().filter_map(|(name, theirs)| self.stacks.get(name).map(|entry| (entry, *theirs)));
            let oldest = users.reduce(|one, other| match other.0.claimant.is_older_than(&one.0.claimant) {
                true => other,
                false => one,
            });
            let winner = oldest
                .filter(|(entry, theirs)| *theirs != mine && entry.claimant.is_older_than(claimant))
                .map(|(entry, _)| entry);
            if let Some(winner) = winner {
                let message = format!(
                    "{coordinate} has the key `{}` in {store}, which another coordinate of the older Stack/{} has; \
                     rename one, or set `reference`",
                    key.name, winner.claimant.name
                );
                secret.read = Err(Problem::new(Reason::PathCollision, message));
            }
        }
    }

    fn replace(&mut self, name: &str, new: Option<Entry>) -> BTreeSet<String> {
        let name: Arc<str> = Arc::from(name);
        let old = self.stacks.remove(&name);
        // A Stack that was re-created has another age, which may turn any of its conflicts.
        let same_age = match (&old, &new) {
            (Some(old), Some(new)) => old.claimant == new.claimant,
            (Some(_) | None, _) => false,
        };
        let mut affected: BTreeSet<String> = BTreeSet::new();
        let empty = (BTreeMap::new(), BTreeSet::new());
        let (old_keys, old_targets) = old.as_ref().map_or((&empty.0, &empty.1), |old| (&old.keys, &old.targets));
        let (new_keys, new_targets) = new.as_ref().map_or((&empty.0, &empty.1), |new| (&new.keys, &new.targets));

        for (key, coordinate) in old_keys {
            if same_age && new_keys.get(key) == Some(coordinate) {
                continue;
            }
            if let Some(users) = self.keys.get_mut(key) {
                users.remove(&name);
                affected.extend(users.keys().map(ToString::to_string));
                if users.is_empty() {
                    self.keys.remove(key);
                }
            }
        }
        for (key, coordinate) in new_keys {
            let users = self.keys.entry(*key).or_default();
            let is_new = users.insert(Arc::clone(&name), *coordinate) != Some(*coordinate);
            // One more user of one coordinate changes nothing, but where coordinates differ any outcome may turn.
            if is_new && users.values().any(|theirs| theirs != coordinate) {
                affected.extend(users.keys().map(ToString::to_string));
            }
        }
        for target in old_targets.iter().filter(|target| !(same_age && new_targets.contains(*target))) {
            if let Some(users) = self.targets.get_mut(target) {
                users.remove(&name);
                affected.extend(users.iter().map(ToString::to_string));
                if users.is_empty() {
                    self.targets.remove(target);
                }
            }
        }
        for target in new_targets {
            let users = self.targets.entry(target.clone()).or_default();
            if users.insert(Arc::clone(&name)) {
                affected.extend(users.iter().map(ToString::to_string));
            }
        }
        if let Some(new) = new {
            self.stacks.insert(Arc::clone(&name), new);
        }
        affected.remove(name.as_ref());
        affected
    }
}

fn key_hash(store: &StoreRef, key: &str) -> Hash {
    let (kind, store) = match store {
        StoreRef::Store(name) => ("store", name),
        StoreRef::ClusterStore(name) => ("clusterStore", name),
    };
    hash(&[kind, store, key])
}

fn coordinate_hash(coordinate: &Coordinate) -> Hash {
    let Coordinate { scope, stack, component, name } = coordinate;
    hash(&[scope.as_str(), stack, component, name])
}

/// Each part is preceded by its length, so that no two lists share one encoding.
fn hash(parts: &[&str]) -> Hash {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let mut half = Hash::default();
    half.iter_mut().zip(sha.finalize()).for_each(|(byte, digest)| *byte = digest);
    half
}

#[cfg(test)]
mod tests;
