//! Stores outside the cluster: what a refresh asks of them, and what one that hangs costs its neighbours.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::{ControlPlane, Fault, FaultProxy, Matching, wait_until};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::latency;
use super::load::{Grant, Load, apply, create_stacks, merged, stacks, wait_all_ready};
use super::operator::Operator;
use super::report::{Latency, Neighbours, StoreRefresh};
use super::responder::Responder;

/// Each call takes so long, as to a region nearby.
const LATENCY: Duration = Duration::from_millis(10);
/// Keys of the smaller stores, each wanted by all Stacks of its store.
const FEW: usize = 200;
const SHARING: usize = 4;
/// Keys of one Stack of the large store.
const KEYS_OF_A_STACK: usize = 100;
const INTERVAL: Duration = Duration::from_secs(30);
/// Without a call for so long a round is over: far longer than the pace spreads calls, and shorter than the interval.
const PAUSE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(300);
/// Faster than the machine, so that the pace is none.
const UNPACED: u32 = 10_000;

/// Stacks of the store that hangs: many times as many as are worked on at once.
const HUNG: usize = 200;
/// Stacks beside it.
const BESIDE: usize = 200;

const NAMESPACE: &str = "outside";

/// A store of the benchmark.
struct Kind {
    name: &'static str,
    /// The field of its spec.
    field: &'static str,
    batch: usize,
    /// Calls a second that the operator makes by default.
    per_second: u32,
}

const KINDS: [Kind; 3] = [
    Kind { name: "secrets-manager", field: "awsSecretsManager", batch: 20, per_second: 50 },
    Kind { name: "parameters", field: "awsSsm", batch: 10, per_second: 20 },
    Kind { name: "vault", field: "vault", batch: 1, per_second: 100 },
];

const LARGE: &str = "large";

impl Kind {
    fn store(&self, name: &str, url: &str, more: &Value) -> Value {
        let start = if self.field == "awsSsm" { "/" } else { "" };
        let provider = if self.field == "vault" {
            json!({"address": url, "mount": "secret", "auth": {"token": {"secret": "credentials", "key": "token"}}})
        } else {
            json!({"region": "us-east-1", "endpoint": url, "auth": {"secret": {"name": "credentials"}}})
        };
        let seconds = format!("{}s", INTERVAL.as_secs());
        let spec = json!({"prefix": format!("{start}{name}"), "minRefreshInterval": seconds, self.field: provider});
        let spec = merged(spec, more);
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
    }
}

/// A Stack of so many keys in the scope of the Atmos stack `stack`.
fn stack(name: &str, store: &str, stack: &str, keys: usize) -> Value {
    let vars: serde_json::Map<String, Value> =
        (0..keys).map(|key| (format!("K{key:03}"), json!({"required": true}))).collect();
    json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack", "metadata": {"name": name},
        "spec": {"name": stack, "defaultStore": store, "refreshInterval": format!("{}s", INTERVAL.as_secs()),
            "secrets": {"vars": vars}, "components": {"terraform": {"app": {}}}},
    })
}

/// Starts an operator that may connect to this machine.
async fn start(control_plane: &ControlPlane, program: &Path) -> anyhow::Result<Operator> {
    Operator::start_with(control_plane, program, &["--allow-loopback-endpoints"]).await
}

/// The namespace with what the stores log in with.
async fn prepare(control_plane: &ControlPlane) -> anyhow::Result<()> {
    let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "atmos-secrets-operator-namespace"});
    let credentials = json!({"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "example", "token": "example"});
    let documents = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata("operator"),
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"}]}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("credentials"), "stringData": credentials}),
    ];
    apply(control_plane, &documents).await
}

/// Refreshes of each kind of store, and of a large one with `keys` keys, with and without the pace that is usual.
pub(super) async fn refreshes(
    control_plane: &ControlPlane,
    program: &Path,
    keys: usize,
) -> anyhow::Result<Vec<StoreRefresh>> {
    let responder = Responder::start(LATENCY).await?;
    let [secrets_manager, _, _] = &KINDS;
    prepare(control_plane).await?;
    let small = KINDS.iter().map(|kind| kind.store(kind.name, &responder.url(), &json!({})));
    let stores: Vec<Value> = small.chain([secrets_manager.store(LARGE, &responder.url(), &json!({}))]).collect();
    apply(control_plane, &stores).await?;
    let sharing = KINDS.iter().flat_map(|kind| {
        (0..SHARING).map(move |number| stack(&format!("{}-{number}", kind.name), kind.name, kind.name, FEW))
    });
    let large = (0..keys.div_ceil(KEYS_OF_A_STACK)).map(|number| {
        let name = format!("{LARGE}-{number}");
        stack(&name, LARGE, &name, KEYS_OF_A_STACK.min(keys - number * KEYS_OF_A_STACK))
    });
    create_stacks(control_plane, NAMESPACE, sharing.chain(large)).await?;
    let operator = start(control_plane, program).await?;
    wait_all_ready(control_plane, NAMESPACE).await?;
    let few = KINDS.iter().map(|kind| round(&responder, kind, kind.name, FEW, SHARING));
    let mut measured = futures::future::try_join_all(few).await?;
    let stacks = keys.div_ceil(KEYS_OF_A_STACK);
    measured.push(round(&responder, secrets_manager, LARGE, keys, stacks).await?);
    let unpaced = json!({"rateLimit": {"perSecond": UNPACED}});
    apply(control_plane, &[secrets_manager.store(LARGE, &responder.url(), &unpaced)]).await?;
    let unpaced = Kind { per_second: UNPACED, ..*secrets_manager };
    // What the change of the store makes the operator read comes before the round that is measured.
    let before = responder.calls(LARGE).len();
    wait_until("the changed store to be read", LIMIT, async || {
        let calls = responder.calls(LARGE).len();
        if calls > before { Ok(()) } else { Err(calls) }
    })
    .await?;
    measured.push(round(&responder, &unpaced, LARGE, keys, stacks).await?);
    operator.stop().await?;
    Ok(measured)
}

/// One refresh, from the first call to the last answer.
async fn round(
    responder: &Responder,
    kind: &Kind,
    prefix: &str,
    keys: usize,
    stacks: usize,
) -> anyhow::Result<StoreRefresh> {
    let is_quiet = || responder.calls(prefix).last().is_some_and(|call| call.answered.elapsed() >= PAUSE);
    wait_until("the end of a refresh", LIMIT, async || if is_quiet() { Ok(()) } else { Err("calls go on") }).await?;
    let before = responder.calls(prefix).len();
    let calls = wait_until("a refresh", LIMIT, async || {
        let calls = responder.calls(prefix).split_off(before);
        let read: usize = calls.iter().map(|call| call.keys).sum();
        anyhow::ensure!(read >= keys && is_quiet(), "{read} of {keys} keys were read");
        Ok(calls)
    })
    .await?;
    let first = calls.iter().map(|call| call.asked).min().context("no call")?;
    let last = calls.iter().map(|call| call.answered).max().context("no call")?;
    Ok(StoreRefresh {
        store: kind.field.to_owned(),
        stacks,
        keys,
        keys_in_one_call: kind.batch,
        calls: calls.len(),
        calls_per_second: kind.per_second,
        latency_milliseconds: LATENCY.as_secs_f64() * 1000.0,
        seconds: last.saturating_duration_since(first).as_secs_f64(),
    })
}

/// Edits of Stacks while a store hangs that they do not use, against the same edits before and after.
pub(super) async fn neighbours(control_plane: &ControlPlane, program: &Path) -> anyhow::Result<Neighbours> {
    let responder = Responder::start(Duration::ZERO).await?;
    let proxy = FaultProxy::to_http(&responder.url()).await?;
    let [secrets_manager, _, _] = &KINDS;
    prepare(control_plane).await?;
    // No call is given up while edits are measured.
    apply(control_plane, &[secrets_manager.store("hung", &proxy.url(), &json!({"timeout": "5m"}))]).await?;
    let wanted = (0..HUNG).map(|number| stack(&format!("hung-{number}"), "hung", &format!("hung-{number}"), 1));
    create_stacks(control_plane, NAMESPACE, wanted).await?;
    let beside = Load::create(control_plane, "beside", BESIDE, Grant::Watch, None).await?;
    let operator = start(control_plane, program).await?;
    wait_all_ready(control_plane, NAMESPACE).await?;
    beside.wait_until_ready(control_plane, Instant::now()).await?;

    let before = latency::measure(control_plane, &beside, "before").await?;
    let memory_before = operator.memory()?;
    let hung = proxy.inject(Fault::Stall, Matching::any());
    let api = stacks(control_plane, NAMESPACE).await?;
    let edit = Patch::Merge(json!({"spec": {"targetDefaults": {"annotations": {"bench/edit": "hung"}}}}));
    for number in 0..HUNG {
        api.patch(&format!("hung-{number}"), &PatchParams::default(), &edit).await?;
    }
    let all_wait = async || {
        let waiting = operator.metric("atmos_secrets_queue{place=\"waiting\"}").await?;
        anyhow::ensure!(waiting as usize == HUNG, "{waiting} of {HUNG} wait");
        anyhow::Ok(())
    };
    wait_until("every sync of the store that hangs to wait", LIMIT, all_wait).await?;
    let grown = operator.memory()?.anonymous as f64 - memory_before.anonymous as f64;
    let during = latency::measure(control_plane, &beside, "during").await?;
    all_wait().await.context("the store did not hang all the time")?;
    hung.remove();
    proxy.cut_connections();
    wait_all_ready(control_plane, NAMESPACE).await?;
    let after = latency::measure(control_plane, &beside, "after").await?;
    operator.stop().await?;
    let Latency { edits, .. } = during;
    let memory_of_one = grown / HUNG as f64;
    Ok(Neighbours { waiting: HUNG, memory_of_one, edits, undisturbed: vec![before, after], hung: during })
}
