//! What stores tell of the values of a plan that they rotate themselves, and when to look again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::queue::Lane;
use super::reading::Results;
use super::relations::{StackKey, StoreKey};
use crate::backend::rotation::KEPT;
use crate::backend::{Key, Rotation};
use crate::model::{Plan, PlannedSecret, StoreRef};

/// How long after its date a rotation may still be under way.
const GRACE: Duration = Duration::from_secs(60);

/// Questions at the same time, of all stores, those aside that wait for an answer.
pub const AT_ONCE: usize = 4;
/// How long each of them rests after its answer, so that a fresh start asks for facts while values are read.
const REST: Duration = Duration::from_millis(200);

/// How long after a question that was not answered it is put again.
const AGAIN: Duration = Duration::from_secs(300);

/// What is to be asked.
pub type Asked = (StoreKey, Key);

/// How the values of `plan.secrets` are rotated, by index, as far as it was told. Queues what is to be asked, and waits for
/// none of it: who is told something new syncs the Stacks that use it.
pub async fn rotations(
    context: &Context,
    stack: &StackKey,
    plan: &Plan,
    results: &Results,
) -> BTreeMap<usize, Rotation> {
    let mut told: BTreeMap<(&StoreRef, &Key), Rotation> = BTreeMap::new();
    for (store, keys) in results {
        let store_key = StoreKey::resolve(store, &stack.namespace);
        let Ok(live) = context.stores.connect(context, &store_key).await else { continue };
        for (key, result) in keys.iter().filter(|(key, _)| key.version.is_none()) {
            let Ok(found) = result else { continue };
            let (rotation, is_open) = live.rotations.of(key, &found.version);
            told.extend(rotation.map(|rotation| ((store, key), rotation)));
            if is_open {
                context.rotations.add((store_key.clone(), key.clone()), Lane::Background);
            }
        }
    }
    let of_secret = |(index, secret): (usize, &PlannedSecret)| {
        let read = secret.read.as_ref().ok().filter(|_| secret.exposure.is_none())?;
        Some((index, told.get(&(&read.store, &read.key))?.clone()))
    };
    plan.secrets.iter().enumerate().filter_map(of_secret).collect()
}

/// Asks until the queue is closed.
pub async fn ask(context: Arc<Context>, stop: CancellationToken) {
    while let Some((asked, _)) = context.rotations.next().await {
        let (context, stop) = (Arc::clone(&context), stop.clone());
        context.tasks.clone().spawn(async move {
            stop.run_until_cancelled(question(&context, &asked)).await;
            context.rotations.done(&asked);
        });
    }
}

async fn question(context: &Context, asked: &Asked) {
    let (store, key) = asked;
    let users = context.refresh.users(store, key);
    if users.is_empty() {
        return;
    }
    let told = match context.stores.connect(context, store).await {
        // A store that hangs keeps nobody else's question waiting.
        Ok(live) => context.rotations.away(asked, live.rotations.ask(key)).await,
        Err(_) => None,
    };
    match told {
        Some(true) => users.into_iter().for_each(|stack| context.queue.add(stack, Lane::Background)),
        Some(false) => {}
        None => context.rotations.add_after(asked.clone(), Lane::Background, AGAIN),
    }
    tokio::time::sleep(REST).await;
}

/// When the next of these may be overdue, or may have changed without the value changing. `None` if there are none.
pub fn next_look(rotations: &BTreeMap<usize, Rotation>, now: Timestamp) -> Option<Duration> {
    let due = |rotation: &Rotation| {
        let left = rotation.next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        left.map_or(KEPT, |left| (left + GRACE).min(KEPT))
    };
    rotations.values().map(due).min()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_rotation_is_looked_at_when_it_may_be_overdue() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let look = |next: Option<&str>| {
            let rotation = Rotation { next: next.map(|next| next.parse().unwrap()), ..Rotation::default() };
            next_look(&BTreeMap::from([(0, rotation)]), now)
        };
        assert_eq!(look(Some("2026-03-01T01:00:00Z")), Some(Duration::from_secs(3600) + GRACE));
        assert_eq!(look(Some("2026-04-01T00:00:00Z")), Some(KEPT));
        assert_eq!(look(Some("2026-02-28T00:00:00Z")), Some(KEPT), "it is overdue already");
        assert_eq!(look(None), Some(KEPT));
        assert_eq!(next_look(&BTreeMap::new(), now), None);
    }
}
