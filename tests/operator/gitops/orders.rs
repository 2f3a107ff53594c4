//! Its objects in whatever order they come.

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use kube::api::DeleteParams;
use rand::RngExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::recording::Recording;
use super::site::{LIMIT, NAMESPACE, STACK, Site, name, objects};

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
    /// Applies one object and waits until the Stack says that this is in its way.
    async fn then_waits_for(&self, object: &Value, reason: Reason) -> anyhow::Result<()> {
        self.apply(object, "argocd-controller").await?;
        self.wait_stack("False", reason).await
    }

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
        self.cluster.apply_yaml(include_str!("../../../examples/install/rbac.yaml")).await
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
