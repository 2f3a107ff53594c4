//! The words by which a real API server refuses a write, told apart.

use std::time::Duration;

use atmos_secrets::cluster::{Cause, Metadata, OPAQUE, Refusal, SecretDraft, StatusReason, Written};
use atmos_secrets::value::SecretValue;
use serde_json::json;

use crate::kubernetes::Cluster;
use crate::log;
use crate::suite::CANARY;

async fn create(cluster: &Cluster, name: &str) -> Result<Written, Refusal> {
    let metadata = Metadata { namespace: cluster.namespace.clone(), name: name.to_owned(), ..Metadata::default() };
    let value = SecretValue::new(CANARY.into());
    let data = [("K", &value)].into();
    let draft = SecretDraft { metadata: &metadata, secret_type: OPAQUE, immutable: false, data };
    cluster.objects.create_secret(&draft).await.map_err(|error| *error.refusal().expect("an answer"))
}

/// Tries until the API server has learnt of what refuses it.
async fn refused(cluster: &Cluster) -> Refusal {
    let mut count = 0;
    e2e::wait_until("a write is refused", Duration::from_secs(120), async || {
        count += 1;
        match create(cluster, &format!("try-{count}")).await {
            Ok(_) => Err("it was taken"),
            Err(refusal) => Ok(refusal),
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_exhausted_quota() {
    log::watch();
    let cluster = Cluster::new("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": cluster.namespace}, "spec": {"hard": {"count/secrets": "0"}}});
    cluster.control_plane.apply_yaml(&quota.to_string()).await.unwrap();
    // What the quota controller does, which need not run here.
    let status = json!({"status": {"hard": {"count/secrets": "0"}, "used": {"count/secrets": "0"}}}).to_string();
    let arguments = [
        "-n",
        &cluster.namespace,
        "patch",
        "resourcequota",
        "none",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    assert!(cluster.control_plane.kubectl(arguments).await.unwrap().status.success());
    let refusal = refused(&cluster).await;
    assert_eq!((refusal.status, refusal.cause), (403, Cause::QuotaExceeded));
    log::assert_clean();
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted() {
    let cluster = Cluster::new("terminating").await;
    let keep = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "keep", "namespace": cluster.namespace, "finalizers": ["example.com/keep"]}});
    cluster.control_plane.apply_yaml(&keep.to_string()).await.unwrap();
    let arguments = ["delete", "namespace", &cluster.namespace, "--wait=false"];
    assert!(cluster.control_plane.kubectl(arguments).await.unwrap().status.success());
    let refusal = refused(&cluster).await;
    assert_eq!((refusal.status, refusal.cause), (403, Cause::NamespaceTerminating));
    let release = [
        "-n",
        &cluster.namespace,
        "patch",
        "configmap",
        "keep",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
    ];
    assert!(cluster.control_plane.kubectl(release).await.unwrap().status.success());
}

#[tokio::test]
async fn an_admission_policy() {
    log::watch();
    let cluster = Cluster::new("admission").await;
    let name = format!("deny-{}", cluster.namespace);
    // Its message is its author's, and may even quote the object.
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
            "validations": [{"expression": "false", "messageExpression": "'exceeded quota: ' + object.data['K']"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}}}}});
    for object in [policy, binding] {
        cluster.control_plane.apply_yaml(&object.to_string()).await.unwrap();
    }
    let refusal = refused(&cluster).await;
    assert_eq!((refusal.status, refusal.cause), (422, Cause::AdmissionDenied));
    log::assert_clean();
}

#[tokio::test]
async fn races_and_states() {
    let cluster = Cluster::new("races").await;
    let written = create(&cluster, "s").await.unwrap();
    let taken = create(&cluster, "s").await.unwrap_err();
    assert_eq!((taken.status, taken.reason), (409, StatusReason::AlreadyExists));

    let stored = cluster.objects.get_secret(&cluster.namespace, "s").await.unwrap().unwrap();
    assert_eq!((&stored.metadata.uid, &stored.metadata.resource_version), (&written.uid, &written.resource_version));
    let value = SecretValue::new(b"2".to_vec());
    let draft = || SecretDraft {
        metadata: &stored.metadata,
        secret_type: OPAQUE,
        immutable: false,
        data: [("K", &value)].into(),
    };
    let newer = cluster.objects.replace_secret(&draft()).await.unwrap();
    assert!(cluster.objects.replace_secret(&draft()).await.unwrap_err().is_conflict(), "a stale state");
    let (namespace, uid) = (&cluster.namespace, &newer.uid);
    let stale = cluster.objects.delete_secret(namespace, "s", uid, &written.resource_version).await.unwrap_err();
    assert!(stale.is_conflict());
    cluster.objects.delete_secret(namespace, "s", uid, &newer.resource_version).await.unwrap();
    assert!(cluster.objects.get_secret(namespace, "s").await.unwrap().is_none());
    assert!(cluster.objects.get_secret_metadata(namespace, "s").await.unwrap().is_none());
    let gone = cluster.objects.replace_secret(&draft()).await.unwrap_err();
    assert!(matches!(gone.refusal(), Some(refusal) if [404, 409].contains(&refusal.status)), "{gone}");
}
