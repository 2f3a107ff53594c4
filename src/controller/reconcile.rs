//! One sync of one Stack: the story in one screen, the steps below it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, PartialObjectMeta};
use tokio::time::Instant;

use super::Context;
use super::claims;
use super::definitions::StoreDefinition;
use super::memory::Recollection;
use super::queue::Lane;
use super::refresh::Reading;
use super::relations::{Dependency, StackKey, StoreKey};
use super::stacks::{self, Failure, Read, within};
use super::target::{Again, Done, Work};
use crate::api::duration::DEFAULT_REFRESH_INTERVAL;
use crate::api::store::NamespaceSelector;
use crate::api::{Reason, StackSpec, StackStatus};
use crate::backend::{Error, Key, Versioned};
use crate::model::outcome::{self, Observation, TargetReport};
use crate::model::plan::{missing_inputs, plan};
use crate::model::render::finding;
use crate::model::store::{self, facts};
use crate::model::{Fetched, Finding, Input, Lookup, Plan, Problem, StoreRef, StoreView, World};

/// Brings the targets of one Stack to what its stores hold, and its status to what was found.
///
/// # Errors
/// The API server did not answer or refused; the caller tries again later. Everything else is in the status.
pub async fn reconcile(context: &Context, key: &StackKey) -> Result<(), Failure> {
    let Some(read) = stacks::get(&context.client, key).await? else {
        context.forget(key);
        return Ok(());
    };
    let Some(spec) = usable(context, key, &read).await? else { return Ok(()) };
    let mut memory = context.memory.take(key, &read.uid);
    let result = sync(context, key, &read, &spec, &mut memory).await;
    context.memory.put(key, memory);
    result
}

async fn sync(
    context: &Context,
    key: &StackKey,
    read: &Read,
    spec: &StackSpec,
    memory: &mut Recollection,
) -> Result<(), Failure> {
    // Before anything is read, so that no change falls between the read and the watch.
    let namespace = context.namespaces.use_namespace(&key.namespace);
    namespace.known().await.ok_or(Failure::Unreachable)?;

    let compiled = compile(context, key, spec).await?;
    let plan = claims::apply(context, key, read, compiled.plan).await;
    context.relate(key, &plan);

    let results = read_keys(context, key, &plan).await;
    let findings = find(context, key, &plan, &results);
    let covered = covered(context, key, &plan);
    register(context, key, &plan, &compiled.intervals, &results);

    let targets = write_targets(context, key, read, &plan, &findings, &covered, memory).await?;
    let leftover = super::leftover::handle(context, key, read, &plan, &targets).await;

    let settled = targets.iter().all(|done| !done.again.is_trouble());
    let status = outcome::status(&Observation {
        plan: &plan,
        findings: &findings,
        covered: &covered,
        targets: &targets.iter().map(|done| done.report.clone()).collect::<Vec<_>>(),
        kept: &targets.iter().flat_map(|done| done.kept.iter().copied()).collect(),
        previous: &read.status,
        generation: read.generation,
        inputs: compiled.generations,
        aliases: &aliases(spec),
        handled_sync: if settled { read.sync_requested.clone() } else { read.status.last_handled_sync.clone() },
        leftover,
        now: jiff::Timestamp::now(),
    });
    report(context, key, read, &status, &targets).await?;
    plan_next(context, key, &plan, &targets, memory);
    Ok(())
}

/// The spec, unless there is nothing to do but to say so.
async fn usable(context: &Context, key: &StackKey, read: &Read) -> Result<Option<Arc<StackSpec>>, Failure> {
    if read.is_being_deleted {
        return Ok(None);
    }
    let now = jiff::Timestamp::now();
    let status = match &read.spec {
        Lookup::Found(spec) if spec.suspend == Some(true) => outcome::suspended(&read.status, read.generation, now),
        Lookup::Found(spec) => return Ok(Some(Arc::clone(spec))),
        Lookup::Invalid => {
            let problem = Problem {
                reason: Reason::InvalidSpec,
                message: "the stored object is no Stack as this version of the operator knows it; apply it again with \
                          the current CustomResourceDefinition"
                    .to_owned(),
                stalled: true,
            };
            outcome::failed(&read.status, &problem, read.generation, now)
        }
    };
    context.refresh.forget(key);
    report(context, key, read, &status, &[]).await?;
    Ok(None)
}

/// A plan, and what it was made from.
struct Compiled {
    plan: Plan,
    /// Of the objects that exist.
    generations: BTreeMap<String, i64>,
    /// How often each store is read for this Stack.
    intervals: BTreeMap<StoreRef, Option<Duration>>,
}

/// Plans, loads what the plan asked for, and plans again, until it asks for nothing new.
async fn compile(context: &Context, key: &StackKey, spec: &StackSpec) -> Result<Compiled, Failure> {
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
    Ok(within(api.get_metadata_opt(namespace)).await?.map(|object| object.labels().clone()).unwrap_or_default())
}

/// Results by store and key; each distinct key is asked once.
type Results = BTreeMap<StoreRef, BTreeMap<Key, Result<Versioned, Error>>>;

/// Reads every key of the plan in one pass, all stores at the same time.
async fn read_keys(context: &Context, stack: &StackKey, plan: &Plan) -> Results {
    let mut wanted: BTreeMap<StoreRef, BTreeSet<Key>> = BTreeMap::new();
    if plan.blocked.is_none() {
        for read in plan.secrets.iter().filter_map(|secret| secret.read.as_ref().ok()) {
            wanted.entry(read.store.clone()).or_default().insert(read.key.clone());
        }
    }
    let reads = wanted.into_iter().map(|(store, keys)| async move {
        let store_key = StoreKey::resolve(&store, &stack.namespace);
        let keys: Vec<Key> = keys.into_iter().collect();
        let results = match context.stores.connect(context, &store_key).await {
            Ok(live) => live.reads.read(&keys).await,
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        };
        context.stores.note_results(&store_key, &results);
        (store, keys.into_iter().zip(results).collect())
    });
    futures::future::join_all(reads).await.into_iter().collect()
}

fn find(context: &Context, key: &StackKey, plan: &Plan, results: &Results) -> Vec<Finding> {
    plan.secrets
        .iter()
        .map(|secret| {
            let result = secret
                .read
                .as_ref()
                .ok()
                .and_then(|read| results.get(&read.store).and_then(|keys| keys.get(&read.key)));
            let fetched = match result {
                Some(Ok(versioned)) => Fetched::Value(versioned.clone()),
                Some(Err(error)) => Fetched::Error(error.clone()),
                None => Fetched::Unknown,
            };
            let mut finding = finding(secret, fetched);
            if let Finding::Error { problem, .. } = &mut finding
                && problem.reason == Reason::GrantMissing
                && let Ok(read) = &secret.read
            {
                problem.message = context.read_hint(&StoreKey::resolve(&read.store, &key.namespace));
            }
            finding
        })
        .collect()
}

/// For each secret, whether the last good read is young enough to stand in for a passing error.
fn covered(context: &Context, key: &StackKey, plan: &Plan) -> Vec<bool> {
    let is_covered = |store: &StoreRef, backend_key: &Key| {
        context.refresh.is_covered(&StoreKey::resolve(store, &key.namespace), backend_key)
    };
    plan.secrets
        .iter()
        .map(|secret| secret.read.as_ref().is_ok_and(|read| is_covered(&read.store, &read.key)))
        .collect()
}

fn register(
    context: &Context,
    key: &StackKey,
    plan: &Plan,
    intervals: &BTreeMap<StoreRef, Option<Duration>>,
    results: &Results,
) {
    if plan.blocked.is_some() {
        // What is in use is not known, so what was in use stays so.
        return;
    }
    let readings: Vec<Reading<'_>> = results
        .iter()
        .flat_map(|(store, keys)| {
            let interval = intervals.get(store).copied().flatten();
            keys.iter().map(move |(backend_key, result)| Reading {
                store: StoreKey::resolve(store, &key.namespace),
                key: backend_key.clone(),
                interval,
                result,
            })
        })
        .collect();
    context.refresh.register(key, &readings);
}

async fn write_targets(
    context: &Context,
    key: &StackKey,
    read: &Read,
    plan: &Plan,
    findings: &[Finding],
    covered: &[bool],
    memory: &mut Recollection,
) -> Result<Vec<Done>, Failure> {
    if plan.blocked.is_some() {
        return Ok(Vec::new());
    }
    let removable = removable(plan, findings, memory);
    let namespace = context.namespaces.use_namespace(&key.namespace);
    let grant = namespace.known().await.ok_or(Failure::Unreachable)?;
    let mut done = Vec::with_capacity(plan.targets.len());
    for target in &plan.targets {
        if grant.secrets == super::namespaces::Access::Denied && target.problem.is_none() {
            done.push(super::target::ungranted(context, &key.namespace));
            continue;
        }
        let removable = |index: usize| removable.contains(&index);
        let patience = memory.patience(&target.name, Instant::now());
        let work = Work {
            context,
            stack: key,
            uid: &read.uid,
            plan,
            findings,
            removable: &removable,
            namespace: &namespace,
            patience,
        };
        let mut one = work.sync(target, memory.targets.get(target.name.as_str())).await;
        if one.undid {
            memory.undid(&target.name, Instant::now());
        }
        keep_through_trouble(&mut one, target, read, findings, covered);
        match &one.remembered {
            Some(remembered) => {
                memory.targets.insert(target.name.as_str().into(), remembered.clone());
            }
            None => {
                memory.targets.remove(target.name.as_str());
            }
        }
        done.push(one);
    }
    memory.targets.retain(|name, _| plan.targets.iter().any(|target| target.name == **name));
    memory.fights.retain(|name, _| plan.targets.iter().any(|target| target.name == **name));
    Ok(done)
}

/// A target that is held back only by passing errors, each covered by a good read, is as ready as it was.
fn keep_through_trouble(
    done: &mut Done,
    target: &crate::model::PlannedTarget,
    read: &Read,
    findings: &[Finding],
    covered: &[bool],
) {
    let before = read.status.targets.iter().find(|before| before.name == target.name);
    let was_ready = before.is_some_and(|before| before.ready);
    let passing = target.entries.values().all(|index| match findings.get(*index) {
        Some(Finding::Error { transient, .. }) => *transient && covered.get(*index) == Some(&true),
        Some(Finding::Initialized { .. } | Finding::Missing(_)) => true,
        Some(Finding::Unknown) | None => false,
    });
    if was_ready && passing && ((done.report.derived && !done.report.ready) || done.again.is_trouble()) {
        let some_error =
            target.entries.values().any(|index| matches!(findings.get(*index), Some(Finding::Error { .. })));
        if some_error || done.again.is_trouble() {
            done.report = TargetReport { ready: true, ..TargetReport::default() };
        }
    }
}

/// The optional secrets that two reads, one interval apart, both found missing.
fn removable(plan: &Plan, findings: &[Finding], memory: &mut Recollection) -> BTreeSet<usize> {
    let interval = plan.refresh_interval.unwrap_or(DEFAULT_REFRESH_INTERVAL);
    let now = Instant::now();
    let mut removable = BTreeSet::new();
    let mut still_missing = std::collections::HashMap::new();
    for (index, (secret, finding)) in plan.secrets.iter().zip(findings).enumerate() {
        if let Finding::Missing(_) = finding {
            let name = (Box::from(secret.component.as_str()), Box::from(secret.name.as_str()));
            let since = memory.missing_since.get(&name).copied().unwrap_or(now);
            if now.duration_since(since) >= interval {
                removable.insert(index);
            }
            still_missing.insert(name, since);
        }
    }
    memory.missing_since = still_missing;
    removable
}

async fn report(
    context: &Context,
    key: &StackKey,
    read: &Read,
    status: &StackStatus,
    targets: &[Done],
) -> Result<(), Failure> {
    let written = match stacks::patch_status(&context.client, key, read, status).await {
        Ok(written) => written,
        // Gone or replaced meanwhile: the watch tells.
        Err(Failure::Status(404 | 409)) => false,
        Err(failure) => return Err(failure),
    };
    if written {
        context.events.ready_changed(key, &read.uid, &read.status.conditions, &status.conditions).await;
        let ready = status.conditions.first();
        tracing::info!(
            stack = %key,
            ready = ready.map_or("", |condition| condition.status.as_str()),
            reason = ready.map_or("", |condition| condition.reason.as_str()),
            initialized = status.initialized.as_deref().unwrap_or(""),
            "stack status changed"
        );
    }
    for (target, done) in status.targets.iter().zip(targets) {
        if done.repaired {
            tracing::warn!(stack = %key, target = target.name, "an edited target was written again");
            context.events.repaired(key, &read.uid, &target.name).await;
        }
    }
    Ok(())
}

/// Plans what has to happen without anybody asking for it.
fn plan_next(context: &Context, key: &StackKey, plan: &Plan, targets: &[Done], memory: &mut Recollection) {
    let refused = targets.iter().any(|done| done.again == Again::Sometimes);
    if targets.iter().any(|done| done.again.is_trouble()) {
        let wait = memory.back_off(Instant::now());
        let asked = targets.iter().filter_map(|done| match done.again {
            Again::After(asked) => Some(asked),
            Again::Never | Again::Soon | Again::Sometimes | Again::Patiently(_) => None,
        });
        context.queue.add_after(key.clone(), Lane::Background, asked.max().unwrap_or_default().max(wait));
    } else {
        memory.failing = None;
    }
    if refused {
        context.queue.add_after(key.clone(), Lane::Background, memory.ask_again(Instant::now()));
    } else {
        memory.refused = None;
    }
    let patience = targets.iter().filter_map(|done| match done.again {
        Again::Patiently(patience) => Some(patience),
        Again::Never | Again::Soon | Again::After(_) | Again::Sometimes => None,
    });
    if let Some(patience) = patience.min() {
        context.queue.add_after(key.clone(), Lane::Background, patience);
    }
    // The second look at a missing optional secret, where a target wants it removed.
    let removes = plan.targets.iter().any(|target| target.missing == crate::api::stack::MissingPolicy::Remove);
    if removes && let Some(since) = memory.missing_since.values().max() {
        let interval = plan.refresh_interval.unwrap_or(DEFAULT_REFRESH_INTERVAL);
        let due = interval.saturating_sub(since.elapsed());
        if !due.is_zero() {
            context.queue.add_after(key.clone(), Lane::Background, due);
        }
    }
    context.drift.arm(context, key, plan);
}

/// How the Stack's author calls each store.
fn aliases(spec: &StackSpec) -> BTreeMap<StoreRef, String> {
    let mut aliases = BTreeMap::new();
    for (alias, store) in &spec.stores {
        let reference = match (&store.store, &store.cluster_store) {
            (Some(name), _) => StoreRef::Store(name.clone()),
            (None, Some(name)) => StoreRef::ClusterStore(name.clone()),
            (None, None) => continue,
        };
        aliases.entry(reference).or_insert_with(|| alias.clone());
    }
    aliases
}

/// What a Stack depends on, for the index.
pub fn dependencies(namespace: &str, plan: &Plan) -> Vec<Dependency> {
    plan.inputs.iter().map(|input| Dependency::resolve(input, namespace)).collect()
}
