//! What happened in one sync → the status to report.

mod exposures;
mod pinned;
mod rotation;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Finding, Plan, PlannedSecret, Problem, StoreRef};
use crate::api::Reason;
use crate::api::status::{READY, STALLED, SUSPENDED, SecretState, SecretStatus, StackStatus, Summary, TargetStatus};
use crate::backend::Rotation;

/// What became of one target in this sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetReport {
    /// Whether the Secret equals what the stores held at the last read.
    pub ready: bool,
    /// Why not.
    pub problem: Option<Problem>,
    /// Whether the problem only repeats that of a secret in it.
    pub derived: bool,
    /// The Secret's version, if it is known.
    pub resource_version: Option<String>,
    /// Whether we changed the Secret's content in this sync.
    pub changed: bool,
}

/// Everything that the status of a Stack is made from.
pub struct Observation<'a> {
    /// What should be.
    pub plan: &'a Plan,
    /// What was found, one for each of `plan.secrets`.
    pub findings: &'a [Finding],
    /// For each of `plan.secrets`: whether a passing error may still be covered by the last good read.
    pub covered: &'a [bool],
    /// How stores rotate the values of `plan.secrets`, by index, where they do.
    pub rotations: &'a BTreeMap<usize, Rotation>,
    /// What was done, one for each of `plan.targets`.
    pub targets: &'a [TargetReport],
    /// Optional secrets, by index in `plan.secrets`, that are gone and keep their last bytes in a target.
    pub kept: &'a BTreeSet<usize>,
    /// The status before.
    pub previous: &'a StackStatus,
    /// The spec's generation.
    pub generation: i64,
    /// Generations of the other objects.
    pub inputs: BTreeMap<String, i64>,
    /// How users call the stores.
    pub aliases: &'a BTreeMap<StoreRef, String>,
    /// The sync request to echo.
    pub handled_sync: Option<String>,
    /// Retained Secrets that no target names.
    pub leftover: Vec<String>,
    /// The time.
    pub now: Timestamp,
}

/// The status after a sync. Times move only where something changed, so an unchanged sync gives an equal status.
#[must_use]
pub fn status(observation: &Observation<'_>) -> StackStatus {
    let Observation {
        plan,
        findings,
        covered,
        rotations,
        targets,
        kept,
        previous,
        generation,
        inputs,
        aliases,
        handled_sync,
        leftover,
        now,
    } = observation;
    if let Some(problem) = &plan.blocked {
        // What the Stack declares is not known, so nothing is known to have changed: secrets and targets stay as told.
        return StackStatus {
            inputs: inputs.clone(),
            last_handled_sync: handled_sync.clone(),
            ..failed(previous, problem, *generation, *now)
        };
    }
    let before: HashMap<(&str, &str), &SecretStatus> =
        previous.secrets.iter().map(|entry| ((entry.component.as_str(), entry.name.as_str()), entry)).collect();
    let secrets: Vec<SecretStatus> = plan
        .secrets
        .iter()
        .zip(findings.iter())
        .zip(covered.iter())
        .enumerate()
        .filter(|(_, ((secret, _), _))| secret.exposure.is_none())
        .map(|(index, ((secret, finding), is_covered))| {
            let before = before.get(&(secret.component.as_str(), secret.name.as_str())).copied();
            let trouble = exposures::trouble(plan, findings, covered, index);
            let mut entry = secret_status(secret, finding, *is_covered, trouble, before, *now);
            entry.rotation = rotations.get(&index).map(|rotation| rotation::status(rotation, *now)).or(entry.rotation);
            if kept.contains(&index)
                && let Some(message) = &mut entry.message
            {
                message.push_str("; its targets keep the last value");
            }
            entry
        })
        .collect();
    let targets_before: HashMap<&str, &TargetStatus> =
        previous.targets.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let target_list: Vec<TargetStatus> = plan
        .targets
        .iter()
        .zip(targets.iter())
        .map(|(target, report)| {
            let before = targets_before.get(target.name.as_str()).copied();
            TargetStatus {
                name: target.name.clone(),
                component: target.component.clone(),
                ready: report.ready,
                reason: report.problem.as_ref().map(|problem| problem.reason),
                message: report.problem.as_ref().map(|problem| problem.message.clone()),
                resource_version: report
                    .resource_version
                    .clone()
                    .or_else(|| before.and_then(|entry| entry.resource_version.clone())),
                last_changed: if report.changed {
                    Some(Time(*now))
                } else {
                    before.and_then(|entry| entry.last_changed.clone())
                },
            }
        })
        .collect();

    let verdict = verdict(plan, &secrets, findings, covered, targets);
    let stalled = is_stalled(findings, targets);
    let mut conditions = vec![condition(previous, READY, &verdict, *generation, *now)];
    if stalled && let Err(problem) = &verdict {
        let stalled = condition(previous, STALLED, &Ok(problem.clone()), *generation, *now);
        conditions.push(stalled);
    }
    conditions.extend(rotation::overdue(&secrets, previous, *generation, *now));
    conditions.extend(pinned::pinned(plan, previous, *generation, *now));
    let initialized = secrets.iter().filter(|entry| entry.state == SecretState::Initialized).count();
    StackStatus {
        observed_generation: Some(*generation),
        inputs: inputs.clone(),
        last_handled_sync: handled_sync.clone(),
        initialized: Some(format!("{initialized}/{}", secrets.len())),
        missing: missing(&secrets),
        stores: stores(plan, aliases),
        summary: summary(&secrets),
        leftover: leftover.clone(),
        conditions,
        targets: target_list,
        secrets,
    }
    .bounded()
}

/// The status of a suspended Stack: what it was, and that it is suspended.
#[must_use]
pub fn suspended(previous: &StackStatus, generation: i64, now: Timestamp) -> StackStatus {
    let problem = Problem {
        reason: Reason::Suspended,
        message: "spec.suspend is true: nothing is read or written".to_owned(),
        stalled: false,
    };
    let mut conditions: Vec<Condition> =
        previous.conditions.iter().filter(|condition| condition.type_ == READY).cloned().collect();
    if conditions.is_empty() {
        let mut unknown = condition(previous, READY, &Err(problem.clone()), generation, now);
        unknown.status = "Unknown".to_owned();
        conditions.push(unknown);
    }
    conditions.push(condition(previous, SUSPENDED, &Ok(problem), generation, now));
    StackStatus { observed_generation: Some(generation), conditions, ..previous.clone() }
}

/// The status of a Stack that cannot be worked on at all: what it was, and why.
#[must_use]
pub fn failed(previous: &StackStatus, problem: &Problem, generation: i64, now: Timestamp) -> StackStatus {
    let mut conditions = vec![condition(previous, READY, &Err(problem.clone()), generation, now)];
    if problem.stalled {
        conditions.push(condition(previous, STALLED, &Ok(problem.clone()), generation, now));
    }
    StackStatus { observed_generation: Some(generation), conditions, ..previous.clone() }
}

/// A condition; its transition time is the old one unless its status changed.
#[must_use]
pub fn condition_of(
    before: &[Condition],
    type_: &str,
    status: &str,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let last_transition_time = before
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time,
    }
}

/// `Ok` is a condition that is `True`, with its reason and message; `Err` one that is `False`.
fn condition(
    previous: &StackStatus,
    type_: &str,
    verdict: &Result<Problem, Problem>,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let (status, problem) = match verdict {
        Ok(problem) => ("True", problem),
        Err(problem) => ("False", problem),
    };
    condition_of(&previous.conditions, type_, status, problem.reason, &problem.message, generation, now)
}

fn secret_status(
    secret: &PlannedSecret,
    finding: &Finding,
    covered: bool,
    trouble: Option<(SecretState, Option<Problem>)>,
    before: Option<&SecretStatus>,
    now: Timestamp,
) -> SecretStatus {
    let backend_key = secret.read.as_ref().map(|read| read.key.name.clone()).unwrap_or_default();
    if covered
        && let Finding::Error { transient: true, .. } = finding
        && let Some(before) = before
        && before.backend_key == backend_key
    {
        return before.clone();
    }
    let (state, problem, version, origin) = match finding {
        Finding::Initialized { version, from_default, .. } => {
            let origin = if *from_default { "default".to_owned() } else { secret.origin.clone() };
            (SecretState::Initialized, None, version.clone(), origin)
        }
        Finding::Missing(problem) => (SecretState::Missing, Some(problem), String::new(), secret.origin.clone()),
        Finding::Error { problem, .. } => (SecretState::Error, Some(problem), String::new(), secret.origin.clone()),
        Finding::Unknown => (SecretState::Unknown, None, String::new(), secret.origin.clone()),
    };
    // Only a version that must be there makes its declaration missing.
    let holds_back = matches!(trouble, Some((SecretState::Missing, _))) && state == SecretState::Initialized;
    let (state, problem) = match (state, trouble) {
        (SecretState::Initialized, Some(trouble)) => trouble,
        (state, _) => (state, problem.cloned()),
    };
    let unchanged = before.filter(|before| before.state == state && before.version == version);
    SecretStatus {
        component: secret.component.clone(),
        name: secret.name.clone(),
        state,
        reason: problem.as_ref().map(|problem| problem.reason),
        message: problem.map(|problem| problem.message),
        required: secret.required || holds_back,
        scope: secret.scope,
        store: secret.store.as_ref().map(ToString::to_string).unwrap_or_default(),
        backend_key,
        version,
        rotation: None,
        origin,
        last_changed: unchanged.map_or(Some(Time(now)), |before| before.last_changed.clone()),
    }
}

fn is_stalled(findings: &[Finding], targets: &[TargetReport]) -> bool {
    let secret = findings.iter().any(|finding| match finding {
        Finding::Missing(problem) | Finding::Error { problem, .. } => problem.stalled,
        Finding::Initialized { .. } | Finding::Unknown => false,
    });
    let target = targets.iter().any(|report| report.problem.as_ref().is_some_and(|problem| problem.stalled));
    secret || target
}

/// Whether the Stack is ready, and in one sentence why or why not.
///
/// Of several problems the one is named that a person should look at first: what only an edit of this Stack can cure,
/// then what holds targets themselves back, then secrets in error, then missing ones.
fn verdict(
    plan: &Plan,
    secrets: &[SecretStatus],
    findings: &[Finding],
    covered: &[bool],
    targets: &[TargetReport],
) -> Result<Problem, Problem> {
    let errors: Vec<(&PlannedSecret, &Problem)> = plan
        .secrets
        .iter()
        .zip(findings)
        .zip(covered)
        .filter_map(|((secret, finding), covered)| match finding {
            Finding::Error { transient: true, .. } if *covered => None,
            Finding::Error { problem, .. } => Some((secret, problem)),
            Finding::Initialized { .. } | Finding::Missing(_) | Finding::Unknown => None,
        })
        .collect();
    let own: Vec<(&str, &Problem)> = plan
        .targets
        .iter()
        .zip(targets)
        .filter(|(_, report)| !report.derived)
        .filter_map(|(target, report)| report.problem.as_ref().map(|problem| (target.name.as_str(), problem)))
        .collect();
    let stalled = |problem: &Problem| problem.stalled;
    if let Some((secret, problem)) = errors.iter().find(|(_, problem)| stalled(problem)) {
        return Err(of_secret(secret, problem, errors.len()));
    }
    if let Some((name, problem)) = own.iter().find(|(_, problem)| stalled(problem)).or_else(|| own.first()) {
        let more = more(own.len());
        return Err(Problem { message: format!("target {name}: {}{more}", problem.message), ..(*problem).clone() });
    }
    if let Some((secret, problem)) = errors.first() {
        return Err(of_secret(secret, problem, errors.len()));
    }
    let missing: Vec<&SecretStatus> =
        secrets.iter().filter(|entry| entry.required && entry.state == SecretState::Missing).collect();
    if let Some(first) = missing.first() {
        let noun = if missing.len() == 1 { "secret has" } else { "secrets have" };
        let names: Vec<String> = missing.iter().take(3).map(|entry| place(&entry.component, &entry.name)).collect();
        let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
        return Err(Problem {
            reason: first.reason.unwrap_or(Reason::ValueMissing),
            message: format!("{} required {noun} no value: {}{more}", missing.len(), names.join(", ")),
            stalled: false,
        });
    }
    if let Some((target, report)) = plan.targets.iter().zip(targets).find(|(_, report)| !report.ready) {
        let problem = report.problem.clone().unwrap_or_else(|| Problem {
            reason: Reason::InternalError,
            message: "not written, and no reason was recorded; please report this".to_owned(),
            stalled: false,
        });
        return Err(Problem { message: format!("target {}: {}", target.name, problem.message), ..problem });
    }
    if let Some(entry) = secrets.iter().find(|entry| entry.state == SecretState::Unknown) {
        return Err(Problem {
            reason: Reason::Unreachable,
            message: format!("{} was not asked yet", place(&entry.component, &entry.name)),
            stalled: false,
        });
    }
    let noun = if targets.len() == 1 { "target equals" } else { "targets equal" };
    Ok(Problem {
        reason: Reason::Synced,
        message: match targets.len() {
            0 => "every required secret has a value; no targets are declared".to_owned(),
            count => format!("{count} {noun} what the stores hold"),
        },
        stalled: false,
    })
}

fn of_secret(secret: &PlannedSecret, problem: &Problem, count: usize) -> Problem {
    let place = place(&secret.component, &secret.name);
    Problem { message: format!("{place}: {}{}", problem.message, more(count)), ..problem.clone() }
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

/// How a secret is called in a sentence.
fn place(component: &str, name: &str) -> String {
    if component.is_empty() { name.to_owned() } else { format!("{component} {name}") }
}

/// The column: the first required secret without a value, and how many more.
fn missing(secrets: &[SecretStatus]) -> Option<String> {
    let missing: Vec<&SecretStatus> =
        secrets.iter().filter(|entry| entry.required && entry.state == SecretState::Missing).collect();
    let first = missing.first()?;
    let component = first.component.split_once('/').map_or(first.component.as_str(), |(_, name)| name);
    let more = if missing.len() > 1 { format!(" +{}", missing.len() - 1) } else { String::new() };
    Some(format!("{}{more}", place(component, &first.name)))
}

fn summary(secrets: &[SecretStatus]) -> Option<Summary> {
    let mut summary = Summary::default();
    for entry in secrets {
        match entry.state {
            SecretState::Initialized => {}
            SecretState::Missing => summary.missing += 1,
            SecretState::Error => summary.error += 1,
            SecretState::Unknown => summary.unknown += 1,
        }
    }
    (summary != Summary::default()).then_some(summary)
}

fn stores(plan: &Plan, aliases: &BTreeMap<StoreRef, String>) -> Option<String> {
    let mut names: Vec<String> = plan
        .secrets
        .iter()
        .filter_map(|secret| secret.store.as_ref())
        .map(|store| match (aliases.get(store), store) {
            (Some(alias), _) => alias.clone(),
            (None, StoreRef::Store(name) | StoreRef::ClusterStore(name)) => name.clone(),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests;
