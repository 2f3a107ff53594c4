//! One row per declared secret: what `list`, `describe` and `validate` know, from status alone or from a store.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use super::context::atmos_stack;
use crate::api::declaration::{Declaration, Vars};
use crate::api::status::{RotationStatus, SecretState, SecretStatus};
use crate::api::{Component, Reason, Scope, Stack, StackSpec};
use crate::model::plan::{self, plan};
use crate::model::{Plan, PlannedSecret, World};

/// Stands for "all" in the columns STACK and COMPONENT.
pub const ALL: &str = "*";

/// The plugin's words for a state: those of Atmos.
#[must_use]
pub fn state_word(state: SecretState) -> &'static str {
    match state {
        SecretState::Initialized => "initialized",
        SecretState::Missing => "missing",
        SecretState::Error => "error",
        SecretState::Unknown => "unknown",
    }
}

/// A condition of a Stack.
#[must_use]
pub fn condition<'a>(stack: &'a Stack, kind: &str) -> Option<&'a Condition> {
    stack.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the status is about the present spec.
#[must_use]
pub fn is_observed(stack: &Stack) -> bool {
    stack.status.as_ref().and_then(|status| status.observed_generation) == stack.metadata.generation
}

/// What is known of one declared secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The Stack's namespace.
    pub namespace: String,
    /// The Stack's object name.
    pub stack_object: String,
    /// The Atmos stack name; `*` for a global secret.
    pub stack: String,
    /// `<type>/<component>`; `*` for a secret that components share.
    pub component: String,
    /// `<type>/<component>` of the declaration, also where `component` is `*`; empty at the stack level.
    #[serde(skip)]
    pub declared_by: String,
    /// The NAME.
    pub name: String,
    /// Where its value lives.
    pub scope: Scope,
    /// `Store/<name>` or `ClusterStore/<name>`; empty if none is known.
    pub store: String,
    /// Whether it has a value.
    #[serde(serialize_with = "as_word")]
    pub status: SecretState,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was looked for and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether targets wait for it.
    pub required: bool,
    /// The key in the store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend_key: String,
    /// The version that was read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// How the store rotates it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// Which layer declared it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When state or version last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_changed: Option<Timestamp>,
}

fn as_word<S: serde::Serializer>(state: &SecretState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state_word(*state))
}

/// The rows of a Stack as its status has them.
#[must_use]
pub fn from_status(stack: &Stack) -> Vec<Row> {
    let secrets = stack.status.as_ref().map(|status| status.secrets.as_slice()).unwrap_or_default();
    secrets.iter().map(|secret| row(stack, secret)).collect()
}

fn row(stack: &Stack, secret: &SecretStatus) -> Row {
    let SecretStatus {
        component,
        name,
        state,
        reason,
        message,
        required,
        scope,
        store,
        backend_key,
        version,
        rotation,
        origin,
        last_changed,
    } = secret;
    Row {
        namespace: stack.namespace().unwrap_or_default(),
        stack_object: stack.name_any(),
        stack: if *scope == Scope::Global { ALL.to_owned() } else { atmos_stack(stack) },
        component: if *scope == Scope::Instance { component.clone() } else { ALL.to_owned() },
        declared_by: component.clone(),
        name: name.clone(),
        scope: *scope,
        store: store.clone(),
        status: *state,
        reason: *reason,
        message: message.clone(),
        required: *required,
        backend_key: backend_key.clone(),
        version: version.clone(),
        rotation: rotation.clone(),
        origin: origin.clone(),
        description: description(&stack.spec, component, name),
        last_changed: last_changed.as_ref().map(|time| time.0),
    }
}

/// What a Stack says by itself, without its imports and stores; nothing is looked up.
#[must_use]
pub fn outline(stack: &Stack) -> Plan {
    plan(&stack.namespace().unwrap_or_default(), &stack.name_any(), &stack.spec, &World::default())
}

/// The rows of a Stack as its status has them; while that is about an older spec, also what is declared since, as not
/// checked yet, and without what is declared no more.
#[must_use]
pub fn known(stack: &Stack) -> Vec<Row> {
    let mut rows = from_status(stack);
    if is_observed(stack) {
        return rows;
    }
    let outline = outline(stack);
    if outline.blocked.is_some() {
        // It has imports: what it declares cannot be said from here.
        return rows;
    }
    let mut declared = Vec::with_capacity(outline.secrets.len());
    for secret in outline.declarations() {
        let place = rows.iter().position(|row| row.declared_by == secret.component && row.name == secret.name);
        declared.push(place.map_or_else(|| planned(stack, secret), |place| rows.swap_remove(place)));
    }
    declared
}

/// The row of a declaration that was not checked yet.
#[must_use]
pub fn planned(stack: &Stack, secret: &PlannedSecret) -> Row {
    let PlannedSecret {
        component,
        name,
        scope,
        required,
        description,
        origin,
        default: _,
        path: _,
        transforms: _,
        extract: _,
        exposure: _,
        read,
        store,
    } = secret;
    Row {
        namespace: stack.namespace().unwrap_or_default(),
        stack_object: stack.name_any(),
        stack: if *scope == Scope::Global { ALL.to_owned() } else { atmos_stack(stack) },
        component: if *scope == Scope::Instance { component.clone() } else { ALL.to_owned() },
        declared_by: component.clone(),
        name: name.clone(),
        scope: *scope,
        store: store.as_ref().map(ToString::to_string).unwrap_or_default(),
        status: SecretState::Unknown,
        reason: None,
        message: None,
        required: *required,
        backend_key: read.as_ref().map(|read| read.key.name.clone()).unwrap_or_default(),
        version: String::new(),
        rotation: None,
        origin: origin.clone(),
        description: description.clone(),
        last_changed: None,
    }
}

/// What a declaration is for, as far as this Stack says it: status has no room for it.
fn description(spec: &StackSpec, component: &str, name: &str) -> Option<String> {
    let mut layers: Vec<&Vars> = Vec::new();
    if let Some(found) = component_of(spec, |full_name| full_name == component) {
        layers.extend(layers_of(spec, found, &mut BTreeSet::new()));
    }
    layers.extend(spec.secrets.as_ref().map(|secrets| &secrets.vars));
    layers.iter().find_map(|vars| vars.get(name).and_then(|declaration| declaration.description.clone()))
}

/// A component's own declarations and those of its bases in this Stack, the nearest first.
fn layers_of<'a>(spec: &'a StackSpec, component: &'a Component, seen: &mut BTreeSet<String>) -> Vec<&'a Vars> {
    let mut layers: Vec<&Vars> = component.secrets.as_ref().map(|secrets| &secrets.vars).into_iter().collect();
    let Some(metadata) = &component.metadata else { return layers };
    for base in metadata.inherits.iter().rev().chain(metadata.component.as_ref()) {
        if seen.insert(base.clone())
            && let Some(found) = component_of(spec, |full_name| is_component(full_name, base))
        {
            layers.extend(layers_of(spec, found, seen));
        }
    }
    layers
}

fn component_of(spec: &StackSpec, is: impl Fn(&str) -> bool) -> Option<&Component> {
    let mut components = plan::components(spec);
    components.find_map(|(kind, name, component)| is(&format!("{kind}/{name}")).then_some(component))
}

/// Whether `-c` names this component: by its name, or by type and name.
#[must_use]
pub fn is_component(full_name: &str, given: &str) -> bool {
    full_name == given || full_name.split_once('/').is_some_and(|(_, name)| name == given)
}

/// The components that get secrets, as `<type>/<name>`: not those that are only a base.
pub fn instances(spec: &StackSpec) -> impl Iterator<Item = String> {
    plan::components(spec)
        .filter(|(_, _, component)| !plan::is_base_only(component))
        .map(|(component_type, name, _)| format!("{component_type}/{name}"))
}

/// The full name of the component that `-c` names; `None` if the Stack has none.
#[must_use]
pub fn find_component(stack: &Stack, given: &str) -> Option<String> {
    instances(&stack.spec).find(|full_name| is_component(full_name, given))
}

/// Keeps what a component gets: its own rows, and the shared ones that it neither declares anew nor drops.
#[must_use]
pub fn effective(spec: &StackSpec, component: &str, rows: Vec<Row>) -> Vec<Row> {
    let own: BTreeSet<String> =
        rows.iter().filter(|row| row.declared_by == component).map(|row| row.name.clone()).collect();
    let dropped = dropped(spec, component);
    rows.into_iter()
        .filter(|row| {
            row.declared_by == component
                || (row.declared_by.is_empty() && !own.contains(&row.name) && !dropped.contains(&row.name))
        })
        .collect()
}

/// The names that a component or its bases in this Stack drop with `declared: false`; what a Catalog's bases drop only a
/// compiled plan knows.
fn dropped(spec: &StackSpec, component: &str) -> BTreeSet<String> {
    let Some(found) = component_of(spec, |full_name| full_name == component) else {
        return BTreeSet::new();
    };
    let is_dropped = |declaration: &Declaration| declaration.declared == Some(false);
    layers_of(spec, found, &mut BTreeSet::new())
        .iter()
        .flat_map(|vars| vars.iter())
        .filter(|(_, declaration)| is_dropped(declaration))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Leaves each shared secret once: the first one decides its state, as in Atmos.
#[must_use]
pub fn shared_once(rows: Vec<Row>) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    rows.into_iter()
        .filter(|row| match row.scope {
            Scope::Instance => true,
            Scope::Stack | Scope::Global => seen.insert((
                row.namespace.clone(),
                row.stack.clone(),
                row.name.clone(),
                row.store.clone(),
                row.backend_key.clone(),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests;
