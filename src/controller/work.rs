//! Work on what is queued: a task for each key that is handed out, as many at once as there are turns.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::Lane;
use super::relations::{StackKey, StoreKey};
use super::stacks::Failure;
use super::{Context, reconcile};
use crate::api::Reason;
use crate::model::{Problem, outcome};

/// Syncs Stacks until the queue is closed.
pub(super) async fn on_stacks(context: Arc<Context>, stop: CancellationToken) {
    // Decisions between Stacks, and everything about stores, need the whole picture first.
    if stop.run_until_cancelled(context.synced()).await.is_none() {
        return;
    }
    while let Some((stack, lane)) = context.queue.next().await {
        let (context, stop) = (Arc::clone(&context), stop.clone());
        context.tasks.clone().spawn(async move { on_stack(&context, &stack, lane, &stop).await });
    }
}

async fn on_stack(context: &Context, stack: &StackKey, lane: Lane, stop: &CancellationToken) {
    let started = Instant::now();
    // A panic is contained: it marks this Stack and nothing else.
    let result = AssertUnwindSafe(sync(context, stack)).catch_unwind().await;
    let label = match result {
        Ok(Ok(())) => {
            context.memory.finished(stack);
            "ok"
        }
        Ok(Err(failure)) => {
            tracing::debug!(%stack, %failure, "a sync is tried again");
            let wait = retry_after(failure, context.memory.did_not_finish(stack));
            context.queue.add_after(stack.clone(), Lane::Background, wait);
            "retry"
        }
        Err(_) => {
            context.metrics.panicked();
            tracing::error!(%stack, "a sync panicked; this is a defect of the operator, please report it");
            let marked = stop.run_until_cancelled(Box::pin(mark_panicked(context, stack))).await;
            if !matches!(marked, Some(Ok(()))) {
                tracing::debug!(%stack, "the panic could not be reported in the status");
            }
            context.queue.add_after(stack.clone(), Lane::Background, AFTER_PANIC);
            "panic"
        }
    };
    let lane = match lane {
        Lane::User => "user",
        Lane::Background => "background",
    };
    context.metrics.synced(lane, label, started.elapsed());
    if !context.stacks.contains(stack) {
        // It went while it was worked on, so what this sync noted of it would stay for ever.
        context.forget(stack);
    }
    context.note_worked(stack);
    context.queue.done(stack);
}

/// A Stack whose sync panicked is tried again so much later: the defect will most likely strike again.
const AFTER_PANIC: Duration = Duration::from_secs(300);

async fn sync(context: &Context, stack: &StackKey) -> Result<(), Failure> {
    if context.settings.panic_on.as_ref().is_some_and(|name| *name == stack.to_string()) {
        #[expect(clippy::panic, reason = "asked for by a test of containment")]
        {
            panic!("asked for");
        }
    }
    reconcile::reconcile(context, stack).await
}

async fn mark_panicked(context: &Context, stack: &StackKey) -> Result<(), Failure> {
    let Some(read) = context.stacks.read(&context.client, stack).await? else { return Ok(()) };
    let problem = Problem {
        reason: Reason::InternalError,
        message: "the operator failed on this Stack; nothing else is affected; please report it".to_owned(),
        stalled: false,
    };
    let status = outcome::failed(&read.status, &problem, read.generation, jiff::Timestamp::now());
    context.stacks.patch_status(&context.client, stack, &read, &status).await?;
    context.events.ready_changed(stack, &read.uid, &read.status.conditions, &status.conditions).await;
    Ok(())
}

/// The API server is in trouble or refused: soon enough for a person, slow enough for a server under load. What `lasts` is
/// tried again when it lasts twice as long, but not less often than every ten seconds: then it works again.
fn retry_after(failure: Failure, lasts: Duration) -> Duration {
    let first = match failure {
        Failure::Unreachable | Failure::Status(500..=599) => Duration::from_secs(2),
        Failure::Status(429) => Duration::from_secs(5),
        Failure::Status(409) => Duration::from_millis(200),
        Failure::Status(_) => LONGEST_RETRY,
    };
    lasts.clamp(first, LONGEST_RETRY)
}

/// The longest wait of a Stack, or a store, for an API server that was in trouble.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Checks stores until their queue is closed.
pub(super) async fn on_stores(context: Arc<Context>, stop: CancellationToken) {
    if stop.run_until_cancelled(context.synced()).await.is_none() {
        return;
    }
    while let Some((store, _)) = context.stores.queue.next().await {
        let context = Arc::clone(&context);
        context.tasks.clone().spawn(async move { on_store(&context, &store).await });
    }
}

async fn on_store(context: &Context, store: &StoreKey) {
    let result = AssertUnwindSafe(context.stores.reconcile(context, store)).catch_unwind().await;
    match result {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => {
            tracing::debug!(%store, %failure, "a store's status is tried again");
            context.stores.queue.add_after(store.clone(), Lane::Background, retry_after(failure, Duration::ZERO));
        }
        Err(_) => {
            context.metrics.panicked();
            tracing::error!(%store, "checking a store panicked; this is a defect of the operator, please report it");
            context.stores.queue.add_after(store.clone(), Lane::Background, AFTER_PANIC);
        }
    }
    context.stores.queue.done(store);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_asked_about_ever_more_slowly() {
        let seconds = Duration::from_secs;
        for (lasts, wait) in [(0, 2), (2, 2), (4, 4), (8, 8), (16, 10), (3600, 10)] {
            for failure in [Failure::Unreachable, Failure::Status(500), Failure::Status(503)] {
                assert_eq!(retry_after(failure, seconds(lasts)), seconds(wait), "{failure} for {lasts} s");
            }
        }
        assert_eq!(retry_after(Failure::Status(429), seconds(0)), seconds(5));
        assert_eq!(retry_after(Failure::Status(409), seconds(0)), Duration::from_millis(200));
        assert_eq!(retry_after(Failure::Status(403), seconds(0)), seconds(10));
    }
}
