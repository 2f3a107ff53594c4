//! What a store outside the cluster has in addition: a pace, places for calls under way, and breakers.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Operation;
use super::breaker::{Admission, Breaker};
use super::pace::Pace;
use crate::backend::Error;

/// Calls of one store under way at once: as many as a second brings, within these bounds. Far more than a store that answers
/// ever needs; one that hangs must not take every connection that the process may open.
pub(super) const AT_ONCE: (usize, usize) = (32, 256);

/// See the module documentation.
///
/// Values may come from where nothing else does: AWS Secrets Manager has replicas for reads of values alone. So whatever
/// else is asked has a breaker of its own, and keeps no value back.
pub(super) struct Outside {
    pace: Pace,
    values: Breaker,
    others: Breaker,
    places: Semaphore,
    /// How many keys one remote read takes.
    keys_in_one_read: usize,
}

impl Outside {
    /// So many calls a second, with so many keys in one read; `timeout` is the most that one call takes.
    pub(super) fn new(per_second: u32, keys_in_one_read: usize, timeout: Duration) -> Self {
        let places = usize::try_from(per_second).unwrap_or(usize::MAX).clamp(AT_ONCE.0, AT_ONCE.1);
        Self {
            pace: Pace::new(per_second),
            values: Breaker::new(timeout),
            others: Breaker::new(timeout),
            places: Semaphore::new(places),
            keys_in_one_read: keys_in_one_read.max(1),
        }
    }

    /// Whether a call of so many keys may be made now, and its place. Waits for the store's pace and for a place.
    pub(super) async fn admit(&self, operation: Operation, keys: usize) -> (Admission, Option<SemaphorePermit<'_>>) {
        let (breaker, _) = self.breakers(operation);
        if let Some(error) = breaker.refusal() {
            return (Admission::Refused(error), None);
        }
        self.pace.wait_for(keys.div_ceil(self.keys_in_one_call(operation))).await;
        // Nobody closes it, so there is always a place in the end.
        let place = self.places.acquire().await.ok();
        (breaker.admit(), place)
    }

    /// Takes note of how a call ended: `None` if the store answered, whatever it said about keys.
    pub(super) fn note(&self, operation: Operation, admission: &Admission, failure: Option<&Error>) {
        let (breaker, other) = self.breakers(operation);
        if breaker.note(admission, failure) {
            // Back again, so most likely for the other calls, too.
            other.look_now();
        }
    }

    /// How many keys one remote call takes. Metadata count one by one, as most stores tell them: where some come together,
    /// as in SSM and in version 1 of KV, the pace is only slower than it need be.
    fn keys_in_one_call(&self, operation: Operation) -> usize {
        match operation {
            Operation::Read => self.keys_in_one_read,
            Operation::Probe
            | Operation::Write
            | Operation::Delete
            | Operation::List
            | Operation::Versions
            | Operation::Check => 1,
        }
    }

    /// The breaker of a call, and the one of all others.
    fn breakers(&self, operation: Operation) -> (&Breaker, &Breaker) {
        match operation {
            Operation::Read => (&self.values, &self.others),
            Operation::Probe
            | Operation::Write
            | Operation::Delete
            | Operation::List
            | Operation::Versions
            | Operation::Check => (&self.others, &self.values),
        }
    }
}
