//! When something is due: ticks whose phase is a hash, and waits that double.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// First wait before a missing or failed key is asked again.
pub const RETRY_FIRST: Duration = Duration::from_secs(15);
/// Longest wait before a missing or failed key is asked again.
pub const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// A read may be this old, whatever the interval, before a Stack is no longer ready.
pub const STALE_AT_LEAST: Duration = Duration::from_secs(300);

/// How long until the next tick of `interval` for the store `uid`, seen from `now` since the Unix epoch.
///
/// Ticks lie at `phase + n × interval` with a phase that depends on the store and the interval alone. So nothing has to
/// be remembered, a restart changes nothing, and stores do not tick together.
#[must_use]
pub fn until_tick(uid: &str, interval: Duration, now: Duration) -> Duration {
    let interval = interval.as_millis().max(1);
    let phase = phase(uid, interval);
    let since = (now.as_millis() + interval - phase) % interval;
    Duration::from_millis(u64::try_from(interval - since).unwrap_or(u64::MAX))
}

/// How long from one tick to the next one. A timer that goes off a little early does not tick twice.
#[must_use]
pub fn until_next_tick(uid: &str, interval: Duration, now: Duration) -> Duration {
    let wait = until_tick(uid, interval, now);
    if wait < interval / 2 { wait + interval } else { wait }
}

fn phase(uid: &str, interval: u128) -> u128 {
    let hash = Sha256::new().chain_update(uid.as_bytes()).chain_update(interval.to_be_bytes()).finalize();
    let number = hash.iter().take(8).fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    number % interval
}

/// The wait after `before`, for keys whose users ask every `interval`.
#[must_use]
pub fn next_retry(before: Option<Duration>, interval: Duration) -> Duration {
    let longest = RETRY_LONGEST.min(interval).max(Duration::from_secs(1));
    before.map_or(RETRY_FIRST, |before| before * 2).min(longest)
}

/// How old a read may be before the Stacks that rest on it are no longer ready.
#[must_use]
pub fn stale_after(interval: Duration) -> Duration {
    (interval * 2).max(STALE_AT_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_repeat_and_do_not_depend_on_the_start() {
        let interval = Duration::from_secs(60);
        let now = Duration::from_millis(1_700_000_123_456);
        let first = until_tick("uid", interval, now);
        assert!(first > Duration::ZERO && first <= interval);
        assert_eq!(until_tick("uid", interval, now + first), interval, "the next tick is one interval later");
        assert_eq!(until_tick("uid", interval, now + first - Duration::from_millis(1)), Duration::from_millis(1));
    }

    #[test]
    fn a_timer_that_goes_off_early_ticks_once() {
        let interval = Duration::from_secs(30);
        let now = Duration::from_millis(1_700_000_123_456);
        let tick = now + until_tick("uid", interval, now);
        for early in [0, 1, 20, 1000].map(Duration::from_millis) {
            assert_eq!(until_next_tick("uid", interval, tick - early), interval + early);
        }
        let late = Duration::from_millis(20);
        assert_eq!(until_next_tick("uid", interval, tick + late), interval - late);
    }

    #[test]
    fn stores_are_spread_over_the_interval() {
        let interval = Duration::from_secs(60);
        let ticks: Vec<Duration> = (0..200)
            .map(|number| until_tick(&format!("uid-{number}"), interval, Duration::from_secs(1_000_000)))
            .collect();
        for quarter in 0..4u32 {
            let range = interval * quarter / 4..interval * (quarter + 1) / 4;
            let count = ticks.iter().filter(|tick| range.contains(*tick)).count();
            assert!((25..=75).contains(&count), "quarter {quarter} has {count} of 200");
        }
    }

    #[test]
    fn waits_double_up_to_the_interval() {
        let hour = Duration::from_secs(3600);
        let mut waits = Vec::new();
        let mut wait = None;
        for _ in 0..7 {
            let next = next_retry(wait, hour);
            waits.push(next.as_secs());
            wait = Some(next);
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300]);
        assert_eq!(next_retry(None, Duration::from_secs(10)), Duration::from_secs(10));
        assert_eq!(stale_after(Duration::from_secs(10)), Duration::from_secs(300));
        assert_eq!(stale_after(hour), Duration::from_secs(7200));
    }
}
