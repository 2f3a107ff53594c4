//! The one wrapper around every driver: a deadline, a bounded retry, a measurement, and the store's name in every error;
//! for stores outside the cluster a pace and a breaker, too.
//!
//! The short retry for a hiccup lives here and nowhere else; the long wait belongs to the schedule. What is asked again:
//!
//! | call | asked again after |
//! |---|---|
//! | read, probe, list, versions, check | any transient kind, and of a read only the keys that failed |
//! | write, delete | [`ErrorKind::RateLimited`] alone: any other failure may hide a write that happened |

mod breaker;
mod outside;
mod pace;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt as _;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use self::breaker::Admission;
use self::outside::Outside;
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Rotation, Versioned};
use crate::value::SecretValue;

/// The limit for one call, with all its tries, if the store says nothing else.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries of one call: a hiccup ends within two; more would only burden a store in trouble.
const TRIES: u32 = 3;
/// The most that is waited before the second try; it doubles for each further one, and all of it is jittered.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest `retry_after` that is waited out within a call.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The calls of a [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Backend::read`].
    Read,
    /// [`Backend::probe`].
    Probe,
    /// [`Backend::write`].
    Write,
    /// [`Backend::delete`].
    Delete,
    /// [`Backend::list`].
    List,
    /// [`Backend::versions`].
    Versions,
    /// [`Backend::check`].
    Check,
}

impl Operation {
    /// The value of a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Probe => "probe",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Versions => "versions",
            Self::Check => "check",
        }
    }

    /// Whether a call that failed this way may be made again, unchanged and at once.
    fn may_repeat(self, kind: ErrorKind) -> bool {
        match self {
            Self::Read | Self::Probe | Self::List | Self::Versions | Self::Check => kind.is_transient(),
            Self::Write | Self::Delete => kind == ErrorKind::RateLimited,
        }
    }
}

/// Told about every call that reaches a driver, each try by itself.
///
/// `outcome` is `ok`, or the label of the [`ErrorKind`]; a batch in which something failed counts as its first failure. A
/// key without a value is no failure: the store answered.
pub trait Observer: Send + Sync {
    /// One call ended after `duration`.
    fn on_call(&self, operation: Operation, outcome: &'static str, duration: Duration);
}

impl<F: Fn(Operation, &'static str, Duration) + Send + Sync> Observer for F {
    fn on_call(&self, operation: Operation, outcome: &'static str, duration: Duration) {
        self(operation, outcome, duration);
    }
}

/// A driver under guard.
pub struct Guarded {
    driver: Arc<dyn Backend>,
    store: String,
    timeout: Duration,
    observer: Arc<dyn Observer>,
    outside: Option<Outside>,
}

impl Guarded {
    /// Guards `driver`. `store` is how errors name it, such as `Store/app`; `timeout` limits one call with all its tries.
    #[must_use]
    pub fn new(driver: Arc<dyn Backend>, store: String, timeout: Duration, observer: Arc<dyn Observer>) -> Self {
        Self { driver, store, timeout, observer, outside: None }
    }

    /// The same for a store outside the cluster: so many calls a second, and hardly any while it is down. `keys_in_one_read`
    /// is what the service itself takes at once, whatever the driver likes to be given.
    #[must_use]
    pub fn outside(self, per_second: u32, keys_in_one_read: usize) -> Self {
        let outside = Outside::new(per_second, keys_in_one_read, self.timeout);
        Self { outside: Some(outside), ..self }
    }

    /// Whether a call of so many keys may be made now, and its place. Its deadline begins only after that.
    async fn admit(&self, operation: Operation, keys: usize) -> (Admission, Option<SemaphorePermit<'_>>) {
        match &self.outside {
            None => (Admission::Usual, None),
            Some(outside) => outside.admit(operation, keys).await,
        }
    }

    fn note(&self, operation: Operation, admission: &Admission, failure: Option<&Error>) {
        if let Some(outside) = &self.outside {
            outside.note(operation, admission, failure);
        }
    }

    /// One try, measured, and cut off at the deadline.
    async fn attempt<T>(
        &self,
        operation: Operation,
        deadline: Instant,
        call: impl Future<Output = T>,
        outcome: impl Fn(&T) -> &'static str,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = tokio::time::timeout_at(deadline, call).await;
        let label = result.as_ref().map_or(ErrorKind::Timeout.label(), outcome);
        self.observer.on_call(operation, label, start.elapsed());
        result.map_err(|_| {
            let limit = self.timeout.as_secs_f32();
            Error::new(ErrorKind::Timeout, format!("no answer to {} within {limit} s", operation.label()))
        })
    }

    /// A call with one answer.
    async fn single<T, F: Future<Output = Result<T, Error>>>(
        &self,
        operation: Operation,
        call: impl Fn() -> F,
    ) -> Result<T, Error> {
        let (admission, _place) = self.admit(operation, 1).await;
        let most = match &admission {
            Admission::Usual => TRIES,
            Admission::Look => 1,
            Admission::Refused(error) => return Err(error.clone().in_context(&self.store)),
        };
        let result = self.single_tries(operation, most, call).await;
        self.note(operation, &admission, result.as_ref().err());
        result.map_err(|error| error.in_context(&self.store))
    }

    async fn single_tries<T, F: Future<Output = Result<T, Error>>>(
        &self,
        operation: Operation,
        most: u32,
        call: impl Fn() -> F,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.attempt(operation, deadline, call(), |result| one_outcome(result)).await;
            let error = match answer.and_then(std::convert::identity) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !operation.may_repeat(error.kind) || !pause(tries, most, deadline, error.retry_after).await {
                return Err(error);
            }
        }
    }

    /// A call with one answer for each key. Only keys that failed in passing are asked again.
    async fn batch<T, F: Future<Output = Vec<Result<T, Error>>>>(
        &self,
        operation: Operation,
        keys: &[Key],
        call: impl Fn(Vec<Key>) -> F,
    ) -> Vec<Result<T, Error>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let (admission, _place) = self.admit(operation, keys.len()).await;
        let most = match &admission {
            Admission::Usual => TRIES,
            Admission::Look => 1,
            Admission::Refused(error) => {
                let error = error.clone().in_context(&self.store);
                return keys.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let results = self.batch_tries(operation, most, keys, call).await;
        // The store as a whole failed only if it did so for every key.
        let failure = results.iter().map(|result| result.as_ref().err()).reduce(|one, other| one.and(other)).flatten();
        self.note(operation, &admission, failure);
        results.into_iter().map(|result| result.map_err(|error| error.in_context(&self.store))).collect()
    }

    async fn batch_tries<T, F: Future<Output = Vec<Result<T, Error>>>>(
        &self,
        operation: Operation,
        most: u32,
        keys: &[Key],
        call: impl Fn(Vec<Key>) -> F,
    ) -> Vec<Result<T, Error>> {
        let deadline = Instant::now() + self.timeout;
        let mut answers: Vec<Option<Result<T, Error>>> = keys.iter().map(|_| None).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            let open: Vec<usize> = (0..)
                .zip(&answers)
                .filter(|(_, answer)| may_repeat(operation, answer))
                .map(|(index, _)| index)
                .collect();
            let wanted: Vec<Key> = open.iter().filter_map(|index| keys.get(*index).cloned()).collect();
            if wanted.is_empty() {
                break;
            }
            match self.attempt(operation, deadline, call(wanted), |results| batch_outcome(results)).await {
                Ok(results) => {
                    let mut results = results.into_iter();
                    for index in open {
                        if let Some(answer) = answers.get_mut(index) {
                            *answer = Some(results.next().unwrap_or_else(|| Err(no_result())));
                        }
                    }
                }
                Err(timeout) => {
                    // What an earlier try said tells more than that there was no time for another one.
                    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                        *answer = Some(Err(timeout.clone()));
                    }
                    break;
                }
            }
            let failed = answers.iter().filter(|answer| may_repeat(operation, answer));
            let longest = failed.filter_map(|answer| answer.as_ref()?.as_ref().err()?.retry_after).max();
            if !answers.iter().any(|answer| may_repeat(operation, answer))
                || !pause(tries, most, deadline, longest).await
            {
                break;
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(no_result()))).collect()
    }
}

/// Waits before the next try; `false` if no try is left, or the deadline would pass first.
async fn pause(tries: u32, most: u32, deadline: Instant, retry_after: Option<Duration>) -> bool {
    if tries >= most {
        return false;
    }
    let ceiling = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let jittered = ceiling.mul_f64(rand::rng().random_range(0.0..=1.0));
    let wait = match retry_after {
        Some(asked) if asked > LONGEST_RETRY_AFTER => return false,
        // The store knows best; the jitter on top keeps those who were told the same from coming back together.
        Some(asked) => asked.saturating_add(jittered),
        None => jittered,
    };
    if deadline.saturating_duration_since(Instant::now()) <= wait {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

fn may_repeat<T>(operation: Operation, answer: &Option<Result<T, Error>>) -> bool {
    match answer {
        None => true,
        Some(Ok(_)) => false,
        Some(Err(error)) => operation.may_repeat(error.kind),
    }
}

fn no_result() -> Error {
    Error::new(ErrorKind::Unexpected, "the store's driver gave no result for the key: please report this defect")
}

fn one_outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result {
        Err(error) if !error.kind.is_missing() => error.kind.label(),
        Ok(_) | Err(_) => "ok",
    }
}

fn batch_outcome<T>(results: &[Result<T, Error>]) -> &'static str {
    results.iter().map(one_outcome).find(|outcome| *outcome != "ok").unwrap_or("ok")
}

#[async_trait]
impl Backend for Guarded {
    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        self.batch(Operation::Read, keys, |wanted| async move { self.driver.read(&wanted).await }).await
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.batch(Operation::Probe, keys, |wanted| async move { self.driver.probe(&wanted).await }).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        self.single(Operation::Write, || self.driver.write(key, value, precondition.clone())).await
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        self.single(Operation::Delete, || self.driver.delete(key, mode)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.single(Operation::List, || self.driver.list(prefix)).await
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        self.single(Operation::Versions, || self.driver.versions(key)).await
    }

    fn rotates(&self) -> bool {
        self.driver.rotates()
    }

    async fn rotations(&self, keys: &[Key]) -> Vec<Result<Option<Rotation>, Error>> {
        self.batch(Operation::Probe, keys, |wanted| async move { self.driver.rotations(&wanted).await }).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.single(Operation::Check, || self.driver.check()).await
    }
}
