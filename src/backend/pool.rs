//! Connected stores by what they were made from, so that logins and connections are shared and outlive a reconcile.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::Error;

/// What a connection was made from. If any part differs, the connection is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The uid of the Store or ClusterStore. Never shared between two, even if they say the same.
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
    /// What changes with the credentials, such as the resourceVersions of the Secrets that hold them.
    pub credentials: String,
}

type Connecting<T> = BoxFuture<'static, Result<Arc<T>, Error>>;

/// Connections by the uid of their store; one for each store.
pub struct Pool<T> {
    entries: Arc<Mutex<HashMap<String, Entry<T>>>>,
}

struct Entry<T> {
    identity: Identity,
    slot: Slot<T>,
}

enum Slot<T> {
    /// Driven by those who wait for it; gone when nobody does.
    Connecting(WeakShared<Connecting<T>>),
    Connected(Arc<T>),
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { entries: Arc::default() }
    }
}

impl<T: Send + Sync + 'static> Pool<T> {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection of this identity, made by `connect` if there is none.
    ///
    /// Those who ask at the same time wait for one and the same attempt, and for its error, too. An error is not kept: the
    /// next call tries again. A connection of another identity of the same store is let go; calls that still use it end
    /// in peace. Cancel safe: the attempt goes on as long as somebody waits for it.
    ///
    /// # Errors
    /// As `connect` has them.
    pub async fn get<F>(&self, identity: &Identity, connect: impl FnOnce() -> F) -> Result<Arc<T>, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let attempt = {
            let mut entries = lock(&self.entries);
            let known = entries.get(&identity.uid).filter(|entry| entry.identity == *identity);
            let running = match known.map(|entry| &entry.slot) {
                None => None,
                Some(Slot::Connected(connection)) => return Ok(Arc::clone(connection)),
                Some(Slot::Connecting(attempt)) => attempt.upgrade(),
            };
            running.unwrap_or_else(|| self.begin(&mut entries, identity, connect()))
        };
        attempt.await
    }

    fn begin(
        &self,
        entries: &mut HashMap<String, Entry<T>>,
        identity: &Identity,
        connect: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Shared<Connecting<T>> {
        let (pool, made_from) = (Arc::clone(&self.entries), identity.clone());
        let attempt = async move {
            let result = connect.await.map(Arc::new);
            let mut entries = lock(&pool);
            // Meanwhile another identity may have taken the place.
            if entries.get(&made_from.uid).is_some_and(|entry| entry.identity == made_from) {
                match &result {
                    Ok(connection) => {
                        let slot = Slot::Connected(Arc::clone(connection));
                        entries.insert(made_from.uid.clone(), Entry { identity: made_from, slot });
                    }
                    Err(_) => drop(entries.remove(&made_from.uid)),
                }
            }
            result
        };
        let attempt = attempt.boxed().shared();
        // A shared future has a weak form until it is done, and this one has not begun.
        if let Some(weak) = attempt.downgrade() {
            let entry = Entry { identity: identity.clone(), slot: Slot::Connecting(weak) };
            entries.insert(identity.uid.clone(), entry);
        }
        attempt
    }

    /// Lets go of a store's connection, as when the store is deleted.
    pub fn remove(&self, uid: &str) {
        lock(&self.entries).remove(uid);
    }
}

fn lock<T>(entries: &Mutex<HashMap<String, Entry<T>>>) -> MutexGuard<'_, HashMap<String, Entry<T>>> {
    // The map is whole between any two statements, so a panic of another thread leaves nothing half done.
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}
