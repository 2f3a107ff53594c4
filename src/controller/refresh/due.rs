//! The loop: takes what is due, reads it, and queues the Stacks whose keys changed.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Refresh;
use super::state::{Retry, Seen, Timer};
use crate::backend::Key;
use crate::controller::queue::Lane;
use crate::controller::reading::read_of;
use crate::controller::relations::{StackKey, StoreKey};
use crate::controller::{Context, HEARTBEAT, schedule};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Changed,
    Tick,
    Retry,
}

pub(super) struct Job {
    pub(super) store: StoreKey,
    pub(super) keys: Vec<Arc<Key>>,
    pub(super) why: Why,
}

/// What a job leaves in order at its end, even if that is a panic: a defect in one read must not leave a store or a key
/// unread for the life of the process.
pub(super) struct Running<'a> {
    refresh: &'a Refresh,
    job: &'a Job,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Job { store, keys, why } = self.job;
        let mut state = self.refresh.lock();
        match why {
            Why::Changed => {
                // The next job for what changed may begin.
                if let Some(index) = state.stores.get_mut(store) {
                    index.running = false;
                }
                for key in keys.iter().filter(|_| std::thread::panicking()) {
                    let entry = state.stores.get(store).and_then(|index| index.keys.get(key));
                    if entry.is_some_and(|entry| entry.retry.is_none()) {
                        state.arm_retry(store, key, schedule::RETRY_FIRST);
                    }
                }
            }
            Why::Retry => {
                for key in keys {
                    let entry = state.stores.get(store).and_then(|index| index.keys.get(key));
                    let retry = entry.and_then(|entry| entry.retry.as_deref()).copied();
                    if let Some(Retry { wait, timer: None }) = retry {
                        state.arm_retry(store, key, wait);
                    }
                }
            }
            Why::Tick => {}
        }
        drop(state);
        self.refresh.wake.notify_one();
    }
}

impl Refresh {
    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, context: Arc<Context>, stop: CancellationToken) {
        loop {
            context.heartbeats.refresh.beat();
            let notified = self.wake.notified();
            let (jobs, next) = self.collect(Instant::now());
            for job in jobs {
                let (refresh, context, stop) = (Arc::clone(&self), Arc::clone(&context), stop.clone());
                context.tasks.clone().spawn(async move {
                    stop.run_until_cancelled(refresh.work(&context, job)).await;
                });
            }
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = notified => {}
                () = sleep => {}
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
        }
    }

    /// Takes what is due now, at most one job for each store, and says when the next thing will be.
    pub(super) fn collect(&self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let mut state = self.lock();
        let mut jobs = Vec::new();
        let mut again = Vec::new();
        while let Some(first) = state.timers.first_entry() {
            let (due, number) = *first.key();
            if due > now {
                break;
            }
            let timer = first.remove();
            match timer {
                Timer::Tick(store, interval) => {
                    let Some(index) = state.stores.get_mut(&store) else { continue };
                    if index.ticks.get(&interval) != Some(&number) {
                        continue;
                    }
                    index.ticks.remove(&interval);
                    let keys: Vec<Arc<Key>> = index
                        .keys
                        .iter()
                        .filter(|(_, entry)| entry.interval() == Some(interval))
                        .map(|(key, _)| Arc::clone(key))
                        .collect();
                    if !keys.is_empty() {
                        again.push((store.clone(), interval));
                        jobs.push(Job { store, keys, why: Why::Tick });
                    }
                }
                Timer::Retry(store, key) => {
                    let entry = state.stores.get_mut(&store).and_then(|index| index.keys.get_mut(&key));
                    let retry = entry.and_then(|entry| entry.retry.as_deref_mut());
                    let retry = retry.filter(|retry| retry.timer == Some(number));
                    if let Some(retry) = retry {
                        retry.timer = None;
                        match jobs.iter_mut().find(|job| job.store == store && job.why == Why::Retry) {
                            Some(job) => job.keys.push(key),
                            None => jobs.push(Job { store, keys: vec![key], why: Why::Retry }),
                        }
                    }
                }
            }
        }
        for (store, interval) in again {
            state.arm_tick(&store, interval, now, schedule::until_next_tick);
        }
        for (store, index) in &mut state.stores {
            if !index.dirty.is_empty() && !index.running {
                let keys = index.dirty.drain().collect();
                index.running = true;
                jobs.push(Job { store: StoreKey::clone(store), keys, why: Why::Changed });
            }
        }
        (jobs, state.timers.keys().next().map(|(due, _)| *due))
    }

    /// What a job holds while it runs.
    pub(super) fn running<'a>(&'a self, job: &'a Job) -> Running<'a> {
        Running { refresh: self, job }
    }

    async fn work(&self, context: &Context, job: Job) {
        let _running = self.running(&job);
        let watched = context.stores.is_watched(context, &job.store);
        let skip = match job.why {
            Why::Changed | Why::Retry => false,
            // The watch tells of every change, so the clock need not ask.
            Why::Tick => watched,
        };
        if !skip {
            let affected = self.read(context, &job, watched).await;
            let lane = match job.why {
                Why::Changed => Lane::User,
                Why::Tick | Why::Retry => Lane::Background,
            };
            for stack in affected {
                context.queue.add(stack, lane);
            }
        }
    }

    async fn read(&self, context: &Context, job: &Job, watched: bool) -> HashSet<StackKey> {
        let (probe, read): (Vec<Arc<Key>>, Vec<Arc<Key>>) = {
            let state = self.lock();
            let index = state.stores.get(&job.store);
            job.keys.iter().cloned().partition(|key| {
                job.why == Why::Retry
                    && index
                        .and_then(|index| index.keys.get(key))
                        .is_some_and(|entry| matches!(entry.seen, Seen::Missing(..)))
            })
        };
        let mut affected = HashSet::new();
        let live = context.stores.connect(context, &job.store).await;
        let _slot = match &live {
            Ok(live) if !live.outside => self.slots.acquire().await.ok(),
            Ok(_) | Err(_) => None,
        };
        let read_keys: Vec<Key> = read.iter().map(|key| Key::clone(key)).collect();
        let results = read_of(context, &job.store, &live, &read_keys).await;
        for (key, result) in read.iter().zip(&results) {
            let seen = self.see(key, result);
            self.take(&job.store, key, seen, result.as_ref().err(), watched, &mut affected);
        }
        let probe_keys: Vec<Key> = probe.iter().map(|key| Key::clone(key)).collect();
        let presence = match &live {
            Ok(live) if !probe_keys.is_empty() => live.backend.probe(&probe_keys).await,
            Ok(_) => Vec::new(),
            Err(error) => probe_keys.iter().map(|_| Err(error.clone())).collect(),
        };
        for (key, result) in probe.iter().zip(&presence) {
            let seen = match result {
                // It is there now; its Stacks read it.
                Ok(_) => Seen::Nothing,
                Err(error) => Seen::error(error),
            };
            self.take(&job.store, key, seen, result.as_ref().err(), watched, &mut affected);
        }
        affected
    }
}
