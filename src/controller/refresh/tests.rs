#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::due::{Job, Why};
use super::state::RECENT;
use super::*;
use crate::backend::ErrorKind;
use crate::model::StoreRef;
use crate::value::SecretValue;

const HOUR: Duration = Duration::from_secs(3600);

fn refresh() -> Refresh {
    Refresh::new(Arc::new(DigestKey::new("test".into(), vec![1; 32])))
}

fn store() -> StoreKey {
    StoreKey::resolve(&StoreRef::Store("app".into()), "payments")
}

fn stack(name: &str) -> StackKey {
    StackKey::new("payments", name)
}

fn value(text: &str) -> Result<Versioned, Error> {
    Ok(Versioned { value: Arc::new(SecretValue::from(text.to_owned())), version: String::new() })
}

fn error(kind: ErrorKind) -> Result<Versioned, Error> {
    Err(Error::new(kind, "test"))
}

fn register(refresh: &Refresh, who: &str, keys: &[(&str, Result<Versioned, Error>)], interval: Option<Duration>) {
    register_since(refresh, who, keys, interval, refresh.mark());
}

/// The other Stacks that a sync's own read concerns.
fn register_since(
    refresh: &Refresh,
    who: &str,
    keys: &[(&str, Result<Versioned, Error>)],
    interval: Option<Duration>,
    since: u64,
) -> Vec<String> {
    let readings: Vec<Reading<'_>> = keys
        .iter()
        .map(|(key, result)| Reading { store: store(), key: Key::current(*key), interval, result })
        .collect();
    let affected = refresh.register(&stack(who), &readings, since);
    let mut names: Vec<String> = affected.iter().map(|stack| stack.name.to_string()).collect();
    names.sort();
    names
}

/// What a read of one key that the loop made does to its users.
fn take(refresh: &Refresh, key: &str, result: &Result<Versioned, Error>, watched: bool) -> Vec<String> {
    let key = Key::current(key);
    let shared =
        refresh.lock().stores.get(&store()).and_then(|index| index.keys.get_key_value(&key)).unwrap().0.clone();
    let mut affected = HashSet::new();
    let seen = refresh.see(&key, result);
    refresh.take(&store(), &shared, seen, result.as_ref().err(), watched, &mut affected);
    let mut names: Vec<String> = affected.iter().map(|stack| stack.name.to_string()).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn only_the_users_of_a_changed_key_are_affected() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a")), ("object#SHARED", value("s"))], Some(HOUR));
    register(&refresh, "two", &[("other#B", value("b")), ("object#SHARED", value("s"))], Some(HOUR));
    assert_eq!(refresh.key_count(), 3, "a shared key is kept once");
    assert!(take(&refresh, "object#A", &value("a"), true).is_empty(), "an unchanged value touches nobody");
    assert_eq!(take(&refresh, "object#A", &value("new"), true), ["one"]);
    assert_eq!(take(&refresh, "object#SHARED", &value("new"), true), ["one", "two"]);
    assert!(take(&refresh, "object#SHARED", &value("new"), true).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_concerns_its_own_keys() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a")), ("other#B", value("b"))], Some(HOUR));
    refresh.source_changed(&store(), Some("object"));
    let (jobs, _) = refresh.collect(Instant::now());
    let job = jobs.first().unwrap();
    assert_eq!(job.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["object#A"]);
    refresh.source_changed(&store(), None);
    let (jobs, _) = refresh.collect(Instant::now());
    assert!(jobs.is_empty(), "one job at a time for each store");
    refresh.lock().stores.get_mut(&store()).unwrap().running = false;
    let (jobs, _) = refresh.collect(Instant::now());
    assert_eq!(jobs.first().unwrap().keys.len(), 2, "what changed meanwhile is not lost");
}

#[tokio::test(start_paused = true)]
async fn a_tick_reads_the_keys_of_its_interval_together() {
    let refresh = refresh();
    register(&refresh, "fast", &[("object#A", value("a")), ("object#B", value("b"))], Some(Duration::from_secs(10)));
    register(&refresh, "slow", &[("object#B", value("b")), ("object#C", value("c"))], Some(HOUR));
    let (jobs, next) = refresh.collect(Instant::now());
    assert!(jobs.is_empty());
    assert!(next.unwrap() <= Instant::now() + Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(10)).await;
    let (jobs, next) = refresh.collect(Instant::now());
    let mut keys: Vec<&str> = jobs.first().unwrap().keys.iter().map(|key| key.name.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["object#A", "object#B"], "the shortest interval of its users counts");
    assert!(next.unwrap() > Instant::now(), "the next tick is armed");
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_for_nothing_is_not_polled() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a"))], None);
    let (_, next) = refresh.collect(Instant::now());
    assert_eq!(next, None);
}

#[tokio::test(start_paused = true)]
async fn a_passing_error_tells_only_when_the_read_is_stale() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a"))], Some(Duration::from_secs(60)));
    let unreachable = error(ErrorKind::Unavailable);
    assert!(take(&refresh, "object#A", &unreachable, true).is_empty());
    assert!(refresh.is_covered(&store(), &Key::current("object#A")));
    tokio::time::advance(Duration::from_secs(299)).await;
    assert!(take(&refresh, "object#A", &unreachable, true).is_empty());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!refresh.is_covered(&store(), &Key::current("object#A")));
    assert_eq!(take(&refresh, "object#A", &unreachable, true), ["one"], "stale: once");
    assert!(take(&refresh, "object#A", &unreachable, true).is_empty(), "and not again");
    assert_eq!(take(&refresh, "object#A", &value("a"), true), ["one"], "recovered: once");
    assert!(refresh.is_covered(&store(), &Key::current("object#A")));
    assert!(take(&refresh, "object#A", &value("a"), true).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waiting_cannot_cure_tells_at_once() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a"))], Some(HOUR));
    assert_eq!(take(&refresh, "object#A", &error(ErrorKind::MacMismatch), true), ["one"]);
    assert!(take(&refresh, "object#A", &error(ErrorKind::MacMismatch), true).is_empty());
    assert_eq!(take(&refresh, "object#A", &error(ErrorKind::NotFound), true), ["one"]);
    assert_eq!(take(&refresh, "object#A", &value("a"), true), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_is_asked_again_with_doubling_waits() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", error(ErrorKind::NotFound))], Some(HOUR));
    let mut waits = Vec::new();
    for _ in 0..7 {
        let before = Instant::now();
        loop {
            let (jobs, next) = refresh.collect(Instant::now());
            if jobs.iter().any(|job| job.why == Why::Retry) {
                break;
            }
            tokio::time::advance(next.unwrap() - Instant::now()).await;
        }
        waits.push((Instant::now() - before).as_secs());
        assert!(take(&refresh, "object#A", &error(ErrorKind::NotFound), false).is_empty());
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_of_a_watched_store_is_not_asked_again() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", error(ErrorKind::NotFound))], None);
    assert!(take(&refresh, "object#A", &error(ErrorKind::NotFound), true).is_empty());
    tokio::time::advance(Duration::from_secs(20)).await;
    let (jobs, next) = refresh.collect(Instant::now());
    assert!(jobs.is_empty(), "the watch tells when it comes");
    assert_eq!(next, None);
}

#[tokio::test(start_paused = true)]
async fn keys_without_users_are_forgotten() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a")), ("object#B", value("b"))], Some(HOUR));
    register(&refresh, "two", &[("object#B", value("b"))], Some(HOUR));
    register(&refresh, "one", &[("object#A", value("a"))], Some(HOUR));
    assert_eq!(take(&refresh, "object#B", &value("new"), true), ["two"]);
    refresh.forget(&stack("one"));
    assert_eq!(refresh.key_count(), 1);
    refresh.forget(&stack("two"));
    assert_eq!(refresh.key_count(), 0);
    assert!(refresh.lock().stores.is_empty() && refresh.lock().of_stack.is_empty(), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_sync_finds_first_is_told_to_the_other_users() {
    let refresh = refresh();
    for who in ["one", "two", "three"] {
        register(&refresh, who, &[("object#SHARED", value("old"))], Some(HOUR));
    }
    let since = refresh.mark();
    let told = register_since(&refresh, "two", &[("object#SHARED", value("new"))], Some(HOUR), since);
    assert_eq!(told, ["one", "three"], "the loop will find nothing changed any more");
    assert!(take(&refresh, "object#SHARED", &value("new"), true).is_empty());
    let told = register_since(&refresh, "one", &[("object#SHARED", value("new"))], Some(HOUR), since);
    assert!(told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_too_early_is_done_again() {
    let refresh = refresh();
    let since = refresh.mark();
    // The source changes while the first sync of a Stack reads it, and nobody uses its keys yet.
    refresh.source_changed(&store(), Some("object"));
    let keys = [("object#A", value("old")), ("other#B", value("b"))];
    register_since(&refresh, "one", &keys, Some(HOUR), since);
    let (jobs, _) = refresh.collect(Instant::now());
    let names: Vec<&str> = jobs.first().unwrap().keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["object#A"]);
    assert_eq!(take(&refresh, "object#A", &value("new"), true), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_are_listed_count_as_a_change_of_everything() {
    let refresh = refresh();
    let since = refresh.mark();
    for number in 0..=RECENT {
        refresh.source_changed(&store(), Some(&format!("object-{number}")));
    }
    register_since(&refresh, "one", &[("elsewhere#A", value("a"))], Some(HOUR), since);
    let (jobs, _) = refresh.collect(Instant::now());
    assert_eq!(jobs.first().unwrap().keys.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_panics_is_not_the_last_one_of_its_store() {
    let refresh = refresh();
    register(&refresh, "one", &[("object#A", value("a"))], None);
    for _ in 0..3 {
        refresh.source_changed(&store(), None);
        let (jobs, _) = refresh.collect(Instant::now());
        let [job] = jobs.as_slice() else { unreachable!("one job") };
        refresh.source_changed(&store(), None);
        assert!(refresh.collect(Instant::now()).0.is_empty(), "one at a time");
        let read = || {
            let _running = refresh.running(job);
            std::panic::resume_unwind(Box::new("a defect"))
        };
        let ended: Result<(), _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        assert!(ended.is_err());
    }
}

/// Advances to each next timer for as long as this; returns what the jobs were about and when.
async fn jobs_within(refresh: &Refresh, long: Duration) -> Vec<(Why, u64)> {
    let started = Instant::now();
    let mut found = Vec::new();
    loop {
        let (jobs, next) = refresh.collect(Instant::now());
        found.extend(jobs.iter().map(|job| (job.why, started.elapsed().as_secs())));
        match next {
            Some(next) if next <= started + long => tokio::time::advance(next - Instant::now()).await,
            Some(_) | None => return found,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_went_without_a_value_is_told_of_the_next_good_read() {
    let refresh = refresh();
    for who in ["one", "two"] {
        register(&refresh, who, &[("object#A", value("a"))], Some(HOUR));
    }
    // The loop saw the value, and then the sync that it asked for could not read it.
    assert_eq!(take(&refresh, "object#A", &value("b"), false), ["one", "two"]);
    register(&refresh, "one", &[("object#A", error(ErrorKind::Unavailable))], Some(HOUR));
    assert!(take(&refresh, "object#A", &error(ErrorKind::Unavailable), false).is_empty());
    assert_eq!(take(&refresh, "object#A", &value("b"), false), ["one"], "nobody else is concerned");
    assert!(take(&refresh, "object#A", &value("b"), false).is_empty(), "once");

    // The same if the good read is that of another Stack.
    register(&refresh, "new", &[("object#A", error(ErrorKind::Timeout))], Some(HOUR));
    let good = |who| register_since(&refresh, who, &[("object#A", value("b"))], Some(HOUR), refresh.mark());
    assert_eq!(good("one"), ["new"]);
    assert!(good("two").is_empty());
    // One that has it by now, or is gone, needs nobody to tell it.
    for who in ["new", "two"] {
        register(&refresh, who, &[("object#A", error(ErrorKind::Timeout))], Some(HOUR));
    }
    refresh.forget(&stack("two"));
    assert!(good("new").is_empty());
    assert!(take(&refresh, "object#A", &value("b"), false).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_read_at_the_interval_of_who_is_left() {
    let refresh = refresh();
    let fast = Duration::from_secs(60);
    register(&refresh, "slow", &[("object#A", value("a"))], Some(HOUR));
    register(&refresh, "fast", &[("object#A", value("a"))], Some(fast));
    // Its own tick comes and goes while somebody faster has the key.
    assert!(jobs_within(&refresh, HOUR * 2).await.len() >= 60);
    refresh.forget(&stack("fast"));
    let ticks = jobs_within(&refresh, HOUR * 3).await;
    assert!((2..=6).contains(&ticks.len()), "{ticks:?}");
    register(&refresh, "fast", &[("object#A", value("a")), ("object#B", value("b"))], Some(fast));
    register(&refresh, "fast", &[("object#B", value("b"))], Some(fast));
    refresh.forget(&stack("slow"));
    register(&refresh, "slow", &[("object#A", value("a"))], Some(HOUR));
    let ticks = jobs_within(&refresh, HOUR * 3).await;
    assert!(ticks.len() >= 100, "of B, and of A: {ticks:?}");
    refresh.forget(&stack("fast"));
    let ticks = jobs_within(&refresh, HOUR * 3).await;
    assert!((2..=6).contains(&ticks.len()), "{ticks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_used_again_ticks_once() {
    let refresh = refresh();
    let interval = Duration::from_secs(60);
    for _ in 0..3 {
        register(&refresh, "one", &[("object#A", value("a"))], Some(interval));
        refresh.forget(&stack("one"));
    }
    register(&refresh, "one", &[("object#A", value("a"))], Some(interval));
    let ticks = jobs_within(&refresh, interval * 10).await;
    // The clock on the wall stands still here, so that ticks lie half an interval apart at the least.
    let apart = ticks.windows(2).all(|pair| matches!(pair, [(_, one), (_, next)] if next - one >= 29));
    assert!(ticks.len() >= 6 && apart, "{ticks:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_comes_back_is_asked_about_in_one_chain() {
    let refresh = refresh();
    let missing = || error(ErrorKind::NotFound);
    register(&refresh, "one", &[("object#A", missing())], None);
    tokio::time::advance(Duration::from_secs(5)).await;
    register(&refresh, "one", &[("object#A", value("a"))], None);
    tokio::time::advance(Duration::from_secs(5)).await;
    register(&refresh, "one", &[("object#A", missing())], None);
    let mut retries = Vec::new();
    let started = Instant::now();
    while retries.len() < 3 {
        let (jobs, next) = refresh.collect(Instant::now());
        if jobs.iter().any(|job| job.why == Why::Retry) {
            retries.push(started.elapsed().as_secs());
            assert!(take(&refresh, "object#A", &missing(), false).is_empty());
        } else {
            tokio::time::advance(next.unwrap() - Instant::now()).await;
        }
    }
    assert_eq!(retries, [15, 45, 105]);
}

#[tokio::test(start_paused = true)]
async fn a_tick_puts_off_no_retry() {
    let refresh = refresh();
    let missing = error(ErrorKind::NotFound);
    register(&refresh, "one", &[("object#A", error(ErrorKind::NotFound))], Some(Duration::from_secs(10)));
    tokio::time::advance(Duration::from_secs(9)).await;
    take(&refresh, "object#A", &missing, false);
    tokio::time::advance(Duration::from_secs(1)).await;
    let (jobs, _) = refresh.collect(Instant::now());
    assert!(jobs.iter().any(|job| job.why == Why::Retry));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_granted_elsewhere_is_noticed_though_the_store_is_watched() {
    let refresh = refresh();
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated, ErrorKind::GrantMissing] {
        register(&refresh, "one", &[("object#A", error(kind))], None);
        take(&refresh, "object#A", &error(kind), true);
        let jobs = jobs_within(&refresh, Duration::from_secs(60)).await;
        assert!(jobs.iter().any(|(why, _)| *why == Why::Retry), "{kind:?}");
        refresh.forget(&stack("one"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_read_panics_is_asked_for_again() {
    let refresh = refresh();
    let defect = |job: &Job| {
        let read = || {
            let _running = refresh.running(job);
            std::panic::resume_unwind(Box::new("a defect"))
        };
        let ended: Result<(), _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        assert!(ended.is_err());
    };
    register(&refresh, "one", &[("object#A", error(ErrorKind::Unavailable))], None);
    register(&refresh, "one", &[("object#A", value("a"))], None);
    refresh.source_changed(&store(), None);
    let (jobs, _) = refresh.collect(Instant::now());
    defect(jobs.first().unwrap());
    for _ in 0..3 {
        let asked = loop {
            let (jobs, next) = refresh.collect(Instant::now());
            if let Some(job) = jobs.into_iter().find(|job| job.why == Why::Retry) {
                break job;
            }
            tokio::time::advance(next.unwrap() - Instant::now()).await;
        };
        defect(&asked);
    }
}
