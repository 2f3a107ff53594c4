//! The Pod meets the Pod Security Standard "restricted", as the API server itself judges.

use serde_json::{Value, json};

use crate::helm::{RELEASE, find, objects, text};
use crate::installation::shared;

async fn admitted(pod: &Value) -> Result<(), String> {
    let output = shared()
        .await
        .unwrap()
        .kubectl_with_input(["create", "--dry-run=server", "--filename=-"], &pod.to_string())
        .await
        .unwrap();
    let words = text(&output.stderr);
    if output.status.success() && words.is_empty() { Ok(()) } else { Err(words) }
}

#[tokio::test]
async fn it_is_restricted() {
    let plane = shared().await.unwrap();
    let namespace = plane.namespace("restricted").await.unwrap();
    let label = "pod-security.kubernetes.io/enforce=restricted";
    assert!(plane.kubectl(["label", "namespace", &namespace, label]).await.unwrap().status.success());

    let rendered = objects(&[]).await;
    let template = &find(&rendered, "Deployment", RELEASE)["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = "operator".into();
    metadata["namespace"] = namespace.into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    admitted(&pod).await.unwrap();

    // The judge is awake: without one of the settings it refuses.
    for (pointer, word) in [
        ("/spec/securityContext/runAsNonRoot", "runAsNonRoot"),
        ("/spec/securityContext/seccompProfile", "seccompProfile"),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("/spec/containers/0/securityContext/capabilities", "capabilities"),
    ] {
        let mut worse = pod.clone();
        *worse.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not set")) = Value::Null;
        let refused = admitted(&worse).await.expect_err(pointer);
        assert!(refused.contains("violates PodSecurity") && refused.contains(word), "{pointer}: {refused}");
    }
}

/// What "restricted" does not ask for.
#[tokio::test]
async fn it_writes_no_disk_and_mounts_only_its_token() {
    let rendered = objects(&[]).await;
    let pod = &find(&rendered, "Deployment", RELEASE)["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(find(&rendered, "ServiceAccount", RELEASE)["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().iter().collect();
    assert_eq!(mounts.len(), 1);
    // Where clients look for it (kube: `Config::incluster`).
    assert_eq!(mounts[0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mounts[0]["readOnly"], true);
    let sources = pod["volumes"][0]["projected"]["sources"].as_array().unwrap();
    let paths: Vec<_> = sources
        .iter()
        .map(|source| {
            let items = ["configMap", "downwardAPI"].iter().find_map(|kind| source[kind]["items"][0]["path"].as_str());
            items.or(source["serviceAccountToken"]["path"].as_str()).unwrap()
        })
        .collect();
    assert_eq!(paths, ["token", "ca.crt", "namespace"]);
    // An audience of its own would be refused by the API server.
    assert_eq!(sources[0]["serviceAccountToken"]["audience"], Value::Null);
}
