//! Applied again, by several tools, and with the marks that these put on what they apply.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::render;
use super::site::{LIMIT, NAMESPACE, STACK, Site, name, objects};
use crate::harness::{Tenant, secret};

/// Runs kubectl on a folder of the example, which must have nothing to remark.
async fn kubectl(site: &Site, arguments: &[&str], folder: &str) -> anyhow::Result<String> {
    let folder = render::path(folder);
    let output = site.cluster.kubectl([arguments, &["-k", folder.to_str().unwrap()]].concat()).await?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success() && words.is_empty(), "kubectl {arguments:?}: {words}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What tells one version of each object from the next: of a Deployment, whose status is not ours, the generation.
async fn versions(site: &Site, objects: &[Value]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for object in objects {
        let found = site.api(object).get(name(object)).await?;
        let version = match object["kind"].as_str() {
            Some("Deployment") => found.metadata.generation.map(|generation| generation.to_string()),
            _ => found.metadata.resource_version.clone(),
        };
        versions.insert(format!("{} {}", object["kind"], name(object)), version.context("no version")?);
        // The schema writes no defaults into a spec, so that what is stored is what stands in git.
        if object["apiVersion"] == "secrets.atmos.tools/v1alpha1" {
            assert_eq!(found.data["spec"], object["spec"], "{} {}", object["kind"], name(object));
        }
    }
    Ok(versions)
}

#[tokio::test]
async fn what_is_applied_again_does_not_change() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let mut all = objects().await?;
    for object in all.iter().filter(|object| ["Role", "Secret"].contains(&object["kind"].as_str().unwrap())) {
        site.apply(object, "a-person").await?;
    }
    let apply = ["apply", "--server-side", "--validate=strict", "--field-manager=argocd-controller"];
    for folder in ["platform", "payments/prod"] {
        kubectl(&site, &apply, folder).await?;
    }
    site.wait_all_ready().await?;
    all.extend(
        ["orders-db", "orders-api"].map(
            |name| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}),
        ),
    );
    e2e::wait_until("the users to be counted", LIMIT, async || {
        for store in [["store", "files", "-n", NAMESPACE], ["clusterstore", "platform", "-n", ""]] {
            let status = &site.cluster.get_json(store).await?["status"];
            anyhow::ensure!(status["users"] == 1, "{status}");
        }
        Ok(())
    })
    .await?;

    let before = versions(&site, &all).await?;
    for folder in ["platform", "payments/prod"] {
        kubectl(&site, &apply, folder).await?;
        // It ends with 1 if there is a difference.
        let difference =
            kubectl(&site, &["diff", "--server-side", "--field-manager=argocd-controller"], folder).await?;
        assert_eq!(difference, "");
    }
    assert_eq!(versions(&site, &all).await?, before);

    // What a person asks for stays, and is in nobody's way; neither is a second tool that wants the same.
    let request = "secrets.atmos.tools/sync-requested-at=now";
    let asked = site.cluster.kubectl(["-n", NAMESPACE, "annotate", "stack", STACK, request]).await?;
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    for manager in ["--field-manager=argocd-controller", "--field-manager=kustomize-controller"] {
        kubectl(&site, &["apply", "--server-side", "--validate=strict", manager], "payments/prod").await?;
    }
    e2e::wait_until("the sync that was asked for", LIMIT, async || {
        let stack = site.cluster.get_json(["stack", STACK, "-n", NAMESPACE]).await?;
        anyhow::ensure!(stack["status"]["lastHandledSync"] == "now", "{}", stack["status"]);
        assert_eq!(stack["metadata"]["generation"], 1);
        assert_eq!(stack["metadata"]["annotations"]["secrets.atmos.tools/sync-requested-at"], "now");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A mark that came along would make the tool believe that the Secret is its own, not in git, and to be pruned.
#[tokio::test]
async fn marks_of_gitops_tools_stay_where_they_are() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    let marks = json!({
        "labels": {
            "app.kubernetes.io/instance": "payments",
            "argocd.argoproj.io/instance": "payments",
            "kustomize.toolkit.fluxcd.io/name": "payments",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        },
        "annotations": {
            "argocd.argoproj.io/tracking-id": "payments:secrets.atmos.tools/Stack:payments/prod",
            "argocd.argoproj.io/sync-wave": "1",
            "kustomize.toolkit.fluxcd.io/prune": "disabled",
        },
    });
    let marked = |kind: &str, name: &str, spec: Value| {
        let mut metadata = marks.clone();
        metadata["name"] = name.into();
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    tenant.values("atmos.prod.db", &[("PASSWORD", &value)]).await?;
    tenant.apply(&marked("Store", "app", json!({"kubernetes": {}}))).await?;
    let db =
        json!({"secrets": {"vars": {"PASSWORD": {"store": "app"}}}, "targets": {"db": {"deletionPolicy": "Delete"}}});
    tenant.apply(&marked("Stack", "prod", json!({"components": {"terraform": {"db": db}}}))).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("db").await?, secret(&[("PASSWORD", &value)]));
    let metadata = tenant.secrets().get_metadata("db").await?.metadata;
    let keys = |map: Option<BTreeMap<String, String>>| map.unwrap_or_default().into_keys().collect::<Vec<_>>();
    let ours = ["component", "managed", "stack"].map(|mark| format!("secrets.atmos.tools/{mark}"));
    assert_eq!(keys(metadata.labels), [&["app.kubernetes.io/managed-by".to_owned()], ours.as_slice()].concat());
    assert_eq!(keys(metadata.annotations), ["digest", "stack"].map(|mark| format!("secrets.atmos.tools/{mark}")));
    Ok(())
}
