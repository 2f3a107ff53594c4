//! Waits for what the operator does.

use std::collections::BTreeMap;

use anyhow::Context as _;
use atmos_secrets::api::status::{READY, SecretState};
use atmos_secrets::api::{Reason, StackStatus, marks};
use futures::TryStreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::api::{WatchEvent, WatchParams};
use serde_json::json;

use super::canary::random_word;
use super::{LIMIT, Tenant};

/// A condition of a status.
pub fn condition<'a>(status: &'a StackStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// State and reason of a secret.
pub fn state_of(status: &StackStatus, name: &str) -> (SecretState, Option<Reason>) {
    let (state, reason, _) = told_of(status, name);
    (state, reason)
}

/// State, reason and message of a secret.
pub fn told_of<'a>(status: &'a StackStatus, name: &str) -> (SecretState, Option<Reason>, &'a str) {
    let entry = status.secrets.iter().find(|entry| entry.name == name).unwrap();
    (entry.state, entry.reason, entry.message.as_deref().unwrap_or_default())
}

impl Tenant {
    /// Waits until a Stack is ready at its present generation.
    pub async fn wait_ready(&self, stack: &str) -> anyhow::Result<StackStatus> {
        let ready = |status: &StackStatus| condition(status, READY).is_some_and(|ready| ready.status == "True");
        self.wait_status(stack, "it to be ready", ready).await
    }

    /// Waits until a Stack is not ready for this reason at its present generation.
    pub async fn wait_reason(&self, stack: &str, reason: Reason) -> anyhow::Result<StackStatus> {
        let has_reason = |status: &StackStatus| {
            condition(status, READY).is_some_and(|ready| ready.status == "False" && ready.reason == reason.as_str())
        };
        self.wait_status(stack, reason.as_str(), has_reason).await
    }

    /// Waits until the status at the Stack's present generation is as wanted.
    pub async fn wait_status(
        &self,
        stack: &str,
        what: &str,
        is_as_wanted: impl Fn(&StackStatus) -> bool,
    ) -> anyhow::Result<StackStatus> {
        let stacks = self.stacks();
        e2e::wait_until(format!("{what} (Stack {}/{stack})", self.namespace), LIMIT, async || {
            let object = stacks.get(stack).await?;
            let generation = object.metadata.generation;
            let status = object.status.unwrap_or_default();
            anyhow::ensure!(status.observed_generation == generation, "generation {generation:?} is not observed yet");
            anyhow::ensure!(is_as_wanted(&status), "{}", serde_json::to_string(&status)?);
            Ok(status)
        })
        .await
    }

    /// Asks for a sync and waits until it was done, so that what has not happened until then was not going to.
    pub async fn sync(&self, stack: &str) -> anyhow::Result<StackStatus> {
        let request = random_word(12);
        let patch = json!({"metadata": {"annotations": {marks::SYNC_REQUESTED_AT: request}}});
        self.patch_stack(stack, patch).await?;
        let handled = |status: &StackStatus| status.last_handled_sync.as_deref() == Some(request.as_str());
        self.wait_status(stack, "the sync that was asked for", handled).await
    }

    /// Waits until a Secret has exactly these data; `None` if it is not there.
    pub async fn wait_secret(&self, name: &str, wanted: Option<BTreeMap<String, Vec<u8>>>) -> anyhow::Result<()> {
        e2e::wait_until(format!("the wanted data of Secret {}/{name}", self.namespace), LIMIT, async || {
            let found = self.secret(name).await?;
            anyhow::ensure!(
                found == wanted,
                "it has the keys {:?}",
                found.map(|data| data.into_keys().collect::<Vec<_>>())
            );
            Ok(())
        })
        .await
    }

    /// Waits until an Event says this of a Stack. It is sent after the status.
    pub async fn wait_event(&self, stack: &str, reason: Reason, note: &str) -> anyhow::Result<()> {
        e2e::wait_until(format!("an Event {reason} of Stack {}/{stack}", self.namespace), LIMIT, async || {
            let events = self.events(stack).await?;
            let said = events.iter().any(|(word, text)| word == reason.as_str() && text.contains(note));
            anyhow::ensure!(said, "{events:?}");
            Ok(())
        })
        .await
    }

    /// Every status that a Stack ever had, oldest first.
    pub async fn history(&self, stack: &str) -> anyhow::Result<Vec<StackStatus>> {
        let stacks = self.stacks();
        let last = stacks.get(stack).await?.resource_version();
        let parameters = WatchParams::default().fields(&format!("metadata.name={stack}"));
        let mut stream = Box::pin(stacks.watch(&parameters, &self.first_version).await?);
        let mut statuses = Vec::new();
        while let Some(event) = tokio::time::timeout(LIMIT, stream.try_next()).await?? {
            let object = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object,
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => anyhow::bail!("the watch of Stack {stack} failed: {}", status.message),
            };
            let is_last = object.resource_version() == last;
            statuses.extend(object.status);
            if is_last {
                return Ok(statuses);
            }
        }
        anyhow::bail!("the watch of Stack {stack} ended early")
    }

    /// Waits until a Stack created now would be younger than this one, by the second that creation times have.
    pub async fn wait_older(&self, stack: &str) -> anyhow::Result<()> {
        let created = self.stacks().get_metadata(stack).await?.creation_timestamp().context("no time of creation")?;
        e2e::wait_until("the next second", LIMIT, async || {
            let now = jiff::Timestamp::now();
            if now.as_second() > created.0.as_second() { Ok(()) } else { Err(now) }
        })
        .await
    }

    /// Waits until a Store's Ready has this reason.
    pub async fn wait_store(&self, store: &str, reason: Reason) -> anyhow::Result<Condition> {
        let stores = self.stores();
        e2e::wait_until(format!("{reason} (Store {}/{store})", self.namespace), LIMIT, async || {
            let object = stores.get(store).await?;
            let generation = object.metadata.generation;
            let status = object.status.clone().unwrap_or_default();
            anyhow::ensure!(status.observed_generation == generation, "{} is not observed yet", object.name_any());
            let ready = status.conditions.into_iter().find(|condition| condition.type_ == READY);
            let ready = ready.context("it has no condition Ready")?;
            anyhow::ensure!(ready.reason == reason.as_str(), "{}: {}", ready.reason, ready.message);
            Ok(ready)
        })
        .await
    }
}
