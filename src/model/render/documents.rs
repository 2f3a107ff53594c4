//! What documents (`extract`) bring into a target: their names are known only once they were read.
//!
//! A document is one value. What it brings follows it: a name that left the document leaves the Secret. While it cannot be
//! read, or is missing and kept, all its keys keep their last good bytes; which of the Secret's keys are its own is told by
//! its rules, after those that a declaration, a template or another document has for certain. All of that holds for the
//! names in a target that is one document itself (`format`), too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::before::Before;
use super::gaps::{Gaps, label};
use super::templated::Around;
use crate::api::Reason;
use crate::api::stack::MissingPolicy;
use crate::model::format::{key_of, name_in};
use crate::model::{Finding, PlannedSecret, PlannedTarget, Problem};
use crate::value::SecretValue;

type Data = BTreeMap<String, Arc<SecretValue>>;

/// Adds the keys of all documents of a target. Returns the optional ones, by index, that are gone and keep their last bytes.
///
/// # Errors
/// Two of them, or one and a declaration or a template, want the same key; or a name has no place in the target's format.
pub(super) fn add<'a>(
    around: &Around<'a>,
    before: &Before<'_>,
    data: &mut Data,
    gaps: &mut Gaps<'a>,
) -> Result<BTreeSet<usize>, Problem> {
    let Around { target, secrets, findings, removable } = around;
    let mut sources: BTreeMap<String, &PlannedSecret> = BTreeMap::new();
    let mut absent = Vec::new();
    for index in &target.documents {
        let (Some(secret), Some(finding)) = (secrets.get(*index), findings.get(*index)) else {
            return Err(lost(target));
        };
        let Finding::Initialized { keys, .. } = finding else {
            absent.push((*index, secret, finding));
            continue;
        };
        for (key, value) in keys.as_ref().ok_or_else(|| lost(target))?.iter() {
            let name = name_in(target.format, key).map_err(|rule| no_name(&rule, secret))?;
            let other = owner(target, secrets, &name).or_else(|| sources.insert(name.clone(), secret).map(label));
            if let Some(other) = other {
                return Err(clash(&name, secret, &other));
            }
            data.insert(name, Arc::clone(value));
        }
    }
    let mut kept = BTreeSet::new();
    for (index, secret, finding) in absent {
        let old = LastNames::of(target, secret, before, data);
        match finding {
            Finding::Initialized { .. } => {}
            Finding::Unknown => gaps.note_unknown(secret),
            Finding::Missing(problem) if secret.required => {
                gaps.note_required(secret, problem);
                old.carry(secret, before, data, gaps);
            }
            Finding::Error { problem, transient: _ } => {
                gaps.note_error(secret, problem);
                old.carry(secret, before, data, gaps);
            }
            Finding::Missing(problem) => {
                let goes = target.missing == MissingPolicy::Remove && removable(index);
                if !old.is_empty() && !goes {
                    gaps.note_kept(secret, problem);
                    kept.insert(index);
                    old.carry(secret, before, data, gaps);
                }
            }
        }
    }
    Ok(kept)
}

/// What has this name in the target for certain, in words.
fn owner(target: &PlannedTarget, secrets: &[PlannedSecret], name: &str) -> Option<String> {
    let declared = target.entries.get(name).and_then(|index| secrets.get(*index)).map(label);
    declared.or_else(|| target.templates.contains_key(name).then(|| "a template".to_owned()))
}

/// What the target held of a document.
enum LastNames {
    /// These names, which are this document's and nobody else's.
    Known(Vec<String>),
    /// The target cannot be read back: any name may have been there.
    Unknown,
}

impl LastNames {
    fn of(target: &PlannedTarget, secret: &PlannedSecret, before: &Before<'_>, data: &Data) -> Self {
        let Some(names) = before.names() else { return Self::Unknown };
        let may_bring = |name: &str| {
            let key = key_of(target.format, name);
            secret.extract.as_ref().zip(key).is_some_and(|(extract, key)| extract.may_bring(key))
        };
        let is_its_own = |name: &&str| {
            !target.entries.contains_key(*name)
                && !target.templates.contains_key(*name)
                && !data.contains_key(*name)
                && may_bring(name)
        };
        Self::Known(names.into_iter().filter(is_its_own).map(str::to_owned).collect())
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Known(names) => names.is_empty(),
            Self::Unknown => false,
        }
    }

    fn carry<'a>(self, secret: &'a PlannedSecret, before: &Before<'_>, data: &mut Data, gaps: &mut Gaps<'a>) {
        match self {
            Self::Known(names) => {
                for name in names {
                    gaps.carry(data, &name, secret, before.last_good(&name));
                }
            }
            Self::Unknown => gaps.note_unverified(secret),
        }
    }
}

fn no_name(rule: &str, document: &PlannedSecret) -> Problem {
    let message = format!("the document {}: {rule}; set `rename` or `exclude` of `extract`", label(document));
    Problem::new(Reason::InvalidKeyName, message)
}

fn clash(key: &str, document: &PlannedSecret, other: &str) -> Problem {
    let document = label(document);
    let message = format!(
        "the document {document} and {other} both have the key {key}; set `prefix`, `rename` or `exclude` of `extract`"
    );
    Problem::new(Reason::InvalidTarget, message)
}

fn lost(target: &PlannedTarget) -> Problem {
    let message = format!("a document of target {} has no finding; please report this", target.name);
    Problem::new(Reason::InternalError, message)
}
