//! One sync of one Stack: the story in one screen, the steps below it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use super::claims;
use super::compile::compile;
use super::memory::Recollection;
use super::namespaces::Access;
use super::queue::Lane;
use super::reading::{covered, find, read_keys, register};
use super::relations::StackKey;
use super::rotation::{next_look, rotations};
use super::stacks::{Failure, Read};
use super::target::{Again, Done, Work};
use crate::api::duration::DEFAULT_REFRESH_INTERVAL;
use crate::api::{Reason, StackSpec, StackStatus};
use crate::model::outcome::{self, Observation, TargetReport};
use crate::model::{Finding, Lookup, Plan, Problem, StoreRef};

/// Brings the targets of one Stack to what its stores hold, and its status to what was found.
///
/// # Errors
/// The API server did not answer or refused; the caller tries again later. Everything else is in the status.
pub async fn reconcile(context: &Context, key: &StackKey) -> Result<(), Failure> {
    // Whatever asked for this sync, the indexes shall hold one copy of the names.
    let shared = context.stacks.shared_key(key);
    let key = shared.as_ref().unwrap_or(key);
    // Each step has a box of its own, so that a sync that waits for a store takes up little: there may be thousands.
    let Some(read) = Box::pin(context.stacks.read(&context.client, key)).await? else {
        context.forget(key);
        return Ok(());
    };
    let Some(spec) = Box::pin(usable(context, key, &read)).await? else { return Ok(()) };
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

    let compiled = Box::pin(compile(context, key, spec)).await?;
    let plan = Box::pin(claims::apply(context, key, read, compiled.plan, memory)).await;
    context.relate(key, &plan);

    let since = context.refresh.mark();
    let results = read_keys(context, key, &plan).await;
    let findings = find(context, key, &plan, &results);
    let covered = covered(context, key, &plan);
    register(context, key, &plan, &compiled.intervals, &results, since);

    let targets = Box::pin(write_targets(context, key, read, &plan, &findings, &covered, memory)).await?;
    let leftover = Box::pin(super::leftover::handle(context, key, read, &plan, &targets)).await;

    let rotations = rotations(context, key, &plan, &results).await;
    let settled = targets.iter().all(|done| !done.again.is_trouble());
    let status = outcome::status(&Observation {
        plan: &plan,
        findings: &findings,
        covered: &covered,
        rotations: &rotations,
        targets: &targets.iter().map(|done| done.report.clone()).collect::<Vec<_>>(),
        kept: &targets.iter().flat_map(|done| done.kept.iter().copied()).collect(),
        previous: &read.status,
        generation: read.generation,
        inputs: compiled.generations,
        aliases: &aliases(spec),
        handled_sync: if settled { read.sync_requested.clone() } else { read.status.last_handled_sync.clone() },
        leftover: leftover.names,
        now: jiff::Timestamp::now(),
    });
    Box::pin(report(context, key, read, &status, &targets)).await?;
    let again: Vec<Again> = targets.iter().map(|done| done.again).chain([leftover.again]).collect();
    plan_next(context, key, &plan, &again, memory);
    if let Some(wait) = next_look(&rotations, jiff::Timestamp::now()) {
        context.queue.add_after(key.clone(), Lane::Background, wait);
    }
    Ok(())
}

/// When a Stack that makes no sense is read again.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

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
            // An answer may have been garbled on its way: then there is no change of the object that would tell.
            context.queue.add_after(key.clone(), Lane::Background, LOOK_AGAIN);
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
    context.labels.forget(key);
    report(context, key, read, &status, &[]).await?;
    Ok(None)
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
        if grant.secrets == Access::Denied && target.problem.is_none() {
            done.push(super::target::ungranted(context, &key.namespace));
            continue;
        }
        let removable = |index: usize| removable.contains(&index);
        let patience = memory.trouble.patience(&target.name, Instant::now());
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
        let known = memory.target(&target.name);
        let mut one = match memory.trouble.asked_to_wait(&target.name, Instant::now()) {
            Some(wait) => super::target::throttled(known, wait),
            None => work.sync(target, known).await,
        };
        if let Again::After(wait) = one.again {
            memory.trouble.wait(&target.name, Instant::now() + wait);
        }
        if one.undid {
            memory.trouble.undid(&target.name, Instant::now());
        }
        keep_through_trouble(&mut one, target, read, findings, covered);
        memory.set_target(&target.name, one.remembered.clone());
        if let Some(version) = one.hindrance.take() {
            memory.trouble.hindrances.insert(target.name.as_str().into(), Some(version));
        }
        done.push(one);
    }
    memory.keep_targets(|name| plan.targets.iter().any(|target| target.name == *name));
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
    let passing = target.secrets().all(|index| match findings.get(index) {
        Some(Finding::Error { transient, .. }) => *transient && covered.get(index) == Some(&true),
        Some(Finding::Initialized { .. } | Finding::Missing(_)) => true,
        Some(Finding::Unknown) | None => false,
    });
    if was_ready && passing && ((done.report.derived && !done.report.ready) || done.again.is_trouble()) {
        let some_error = target.secrets().any(|index| matches!(findings.get(index), Some(Finding::Error { .. })));
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
            let since = memory.trouble.missing_since.get(&name).copied().unwrap_or(now);
            if now.duration_since(since) >= interval {
                removable.insert(index);
            }
            still_missing.insert(name, since);
        }
    }
    memory.trouble.missing_since = still_missing;
    removable
}

async fn report(
    context: &Context,
    key: &StackKey,
    read: &Read,
    status: &StackStatus,
    targets: &[Done],
) -> Result<(), Failure> {
    let written = match context.stacks.patch_status(&context.client, key, read, status).await {
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
fn plan_next(context: &Context, key: &StackKey, plan: &Plan, again: &[Again], memory: &mut Recollection) {
    let refused = again.contains(&Again::Sometimes);
    if again.iter().any(|again| again.is_trouble()) {
        let wait = memory.trouble.back_off(Instant::now());
        let asked = again.iter().filter_map(|again| match again {
            Again::After(asked) => Some(*asked),
            Again::Never | Again::Soon | Again::Sometimes | Again::Patiently(_) => None,
        });
        context.queue.add_after(key.clone(), Lane::Background, asked.max().unwrap_or_default().max(wait));
    } else {
        memory.trouble.failing = None;
    }
    if refused {
        context.queue.add_after(key.clone(), Lane::Background, memory.trouble.ask_again(Instant::now()));
    } else {
        memory.trouble.refused = None;
    }
    let patience = again.iter().filter_map(|again| match again {
        Again::Patiently(patience) => Some(*patience),
        Again::Never | Again::Soon | Again::After(_) | Again::Sometimes => None,
    });
    if let Some(patience) = patience.min() {
        context.queue.add_after(key.clone(), Lane::Background, patience);
    }
    // The second look at a missing optional secret, where a target wants it removed.
    let removes = plan.targets.iter().any(|target| target.missing == crate::api::stack::MissingPolicy::Remove);
    if removes && let Some(since) = memory.trouble.missing_since.values().max() {
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
