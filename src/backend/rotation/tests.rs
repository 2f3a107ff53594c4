//! What is asked of a store about its rotations, and how often.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use async_trait::async_trait;

use super::*;
use crate::backend::{Capabilities, DeleteMode, Error, ErrorKind, Precondition, Presence, Versioned};
use crate::value::SecretValue;

/// Answers questions about rotations, and nothing else.
struct Store {
    answer: Mutex<Result<Option<Rotation>, ErrorKind>>,
}

#[async_trait]
impl Backend for Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: false, delete: false, list: false, versions: true, batch: 1 }
    }

    async fn read(&self, _: &[Key]) -> Vec<Result<Versioned, Error>> {
        Vec::new()
    }

    async fn probe(&self, _: &[Key]) -> Vec<Result<Presence, Error>> {
        Vec::new()
    }

    async fn write(&self, _: &Key, _: &SecretValue, _: Precondition) -> Result<String, Error> {
        Err(Error::new(ErrorKind::Unsupported, "no"))
    }

    async fn delete(&self, _: &Key, _: DeleteMode) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, "no"))
    }

    async fn list(&self, _: &str) -> Result<Vec<String>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "no"))
    }

    async fn versions(&self, _: &Key) -> Result<Vec<String>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "no"))
    }

    fn rotates(&self) -> bool {
        true
    }

    async fn rotations(&self, keys: &[Key]) -> Vec<Result<Option<Rotation>, Error>> {
        let answer = self.answer.lock().unwrap().clone();
        keys.iter().map(|_| answer.clone().map_err(|kind| Error::new(kind, "no"))).collect()
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn store(answer: Result<Option<Rotation>, ErrorKind>) -> (Arc<Store>, Rotations) {
    let store = Arc::new(Store { answer: Mutex::new(answer) });
    let rotations = Rotations::new(Arc::clone(&store) as Arc<dyn Backend>);
    (store, rotations)
}

fn rotation() -> Rotation {
    Rotation { owner: Some("rds".to_owned()), ..Rotation::default() }
}

#[tokio::test(start_paused = true)]
async fn asks_once_for_each_version_and_twice_a_day() {
    let (store, rotations) = store(Ok(Some(rotation())));
    let key = Key::current("one");
    assert_eq!(rotations.of(&key, "1"), (None, true));
    assert_eq!(rotations.ask(&key).await, Some(true), "it told something");
    assert_eq!(rotations.of(&key, "1"), (Some(rotation()), false));
    assert_eq!(rotations.of(&key, "2"), (Some(rotation()), true), "a new version may be a rotation");
    assert_eq!(rotations.ask(&key).await, Some(false), "nothing new");
    assert_eq!(rotations.of(&key, "2"), (Some(rotation()), false));
    tokio::time::advance(KEPT).await;
    assert_eq!(rotations.of(&key, "2"), (Some(rotation()), true));
    *store.answer.lock().unwrap() = Ok(None);
    assert_eq!(rotations.ask(&key).await, Some(true));
    assert_eq!(rotations.of(&key, "2"), (None, false));
}

#[tokio::test]
async fn a_refusal_is_remembered_and_a_hiccup_is_not() {
    let (store, rotations) = store(Err(ErrorKind::Unavailable));
    let key = Key::current("one");
    assert_eq!(rotations.of(&key, "1"), (None, true));
    assert_eq!(rotations.ask(&key).await, None);
    assert_eq!(rotations.of(&key, "1"), (None, true));
    *store.answer.lock().unwrap() = Err(ErrorKind::PermissionDenied);
    assert_eq!(rotations.ask(&key).await, Some(false));
    assert_eq!(rotations.of(&key, "1"), (None, false));
}

#[test]
fn nothing_is_kept_for_a_store_that_rotates_nothing() {
    let rotations = Rotations::new(Arc::new(crate::backend::memory::Memory::new()));
    assert_eq!(rotations.of(&Key::current("one"), "1"), (None, false));
    assert!(rotations.lock().is_empty());
}
