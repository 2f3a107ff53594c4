//! The floor: the same writes by a writer that does nothing else.

use std::time::Instant;

use e2e::ControlPlane;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::load::{CONNECTIONS, create_stacks, merged, stack, stack_name, stacks, target_name};

/// Seconds for N Secrets created and N statuses written, over 64 connections, in a namespace of their own. No operator
/// may run.
pub(super) async fn creations(control_plane: &ControlPlane, namespace: &str, count: usize) -> anyhow::Result<f64> {
    let writer = Writer::prepare(control_plane, namespace, count).await?;
    let seconds = writer.write(Round::Create).await?;
    writer.clean().await?;
    Ok(seconds)
}

/// The same for N Secrets that are there already and get another value, and for what a status says of that.
pub(super) async fn updates(control_plane: &ControlPlane, namespace: &str, count: usize) -> anyhow::Result<f64> {
    let writer = Writer::prepare(control_plane, namespace, count).await?;
    writer.write(Round::Create).await?;
    let seconds = writer.write(Round::Update).await?;
    writer.clean().await?;
    Ok(seconds)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Create,
    Update,
}

struct Writer {
    secrets: Api<Secret>,
    stacks: Api<DynamicObject>,
    count: usize,
}

impl Writer {
    /// A namespace with Stacks whose statuses are written.
    async fn prepare(control_plane: &ControlPlane, namespace: &str, count: usize) -> anyhow::Result<Self> {
        let metadata = json!({"name": namespace});
        control_plane
            .apply_yaml(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string())
            .await?;
        create_stacks(control_plane, namespace, (0..count).map(|number| stack(number, None))).await?;
        let secrets = Api::namespaced(control_plane.client().await?, namespace);
        Ok(Self { secrets, stacks: stacks(control_plane, namespace).await?, count })
    }

    /// Seconds for a Secret and a status of each Stack.
    async fn write(&self, round: Round) -> anyhow::Result<f64> {
        let started = Instant::now();
        futures::stream::iter(0..self.count)
            .map(|number| self.write_one(number, round))
            .buffer_unordered(CONNECTIONS)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(started.elapsed().as_secs_f64())
    }

    async fn write_one(&self, number: usize, round: Round) -> anyhow::Result<()> {
        let parameters = PostParams::default();
        let secret = serde_json::from_value(target(number, round))?;
        match round {
            Round::Create => self.secrets.create(&parameters, &secret).await?,
            Round::Update => self.secrets.replace(&target_name(number), &parameters, &secret).await?,
        };
        let patch = Patch::Merge(status(number, round));
        self.stacks.patch_status(&stack_name(number), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The operator must not find these.
    async fn clean(self) -> anyhow::Result<()> {
        self.stacks.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Ok(())
    }
}

/// A Secret as the operator writes it.
fn target(number: usize, round: Round) -> Value {
    let shared = match round {
        Round::Create => "0123456789",
        Round::Update => "9876543210",
    };
    json!({
        "metadata": {
            "name": target_name(number),
            "labels": {
                "app.kubernetes.io/managed-by": "atmos-secrets-operator", "secrets.atmos.tools/component": "app",
                "secrets.atmos.tools/managed": "true", "secrets.atmos.tools/stack": stack_name(number),
            },
            "annotations": {
                "secrets.atmos.tools/stack": stack_name(number),
                "secrets.atmos.tools/digest": format!("36873442.{number:064x}"),
            },
        },
        "type": "Opaque",
        "stringData": {"DB_USER": "orders", "DB_PASSWORD": format!("value-{number}"), "DATADOG_API_KEY": shared},
    })
}

/// A status as the operator writes it: whole, or what changes of it.
fn status(number: usize, round: Round) -> Value {
    let time = "2026-01-01T00:00:00Z";
    let (version, changed) = match round {
        Round::Create => ("123", time),
        Round::Update => ("456", "2026-01-01T00:00:01Z"),
    };
    let secret = |name: &str, store: &str, key: String, changed: &str| {
        json!({
            "component": "terraform/app", "name": name, "state": "Initialized", "required": true, "scope": "instance",
            "store": store, "backendKey": key, "origin": "component", "lastChanged": changed,
        })
    };
    let object = format!("atmos.{}.app", stack_name(number));
    let changing = json!({
        "targets": [{
            "name": target_name(number), "component": "terraform/app", "ready": true, "resourceVersion": version,
            "lastChanged": changed,
        }],
        "secrets": [
            secret("DATADOG_API_KEY", "Store/files", "plat-ue1-prod.enc.yaml#DATADOG_API_KEY".to_owned(), changed),
            secret("DB_PASSWORD", "Store/local", format!("{object}#DB_PASSWORD"), time),
            secret("DB_USER", "Store/local", format!("{object}#DB_USER"), time),
        ],
    });
    let status = match round {
        Round::Update => changing,
        Round::Create => merged(
            json!({
                "observedGeneration": 1,
                "inputs": {"Store/files": 1, "Store/local": 1},
                "initialized": "3/3",
                "stores": "files, local",
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Synced",
                    "message": "1 target equals what the stores hold", "observedGeneration": 1,
                    "lastTransitionTime": time,
                }],
            }),
            &changing,
        ),
    };
    json!({"status": status})
}
