//! What a refresh costs that finds nothing changed: requests counted in the audit log.

use std::time::{Duration, Instant};

use e2e::ControlPlane;
use e2e::control_plane::{AuditEvent, AuditMark};

use super::load::{Grant, Load};
use super::operator::Operator;
use super::report::{Quiet, Requests};

const OPERATOR: &str = "system:serviceaccount:atmos-secrets:atmos-secrets-operator";
/// Stacks in the namespace that can only be polled.
const POLLED: usize = 100;
/// The shortest interval that a Stack may ask for.
const INTERVAL: Duration = Duration::from_secs(10);
const ROUNDS: u32 = 3;

/// Requests of the operator since `mark`.
pub(super) fn count(control_plane: &ControlPlane, mark: AuditMark) -> anyhow::Result<Requests> {
    let mut requests = Requests::default();
    for event in control_plane.audit_events_since(mark)?.iter().filter(|event| event.user == OPERATOR) {
        let what = if event.subresource.is_empty() {
            format!("{} {}", event.verb, event.resource)
        } else {
            format!("{} {}/{}", event.verb, event.resource, event.subresource)
        };
        *requests.by_kind.entry(what).or_default() += 1;
        requests.total += 1;
        if is_question(&event.resource) {
            requests.questions += 1;
        } else if is_write(event) {
            requests.writes += 1;
        }
    }
    Ok(requests)
}

/// Whether the operator asked to store something.
pub(super) fn is_write(event: &AuditEvent) -> bool {
    event.user == OPERATOR
        && !is_question(&event.resource)
        && matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
}

/// Whether a request only asks what the caller may do, or who it is. It is a POST, and stores nothing
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>).
fn is_question(resource: &str) -> bool {
    matches!(resource, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews")
}

/// Refreshes in a namespace that grants only `get`, so that its stores and targets are polled. The watched namespace of
/// `watched` has its Stacks in the same operator, which cost nothing while nothing changes.
pub(super) async fn measure(
    control_plane: &ControlPlane,
    watched: &Load,
    operator: &Operator,
) -> anyhow::Result<Quiet> {
    let polled = Load::create(control_plane, "polled", POLLED, Grant::GetOnly, Some("10s")).await?;
    polled.wait_until_ready(control_plane, Instant::now()).await?;
    // The round in which the Stacks were synced is not counted.
    tokio::time::sleep(INTERVAL).await;
    let mark = control_plane.audit_mark()?;
    let processor_before = operator.processor_seconds()?;
    tokio::time::sleep(INTERVAL * ROUNDS).await;
    let processor_seconds = operator.processor_seconds()? - processor_before;
    let requests = count(control_plane, mark)?;
    Ok(Quiet { watched_stacks: watched.count, polled_stacks: POLLED, rounds: ROUNDS, processor_seconds, requests })
}
