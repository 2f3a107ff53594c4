//! Events of a Stack, on change only: our reason words and our sentences, never a remote text.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::relations::StackKey;
use super::stacks::within;
use crate::api::status::READY;
use crate::api::{GROUP, Reason, VERSION, marks};

/// The longest note that the API server takes (`events.k8s.io/v1`, field `note`).
const LONGEST_NOTE: usize = 1024;

/// Publishes Events.
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// With the operator's name as the reporter.
    #[must_use]
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: marks::OPERATOR.to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Says that Ready changed. Nothing is said of a Stack that is ready at once.
    pub async fn ready_changed(&self, stack: &StackKey, uid: &str, before: &[Condition], after: &[Condition]) {
        let before = before.iter().find(|condition| condition.type_ == READY);
        let Some(after) = after.iter().find(|condition| condition.type_ == READY) else { return };
        let same = before.is_some_and(|before| before.status == after.status && before.reason == after.reason);
        if same || (before.is_none() && after.status == "True") {
            return;
        }
        let type_ = if after.status == "True" { EventType::Normal } else { EventType::Warning };
        self.publish(stack, uid, type_, &after.reason, &after.message).await;
    }

    /// Says that an edited target was written again.
    pub async fn repaired(&self, stack: &StackKey, uid: &str, target: &str) {
        let note = format!("target {target} was edited and is written again");
        self.publish(stack, uid, EventType::Normal, Reason::Drifted.as_str(), &note).await;
    }

    async fn publish(&self, stack: &StackKey, uid: &str, type_: EventType, reason: &str, note: &str) {
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        let event =
            Event { type_, reason: reason.to_owned(), note: Some(note), action: "Sync".to_owned(), secondary: None };
        let reference = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some("Stack".to_owned()),
            namespace: Some(stack.namespace.to_string()),
            name: Some(stack.name.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        // An Event that is lost costs nobody anything: the status says the same.
        if within(self.recorder.publish(&event, &reference)).await.is_err() {
            tracing::debug!(%stack, reason, "an Event could not be published");
        }
    }
}
