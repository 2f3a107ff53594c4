//! `set` and `delete` on the objects that hold SOPS files, with the real `sops` as the judge.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::local_files::decrypted;
use crate::sops::{encrypt, identity};
use crate::store::{CANARY, stored};

const STORE: &str = "files";

/// A Stack `prod` with a `sops` store; its status names `recipients`, as the operator would.
async fn prepare(fixture: &Fixture, sops: Value, recipients: &[&str]) {
    let mut spec = json!({"source": {"configMaps": ["files"]}});
    spec.as_object_mut().expect("a map").extend(sops.as_object().cloned().unwrap_or_default());
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": STORE},
                      "spec": {"sops": spec}}))
        .await;
    let stores: Api<atmos_secrets::api::Store> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let status = kube::api::Patch::Merge(json!({"status": {"recipients": recipients}}));
    stores.patch_status(STORE, &kube::api::PatchParams::default(), &status).await.expect("the status is accepted");
    let names = ["TOKEN", "OTHER", "N0", "N1", "N2", "N3", "N4", "N5"];
    let vars: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({"sops": STORE}))).collect();
    fixture.stack("prod", json!({"secrets": {"vars": vars}})).await;
}

async fn config_map(fixture: &Fixture, name: &str) -> ConfigMap {
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    maps.get(name).await.expect("the ConfigMap")
}

async fn file(fixture: &Fixture) -> String {
    config_map(fixture, "files").await.data.expect("data").remove("prod.enc.yaml").expect("the file")
}

/// What the real `sops` finds in the file of the cluster.
async fn opened(fixture: &Fixture, text: &str) -> Value {
    let path = fixture.home().join("prod.enc.yaml");
    std::fs::write(&path, text).expect("a file");
    decrypted(fixture, &path).await
}

#[tokio::test]
async fn the_first_value_makes_the_file_for_the_recipients_of_the_status() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, secret) = identity();
    prepare(&fixture, json!({}), &[&recipient]).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    let set = fixture.run_with_input(&["set", "TOKEN", "--stdin"], CANARY.as_bytes()).await;
    set.is(0, "", "set TOKEN, shared by all components of stack prod (Store/files prod.enc.yaml#TOKEN)\n");
    let first = file(&fixture).await;
    assert!(!first.contains(CANARY));
    assert_eq!(opened(&fixture, &first).await, json!({"TOKEN": CANARY}));

    let mark = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "labels": {"kept": "yes"}},
                      "data": {"other.txt": "kept"}});
    fixture.apply(mark).await;
    let set = fixture.run_with_input(&["set", "OTHER", "--stdin"], b"two").await;
    assert_eq!(set.code, 0, "{set:?}");
    let second = file(&fixture).await;
    let line = |text: &str| text.lines().find(|line| line.starts_with("TOKEN:")).map(str::to_owned);
    assert_eq!(line(&first), line(&second), "what is unchanged stays");
    assert_eq!(opened(&fixture, &second).await, json!({"TOKEN": CANARY, "OTHER": "two"}));
    let object = config_map(&fixture, "files").await;
    assert_eq!(object.metadata.labels.expect("labels")["kept"], "yes");
    assert_eq!(object.data.expect("data")["other.txt"], "kept");

    let deleted = fixture.run(&["delete", "TOKEN", "--yes"]).await;
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let third = file(&fixture).await;
    assert_eq!(opened(&fixture, &third).await, json!({"OTHER": "two"}));
    let again = fixture.run(&["delete", "TOKEN", "--yes"]).await;
    again.is(0, "", "TOKEN has no value (Store/files prod.enc.yaml#TOKEN): nothing to delete\n");
    assert_eq!(file(&fixture).await, third);
}

#[tokio::test]
async fn a_secret_can_hold_the_files_too() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, secret) = identity();
    let source = json!({"source": {"secrets": ["sealed"]}});
    prepare(&fixture, source, &[&recipient]).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    for (name, value) in [("TOKEN", CANARY), ("OTHER", "two")] {
        let set = fixture.run_with_input(&["set", name, "--stdin"], value.as_bytes()).await;
        assert_eq!(set.code, 0, "{set:?}");
    }
    let bytes = stored(&fixture, "sealed", "prod.enc.yaml").await.expect("the file");
    let text = String::from_utf8(bytes).expect("YAML");
    assert_eq!(opened(&fixture, &text).await, json!({"TOKEN": CANARY, "OTHER": "two"}));
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, secret) = identity();
    prepare(&fixture, json!({}), &[&recipient]).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    let text = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
    fixture
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"prod.enc.yaml": text}}))
        .await;
    let names = ["N0", "N1", "N2", "N3", "N4", "N5"];
    let arguments = names.map(|name| ["set", name, "--stdin"]);
    let writers = arguments.iter().map(|arguments| fixture.run_with_input(arguments, CANARY.as_bytes()));
    for outcome in futures::future::join_all(writers).await {
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }
    let found = opened(&fixture, &file(&fixture).await).await;
    assert_eq!(found.as_object().expect("a map").len(), names.len() + 1, "{found}");
}

#[tokio::test]
async fn a_new_file_has_only_allowed_recipients() {
    let fixture = Fixture::new("cluster-files").await;
    let ((recipient, secret), (other, _)) = (identity(), identity());
    prepare(&fixture, json!({"allowedRecipients": [recipient]}), &[&other]).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    let refused = fixture.run_with_input(&["set", "TOKEN", "--stdin"], CANARY.as_bytes()).await;
    assert_eq!((refused.code, refused.text()), (3, ""));
    assert!(refused.stderr.contains("--local") && !refused.stderr.contains(CANARY), "{refused:?}");
    prepare(&fixture, json!({"allowedRecipients": [recipient]}), &[&other, &recipient]).await;
    assert_eq!(fixture.run_with_input(&["set", "TOKEN", "--stdin"], CANARY.as_bytes()).await.code, 0);
    let text = file(&fixture).await;
    assert!(text.contains(&recipient) && !text.contains(&other), "{text}");
}

#[tokio::test]
async fn an_object_that_gitops_manages_is_not_written_unless_forced() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, secret) = identity();
    prepare(&fixture, json!({}), &[&recipient]).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    let text = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
    for (metadata, tool) in [
        (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), "Helm"),
        (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}), "Flux"),
        (json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:/ConfigMap:ns/files"}}), "Argo CD"),
    ] {
        let mut metadata = metadata;
        metadata["name"] = json!("files");
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"prod.enc.yaml": text}});
        fixture.apply(object).await;
        for arguments in [&["set", "OTHER", "--stdin"][..], &["delete", "TOKEN", "--yes"]] {
            let refused = fixture.run_with_input(arguments, CANARY.as_bytes()).await;
            assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
            assert!(refused.stderr.contains(&format!("is managed by {tool}")), "{refused:?}");
            assert!(refused.stderr.contains("--local DIR") && !refused.stderr.contains(CANARY), "{refused:?}");
        }
        assert_eq!(file(&fixture).await, text);
    }
    let forced = fixture.run_with_input(&["set", "OTHER", "--stdin", "--force"], b"x").await;
    assert_eq!(forced.code, 0, "{forced:?}");
    assert_eq!(opened(&fixture, &file(&fixture).await).await, json!({"TOKEN": CANARY, "OTHER": "x"}));
}

#[tokio::test]
async fn without_a_key_a_file_is_not_changed() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, _) = identity();
    prepare(&fixture, json!({}), &[&recipient]).await;
    let text = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
    fixture
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"prod.enc.yaml": text}}))
        .await;
    let refused = fixture.run_with_input(&["set", "OTHER", "--stdin"], CANARY.as_bytes()).await;
    assert_eq!((refused.code, refused.text()), (3, ""));
    assert!(refused.stderr.contains("NoMatchingKey") && refused.stderr.contains("--cluster-key"), "{refused:?}");
    assert!(!refused.stderr.contains(CANARY));
    assert_eq!(file(&fixture).await, text);
}

#[tokio::test]
async fn the_clusters_key_writes_too_when_asked() {
    let fixture = Fixture::new("cluster-files").await;
    let (recipient, secret) = identity();
    fixture
        .apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "age"}, "stringData": {"keys.txt": secret}}))
        .await;
    prepare(&fixture, json!({"age": {"keys": [{"secret": "age", "key": "keys.txt"}]}}), &[]).await;
    for (name, value) in [("TOKEN", CANARY), ("OTHER", "two")] {
        let set = fixture.run_with_input(&["set", name, "--stdin", "--cluster-key"], value.as_bytes()).await;
        assert_eq!(set.code, 0, "{set:?}");
    }
    assert!(file(&fixture).await.contains(&recipient));
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    assert_eq!(opened(&fixture, &file(&fixture).await).await, json!({"TOKEN": CANARY, "OTHER": "two"}));
}
