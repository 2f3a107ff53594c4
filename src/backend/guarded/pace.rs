//! How fast a store is asked: calls are spread evenly, and a short burst is free.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So long a store's unused allowance lasts: a small Stack is read at once, a large refresh at an even pace.
const BURST: Duration = Duration::from_secs(1);

/// The pace of one store (the generic cell rate algorithm of ITU-T I.371, one number of state).
pub struct Pace {
    /// Between two calls at full load.
    interval: Duration,
    /// When all allowance given out so far is used up.
    spent_until: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many calls a second; zero counts as one.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), spent_until: Mutex::new(None) }
    }

    /// Waits until `calls` more calls may be made. Cancel safe, but a turn that was taken stays taken.
    pub async fn wait_for(&self, calls: usize) {
        let start = self.reserve(Instant::now(), calls);
        tokio::time::sleep_until(start).await;
    }

    fn reserve(&self, now: Instant, calls: usize) -> Instant {
        let cost = self.interval.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX));
        let mut spent_until = self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = spent_until.map_or(now, |spent| spent.max(now));
        *spent_until = Some(start + cost);
        // What is spent within the burst need not be waited for.
        start.checked_sub(BURST).map_or(now, |start| start.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_calls_are_spread() {
        let pace = Pace::new(10);
        let start = Instant::now();
        for _ in 0..11 {
            pace.wait_for(1).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            pace.wait_for(1).await;
        }
        assert_eq!(start.elapsed().as_millis(), 2000);
        // Allowance comes back with time, but no more than one burst of it.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let later = Instant::now();
        pace.wait_for(10).await;
        pace.wait_for(1).await;
        assert_eq!(later.elapsed(), Duration::ZERO);
        pace.wait_for(5).await;
        pace.wait_for(1).await;
        assert_eq!(later.elapsed().as_millis(), 600);
    }
}
