//! The objects that a Stack is made of: itself, the Catalogs and Stacks that it imports, and the bases in all of them.
//!
//! Imports are followed depth first and each object is merged once for each Stack that imports it (an alias that a
//! Catalog does not define falls back to that Stack's). Names of bases are looked up where they are written: in the same
//! object, then in what it imports, later imports first.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::declaration::Vars;
use crate::api::stack::{ComponentMetadata, StoreAlias};
use crate::api::{CatalogSpec, Reason, StackSpec};
use crate::model::merge::{Patches, Position, lay_over, stamp};
use crate::model::plan::{MAX_SECRETS, too_many_secrets};
use crate::model::{Input, Lookup, Problem, StoreRef, World};

/// How deep imports may nest, and bases inherit. Far beyond what people can follow, far below what a thread's stack
/// holds.
const MAX_DEPTH: usize = 32;

/// How many objects one Stack may be made of, so that a few objects that import each other twice cannot multiply.
const MAX_OBJECTS: usize = 128;

/// A component as far as inheritance looks at it.
#[derive(Clone, Copy)]
struct BaseView<'a> {
    metadata: Option<&'a ComponentMetadata>,
    vars: Option<&'a Vars>,
}

/// One object, resolved.
struct Layer<'a> {
    /// What is imported, as it is written.
    spec: Spec<'a>,
    /// The Stack whose aliases stand behind a Catalog's own.
    context: &'a StackSpec,
    /// Its stack level with everything that it imports.
    stack_level: Patches,
    components: BTreeMap<&'a str, BaseView<'a>>,
    /// Bases that its imports bring: name to the layer that has it.
    imported: BTreeMap<&'a str, usize>,
}

#[derive(Clone, Copy)]
enum Spec<'a> {
    Stack(&'a StackSpec),
    Catalog(&'a CatalogSpec),
}

/// What a component inherits and declares, without the stack level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    pub patches: Patches,
    /// A base is missing, here or further up.
    pub problem: Option<Problem>,
}

/// Everything that one Stack is made of.
pub(crate) struct Layers<'a> {
    world: &'a World,
    layers: Vec<Layer<'a>>,
    /// Imports that are resolved already, each with the Stack whose aliases stand behind it.
    known: BTreeMap<(Input, Option<Input>), usize>,
    root: usize,
    bases: BTreeMap<(usize, &'a str), Inherited>,
    /// Every Catalog and Stack looked for.
    pub inputs: BTreeSet<Input>,
    /// What makes the set of declarations unknowable.
    pub blocked: Option<Problem>,
}

impl<'a> Layers<'a> {
    /// Follows the imports of the Stack called `name`.
    pub fn load(name: &str, spec: &'a StackSpec, world: &'a World) -> Self {
        let mut layers = Self {
            world,
            layers: Vec::new(),
            known: BTreeMap::new(),
            root: 0,
            bases: BTreeMap::new(),
            inputs: BTreeSet::new(),
            blocked: None,
        };
        let mut chain = vec![Input::Stack(name.to_owned())];
        layers.root = layers.add(Spec::Stack(spec), spec, "stack", &mut chain);
        layers
    }

    /// The stack level, imports merged.
    pub fn stack_level(&self) -> Patches {
        self.layers.get(self.root).map(|layer| layer.stack_level.clone()).unwrap_or_default()
    }

    /// What a component of the Stack itself inherits from its bases and declares.
    pub fn component(&mut self, name: &'a str) -> Inherited {
        self.resolve(self.root, name, &mut Vec::new())
    }

    fn block(&mut self, problem: Problem) {
        // The first is the most telling: it is met in the order of `imports`.
        self.blocked.get_or_insert(problem);
    }

    /// Forgets a set that is larger than a Stack may be: bases and imports could multiply it without bounds.
    fn bound(&mut self, patches: &mut Patches) {
        if patches.len() > MAX_SECRETS {
            patches.clear();
            self.block(too_many_secrets().stalled_if(self.layers.is_empty()));
        }
    }

    fn add(&mut self, spec: Spec<'a>, context: &'a StackSpec, origin: &str, chain: &mut Vec<Input>) -> usize {
        let imports: Vec<Input> = match spec {
            Spec::Stack(spec) => spec
                .imports
                .iter()
                .flat_map(|import| {
                    let catalog = import.catalog.iter().map(|name| Input::Catalog(name.clone()));
                    catalog.chain(import.stack.iter().map(|name| Input::Stack(name.clone())))
                })
                .collect(),
            Spec::Catalog(spec) => spec.imports.iter().map(|import| Input::Catalog(import.catalog.clone())).collect(),
        };
        let mut stack_level = Patches::new();
        let mut imported = BTreeMap::new();
        for import in imports {
            let Some(index) = self.import(&import, context, chain) else { continue };
            if let Some(layer) = self.layers.get(index) {
                lay_over(&mut stack_level, &layer.stack_level);
                imported.extend(layer.imported.iter().map(|(name, owner)| (*name, *owner)));
                imported.extend(layer.components.keys().map(|name| (*name, index)));
            }
        }
        let resolve = |name: &str| resolve_store(name, spec, context);
        let (vars, components) = match spec {
            Spec::Stack(spec) => (
                spec.secrets.as_ref().map(|secrets| &secrets.vars),
                spec.components
                    .values()
                    .flat_map(|components| &components.0)
                    .map(|(name, component)| {
                        let vars = component.secrets.as_ref().map(|secrets| &secrets.vars);
                        (name.as_str(), BaseView { metadata: component.metadata.as_ref(), vars })
                    })
                    .collect(),
            ),
            Spec::Catalog(spec) => (
                spec.secrets.as_ref().map(|secrets| &secrets.vars),
                spec.components
                    .values()
                    .flat_map(|bases| &bases.0)
                    .map(|(name, base)| {
                        let vars = base.secrets.as_ref().map(|secrets| &secrets.vars);
                        (name.as_str(), BaseView { metadata: base.metadata.as_ref(), vars })
                    })
                    .collect(),
            ),
        };
        if let Some(vars) = vars {
            lay_over(&mut stack_level, &stamp(vars, Position::StackLevel, origin, &resolve));
        }
        self.bound(&mut stack_level);
        self.layers.push(Layer { spec, context, stack_level, components, imported });
        self.layers.len() - 1
    }

    /// The layer of an imported object, or `None` with the reason in `blocked`.
    fn import(&mut self, import: &Input, context: &'a StackSpec, chain: &mut Vec<Input>) -> Option<usize> {
        let behind = match import {
            Input::Catalog(_) => chain.iter().rfind(|link| matches!(link, Input::Stack(_))).cloned(),
            Input::Stack(_) | Input::Store(_) => None,
        };
        let key = (import.clone(), behind);
        if let Some(index) = self.known.get(&key) {
            return Some(*index);
        }
        if let Some(start) = chain.iter().position(|link| link == import) {
            let circle = chain.get(start..).unwrap_or_default().iter().map(ToString::to_string);
            let circle: Vec<String> = circle.chain([import.to_string()]).collect();
            // A circle of one is this Stack importing itself; any longer one can be opened elsewhere, too.
            let stalled = chain.len() == 1;
            let message = format!("imports go in a circle: {}; remove one of them", circle.join(" imports "));
            self.block(Problem::new(Reason::InheritanceCycle, message).stalled_if(stalled));
            return None;
        }
        let world = self.world;
        self.inputs.insert(import.clone());
        if chain.len() > MAX_DEPTH || self.layers.len() >= MAX_OBJECTS {
            let message =
                format!("{import} cannot be imported: at most {MAX_OBJECTS} objects, {MAX_DEPTH} deep, are followed");
            self.block(Problem::new(Reason::CatalogNotFound, message));
            return None;
        }
        let found = match import {
            Input::Catalog(name) => world.catalogs.get(name).map(|lookup| match lookup {
                Lookup::Found(spec) => Some((Spec::Catalog(spec), context, format!("catalog/{name}"))),
                Lookup::Invalid => None,
            }),
            Input::Stack(name) => world.stacks.get(name).map(|lookup| match lookup {
                Lookup::Found(spec) => Some((Spec::Stack(spec), spec.as_ref(), format!("import/{name}"))),
                Lookup::Invalid => None,
            }),
            Input::Store(_) => None,
        };
        match found {
            Some(Some((spec, context, origin))) => {
                chain.push(import.clone());
                let index = self.add(spec, context, &origin, chain);
                chain.pop();
                self.known.insert(key, index);
                Some(index)
            }
            Some(None) => {
                let message =
                    format!("{import} is imported, but cannot be read as this version of the API; correct it");
                self.block(Problem::new(Reason::CatalogNotFound, message));
                None
            }
            None => {
                let message = format!("{import} is imported, but does not exist; create it, or remove the import");
                self.block(Problem::new(Reason::CatalogNotFound, message));
                None
            }
        }
    }

    fn resolve(&mut self, owner: usize, name: &'a str, chain: &mut Vec<(usize, &'a str)>) -> Inherited {
        if let Some(known) = self.bases.get(&(owner, name)).filter(|_| !chain.is_empty()) {
            return known.clone();
        }
        let Some(layer) = self.layers.get(owner) else { return Inherited::default() };
        let Some(view) = layer.components.get(name).copied() else { return Inherited::default() };
        let (spec, context) = (layer.spec, layer.context);
        chain.push((owner, name));
        let mut inherited = Inherited::default();
        if let Some(metadata) = view.metadata {
            // `component` is a base too, but naming oneself there is the usual way in Atmos to name a Terraform folder.
            let folder = metadata.component.as_deref().map(|base| (base, base == name));
            let listed = metadata.inherits.iter().map(|base| (base.as_str(), false));
            for (base, may_be_itself) in folder.into_iter().chain(listed) {
                match self.find(owner, name, base) {
                    Some(found) => {
                        if self.closes_circle(found, chain) {
                            continue;
                        }
                        let above = self.resolve(found.0, found.1, chain);
                        lay_over(&mut inherited.patches, &above.patches);
                        inherited.problem = inherited.problem.or(above.problem);
                    }
                    None if may_be_itself => {}
                    None if base == name => {
                        self.closes_circle((owner, name), chain);
                    }
                    None => {
                        inherited.problem.get_or_insert_with(|| {
                            Problem::new(
                                Reason::BaseNotFound,
                                format!(
                                    "component {name} inherits from {base}, which is neither a component beside it nor \
                                     one of an import; declare it, or remove it from `metadata`"
                                ),
                            )
                        });
                    }
                }
            }
        }
        if let Some(vars) = view.vars {
            let origin = if chain.len() == 1 { "component".to_owned() } else { format!("inherits/{name}") };
            let resolve = |store: &str| resolve_store(store, spec, context);
            lay_over(&mut inherited.patches, &stamp(vars, Position::Component, &origin, &resolve));
        }
        self.bound(&mut inherited.patches);
        chain.pop();
        // What stands at the start of a chain is stamped as the component itself; as a base it is resolved anew.
        if !chain.is_empty() {
            self.bases.insert((owner, name), inherited.clone());
        }
        inherited
    }

    /// Where the base called `base` is, as `name` in `owner` sees it.
    fn find(&self, owner: usize, name: &str, base: &str) -> Option<(usize, &'a str)> {
        let layer = self.layers.get(owner)?;
        let beside = match base == name {
            true => None,
            false => layer.components.get_key_value(base).map(|(base, _)| (owner, *base)),
        };
        beside.or_else(|| layer.imported.get_key_value(base).map(|(base, owner)| (*owner, *base)))
    }

    fn closes_circle(&mut self, next: (usize, &'a str), chain: &[(usize, &'a str)]) -> bool {
        let circle = chain.iter().position(|link| *link == next);
        if circle.is_none() && chain.len() <= MAX_DEPTH {
            return false;
        }
        let links = chain.get(circle.unwrap_or(0)..).unwrap_or_default();
        let names: Vec<&str> = links.iter().map(|(_, name)| *name).chain([next.1]).collect();
        let stalled = links.iter().all(|(owner, _)| *owner == self.root);
        let message = match circle {
            Some(_) => format!("components inherit in a circle: {}; remove one of them", names.join(" inherits ")),
            None => format!(
                "components inherit more than {MAX_DEPTH} deep, from {} on; shorten the chain",
                chain_start(&names)
            ),
        };
        self.block(Problem::new(Reason::InheritanceCycle, message).stalled_if(stalled));
        true
    }
}

fn chain_start<'a>(names: &[&'a str]) -> &'a str {
    names.first().copied().unwrap_or_default()
}

/// The store that a name stands for in an object: an alias there, for a Catalog then one of the importing Stack, else the
/// Store of that name.
fn resolve_store(name: &str, spec: Spec<'_>, context: &StackSpec) -> Result<StoreRef, Problem> {
    match spec {
        Spec::Catalog(catalog) => match catalog.stores.get(name) {
            Some(alias) => Ok(StoreRef::ClusterStore(alias.cluster_store.clone())),
            None => stack_store(name, context),
        },
        Spec::Stack(_) => stack_store(name, context),
    }
}

/// The store that a name stands for in a Stack.
pub(crate) fn stack_store(name: &str, spec: &StackSpec) -> Result<StoreRef, Problem> {
    match spec.stores.get(name) {
        None => Ok(StoreRef::Store(name.to_owned())),
        Some(StoreAlias { store: Some(store), cluster_store: None }) => Ok(StoreRef::Store(store.clone())),
        Some(StoreAlias { store: None, cluster_store: Some(store) }) => Ok(StoreRef::ClusterStore(store.clone())),
        Some(StoreAlias { store: Some(_), cluster_store: Some(_) }) => Err(Problem::new(
            Reason::AmbiguousBackend,
            format!("alias {name} names both a `store` and a `clusterStore`; keep one"),
        )),
        Some(StoreAlias { store: None, cluster_store: None }) => Err(Problem::new(
            Reason::NoBackend,
            format!("alias {name} names neither a `store` nor a `clusterStore`; set one"),
        )),
    }
}
