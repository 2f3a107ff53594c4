//! From the spec of a Stack to its plan: loads what the plan names until nothing is left to load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, PartialObjectMeta};

use super::Context;
use super::definitions::StoreDefinition;
use super::relations::{Dependency, StackKey, StoreKey};
use super::stacks::{self, Failure, within};
use crate::api::duration::DEFAULT_REFRESH_INTERVAL;
use crate::api::store::NamespaceSelector;
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
    let plan = loop {
        let plan = plan(&key.namespace, &key.name, spec, &world);
        let missing = missing_inputs(&plan, &loaded);
        if missing.is_empty() {
            break plan;
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
                Input::Store(reference) => match store_view(context, key, reference).await? {
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
    let intervals = shortest
        .into_iter()
        .map(|(store, minimum)| (store, plan.refresh_interval.map(|interval| interval.max(minimum))))
        .collect();
    Ok(Compiled { plan, generations, intervals })
}

/// A store as the Stack's namespace may see it, its shortest interval and its generation.
async fn store_view(
    context: &Context,
    key: &StackKey,
    reference: &StoreRef,
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
                let labels = match &spec.allowed_namespaces.selector {
                    Some(NamespaceSelector { match_labels }) if !match_labels.is_empty() => {
                        namespace_labels(context, &key.namespace).await?
                    }
                    Some(_) | None => BTreeMap::new(),
                };
                facts(store::Definition::ClusterStore(spec), name, &key.namespace, &labels)
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

async fn namespace_labels(context: &Context, namespace: &str) -> Result<BTreeMap<String, String>, Failure> {
    let api: Api<PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>> = Api::all(context.client.clone());
    match within(api.get_metadata(namespace)).await {
        Ok(object) => Ok(object.labels().clone()),
        Err(Failure::Status(404)) => Ok(BTreeMap::new()),
        Err(failure) => Err(failure),
    }
}

/// What a Stack depends on, for the index.
pub fn dependencies(namespace: &str, plan: &Plan) -> Vec<Dependency> {
    plan.inputs.iter().map(|input| Dependency::resolve(input, namespace)).collect()
}
