//! Which Stacks of one namespace claim which backend keys and target names, and who yields to whom.
//!
//! The index keeps 128-bit hashes, not names, so that ten thousand keys cost well below a megabyte. It is fed one plan at
//! a time; nothing here knows other namespaces, so that none can find out about, or block, another.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::Reason;
use crate::model::{Coordinate, Plan, PlannedRead, Problem, StoreRef, Uid};

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

/// The claims of all Stacks of one namespace.
#[derive(Debug, Default)]
pub struct Claims {
    stacks: HashMap<Arc<str>, Entry>,
    /// Who uses a key; for what is in the user's entry.
    keys: HashMap<Hash, Names>,
    targets: HashMap<Arc<str>, Names>,
}

/// What one Stack claims. There is one of these for each Stack, so they hold no spare room.
#[derive(Debug)]
struct Entry {
    /// Seconds since the Unix epoch, as precise as the API server is.
    created: i64,
    uid: Uid,
    /// Key and coordinate, sorted by key.
    keys: Box<[(Hash, Hash)]>,
    /// Sorted.
    targets: Box<[Arc<str>]>,
}

impl Entry {
    fn is_older_than(&self, other: &Self) -> bool {
        (self.created, self.uid) < (other.created, other.uid)
    }

    fn is_as_old_as(&self, other: &Self) -> bool {
        (self.created, self.uid) == (other.created, other.uid)
    }

    /// What the Stack uses a key for.
    fn coordinate(&self, key: &Hash) -> Option<&Hash> {
        let index = self.keys.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.keys.get(index).map(|(_, coordinate)| coordinate)
    }
}

/// Names of Stacks: nearly always one.
#[derive(Debug)]
enum Names {
    One(Arc<str>),
    #[expect(clippy::box_collection, reason = "so that one name needs no more room than itself")]
    Many(Box<BTreeSet<Arc<str>>>),
}

impl Names {
    fn iter(&self) -> impl Iterator<Item = &Arc<str>> + Clone {
        let (one, many) = match self {
            Self::One(name) => (Some(name), None),
            Self::Many(names) => (None, Some(names)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|names| names.iter()))
    }

    /// Adds a name to the users of `key`. `true` if it is new there.
    fn add<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Self>, key: K, name: &Arc<str>) -> bool {
        match map.entry(key) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Self::One(Arc::clone(name)));
                true
            }
            hash_map::Entry::Occupied(mut occupied) => match occupied.get_mut() {
                Self::One(known) if known == name => false,
                Self::One(known) => {
                    let both = BTreeSet::from([Arc::clone(known), Arc::clone(name)]);
                    occupied.insert(Self::Many(Box::new(both)));
                    true
                }
                Self::Many(names) => names.insert(Arc::clone(name)),
            },
        }
    }

    /// Removes a name from the users of `key`. Returns those that are left.
    fn remove<'m, K, Q>(map: &'m mut HashMap<K, Self>, key: &Q, name: &Arc<str>) -> impl Iterator<Item = &'m Arc<str>>
    where
        K: Eq + std::hash::Hash + Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        let is_last = match map.get_mut(key) {
            Some(Self::One(known)) => known == name,
            Some(Self::Many(names)) => {
                names.remove(name);
                names.is_empty()
            }
            None => false,
        };
        if is_last {
            map.remove(key);
        }
        map.get(key).into_iter().flat_map(Self::iter)
    }
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
                Ok(read @ PlannedRead { store, coordinate: Some(coordinate), key: _, caseless: _ }) => {
                    Some((key_hash(store, &read.place()), coordinate_hash(coordinate)))
                }
                Ok(PlannedRead { coordinate: None, .. }) | Err(_) => None,
            })
            .collect();
        let targets: BTreeSet<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
        let shared = |target: &str| match self.targets.get_key_value(target) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(target),
        };
        let entry = Entry {
            created: claimant.created.as_second(),
            uid: Uid::from(claimant.uid.as_str()),
            keys: keys.into_iter().collect(),
            targets: targets.into_iter().map(shared).collect(),
        };
        let affected = self.replace(&claimant.name, Some(entry));
        self.mark(&claimant.name, plan);
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
            let claimants = self.targets.get(target)?.iter();
            let claimants = claimants.filter_map(|name| self.stacks.get(name).map(|entry| (name, entry)));
            let oldest = claimants.reduce(|one, other| match other.1.is_older_than(one.1) {
                true => other,
                false => one,
            })?;
            Some(&**oldest.0)
        })
    }

    /// Every Stack that wants a target.
    pub fn target_claimants(&self, target: &str) -> impl Iterator<Item = &str> {
        self.targets.get(target).into_iter().flat_map(Names::iter).map(|name| &**name)
    }

    /// Every Stack that wants a target of which this is true; one that wants several may be named several times.
    pub fn claimants_of_any(&self, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let meant = self.targets.iter().filter(move |(target, _)| is_meant(target));
        meant.flat_map(|(_, names)| names.iter()).map(|name| &**name)
    }

    /// Whether no Stack claims anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    fn mark(&self, claimant: &str, plan: &mut Plan) {
        let Some(own) = self.stacks.get(claimant) else { return };
        for secret in &mut plan.secrets {
            let Ok(read @ PlannedRead { store, coordinate: Some(coordinate), key, caseless: _ }) = &secret.read else {
                continue;
            };
            let mine = coordinate_hash(coordinate);
            let hashed = key_hash(store, &read.place());
            let Some(users) = self.keys.get(&hashed) else { continue };
            // The oldest user decides which coordinate the key belongs to; all that share it may read it.
            let users = users.iter().filter_map(|name| self.stacks.get(name).map(|entry| (name, entry)));
            let oldest = users.reduce(|one, other| match other.1.is_older_than(one.1) {
                true => other,
                false => one,
            });
            let winner = oldest.filter(|(_, entry)| {
                entry.coordinate(&hashed).is_some_and(|theirs| *theirs != mine) && entry.is_older_than(own)
            });
            if let Some((winner, _)) = winner {
                let message = format!(
                    "{coordinate} has the key `{}` in {store}, which another coordinate of the older Stack/{winner} has; \
                     rename one, or set `reference`",
                    key.name
                );
                secret.read = Err(Problem::new(Reason::PathCollision, message));
            }
        }
    }

    fn replace(&mut self, name: &str, new: Option<Entry>) -> BTreeSet<String> {
        let (name, old) = match self.stacks.remove_entry(name) {
            Some((name, old)) => (name, Some(old)),
            None => (Arc::from(name), None),
        };
        // A Stack that was re-created has another age, which may turn any of its conflicts.
        let same_age = old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.is_as_old_as(new));
        let mut affected: BTreeSet<Arc<str>> = BTreeSet::new();

        for (key, coordinate) in old.iter().flat_map(|old| &old.keys) {
            let stays = new.as_ref().and_then(|new| new.coordinate(key)) == Some(coordinate);
            if !(same_age && stays) {
                affected.extend(Names::remove(&mut self.keys, key, &name).cloned());
            }
        }
        for (key, coordinate) in new.iter().flat_map(|new| &new.keys) {
            if !Names::add(&mut self.keys, *key, &name) {
                continue;
            }
            // One more user of one coordinate changes nothing, but where coordinates differ any outcome may turn.
            let others = self.keys.get(key).into_iter().flat_map(Names::iter);
            let others = others.filter_map(|other| self.stacks.get(other).map(|entry| (other, entry)));
            if others.clone().any(|(_, entry)| entry.coordinate(key) != Some(coordinate)) {
                affected.extend(others.map(|(other, _)| Arc::clone(other)));
            }
        }
        for target in old.iter().flat_map(|old| &old.targets) {
            let stays = new.as_ref().is_some_and(|new| new.targets.binary_search(target).is_ok());
            if !(same_age && stays) {
                affected.extend(Names::remove(&mut self.targets, &**target, &name).cloned());
            }
        }
        for target in new.iter().flat_map(|new| &new.targets) {
            if Names::add(&mut self.targets, Arc::clone(target), &name) {
                affected.extend(self.targets.get(target).into_iter().flat_map(Names::iter).cloned());
            }
        }
        affected.remove(&name);
        if let Some(new) = new {
            self.stacks.insert(name, new);
        }
        affected.iter().map(ToString::to_string).collect()
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
