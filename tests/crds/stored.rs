//! What the API server stores: nothing but what was written, and a status of its own.

use std::process::Output;

use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind, Unknown, yaml};

/// One full spec of each kind.
const FULL: [(Kind, &str); 4] = [
    (
        Kind::Stack,
        "
name: plat-ue1-prod
stores: {app: {clusterStore: shared}}
imports: [{catalog: datadog}]
secrets: {vars: {EMPTY: {}, TOKEN: {store: app, scope: stack}}}
targetDefaults: {}
targets: {app: {}}
components: {terraform: {db: {metadata: {}, secrets: {vars: {A: {}}}, targets: {}}, vpc: {}}, helmfile: {}}
",
    ),
    (Kind::Store, "{kubernetes: {}}"),
    (
        Kind::ClusterStore,
        "{allowedNamespaces: {}, prefix: 'a/{namespace}', vault: {address: 'https://v', mount: m, auth: {token: {secret: a, key: b}}}}",
    ),
    (Kind::Catalog, "{stores: {}, secrets: {}, components: {terraform: {db: {}}}}"),
];

#[tokio::test]
async fn no_default_is_written_into_a_spec() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec) in FULL {
        let stored = cluster.create(kind, spec).await.unwrap();
        assert_eq!(stored.data["spec"], yaml(spec));
        let read = cluster.objects(kind).get(&stored.name_any()).await.unwrap();
        assert_eq!(read.data["spec"], yaml(spec));
    }
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec) in FULL {
        let name = cluster.namespace.clone();
        let object = json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": kind.name(),
            "metadata": {"name": name, "namespace": cluster.namespace}, "spec": yaml(spec),
        });
        let manifest = object.to_string();
        let arguments = ["apply", "--server-side", "--filename=-"];
        succeeds(cluster.control_plane.kubectl_with_input(arguments, &manifest).await.unwrap());
        if kind != Kind::Catalog {
            // The default of a status is stored with the next write, whatever that is; the operator's comes first.
            let patch = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
            cluster.objects(kind).patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        }
        let first = cluster.objects(kind).get(&name).await.unwrap();
        succeeds(cluster.control_plane.kubectl_with_input(arguments, &manifest).await.unwrap());
        let second = cluster.objects(kind).get(&name).await.unwrap();
        assert_eq!(first.resource_version(), second.resource_version(), "{}", kind.name());
        // What GitOps tools ask before they apply: exit status 0 is "no difference".
        let difference = ["diff", "--server-side", "--filename=-"];
        succeeds(cluster.control_plane.kubectl_with_input(difference, &manifest).await.unwrap());
    }
}

fn succeeds(output: Output) {
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&words));
}

#[tokio::test]
async fn a_new_object_has_not_been_observed() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec) in FULL {
        let stored = cluster.create(kind, spec).await.unwrap();
        let expected = match kind {
            Kind::Stack | Kind::Store | Kind::ClusterStore => json!({"observedGeneration": -1}),
            Kind::Catalog => Value::Null,
        };
        assert_eq!(stored.data.get("status").cloned().unwrap_or_default(), expected, "{}", kind.name());
        assert_eq!(stored.metadata.generation, Some(1));
    }
}

#[tokio::test]
async fn status_is_written_through_its_subresource_alone() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec) in FULL.into_iter().filter(|(kind, _)| *kind != Kind::Catalog) {
        // A status in a manifest, as in a restored backup, is not taken over.
        let claimed = json!({"metadata": {}, "spec": yaml(spec), "status": {"observedGeneration": 7}});
        let stored = cluster.create_with(kind, Unknown::Refused, &claimed).await.unwrap();
        assert_eq!(stored.data["status"], json!({"observedGeneration": -1}), "{}", kind.name());

        let objects = cluster.objects(kind);
        let name = stored.name_any();
        let patch = Patch::Merge(json!({"spec": null, "status": {"observedGeneration": 1}}));
        let patched = objects.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(patched.data["status"], json!({"observedGeneration": 1}), "{}", kind.name());
        assert_eq!(patched.data["spec"], yaml(spec), "{}", kind.name());
        assert_eq!(patched.metadata.generation, Some(1), "{}", kind.name());

        let mut replaced = patched;
        replaced.data["status"] = json!({});
        let replaced = objects.replace(&name, &PostParams::default(), &replaced).await.unwrap();
        assert_eq!(replaced.data["status"], json!({"observedGeneration": 1}), "{}", kind.name());
    }
}
