//! Compiles a Stack: what to read and what to write, or why not, with every error at once and before any read.
//!
//! An error of one declaration stands in that declaration, an error of one target in that target. Only what makes the
//! set of declarations unknowable, or too large, stands in [`Plan::blocked`].
//!
//! The caller loads objects until nothing new is named:
//!
//! ```text
//! loop { let plan = plan(namespace, name, spec, &world);
//!        let missing = missing_inputs(&plan, &loaded);
//!        if missing.is_empty() { break plan }  /* load them into the world, note them as loaded */ }
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::api::stack::{Component, ComponentKind};
use crate::api::transform::ExposedVersion;
use crate::api::{Reason, Scope, StackSpec, duration};
use crate::backend::Key;
use crate::model::backend_key::{KeyLayout, StoreKind};
use crate::model::content::Shape;
use crate::model::key_rules::data_key;
use crate::model::layers::{Layers, stack_store};
use crate::model::merge::{Patch, Place, StoreChoice, lay_over};
use crate::model::store::not_available;
use crate::model::targets::{Declared, TargetPlanner};
use crate::model::{
    Coordinate, Exposure, Input, Plan, PlannedRead, PlannedSecret, Problem, StoreRef, StoreView, World,
};

/// The most effective declarations that one Stack may have, so that its status stays below 1 MiB.
pub const MAX_SECRETS: usize = 1000;

/// The most targets that one Stack may have, for the same reason.
pub const MAX_TARGETS: usize = 128;

/// The shortest interval that a Stack may ask for.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// The longest interval that a Stack may ask for.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(720 * 3600);

/// Inputs of a plan that the caller has not looked for yet. A plan is final once there are none.
#[must_use]
pub fn missing_inputs(plan: &Plan, loaded: &BTreeSet<Input>) -> BTreeSet<Input> {
    plan.inputs.difference(loaded).cloned().collect()
}

/// Compiles the Stack object `name` of `namespace`. Looks at nothing but its arguments; what is not in `world` does not
/// exist.
#[must_use]
pub fn plan(namespace: &str, name: &str, spec: &StackSpec, world: &World) -> Plan {
    let mut layers = Layers::load(name, spec, world);
    let stack = spec.name.clone().unwrap_or_else(|| name.to_owned());
    let mut compiler = Compiler {
        namespace,
        stack: &stack,
        spec,
        world,
        // An import could bring what is wrong, or cure it; without one only this Stack can.
        alone: spec.imports.is_empty(),
        secrets: Vec::new(),
        inputs: BTreeSet::new(),
    };
    let mut targets = TargetPlanner::new(name, spec, compiler.alone, namespace, &stack);

    let stack_level = layers.stack_level();
    let mut shared: BTreeMap<Arc<str>, Declared> = BTreeMap::new();
    for (secret, patch) in stack_level.iter().filter(|(_, patch)| patch.declared) {
        shared.insert(Arc::clone(secret), compiler.declare("", "", secret, patch, None));
    }
    targets.stack_level(&shared);

    let doubled = names_in_two_types(spec);
    let mut dropped = BTreeSet::new();
    for (component_type, component_name, component) in components(spec) {
        if is_base_only(component) {
            continue;
        }
        let label = format!("{component_type}/{component_name}");
        let inherited = layers.component(component_name);
        let problem = doubled
            .get(component_name)
            .map(|types| {
                let message = format!(
                    "component {component_name} is declared under {}: its secrets would share coordinates; rename one",
                    types.join(" and ")
                );
                Problem::new(Reason::PathCollision, message).stalled_if(true)
            })
            .or(inherited.problem.map(|problem| problem.stalled_if(compiler.alone)));
        let mut effective = stack_level.clone();
        lay_over(&mut effective, &inherited.patches);
        let taken = effective.iter().filter(|(_, patch)| !patch.declared);
        dropped.extend(taken.map(|(secret, _)| (label.clone(), Arc::clone(secret))));
        let mut set: BTreeMap<Arc<str>, Declared> = BTreeMap::new();
        for (secret, patch) in effective.iter().filter(|(_, patch)| patch.declared) {
            let declared = match (inherited.patches.contains_key(secret), shared.get(secret)) {
                (false, Some(declared)) => Declared { own: false, ..declared.clone() },
                (true, _) | (false, None) => compiler.declare(&label, component_name, secret, patch, problem.as_ref()),
            };
            set.insert(Arc::clone(secret), declared);
        }
        targets.component(&label, component_name, component, &set, problem);
        if compiler.secrets.len() > MAX_SECRETS {
            break;
        }
    }

    let too_many = || match (compiler.secrets.len() > MAX_SECRETS, targets.len()) {
        (true, _) => Some(too_many_secrets()),
        (false, targets) if targets > MAX_TARGETS => {
            let message = format!("{targets} targets are declared, at most {MAX_TARGETS} are allowed; split the Stack");
            Some(Problem::new(Reason::TooManySecrets, message))
        }
        (false, _) => None,
    };
    let blocked = layers.blocked.take().or_else(|| too_many().map(|problem| problem.stalled_if(compiler.alone)));
    let mut inputs = std::mem::take(&mut compiler.inputs);
    inputs.append(&mut layers.inputs);
    let (secrets, targets) = match &blocked {
        Some(_) => (Vec::new(), Vec::new()),
        None => {
            compiler.collide();
            (compiler.secrets, targets.finish())
        }
    };
    Plan {
        refresh_interval: refresh_interval(spec),
        drift: spec.drift.unwrap_or_default(),
        blocked,
        secrets,
        dropped,
        targets,
        inputs,
        stack,
    }
}

pub(crate) fn too_many_secrets() -> Problem {
    let message = format!(
        "more than {MAX_SECRETS} secrets are declared, imports, bases and exposed versions included; split the Stack"
    );
    Problem::new(Reason::TooManySecrets, message)
}

fn keeps_no_versions(field: &str, store: &StoreRef, layout: &KeyLayout) -> Problem {
    let message = format!("`{field}` is set, but {store} of kind {} keeps no versions; remove it", layout.kind);
    Problem::new(Reason::Unsupported, message)
}

fn refresh_interval(spec: &StackSpec) -> Option<Duration> {
    let asked =
        spec.refresh_interval.as_deref().and_then(duration::parse).unwrap_or(duration::DEFAULT_REFRESH_INTERVAL);
    (!asked.is_zero()).then(|| asked.clamp(MIN_REFRESH_INTERVAL, MAX_REFRESH_INTERVAL))
}

/// Every component with its type and name.
pub(crate) fn components(spec: &StackSpec) -> impl Iterator<Item = (&str, &str, &Component)> {
    spec.components.iter().flat_map(|(component_type, components)| {
        components.0.iter().map(move |(name, component)| (component_type.as_str(), name.as_str(), component))
    })
}

/// Whether a component gets no secrets of its own: it is switched off, or only a base of others.
pub(crate) fn is_base_only(component: &Component) -> bool {
    component.metadata.as_ref().is_some_and(|metadata| {
        metadata.enabled == Some(false) || metadata.component_type == Some(ComponentKind::Abstract)
    })
}

fn names_in_two_types(spec: &StackSpec) -> BTreeMap<&str, Vec<&str>> {
    let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (component_type, name, _) in components(spec) {
        types.entry(name).or_default().push(component_type);
    }
    types.retain(|_, types| types.len() > 1);
    types
}

struct Compiler<'a> {
    namespace: &'a str,
    stack: &'a str,
    spec: &'a StackSpec,
    world: &'a World,
    alone: bool,
    secrets: Vec<PlannedSecret>,
    inputs: BTreeSet<Input>,
}

impl Compiler<'_> {
    /// Adds one effective declaration and the versions that it exposes.
    fn declare(
        &mut self,
        label: &str,
        component: &str,
        name: &str,
        patch: &Patch,
        component_problem: Option<&Problem>,
    ) -> Declared {
        let store = self.store(patch);
        let scope = patch.scope.unwrap_or(Scope::Stack);
        let (shape, shape_problem) = match Shape::of(patch) {
            Ok(shape) => (shape, None),
            Err(message) => (Shape::default(), Some(message)),
        };
        let contradiction = match (patch.required, &patch.default) {
            (Some(true), Some(_)) => {
                Some("it is `required` and has a `default`; remove one, or override it where both meet".to_owned())
            }
            (Some(true | false) | None, _) => shape_problem,
        };
        let legal_name = data_key(name)
            .map_err(|rule| Problem::new(Reason::InvalidKeyName, format!("the NAME is not legal: {rule}")));
        let read = patch
            .problem
            .clone()
            .map_or(Ok(()), Err)
            .and(legal_name)
            .and_then(|()| match contradiction {
                Some(message) => Err(Problem::new(Reason::InvalidSpec, message)),
                None => Ok(()),
            })
            .map_err(|problem| problem.stalled_if(self.alone))
            .and_then(|()| component_problem.cloned().map_or(Ok(()), Err))
            .and_then(|()| self.read(component, name, scope, patch, store.clone()));
        let Shape { path, transforms, extract } = shape;
        let index = self.secrets.len();
        let declaration = PlannedSecret {
            component: label.to_owned(),
            name: name.to_owned(),
            scope,
            required: patch.required.unwrap_or(false),
            description: patch.description.clone(),
            origin: patch.origin.clone(),
            default: patch.default.clone(),
            path,
            transforms,
            extract,
            exposure: None,
            store: store.ok().map(|choice| choice.store),
            read,
        };
        let mut declared = Declared::new(index, name, patch.key.as_deref());
        declared.is_document = patch.extract.is_some();
        let exposed: Vec<PlannedSecret> =
            patch.expose.iter().flatten().map(|version| self.exposed(index, &declaration, version)).collect();
        self.secrets.push(declaration);
        for version in exposed {
            declared.exposed.push((version.name.clone(), self.secrets.len()));
            self.secrets.push(version);
        }
        declared
    }

    /// Another version of a declaration's value, under a key of its own.
    fn exposed(&self, of: usize, declaration: &PlannedSecret, version: &ExposedVersion) -> PlannedSecret {
        let ExposedVersion { version, key, optional } = version;
        let optional = optional.unwrap_or(false);
        let read = declaration.read.clone().and_then(|read| {
            let layout = self.layout(&read.store)?;
            if !layout.has_versions {
                return Err(keeps_no_versions("expose", &read.store, layout));
            }
            Ok(PlannedRead { key: Key { version: Some(version.clone()), ..read.key }, ..read })
        });
        PlannedSecret {
            name: key.clone(),
            required: !optional,
            description: None,
            default: None,
            extract: None,
            exposure: Some(Exposure { of, version: version.clone(), optional }),
            read,
            ..declaration.clone()
        }
    }

    /// The store that a declaration chooses, or the Stack's default.
    fn store(&mut self, patch: &Patch) -> Result<StoreChoice, Problem> {
        let choice = match (&patch.store, &self.spec.default_store) {
            (Some(choice), _) => choice.clone(),
            (None, Some(name)) => stack_store(name, self.spec).map(|store| StoreChoice { store, must_be_sops: false }),
            (None, None) => Err(Problem::new(
                Reason::NoBackend,
                "no store is named; set `store` or `sops`, or `spec.defaultStore` for all",
            )),
        };
        if let Ok(choice) = &choice {
            self.inputs.insert(Input::Store(choice.store.clone()));
        }
        choice.map_err(|problem| problem.stalled_if(self.alone))
    }

    fn read(
        &self,
        component: &str,
        name: &str,
        scope: Scope,
        patch: &Patch,
        choice: Result<StoreChoice, Problem>,
    ) -> Result<PlannedRead, Problem> {
        let StoreChoice { store, must_be_sops } = choice?;
        let layout = self.layout(&store)?;
        if must_be_sops && layout.kind != StoreKind::Sops {
            return Err(Problem::new(
                Reason::AmbiguousBackend,
                format!("`sops` names {store}, which is of kind {}; use `store` for it", layout.kind),
            ));
        }
        if patch.version.is_some() && !layout.has_versions {
            return Err(keeps_no_versions("version", &store, layout));
        }
        let coordinate = match &patch.place {
            Some(Place::BackendKey(_)) => None,
            Some(Place::Reference(reference)) => Some(Coordinate::new(scope, self.stack, component, reference)),
            Some(Place::Name) | None => Some(Coordinate::new(scope, self.stack, component, name)),
        };
        let key = match (&patch.place, &coordinate) {
            (Some(Place::BackendKey(key)), _) => layout.explicit(key)?,
            (_, Some(coordinate)) => layout.key(coordinate)?,
            // Not reached: only a `backendKey` has no coordinate.
            (_, None) => return Err(Problem::new(Reason::InternalError, "a coordinate was lost; please report this")),
        };
        let caseless = layout.kind.is_caseless();
        Ok(PlannedRead { store, coordinate, key: Key { name: key, version: patch.version.clone() }, caseless })
    }

    fn layout(&self, store: &StoreRef) -> Result<&KeyLayout, Problem> {
        match (self.world.stores.get(store), store) {
            (Some(StoreView::Usable(layout)), _) => Ok(layout),
            (Some(StoreView::Refused(problem)), _) => Err(problem.clone()),
            (None, StoreRef::ClusterStore(name)) => Err(not_available(name, self.namespace)),
            (None, StoreRef::Store(name)) => Err(Problem::new(
                Reason::BackendNotFound,
                format!(
                    "{store} does not exist in namespace {}; create it, or declare an alias `{name}` under `spec.stores`",
                    self.namespace
                ),
            )),
        }
    }

    /// Marks declarations with different coordinates and one computed key. Keys that `backendKey` names may meet.
    fn collide(&mut self) {
        type Users<'a> = BTreeMap<&'a Coordinate, Vec<usize>>;
        let mut places: BTreeMap<(&StoreRef, Cow<'_, str>), Users<'_>> = BTreeMap::new();
        for (index, secret) in self.secrets.iter().enumerate() {
            if let Ok(read @ PlannedRead { store, coordinate: Some(coordinate), key: _, caseless: _ }) = &secret.read {
                places.entry((store, read.place())).or_default().entry(coordinate).or_default().push(index);
            }
        }
        let mut collisions = Vec::new();
        for ((store, key), coordinates) in places {
            if coordinates.len() < 2 {
                continue;
            }
            for (coordinate, indexes) in &coordinates {
                let Some(other) = coordinates.keys().find(|other| other != &coordinate) else { continue };
                let message = format!(
                    "{coordinate} and {other} both have the key `{key}` in {store}; rename one, or set `reference`"
                );
                collisions.extend(indexes.iter().map(|index| (*index, message.clone())));
            }
        }
        for (index, message) in collisions {
            if let Some(secret) = self.secrets.get_mut(index) {
                secret.read = Err(Problem::new(Reason::PathCollision, message));
            }
        }
    }
}

#[cfg(test)]
mod tests;
