//! `examples/gitops` in a cluster: its objects in whatever order they come, and applied again by several tools.

#[path = "../chart/helm.rs"]
mod helm;
#[path = "../gitops/judge.rs"]
mod judge;
mod recording;
#[path = "../gitops/render.rs"]
mod render;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, TypeMeta};
use rand::RngExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Cluster, Operator, Options};
use recording::Recording;

const NAMESPACE: &str = "payments";
const STACK: &str = "plat-ue1-prod";
/// ClusterStores have their sources where the operator may only `get`: an absent one is looked for after 15 seconds, then
/// after 30.
const LIMIT: Duration = Duration::from_secs(120);

/// A cluster with an operator, and with the namespace, without which the API server takes nothing that is in it.
struct Site {
    cluster: Arc<Cluster>,
    operator: Arc<Operator>,
    client: Client,
}

impl Site {
    async fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let operator = Operator::start(&cluster, Options::default()).await?;
        let client = cluster.client().await?;
        let site = Self { cluster, operator, client };
        let namespace =
            render::kustomize("payments/base").await?.into_iter().find(|object| object["kind"] == "Namespace");
        site.apply(&namespace.context("no Namespace is rendered")?, "argocd-controller").await?;
        Ok(site)
    }

    /// Where objects of this kind are.
    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
        let resource = ApiResource::from_gvk(&(&types).try_into().unwrap());
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies one object as a GitOps tool does.
    async fn apply(&self, object: &Value, manager: &str) -> anyhow::Result<DynamicObject> {
        let parameters = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            // The operator is installed already; here its Role becomes that of other values of the chart.
            force: object["kind"] == "Role",
            ..PatchParams::apply(manager)
        };
        let applied = self.api(object).patch(name(object), &parameters, &Patch::Apply(object)).await;
        applied.with_context(|| format!("could not apply {} {}", object["kind"], name(object)))
    }

    /// Applies one object and waits until the Stack says that this is in its way.
    async fn then_waits_for(&self, object: &Value, reason: Reason) -> anyhow::Result<()> {
        self.apply(object, "argocd-controller").await?;
        self.wait_stack("False", reason).await
    }

    async fn wait_stack(&self, status: &str, reason: Reason) -> anyhow::Result<()> {
        let what = format!("{STACK} to be {status}, {reason}");
        e2e::wait_until(what, LIMIT, async || {
            let stack = self.cluster.get_json(["stack", STACK, "--namespace", NAMESPACE]).await?;
            let conditions = stack["status"]["conditions"].as_array().context("no conditions yet")?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no Ready yet")?;
            anyhow::ensure!(ready["status"] == status && ready["reason"] == reason.as_str(), "{ready}");
            Ok(())
        })
        .await
    }

    /// Waits until everything is ready, and the Secrets are those that the files hold.
    async fn wait_all_ready(&self) -> anyhow::Result<()> {
        self.wait_stack("True", Reason::Synced).await?;
        for object in [
            ["stack", "orders", "-n", NAMESPACE],
            ["store", "files", "-n", NAMESPACE],
            ["clusterstore", "platform", "-n", ""],
        ] {
            e2e::wait_until(format!("{} {} to be healthy", object[0], object[1]), LIMIT, async || {
                let (health, message) = judge::argocd(&self.cluster.get_json(object).await?);
                anyhow::ensure!(health == "Healthy", "{health}: {message}");
                Ok(())
            })
            .await?;
        }
        assert_eq!(self.keys("orders-db").await?, ["DB_PASSWORD", "DB_USER"]);
        assert_eq!(self.keys("orders-api").await?, ["DATADOG_API_KEY", "LOG_LEVEL", "PAYMENT_API_KEY"]);
        Ok(())
    }

    /// The keys of a Secret, after a search for its values in the operator's log.
    async fn keys(&self, secret: &str) -> anyhow::Result<Vec<String>> {
        let secret = self.cluster.get_json(["secret", secret, "--namespace", NAMESPACE]).await?;
        let data = secret["data"].as_object().context("no data")?;
        let log = std::fs::read_to_string(self.operator.log())?;
        for value in data.values() {
            let value = String::from_utf8(STANDARD.decode(value.as_str().unwrap())?)?;
            assert!(value.len() < 10 || !log.contains(&value), "a value of the example is in the log");
        }
        Ok(data.keys().cloned().collect())
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Everything that the cluster needs but the namespace, as a tool would apply it in waves.
async fn objects() -> anyhow::Result<Vec<Value>> {
    let values = render::path("operator/values.yaml");
    let chart = helm::objects(&["--values", values.to_str().unwrap()]).await;
    let mut all = vec![helm::find(&chart, "Role", "atmos-secrets-operator").clone()];
    let identity = std::fs::read(render::path("../quickstart/PUBLIC-demo-identity.txt"))?;
    for (namespace, name) in [("atmos-secrets", "platform-age-key"), (NAMESPACE, "sops-age-key")] {
        all.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "data": {"age.agekey": STANDARD.encode(&identity)},
        }));
    }
    all.extend(render::kustomize("platform").await?);
    all.extend(render::kustomize("payments/prod").await?);
    all.retain(|object| object["kind"] != "Namespace");
    let wave = |object: &Value| match object["kind"].as_str().unwrap() {
        "Role" | "RoleBinding" => 0,
        "Catalog" | "ClusterStore" => 1,
        "ConfigMap" | "Secret" | "Store" => 2,
        "Stack" => 3,
        _ => 4,
    };
    all.sort_by_key(wave);
    assert_eq!(all.len(), 12, "what is not in here is not tried");
    Ok(all)
}

/// Takes an object out.
fn take(objects: &mut Vec<Value>, kind: &str, wanted: &str) -> Value {
    let index = objects.iter().position(|object| object["kind"] == kind && name(object) == wanted);
    objects.remove(index.unwrap_or_else(|| panic!("no {kind} {wanted}")))
}

#[tokio::test]
async fn the_worst_order_says_what_is_awaited_and_never_stalls() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let recording = Recording::start(&site.client).await?;
    let mut rest = objects().await?;
    for (kind, name, reason) in [
        ("Deployment", "orders-api", None),
        ("Stack", STACK, Some(Reason::CatalogNotFound)),
        ("Stack", "orders", Some(Reason::CatalogNotFound)),
        ("Catalog", "datadog", Some(Reason::GrantMissing)),
        ("Store", "files", Some(Reason::GrantMissing)),
        ("ClusterStore", "platform", Some(Reason::GrantMissing)),
        ("ConfigMap", "sops-files", Some(Reason::GrantMissing)),
        ("ConfigMap", "platform-sops-files", Some(Reason::GrantMissing)),
        ("Secret", "sops-age-key", Some(Reason::GrantMissing)),
        ("Secret", "platform-age-key", Some(Reason::GrantMissing)),
        ("Role", "atmos-secrets-operator", Some(Reason::GrantMissing)),
    ] {
        let object = take(&mut rest, kind, name);
        match reason {
            Some(reason) => {
                site.then_waits_for(&object, reason).await.with_context(|| format!("after {kind} {name}"))?
            }
            None => drop(site.apply(&object, "argocd-controller").await?),
        }
    }
    let grant = take(&mut rest, "RoleBinding", "atmos-secrets-operator");
    assert!(rest.is_empty(), "{rest:?}");
    site.apply(&grant, "argocd-controller").await?;
    site.wait_all_ready().await?;
    let reasons = recording.never_failed().await?;
    for reason in ["CatalogNotFound", "GrantMissing", "Synced"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }
    Ok(())
}

/// With the grant first, each absent object is named in turn.
#[tokio::test]
async fn every_absent_object_is_named_and_awaited() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let recording = Recording::start(&site.client).await?;
    let mut rest = objects().await?;
    let files = take(&mut rest, "ConfigMap", "sops-files");
    let no_files_yet = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sops-files", "namespace": NAMESPACE},
    });
    for (kind, name) in [("RoleBinding", "atmos-secrets-operator"), ("Role", "atmos-secrets-operator")] {
        site.apply(&take(&mut rest, kind, name), "argocd-controller").await?;
    }
    for (object, reason) in [
        (take(&mut rest, "Stack", STACK), Reason::CatalogNotFound),
        (take(&mut rest, "Catalog", "datadog"), Reason::CatalogNotFound),
        (take(&mut rest, "Stack", "orders"), Reason::NamespaceNotAllowed),
        (take(&mut rest, "ConfigMap", "platform-sops-files"), Reason::NamespaceNotAllowed),
        (take(&mut rest, "Secret", "platform-age-key"), Reason::NamespaceNotAllowed),
        (take(&mut rest, "ClusterStore", "platform"), Reason::BackendNotFound),
        (take(&mut rest, "Store", "files"), Reason::SourceNotFound),
        (take(&mut rest, "Secret", "sops-age-key"), Reason::SourceNotFound),
        (no_files_yet, Reason::ValueMissing),
    ] {
        site.then_waits_for(&object, reason).await.with_context(|| format!("after {object}"))?;
    }
    site.apply(&files, "argocd-controller").await?;
    site.apply(&take(&mut rest, "Deployment", "orders-api"), "argocd-controller").await?;
    assert!(rest.is_empty(), "{rest:?}");
    site.wait_all_ready().await?;
    let reasons = recording.never_failed().await?;
    for reason in ["NamespaceNotAllowed", "BackendNotFound", "SourceNotFound", "ValueMissing", "Synced"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }
    Ok(())
}

/// Orders of chance, after one of which failed: its seed, which the failure tells, becomes one of these.
const SEEDS: [u64; 2] = [1, 2];

#[tokio::test]
async fn any_order_ends_ready() -> anyhow::Result<()> {
    let site = Site::new().await?;
    for seed in SEEDS.into_iter().chain([rand::rng().random()]) {
        site.survives(seed).await.with_context(|| format!("the order of seed {seed}"))?;
    }
    Ok(())
}

impl Site {
    /// Applies everything in an order of chance, lets the operator look at each, and takes everything away again.
    async fn survives(&self, seed: u64) -> anyhow::Result<()> {
        let recording = Recording::start(&self.client).await?;
        let mut objects = objects().await?;
        objects.sort_by_cached_key(|object| Sha256::digest(format!("{seed} {} {}", object["kind"], name(object))));
        for object in &objects {
            self.apply(object, "argocd-controller").await?;
            self.wait_looked_at(object).await?;
        }
        self.wait_all_ready().await?;
        recording.never_failed().await?;
        let targets = ["orders-db", "orders-api"].map(
            |name| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}),
        );
        // Stacks first: they would write their Secrets again.
        objects.sort_by_key(|object| object["kind"] != "Stack");
        objects.retain(|object| object["kind"] != "Role");
        for object in objects.iter().chain(&targets) {
            self.delete(object).await?;
        }
        self.cluster.apply_yaml(include_str!("../../examples/install/rbac.yaml")).await
    }

    /// Waits until the operator has said something of an object that has a status of ours.
    async fn wait_looked_at(&self, object: &Value) -> anyhow::Result<()> {
        if !["Stack", "Store", "ClusterStore"].contains(&object["kind"].as_str().unwrap()) {
            return Ok(());
        }
        e2e::wait_until(format!("a look at {}", name(object)), LIMIT, async || {
            let found = self.api(object).get(name(object)).await?;
            let conditions = &found.data["status"]["conditions"];
            anyhow::ensure!(conditions.is_array(), "{}", found.data["status"]);
            Ok(())
        })
        .await
    }

    async fn delete(&self, object: &Value) -> anyhow::Result<()> {
        let api = self.api(object);
        api.delete(name(object), &DeleteParams::default()).await?;
        e2e::wait_until(format!("{} to be gone", name(object)), LIMIT, async || {
            anyhow::ensure!(api.get_opt(name(object)).await?.is_none(), "it is there");
            Ok(())
        })
        .await
    }
}
