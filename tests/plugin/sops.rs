//! `get` and `set` on a `sops` store: files of the real `sops`, opened with the user's own age identity.

use std::process::Stdio;

use age::secrecy::ExposeSecret as _;
use serde_json::json;

use crate::fixture::Fixture;
use crate::store::CANARY;

/// The public and the secret half of a new age identity.
pub fn identity() -> (String, String) {
    let identity = age::x25519::Identity::generate();
    (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
}

/// Encrypts a YAML document with the real `sops`.
pub async fn encrypt(fixture: &Fixture, recipient: &str, document: &str) -> String {
    let sops = e2e::tools::path(e2e::tools::Tool::Sops).await.expect("sops");
    let file = fixture.home().join("plain.yaml");
    std::fs::write(&file, document).expect("a file");
    let arguments = ["encrypt", "--age", recipient, "--input-type", "yaml", file.to_str().expect("text")];
    let output = fixture
        .command(sops.to_str().expect("text"), &arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("sops starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("YAML")
}

/// A Stack `prod` whose `TOKEN` lies in a SOPS file, and the age key Secret that its Store names.
async fn sealed(fixture: &Fixture) -> String {
    let (public, secret) = identity();
    let file = encrypt(fixture, &public, &format!("TOKEN: {CANARY}\n")).await;
    assert!(!file.contains(CANARY));
    for object in [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"prod.enc.yaml": file}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "age"}, "stringData": {"keys.txt": secret}}),
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "files"},
               "spec": {"sops": {"source": {"configMaps": ["files"]}, "age": {"keys": [{"secret": "age", "key": "keys.txt"}]}}}}),
    ] {
        fixture.apply(object).await;
    }
    fixture.stack("prod", json!({"secrets": {"vars": {"TOKEN": {"sops": "files"}, "NONE": {"sops": "files"}}}})).await;
    secret
}

const GET: &[&str] = &["get", "TOKEN", "--mask=false", "-r"];

#[tokio::test]
async fn the_users_own_identity_opens_the_file() {
    let fixture = Fixture::new("sops").await;
    let secret = sealed(&fixture).await;
    let unopened = fixture.run(GET).await;
    assert_eq!((unopened.code, unopened.text()), (3, ""));
    assert!(unopened.stderr.starts_with("error: NoMatchingKey: "), "{unopened:?}");
    assert!(unopened.stderr.contains("hint: set SOPS_AGE_KEY or SOPS_AGE_KEY_FILE"), "{unopened:?}");
    assert!(!unopened.stderr.contains(secret.as_str()));

    let with_variable = fixture.with_variable("SOPS_AGE_KEY", secret.as_str());
    let opened = with_variable.run(GET).await;
    assert_eq!((opened.code, opened.text()), (0, CANARY), "{opened:?}");
    assert_eq!(with_variable.run(&["get", "NONE"]).await.code, 1);
    let masked = with_variable.run(&["get", "TOKEN"]).await;
    masked.is(0, "<MASKED>\n", "");

    let fixture = Fixture::new("sops").await;
    let secret = sealed(&fixture).await;
    let default = fixture.home().join(".config/sops/age/keys.txt");
    std::fs::create_dir_all(default.parent().expect("a folder")).expect("a folder");
    std::fs::write(&default, format!("# a comment\n{secret}\n")).expect("a file");
    assert_eq!(fixture.run(GET).await.text(), CANARY);
    // A variable takes the place of the file.
    let (_, other) = identity();
    let file = fixture.home().join("other.txt");
    std::fs::write(&file, other).expect("a file");
    let fixture = fixture.with_variable("SOPS_AGE_KEY_FILE", file);
    assert_eq!(fixture.run(GET).await.code, 3);
}

#[tokio::test]
async fn the_clusters_key_is_used_only_when_asked() {
    let fixture = Fixture::new("sops").await;
    sealed(&fixture).await;
    let opened = fixture.run(&["get", "TOKEN", "--mask=false", "-r", "--cluster-key"]).await;
    assert_eq!((opened.code, opened.text()), (0, CANARY), "{opened:?}");
    let fixture = fixture
        .with_rights(json!([
            {"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks", "stores"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
        ]))
        .await;
    let denied = fixture.run(&["get", "TOKEN", "--mask=false", "-r", "--cluster-key"]).await;
    assert_eq!((denied.code, denied.text()), (3, ""), "{denied:?}");
    assert!(!denied.stderr.contains("NoMatchingKey"), "{denied:?}");
    // Names are in the clear: no key and no right on Secrets is needed to see that they are there.
    let verified = fixture.run(&["list", "--verify", "-o", "json"]).await.json();
    let states: Vec<&str> =
        verified.as_array().expect("rows").iter().filter_map(|row| row["status"].as_str()).collect();
    assert_eq!(states, ["missing", "initialized"], "NONE, then TOKEN: {verified}");
}

#[tokio::test]
async fn an_identity_that_is_none_is_not_repeated() {
    let fixture = Fixture::new("sops").await;
    sealed(&fixture).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", format!("AGE-SECRET-KEY-{CANARY}"));
    let refused = fixture.run(GET).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("SOPS_AGE_KEY") && !refused.stderr.contains(CANARY), "{refused:?}");
}

#[tokio::test]
async fn a_cluster_store_has_its_files_in_the_operators_namespace() {
    let operator = Fixture::new("operator").await;
    let fixture = Fixture::new("sops").await;
    let (public, secret) = identity();
    let file = encrypt(&fixture, &public, &format!("TOKEN: {CANARY}\n")).await;
    operator
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"shared.yaml": file}}))
        .await;
    let name = fixture.namespace.clone();
    let store = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "ClusterStore", "metadata": {"name": name},
        "spec": {"shared": true, "allowedNamespaces": {"names": [name]},
                 "sops": {"source": {"configMaps": ["files"]}, "file": "shared.yaml"}},
    });
    fixture.control_plane.apply_yaml(&store.to_string()).await.expect("the ClusterStore is accepted");
    let catalog = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Catalog", "metadata": {"name": name},
        "spec": {"stores": {"shared": {"clusterStore": name}}, "secrets": {"vars": {"TOKEN": {"sops": "shared"}}}},
    });
    fixture.control_plane.apply_yaml(&catalog.to_string()).await.expect("the Catalog is accepted");
    fixture.stack("prod", json!({"imports": [{"catalog": name}]})).await;
    let fixture = fixture.with_variable("SOPS_AGE_KEY", secret);
    let elsewhere = fixture.run(GET).await;
    assert_eq!(elsewhere.code, 3);
    assert!(elsewhere.stderr.starts_with("error: SourceNotFound: "), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("atmos-secrets/files"), "{elsewhere:?}");
    let arguments = [GET, &["--operator-namespace", &operator.namespace]].concat();
    let opened = fixture.run(&arguments).await;
    assert_eq!((opened.code, opened.text()), (0, CANARY), "{opened:?}");

    // A Catalog that one may not read: nobody knows what is declared.
    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks"], "verbs": ["get", "list"]}]))
        .await;
    let denied = fixture.run(GET).await;
    assert_eq!((denied.code, denied.text()), (3, ""));
    assert!(denied.stderr.starts_with(&format!("error: could not read Catalog/{name}: ")), "{denied:?}");
}
