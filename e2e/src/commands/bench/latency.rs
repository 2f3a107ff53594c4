//! From an edit of a Stack to its Secret, while refreshes of others run.

use std::time::{Duration, Instant};

use e2e::ControlPlane;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use tokio::sync::mpsc;

use super::load::{Load, stack_name, stacks, target_name};
use super::report::Latency;

const EDITS: usize = 200;
const BETWEEN: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(30);
const MARK: &str = "bench/edit";

/// Edits an annotation of the targets, one Stack after the other, and waits for each Secret to carry it. `run` tells the
/// edits from those of other measurements.
pub(super) async fn measure(control_plane: &ControlPlane, load: &Load, run: &str) -> anyhow::Result<Latency> {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let targets: Api<PartialObjectMeta<Secret>> = Api::namespaced(control_plane.client().await?, &load.namespace);
    let watching = tokio::spawn(async move {
        let ours = watcher::Config::default().labels("secrets.atmos.tools/managed=true");
        let mut events = std::pin::pin!(watcher(targets, ours));
        while let Ok(Some(event)) = events.try_next().await {
            match event {
                Event::Apply(object) => {
                    if let Some(edit) = object.annotations().get(MARK) {
                        let _ = sender.send((object.name_any(), edit.clone(), Instant::now()));
                    }
                }
                Event::Init | Event::InitApply(_) | Event::InitDone | Event::Delete(_) => {}
            }
        }
    });
    let stacks = stacks(control_plane, &load.namespace).await?;
    // One edit that is not counted, after which the watch is known to run.
    let mut milliseconds = Vec::with_capacity(EDITS);
    for edit in 0..=EDITS {
        // Spread over all Stacks; the step shares no factor with any usual count.
        let number = (edit * 7919) % load.count;
        let mark = format!("{run}-{edit}");
        let patch = json!({"spec": {"targetDefaults": {"annotations": {MARK: mark}}}});
        stacks.patch(&stack_name(number), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let edited = Instant::now();
        let arrived = tokio::time::timeout(LIMIT, async {
            while let Some((name, found, at)) = seen.recv().await {
                if name == target_name(number) && found == mark {
                    return Some(at);
                }
            }
            None
        })
        .await;
        let Ok(Some(at)) = arrived else {
            anyhow::bail!("edit {edit} of {} did not reach its Secret", stack_name(number))
        };
        if edit > 0 {
            milliseconds.push(at.saturating_duration_since(edited).as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    watching.abort();
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((milliseconds.len() as f64 * share).ceil() as usize).saturating_sub(1);
        milliseconds.get(index).copied().unwrap_or_default()
    };
    Ok(Latency {
        edits: EDITS,
        mean_milliseconds: milliseconds.iter().sum::<f64>() / EDITS as f64,
        p50_milliseconds: at(0.50),
        p99_milliseconds: at(0.99),
    })
}
