//! Failed checks that are not told before a second one confirms them.
//!
//! The check and the report are two requests. While an API server starts, or a network breaks, one fails and the other
//! succeeds a moment later: then a store that is well would be seen in trouble.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Context;
use super::super::definitions::StoreDefinition;
use super::super::reading::is_refusal;
use super::super::relations::StoreKey;
use super::super::rights::is_ready;
use super::Stores;
use crate::api::status::READY;
use crate::backend::{Error, ErrorKind};

/// How long after a check that failed for a reason that may pass the next one is, which tells.
pub(super) const SECOND_LOOK: Duration = Duration::from_secs(5);
/// A failure that stays so long is told, even if the API server does not become ready.
const LONGEST_DOUBT: Duration = Duration::from_secs(60);

impl Stores {
    /// Whether the failure of a check waits to be confirmed: it may pass, the status says that the store is ready, and
    /// nobody asked for the check by an edit or by name.
    pub(super) async fn is_doubtful(
        &self,
        context: &Context,
        key: &StoreKey,
        definition: &StoreDefinition,
        error: Option<&Error>,
    ) -> bool {
        let failing = {
            let mut state = self.lock();
            let Some(known) = state.known.get_mut(key) else { return false };
            match error {
                None => known.failing = None,
                Some(_) => drop(known.failing.get_or_insert_with(Instant::now)),
            }
            known.failing.map(|since| since.elapsed())
        };
        let (Some(failing), Some(error)) = (failing, error) else { return false };
        let status = definition.status();
        let is_told_ready = status.observed_generation == Some(definition.generation())
            && status.conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True");
        let is_asked_for = definition.sync_requested() != status.last_handled_sync.as_deref();
        if !is_told_ready || is_asked_for || failing >= LONGEST_DOUBT {
            return false;
        }
        let may_pass = error.kind.is_transient() || error.kind == ErrorKind::GrantMissing;
        (may_pass && failing < SECOND_LOOK)
            || ((may_pass || is_refusal(error.kind)) && !is_ready(&context.client, &context.namespace_of(key)).await)
    }
}
