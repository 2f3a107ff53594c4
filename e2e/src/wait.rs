//! Waits for a condition instead of a length of time.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout_at};

/// The first pause between two looks; each next one is half as long again, up to [`LONGEST_PAUSE`].
///
/// A local API server answers in about a millisecond, so what is nearly there is seen at once.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Calls `check` until it returns `Ok`, and returns that value.
///
/// `check` returns `Err` with what it saw as long as the condition does not hold; the last of these is part of the
/// error when `limit` is over. A call of `check` that hangs is given up at the deadline too.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main] async fn main() -> anyhow::Result<()> {
/// # let replicas = 3;
/// let found = e2e::wait_until("three replicas", Duration::from_secs(1), async || {
///     if replicas == 3 { Ok(replicas) } else { Err(format!("{replicas} replicas")) }
/// })
/// .await?;
/// # assert_eq!(found, 3); Ok(()) }
/// ```
///
/// # Errors
///
/// When `limit` is over: names `what`, the limit and what was last seen.
pub async fn wait_until<T, E, C>(what: impl Display, limit: Duration, mut check: C) -> anyhow::Result<T>
where
    C: AsyncFnMut() -> Result<T, E>,
    E: Display,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut seen: Option<String> = None;
    loop {
        match timeout_at(deadline, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(not_yet)) => seen = Some(format!("{not_yet:#}")),
            Err(_elapsed) if seen.is_none() => seen = Some("nothing: the check itself did not return".to_owned()),
            Err(_elapsed) => {}
        }
        let now = Instant::now();
        if now >= deadline {
            let seen = seen.context("nothing was seen").unwrap_or_else(|nothing| nothing.to_string());
            anyhow::bail!("waited {limit:?} for {what}; last seen: {seen}");
        }
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_the_value_once_the_condition_holds() {
        let mut looks = 0;
        let value = wait_until("five looks", Duration::from_secs(60), async || {
            looks += 1;
            if looks == 5 { Ok("done") } else { Err(looks) }
        })
        .await;
        assert_eq!(value.ok(), Some("done"));
    }

    #[tokio::test(start_paused = true)]
    async fn says_what_was_last_seen() {
        let started = Instant::now();
        let mut looks = 0;
        let result: anyhow::Result<()> = wait_until("the impossible", Duration::from_secs(2), async || {
            looks += 1;
            Err(format!("look {looks}"))
        })
        .await;
        let text = result.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        assert_eq!(text, format!("waited 2s for the impossible; last seen: look {looks}"));
        assert_eq!(started.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_check_that_hangs() {
        let result: anyhow::Result<()> = wait_until("an answer", Duration::from_secs(2), async || {
            std::future::pending::<()>().await;
            Err("never")
        })
        .await;
        let text = result.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        assert!(text.contains("the check itself did not return"), "{text}");
    }
}
