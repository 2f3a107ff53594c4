//! How a watch that broke starts again: soon, and not all watches at the same moment.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use rand::RngExt as _;

/// The first wait. Most watches break because the server ended them, and the next one starts at once.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait. kube's own is 30 s, and after an outage two waits may be needed: one until a connection stands, one
/// because the server has forgotten the version to go on from. Together they must stay well below a minute.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double from half a second to ten seconds, less up to a half at random.
#[derive(Clone, Debug)]
pub(super) struct WatchBackoff {
    next: Duration,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_begin_anew() {
        let mut backoff = WatchBackoff::default();
        for longest in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let wait = backoff.next().unwrap_or_default().as_secs_f64();
            assert!(wait >= longest / 2.0 && wait <= longest, "{wait} of {longest}");
        }
        backoff.reset();
        assert!(backoff.next().is_some_and(|wait| wait <= FIRST));
    }
}
