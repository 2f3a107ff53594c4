//! Compiles what makes up a target's content beside its plain keys: templates, and the names that its format gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Declared;
use crate::api::Reason;
use crate::api::stack::{Format, TargetTemplate};
use crate::model::format::name_in;
use crate::model::template::{Surroundings, Template};
use crate::model::{PlannedTarget, Problem};

/// The most bytes that all templates of a Stack may have together: the largest legal Stack with its status has to stay
/// below 1 MiB, and a Stack that needs more is better split.
pub(super) const MAX_TOGETHER: usize = 24 * 1024;

type Errors = Vec<(Reason, String)>;

/// The templates of a target; `entries` are the plain keys beside them.
pub(super) fn compile(
    template: Option<&TargetTemplate>,
    surroundings: Surroundings,
    declared: &BTreeMap<Arc<str>, Declared>,
    entries: &BTreeMap<String, usize>,
    errors: &mut Errors,
) -> BTreeMap<String, Template> {
    let mut templates = BTreeMap::new();
    let Some(TargetTemplate { data }) = template else { return templates };
    let surroundings = Arc::new(surroundings);
    let exposed: BTreeMap<&str, usize> =
        declared.values().flat_map(|one| &one.exposed).map(|(key, index)| (key.as_str(), *index)).collect();
    let index_of =
        |name: &str| declared.get(name).map(|declared| declared.index).or_else(|| exposed.get(name).copied());
    let known = || declared.keys().map(|name| &**name).chain(exposed.keys().copied());
    for (key, text) in data {
        if entries.contains_key(key) {
            let message = format!("key {key} has a template and is the key of a NAME too; rename one, or set `keys`");
            errors.push((Reason::InvalidTarget, message));
        }
        match Template::compile(&text.0, &surroundings, &index_of, known()) {
            Ok(template) => {
                let names_document = |index| declared.iter().find(|(_, one)| one.is_document && one.index == index);
                if let Some((document, _)) = template.secrets().find_map(names_document) {
                    let message = format!(
                        "template of key {key}: it names {document}, whose `extract` brings its own keys; declare the value again, \
                         with `path`, under another name"
                    );
                    errors.push((Reason::InvalidTarget, message));
                }
                templates.insert(key.clone(), template);
            }
            Err(fault) => errors.push((fault.reason, format!("template of key {key}: {fault}"))),
        }
    }
    templates
}

/// What was keyed by a plain key, keyed by what the format makes of it.
pub(super) fn named<T>(format: Format, keyed: BTreeMap<String, T>, errors: &mut Errors) -> BTreeMap<String, T> {
    let name = |(key, value): (String, T)| match name_in(format, &key) {
        Ok(name) => (name, value),
        Err(rule) => {
            errors.push((Reason::InvalidKeyName, format!("{rule}; set another `key`")));
            (key, value)
        }
    };
    keyed.into_iter().map(name).collect()
}

/// Labels and annotations that look as if they wanted values. They never get any: whoever may list Secrets' metadata,
/// and much that logs objects, would see them.
pub(super) fn tainted<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = String> + 'a {
    let all = labels.iter().map(|entry| ("label", entry)).chain(annotations.iter().map(|entry| ("annotation", entry)));
    all.filter(|(_, (_, value))| ["{{", "{%", "{#"].iter().any(|sign| value.contains(sign))).map(|(what, (key, _))| {
        format!("{what} {key} looks like a template; labels and annotations never take values: use a key of the Secret")
    })
}

/// Marks the targets with templates if there is too much text in them.
pub(super) fn limit(targets: &mut [PlannedTarget], alone: bool) {
    let size = |target: &PlannedTarget| target.templates.values().map(Template::len).sum::<usize>();
    let together: usize = targets.iter().map(size).sum();
    if together <= MAX_TOGETHER {
        return;
    }
    for target in targets.iter_mut().filter(|target| !target.templates.is_empty() && target.problem.is_none()) {
        let message = format!(
            "target {}: the templates of this Stack have {together} bytes, at most {MAX_TOGETHER} are allowed; split the \
             Stack",
            target.name
        );
        target.problem = Some(Problem::new(Reason::InvalidTarget, message).stalled_if(alone));
    }
}
