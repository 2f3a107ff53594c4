//! `rekey`: who can open files before and after, judged by the real `sops`.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

use crate::fixture::{Fixture, Outcome, PLUGIN, run};
use crate::sops::{encrypt, identity};
use crate::store::CANARY;

/// What the real `sops` says with this identity.
async fn opens(fixture: &Fixture, secret: &str, file: &Path) -> bool {
    let program = e2e::tools::path(e2e::tools::Tool::Sops).await.expect("sops");
    let arguments = ["decrypt", "--output-type", "json", file.to_str().expect("text")];
    let mut command = fixture.command(program.to_str().expect("text"), &arguments);
    command.env("SOPS_AGE_KEY", secret);
    let outcome = run(command, b"").await;
    if outcome.code == 0 {
        assert_eq!(outcome.json(), json!({"TOKEN": CANARY}));
    }
    outcome.code == 0
}

/// Runs the plugin where there is no cluster.
async fn run_local(fixture: &Fixture, folder: &Path, secret: &str, arguments: &[&str]) -> Outcome {
    let local = ["--local", folder.to_str().expect("text"), "--kubeconfig", "/does/not/exist"];
    let mut command = fixture.command(PLUGIN, &[arguments, &local].concat());
    command.env("SOPS_AGE_KEY", secret);
    let outcome = run(command, b"").await;
    assert!(!outcome.stderr.contains(CANARY), "{outcome:?}");
    outcome
}

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(name)).expect(name)
}

#[tokio::test]
async fn recipients_come_and_go_in_every_file_of_a_folder() {
    let fixture = Fixture::new("rekey").await;
    let ((one, secret), (two, other)) = (identity(), identity());
    let folder = fixture.home().join("secrets");
    fs::create_dir_all(folder.join("net")).expect("a folder");
    let sealed = encrypt(&fixture, &one, &format!("# kept\nTOKEN: {CANARY}\n")).await;
    let files = [folder.join("prod.enc.yaml"), folder.join("net/vpc.enc.yaml")];
    for file in &files {
        fs::write(file, &sealed).expect("a file");
    }
    fs::write(folder.join("README.md"), "no secret").expect("a file");
    fs::write(folder.join("values.yaml"), "no: secret\n").expect("a file");

    let added = run_local(&fixture, &folder, &secret, &["rekey", "--add", &two]).await;
    assert_eq!(added.code, 0, "{added:?}");
    assert!(added.stderr.contains(&format!("added {two}")) && !added.stderr.contains("warning"), "{added:?}");
    for file in &files {
        let text = fs::read_to_string(file).expect("a file");
        assert_eq!((line(&text, "TOKEN:"), line(&text, "#ENC")), (line(&sealed, "TOKEN:"), line(&sealed, "#ENC")));
        assert!(opens(&fixture, &secret, file).await && opens(&fixture, &other, file).await);
    }
    let again = run_local(&fixture, &folder, &secret, &["rekey", "--add", &two]).await;
    assert!(again.code == 0 && again.stderr.contains("stays as it is"), "{again:?}");

    let removed = run_local(&fixture, &folder, &other, &["rekey", "--rm", &one]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(
        removed.stderr.contains("may have kept the data key") && removed.stderr.contains("--rotate"),
        "{removed:?}"
    );
    for file in &files {
        assert!(!opens(&fixture, &secret, file).await && opens(&fixture, &other, file).await);
        assert_eq!(line(&fs::read_to_string(file).expect("a file"), "TOKEN:"), line(&sealed, "TOKEN:"));
    }

    let rotated = run_local(&fixture, &folder, &other, &["rekey", "--rotate"]).await;
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(rotated.stderr.contains("new data key"), "{rotated:?}");
    for file in &files {
        let text = fs::read_to_string(file).expect("a file");
        assert_ne!(line(&text, "TOKEN:"), line(&sealed, "TOKEN:"), "sealed with another key");
        assert!(opens(&fixture, &other, file).await);
    }
}

#[tokio::test]
async fn nothing_is_written_unless_every_file_can_be() {
    let fixture = Fixture::new("rekey").await;
    let ((one, secret), (two, other)) = (identity(), identity());
    let folder = fixture.home().join("secrets");
    fs::create_dir_all(&folder).expect("a folder");
    let mine = encrypt(&fixture, &one, &format!("TOKEN: {CANARY}\n")).await;
    let theirs = encrypt(&fixture, &two, &format!("TOKEN: {CANARY}\n")).await;
    fs::write(folder.join("a.enc.yaml"), &mine).expect("a file");
    fs::write(folder.join("b.enc.yaml"), &theirs).expect("a file");
    let (three, _) = identity();
    let refused = run_local(&fixture, &folder, &secret, &["rekey", "--add", &three]).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("NoMatchingKey") && refused.stderr.contains("b.enc.yaml"), "{refused:?}");
    assert_eq!(fs::read_to_string(folder.join("a.enc.yaml")).expect("a file"), mine);

    fs::remove_file(folder.join("b.enc.yaml")).expect("a file");
    let last = run_local(&fixture, &folder, &secret, &["rekey", "--rm", &one]).await;
    assert!(last.code == 3 && last.stderr.contains("nobody could open the file"), "{last:?}");
    let bad = run_local(&fixture, &folder, &secret, &["rekey", "--add", "age1nonsense"]).await;
    assert!(bad.code == 3 && bad.stderr.contains("age1nonsense"), "{bad:?}");
    let private = run_local(&fixture, &folder, &secret, &["rekey", "--add", &other]).await;
    assert!(private.code == 2 && !private.stderr.contains(&other), "{private:?}");
    assert_eq!(fs::read_to_string(folder.join("a.enc.yaml")).expect("a file"), mine);
    fs::write(folder.join("c.enc.yaml"), format!("TOKEN: {CANARY}\n")).expect("a file");
    let plain = run_local(&fixture, &folder, &secret, &["rekey", "--rotate"]).await;
    assert!(plain.code == 3 && plain.stderr.contains("c.enc.yaml is not encrypted"), "{plain:?}");
}

#[tokio::test]
async fn the_files_of_the_cluster_too() {
    let fixture = Fixture::new("rekey").await;
    let ((one, secret), (two, other)) = (identity(), identity());
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "files"},
                      "spec": {"sops": {"source": {"configMaps": ["files"]}}}}))
        .await;
    let sealed = encrypt(&fixture, &one, &format!("TOKEN: {CANARY}\n")).await;
    let apply = async |labels: serde_json::Value| {
        fixture
            .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "labels": labels},
                          "data": {"a.enc.yaml": sealed, "b.enc.yaml": sealed, "notes.txt": "kept"}}))
            .await;
    };
    apply(json!({"kustomize.toolkit.fluxcd.io/name": "apps"})).await;
    let arguments = ["rekey", "--add", &two, "--rm", &one, "--rotate", "-n", &fixture.namespace];
    let run_it = async || {
        let mut command = fixture.command(PLUGIN, &arguments);
        command.env("SOPS_AGE_KEY", &secret);
        run(command, b"").await
    };
    let managed = run_it().await;
    assert_eq!(managed.code, 3, "{managed:?}");
    assert!(managed.stderr.contains("is managed by Flux") && managed.stderr.contains("--local"), "{managed:?}");
    apply(json!({})).await;
    let done = run_it().await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!done.stderr.contains(CANARY));
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let data = maps.get("files").await.expect("the ConfigMap").data.expect("data");
    assert_eq!(data["notes.txt"], "kept");
    for name in ["a.enc.yaml", "b.enc.yaml"] {
        let file = fixture.home().join(name);
        fs::write(&file, &data[name]).expect("a file");
        assert!(!opens(&fixture, &secret, &file).await && opens(&fixture, &other, &file).await);
    }
}

#[tokio::test]
async fn from_age_to_the_transit_engine_of_vault_and_back() {
    let fixture = Fixture::new("rekey").await;
    let vault = e2e::Vault::shared().await.expect("a Vault");
    let mount = format!("transit/{}", fixture.namespace);
    vault.must("POST", &format!("sys/mounts/{mount}"), json!({"type": "transit"})).await.expect("an engine");
    vault.must("POST", &format!("{mount}/keys/files"), json!({})).await.expect("a key");
    let uri = format!("{}/v1/{mount}/keys/files", vault.url());
    let (recipient, secret) = identity();
    let token = json!({"token": {"secret": "of-the-operator", "key": "token"}});
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "files"},
                      "spec": {"sops": {"source": {"configMaps": ["files"]},
                                        "vaultTransit": {"address": vault.url(), "auth": token}}}}))
        .await;
    let sealed = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
    fixture
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a.enc.yaml": sealed}}))
        .await;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let file = fixture.home().join("a.enc.yaml");
    let fetch = async || {
        let data = maps.get("files").await.expect("the ConfigMap").data.expect("data");
        fs::write(&file, &data["a.enc.yaml"]).expect("a file");
    };
    let fixture = fixture.with_variable("VAULT_TOKEN", vault.root_token());
    let loopback = "--allow-loopback-endpoints";
    let with_key = fixture.with_variable("SOPS_AGE_KEY", secret.as_str());
    let moved = with_key.run(&["rekey", "--add", &uri, "--rm", &recipient, "--rotate", loopback]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(!moved.stderr.contains(CANARY) && !moved.stderr.contains(vault.root_token()), "{moved:?}");
    fetch().await;
    assert!(!fs::read_to_string(&file).expect("a file").contains(&recipient));
    assert!(opens(&with_key, "", &file).await, "sops opens it with the token alone");

    let fixture = with_key.with_variable("SOPS_AGE_KEY", "");
    let back = fixture.run(&["rekey", "--add", &recipient, "--rm", &uri, loopback]).await;
    assert_eq!(back.code, 0, "{back:?}");
    fetch().await;
    let fixture = fixture.with_variable("VAULT_TOKEN", "");
    assert!(opens(&fixture, &secret, &file).await, "and with the age key alone");
}
