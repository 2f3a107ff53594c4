//! `set`, `get`, `list` and `delete` on SOPS files in a folder, with the real `sops` as the judge.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Outcome, run};
use crate::sops::identity;
use crate::store::CANARY;

/// A git checkout of one folder `secrets`, rules above it, and a Stack with a `sops` store in the cluster. The user holds the
/// key.
pub struct Checkout {
    pub fixture: Fixture,
    pub folder: PathBuf,
    pub recipient: String,
}

impl Checkout {
    pub async fn new(store: Value) -> Self {
        let fixture = Fixture::new("local").await;
        let (recipient, secret) = identity();
        let folder = fixture.home().join("checkout/secrets");
        fs::create_dir_all(&folder).expect("a folder");
        let rules = format!("# who may read\ncreation_rules:\n- path_regex: ^secrets/\n  age: {recipient}\n");
        fs::write(folder.with_file_name(".sops.yaml"), rules).expect("rules");
        let mut sops =
            json!({"source": {"configMaps": ["files"]}, "age": {"keys": [{"secret": "age", "key": "keys.txt"}]}});
        sops.as_object_mut().expect("a map").extend(store.as_object().cloned().unwrap_or_default());
        fixture
            .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "files"},
                          "spec": {"sops": sops}}))
            .await;
        let vars = |names: &[&str]| {
            names.iter().map(|name| ((*name).to_owned(), json!({"sops": "files"}))).collect::<serde_json::Map<_, _>>()
        };
        fixture
            .stack(
                "prod",
                json!({
                    "secrets": {"vars": vars(&["TOKEN", "OTHER", "CLEAR_NAME"])},
                    "components": {"terraform": {"net/vpc": {"secrets": {"vars": vars(&["PEER"])}}}},
                }),
            )
            .await;
        Self { fixture: fixture.with_variable("SOPS_AGE_KEY", secret), folder, recipient }
    }

    /// Runs the plugin on the folder.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Outcome {
        let folder = self.folder.to_str().expect("text");
        let arguments = [arguments, &["--local", folder]].concat();
        let outcome = self.fixture.run_with_input(&arguments, input.as_bytes()).await;
        assert!(!outcome.stderr.contains(CANARY), "{outcome:?}");
        outcome
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("a file")
    }

    /// Runs the real `sops`.
    pub async fn sops(&self, arguments: &[&str]) -> Outcome {
        sops(&self.fixture, arguments).await
    }

    /// What the real `sops` finds in a file.
    pub async fn decrypted(&self, file: &str) -> Value {
        decrypted(&self.fixture, &self.path(file)).await
    }
}

/// Runs the real `sops` with the user's environment.
pub async fn sops(fixture: &Fixture, arguments: &[&str]) -> Outcome {
    let program = e2e::tools::path(e2e::tools::Tool::Sops).await.expect("sops");
    run(fixture.command(program.to_str().expect("text"), arguments), b"").await
}

/// What the real `sops` finds in a file.
pub async fn decrypted(fixture: &Fixture, file: &Path) -> Value {
    let outcome = sops(fixture, &["decrypt", "--output-type", "json", file.to_str().expect("text")]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome.json()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn a_file_is_begun_by_the_rules_and_edited_in_place() {
    let checkout = Checkout::new(json!({})).await;
    let set = checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await;
    let path = checkout.path("prod.enc.yaml");
    set.is(0, "", &format!("set TOKEN, shared by all components of stack prod ({})\n", path.display()));
    assert_eq!(mode(&path), 0o600);
    assert!(!checkout.text("prod.enc.yaml").contains(CANARY));
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"TOKEN": CANARY}));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    let before = checkout.text("prod.enc.yaml");
    assert_eq!(checkout.run(&["set", "OTHER", "--stdin"], "two\nlines\n").await.code, 0);
    let after = checkout.text("prod.enc.yaml");
    assert_eq!(line(&before, "TOKEN"), line(&after, "TOKEN"), "the same data key, and what is unchanged stays");
    assert_eq!(mode(&path), 0o644, "the mode stays");
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"TOKEN": CANARY, "OTHER": "two\nlines\n"}));

    // What sops writes, we read and edit; and again.
    for round in 0..3 {
        let edit = ["set", path.to_str().expect("text"), "[\"OTHER\"]", &format!("\"by sops {round}\"")];
        assert_eq!(checkout.sops(&edit).await.code, 0);
        let read = checkout.run(&["get", "OTHER", "--mask=false", "-r"], "").await;
        assert_eq!((read.code, read.text()), (0, format!("by sops {round}").as_str()), "{read:?}");
        let value = format!("by us {round}");
        assert_eq!(checkout.run(&["set", "OTHER", "--stdin", "--force"], &value).await.code, 0);
        assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"TOKEN": CANARY, "OTHER": value}));
    }
    let files: Vec<_> =
        fs::read_dir(&checkout.folder).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert_eq!(files, ["prod.enc.yaml"], "nothing is left beside");
}

#[tokio::test]
async fn a_slash_of_a_component_makes_folders() {
    let checkout = Checkout::new(json!({})).await;
    let set = checkout.run(&["set", "PEER", "--stdin"], CANARY).await;
    assert_eq!(set.code, 0, "{set:?}");
    let file = "prod.net/vpc.enc.yaml";
    assert_eq!(checkout.decrypted(file).await, json!({"PEER": CANARY}));
    assert_eq!(mode(checkout.path(file).parent().expect("a folder")), 0o755);
    // A file that is called as in the cluster is used where it is.
    fs::rename(checkout.path(file), checkout.path("prod.net.vpc.enc.yaml")).expect("a move");
    let read = checkout.run(&["get", "PEER", "--mask=false", "-r"], "").await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{read:?}");
    fs::copy(checkout.path("prod.net.vpc.enc.yaml"), checkout.path(file)).expect("a copy");
    let both = checkout.run(&["get", "PEER"], "").await;
    assert_eq!(both.code, 3);
    assert!(both.stderr.contains("PathCollision") && both.stderr.contains("keep one of them"), "{both:?}");

    let templated = Checkout::new(json!({"file": "{{ atmos_stack }}-all.json"})).await;
    assert_eq!(templated.run(&["set", "TOKEN", "--stdin"], CANARY).await.code, 0);
    assert_eq!(templated.decrypted("prod-all.json").await, json!({"TOKEN": CANARY}));
}

#[tokio::test]
async fn a_value_that_the_rule_leaves_in_the_clear_is_refused() {
    let checkout = Checkout::new(json!({})).await;
    let rules = format!("creation_rules:\n- age: {}\n  unencrypted_regex: ^CLEAR_\n", checkout.recipient);
    fs::write(checkout.folder.with_file_name(".sops.yaml"), rules).expect("rules");
    for begun in [false, true] {
        let refused = checkout.run(&["set", "CLEAR_NAME", "--stdin"], CANARY).await;
        assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
        assert!(refused.stderr.contains("InvalidKeyName") && refused.stderr.contains("in the clear"), "{refused:?}");
        assert_eq!(checkout.path("prod.enc.yaml").exists(), begun, "nothing was written");
        if !begun {
            assert_eq!(checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await.code, 0);
            assert!(checkout.text("prod.enc.yaml").contains("unencrypted_regex: ^CLEAR_"), "the whole rule");
        }
    }
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"TOKEN": CANARY}));
}

#[tokio::test]
async fn without_rules_or_a_folder_nothing_is_written() {
    let checkout = Checkout::new(json!({})).await;
    fs::remove_file(checkout.folder.with_file_name(".sops.yaml")).expect("no rules");
    let refused = checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("there is no .sops.yaml"), "{refused:?}");
    fs::write(checkout.folder.with_file_name(".sops.yaml"), "creation_rules:\n- path_regex: ^other\n  age: age1x\n")
        .expect("rules");
    let refused = checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await;
    assert!(refused.stderr.contains("no creation rule is for secrets/prod.enc.yaml"), "{refused:?}");
    fs::remove_dir(&checkout.folder).expect("empty");
    let nowhere = checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.stderr.starts_with("error: there is no folder "), "{nowhere:?}");
    assert!(!checkout.folder.exists());
}

#[tokio::test]
async fn a_deleted_value_is_gone_and_the_rest_stays() {
    let checkout = Checkout::new(json!({})).await;
    let path = checkout.path("prod.enc.yaml");
    let nothing = checkout.run(&["delete", "TOKEN", "--yes"], "").await;
    nothing.is(0, "", &format!("TOKEN has no value ({}): nothing to delete\n", path.display()));
    for name in ["TOKEN", "OTHER"] {
        assert_eq!(checkout.run(&["set", name, "--stdin"], CANARY).await.code, 0);
    }
    let before = checkout.text("prod.enc.yaml");
    let deleted = checkout.run(&["delete", "TOKEN", "--yes"], "").await;
    deleted.is(
        0,
        "",
        &format!("deleted TOKEN, shared by all components of stack prod ({}); it is still declared\n", path.display()),
    );
    assert_eq!(line(&before, "OTHER"), line(&checkout.text("prod.enc.yaml"), "OTHER"));
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"OTHER": CANARY}));
    let again = checkout.run(&["rm", "TOKEN", "--yes"], "").await;
    assert!(again.code == 0 && again.stderr.contains("nothing to delete"), "{again:?}");
    assert_eq!(checkout.run(&["get", "TOKEN"], "").await.code, 1);
}

#[tokio::test]
async fn the_last_value_takes_the_data_key_with_it() {
    let checkout = Checkout::new(json!({})).await;
    for name in ["TOKEN", "OTHER"] {
        assert_eq!(checkout.run(&["set", name, "--stdin"], CANARY).await.code, 0);
    }
    // A data key that is encrypted once more is another text each time, so the entry as a whole tells.
    let entry = || checkout.text("prod.enc.yaml").split_once("enc: |").expect("a data key").1.to_owned();
    let before = entry();
    let of_data_key = |entry: &str| entry.split_once("lastmodified:").expect("its end").0.to_owned();
    assert_eq!(checkout.run(&["delete", "TOKEN", "--yes"], "").await.code, 0);
    assert_eq!(of_data_key(&entry()), of_data_key(&before), "a value is left");
    assert_eq!(checkout.run(&["delete", "OTHER", "--yes"], "").await.code, 0);
    assert_ne!(of_data_key(&entry()), of_data_key(&before));
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({}));
    assert_eq!(checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await.code, 0);
    assert_eq!(checkout.decrypted("prod.enc.yaml").await, json!({"TOKEN": CANARY}));
}

#[tokio::test]
async fn the_list_shows_what_the_folder_has_without_a_key() {
    let checkout = Checkout::new(json!({})).await;
    assert_eq!(checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await.code, 0);
    let checkout = Checkout { fixture: checkout.fixture.with_variable("SOPS_AGE_KEY", ""), ..checkout };
    let listed = checkout.run(&["list", "-o", "json"], "").await.json();
    let states: Vec<(&str, &str)> = listed
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["name"].as_str().expect("a name"), row["status"].as_str().expect("a state")))
        .collect();
    assert_eq!(
        states,
        [("CLEAR_NAME", "missing"), ("OTHER", "missing"), ("TOKEN", "initialized"), ("PEER", "missing")]
    );
    let shut = checkout.run(&["get", "TOKEN"], "").await;
    assert_eq!(shut.code, 3);
    assert!(shut.stderr.contains("NoMatchingKey") && shut.stderr.contains("hint: set SOPS_AGE_KEY"), "{shut:?}");
}

#[tokio::test]
async fn a_file_that_was_tampered_with_is_not_written() {
    let checkout = Checkout::new(json!({})).await;
    for name in ["TOKEN", "OTHER"] {
        assert_eq!(checkout.run(&["set", name, "--stdin"], CANARY).await.code, 0);
    }
    let good = checkout.text("prod.enc.yaml");
    let bad: String = good.lines().filter(|line| !line.starts_with("OTHER:")).map(|line| format!("{line}\n")).collect();
    fs::write(checkout.path("prod.enc.yaml"), &bad).expect("a file");
    let refused = checkout.run(&["set", "TOKEN", "--stdin", "--force"], "new").await;
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("MacMismatch"), "{refused:?}");
    assert_eq!(checkout.text("prod.enc.yaml"), bad);
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing() {
    let checkout = Checkout::new(json!({})).await;
    let names: Vec<String> = (0..8).map(|index| format!("N{index}")).collect();
    let vars: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!({"sops": "files"}))).collect();
    checkout.fixture.change("prod", json!({"secrets": {"vars": vars}})).await;
    let arguments: Vec<[&str; 3]> = names.iter().map(|name| ["set", name.as_str(), "--stdin"]).collect();
    let writers = arguments.iter().map(|arguments| checkout.run(arguments, CANARY));
    for outcome in futures::future::join_all(writers).await {
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }
    let found = checkout.decrypted("prod.enc.yaml").await;
    assert_eq!(found.as_object().expect("a map").len(), names.len(), "{found}");
}

#[tokio::test]
async fn a_held_lock_is_4_and_nothing_is_written() {
    let checkout = Checkout::new(json!({})).await;
    let lock = fs::File::open(&checkout.folder).expect("the folder");
    lock.lock().expect("a lock");
    let refused = checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await;
    assert_eq!((refused.code, refused.text()), (4, ""), "{refused:?}");
    assert!(refused.stderr.contains("somebody else holds the lock on the folder"), "{refused:?}");
    assert!(!checkout.path("prod.enc.yaml").exists());
    drop(lock);
    assert_eq!(checkout.run(&["set", "TOKEN", "--stdin"], CANARY).await.code, 0);
}
