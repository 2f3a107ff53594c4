//! What a refresh costs, counted from one pause to the next.

use std::time::{Duration, Instant};

use super::LIMIT;

/// No read for so long is the pause between two refreshes, which tests ask for every ten seconds.
const PAUSE: Duration = Duration::from_secs(3);
/// How many refreshes are looked at. On a busy machine a refresh may itself pause for so long, and two may meet.
const ROUNDS: usize = 8;

/// Waits for two refreshes in a row that cost exactly what is `wanted` each, and fails if there are none among several.
///
/// `count` returns how often each thing was asked for so far. A count that began at any moment would begin in the middle
/// of a refresh now and then, so it begins and ends with a pause.
pub async fn expect_round(
    wanted: &[usize],
    mut count: impl AsyncFnMut() -> anyhow::Result<Vec<usize>>,
) -> anyhow::Result<()> {
    let mut before = pause(&mut count).await?;
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        e2e::wait_until("a refresh", LIMIT, async || {
            anyhow::ensure!(count().await? != before, "no more than {before:?}");
            Ok(())
        })
        .await?;
        let after = pause(&mut count).await?;
        let round: Vec<usize> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        if round == wanted && seen.last().is_some_and(|last| *last == round) {
            return Ok(());
        }
        seen.push(round);
        before = after;
    }
    anyhow::bail!("each refresh should cost {wanted:?}, but they cost {seen:?}");
}

/// Waits until nothing was asked for during a [`PAUSE`], and returns the count.
async fn pause(count: &mut impl AsyncFnMut() -> anyhow::Result<Vec<usize>>) -> anyhow::Result<Vec<usize>> {
    let mut last = (count().await?, Instant::now());
    e2e::wait_until("a pause", LIMIT, async || {
        let now = count().await?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        anyhow::ensure!(last.1.elapsed() >= PAUSE, "{:?}", last.0);
        Ok(last.0.clone())
    })
    .await
}
