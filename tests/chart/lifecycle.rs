//! Releases come, change and go: rights follow the values, and no Stack and no Secret is lost.

use e2e::{ControlPlane, wait_until};
use serde_json::Value;

use crate::helm::{CHART, NAMESPACE, RELEASE, text};
use crate::installation::{LIMIT, install, operator, release, start, upgrade, wait_stack};

/// A Stack with a target that the Stack owns and one that it does not, and the value of both.
async fn stack(plane: &ControlPlane, namespace: &str) {
    let manifest = format!(
        r#"
apiVersion: secrets.atmos.tools/v1alpha1
kind: Store
metadata: {{name: local, namespace: {namespace}}}
spec: {{kubernetes: {{}}}}
---
apiVersion: secrets.atmos.tools/v1alpha1
kind: Stack
metadata: {{name: prod, namespace: {namespace}}}
spec:
  secrets: {{vars: {{PASSWORD: {{store: local, required: true}}}}}}
  targets: {{retained: {{}}, owned: {{deletionPolicy: Delete}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: atmos.prod, namespace: {namespace}, labels: {{secrets.atmos.tools/values: "true"}}}}
stringData: {{PASSWORD: first}}
"#
    );
    plane.apply_yaml(&manifest).await.unwrap();
}

/// Name, uid, version and data of every Secret of a namespace.
async fn secrets(plane: &ControlPlane, namespace: &str) -> Vec<Value> {
    let list = plane.get_json(["secrets", "--namespace", namespace]).await.unwrap();
    let secrets = list["items"].as_array().unwrap().iter();
    secrets
        .map(|secret| {
            let metadata = &secret["metadata"];
            serde_json::json!([metadata["name"], metadata["uid"], metadata["resourceVersion"], secret["data"]])
        })
        .collect()
}

async fn can(plane: &ControlPlane, namespace: &str) -> bool {
    let account = "--as=system:serviceaccount:atmos-secrets:atmos-secrets-operator";
    let output =
        plane.kubectl(["auth", "can-i", "update", "secrets", "--namespace", namespace, account]).await.unwrap();
    match text(&output.stdout).trim() {
        "yes" => true,
        "no" => false,
        _ => panic!("{output:?}"),
    }
}

/// Waits until the authorizer knows in which of these namespaces the operator may update Secrets.
async fn wait_can(plane: &ControlPlane, wanted: &[(&str, bool)]) {
    wait_until(format!("these rights: {wanted:?}"), LIMIT, async || {
        for (namespace, wanted) in wanted {
            anyhow::ensure!(can(plane, namespace).await == *wanted, "{namespace} is otherwise");
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn kubectl(plane: &ControlPlane, arguments: &[&str]) {
    let output = plane.kubectl(arguments).await.unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", text(&output.stderr));
}

/// Waits until the garbage collector has removed an object whose owner is gone, so that it has seen what came before.
async fn garbage_is_collected(plane: &ControlPlane, namespace: &str, name: &str) {
    let owner = format!("{name}-owner");
    kubectl(plane, &["create", "configmap", &owner, "--namespace", namespace]).await;
    let owner = plane.get_json(["configmap", &owner, "--namespace", namespace]).await.unwrap();
    let (uid, owner) = (owner["metadata"]["uid"].as_str().unwrap(), owner["metadata"]["name"].as_str().unwrap());
    let owned = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}, ownerReferences: [
          {{apiVersion: v1, kind: ConfigMap, name: {owner}, uid: {uid}}}]}}}}"
    );
    plane.apply_yaml(&owned).await.unwrap();
    kubectl(plane, &["delete", "configmap", owner, "--namespace", namespace]).await;
    wait_until("the garbage to be collected", LIMIT * 3, async || {
        let output = plane.kubectl(["get", "secret", name, "--namespace", namespace]).await?;
        anyhow::ensure!(text(&output.stderr).contains("NotFound"), "it is still there");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rights_follow_the_list_of_namespaces() {
    let plane = start().await.unwrap();
    for namespace in ["a", "b"] {
        kubectl(&plane, &["create", "namespace", namespace]).await;
    }
    install(&plane, &["--set", "namespaces={a}"]).await.unwrap();
    let _operator = operator(&plane).await.unwrap();
    stack(&plane, "a").await;
    stack(&plane, "b").await;
    wait_stack(&plane, "a", "prod", "True", "Synced").await.unwrap();
    wait_stack(&plane, "b", "prod", "False", "GrantMissing").await.unwrap();
    let before = secrets(&plane, "a").await;

    upgrade(&plane, &["--set", "namespaces={a,b}"]).await.unwrap();
    let ask = ["annotate", "stack", "prod", "--namespace", "b", "secrets.atmos.tools/sync-requested-at=1"];
    kubectl(&plane, &ask).await;
    wait_stack(&plane, "b", "prod", "True", "Synced").await.unwrap();
    assert_eq!(secrets(&plane, "a").await, before);

    upgrade(&plane, &["--set", "namespaces={b}"]).await.unwrap();
    wait_can(&plane, &[("a", false), ("b", true)]).await;
    let value = r#"{"stringData": {"PASSWORD": "second"}}"#;
    for namespace in ["a", "b"] {
        kubectl(&plane, &["patch", "secret", "atmos.prod", "--namespace", namespace, "--patch", value]).await;
    }
    wait_until("the new value to arrive in b", LIMIT, async || {
        let target = plane.get_json(["secret", "retained", "--namespace", "b"]).await?;
        anyhow::ensure!(target["data"]["PASSWORD"] == "c2Vjb25k", "not yet");
        Ok(())
    })
    .await
    .unwrap();
    // What is not granted any more stays as it was, but for the value that was changed by hand.
    let targets =
        |secrets: Vec<Value>| secrets.into_iter().filter(|secret| secret[0] != "atmos.prod").collect::<Vec<_>>();
    assert_eq!(targets(secrets(&plane, "a").await), targets(before));

    upgrade(&plane, &["--set", "clusterWide=true"]).await.unwrap();
    wait_can(&plane, &[("a", true), ("default", true)]).await;
    upgrade(&plane, &[]).await.unwrap();
    wait_can(&plane, &[("a", false), ("b", false), ("default", false)]).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_release_goes_and_comes_back() {
    let plane = start().await.unwrap();
    kubectl(&plane, &["create", "namespace", "a"]).await;
    install(&plane, &["--set", "namespaces={a}"]).await.unwrap();
    let running = operator(&plane).await.unwrap();
    stack(&plane, "a").await;
    let ready = wait_stack(&plane, "a", "prod", "True", "Synced").await.unwrap();
    let before = secrets(&plane, "a").await;
    assert_eq!(before.len(), 3);
    let key = secrets(&plane, NAMESPACE).await;

    drop(running);
    release(&plane, &["uninstall", RELEASE]).await.unwrap();
    garbage_is_collected(&plane, "a", "garbage").await;
    assert_eq!(secrets(&plane, "a").await, before);
    assert_eq!(plane.get_json(["stack", "prod", "--namespace", "a"]).await.unwrap(), ready);
    let left = plane.get_json(["clusterroles,clusterrolebindings,validatingadmissionpolicies"]).await.unwrap();
    let ours: Vec<_> = left["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|object| object["metadata"]["name"].as_str())
        .filter(|name| name.starts_with("atmos-secrets"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");

    install(&plane, &["--set", "namespaces={a}"]).await.unwrap();
    let _running = operator(&plane).await.unwrap();
    kubectl(&plane, &["annotate", "stack", "prod", "--namespace", "a", "secrets.atmos.tools/sync-requested-at=1"])
        .await;
    wait_until("the sync to be done", LIMIT, async || {
        let stack = plane.get_json(["stack", "prod", "--namespace", "a"]).await?;
        anyhow::ensure!(stack["status"]["lastHandledSync"] == "1", "not yet");
        Ok(())
    })
    .await
    .unwrap();
    // It knew them again by its old key, so there was nothing to write.
    assert_eq!(secrets(&plane, "a").await, before);
    let own = secrets(&plane, NAMESPACE).await;
    assert!(key.iter().filter(|secret| secret[0] == "atmos-secrets-digest-key").all(|secret| own.contains(secret)));

    // A target goes with its Stack by choice only. The collector learns of new kinds within 30 seconds.
    kubectl(&plane, &["delete", "stack", "prod", "--namespace", "a"]).await;
    let names = async || {
        let secrets = secrets(&plane, "a").await;
        secrets.into_iter().map(|secret| secret[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_until("what the Stack owned to be collected", LIMIT * 3, async || {
        let names = names().await;
        anyhow::ensure!(!names.iter().any(|name| name == "owned"), "{names:?}");
        Ok(())
    })
    .await
    .unwrap();
    for kind in ["stacks", "stores", "clusterstores", "catalogs"] {
        kubectl(&plane, &["delete", "customresourcedefinition", &format!("{kind}.secrets.atmos.tools")]).await;
    }
    garbage_is_collected(&plane, "a", "more-garbage").await;
    assert_eq!(names().await, ["atmos.prod", "retained"]);
}

/// An older chart, whose definition of Stacks lacks a field.
#[tokio::test]
async fn an_upgrade_brings_new_definitions_and_keeps_live_stacks() {
    let plane = start().await.unwrap();
    kubectl(&plane, &["create", "namespace", "a"]).await;
    let older = plane.folder().join("older");
    let copied = std::process::Command::new("cp").arg("-r").arg(CHART).arg(&older).status().unwrap();
    assert!(copied.success());
    let file = older.join("files/crds/stacks.yaml");
    let definition = std::fs::read_to_string(&file).unwrap();
    let (start_of_field, rest) = definition.split_once("              suspend:\n").unwrap();
    let deeper = |line: &&str| line.starts_with("               ");
    let length: usize = rest.split_inclusive('\n').take_while(deeper).map(str::len).sum();
    std::fs::write(&file, format!("{start_of_field}{}", &rest[length..])).unwrap();

    let older = older.to_string_lossy();
    release(&plane, &["install", RELEASE, &older, "--create-namespace", "--set", "namespaces={a}"]).await.unwrap();
    let running = operator(&plane).await.unwrap();
    stack(&plane, "a").await;
    wait_stack(&plane, "a", "prod", "True", "Synced").await.unwrap();
    let before = secrets(&plane, "a").await;
    let suspend =
        ["patch", "stack", "prod", "--namespace", "a", "--type=merge", "--patch", r#"{"spec":{"suspend":true}}"#];
    let output = plane.kubectl(suspend).await.unwrap();
    assert!(text(&output.stderr).contains("unknown field"), "{output:?}");

    drop(running);
    upgrade(&plane, &["--set", "namespaces={a}"]).await.unwrap();
    let _running = operator(&plane).await.unwrap();
    wait_until("the new field to be known", LIMIT, async || {
        let output = plane.kubectl(suspend).await?;
        let words = text(&output.stderr);
        anyhow::ensure!(output.status.success() && !words.contains("unknown field"), "{words}");
        Ok(())
    })
    .await
    .unwrap();
    wait_until("the Stack to be suspended", LIMIT, async || {
        let stack = plane.get_json(["stack", "prod", "--namespace", "a"]).await?;
        let conditions = stack["status"]["conditions"].as_array().cloned().unwrap_or_default();
        anyhow::ensure!(conditions.iter().any(|condition| condition["type"] == "Suspended"), "{conditions:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(secrets(&plane, "a").await, before);
}
