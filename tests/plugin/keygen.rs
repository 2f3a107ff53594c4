//! `keygen`: where each half goes, and that nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Outcome, PLUGIN, run};
use crate::local_files::{decrypted, sops};
use crate::store::{CANARY, stored};

async fn store(fixture: &Fixture, name: &str, spec: Value) {
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": name}, "spec": spec}))
        .await;
}

fn with_age() -> Value {
    json!({"sops": {"source": {"configMaps": ["files"]}, "file": "{{ atmos_stack }}.enc.yaml",
                    "age": {"keys": [{"secret": "age", "key": "keys.txt"}]}}})
}

/// Runs the plugin in a folder.
async fn run_in(fixture: &Fixture, folder: &Path, arguments: &[&str]) -> Outcome {
    let arguments = [arguments, &["-n", &fixture.namespace]].concat();
    let mut command = fixture.command(PLUGIN, &arguments);
    command.current_dir(folder);
    let outcome = run(command, b"").await;
    let shown = format!("{}{}", outcome.text(), outcome.stderr);
    assert!(!shown.contains("AGE-SECRET-KEY"), "the private half is shown: {shown}");
    outcome
}

fn identities(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("AGE-SECRET-KEY-1")).collect()
}

#[tokio::test]
async fn the_private_half_goes_into_the_stores_secret_and_the_public_one_into_the_rules() {
    let fixture = Fixture::new("keygen").await;
    store(&fixture, "files", with_age()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let made = run_in(&fixture, folder.path(), &["keygen"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let recipient = made.text().trim_end().to_owned();
    assert!(recipient.starts_with("age1"), "{made:?}");
    assert!(made.stderr.contains("may be committed"), "{made:?}");
    let kept = String::from_utf8(stored(&fixture, "age", "keys.txt").await.expect("a key")).expect("text");
    assert_eq!(identities(&kept).len(), 1);
    assert!(kept.contains(&format!("# public key: {recipient}\n")));
    let rules = folder.path().join(".sops.yaml");
    let text = fs::read_to_string(&rules).expect("rules");
    assert!(text.contains(r".*\.enc\.yaml$") && text.contains(&recipient), "{text}");
    assert_eq!(fs::metadata(&rules).expect("rules").permissions().mode() & 0o777, 0o644);

    // Both halves work with the real sops.
    let plain = folder.path().join("prod.enc.yaml");
    fs::write(&plain, format!("TOKEN: {CANARY}\n")).expect("a file");
    let (config, path) = (rules.to_str().expect("text"), plain.to_str().expect("text"));
    let sealed = sops(&fixture, &["--config", config, "encrypt", "--in-place", path]).await;
    assert_eq!(sealed.code, 0, "{sealed:?}");
    let fixture = fixture.with_variable("SOPS_AGE_KEY", kept.as_str());
    assert_eq!(decrypted(&fixture, &plain).await, json!({"TOKEN": CANARY}));

    // Once more only if asked so, and then beside the first.
    let again = run_in(&fixture, folder.path(), &["keygen", "files"]).await;
    assert_eq!((again.code, again.text()), (0, ""));
    assert!(again.stderr.contains("holds a key keys.txt already: nothing was made"), "{again:?}");
    let forced = run_in(&fixture, folder.path(), &["keygen", "Store/files", "--force"]).await;
    assert_eq!(forced.code, 0, "{forced:?}");
    let both = String::from_utf8(stored(&fixture, "age", "keys.txt").await.expect("a key")).expect("text");
    assert!(both.starts_with(&kept) && identities(&both).len() == 2);
    let text = fs::read_to_string(&rules).expect("rules");
    assert!(text.contains(&format!("{recipient},{}", forced.text().trim_end())), "{text}");
}

#[tokio::test]
async fn a_key_of_ones_own_goes_into_a_file_without_a_cluster() {
    let fixture = Fixture::new("keygen").await;
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = ["--kubeconfig", "/does/not/exist"];
    let made = run_in(&fixture, folder.path(), &[&["keygen", "--local"][..], &nowhere].concat()).await;
    assert_eq!(made.code, 0, "{made:?}");
    let default = fixture.home().join(".config/sops/age/keys.txt");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&default), mode(default.parent().expect("a folder"))), (0o600, 0o700));
    let text = fs::read_to_string(folder.path().join(".sops.yaml")).expect("rules");
    assert!(text.contains("path_regex: $"), "{text}");

    let file = folder.path().join("own.txt");
    fs::write(&file, "# mine, without an end of line").expect("a file");
    let path = file.to_str().expect("text");
    let kept =
        run_in(&fixture, folder.path(), &[&["keygen", "--file", path, "--no-rules"][..], &nowhere].concat()).await;
    assert!(kept.code == 0 && kept.text().is_empty() && kept.stderr.contains("nothing was made"), "{kept:?}");
    let added =
        run_in(&fixture, folder.path(), &[&["keygen", "--file", path, "--no-rules", "--force"][..], &nowhere].concat())
            .await;
    assert_eq!(added.code, 0, "{added:?}");
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.starts_with("# mine, without an end of line\n# created: ") && identities(&text).len() == 1);

    let fixture = fixture.with_variable("SOPS_AGE_KEY_FILE", folder.path().join("new/keys.txt"));
    let made = run_in(&fixture, folder.path(), &[&["keygen", "--local"][..], &nowhere].concat()).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(folder.path().join("new/keys.txt").exists());
}

#[tokio::test]
async fn rules_keep_their_comments_and_their_order_is_told() {
    let fixture = Fixture::new("keygen").await;
    store(&fixture, "files", with_age()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let rules =
        "# ours\ncreation_rules:\n# everybody\n- age: age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun\n";
    fs::create_dir(folder.path().join("deep")).expect("a folder");
    fs::write(folder.path().join(".sops.yaml"), rules).expect("rules");
    let made = run_in(&fixture, &folder.path().join("deep"), &["keygen"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stderr.contains("comes first"), "{made:?}");
    let text = fs::read_to_string(folder.path().join(".sops.yaml")).expect("rules");
    assert!(text.starts_with(rules) && text.contains(made.text().trim_end()), "{text}");
    assert!(!folder.path().join("deep/.sops.yaml").exists(), "the nearest rules upwards");
}

#[tokio::test]
async fn what_has_no_age_key_is_refused_with_the_reason() {
    let fixture = Fixture::new("keygen").await;
    let folder = tempfile::tempdir().expect("a folder");
    let none = run_in(&fixture, folder.path(), &["keygen"]).await;
    assert_eq!(none.code, 3);
    assert!(none.stderr.contains("no Store of kind sops"), "{none:?}");
    let kms = json!({"sops": {"source": {"configMaps": ["files"]}, "awsKms": {"auth": {"secret": {"name": "aws"}}}}});
    store(&fixture, "kms", kms).await;
    store(&fixture, "plain", json!({"kubernetes": {}})).await;
    let refused = run_in(&fixture, folder.path(), &["keygen"]).await;
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.starts_with("error: Unsupported: Store/kms opens its files with awsKms"), "{refused:?}");
    let other = run_in(&fixture, folder.path(), &["keygen", "plain"]).await;
    assert!(other.code == 3 && other.stderr.starts_with("error: Unsupported: Store/plain"), "{other:?}");
    store(&fixture, "files", with_age()).await;
    let open = run_in(&fixture, folder.path(), &["keygen"]).await;
    assert_eq!(open.code, 2);
    assert!(open.stderr.contains("hint: name one: files, kms"), "{open:?}");
    assert!(!folder.path().join(".sops.yaml").exists());

    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stores"], "verbs": ["get", "list"]}]))
        .await;
    let denied = run_in(&fixture, folder.path(), &["keygen", "files"]).await;
    assert_eq!((denied.code, denied.text()), (3, ""));
    assert!(denied.stderr.contains("Secret") && denied.stderr.contains("--local or --file"), "{denied:?}");
}
