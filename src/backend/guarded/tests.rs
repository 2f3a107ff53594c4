//! [`Guarded`] over the reference implementation, under paused time.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::sync::Mutex;

use super::outside::AT_ONCE;
use super::*;
use crate::backend::memory::{Fault, Memory};

type Calls = Arc<Mutex<Vec<(Operation, &'static str, Duration)>>>;

fn guard(memory: &Arc<Memory>, timeout: Duration) -> (Guarded, Calls) {
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let observer = move |operation, outcome, duration| log.lock().unwrap().push((operation, outcome, duration));
    (Guarded::new(Arc::<Memory>::clone(memory), "Store/app".to_owned(), timeout, Arc::new(observer)), calls)
}

fn fault(kind: ErrorKind) -> Fault {
    Fault::Error(Error::new(kind, "told to fail"))
}

fn outcomes(calls: &Calls) -> Vec<&'static str> {
    calls.lock().unwrap().iter().map(|(_, outcome, _)| *outcome).collect()
}

const KINDS: [ErrorKind; 22] = [
    ErrorKind::NotFound,
    ErrorKind::VersionNotFound,
    ErrorKind::PendingDeletion,
    ErrorKind::SourceNotFound,
    ErrorKind::Unauthenticated,
    ErrorKind::PermissionDenied,
    ErrorKind::GrantMissing,
    ErrorKind::InvalidConfig,
    ErrorKind::EndpointNotAllowed,
    ErrorKind::InvalidKey,
    ErrorKind::NotEncrypted,
    ErrorKind::Undecodable,
    ErrorKind::MacMismatch,
    ErrorKind::NoMatchingKey,
    ErrorKind::Ambiguous,
    ErrorKind::TooLarge,
    ErrorKind::Conflict,
    ErrorKind::RateLimited,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Unsupported,
    ErrorKind::Unexpected,
];

#[tokio::test(start_paused = true)]
async fn reads_repeat_what_passes_and_nothing_else() {
    for kind in KINDS {
        let memory = Arc::new(Memory::new());
        memory.set("a", "1");
        memory.fail_next([fault(kind), fault(kind)]);
        let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
        let result = guarded.read(&[Key::current("a")]).await.remove(0);
        if kind.is_transient() {
            assert!(result.is_ok(), "{kind:?}");
            assert_eq!(outcomes(&calls), [kind.label(), kind.label(), "ok"]);
        } else {
            assert_eq!(result.err().unwrap().kind, kind);
            assert_eq!(outcomes(&calls), [if kind.is_missing() { "ok" } else { kind.label() }]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn writes_repeat_only_what_cannot_have_happened() {
    for kind in KINDS {
        let memory = Arc::new(Memory::new());
        memory.fail_next([fault(kind)]);
        let (guarded, _) = guard(&memory, DEFAULT_TIMEOUT);
        let value = SecretValue::new(b"x".to_vec());
        let result = guarded.write(&Key::current("a"), &value, Precondition::None).await;
        assert_eq!(result.is_ok(), kind == ErrorKind::RateLimited, "{kind:?}");

        memory.fail_next([fault(kind)]);
        memory.set("a", "1");
        let result = guarded.delete(&Key::current("a"), DeleteMode::Purge).await;
        assert_eq!(result.is_ok(), kind == ErrorKind::RateLimited, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_has_an_end() {
    let limit = Duration::from_secs(7);
    let keys = [Key::current("a"), Key::current("b")];
    for operation in 0..7 {
        let memory = Arc::new(Memory::new());
        memory.fail_next([Fault::Hang]);
        let (guarded, calls) = guard(&memory, limit);
        let value = SecretValue::new(b"x".to_vec());
        let start = Instant::now();
        let error = match operation {
            0 => guarded.read(&keys).await.remove(1).err(),
            1 => guarded.probe(&keys).await.remove(1).err(),
            2 => guarded.write(&keys[0], &value, Precondition::None).await.err(),
            3 => guarded.delete(&keys[0], DeleteMode::Purge).await.err(),
            4 => guarded.list("").await.err(),
            5 => guarded.versions(&keys[0]).await.err(),
            _ => guarded.check().await.err(),
        };
        let error = error.unwrap();
        assert_eq!(start.elapsed(), limit);
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert!(error.message.starts_with("Store/app: no answer to "), "{}", error.message);
        assert!(error.message.ends_with(" within 7 s"), "{}", error.message);
        assert_eq!(outcomes(&calls), ["timeout"]);
        assert_eq!(calls.lock().unwrap()[0].2, limit);
    }
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_three_tries_within_short_waits() {
    let memory = Arc::new(Memory::new());
    memory.fail_next(std::iter::repeat_n(fault(ErrorKind::Unavailable), 9));
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let start = Instant::now();
    let error = guarded.check().await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "Store/app: told to fail"));
    assert_eq!(outcomes(&calls).len(), 3);
    // 50 ms and 100 ms at most; the paused clock ticks in milliseconds.
    assert!(start.elapsed() <= Duration::from_millis(152), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_failed_in_passing_are_read_again() {
    let memory = Arc::new(Memory::new());
    memory.set("good", "1");
    memory.set("denied", "1");
    memory.set("busy", "1");
    memory.refuse("denied", Error::new(ErrorKind::PermissionDenied, "no"));
    memory.refuse("busy", Error::new(ErrorKind::Unavailable, "later"));
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let keys = ["good", "busy", "missing", "denied"].map(Key::current);
    let results = guarded.read(&keys).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.kind)).collect();
    let expected = [None, Some(ErrorKind::Unavailable), Some(ErrorKind::NotFound), Some(ErrorKind::PermissionDenied)];
    assert_eq!(kinds, expected);
    let asked: Vec<Vec<Key>> = memory.calls().into_iter().map(|(_, keys)| keys).collect();
    assert_eq!(asked, [keys.to_vec(), vec![Key::current("busy")], vec![Key::current("busy")]]);
    assert_eq!(outcomes(&calls), ["unavailable"; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_answer_counts_more_than_a_late_one() {
    let memory = Arc::new(Memory::new());
    memory.set("a", "1");
    memory.fail_next([fault(ErrorKind::Unavailable), Fault::Hang]);
    let (guarded, _) = guard(&memory, DEFAULT_TIMEOUT);
    let error = guarded.read(&[Key::current("a")]).await.remove(0).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_store_asks_for_is_kept_if_it_fits() {
    for (limit, asked, fits) in [(10, 3, true), (10, 11, false), (60, 29, true), (60, 31, false)] {
        let memory = Arc::new(Memory::new());
        memory.set("a", "1");
        let asked = Duration::from_secs(asked);
        memory.fail_next([Fault::Error(Error {
            retry_after: Some(asked),
            ..Error::new(ErrorKind::RateLimited, "slow down")
        })]);
        let (guarded, _) = guard(&memory, Duration::from_secs(limit));
        let start = Instant::now();
        match guarded.read(&[Key::current("a")]).await.remove(0) {
            Ok(_) => {
                assert!(fits, "{asked:?} within {limit} s");
                assert!(start.elapsed() >= asked && start.elapsed() < asked + Duration::from_millis(100));
            }
            Err(error) => {
                assert!(!fits, "{asked:?} within {limit} s");
                assert_eq!(error.retry_after, Some(asked), "the schedule must know");
                assert_eq!(start.elapsed(), Duration::ZERO, "no use waiting");
            }
        }
    }
}

#[test]
fn messages_are_cut_to_what_a_status_may_hold() {
    let error = Error::new(ErrorKind::Unexpected, "ä".repeat(1000)).in_context("Store/app");
    assert_eq!(error.message.chars().count(), crate::backend::MESSAGE_LIMIT);
    assert!(error.message.starts_with("Store/app: ä") && error.message.ends_with("ä…"));
}

#[tokio::test(start_paused = true)]
async fn a_store_outside_that_is_down_is_hardly_asked_and_answers_at_once() {
    let memory = Arc::new(Memory::new());
    memory.set("a", "1");
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let guarded = guarded.outside(1000, 1);
    memory.fail_next((0..1000).map(|_| fault(ErrorKind::Unavailable)));
    let keys = [Key::current("a"), Key::current("none")];
    let start = Instant::now();
    let mut asked = Vec::new();
    while start.elapsed() < Duration::from_secs(600) {
        for result in guarded.read(&keys).await {
            assert_eq!(result.err().unwrap().kind, ErrorKind::Unavailable);
        }
        asked.push(calls.lock().unwrap().len());
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    // Three calls with three tries each; then looks after 5, 10, 20 s and every 30 s, each with one try.
    let total = calls.lock().unwrap().len();
    assert!((9 + 20..=9 + 23).contains(&total), "{total}");
    memory.clear_faults();
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(guarded.read(&keys).await[0].is_ok());
    assert!(guarded.check().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_good_key_shows_that_a_store_outside_is_there() {
    let memory = Arc::new(Memory::new());
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let guarded = guarded.outside(1000, 1);
    // Missing is an answer.
    for _ in 0..10 {
        assert_eq!(guarded.read(&[Key::current("none")]).await.remove(0).err().unwrap().kind, ErrorKind::NotFound);
    }
    assert_eq!(calls.lock().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_takes_few_connections_and_answers_the_others_at_once() {
    let memory = Arc::new(Memory::new());
    memory.fail_next((0..1000).map(|_| Fault::Hang));
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let guarded = guarded.outside(10_000, 1);
    let start = Instant::now();
    let key = [Key::current("a")];
    let results = futures::future::join_all((0..1000).map(|_| guarded.read(&key))).await;
    assert!(results.iter().all(|results| results[0].as_ref().is_err_and(|error| error.kind == ErrorKind::Timeout)));
    assert_eq!(start.elapsed(), DEFAULT_TIMEOUT, "nobody waits for a second timeout");
    assert_eq!(calls.lock().unwrap().len(), AT_ONCE.1);
}

#[tokio::test(start_paused = true)]
async fn the_pace_counts_what_the_service_is_asked_and_not_what_the_driver_is_given() {
    for (keys_in_one_read, waited) in [(1, 9_000), (5, 1_000)] {
        let memory = Arc::new(Memory::new());
        let (guarded, _) = guard(&memory, Duration::from_secs(1));
        let guarded = guarded.outside(10, keys_in_one_read);
        let start = Instant::now();
        let keys: Vec<Key> = (0..100).map(|number| Key::current(format!("k{number}"))).collect();
        guarded.read(&keys).await;
        guarded.read(&keys[..1]).await;
        assert_eq!(start.elapsed().as_millis(), waited, "{keys_in_one_read} keys in one read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_outside_is_asked_at_its_pace_and_the_wait_is_no_timeout() {
    let memory = Arc::new(Memory::new());
    memory.set("a", "1");
    let (guarded, _) = guard(&memory, Duration::from_secs(1));
    let guarded = guarded.outside(2, 1);
    let start = Instant::now();
    let key = [Key::current("a")];
    let results = futures::future::join_all((0..22).map(|_| guarded.read(&key))).await;
    assert!(results.iter().all(|results| results[0].is_ok()));
    // Two in the first second are free, and the one at its end.
    assert_eq!(start.elapsed().as_millis(), 9_500);
}

#[tokio::test(start_paused = true)]
async fn values_are_read_while_nothing_else_is_answered() {
    let memory = Arc::new(Memory::new());
    memory.set("a", "1");
    let (guarded, calls) = guard(&memory, DEFAULT_TIMEOUT);
    let guarded = guarded.outside(1000, 1);
    let key = [Key::current("a")];
    memory.fail_next((0..1000).map(|_| fault(ErrorKind::Unavailable)));
    for _ in 0..5 {
        assert!(guarded.probe(&key).await.remove(0).is_err());
        assert!(guarded.check().await.is_err());
    }
    assert_eq!(calls.lock().unwrap().len(), 9, "three calls of three tries, and the others were told at once");
    memory.clear_faults();
    assert!(guarded.read(&key).await.remove(0).is_ok());
    assert!(guarded.check().await.is_err(), "that values come says nothing of the place where they are written");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_is_back_for_every_call() {
    let memory = Arc::new(Memory::new());
    memory.set("a", "1");
    let (guarded, _) = guard(&memory, DEFAULT_TIMEOUT);
    let guarded = guarded.outside(1000, 1);
    let key = [Key::current("a")];
    memory.fail_next((0..1000).map(|_| fault(ErrorKind::Unavailable)));
    // The looks of the check come late: it failed for longer.
    for _ in 0..60 {
        assert!(guarded.check().await.is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for _ in 0..3 {
        assert!(guarded.read(&key).await.remove(0).is_err());
    }
    memory.clear_faults();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(guarded.read(&key).await.remove(0).is_ok());
    assert!(guarded.check().await.is_ok());
}
