//! What keeps a target from being complete, and the words for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::before::LastGood;
use crate::api::Reason;
use crate::model::{PlannedSecret, Problem};
use crate::value::SecretValue;

type Gap<'a> = (&'a PlannedSecret, Option<&'a Problem>);

/// Entries of a target without a fresh value.
#[derive(Default)]
pub(super) struct Gaps<'a> {
    unknown: Vec<Gap<'a>>,
    required: Vec<Gap<'a>>,
    errors: Vec<Gap<'a>>,
    /// Templates that cannot be rendered although their values are there.
    failed: Vec<Problem>,
    /// One of them, if the bytes to keep for it are not known to be ours.
    failed_unverified: Option<Problem>,
    /// Optional, gone, and kept.
    kept: Vec<Gap<'a>>,
    /// To be kept, but the bytes are not known to be ours.
    unverified: Vec<Gap<'a>>,
}

impl<'a> Gaps<'a> {
    pub fn note_unknown(&mut self, secret: &'a PlannedSecret) {
        note(&mut self.unknown, secret, None);
    }

    pub fn note_required(&mut self, secret: &'a PlannedSecret, problem: &'a Problem) {
        note(&mut self.required, secret, Some(problem));
    }

    pub fn note_error(&mut self, secret: &'a PlannedSecret, problem: &'a Problem) {
        note(&mut self.errors, secret, Some(problem));
    }

    pub fn note_kept(&mut self, secret: &'a PlannedSecret, problem: &'a Problem) {
        note(&mut self.kept, secret, Some(problem));
    }

    /// What is to be kept for it is not known to be ours.
    pub fn note_unverified(&mut self, secret: &'a PlannedSecret) {
        note(&mut self.unverified, secret, None);
    }

    pub fn carry(
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
            LastGood::Unverified => self.note_unverified(secret),
        }
    }

    /// A template that cannot be rendered: its key keeps its last good bytes.
    pub fn fail(
        &mut self,
        data: &mut BTreeMap<String, Arc<SecretValue>>,
        key: &str,
        last_good: LastGood<'_>,
        problem: Problem,
    ) {
        match last_good {
            LastGood::None => {}
            LastGood::Bytes(value) => {
                data.insert(key.to_owned(), Arc::new(SecretValue::new(value.expose().to_vec())));
            }
            LastGood::Unverified => self.failed_unverified = Some(problem.clone()),
        }
        self.failed.push(problem);
    }

    pub fn holds_all(&self) -> Option<Problem> {
        self.unknown_problem()
            .or_else(|| self.required_problem())
            .or_else(|| self.error_problem())
            .or_else(|| self.failed.first().cloned())
            .or_else(|| self.unverified_problem())
    }

    pub fn holds_per_key(&self, is_new: bool) -> Option<Problem> {
        let required_errors: Vec<Gap<'_>> = self.errors.iter().filter(|(secret, _)| secret.required).copied().collect();
        let waits = || match is_new {
            true => self
                .required_problem()
                .or_else(|| cannot_be_read(&required_errors))
                .or_else(|| self.failed.first().cloned()),
            false => None,
        };
        self.unknown_problem()
            .or_else(waits)
            .or_else(|| self.unverified_problem())
            .or_else(|| self.failed_unverified.clone())
    }

    pub fn incomplete(&self) -> Option<Problem> {
        self.required_problem().or_else(|| self.error_problem()).or_else(|| self.failed.first().cloned()).or_else(
            || {
                summary(&self.kept, |count| match count {
                    1 => "1 optional secret has no value any more and keeps its last one".to_owned(),
                    _ => format!("{count} optional secrets have no value any more and keep their last ones"),
                })
            },
        )
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

/// Once for each secret, however many keys it is in.
fn note<'a>(gaps: &mut Vec<Gap<'a>>, secret: &'a PlannedSecret, problem: Option<&'a Problem>) {
    if !gaps.iter().any(|(known, _)| std::ptr::eq(*known, secret)) {
        gaps.push((secret, problem));
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

pub(super) fn label(secret: &PlannedSecret) -> String {
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
