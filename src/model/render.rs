//! From what was read to what a Secret should hold, or why it is left as it is.

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::api::Reason;
use crate::api::stack::{MissingPolicy, SecretType, SyncPolicy};
use crate::model::content::{Content, content};
use crate::model::targets::has_required_keys;
use crate::model::{Current, Decision, Fetched, Finding, PlannedSecret, PlannedTarget, Problem};
use crate::value::SecretValue;

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
    for (key, index) in &target.entries {
        let (Some(secret), Some(finding)) = (secrets.get(*index), findings.get(*index)) else {
            return Decision::Hold(Problem::new(
                Reason::InternalError,
                format!("key {key} of target {} has no finding; please report this", target.name),
            ));
        };
        let last_good = LastGood::of(current, key);
        match finding {
            Finding::Initialized { value, .. } => {
                data.insert(key.clone(), Arc::clone(value));
            }
            Finding::Unknown => gaps.unknown.push((secret, None)),
            Finding::Missing(problem) if secret.is_left_out(problem) => {}
            Finding::Missing(problem) if secret.required => {
                gaps.required.push((secret, Some(problem)));
                gaps.carry(&mut data, key, secret, last_good);
            }
            Finding::Error { problem, transient: _ } => {
                gaps.errors.push((secret, Some(problem)));
                gaps.carry(&mut data, key, secret, last_good);
            }
            Finding::Missing(problem) => match (target.missing, last_good) {
                (_, LastGood::None) => {}
                (MissingPolicy::Remove, LastGood::Bytes(_) | LastGood::Unverified) if removable(*index) => {}
                (MissingPolicy::Keep | MissingPolicy::Remove, last_good) => {
                    gaps.kept.push((secret, Some(problem)));
                    kept.insert(*index);
                    gaps.carry(&mut data, key, secret, last_good);
                }
            },
        }
    }
    let added = documents::add(target, secrets, findings, current, removable, &mut data, &mut gaps);
    match added {
        Ok(documents) => kept.extend(documents),
        Err(problem) => return Decision::Hold(problem),
    }
    let hold = match target.sync {
        SyncPolicy::AllOrNothing => gaps.holds_all(),
        SyncPolicy::PerKey => gaps.holds_per_key(current.is_none()),
    };
    if let Some(problem) = hold.or_else(|| shape_problem(target, &data)) {
        return Decision::Hold(problem);
    }
    Decision::Write { data, incomplete: gaps.incomplete(), kept }
}

/// What the target holds under one key.
enum LastGood<'a> {
    /// Nothing.
    None,
    /// Bytes that are known to be ours.
    Bytes(&'a SecretValue),
    /// Bytes that somebody may have changed.
    Unverified,
}

impl<'a> LastGood<'a> {
    fn of(current: Option<&'a Current>, key: &str) -> Self {
        match current.and_then(|current| current.data.get(key).map(|value| (value, current.verified))) {
            None => Self::None,
            Some((value, true)) => Self::Bytes(value),
            Some((_, false)) => Self::Unverified,
        }
    }
}

type Gap<'a> = (&'a PlannedSecret, Option<&'a Problem>);

/// Entries of a target without a fresh value.
#[derive(Default)]
struct Gaps<'a> {
    unknown: Vec<Gap<'a>>,
    required: Vec<Gap<'a>>,
    errors: Vec<Gap<'a>>,
    /// Optional, gone, and kept.
    kept: Vec<Gap<'a>>,
    /// To be kept, but the bytes are not known to be ours.
    unverified: Vec<Gap<'a>>,
}

impl<'a> Gaps<'a> {
    fn carry(
        &mut self,
        data: &mut BTreeMap<String, Arc<SecretValue>>,
        key: &str,
        secret: &'a PlannedSecret,
        last_good: LastGood<'_>,
    ) {
        match last_good {
            LastGood::None => {}
            LastGood::Bytes(value) => {
                data.insert(key.to_owned(), Arc::new(SecretValue::new(value.expose().to_vec())));
            }
            LastGood::Unverified => self.unverified.push((secret, None)),
        }
    }

    fn holds_all(&self) -> Option<Problem> {
        self.unknown_problem()
            .or_else(|| self.required_problem())
            .or_else(|| self.error_problem())
            .or_else(|| self.unverified_problem())
    }

    fn holds_per_key(&self, is_new: bool) -> Option<Problem> {
        let required_errors: Vec<Gap<'_>> = self.errors.iter().filter(|(secret, _)| secret.required).copied().collect();
        let waits = || match is_new {
            true => self.required_problem().or_else(|| cannot_be_read(&required_errors)),
            false => None,
        };
        self.unknown_problem().or_else(waits).or_else(|| self.unverified_problem())
    }

    fn incomplete(&self) -> Option<Problem> {
        self.required_problem().or_else(|| self.error_problem()).or_else(|| {
            summary(&self.kept, |count| match count {
                1 => "1 optional secret has no value any more and keeps its last one".to_owned(),
                _ => format!("{count} optional secrets have no value any more and keep their last ones"),
            })
        })
    }

    fn unknown_problem(&self) -> Option<Problem> {
        let (first, rest) = self.unknown.split_first()?;
        let more = more(rest.len());
        Some(Problem::new(Reason::Unreachable, format!("not every secret was read yet: {}{more}", label(first.0))))
    }

    fn required_problem(&self) -> Option<Problem> {
        summary(&self.required, |count| match count {
            1 => "1 required secret has no value".to_owned(),
            _ => format!("{count} required secrets have no value"),
        })
    }

    fn error_problem(&self) -> Option<Problem> {
        cannot_be_read(&self.errors)
    }

    fn unverified_problem(&self) -> Option<Problem> {
        let (first, rest) = self.unverified.split_first()?;
        let more = more(rest.len());
        Some(Problem::new(
            Reason::Drifted,
            format!(
                "{}{more} has no value, and the Secret's own bytes for it may have been edited; set the value, or delete \
                 the Secret",
                label(first.0)
            ),
        ))
    }
}

fn cannot_be_read(gaps: &[Gap<'_>]) -> Option<Problem> {
    summary(gaps, |count| match count {
        1 => "1 secret cannot be read".to_owned(),
        _ => format!("{count} secrets cannot be read"),
    })
}

/// How many there are, which is the first and why, and how many more.
fn summary(gaps: &[Gap<'_>], words: impl Fn(usize) -> String) -> Option<Problem> {
    let ((secret, problem), rest) = gaps.split_first()?;
    let why = problem.map(|problem| format!(": {}", problem.message)).unwrap_or_default();
    let reason = problem.map_or(Reason::ValueMissing, |problem| problem.reason);
    let message = format!("{}: {}{}{why}", words(gaps.len()), label(secret), more(rest.len()));
    Some(Problem::new(reason, message).stalled_if(problem.is_some_and(|problem| problem.stalled)))
}

fn label(secret: &PlannedSecret) -> String {
    match secret.component.as_str() {
        "" => secret.name.clone(),
        component => format!("{component} {}", secret.name),
    }
}

fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" +{count}"),
    }
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
                .is_some_and(|value| serde_json::from_slice::<IgnoredAny>(value.expose()).is_ok());
            (!is_json).then(|| {
                let message = format!("the value for .dockerconfigjson of target {} is no JSON", target.name);
                Problem::new(Reason::InvalidTarget, message)
            })
        }
        SecretType::Opaque | SecretType::Tls | SecretType::BasicAuth | SecretType::SshAuth => None,
    }
}

#[cfg(test)]
mod tests;
