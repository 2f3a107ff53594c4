//! Merges the layers that declare secrets: imports, the stack level, bases, the component.
//!
//! Every layer becomes a [`Patch`] per NAME, stamped with the scope that its position implies and with its store's name
//! already resolved by the aliases of the object that it stands in. [`Patch::then`] puts a later patch over an earlier
//! one; it is associative, so the result of an imported object can be computed once and used many times.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::declaration::Vars;
use crate::api::transform::{ExposedVersion, Extract, Transform};
use crate::api::{Declaration, Reason, Scope};
use crate::model::{Problem, StoreRef};

/// Patches by NAME, shared between all components that inherit them.
pub(crate) type Patches = BTreeMap<Arc<str>, Arc<Patch>>;

/// A store as a declaration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreChoice {
    pub store: StoreRef,
    /// Whether it was named by `sops`, so that it must be of that kind.
    pub must_be_sops: bool,
}

/// What a value is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The NAME.
    Name,
    /// Another name in the same layout.
    Reference(String),
    /// A key outside of the layout.
    BackendKey(String),
}

/// What one layer, or several merged, say about one NAME.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Whether everything that earlier layers say is dropped.
    pub reset: bool,
    /// Whether the NAME is declared after this patch.
    pub declared: bool,
    pub description: Option<String>,
    /// Setting it clears an inherited `backendKey`, `version` and `expose`: they were meant for another store.
    pub store: Option<Result<StoreChoice, Problem>>,
    pub scope: Option<Scope>,
    pub required: Option<bool>,
    pub place: Option<Place>,
    pub key: Option<String>,
    pub version: Option<String>,
    pub path: Option<String>,
    pub transforms: Option<Vec<Transform>>,
    pub expose: Option<Vec<ExposedVersion>>,
    pub extract: Option<Extract>,
    pub default: Option<String>,
    pub origin: String,
    /// What no later layer cures.
    pub problem: Option<Problem>,
}

impl Patch {
    /// This patch and then `later` over it.
    pub fn then(&self, later: &Self) -> Self {
        if later.reset {
            return later.clone();
        }
        let chooses_store = later.store.is_some();
        let place = match (&later.place, &self.place) {
            (Some(place), _) => Some(place.clone()),
            (None, Some(Place::BackendKey(_))) if chooses_store => Some(Place::Name),
            (None, place) => place.clone(),
        };
        let version = match (&later.version, &self.version) {
            (Some(version), _) => Some(version.clone()),
            (None, _) if chooses_store => None,
            (None, version) => version.clone(),
        };
        let expose = match (&later.expose, &self.expose) {
            (Some(expose), _) => Some(expose.clone()),
            (None, _) if chooses_store => None,
            (None, expose) => expose.clone(),
        };
        Self {
            reset: self.reset,
            declared: later.declared,
            description: later.description.clone().or_else(|| self.description.clone()),
            store: later.store.clone().or_else(|| self.store.clone()),
            scope: later.scope.or(self.scope),
            required: later.required.or(self.required),
            place,
            key: later.key.clone().or_else(|| self.key.clone()),
            version,
            path: later.path.clone().or_else(|| self.path.clone()),
            transforms: later.transforms.clone().or_else(|| self.transforms.clone()),
            expose,
            extract: later.extract.clone().or_else(|| self.extract.clone()),
            default: later.default.clone().or_else(|| self.default.clone()),
            origin: later.origin.clone(),
            problem: self.problem.clone().or_else(|| later.problem.clone()),
        }
    }
}

/// Puts `later` over `earlier`, NAME by NAME.
pub(crate) fn lay_over(earlier: &mut Patches, later: &Patches) {
    for (name, patch) in later {
        match earlier.get_mut(name) {
            Some(present) => *present = Arc::new(present.then(patch)),
            None => {
                earlier.insert(Arc::clone(name), Arc::clone(patch));
            }
        }
    }
}

/// Where a layer stands, which implies the scope of its declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    StackLevel,
    Component,
}

impl Position {
    fn scope(self) -> Scope {
        match self {
            Self::StackLevel => Scope::Stack,
            Self::Component => Scope::Instance,
        }
    }
}

/// Turns the declarations of one layer into patches; `resolve` finds the store that a name stands for there.
pub(crate) fn stamp(
    vars: &Vars,
    position: Position,
    origin: &str,
    resolve: &dyn Fn(&str) -> Result<StoreRef, Problem>,
) -> Patches {
    vars.iter()
        .map(|(name, declaration)| {
            (Arc::from(name.as_str()), Arc::new(stamp_one(declaration, position, origin, resolve)))
        })
        .collect()
}

fn stamp_one(
    declaration: &Declaration,
    position: Position,
    origin: &str,
    resolve: &dyn Fn(&str) -> Result<StoreRef, Problem>,
) -> Patch {
    let Declaration {
        description,
        store,
        sops,
        scope,
        required,
        reference,
        backend_key,
        key,
        version,
        path,
        transforms,
        expose,
        extract,
        default,
        declared,
    } = declaration;
    if *declared == Some(false) {
        return Patch { reset: true, origin: origin.to_owned(), ..Patch::default() };
    }
    let implied = position.scope();
    let mut problem = None;
    let scope = match scope {
        None => implied,
        Some(Scope::Global) => Scope::Global,
        Some(explicit) if *explicit == implied => implied,
        Some(explicit) => {
            problem = Some(Problem::new(
                Reason::ScopeConflict,
                format!(
                    "`scope: {}` contradicts its position ({origin}), which implies `{}`; leave `scope` out, or declare \
                     the name where that scope belongs",
                    explicit.as_str(),
                    implied.as_str()
                ),
            ));
            implied
        }
    };
    let store = match (store, sops) {
        (Some(_), Some(_)) => Some(Err(Problem::new(
            Reason::AmbiguousBackend,
            format!("both `store` and `sops` are set ({origin}); keep one"),
        ))),
        (Some(name), None) => Some(resolve(name).map(|store| StoreChoice { store, must_be_sops: false })),
        (None, Some(name)) => Some(resolve(name).map(|store| StoreChoice { store, must_be_sops: true })),
        (None, None) => None,
    };
    let place = match (reference, backend_key) {
        (Some(_), Some(key)) => {
            problem.get_or_insert_with(|| {
                Problem::new(
                    Reason::InvalidSpec,
                    format!("both `reference` and `backendKey` are set ({origin}); keep one"),
                )
            });
            Some(Place::BackendKey(key.clone()))
        }
        (Some(name), None) => Some(Place::Reference(name.clone())),
        (None, Some(key)) => Some(Place::BackendKey(key.clone())),
        (None, None) => None,
    };
    Patch {
        reset: false,
        declared: true,
        description: description.clone(),
        store,
        scope: Some(scope),
        required: *required,
        place,
        key: key.clone(),
        version: version.clone(),
        path: path.clone(),
        transforms: transforms.clone(),
        expose: expose.clone(),
        extract: extract.clone(),
        default: default.clone(),
        origin: origin.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests;
