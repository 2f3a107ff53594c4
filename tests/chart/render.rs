//! What the chart renders, as files that a review can read: `tests/chart/snapshots/` and `examples/install/rbac.yaml`.

use crate::compare::compare;
use crate::helm::template;

async fn snapshot(name: &str, arguments: &[&str]) {
    // The definitions are compared in the tests of generated files.
    let rendered = template(&[arguments, &["--set", "crds.install=false"]].concat()).await.unwrap();
    compare(&format!("tests/chart/snapshots/{name}.yaml"), &rendered);
}

#[tokio::test]
async fn default() {
    snapshot("default", &[]).await;
}

#[tokio::test]
async fn two_namespaces() {
    snapshot("two-namespaces", &["--set", "namespaces={orders,payments}"]).await;
}

#[tokio::test]
async fn cluster_wide() {
    snapshot("cluster-wide", &["--set", "clusterWide=true"]).await;
}

/// Every value that may be set otherwise is.
#[tokio::test]
async fn everything() {
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/snapshots/everything.values.yaml");
    snapshot("everything", &["--values", values]).await;
}

const HEADER: &str = "\
# What the operator may do, as the chart renders it by default, for a look without Helm and for tries from a shell. Written by
# `make chart`; do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: atmos-secrets
";

/// The account, its rights and the admission policy, without the labels of a release.
#[tokio::test]
async fn rights_without_helm() {
    let mut text = HEADER.to_owned();
    for file in ["service-account", "rbac", "admission-policy"] {
        let rendered = template(&["--show-only", &format!("templates/{file}.yaml")]).await.unwrap();
        text.push_str(&without_release(&rendered));
    }
    compare("examples/install/rbac.yaml", &text);
}

/// Drops what says that an object is of a release, and where helm found it.
fn without_release(rendered: &str) -> String {
    let of_release = ["# Source:", "labels:", "app.kubernetes.io/", "helm.sh/chart:"];
    let kept = rendered.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !of_release.iter().any(|start| line.starts_with(start))
    });
    kept.map(|line| format!("{line}\n")).collect()
}
