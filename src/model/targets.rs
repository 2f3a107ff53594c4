//! Compiles targets: which Secret holds which declarations under which keys, with its metadata and policies.

mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::stack::{AnnotationValue, Inherit, LabelValue, SecretType, TargetDefaults};
use crate::api::{Component, Reason, StackSpec, Target, marks};
use crate::model::key_rules::{data_key, secret_name};
use crate::model::template::Surroundings;
use crate::model::{PlannedTarget, Problem};

/// All annotations of an object may have 256 KiB together (apimachinery, `TotalAnnotationSizeLimitB`); this leaves room
/// for the operator's and other people's.
const MAX_ANNOTATIONS: usize = 192 * 1024;

/// One effective declaration as a target sees it.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub index: usize,
    /// Its key where a target does not choose one.
    pub key: String,
    /// Whether the component or its bases declare it; at the stack level everything is its own.
    pub own: bool,
    /// Whether it is a document that brings its own keys instead of `key`.
    pub is_document: bool,
    /// Keys of the versions that it exposes, with their indexes.
    pub exposed: Vec<(String, usize)>,
}

impl Declared {
    /// What it brings besides what `index` and `key` say: nothing yet.
    pub fn new(index: usize, name: &str, key: Option<&str>) -> Self {
        Self { index, key: key.unwrap_or(name).to_owned(), own: true, is_document: false, exposed: Vec::new() }
    }

    /// The keys whose names are known before anything is read, with their indexes.
    fn keys(&self) -> impl Iterator<Item = (&String, usize)> {
        let own = (!self.is_document).then_some((&self.key, self.index));
        own.into_iter().chain(self.exposed.iter().map(|(key, index)| (key, *index)))
    }
}

/// Collects the targets of one Stack.
pub(crate) struct TargetPlanner<'a> {
    stack_object: &'a str,
    spec: &'a StackSpec,
    alone: bool,
    namespace: &'a str,
    stack: &'a str,
    targets: Vec<PlannedTarget>,
}

impl<'a> TargetPlanner<'a> {
    /// A planner for the Stack object of that name; `alone` if it imports nothing, so that only it can cure errors.
    /// `namespace` and `stack` are what templates can say of their surroundings.
    pub fn new(stack_object: &'a str, spec: &'a StackSpec, alone: bool, namespace: &'a str, stack: &'a str) -> Self {
        Self { stack_object, spec, alone, namespace, stack, targets: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// The targets of the stack level, which exist only if they are written down.
    pub fn stack_level(&mut self, declared: &BTreeMap<Arc<str>, Declared>) {
        for (name, target) in self.spec.targets.iter().flatten() {
            self.add(name.clone(), "", target, declared, None);
        }
    }

    /// The targets of a component: those written down, else one with everything, if there is anything.
    pub fn component(
        &mut self,
        label: &str,
        name: &str,
        component: &Component,
        declared: &BTreeMap<Arc<str>, Declared>,
        problem: Option<Problem>,
    ) {
        match &component.targets {
            Some(targets) => {
                for (name, target) in targets {
                    self.add(name.clone(), label, target, declared, problem.clone());
                }
            }
            None if declared.is_empty() && problem.is_none() => {}
            None => {
                let name = format!("{}-{name}", self.stack_object).to_lowercase().replace(['/', '_'], "-");
                self.add(name, label, &Target::default(), declared, problem);
            }
        }
    }

    /// The targets by name; those that share a name with another are marked.
    pub fn finish(mut self) -> Vec<PlannedTarget> {
        self.targets.sort_by(|one, other| (&one.name, &one.component).cmp(&(&other.name, &other.component)));
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for target in &self.targets {
            owners.entry(target.name.clone()).or_default().push(match target.component.as_str() {
                "" => "the stack level".to_owned(),
                component => component.to_owned(),
            });
        }
        for target in &mut self.targets {
            if let Some(owners) = owners.get(&target.name).filter(|owners| owners.len() > 1) {
                let message =
                    format!("Secret {} is a target of {}; give each its own name", target.name, owners.join(" and "));
                target.problem = Some(Problem::new(Reason::InvalidTarget, message).stalled_if(true));
            }
        }
        templates::limit(&mut self.targets, self.alone);
        self.targets
    }

    fn add(
        &mut self,
        name: String,
        component: &str,
        target: &Target,
        declared: &BTreeMap<Arc<str>, Declared>,
        problem: Option<Problem>,
    ) {
        let Target {
            inherit,
            keys,
            template,
            format,
            secret_type,
            labels,
            annotations,
            deletion_policy,
            missing_policy,
            sync_policy,
        } = target;
        let defaults = self.spec.target_defaults.clone().unwrap_or_default();
        let TargetDefaults {
            labels: default_labels,
            annotations: default_annotations,
            deletion_policy: default_deletion,
            missing_policy: default_missing,
            sync_policy: default_sync,
        } = defaults;
        let secret_type = secret_type.unwrap_or_default();
        let mut all_labels: BTreeMap<String, String> =
            default_labels.into_iter().map(|(key, value)| (key, value.0)).collect();
        all_labels.extend(labels.iter().map(|(key, LabelValue(value))| (key.clone(), value.clone())));
        let mut all_annotations: BTreeMap<String, String> =
            default_annotations.into_iter().map(|(key, value)| (key, value.0)).collect();
        all_annotations.extend(annotations.iter().map(|(key, AnnotationValue(value))| (key.clone(), value.clone())));

        let mut errors = Vec::new();
        if let Err(rule) = secret_name(&name) {
            errors.push((Reason::InvalidTarget, format!("`{name}` is no name of a Secret: {rule}")));
        }
        let mut entries = BTreeMap::new();
        let mut documents = BTreeSet::new();
        match keys {
            Some(keys) => {
                if inherit.is_some() {
                    errors.push((Reason::InvalidTarget, "both `inherit` and `keys` are set; keep one".to_owned()));
                }
                for (key, secret) in keys {
                    let exposed = || declared.values().flat_map(|one| &one.exposed).find(|(key, _)| *key == secret.0);
                    let index = declared.get(secret.0.as_str()).map(|declared| (declared.index, declared.is_document));
                    match index.or_else(|| exposed().map(|(_, index)| (*index, false))) {
                        Some((_, true)) => errors.push((
                            Reason::InvalidTarget,
                            format!("key {key} names {}, whose `extract` brings its own keys; use `inherit`", secret.0),
                        )),
                        Some((index, false)) => {
                            entries.insert(key.clone(), index);
                        }
                        None => errors.push((
                            Reason::NotDeclared,
                            format!(
                                "key {key} names {}, which is not declared here; declare it, or correct it",
                                secret.0
                            ),
                        )),
                    }
                }
            }
            // A template alone makes a target of its own keys alone.
            None if template.is_some() && inherit.is_none() => {}
            None => {
                let only_own = match inherit.unwrap_or_default() {
                    Inherit::All => false,
                    Inherit::Own => true,
                };
                let mut names: BTreeMap<&str, &str> = BTreeMap::new();
                for (secret, declared) in declared.iter().filter(|(_, declared)| declared.own || !only_own) {
                    for (key, index) in declared.keys() {
                        if let Some(first) = names.insert(key, secret) {
                            errors.push((
                                Reason::InvalidTarget,
                                format!("{first} and {secret} both have the key {key}; set another `key`, or `keys`"),
                            ));
                        }
                        entries.insert(key.clone(), index);
                    }
                    documents.extend(declared.is_document.then_some(declared.index));
                }
            }
        }
        let format = format.unwrap_or_default();
        let surroundings = Surroundings {
            stack: self.stack.to_owned(),
            component: component.split_once('/').map_or("", |(_, name)| name).to_owned(),
            namespace: self.namespace.to_owned(),
        };
        let templates = templates::compile(template.as_ref(), surroundings, declared, &entries, &mut errors);
        for key in entries.keys().chain(templates.keys()) {
            if let Err(rule) = data_key(key) {
                errors.push((Reason::InvalidKeyName, format!("`{key}` is no key of a Secret: {rule}")));
            }
        }
        let entries = templates::named(format, entries, &mut errors);
        let templates = templates::named(format, templates, &mut errors);
        errors.extend(templates::tainted(&all_labels, &all_annotations).map(|message| (Reason::TaintedSink, message)));
        errors.extend(metadata_errors(&all_labels, &all_annotations).map(|message| (Reason::InvalidTarget, message)));

        let mut planned = PlannedTarget {
            component: component.to_owned(),
            secret_type,
            labels: all_labels,
            annotations: all_annotations,
            deletion: deletion_policy.or(default_deletion).unwrap_or_default(),
            missing: missing_policy.or(default_missing).unwrap_or_default(),
            sync: sync_policy.or(default_sync).unwrap_or_default(),
            format,
            entries,
            templates,
            documents,
            problem: None,
            name,
        };
        // What documents bring is known when they were read, and looked at then.
        if !planned.has_open_keys()
            && let Err(missing) = has_required_keys(secret_type, |key| planned.keys().any(|own| own == key))
        {
            errors.push((
                Reason::InvalidTarget,
                format!("a Secret of type {} needs {missing}; add it to `keys`", secret_type.as_str()),
            ));
        }
        let own_problem = errors.first().map(|(reason, _)| {
            let words: Vec<&str> = errors.iter().map(|(_, message)| message.as_str()).collect();
            Problem::new(*reason, format!("target {}: {}", planned.name, words.join("; "))).stalled_if(self.alone)
        });
        planned.problem = problem.or(own_problem);
        self.targets.push(planned);
    }
}

/// Whether the keys that a type of Secret needs are there (`ValidateSecret` of the API server); else what is missing.
pub(crate) fn has_required_keys(secret_type: SecretType, has: impl Fn(&str) -> bool) -> Result<(), &'static str> {
    match secret_type {
        SecretType::Opaque => Ok(()),
        SecretType::Tls if has("tls.crt") && has("tls.key") => Ok(()),
        SecretType::Tls => Err("the keys tls.crt and tls.key"),
        SecretType::DockerConfigJson if has(".dockerconfigjson") => Ok(()),
        SecretType::DockerConfigJson => Err("the key .dockerconfigjson"),
        SecretType::BasicAuth if has("username") || has("password") => Ok(()),
        SecretType::BasicAuth => Err("the key username or password"),
        SecretType::SshAuth if has("ssh-privatekey") => Ok(()),
        SecretType::SshAuth => Err("the key ssh-privatekey"),
    }
}

fn metadata_errors<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = String> + 'a {
    let keys = labels.keys().map(|key| ("label", key)).chain(annotations.keys().map(|key| ("annotation", key)));
    let bad_keys = keys.filter_map(|(what, key)| match () {
        () if is_reserved(key) => Some(format!("{what} {key} is not yours to set")),
        () if !is_qualified_name(key) => Some(format!("{what} `{key}` is no legal name")),
        () => None,
    });
    let bad_values = labels
        .iter()
        .filter(|(_, value)| !value.is_empty() && !is_short_name(value))
        .map(|(key, _)| format!("the value of label {key} is not legal"));
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    let too_large =
        (size > MAX_ANNOTATIONS).then(|| format!("its annotations have more than {} KiB", MAX_ANNOTATIONS / 1024));
    bad_keys.chain(bad_values).chain(too_large)
}

/// Whether a label or annotation belongs to Kubernetes or to the operator.
fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    if domain == "app.kubernetes.io" {
        return key == marks::MANAGED_BY;
    }
    ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|reserved| domain.strip_suffix(reserved).is_some_and(|start| start.is_empty() || start.ends_with('.')))
        || domain == crate::api::GROUP
}

/// A key of a label or annotation (`IsQualifiedName` of apimachinery).
fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => secret_name(domain).is_ok() && is_short_name(name),
        None => is_short_name(key),
    }
}

fn is_short_name(name: &str) -> bool {
    let ends = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
