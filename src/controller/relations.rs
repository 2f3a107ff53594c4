//! Who depends on what: from a Catalog, a Stack or a store to the Stacks that use it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Input, StoreRef};

/// A Stack by namespace and name. Cheap to clone, and one word wide, since many indexes hold one for each Stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackKey(Arc<StackName>);

/// See [`StackKey`].
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its object name.
    pub name: Arc<str>,
}

impl StackKey {
    /// The key of an object.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self::within(&Arc::from(namespace), name)
    }

    /// The key of an object, sharing the text of its namespace.
    #[must_use]
    pub fn within(namespace: &Arc<str>, name: &str) -> Self {
        Self(Arc::new(StackName { namespace: Arc::clone(namespace), name: Arc::from(name) }))
    }
}

impl std::ops::Deref for StackKey {
    type Target = StackName;

    fn deref(&self) -> &StackName {
        &self.0
    }
}

impl std::fmt::Display for StackKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A store by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKey {
    /// A Store.
    Store {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A ClusterStore.
    ClusterStore {
        /// Its name.
        name: Arc<str>,
    },
}

impl StoreKey {
    /// The store that `reference` means in `namespace`.
    #[must_use]
    pub fn resolve(reference: &StoreRef, namespace: &str) -> Self {
        match reference {
            StoreRef::Store(name) => Self::Store { namespace: Arc::from(namespace), name: Arc::from(name.as_str()) },
            StoreRef::ClusterStore(name) => Self::ClusterStore { name: Arc::from(name.as_str()) },
        }
    }
}

impl std::fmt::Display for StoreKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store { namespace, name } => write!(formatter, "Store {namespace}/{name}"),
            Self::ClusterStore { name } => write!(formatter, "ClusterStore {name}"),
        }
    }
}

/// An object that Stacks depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// A Catalog.
    Catalog(Arc<str>),
    /// An imported Stack.
    Stack(StackKey),
    /// A store.
    Store(StoreKey),
}

impl Dependency {
    /// The object that `input` means in `namespace`.
    #[must_use]
    pub fn resolve(input: &Input, namespace: &str) -> Self {
        match input {
            Input::Catalog(name) => Self::Catalog(Arc::from(name.as_str())),
            Input::Stack(name) => Self::Stack(StackKey::new(namespace, name)),
            Input::Store(store) => Self::Store(StoreKey::resolve(store, namespace)),
        }
    }
}

/// The index in both directions.
#[derive(Default)]
pub struct Relations {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<Arc<Dependency>, HashSet<StackKey>>,
    /// The same objects as the keys of `users`.
    of_stack: HashMap<StackKey, Box<[Arc<Dependency>]>>,
}

impl Relations {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what `stack` depends on. Returns the store that gained it, if it is one.
    pub fn add(&self, stack: &StackKey, dependency: Dependency) -> Option<StoreKey> {
        let mut state = self.lock();
        let dependency = state.shared(dependency);
        let old = state.of_stack.get(stack).map_or(&[][..], |old| old);
        if old.contains(&dependency) {
            return None;
        }
        let new = old.iter().chain([&dependency]).cloned().collect();
        state.of_stack.insert(stack.clone(), new);
        let store = store_of(&dependency);
        state.users.entry(dependency).or_default().insert(stack.clone());
        store
    }

    /// Replaces what `stack` depends on. Returns the stores that gained or lost it.
    pub fn set(&self, stack: &StackKey, dependencies: impl IntoIterator<Item = Dependency>) -> Vec<StoreKey> {
        let mut state = self.lock();
        let new: Box<[Arc<Dependency>]> = dependencies.into_iter().map(|dependency| state.shared(dependency)).collect();
        if state.of_stack.get(stack).is_some_and(|old| *old == new) {
            return Vec::new();
        }
        let old = if new.is_empty() {
            state.of_stack.remove(stack)
        } else {
            state.of_stack.insert(stack.clone(), new.clone())
        }
        .unwrap_or_default();
        let mut changed = Vec::new();
        for gone in old.iter().filter(|dependency| !new.contains(dependency)) {
            if let Some(users) = state.users.get_mut(gone) {
                users.remove(stack);
                if users.is_empty() {
                    state.users.remove(gone);
                }
            }
            changed.extend(store_of(gone));
        }
        for added in new.iter().filter(|dependency| !old.contains(dependency)) {
            state.users.entry(Arc::clone(added)).or_default().insert(stack.clone());
            changed.extend(store_of(added));
        }
        changed
    }

    /// Forgets a Stack. Returns the stores that lost it.
    pub fn remove(&self, stack: &StackKey) -> Vec<StoreKey> {
        self.set(stack, [])
    }

    /// The Stacks that depend on an object, whether it exists or not.
    #[must_use]
    pub fn users(&self, dependency: &Dependency) -> Vec<StackKey> {
        self.lock().users.get(dependency).map(|users| users.iter().cloned().collect()).unwrap_or_default()
    }

    /// How many Stacks depend on an object.
    #[must_use]
    pub fn count(&self, dependency: &Dependency) -> usize {
        self.lock().users.get(dependency).map_or(0, HashSet::len)
    }
}

impl State {
    /// The same object as the key of `users`, if it is there.
    fn shared(&self, dependency: Dependency) -> Arc<Dependency> {
        match self.users.get_key_value(&dependency) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(dependency),
        }
    }
}

fn store_of(dependency: &Dependency) -> Option<StoreKey> {
    match dependency {
        Dependency::Store(store) => Some(store.clone()),
        Dependency::Catalog(_) | Dependency::Stack(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_agree() {
        let relations = Relations::default();
        let stack = StackKey::new("payments", "prod");
        let store = StoreKey::resolve(&StoreRef::Store("app".into()), "payments");
        let catalog = Dependency::Catalog(Arc::from("datadog"));
        let changed = relations.set(&stack, [Dependency::Store(store.clone()), catalog.clone()]);
        assert_eq!(changed, vec![store.clone()]);
        assert_eq!(relations.users(&catalog), vec![stack.clone()]);

        assert!(relations.set(&stack, [Dependency::Store(store.clone()), catalog.clone()]).is_empty());
        let changed = relations.set(&stack, [catalog.clone()]);
        assert_eq!(changed, vec![store.clone()]);
        assert_eq!(relations.count(&Dependency::Store(store.clone())), 0);

        assert_eq!(relations.add(&stack, catalog.clone()), None);
        assert_eq!(relations.add(&stack, Dependency::Store(store.clone())), Some(store.clone()));
        assert_eq!(relations.add(&stack, Dependency::Store(store.clone())), None);
        assert_eq!(relations.users(&Dependency::Store(store.clone())), vec![stack.clone()]);
        assert_eq!(relations.set(&stack, [catalog.clone()]), vec![store]);

        relations.remove(&stack);
        assert!(relations.users(&catalog).is_empty());
        assert!(relations.lock().users.is_empty() && relations.lock().of_stack.is_empty(), "nothing is left behind");
    }
}
