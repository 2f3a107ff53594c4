#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_key_is_queued_once_and_runs_alone() {
    let queue = Queue::new(64);
    queue.add("a", Lane::Background);
    queue.add("a", Lane::Background);
    assert_eq!(queue.next().await, Some(("a", Lane::Background)));
    queue.add("a", Lane::User);
    queue.add("b", Lane::Background);
    assert_eq!(queue.next().await, Some(("b", Lane::Background)), "a is running and must not be handed out");
    queue.done(&"a");
    assert_eq!(queue.next().await, Some(("a", Lane::User)));
    queue.done(&"a");
    queue.done(&"b");
    assert_eq!(queue.depth(), Depth { user: 0, background: 0, delayed: 0, running: 0, away: 0 });
    assert!(queue.lock().keys.is_empty(), "an idle key costs no memory");
}

#[tokio::test(start_paused = true)]
async fn people_go_first_and_nobody_starves() {
    let queue = Queue::new(64);
    for number in 0..3 {
        queue.add(1000 + number, Lane::Background);
    }
    for number in 0..40 {
        queue.add(number, Lane::User);
    }
    let mut order = Vec::new();
    for _ in 0..43 {
        order.push(queue.next().await.unwrap().0);
    }
    assert_eq!(order.first(), Some(&0));
    let first_background = order.iter().position(|key| *key == 1000).unwrap();
    assert_eq!(first_background, STARVATION_LIMIT as usize);
    assert_eq!(order.len(), 43);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_request_overtakes() {
    let queue = Queue::new(64);
    queue.add("slow", Lane::Background);
    queue.add("edited", Lane::Background);
    queue.add("edited", Lane::User);
    assert_eq!(queue.next().await, Some(("edited", Lane::User)));
    assert_eq!(queue.next().await, Some(("slow", Lane::Background)));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_time_wins() {
    let queue = Queue::new(64);
    let start = Instant::now();
    queue.add_after("a", Lane::Background, Duration::from_secs(60));
    queue.add_after("a", Lane::Background, Duration::from_secs(10));
    queue.add_after("a", Lane::Background, Duration::from_secs(30));
    assert_eq!(queue.next().await, Some(("a", Lane::Background)));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    queue.add_after("a", Lane::Background, Duration::from_secs(60));
    queue.done(&"a");
    queue.add("a", Lane::User);
    assert_eq!(queue.next().await, Some(("a", Lane::User)));
    queue.done(&"a");
    assert_eq!(queue.depth().delayed, 0, "a request now replaces the one for later");
}

#[tokio::test(start_paused = true)]
async fn removed_keys_do_not_come_back() {
    let queue = Queue::new(64);
    queue.add("a", Lane::User);
    queue.add_after("b", Lane::User, Duration::from_secs(1));
    queue.remove(&"a");
    queue.remove(&"b");
    let waiting = tokio::time::timeout(Duration::from_secs(5), queue.next()).await;
    assert!(waiting.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_wakes_every_worker() {
    let queue = Arc::new(Queue::<u32>::new(64));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), None);
    }
}

#[tokio::test]
async fn many_workers_share_all_keys() {
    let queue = Arc::new(Queue::new(64));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut seen = 0usize;
                while let Some((key, _)) = queue.next().await {
                    tokio::task::yield_now().await;
                    queue.done(&key);
                    seen += 1;
                }
                seen
            })
        })
        .collect();
    for number in 0..1000 {
        queue.add(number, Lane::Background);
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while queue.depth() != (Depth { user: 0, background: 0, delayed: 0, running: 0, away: 0 }) {
        tokio::task::yield_now().await;
    }
    queue.close();
    let mut total = 0;
    for worker in workers {
        total += worker.await.unwrap();
    }
    assert_eq!(total, 1000);
}

/// What a worker takes next, if there is anything to take.
async fn next_now<K: Clone + Eq + std::hash::Hash>(queue: &Queue<K>) -> Option<K> {
    tokio::time::timeout(Duration::from_millis(1), queue.next()).await.ok()?.map(|(key, _)| key)
}

/// Work on a key that was handed out, which waits until the sender sends or goes.
fn wait_for<K>(queue: &Arc<Queue<K>>, key: K) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>)
where
    K: Clone + Eq + std::hash::Hash + Send + Sync + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let queue = Arc::clone(queue);
    let work = tokio::spawn(async move {
        let _ = queue.away(&key, receiver).await;
        queue.done(&key);
    });
    (sender, work)
}

#[tokio::test(start_paused = true)]
async fn no_more_run_than_there_are_turns() {
    let queue = Queue::new(2);
    for key in ["a", "b", "c"] {
        queue.add(key, Lane::User);
    }
    assert_eq!((next_now(&queue).await, next_now(&queue).await), (Some("a"), Some("b")));
    assert_eq!(next_now(&queue).await, None);
    queue.done(&"a");
    assert_eq!(next_now(&queue).await, Some("c"));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_far_away_takes_no_turn_and_stays_handed_out() {
    const WAITING: usize = 1000;
    let queue = Arc::new(Queue::new(2));
    let mut works = Vec::new();
    for key in 0..WAITING {
        queue.add(key, Lane::User);
        assert_eq!(next_now(&queue).await, Some(key), "nobody who waits has a turn");
        works.push(wait_for(&queue, key));
        tokio::task::yield_now().await;
    }
    assert_eq!(queue.depth().away, WAITING);
    // Asked for again: not before it is done.
    queue.add(0, Lane::User);
    assert_eq!(next_now(&queue).await, None);
    let (sender, work) = works.swap_remove(0);
    sender.send(()).unwrap();
    work.await.unwrap();
    assert_eq!(next_now(&queue).await, Some(0));
    queue.done(&0);
    // All come back at once, each with a turn of its own.
    let more = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.next().await }
    });
    for (sender, work) in works {
        drop(sender);
        work.await.unwrap();
    }
    queue.close();
    assert_eq!(more.await.unwrap(), None);
    assert_eq!(queue.depth(), Depth { user: 0, background: 0, delayed: 0, running: 0, away: 0 });
    assert!(queue.lock().keys.is_empty(), "an idle key costs no memory");
}

/// The order in which keys run to their end or begin, with one turn for all.
#[tokio::test(start_paused = true)]
async fn what_comes_back_waits_for_a_turn_in_its_lane() {
    let queue = Arc::new(Queue::new(1));
    let mut works = Vec::new();
    for (key, lane) in [("b1", Lane::Background), ("b2", Lane::Background), ("u1", Lane::User), ("u2", Lane::User)] {
        queue.add(key, lane);
        assert_eq!(next_now(&queue).await, Some(key));
        works.push(wait_for(&queue, key));
        tokio::task::yield_now().await;
    }
    queue.add("first", Lane::User);
    assert_eq!(next_now(&queue).await, Some("first"));
    // The only turn is taken: all others stand in line, and none ends.
    let mut ends = Vec::new();
    for (sender, work) in works {
        sender.send(()).unwrap();
        ends.push(work);
        tokio::task::yield_now().await;
    }
    queue.add("u3", Lane::User);
    queue.add("b3", Lane::Background);
    assert_eq!(next_now(&queue).await, None);
    assert!(ends.iter().all(|work| !work.is_finished()));
    queue.done(&"first");
    // One that came back, then a new one: neither kind holds up the other.
    assert_eq!(next_now(&queue).await, Some("u3"));
    let finished =
        |ends: &[tokio::task::JoinHandle<()>]| ends.iter().map(|work| work.is_finished()).collect::<Vec<_>>();
    assert_eq!(finished(&ends), [false, false, true, false], "u1 was first of its lane");
    queue.done(&"u3");
    assert_eq!(next_now(&queue).await, Some("b3"));
    assert_eq!(finished(&ends), [true, false, true, true], "background comes after all users");
    queue.done(&"b3");
    assert_eq!(next_now(&queue).await, None);
    assert_eq!(finished(&ends), [true; 4]);
}

#[tokio::test(start_paused = true)]
async fn work_that_is_dropped_while_it_is_away_takes_no_turn_with_it() {
    let queue = Arc::new(Queue::new(1));
    for round in 0..3 {
        queue.add("a", Lane::User);
        assert_eq!(next_now(&queue).await, Some("a"), "round {round}");
        {
            let mut away = Box::pin(queue.away(&"a", std::future::pending::<()>()));
            assert!(futures::poll!(&mut away).is_pending());
        }
        queue.done(&"a");
    }
    // Dropped in line for a turn.
    queue.add("a", Lane::User);
    assert_eq!(next_now(&queue).await, Some("a"));
    let mut away = Box::pin(queue.away(&"a", tokio::task::yield_now()));
    assert!(futures::poll!(&mut away).is_pending());
    queue.add("b", Lane::User);
    assert_eq!(next_now(&queue).await, Some("b"));
    assert!(futures::poll!(&mut away).is_pending());
    drop(away);
    queue.done(&"a");
    queue.done(&"b");
    queue.add("c", Lane::User);
    assert_eq!(next_now(&queue).await, Some("c"));
    assert_eq!(queue.depth(), Depth { user: 0, background: 0, delayed: 0, running: 1, away: 0 });
}

#[tokio::test(start_paused = true)]
async fn after_the_end_everybody_may_finish() {
    let queue = Arc::new(Queue::new(1));
    queue.add("a", Lane::User);
    assert_eq!(next_now(&queue).await, Some("a"));
    let (sender, early) = wait_for(&queue, "a");
    tokio::task::yield_now().await;
    queue.add("b", Lane::User);
    assert_eq!(next_now(&queue).await, Some("b"));
    let (late_sender, late) = wait_for(&queue, "b");
    tokio::task::yield_now().await;
    queue.add("c", Lane::User);
    assert_eq!(next_now(&queue).await, Some("c"));
    sender.send(()).unwrap();
    tokio::task::yield_now().await;
    assert!(!early.is_finished(), "the only turn is taken");
    queue.close();
    early.await.unwrap();
    late_sender.send(()).unwrap();
    late.await.unwrap();
    assert_eq!(queue.next().await, None);
}
