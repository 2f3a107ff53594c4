//! The reference implementation: the contract in its plainest form, in memory, with versions, and with faults on demand.
//!
//! It is for tests, of this crate and of others; no Store can name it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::guarded::Operation;
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::value::SecretValue;

/// The largest value, as in the stores that people use.
const MAX_VALUE: usize = 1 << 20;

/// What happens to a call instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, whole.
    Error(Error),
    /// It never ends.
    Hang,
    /// The next call is the first to be answered again.
    None,
}

/// A store in memory.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, Entry>,
    calls: Vec<(Operation, Vec<Key>)>,
    faults: VecDeque<Fault>,
    refused: BTreeMap<String, Error>,
    last_version: u64,
}

struct Entry {
    /// Oldest first, never empty.
    versions: Vec<(String, Arc<SecretValue>)>,
    deleted: bool,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value behind the backs of those who use the store; returns the version.
    pub fn set(&self, name: &str, value: impl Into<Vec<u8>>) -> String {
        self.state().set(name, Arc::new(SecretValue::new(value.into())))
    }

    /// Takes a key away as if it had never been.
    pub fn forget(&self, name: &str) {
        self.state().keys.remove(name);
    }

    /// Lets the next calls, one for each fault, meet it.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Forgets the faults that were not met yet.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Lets every reading or probing of one key fail, alone, until [`Self::admit`].
    pub fn refuse(&self, name: &str, error: Error) {
        self.state().refused.insert(name.to_owned(), error);
    }

    /// Ends [`Self::refuse`].
    pub fn admit(&self, name: &str) {
        self.state().refused.remove(name);
    }

    /// The calls that arrived, in order, with the keys that they asked for.
    pub fn calls(&self) -> Vec<(Operation, Vec<Key>)> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic of another thread leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn arrive(&self, operation: Operation, keys: &[Key]) -> Result<(), Error> {
        let fault = {
            let mut state = self.state();
            state.calls.push((operation, keys.to_vec()));
            state.faults.pop_front()
        };
        // A real call gives way to others before it is answered.
        tokio::task::yield_now().await;
        match fault {
            None | Some(Fault::None) => Ok(()),
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    async fn each<T>(
        &self,
        operation: Operation,
        keys: &[Key],
        found: impl Fn(&str, &Arc<SecretValue>) -> T,
    ) -> Vec<Result<T, Error>> {
        if let Err(error) = self.arrive(operation, keys).await {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let state = self.state();
        keys.iter().map(|key| state.find(key).map(|(version, value)| found(version, value))).collect()
    }
}

impl State {
    fn set(&mut self, name: &str, value: Arc<SecretValue>) -> String {
        self.last_version += 1;
        let version = self.last_version.to_string();
        let entry = self.keys.entry(name.to_owned()).or_insert(Entry { versions: Vec::new(), deleted: false });
        entry.deleted = false;
        entry.versions.push((version.clone(), value));
        version
    }

    fn entry(&self, key: &Key) -> Result<&Entry, Error> {
        check_name(key)?;
        if let Some(error) = self.refused.get(&key.name) {
            return Err(error.clone());
        }
        let entry = self
            .keys
            .get(&key.name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no value at {}", key.name)))?;
        if entry.deleted {
            return Err(Error::new(ErrorKind::PendingDeletion, format!("{} is marked for deletion", key.name)));
        }
        Ok(entry)
    }

    fn find(&self, key: &Key) -> Result<(&str, &Arc<SecretValue>), Error> {
        let versions = &self.entry(key)?.versions;
        let found = match &key.version {
            None => versions.last(),
            Some(wanted) => versions.iter().find(|(version, _)| version == wanted),
        };
        found
            .map(|(version, value)| (version.as_str(), value))
            .ok_or_else(|| Error::new(ErrorKind::VersionNotFound, format!("{} has no such version", key.name)))
    }
}

fn check_name(key: &Key) -> Result<(), Error> {
    if key.name.is_empty() {
        return Err(Error::new(ErrorKind::InvalidKey, "the empty text cannot be a key"));
    }
    Ok(())
}

#[async_trait]
impl Backend for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: true, batch: 10 }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        self.each(Operation::Read, keys, |version, value| Versioned {
            value: Arc::clone(value),
            version: version.to_owned(),
        })
        .await
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.each(Operation::Probe, keys, |version, _| Presence { version: version.to_owned() }).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        check_name(key)?;
        if value.expose().len() > MAX_VALUE {
            return Err(Error::new(ErrorKind::TooLarge, format!("the value for {} is larger than 1 MiB", key.name)));
        }
        self.arrive(Operation::Write, std::slice::from_ref(key)).await?;
        let mut state = self.state();
        let present = state.find(&Key::current(&key.name)).map(|(version, _)| version.to_owned());
        let holds = match (&precondition, &present) {
            (Precondition::None, _) => true,
            (Precondition::Absent, Err(error)) => error.kind.is_missing(),
            (Precondition::Absent, Ok(_)) | (Precondition::Version(_), Err(_)) => false,
            (Precondition::Version(wanted), Ok(version)) => wanted == version,
        };
        if !holds {
            return Err(Error::new(ErrorKind::Conflict, format!("{} changed since it was read", key.name)));
        }
        Ok(state.set(&key.name, Arc::new(SecretValue::new(value.expose().to_vec()))))
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        self.arrive(Operation::Delete, std::slice::from_ref(key)).await?;
        let mut state = self.state();
        state.entry(key)?;
        match mode {
            DeleteMode::Recoverable => {
                if let Some(entry) = state.keys.get_mut(&key.name) {
                    entry.deleted = true;
                }
            }
            DeleteMode::Purge => {
                state.keys.remove(&key.name);
            }
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.arrive(Operation::List, &[]).await?;
        let state = self.state();
        let live = state.keys.iter().filter(|(_, entry)| !entry.deleted).map(|(name, _)| name);
        Ok(live.filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        self.arrive(Operation::Versions, std::slice::from_ref(key)).await?;
        let state = self.state();
        Ok(state.entry(key)?.versions.iter().rev().map(|(version, _)| version.clone()).collect())
    }

    async fn check(&self) -> Result<(), Error> {
        self.arrive(Operation::Check, &[]).await
    }
}
