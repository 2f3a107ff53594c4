//! From what was read to what a Secret should hold, or why it is left as it is.

mod before;
mod documents;
mod gaps;
mod templated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::api::Reason;
use crate::api::stack::{MissingPolicy, SecretType, SyncPolicy};
use crate::model::content::{Content, content};
use crate::model::format::lay_out;
use crate::model::targets::has_required_keys;
use crate::model::{Current, Decision, Fetched, Finding, PlannedSecret, PlannedTarget, Problem};
use crate::value::SecretValue;
use before::{Before, LastGood};
use gaps::Gaps;
use templated::Around;

/// The most bytes that the data of a Secret may have together (`MaxSecretSize` of the API server).
pub const MAX_SECRET_BYTES: usize = 1 << 20;

/// What is known of a declared secret, once its key was read.
///
/// A default stands in for a value or a path that is missing, never for an error.
#[must_use]
pub fn finding(secret: &PlannedSecret, fetched: Fetched) -> Finding {
    let read = match &secret.read {
        Ok(read) => read,
        Err(problem) => return Finding::Error { problem: problem.clone(), transient: false },
    };
    let versioned = match fetched {
        Fetched::Value(versioned) => versioned,
        Fetched::Unknown => return Finding::Unknown,
        Fetched::Error(error) if error.kind.is_missing() => {
            return missing(secret, Problem::new(error.kind.reason(), error.message));
        }
        Fetched::Error(error) => {
            return Finding::Error {
                problem: Problem::new(error.kind.reason(), error.message),
                transient: error.kind.is_transient(),
            };
        }
    };
    match content(secret, &read.key.name, &versioned.value) {
        Ok(Content { value, keys }) => {
            Finding::Initialized { value, keys, version: versioned.version, from_default: false }
        }
        Err(problem) if problem.reason == Reason::PathNotFound => missing(secret, problem),
        Err(problem) => Finding::Error { problem, transient: false },
    }
}

fn missing(secret: &PlannedSecret, problem: Problem) -> Finding {
    match &secret.default {
        Some(default) => Finding::Initialized {
            value: Arc::new(SecretValue::from(default.clone())),
            keys: None,
            version: String::new(),
            from_default: true,
        },
        None => Finding::Missing(problem),
    }
}

/// What to do with a target, given what is known of every secret of the plan.
///
/// `current` is the target's Secret if it exists and is ours. `removable` says of an optional secret that is missing
/// whether its key may go under `missingPolicy: Remove`: two reads one interval apart both found it missing.
#[must_use]
pub fn decide(
    target: &PlannedTarget,
    secrets: &[PlannedSecret],
    findings: &[Finding],
    current: Option<&Current>,
    removable: &dyn Fn(usize) -> bool,
) -> Decision {
    if let Some(problem) = &target.problem {
        return Decision::Hold(problem.clone());
    }
    let mut data: BTreeMap<String, Arc<SecretValue>> = BTreeMap::new();
    let mut gaps = Gaps::default();
    let mut kept = BTreeSet::new();
    let before = Before::of(target, current);
    for (key, index) in &target.entries {
        let (Some(secret), Some(finding)) = (secrets.get(*index), findings.get(*index)) else {
            return Decision::Hold(Problem::new(
                Reason::InternalError,
                format!("key {key} of target {} has no finding; please report this", target.name),
            ));
        };
        let last_good = before.last_good(key);
        match finding {
            Finding::Initialized { value, .. } => {
                data.insert(key.clone(), Arc::clone(value));
            }
            Finding::Unknown => gaps.note_unknown(secret),
            Finding::Missing(problem) if secret.is_left_out(problem) => {}
            Finding::Missing(problem) if secret.required => {
                gaps.note_required(secret, problem);
                gaps.carry(&mut data, key, secret, last_good);
            }
            Finding::Error { problem, transient: _ } => {
                gaps.note_error(secret, problem);
                gaps.carry(&mut data, key, secret, last_good);
            }
            Finding::Missing(problem) => match (target.missing, last_good) {
                (_, LastGood::None) => {}
                (MissingPolicy::Remove, LastGood::Bytes(_) | LastGood::Unverified) if removable(*index) => {}
                (MissingPolicy::Keep | MissingPolicy::Remove, last_good) => {
                    gaps.note_kept(secret, problem);
                    kept.insert(*index);
                    gaps.carry(&mut data, key, secret, last_good);
                }
            },
        }
    }
    let around = Around { target, secrets, findings, removable };
    for (key, template) in &target.templates {
        around.add(key, template, before.last_good(key), &mut data, &mut gaps, &mut kept);
    }
    match documents::add(&around, &before, &mut data, &mut gaps) {
        Ok(documents) => kept.extend(documents),
        Err(problem) => return Decision::Hold(problem),
    }
    let hold = match target.sync {
        SyncPolicy::AllOrNothing => gaps.holds_all(),
        SyncPolicy::PerKey => gaps.holds_per_key(current.is_none()),
    };
    if let Some(problem) = hold {
        return Decision::Hold(problem);
    }
    let data = match lay_out(target, data) {
        Ok(data) => data,
        Err(problem) => return Decision::Hold(problem),
    };
    if let Some(problem) = shape_problem(target, &data) {
        return Decision::Hold(problem);
    }
    Decision::Write { data, incomplete: gaps.incomplete(), kept }
}

/// What the API server would refuse.
fn shape_problem(target: &PlannedTarget, data: &BTreeMap<String, Arc<SecretValue>>) -> Option<Problem> {
    let size: usize = data.values().map(|value| value.expose().len()).sum();
    if size > MAX_SECRET_BYTES {
        return Some(Problem::new(
            Reason::ValueTooLarge,
            format!("the values of target {} are larger than 1 MiB together; use several targets", target.name),
        ));
    }
    if let Err(needed) = has_required_keys(target.secret_type, |key| data.contains_key(key)) {
        return Some(Problem::new(
            Reason::ValueMissing,
            format!("a Secret of type {} needs {needed}, which has no value", target.secret_type.as_str()),
        ));
    }
    match target.secret_type {
        SecretType::DockerConfigJson => {
            let is_json = data
                .get(".dockerconfigjson")
                .is_some_and(|value| serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(value.expose()).is_ok());
            (!is_json).then(|| {
                let message = format!("the value for .dockerconfigjson of target {} is no JSON object", target.name);
                Problem::new(Reason::InvalidTarget, message)
            })
        }
        SecretType::Opaque | SecretType::Tls | SecretType::BasicAuth | SecretType::SshAuth => None,
    }
}

#[cfg(test)]
mod tests;
