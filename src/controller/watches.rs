//! How a watch that broke starts again: soon, and not all watches at the same moment.

use std::future::ready;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use rand::RngExt as _;
use tokio::time::Instant;

/// The first wait. Most watches break because the server ended them, and the next one starts at once.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait. kube's own is 30 s, and after an outage two waits may be needed: one until a connection stands, one
/// because it is busy with all the others that come back. Together they must stay well below a minute.
const LONGEST: Duration = Duration::from_secs(10);
/// After so long without an error the waits begin anew.
const CALM: Duration = Duration::from_secs(30);

/// A watch that starts again by itself.
///
/// The first answer that the version to go on from is forgotten (410) is no reason to wait: the server works, and
/// everything is listed anew. It is not passed on. One that gives this answer again and again is let wait like any other.
pub(super) fn persistent<T>(
    watch: impl Stream<Item = Result<T, watcher::Error>>,
) -> impl Stream<Item = Result<T, watcher::Error>> {
    let mut forgotten: Option<Instant> = None;
    watch
        .filter(move |item| {
            let is_forgotten = matches!(item, Err(watcher::Error::WatchError(status)) if status.code == 410);
            let is_first = is_forgotten && forgotten.replace(Instant::now()).is_none_or(|last| last.elapsed() > CALM);
            ready(!is_first)
        })
        .backoff(WatchBackoff::default())
}

/// Waits that double from half a second to ten seconds, less up to a half at random.
#[derive(Clone, Debug)]
pub(super) struct WatchBackoff {
    next: Duration,
    last: Option<Instant>,
}

impl WatchBackoff {
    /// Waits.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.next().unwrap_or(LONGEST)).await;
    }
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST, last: None }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() > CALM) {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

impl Backoff for WatchBackoff {
    /// Does nothing: kube calls it for each event, and announces every list before it asks for it. So the waits would
    /// begin anew each time, for as long as lists fail.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_to_a_bound_and_begin_anew_after_a_calm() {
        let mut backoff = WatchBackoff::default();
        for longest in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let wait = backoff.next().unwrap_or_default();
            let seconds = wait.as_secs_f64();
            assert!(seconds >= longest / 2.0 && seconds <= longest, "{seconds} of {longest}");
            backoff.reset();
            tokio::time::advance(wait).await;
        }
        tokio::time::advance(CALM + LONGEST).await;
        assert!(backoff.next().is_some_and(|wait| wait <= FIRST));
    }

    fn error(code: u16) -> Result<&'static str, watcher::Error> {
        Err(watcher::Error::WatchError(Box::new(Status { code, ..Status::default() })))
    }

    /// What is passed on, each with the seconds until then.
    async fn passed(
        items: impl IntoIterator<Item = Result<&'static str, watcher::Error>>,
    ) -> Vec<(Result<&'static str, String>, f64)> {
        let started = Instant::now();
        let told = persistent(stream::iter(items))
            .map(|item| (item.map_err(|error| error.to_string()), started.elapsed().as_secs_f64()));
        told.collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_again_and_again_is_asked_for_ever_more_slowly() {
        let rounds = passed((0..10).flat_map(|_| [Ok("a list begins"), error(500)])).await;
        let (_, took) = rounds.last().cloned().unwrap_or((Ok(""), 0.0));
        assert!(took > 20.0, "{rounds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_version_costs_no_time_unless_it_is_forgotten_again() {
        assert_eq!(passed([error(410), Ok("a list begins")]).await, [(Ok("a list begins"), 0.0)]);
        let twice = passed([error(410), error(410), Ok("a list begins")]).await;
        assert!(twice.len() == 2 && twice.iter().any(|(_, after)| *after > 0.0), "{twice:?}");
        let other = passed([error(500), Ok("it goes on")]).await;
        assert!(other.len() == 2 && other.iter().any(|(_, after)| *after > 0.0), "{other:?}");
    }
}
