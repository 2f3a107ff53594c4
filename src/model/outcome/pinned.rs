//! The condition `Pinned`: values that a declaration holds at one version, so that they do not follow their store.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{condition, more, place};
use crate::api::Reason;
use crate::api::status::{PINNED, StackStatus};
use crate::model::{Plan, PlannedSecret, Problem};

/// How many are named.
const NAMED: usize = 3;

/// The condition, if anything is pinned.
pub(super) fn pinned(plan: &Plan, previous: &StackStatus, generation: i64, now: Timestamp) -> Option<Condition> {
    let pinned: Vec<(&PlannedSecret, &str)> =
        plan.secrets.iter().filter_map(|secret| Some((secret, version(secret)?))).collect();
    let verb =
        if pinned.len() == 1 { "secret stays at a version and does" } else { "secrets stay at a version and do" };
    let names: Vec<String> = pinned
        .iter()
        .take(NAMED)
        .map(|(secret, version)| format!("{} at {version}", place(&secret.component, &secret.name)))
        .collect();
    let others = pinned.len().checked_sub(NAMED).map(|others| more(others + 1)).unwrap_or_default();
    let count = pinned.len();
    let message = format!("{count} {verb} not follow the store: {}{others}", names.join(", "));
    let problem = Problem { reason: Reason::Pinned, message, stalled: false };
    (count > 0).then(|| condition(previous, PINNED, &Ok(problem), generation, now))
}

/// The version that never moves, if the declaration names one. Labels, stages and aliases move; numbers and ids do not.
/// A version beside the current one (`expose`) is no pin.
fn version(secret: &PlannedSecret) -> Option<&str> {
    let read = secret.read.as_ref().ok().filter(|_| secret.exposure.is_none())?;
    read.key.version.as_deref().filter(|version| is_fixed(version))
}

/// Versions of Vault, SSM and GCP are numbers; those of Secrets Manager are UUIDs by default, those of Azure 32 hexadecimal
/// digits. No label or alias of these stores is a number, and none looks like an id unless somebody means to deceive.
fn is_fixed(version: &str) -> bool {
    let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let id = version.len() >= 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    number || id
}
