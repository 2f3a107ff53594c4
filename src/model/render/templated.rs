//! The keys of a target whose values are made of several secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::before::LastGood;
use super::gaps::Gaps;
use crate::api::Reason;
use crate::api::stack::MissingPolicy;
use crate::model::template::{Failure, Template, Trouble};
use crate::model::{Finding, PlannedSecret, PlannedTarget, Problem};
use crate::value::SecretValue;

/// What a target is decided on.
pub(super) struct Around<'a> {
    pub target: &'a PlannedTarget,
    pub secrets: &'a [PlannedSecret],
    pub findings: &'a [Finding],
    pub removable: &'a dyn Fn(usize) -> bool,
}

impl<'a> Around<'a> {
    /// Renders one key into `data`, or notes why it cannot be.
    ///
    /// A key is missing when it uses an optional secret that has no value and does not test it: then it is what a plain
    /// key of that secret would be.
    pub fn add(
        &self,
        key: &str,
        template: &Template,
        last_good: LastGood<'_>,
        data: &mut BTreeMap<String, Arc<SecretValue>>,
        gaps: &mut Gaps<'a>,
        kept: &mut BTreeSet<usize>,
    ) {
        let mut absent: Vec<(usize, &PlannedSecret, &Problem)> = Vec::new();
        let mut waits_for = None;
        for index in template.secrets() {
            let (Some(secret), Some(finding)) = (self.secrets.get(index), self.findings.get(index)) else { continue };
            match finding {
                Finding::Initialized { .. } => continue,
                Finding::Missing(problem) if !secret.required => {
                    absent.push((index, secret, problem));
                    continue;
                }
                Finding::Unknown => gaps.note_unknown(secret),
                Finding::Missing(problem) => gaps.note_required(secret, problem),
                Finding::Error { problem, transient: _ } => gaps.note_error(secret, problem),
            }
            waits_for = waits_for.or(Some(secret));
        }
        if let Some(secret) = waits_for {
            return gaps.carry(data, key, secret, last_good);
        }
        let rendered = template.render(|index| match self.findings.get(index) {
            Some(Finding::Initialized { value, .. }) => Some(&**value),
            Some(Finding::Missing(_) | Finding::Error { .. } | Finding::Unknown) | None => None,
        });
        match (rendered, absent.first()) {
            (Ok(value), _) => {
                data.insert(key.to_owned(), Arc::new(value));
            }
            (Err(Failure { trouble: Trouble::Undefined, line: _ }), Some((_, first, _))) => {
                let gone = |(index, _, _): &(usize, &PlannedSecret, &Problem)| (self.removable)(*index);
                let left_out = |(_, secret, problem): &(usize, &PlannedSecret, &Problem)| secret.is_left_out(problem);
                match (self.target.missing, last_good) {
                    (_, LastGood::None) => {}
                    (_, LastGood::Bytes(_) | LastGood::Unverified) if absent.iter().any(left_out) => {}
                    (MissingPolicy::Remove, LastGood::Bytes(_) | LastGood::Unverified) if absent.iter().any(gone) => {}
                    (MissingPolicy::Keep | MissingPolicy::Remove, last_good) => {
                        gaps.carry(data, key, first, last_good);
                        for (index, secret, problem) in &absent {
                            gaps.note_kept(secret, problem);
                            kept.insert(*index);
                        }
                    }
                }
            }
            (Err(failure), _) => gaps.fail(data, key, last_good, self.problem(key, failure)),
        }
    }

    fn problem(&self, key: &str, failure: Failure) -> Problem {
        let reason = match failure.trouble {
            Trouble::NotText => Reason::TypeMismatch,
            Trouble::TooLarge => Reason::ValueTooLarge,
            Trouble::Undefined
            | Trouble::WrongType(_)
            | Trouble::TooMuchWork
            | Trouble::OutOfFuel
            | Trouble::Unexpected => Reason::TransformFailed,
        };
        Problem::new(reason, format!("target {}: template of key {key}: {failure}", self.target.name))
    }
}
