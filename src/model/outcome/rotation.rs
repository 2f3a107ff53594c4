//! What is reported of values that stores rotate themselves.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{condition, more, place};
use crate::api::Reason;
use crate::api::status::{ROTATION_OVERDUE, RotationStatus, SecretStatus, StackStatus};
use crate::backend::Rotation;
use crate::model::Problem;

/// The entry of one secret.
pub(super) fn status(rotation: &Rotation, now: Timestamp) -> RotationStatus {
    let Rotation { last, next, owner } = rotation;
    RotationStatus {
        last: last.map(Time),
        next: next.map(Time),
        overdue: next.is_some_and(|next| next < now),
        owner: owner.clone(),
    }
}

/// The condition, if a rotation is overdue. The value is good still, so that `Ready` says nothing of it.
pub(super) fn overdue(
    secrets: &[SecretStatus],
    previous: &StackStatus,
    generation: i64,
    now: Timestamp,
) -> Option<Condition> {
    let late = |entry: &&SecretStatus| entry.rotation.as_ref().is_some_and(|rotation| rotation.overdue);
    let overdue: Vec<&SecretStatus> = secrets.iter().filter(late).collect();
    let first = overdue.first()?;
    let since = first.rotation.as_ref().and_then(|rotation| rotation.next.as_ref());
    let since = since.map(|next| format!(" since {}", next.0)).unwrap_or_default();
    let more = more(overdue.len());
    let message = format!(
        "the store should have rotated {}{since} and did not{more}: look at its rotation function",
        place(&first.component, &first.name)
    );
    let problem = Problem { reason: Reason::RotationOverdue, message, stalled: false };
    Some(condition(previous, ROTATION_OVERDUE, &Ok(problem), generation, now))
}
