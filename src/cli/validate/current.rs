//! Waits until a Stack's status is about the present spec, the present inputs and the sync that was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::super::context::{Cluster, is_forbidden, request_failed};
use super::super::exit::Failure;
use super::super::printer::Printer;
use super::super::rows::{condition, is_observed};
use crate::api::marks::SYNC_REQUESTED_AT;
use crate::api::stack::Import;
use crate::api::status::STALLED;
use crate::api::{Catalog, ClusterStore, Stack, Store};
use crate::cluster::is_object_name;

/// The first pause between two looks; each one is half as long again, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// An operator answers within a second when it is awake; more questions would only load the API server.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Silence after which the person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Inputs that are looked up at the same time.
const LOOKUPS: usize = 8;

/// What became of waiting.
pub enum Waited {
    /// The status is about what is there now.
    Current(Stack),
    /// It is not, for this reason.
    NotYet {
        /// As last seen.
        stack: Stack,
        /// What was waited for, as a clause.
        why: String,
    },
}

/// Asks the operator for a read now and returns the stamp that it will echo.
///
/// # Errors
/// Access.
pub async fn request_sync(cluster: &Cluster, name: &str) -> Result<Timestamp, Failure> {
    let api: Api<Stack> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let now = Timestamp::now();
    let patch = json!({"metadata": {"annotations": {SYNC_REQUESTED_AT: stamp(now)}}});
    let tried = format!("ask for a sync of Stack {name} in namespace {}", cluster.namespace);
    api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| request_failed(&tried, &error))?;
    Ok(now)
}

/// RFC 3339 with nanoseconds, so that two requests differ.
fn stamp(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// Waits at most `limit`; `0` looks once.
///
/// # Errors
/// Access; a Stack that is deleted meanwhile.
pub async fn wait(
    cluster: &Cluster,
    mut stack: Stack,
    requested: Option<&Timestamp>,
    limit: Duration,
    printer: &mut Printer,
) -> Result<Waited, Failure> {
    let started = Instant::now();
    let name = stack.name_any();
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let left = limit.saturating_sub(started.elapsed());
        let why = match outdated(cluster, &stack, requested).await {
            Ok(None) => return Ok(Waited::Current(stack)),
            Ok(Some(why)) => why,
            Err(failure) if failure.passing && !left.is_zero() => failure.message,
            Err(failure) => return Err(failure),
        };
        if left.is_zero() {
            return Ok(Waited::NotYet { stack, why });
        }
        if !told && started.elapsed() >= TELL_AFTER {
            printer.info(&format!("waiting for the operator ({why}) …"));
            told = true;
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match cluster.stack_object(&name).await {
            Ok(Some(found)) => stack = found,
            Ok(None) => {
                let place = format!("Stack {name} in namespace {}", cluster.namespace);
                return Err(Failure::access(format!("{place} was deleted meanwhile")));
            }
            // What was seen last is looked at again.
            Err(failure) if failure.passing && !left.is_zero() => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Why the status is not current, as a clause; `None` if it is.
async fn outdated(cluster: &Cluster, stack: &Stack, requested: Option<&Timestamp>) -> Result<Option<String>, Failure> {
    let generation = stack.metadata.generation.unwrap_or_default();
    if !is_observed(stack) {
        return Ok(Some(format!("the operator did not look at generation {generation} of the spec")));
    }
    if condition(stack, STALLED).is_some_and(|stalled| stalled.status == "True") {
        // Nothing but an edit of this Stack cures it, so that no input and no sync changes the answer.
        return Ok(None);
    }
    let handled = stack.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    if let Some(requested) = requested
        && !is_handled(*requested, handled)
    {
        return Ok(Some("the operator did not finish the sync that was asked for".to_owned()));
    }
    let mut lookups = stream::iter(inputs(stack))
        .map(|(input, known)| async move {
            let present = generation_of(cluster, &input).await?;
            Ok::<_, Failure>(present.is_some_and(|present| present != known).then_some(input))
        })
        .buffer_unordered(LOOKUPS);
    while let Some(changed) = lookups.next().await {
        if let Some(input) = changed? {
            return Ok(Some(format!("the operator did not look at the present {input}")));
        }
    }
    Ok(None)
}

/// The generations that the status was computed from. What it looked for and did not find is not among its `inputs`:
/// such objects, as far as the Stack names them, have the generation 0 here, so that one which is there now is noticed.
fn inputs(stack: &Stack) -> BTreeMap<String, i64> {
    let imports = stack.spec.imports.iter().flat_map(|Import { catalog, stack }| {
        let catalog = catalog.as_ref().map(|name| format!("Catalog/{name}"));
        catalog.into_iter().chain(stack.as_ref().map(|name| format!("Stack/{name}")))
    });
    let status = stack.status.as_ref();
    let stores = status.into_iter().flat_map(|status| &status.secrets).map(|secret| secret.store.clone());
    let mut inputs: BTreeMap<String, i64> = imports.chain(stores).map(|input| (input, 0)).collect();
    inputs.extend(status.into_iter().flat_map(|status| status.inputs.clone()));
    inputs
}

/// Whether the echo is of this request, or of a later one of somebody else, which covers it.
fn is_handled(requested: Timestamp, handled: Option<&str>) -> bool {
    handled.is_some_and(|handled| {
        handled == stamp(requested) || handled.parse::<Timestamp>().is_ok_and(|handled| handled > requested)
    })
}

/// The present generation of an input; 0 if it does not exist; `None` if the user may not know, or nobody can.
async fn generation_of(cluster: &Cluster, input: &str) -> Result<Option<i64>, Failure> {
    let Some((kind, name)) = input.split_once('/').filter(|(_, name)| is_object_name(name)) else { return Ok(None) };
    let (client, namespace) = (cluster.client.clone(), cluster.namespace.as_str());
    let found = match kind {
        "Catalog" => Api::<Catalog>::all(client).get_metadata_opt(name).await.map(|found| found.map(generation)),
        "ClusterStore" => {
            Api::<ClusterStore>::all(client).get_metadata_opt(name).await.map(|found| found.map(generation))
        }
        "Store" => {
            Api::<Store>::namespaced(client, namespace).get_metadata_opt(name).await.map(|found| found.map(generation))
        }
        "Stack" => {
            Api::<Stack>::namespaced(client, namespace).get_metadata_opt(name).await.map(|found| found.map(generation))
        }
        // A kind of a later version: this one cannot tell.
        _ => return Ok(None),
    };
    match found {
        Ok(generation) => Ok(Some(generation.unwrap_or(0))),
        Err(error) if is_forbidden(&error) => Ok(None),
        Err(error) => Err(request_failed(&format!("read {input}"), &error)),
    }
}

fn generation<K>(object: kube::core::PartialObjectMeta<K>) -> i64 {
    object.metadata.generation.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_echo_counts_if_it_is_ours_or_later() {
        let ours: Timestamp = "2026-01-01T00:00:00.123456789Z".parse().unwrap();
        assert_eq!(stamp(ours), "2026-01-01T00:00:00.123456789Z");
        for (handled, counts) in [
            (None, false),
            (Some("2026-01-01T00:00:00.123456788Z"), false),
            (Some("2026-01-01T00:00:00.123456789Z"), true),
            (Some("2026-01-01T00:00:01Z"), true),
            (Some("now"), false),
        ] {
            assert_eq!(is_handled(ours, handled), counts, "{handled:?}");
        }
    }
}
