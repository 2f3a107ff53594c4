//! From the spec of a Stack to its plan: loads what the plan names until nothing is left to load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Context;
use super::definitions::StoreDefinition;
use super::labels::NamespaceLabels;
use super::relations::{Dependency, StackKey, StoreKey};
use super::stacks::{self, Failure};
use crate::api::duration::DEFAULT_REFRESH_INTERVAL;
use crate::api::store::{AllowedNamespaces, NamespaceSelector};
use crate::api::{Reason, StackSpec};
use crate::model::plan::{missing_inputs, plan};
use crate::model::store::{self, facts};
use crate::model::{Input, Lookup, Plan, Problem, StoreRef, StoreView, World};

/// A plan, and what it was made from.
pub struct Compiled {
    /// What should be.
    pub plan: Plan,
    /// Of the objects that it was made from.
    pub generations: BTreeMap<String, i64>,
    /// How often each store is read for this Stack.
    pub intervals: BTreeMap<StoreRef, Option<Duration>>,
}

/// Plans, loads what the plan asked for, and plans again, until it asks for nothing new.
///
/// # Errors
/// The API server did not answer or refused.
pub async fn compile(context: &Context, key: &StackKey, spec: &StackSpec) -> Result<Compiled, Failure> {
    let mut world = World::default();
    let mut loaded = BTreeSet::new();
    let mut generations = BTreeMap::new();
    let mut shortest: BTreeMap<StoreRef, Duration> = BTreeMap::new();
    let mut labels = None;
    let plan = loop {
        let plan = plan(&key.namespace, &key.name, spec, &world);
        let mut missing = missing_inputs(&plan, &loaded);
        if missing.is_empty() {
            break plan;
        }
        // What is imported may choose other stores, and nobody shall be asked on behalf of one that is not used.
        if missing.iter().any(|input| !is_store(input)) {
            missing.retain(|input| !is_store(input));
        }
        for input in missing {
            // Before it is looked up: a change right after that is then told to this Stack too.
            context.depend(key, &input);
            let generation = match &input {
                Input::Catalog(name) => context.definitions.catalog(name).map(|definition| {
                    world.catalogs.insert(name.clone(), definition.spec);
                    definition.generation
                }),
                Input::Stack(name) => {
                    let other = StackKey::new(&key.namespace, name);
                    stacks::get(&context.client, &other).await?.map(|read| {
                        world.stacks.insert(name.clone(), read.spec);
                        read.generation
                    })
                }
                Input::Store(reference) => match store_view(context, key, reference, &mut labels).await? {
                    Some((view, minimum, generation)) => {
                        let hidden = matches!(&view, StoreView::Refused(problem) if problem.reason == Reason::NamespaceNotAllowed);
                        shortest.insert(reference.clone(), minimum);
                        world.stores.insert(reference.clone(), view);
                        (!hidden).then_some(generation)
                    }
                    None => None,
                },
            };
            // An object that is absent counts as generation 0, so that a reader sees when it came after this status. Not
            // so a ClusterStore: a namespace that is not admitted must not learn whether it exists.
            let absent = match &input {
                Input::Catalog(_) | Input::Stack(_) | Input::Store(StoreRef::Store(_)) => Some(0),
                Input::Store(StoreRef::ClusterStore(_)) => None,
            };
            if let Some(generation) = generation.or(absent) {
                generations.insert(input.to_string(), generation);
            }
            loaded.insert(input);
        }
    };
    if labels.is_none() {
        context.labels.forget(key);
    }
    let intervals = shortest
        .into_iter()
        .map(|(store, minimum)| (store, plan.refresh_interval.map(|interval| interval.max(minimum))))
        .collect();
    Ok(Compiled { plan, generations, intervals })
}

fn is_store(input: &Input) -> bool {
    match input {
        Input::Store(_) => true,
        Input::Catalog(_) | Input::Stack(_) => false,
    }
}

/// A store as the Stack's namespace may see it, its shortest interval and its generation. The labels of the namespace are
/// read when the first store asks for them.
async fn store_view(
    context: &Context,
    key: &StackKey,
    reference: &StoreRef,
    labels: &mut Option<NamespaceLabels>,
) -> Result<Option<(StoreView, Duration, i64)>, Failure> {
    let store_key = StoreKey::resolve(reference, &key.namespace);
    let Some(definition) = context.definitions.store(&store_key) else { return Ok(None) };
    let (name, invalid) = match reference {
        StoreRef::Store(name) | StoreRef::ClusterStore(name) => (name, unreadable(reference)),
    };
    let generation = definition.generation();
    let facts = match &definition {
        StoreDefinition::Store(definition) => match &definition.spec {
            Lookup::Found(spec) => facts(store::Definition::Store(spec), name, &key.namespace, &BTreeMap::new()),
            Lookup::Invalid => return Ok(Some((StoreView::Refused(invalid), DEFAULT_REFRESH_INTERVAL, generation))),
        },
        StoreDefinition::ClusterStore(definition) => match &definition.spec {
            Lookup::Found(spec) => {
                if labels.is_none() && is_decided_by_labels(&spec.allowed_namespaces, &key.namespace) {
                    *labels = Some(context.labels.decide(context, key).await?);
                }
                let none = NamespaceLabels::new();
                let labels = labels.as_ref().unwrap_or(&none);
                facts(store::Definition::ClusterStore(spec), name, &key.namespace, labels)
            }
            Lookup::Invalid => return Ok(Some((StoreView::Refused(invalid), DEFAULT_REFRESH_INTERVAL, generation))),
        },
    };
    Ok(Some((facts.view, facts.min_refresh_interval, generation)))
}

fn unreadable(reference: &StoreRef) -> Problem {
    Problem {
        reason: Reason::InvalidSpec,
        message: format!("this version of the operator cannot read {reference}; apply it again"),
        stalled: false,
    }
}

/// Whether the labels of a namespace are needed to say if it is admitted.
fn is_decided_by_labels(allowed: &AllowedNamespaces, namespace: &str) -> bool {
    let AllowedNamespaces { names, selector } = allowed;
    let selects = selector.as_ref().is_some_and(|NamespaceSelector { match_labels }| !match_labels.is_empty());
    selects && !names.iter().any(|name| name == namespace)
}

/// What a Stack depends on, for the index.
pub fn dependencies(namespace: &str, plan: &Plan) -> Vec<Dependency> {
    plan.inputs.iter().map(|input| Dependency::resolve(input, namespace)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;
    use crate::controller::tests::context;

    #[tokio::test]
    async fn a_store_that_an_import_replaces_is_not_one_that_the_stack_depends_on() {
        let context = context();
        let of_own = |kind: &str, name: &str, spec: serde_json::Value| {
            let metadata = json!({"name": name, "namespace": "payments", "uid": name, "generation": 1});
            let object = json!({
                "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": kind, "spec": spec, "metadata": metadata,
            });
            serde_json::from_value(object).unwrap()
        };
        for name in ["own", "imported"] {
            context.definitions.put_store(of_own("Store", name, json!({"kubernetes": {}})));
        }
        let vars = json!({"secrets": {"vars": {"A": {"store": "imported"}}}});
        context.definitions.put_catalog(of_own("Catalog", "all", vars));
        let spec = json!({
            "defaultStore": "own", "imports": [{"catalog": "all"}], "targets": {"all": {}},
            "secrets": {"vars": {"A": {"required": true}}},
        });
        let key = StackKey::new("payments", "prod");
        let compiled = compile(&context, &key, &serde_json::from_value(spec).unwrap()).await.unwrap();
        assert_eq!(compiled.plan.blocked, None);
        let users = |name: &str| {
            let store = StoreKey::resolve(&StoreRef::Store(name.to_owned()), "payments");
            context.relations.count(&Dependency::Store(store))
        };
        assert_eq!((users("own"), users("imported")), (0, 1));
    }
}
