//! Stops asking a store that is down: one look every 5 to 30 s, and an answer at once for everybody else.
//!
//! ```text
//! closed ──3 calls in a row fail, or the store says "later"──▶ open ──the wait is over──▶ one call looks
//!    ▲                                                          ▲                            │
//!    └────────────────── it is answered ◀───────────────────────┼────────────────────────────┤
//!                                                               └── it fails: the wait doubles ─┘
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Error, ErrorKind};

/// Calls in a row that fail before a store counts as down. One or two may be a connection that was closed.
const FAILURES: u32 = 3;
/// The first wait between two looks at a store that is down.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait between two looks, so that a store that is back is noticed soon. Also the most that a store's own
/// "retry after" is obeyed: a wrong answer of its must not silence it for a day.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a call may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As usual.
    Usual,
    /// The only call that goes through now: it asks once.
    Look,
    /// Nothing: the store is down, and this is what it last failed with.
    Refused(Error),
}

/// The breaker of one connected store.
pub struct Breaker {
    state: Mutex<State>,
    /// A call that looks and has not reported after so long was dropped.
    patience: Duration,
}

enum State {
    Closed { failures: u32 },
    Open { until: Instant, wait: Duration, error: Error },
}

impl Breaker {
    /// A closed breaker; `timeout` is the most that one call takes.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), patience: timeout }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call would be refused with, without the right to look.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        match &*self.lock() {
            State::Open { until, wait: _, error } if *until > Instant::now() => Some(error.clone()),
            State::Open { .. } | State::Closed { failures: _ } => None,
        }
    }

    /// Whether a call may go through.
    #[must_use]
    pub fn admit(&self) -> Admission {
        let now = Instant::now();
        match &mut *self.lock() {
            State::Closed { failures: _ } => Admission::Usual,
            State::Open { until, wait: _, error } if *until > now => Admission::Refused(error.clone()),
            State::Open { until, wait, error: _ } => {
                // The others wait on; if this one is dropped, the next one looks.
                *until = now + self.patience.max(*wait);
                Admission::Look
            }
        }
    }

    /// Takes note of how a call ended: `None` if the store answered, whatever it said about keys. `true`: the store was
    /// down, and is no longer.
    pub fn note(&self, admission: &Admission, failure: Option<&Error>) -> bool {
        let mut state = self.lock();
        let Some(error) = failure.filter(|error| counts(error.kind)) else {
            let before = std::mem::replace(&mut *state, State::Closed { failures: 0 });
            return matches!(before, State::Open { .. });
        };
        let asked = error.retry_after.map(|asked| asked.clamp(FIRST_WAIT, LONGEST_WAIT));
        let wait = match (&*state, admission) {
            (State::Closed { failures }, _) if failures + 1 < FAILURES && asked.is_none() => {
                *state = State::Closed { failures: failures + 1 };
                return false;
            }
            (State::Closed { failures: _ }, _) => asked.unwrap_or(FIRST_WAIT),
            (State::Open { wait, .. }, Admission::Look) => {
                asked.unwrap_or_else(|| wait.saturating_mul(2).min(LONGEST_WAIT))
            }
            // Calls that were under way when the breaker opened say nothing new.
            (State::Open { .. }, Admission::Usual | Admission::Refused(_)) => return false,
        };
        *state = State::Open { until: Instant::now() + wait, wait, error: error.clone() };
        false
    }

    /// Lets the next call look, if the store is down: there is reason to believe that it is back.
    pub fn look_now(&self) {
        if let State::Open { until, wait: _, error: _ } = &mut *self.lock() {
            *until = Instant::now();
        }
    }
}

/// Whether a failure is one of the whole store: it is away, busy, or does not know us.
fn counts(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::Unauthenticated => true,
        ErrorKind::NotFound
        | ErrorKind::VersionNotFound
        | ErrorKind::PendingDeletion
        | ErrorKind::SourceNotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::GrantMissing
        | ErrorKind::InvalidConfig
        | ErrorKind::EndpointNotAllowed
        | ErrorKind::InvalidKey
        | ErrorKind::NotEncrypted
        | ErrorKind::Undecodable
        | ErrorKind::MacMismatch
        | ErrorKind::NoMatchingKey
        | ErrorKind::Ambiguous
        | ErrorKind::TooLarge
        | ErrorKind::Conflict
        | ErrorKind::Unsupported
        | ErrorKind::Unexpected => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::new(ErrorKind::Unavailable, "no connection")
    }

    /// One call that fails.
    fn fail(breaker: &Breaker) -> Admission {
        let admission = breaker.admit();
        if !matches!(admission, Admission::Refused(_)) {
            breaker.note(&admission, Some(&down()));
        }
        admission
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_is_looked_at_every_5_to_30_seconds() {
        let breaker = Breaker::new(Duration::from_secs(10));
        for _ in 0..FAILURES {
            assert_eq!(fail(&breaker), Admission::Usual);
        }
        let start = Instant::now();
        let mut looks = Vec::new();
        while start.elapsed() < Duration::from_secs(130) {
            match fail(&breaker) {
                Admission::Look => looks.push(start.elapsed().as_secs()),
                Admission::Refused(error) => assert_eq!(error, down()),
                Admission::Usual => looks.push(u64::MAX),
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(looks, [5, 15, 35, 65, 95, 125]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_closes_it() {
        let breaker = Breaker::new(Duration::from_secs(10));
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        tokio::time::advance(FIRST_WAIT).await;
        let look = breaker.admit();
        assert_eq!(look, Admission::Look);
        // Only one looks.
        assert_eq!(breaker.admit(), Admission::Refused(down()));
        let missing = Error::new(ErrorKind::NotFound, "no such key");
        breaker.note(&look, Some(&missing));
        assert_eq!(breaker.admit(), Admission::Usual);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_only_in_a_row() {
        let breaker = Breaker::new(Duration::from_secs(10));
        for _ in 0..10 {
            for _ in 0..FAILURES - 1 {
                fail(&breaker);
            }
            breaker.note(&breaker.admit(), None);
        }
        assert_eq!(breaker.admit(), Admission::Usual);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_says_later_is_left_alone_at_once_but_not_for_ever() {
        for (asked, waited) in [(1, 5), (20, 20), (86_400, 30)] {
            let breaker = Breaker::new(Duration::from_secs(10));
            let busy = Error {
                retry_after: Some(Duration::from_secs(asked)),
                ..Error::new(ErrorKind::RateLimited, "asked too often")
            };
            breaker.note(&breaker.admit(), Some(&busy));
            tokio::time::advance(Duration::from_secs(waited - 1)).await;
            assert_eq!(breaker.admit(), Admission::Refused(busy));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(breaker.admit(), Admission::Look);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_dropped_is_made_up_for() {
        let breaker = Breaker::new(Duration::from_secs(10));
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        tokio::time::advance(FIRST_WAIT).await;
        assert_eq!(breaker.admit(), Admission::Look);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(breaker.admit(), Admission::Refused(down()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(breaker.admit(), Admission::Look);
    }
}
