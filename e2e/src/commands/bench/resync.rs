//! One value of one SOPS file changes, and all Stacks want it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use e2e::{ControlPlane, wait_until};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::load::{apply, create_stacks, stack_name, stacks, wait_all_ready};
use super::operator::Operator;
use super::report::Resync;
use super::sops::{FILE, Sops, name, values};
use super::{SETTLE, floor, quiet};

const NAMESPACE: &str = "resync";
const FILES: &str = "sops-files";
/// The key of each Secret that gets the shared value.
const SHARED: &str = "DATADOG_API_KEY";
const NEW: &str = "value-0000-fedcba9876543210";
/// Each decrypts the file, which is the only one: one call reads all keys that it is asked for.
const READS: &str = "atmos_secrets_store_calls_total{operation=\"read\",outcome=\"ok\"}";
const LIMIT: Duration = Duration::from_secs(300);

/// From the change of a file of `count` values until each of so many Stacks has written its Secret and its status.
pub(super) async fn measure(
    control_plane: &ControlPlane,
    program: &Path,
    count: usize,
    wanting: usize,
) -> anyhow::Result<Resync> {
    let before = floor::updates(control_plane, "floor-before", wanting).await?;
    let sops = Sops::with(&values(count)).await?;
    prepare(control_plane, &sops).await?;
    create_stacks(control_plane, NAMESPACE, (0..wanting).map(|number| stack(number, count))).await?;
    let operator = Operator::start(control_plane, program).await?;
    wait_all_ready(control_plane, NAMESPACE).await?;
    tokio::time::sleep(SETTLE).await;
    let mut resync = change(control_plane, &operator, &sops, wanting).await?;
    operator.stop().await?;
    let after = floor::updates(control_plane, "floor-after", wanting).await?;
    resync.values = count;
    resync.floors = vec![before, after];
    Ok(resync)
}

/// Changes the file and looks at what comes of it.
async fn change(
    control_plane: &ControlPlane,
    operator: &Operator,
    sops: &Sops,
    wanting: usize,
) -> anyhow::Result<Resync> {
    sops.set(&name(0), NEW)?;
    let file = std::fs::read_to_string(sops.file())?;
    let (mark, processor) = (control_plane.audit_mark()?, operator.processor_seconds()?);
    let (syncs_before, reads_before) = (syncs(operator).await?, operator.metric(READS).await?);
    let files: Api<ConfigMap> = Api::namespaced(control_plane.client().await?, NAMESPACE);
    let patch = Patch::Merge(json!({"data": {FILE: file}}));
    let started = Timestamp::now();
    files.patch(FILES, &PatchParams::default(), &patch).await?;
    // Whoever looks at Secrets meanwhile takes the API server's time. So the operator says when it may be worth it, and
    // the audit log, when it was.
    wait_until("the Stacks to be synced", LIMIT, async || {
        let more = syncs(operator).await? - syncs_before;
        anyhow::ensure!(more >= wanting as f64, "{more} of {wanting} syncs");
        anyhow::Ok(())
    })
    .await?;
    wait_until("every Secret to have the new value", LIMIT, async || all_have(control_plane, wanting).await).await?;
    let processor_seconds = operator.processor_seconds()? - processor;
    tokio::time::sleep(SETTLE).await;
    let written = control_plane.audit_events_since(mark)?.into_iter().filter(quiet::is_write).map(|event| event.at);
    let ended = written.max().context("the operator wrote nothing")?;
    Ok(Resync {
        stacks: wanting,
        seconds: ended.duration_since(started).as_secs_f64(),
        processor_seconds,
        decryptions: (operator.metric(READS).await? - reads_before) as u64,
        requests: quiet::count(control_plane, mark)?,
        ..Resync::default()
    })
}

/// Syncs that went well so far, of both lanes.
async fn syncs(operator: &Operator) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for lane in ["user", "background"] {
        // A series that was never counted is not there.
        let series = format!("atmos_secrets_syncs_total{{lane=\"{lane}\",result=\"ok\"}}");
        sum += operator.metric(&series).await.unwrap_or_default();
    }
    Ok(sum)
}

/// Whether every Secret has the new value and every status tells of exactly that Secret.
async fn all_have(control_plane: &ControlPlane, wanting: usize) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(control_plane.client().await?, NAMESPACE);
    let list = secrets.list(&ListParams::default().labels("secrets.atmos.tools/managed=true")).await?;
    let new = |secret: &Secret| {
        secret.data.as_ref().and_then(|data| data.get(SHARED)).is_some_and(|value| value.0 == NEW.as_bytes())
    };
    let written: BTreeMap<String, String> = list
        .items
        .iter()
        .filter(|secret| new(secret))
        .map(|secret| (secret.name_any(), secret.resource_version().unwrap_or_default()))
        .collect();
    anyhow::ensure!(written.len() == wanting, "{} of {wanting} Secrets", written.len());
    let list = stacks(control_plane, NAMESPACE).await?.list(&ListParams::default()).await?;
    let told = list.items.iter().filter(|stack| {
        let target = stack.data.pointer("/status/targets/0");
        let field = |name: &str| target.and_then(|target| target.get(name)).and_then(Value::as_str);
        field("name").is_some_and(|name| written.get(name).map(String::as_str) == field("resourceVersion"))
    });
    let told = told.count();
    anyhow::ensure!(told == wanting, "{told} of {wanting} statuses");
    Ok(())
}

/// A Stack with the value that all share and two that are its own as far as there are enough.
fn stack(number: usize, values: usize) -> Value {
    let own = |which: usize| 1 + (2 * number + which) % values.saturating_sub(1).max(1);
    let var = |value: usize| json!({"backendKey": format!("{FILE}#{}", name(value)), "required": true});
    json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack", "metadata": {"name": stack_name(number)},
        "spec": {"defaultStore": "files", "components": {"terraform": {"app": {"secrets": {"vars": {
            "DB_USER": var(own(0)), "DB_PASSWORD": var(own(1)), SHARED: var(0),
        }}}}}},
    })
}

/// The namespace with the store and its file.
async fn prepare(control_plane: &ControlPlane, sops: &Sops) -> anyhow::Result<()> {
    let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "atmos-secrets-operator-namespace"});
    let (file, identity) = (std::fs::read_to_string(sops.file())?, std::fs::read_to_string(&sops.identity)?);
    apply(
        control_plane,
        &[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": metadata("operator"), "roleRef": role, "subjects": [{"kind": "ServiceAccount",
                "name": "atmos-secrets-operator", "namespace": "atmos-secrets"}]}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(FILES), "data": {FILE: file}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("sops-age-key"),
                "stringData": {"age.agekey": identity}}),
            json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": metadata("files"),
                "spec": {"sops": {"source": {"configMaps": [FILES]},
                    "age": {"keys": [{"secret": "sops-age-key", "key": "age.agekey"}]}}}}),
        ],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stack_wants_the_value_that_changes_and_no_other_that_is_not_there() {
        for (number, own) in [(0, ["VALUE_0001", "VALUE_0002"]), (4, ["VALUE_0009", "VALUE_0001"])] {
            let stack = stack(number, 10);
            let key = |name: &str| {
                let key = stack.pointer(&format!("/spec/components/terraform/app/secrets/vars/{name}/backendKey"));
                key.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            assert_eq!(key(SHARED), "values.enc.yaml#VALUE_0000");
            assert_eq!([key("DB_USER"), key("DB_PASSWORD")], own.map(|name| format!("values.enc.yaml#{name}")));
        }
    }
}
