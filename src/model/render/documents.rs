//! What documents (`extract`) bring into a target: their names are known only once they were read.
//!
//! A document is one value. What it brings follows it: a name that left the document leaves the Secret. While it cannot be
//! read, or is missing and kept, all its keys keep their last good bytes; which of the Secret's keys are its own is told by
//! its rules, after those that a declaration or another document has for certain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Gaps, LastGood, label};
use crate::api::Reason;
use crate::api::stack::MissingPolicy;
use crate::model::{Current, Finding, PlannedSecret, PlannedTarget, Problem};
use crate::value::SecretValue;

type Data = BTreeMap<String, Arc<SecretValue>>;

/// Adds the keys of all documents of a target. Returns the optional ones, by index, that are gone and keep their last bytes.
///
/// # Errors
/// Two of them, or one and a declaration, want the same key.
pub(super) fn add<'a>(
    target: &PlannedTarget,
    secrets: &'a [PlannedSecret],
    findings: &'a [Finding],
    current: Option<&Current>,
    removable: &dyn Fn(usize) -> bool,
    data: &mut Data,
    gaps: &mut Gaps<'a>,
) -> Result<BTreeSet<usize>, Problem> {
    let mut sources: BTreeMap<&str, &PlannedSecret> = BTreeMap::new();
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
            let declared = target.entries.get(key).and_then(|index| secrets.get(*index));
            if let Some(other) = declared.or_else(|| sources.insert(key, secret)) {
                return Err(clash(key, secret, other));
            }
            data.insert(key.clone(), Arc::clone(value));
        }
    }
    let mut kept = BTreeSet::new();
    for (index, secret, finding) in absent {
        let old = last_good(target, secret, current, data);
        match finding {
            Finding::Initialized { .. } => {}
            Finding::Unknown => gaps.unknown.push((secret, None)),
            Finding::Missing(problem) if secret.required => {
                gaps.required.push((secret, Some(problem)));
                carry(secret, old, current, data, gaps);
            }
            Finding::Error { problem, transient: _ } => {
                gaps.errors.push((secret, Some(problem)));
                carry(secret, old, current, data, gaps);
            }
            Finding::Missing(problem) => {
                let goes = target.missing == MissingPolicy::Remove && removable(index);
                if !old.is_empty() && !goes {
                    gaps.kept.push((secret, Some(problem)));
                    kept.insert(index);
                    carry(secret, old, current, data, gaps);
                }
            }
        }
    }
    Ok(kept)
}

/// The keys of the Secret that are this document's and nobody else's.
fn last_good(target: &PlannedTarget, secret: &PlannedSecret, current: Option<&Current>, data: &Data) -> Vec<String> {
    let Some((current, extract)) = current.zip(secret.extract.as_ref()) else { return Vec::new() };
    let is_its_own =
        |key: &&String| !target.entries.contains_key(*key) && !data.contains_key(*key) && extract.may_bring(key);
    current.data.keys().filter(is_its_own).cloned().collect()
}

fn carry<'a>(
    secret: &'a PlannedSecret,
    keys: Vec<String>,
    current: Option<&Current>,
    data: &mut Data,
    gaps: &mut Gaps<'a>,
) {
    for key in keys {
        gaps.carry(data, &key, secret, LastGood::of(current, &key));
    }
}

fn clash(key: &str, document: &PlannedSecret, other: &PlannedSecret) -> Problem {
    let (document, other) = (label(document), label(other));
    let message = format!(
        "the document {document} and {other} both have the key {key}; set `prefix`, `rename` or `exclude` of `extract`"
    );
    Problem::new(Reason::InvalidTarget, message)
}

fn lost(target: &PlannedTarget) -> Problem {
    let message = format!("a document of target {} has no finding; please report this", target.name);
    Problem::new(Reason::InternalError, message)
}
