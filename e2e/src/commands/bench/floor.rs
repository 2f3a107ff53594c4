//! The floor: the same writes by a writer that does nothing else.

use std::time::Instant;

use e2e::ControlPlane;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::load::{CONNECTIONS, stack, stack_name, stacks, target_name};

/// Seconds for N Secrets created and N statuses written, over 64 connections, in a namespace of their own. No operator
/// may run.
pub(super) async fn measure(control_plane: &ControlPlane, namespace: &str, count: usize) -> anyhow::Result<f64> {
    control_plane
        .apply_yaml(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}).to_string())
        .await?;
    let stacks = stacks(control_plane, namespace).await?;
    let parameters = PostParams::default();
    futures::stream::iter(0..count)
        .map(|number| {
            let (stacks, parameters) = (&stacks, &parameters);
            async move {
                stacks.create(parameters, &serde_json::from_value(stack(number, None))?).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CONNECTIONS)
        .try_collect::<Vec<()>>()
        .await?;

    let secrets: Api<Secret> = Api::namespaced(control_plane.client().await?, namespace);
    let started = Instant::now();
    futures::stream::iter(0..count)
        .map(|number| {
            let (secrets, stacks, parameters) = (&secrets, &stacks, &parameters);
            async move {
                secrets.create(parameters, &serde_json::from_value(target(number))?).await?;
                let patch = Patch::Merge(status(number));
                stacks.patch_status(&stack_name(number), &PatchParams::default(), &patch).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CONNECTIONS)
        .try_collect::<Vec<()>>()
        .await?;
    let seconds = started.elapsed().as_secs_f64();

    // The operator must not find these.
    stacks.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(seconds)
}

/// A Secret as the operator writes it.
fn target(number: usize) -> Value {
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
        "stringData": {"DB_USER": "orders", "DB_PASSWORD": format!("value-{number}"), "DATADOG_API_KEY": "0123456789"},
    })
}

/// A status as the operator writes it.
fn status(number: usize) -> Value {
    let time = "2026-01-01T00:00:00Z";
    let secret = |name: &str, store: &str, key: String| {
        json!({
            "component": "terraform/app", "name": name, "state": "Initialized", "required": true, "scope": "instance",
            "store": store, "backendKey": key, "origin": "component", "lastChanged": time,
        })
    };
    let object = format!("atmos.{}.app", stack_name(number));
    json!({"status": {
        "observedGeneration": 1,
        "inputs": {"Store/files": 1, "Store/local": 1},
        "initialized": "3/3",
        "stores": "files, local",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Synced", "message": "1 target equals what the stores hold",
            "observedGeneration": 1, "lastTransitionTime": time,
        }],
        "targets": [{
            "name": target_name(number), "component": "terraform/app", "ready": true, "resourceVersion": "123",
            "lastChanged": time,
        }],
        "secrets": [
            secret("DATADOG_API_KEY", "Store/files", "plat-ue1-prod.enc.yaml#DATADOG_API_KEY".to_owned()),
            secret("DB_PASSWORD", "Store/local", format!("{object}#DB_PASSWORD")),
            secret("DB_USER", "Store/local", format!("{object}#DB_USER")),
        ],
    }})
}
