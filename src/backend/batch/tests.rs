//! [`Batch`] over a driver that answers when the test says so, under paused time.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::backend::memory::{Fault, Memory};
use crate::backend::{Capabilities, DeleteMode, Precondition, Presence};
use crate::value::SecretValue;

/// The reference implementation behind a door that the test opens once for each call.
struct Gate {
    memory: Memory,
    door: Semaphore,
    limit: usize,
}

impl Gate {
    fn new(limit: usize) -> Arc<Self> {
        let memory = Memory::new();
        for name in ["a", "b", "c", "d", "e"] {
            memory.set(name, name);
        }
        Arc::new(Self { memory, door: Semaphore::new(0), limit })
    }

    fn open(limit: usize) -> Arc<Self> {
        let gate = Self::new(limit);
        gate.door.add_permits(1000);
        gate
    }

    /// The keys of each call that has arrived.
    fn asked(&self) -> Vec<Vec<String>> {
        self.memory.calls().into_iter().map(|(_, keys)| keys.into_iter().map(|key| key.name).collect()).collect()
    }
}

#[async_trait]
impl Backend for Gate {
    fn capabilities(&self) -> Capabilities {
        Capabilities { batch: self.limit, ..self.memory.capabilities() }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        let results = self.memory.read(keys).await;
        self.door.acquire().await.unwrap().forget();
        results
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.memory.probe(keys).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        self.memory.write(key, value, precondition).await
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        self.memory.delete(key, mode).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.memory.list(prefix).await
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        self.memory.versions(key).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.memory.check().await
    }
}

fn keys(names: &str) -> Vec<Key> {
    names.chars().map(|name| Key::current(name.to_string())).collect()
}

fn spawn(batch: &Batch, names: &str) -> tokio::task::JoinHandle<Vec<Result<Versioned, Error>>> {
    let (batch, keys) = (batch.clone(), keys(names));
    tokio::spawn(async move { batch.read(&keys).await })
}

/// Lets everything run until it waits for the door.
async fn settle() {
    tokio::time::sleep(WINDOW * 3).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_read_and_get_their_own_answers() {
    let gate = Gate::open(10);
    let batch = Batch::new(gate.clone());
    let (one, two, three) = (keys("ab"), keys("bac"), keys("xa"));
    let (one, two, three) = tokio::join!(batch.read(&one), batch.read(&two), batch.read(&three));
    assert_eq!(gate.asked(), [["a", "b", "c", "x"]]);
    assert!(one[0].as_ref().unwrap().value.equals(b"a") && one[1].as_ref().unwrap().value.equals(b"b"));
    assert!(two[0].as_ref().unwrap().value.equals(b"b") && two[2].as_ref().unwrap().value.equals(b"c"));
    assert_eq!(three[0].as_ref().err().unwrap().kind, ErrorKind::NotFound);
    let shared = [&one[0], &two[1], &three[1]].map(|result| Arc::as_ptr(&result.as_ref().unwrap().value));
    assert!(shared[0] == shared[1] && shared[1] == shared[2], "one value, shared");
}

#[tokio::test(start_paused = true)]
async fn a_key_named_twice_is_read_once_and_answered_twice() {
    let gate = Gate::open(10);
    let results = Batch::new(gate.clone()).read(&keys("aba")).await;
    assert_eq!(gate.asked(), [["a", "b"]]);
    assert_eq!(results.len(), 3);
    assert!(results[2].as_ref().unwrap().value.equals(b"a"));
    assert!(Batch::new(gate.clone()).read(&[]).await.is_empty());
    assert_eq!(gate.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_the_limit_and_a_full_one_does_not_wait() {
    let gate = Gate::open(2);
    let batch = Batch::new(gate.clone());
    let start = tokio::time::Instant::now();
    let first = batch.read(&keys("abcd")).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "both were full");
    assert!(first.iter().all(Result::is_ok));
    let second = batch.read(&keys("abcde")).await;
    assert!(second.iter().all(Result::is_ok));
    let mut asked = gate.asked();
    asked.sort();
    assert_eq!(asked, [vec!["a", "b"], vec!["a", "b"], vec!["c", "d"], vec!["c", "d"], vec!["e"]]);
}

#[tokio::test(start_paused = true)]
async fn a_read_under_way_is_not_joined_but_followed_by_one_for_all_who_came() {
    let gate = Gate::new(10);
    let batch = Batch::new(gate.clone());
    let early = spawn(&batch, "a");
    settle().await;
    assert_eq!(gate.asked(), [["a"]]);
    gate.memory.set("a", "changed");
    let late: Vec<_> = (0..5).map(|_| spawn(&batch, "a")).collect();
    let other = spawn(&batch, "b");
    settle().await;
    assert_eq!(gate.asked(), [["a"], ["b"]], "another key does not wait; the same key is not read twice at a time");
    gate.door.add_permits(2);
    assert!(early.await.unwrap()[0].as_ref().unwrap().value.equals(b"a"));
    assert!(other.await.unwrap()[0].is_ok());
    settle().await;
    gate.door.add_permits(1);
    for task in late {
        assert!(task.await.unwrap()[0].as_ref().unwrap().value.equals(b"changed"), "older than the question");
    }
    assert_eq!(gate.asked(), [["a"], ["b"], ["a"]]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_leaves_the_others_undisturbed() {
    let gate = Gate::new(10);
    let batch = Batch::new(gate.clone());
    let first = spawn(&batch, "ab");
    let second = spawn(&batch, "bc");
    settle().await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    gate.door.add_permits(1);
    let results = second.await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(gate.asked(), [["a", "b", "c"]]);
}

#[tokio::test(start_paused = true)]
async fn when_everybody_goes_the_next_one_starts_afresh() {
    let gate = Gate::new(10);
    let batch = Batch::new(gate.clone());
    // Gone before the first poll, in the window, and while the driver reads.
    drop(batch.read(&keys("a")));
    assert!(batch.read(&keys("a")).now_or_never().is_none());
    let reading = spawn(&batch, "ab");
    settle().await;
    reading.abort();
    assert!(reading.await.is_err_and(|error| error.is_cancelled()));
    {
        let state = batch.shared.state();
        assert!(state.gathering.is_empty() && state.waiting.is_empty() && state.under_way.is_empty());
        assert!(state.open.is_none() && state.open_behind.is_none());
    }
    gate.door.add_permits(1);
    let results = batch.read(&keys("a")).await;
    assert!(results[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn errors_are_shared_and_not_kept() {
    let gate = Gate::open(10);
    gate.memory.fail_next([Fault::Error(Error::new(ErrorKind::Unavailable, "told to fail"))]);
    let batch = Batch::new(gate.clone());
    let (one, two) = (keys("a"), keys("ab"));
    let (one, two) = tokio::join!(batch.read(&one), batch.read(&two));
    for result in one.iter().chain(&two) {
        assert_eq!(result.as_ref().err().unwrap().kind, ErrorKind::Unavailable);
    }
    assert!(batch.read(&keys("a")).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_after_delivery() {
    let gate = Gate::open(10);
    let batch = Batch::new(gate.clone());
    let results = batch.read(&keys("a")).await;
    let value = Arc::downgrade(&results[0].as_ref().unwrap().value);
    gate.memory.forget("a");
    drop(results);
    assert!(value.upgrade().is_none(), "somebody still holds the value");
}
