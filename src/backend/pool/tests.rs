//! [`Pool`] with connections that are made when the test says so.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::backend::ErrorKind;

fn identity(generation: i64, credentials: &str) -> Identity {
    Identity { uid: "u".to_owned(), generation, credentials: credentials.to_owned() }
}

/// Counts the attempts; each ends at once.
#[derive(Default)]
struct Made(Arc<AtomicUsize>);

impl Made {
    fn connect(&self) -> impl Future<Output = Result<usize, Error>> + Send + 'static {
        let count = Arc::clone(&self.0);
        async move { Ok(count.fetch_add(1, Ordering::SeqCst)) }
    }
}

#[tokio::test]
async fn one_connection_for_one_identity() {
    let (pool, made) = (Pool::new(), Made::default());
    for expected in [0, 0] {
        assert_eq!(*pool.get(&identity(1, "a"), || made.connect()).await.unwrap(), expected);
    }
    assert_eq!(*pool.get(&identity(2, "a"), || made.connect()).await.unwrap(), 1, "another generation");
    assert_eq!(*pool.get(&identity(2, "b"), || made.connect()).await.unwrap(), 2, "other credentials");
    let other = Identity { uid: "v".to_owned(), ..identity(2, "b") };
    assert_eq!(*pool.get(&other, || made.connect()).await.unwrap(), 3, "another store");
    assert_eq!(
        *pool.get(&identity(2, "b"), || made.connect()).await.unwrap(),
        2,
        "which is no reason to let go of one"
    );
    pool.remove("u");
    assert_eq!(*pool.get(&identity(2, "b"), || made.connect()).await.unwrap(), 4);
    assert_eq!(*pool.get(&other, || made.connect()).await.unwrap(), 3);
}

#[tokio::test]
async fn what_is_let_go_lives_as_long_as_somebody_uses_it() {
    let (pool, made) = (Pool::new(), Made::default());
    let held = pool.get(&identity(1, "a"), || made.connect()).await.unwrap();
    let old = Arc::downgrade(&held);
    pool.get(&identity(2, "a"), || made.connect()).await.unwrap();
    assert!(old.upgrade().is_some(), "who uses it keeps it");
    drop(held);
    assert!(old.upgrade().is_none());
    let removed = Arc::downgrade(&pool.get(&identity(2, "a"), || made.connect()).await.unwrap());
    assert!(removed.upgrade().is_some());
    pool.remove("u");
    assert!(removed.upgrade().is_none());
}

#[tokio::test]
async fn those_who_ask_at_once_wait_for_one_attempt() {
    let (pool, made) = (Arc::new(Pool::new()), Arc::new(Made::default()));
    let door = Arc::new(Notify::new());
    let ask = || {
        let (pool, made, door) = (Arc::clone(&pool), Arc::clone(&made), Arc::clone(&door));
        tokio::spawn(async move {
            let connect = || {
                let attempt = made.connect();
                async move {
                    door.notified().await;
                    attempt.await
                }
            };
            pool.get(&identity(1, "a"), connect).await.map(|made| *made)
        })
    };
    let tasks: Vec<_> = (0..8).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    // The one who began it goes; the others carry on.
    tasks.first().unwrap().abort();
    door.notify_one();
    for task in tasks.into_iter().skip(1) {
        assert_eq!(task.await.unwrap().unwrap(), 0);
    }
    assert_eq!(made.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_shared_by_those_who_wait_and_not_kept() {
    let pool = Pool::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let fail = || {
        let attempts = Arc::clone(&attempts);
        async move {
            attempts.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err::<usize, _>(Error::new(ErrorKind::Unauthenticated, "no"))
        }
    };
    let wanted = identity(1, "a");
    let (one, two) = tokio::join!(pool.get(&wanted, fail), pool.get(&wanted, fail));
    assert_eq!(
        (one.unwrap_err().kind, two.unwrap_err().kind),
        (ErrorKind::Unauthenticated, ErrorKind::Unauthenticated)
    );
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(*pool.get(&wanted, || async { Ok(7) }).await.unwrap(), 7);
}

#[tokio::test]
async fn an_attempt_that_is_overtaken_does_not_take_the_place() {
    let pool = Arc::new(Pool::new());
    let door = Arc::new(Notify::new());
    let slow = {
        let (pool, door) = (Arc::clone(&pool), Arc::clone(&door));
        tokio::spawn(async move {
            let connect = || async move {
                door.notified().await;
                Ok(1)
            };
            pool.get(&identity(1, "a"), connect).await.map(|made| *made)
        })
    };
    tokio::task::yield_now().await;
    assert_eq!(*pool.get(&identity(2, "a"), || async { Ok(2) }).await.unwrap(), 2);
    door.notify_one();
    assert_eq!(slow.await.unwrap().unwrap(), 1, "who asked for it gets it");
    assert_eq!(*pool.get(&identity(2, "a"), || async { Ok(3) }).await.unwrap(), 2);
}

#[tokio::test]
async fn an_abandoned_attempt_is_begun_again() {
    let pool = Pool::new();
    let never = || std::future::pending::<Result<usize, Error>>();
    assert!(pool.get(&identity(1, "a"), never).now_or_never().is_none());
    assert_eq!(*pool.get(&identity(1, "a"), || async { Ok(1) }).await.unwrap(), 1);
}
