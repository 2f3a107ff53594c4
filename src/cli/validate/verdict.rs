//! From what is known of a Stack to a verdict: pure.

use kube::ResourceExt;
use serde::Serialize;

use super::super::rows::{self, Row, condition};
use super::title;
use crate::api::status::{READY, STALLED, SecretState};
use crate::api::{Reason, Stack};
use crate::model::Problem;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every required secret has a value.
    Valid,
    /// One has none, or the spec is invalid.
    Invalid,
    /// It could not be found out.
    Undetermined,
}

/// Something wrong with the Stack as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackProblem {
    /// One word.
    pub reason: String,
    /// What to do.
    pub message: String,
}

/// What `validate` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The Stack's namespace.
    pub namespace: String,
    /// The Stack's object name.
    pub stack: String,
    #[serde(skip)]
    title: String,
    /// The answer.
    pub verdict: Verdict,
    /// Secrets that were looked at.
    pub declared: usize,
    /// Those of them that have a value.
    pub initialized: usize,
    /// What holds the whole Stack back.
    pub stack_problems: Vec<StackProblem>,
    /// Secrets that made the verdict.
    pub offending: Vec<Row>,
    /// Optional secrets that could not be read; they do not count.
    pub optional: Vec<Row>,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// Why nothing could be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip)]
    pub hint: Option<String>,
}

impl Report {
    fn new(stack: &Stack) -> Self {
        Self {
            namespace: stack.namespace().unwrap_or_default(),
            stack: stack.name_any(),
            title: title(stack),
            verdict: Verdict::Valid,
            declared: 0,
            initialized: 0,
            stack_problems: Vec::new(),
            offending: Vec::new(),
            optional: Vec::new(),
            notes: Vec::new(),
            why: None,
            hint: None,
        }
    }

    /// Nothing could be found out.
    pub fn undetermined(stack: &Stack, why: &str, hint: &str) -> Self {
        Self {
            verdict: Verdict::Undetermined,
            why: Some(why.to_owned()),
            hint: Some(hint.to_owned()),
            ..Self::new(stack)
        }
    }

    /// One line that says it all.
    pub fn summary(&self) -> String {
        let Self { title, declared, initialized, .. } = self;
        if let Some(why) = &self.why {
            return format!("undetermined: {title}: {why}");
        }
        let count = |state| self.offending.iter().filter(|row| row.status == state).count();
        let mut parts = vec![format!("{initialized} of {declared} secrets have a value")];
        for (count, what) in [
            (count(SecretState::Missing), "required without a value"),
            (count(SecretState::Error), "in error"),
            (count(SecretState::Unknown), "not checked yet"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let word = match self.verdict {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Undetermined => "undetermined",
        };
        format!("{word}: {title}: {}", parts.join(", "))
    }

    /// Adds what is known of the secrets.
    fn judge(&mut self, rows: Vec<Row>) {
        self.declared = rows.len();
        for row in rows {
            let spec_error = row.reason.is_some_and(is_spec_error);
            match row.status {
                SecretState::Initialized => self.initialized += 1,
                SecretState::Missing if row.required => {
                    self.worsen(Verdict::Invalid);
                    self.offending.push(row);
                }
                // An optional secret without a value is as it may be.
                SecretState::Missing => {}
                SecretState::Error | SecretState::Unknown if spec_error => {
                    self.worsen(Verdict::Invalid);
                    self.offending.push(row);
                }
                SecretState::Error | SecretState::Unknown if row.required => {
                    self.worsen(Verdict::Undetermined);
                    self.offending.push(row);
                }
                SecretState::Error | SecretState::Unknown => self.optional.push(row),
            }
        }
    }

    /// A definite "no" goes before "cannot tell".
    fn worsen(&mut self, verdict: Verdict) {
        self.verdict = match (self.verdict, verdict) {
            (Verdict::Invalid, _) | (_, Verdict::Invalid) => Verdict::Invalid,
            (Verdict::Undetermined, _) | (_, Verdict::Undetermined) => Verdict::Undetermined,
            (Verdict::Valid, Verdict::Valid) => Verdict::Valid,
        };
    }
}

/// The verdict that a current status gives.
#[must_use]
pub fn of_status(stack: &Stack, component: Option<&str>) -> Report {
    let mut report = Report::new(stack);
    let mut rows = rows::from_status(stack);
    let knows_any = !rows.is_empty();
    if let Some(component) = component {
        rows = rows::effective(&stack.spec, component, rows);
    }
    report.judge(rows);
    judge_stack(&mut report, stack, knows_any);
    for target in stack.status.iter().flat_map(|status| &status.targets) {
        let concerns = component.is_none_or(|component| target.component == component);
        // Targets that wait for a value say nothing new.
        let Some(reason) = target.reason.filter(|_| concerns && !target.ready) else { continue };
        let text = format!("target {}: {reason}: {}", target.name, target.message.as_deref().unwrap_or("not ready"));
        if is_spec_error(reason) && report.stack_problems.is_empty() {
            report.worsen(Verdict::Invalid);
            report.stack_problems.push(StackProblem {
                reason: reason.to_string(),
                message: format!("target {}: {}", target.name, target.message.as_deref().unwrap_or("not ready")),
            });
        } else if report.offending.is_empty() {
            report.notes.push(text);
        }
    }
    report
}

/// The verdict that the stores themselves give. `blocked` is why nobody knows what is declared; `targets` are those that
/// cannot be written whatever is read.
#[must_use]
pub fn of_stores<'a>(
    stack: &Stack,
    rows: Vec<Row>,
    blocked: Option<&Problem>,
    targets: impl Iterator<Item = (&'a str, &'a Problem)>,
) -> Report {
    let mut report = Report::new(stack);
    report.judge(rows);
    let problems = blocked
        .map(|problem| (problem, problem.message.clone()))
        .into_iter()
        .chain(targets.map(|(name, problem)| (problem, format!("target {name}: {}", problem.message))));
    for (problem, message) in problems {
        let is_definite = problem.stalled || is_spec_error(problem.reason);
        report.worsen(if is_definite { Verdict::Invalid } else { Verdict::Undetermined });
        report.stack_problems.push(StackProblem { reason: problem.reason.to_string(), message });
    }
    report
}

/// What the conditions add to the secrets.
fn judge_stack(report: &mut Report, stack: &Stack, knows_any: bool) {
    if let Some(stalled) = condition(stack, STALLED).filter(|condition| condition.status == "True") {
        report.worsen(Verdict::Invalid);
        if report.offending.is_empty() {
            let (reason, message) = (stalled.reason.clone(), stalled.message.clone());
            report.stack_problems.push(StackProblem { reason, message });
        }
        return;
    }
    let Some(ready) = condition(stack, READY) else {
        report.worsen(Verdict::Undetermined);
        report.why = Some("the operator has not said whether it is ready".to_owned());
        return;
    };
    let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == ready.reason);
    let verdict = match reason {
        _ if ready.status == "True" => return,
        Some(reason) if is_spec_error(reason) => Verdict::Invalid,
        // The set of declarations is unknowable, or the operator failed: what is listed may be incomplete.
        Some(Reason::CatalogNotFound | Reason::InternalError) => Verdict::Undetermined,
        // Without a single secret there must be something that keeps the operator from knowing them.
        Some(_) | None if !knows_any => Verdict::Undetermined,
        // A matter of targets, or of secrets that were judged one by one.
        Some(_) | None => return,
    };
    report.worsen(verdict);
    if report.offending.is_empty() {
        let (reason, message) = (ready.reason.clone(), ready.message.clone());
        report.stack_problems.push(StackProblem { reason, message });
    }
}

/// Whether the spec itself is wrong, so that neither a value nor waiting cures it.
#[must_use]
pub fn is_spec_error(reason: Reason) -> bool {
    match reason {
        Reason::InvalidSpec
        | Reason::NotDeclared
        | Reason::NoBackend
        | Reason::AmbiguousBackend
        | Reason::BaseNotFound
        | Reason::InheritanceCycle
        | Reason::ScopeConflict
        | Reason::NotOverridable
        | Reason::PathCollision
        | Reason::InvalidKeyName
        | Reason::InvalidTarget
        | Reason::TaintedSink
        | Reason::TooManySecrets
        | Reason::Unsupported => true,
        Reason::Synced
        | Reason::Connected
        | Reason::Suspended
        | Reason::Pinned
        | Reason::RotationOverdue
        | Reason::BackendNotFound
        | Reason::CatalogNotFound
        | Reason::TargetImmutable
        | Reason::OwnerConflict
        | Reason::ValueMissing
        | Reason::VersionMissing
        | Reason::PendingDeletion
        | Reason::AccessDenied
        | Reason::AuthFailed
        | Reason::Throttled
        | Reason::Unreachable
        | Reason::Timeout
        | Reason::SourceNotFound
        | Reason::NotEncrypted
        | Reason::DecryptFailed
        | Reason::MacMismatch
        | Reason::NoMatchingKey
        | Reason::NotStructured
        | Reason::PathNotFound
        | Reason::TransformFailed
        | Reason::TypeMismatch
        | Reason::ValueTooLarge
        | Reason::Drifted
        | Reason::NamespaceNotAllowed
        | Reason::EndpointNotAllowed
        | Reason::GrantMissing
        | Reason::AdmissionDenied
        | Reason::QuotaExceeded
        | Reason::InternalError => false,
    }
}

#[cfg(test)]
mod tests;
