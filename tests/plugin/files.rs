//! `files`: a folder of SOPS files as a ConfigMap.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

use crate::fixture::{Fixture, PLUGIN, run};
use crate::local_files::sops;
use crate::sops::{encrypt, identity};
use crate::store::CANARY;

/// A folder with files of several formats and depths, and what their ConfigMap should hold.
async fn tree(fixture: &Fixture) -> (PathBuf, BTreeMap<String, String>) {
    let (recipient, _) = identity();
    let folder = fixture.home().join("secrets");
    fs::create_dir_all(folder.join("prod.net")).expect("a folder");
    let yaml = encrypt(fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
    let plain = folder.join("all.json");
    fs::write(&plain, json!({"TOKEN": CANARY}).to_string()).expect("a file");
    let sealed = sops(fixture, &["encrypt", "--age", &recipient, "--in-place", plain.to_str().expect("text")]).await;
    assert_eq!(sealed.code, 0, "{sealed:?}");
    let json = fs::read_to_string(&plain).expect("a file");
    assert!(json.contains('\t'), "a character that a printer would filter");
    let windows = yaml.replace('\n', "\r\n");
    for (path, text) in [
        ("prod.enc.yaml", yaml.as_str()),
        ("prod.net/vpc.enc.yaml", &yaml),
        ("windows.yaml", &windows),
        ("README.md", "no secret"),
        ("values.yaml", "no: secret\n"),
        (".sops.yaml", "creation_rules: []\n"),
    ] {
        fs::write(folder.join(path), text).expect("a file");
    }
    let data =
        [("all.json", &json), ("prod.enc.yaml", &yaml), ("prod.net.vpc.enc.yaml", &yaml), ("windows.yaml", &windows)];
    (folder, data.into_iter().map(|(key, text)| (key.to_owned(), text.clone())).collect())
}

async fn config_map(fixture: &Fixture, name: &str) -> BTreeMap<String, String> {
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    maps.get(name).await.expect("the ConfigMap").data.expect("data")
}

#[tokio::test]
async fn what_is_printed_is_the_folder_byte_for_byte() {
    let fixture = Fixture::new("files").await;
    let (folder, expected) = tree(&fixture).await;
    let path = folder.to_str().expect("text");
    let built = run(fixture.command(PLUGIN, &["files", "build", path, "--kubeconfig", "/none"]), b"").await;
    assert_eq!((built.code, built.stderr.as_str()), (0, ""), "{built:?}");
    let manifest =
        built.text().replace("{name: sops-files}", &format!("{{name: sops-files, namespace: {}}}", fixture.namespace));
    fixture.control_plane.apply_yaml(&manifest).await.expect("kubectl takes it");
    assert_eq!(config_map(&fixture, "sops-files").await, expected);

    let kubectl = e2e::tools::path(e2e::tools::Tool::Kubectl).await.expect("kubectl");
    let mut command = fixture.command(PLUGIN, &["files", "kustomization", "secrets", "--name", "generated"]);
    command.current_dir(fixture.home());
    let printed = run(command, b"").await;
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{printed:?}");
    fs::write(fixture.home().join("kustomization.yaml"), printed.text()).expect("a file");
    let home = fixture.home().to_str().expect("text");
    let made =
        run(fixture.command(kubectl.to_str().expect("text"), &["apply", "-n", &fixture.namespace, "-k", home]), b"")
            .await;
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(config_map(&fixture, "generated").await, expected);
}

#[tokio::test]
async fn apply_follows_the_folder() {
    let fixture = Fixture::new("files").await;
    let (folder, mut expected) = tree(&fixture).await;
    let path = folder.to_str().expect("text");
    let arguments = ["files", "apply", path];
    let title = format!("ConfigMap {}/sops-files", fixture.namespace);
    fixture.run(&arguments).await.is(0, "", &format!("{title} created: 4 files\n"));
    assert_eq!(config_map(&fixture, "sops-files").await, expected);
    fixture.run(&arguments).await.is(0, "", &format!("{title} unchanged: 4 files\n"));
    fs::remove_file(folder.join("windows.yaml")).expect("a file");
    expected.remove("windows.yaml");
    fixture.run(&arguments).await.is(0, "", &format!("{title} changed: 3 files\n"));
    assert_eq!(config_map(&fixture, "sops-files").await, expected);

    let mark = json!({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "sops-files", "annotations": {"argocd.argoproj.io/tracking-id": "app"}}});
    fixture.apply(mark).await;
    let managed = fixture.run(&arguments).await;
    assert_eq!(managed.code, 3);
    assert!(managed.stderr.contains("is managed by Argo CD") && managed.stderr.contains("--force"), "{managed:?}");
    assert_eq!(fixture.run(&[&arguments[..], &["--force"]].concat()).await.code, 0);
}

#[tokio::test]
async fn what_does_not_belong_into_the_cluster_stays_out() {
    let fixture = Fixture::new("files").await;
    let (folder, _) = tree(&fixture).await;
    let path = folder.to_str().expect("text");
    let refused = async |why: &str| {
        for verb in ["build", "kustomization", "apply"] {
            let refused = fixture.run(&["files", verb, path]).await;
            assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
            assert!(refused.stderr.contains(why) && !refused.stderr.contains(CANARY), "{refused:?}");
        }
    };
    let forgotten = folder.join("dev.enc.yaml");
    fs::write(&forgotten, format!("TOKEN: {CANARY}\n")).expect("a file");
    refused("dev.enc.yaml is not encrypted").await;
    fs::remove_file(forgotten).expect("a file");
    fs::copy(folder.join("prod.enc.yaml"), folder.join("prod.net.vpc.enc.yaml")).expect("a file");
    refused("PathCollision").await;
    let nowhere = fixture.run(&["files", "build", "/does/not/exist"]).await;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
}

/// What is more than one ConfigMap takes goes into several; together they are the folder.
#[tokio::test]
async fn a_large_folder_takes_several_config_maps() {
    let fixture = Fixture::new("files").await;
    let (recipient, _) = identity();
    let folder = fixture.home().join("secrets");
    fs::create_dir_all(&folder).expect("a folder");
    let large = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}{}\n", "x".repeat(300_000))).await;
    let mut expected = BTreeMap::new();
    for number in 0..6 {
        let name = format!("stack-{number}.enc.yaml");
        fs::write(folder.join(&name), &large).expect("a file");
        expected.insert(name, large.clone());
    }
    let path = folder.to_str().expect("text");
    let applied = async |first: &str, count: usize| {
        let mut found = BTreeMap::new();
        for number in 1..=count {
            let name = if number == 1 { first.to_owned() } else { format!("{first}-{number}") };
            let data = Api::<ConfigMap>::namespaced(fixture.client.clone(), &fixture.namespace);
            let data = data.get(&name).await.expect("the ConfigMap").data.unwrap_or_default();
            for (key, text) in data {
                assert_eq!(found.insert(key, text), None, "each file is in one of them");
            }
        }
        found
    };

    let built = fixture.run(&["files", "build", path]).await;
    assert_eq!((built.code, built.stderr.as_str()), (0, ""), "{built:?}");
    let count = built.text().matches("kind: ConfigMap").count();
    assert!((3..=4).contains(&count), "2.4 MB in {count}");
    let names = (2..=count).fold("sops-files".to_owned(), |names, number| format!("{names}, sops-files-{number}"));
    let note = format!("the Store must name them all: sops.source.configMaps: [{names}]");
    assert!(built.text().starts_with(&format!("# {note}\n")), "{}", &built.text()[..200]);
    fixture.control_plane.apply_yaml(built.text()).await.expect("kubectl takes it");
    assert_eq!(applied("sops-files", count).await, expected);
    let printed = fixture.run(&["files", "kustomization", path]).await;
    assert!(printed.code == 0 && printed.text().contains(&format!("# {note}\n")), "{printed:?}");
    assert_eq!(printed.text().matches("- name: ").count(), count);

    let apply = &["files", "apply", path, "--name", "mine"];
    let made = fixture.run(apply).await;
    assert!(made.code == 0 && made.stderr.contains("the Store must name them all"), "{made:?}");
    assert_eq!(applied("mine", count).await, expected);
    // A smaller folder: what is not needed any more is empty, and still there.
    for number in 1..6 {
        let name = format!("stack-{number}.enc.yaml");
        fs::remove_file(folder.join(&name)).expect("a file");
        expected.remove(&name);
    }
    let smaller = fixture.run(apply).await;
    assert!(smaller.code == 0 && !smaller.stderr.contains("the Store must"), "{smaller:?}");
    assert!(smaller.stderr.contains(&format!("mine-{count} changed: 0 files")), "{smaller:?}");
    assert_eq!(applied("mine", count).await, expected);

    // A larger one again: what takes files comes before what gives them away, so that none is missing in between.
    for number in 1..6 {
        let name = format!("stack-{number}.enc.yaml");
        fs::write(folder.join(&name), &large).expect("a file");
        expected.insert(name, large.clone());
    }
    let larger = fixture.run(apply).await;
    let places: Vec<Option<usize>> =
        (2..=count).rev().map(|number| larger.stderr.find(&format!("mine-{number} "))).collect();
    assert!(larger.code == 0 && places.iter().all(Option::is_some) && places.is_sorted(), "{larger:?}");
    assert!(larger.stderr.find("/mine ") > places.last().copied().flatten(), "{larger:?}");
    assert_eq!(applied("mine", count).await, expected);

    let huge = encrypt(&fixture, &recipient, &format!("TOKEN: {}\n", "x".repeat(900_000))).await;
    fs::write(folder.join("huge.enc.yaml"), huge).expect("a file");
    let refused = fixture.run(&["files", "build", path]).await;
    assert_eq!((refused.code, refused.text()), (3, ""));
    assert!(refused.stderr.contains("ValueTooLarge: the file huge.enc.yaml"), "{}", refused.stderr);
}
