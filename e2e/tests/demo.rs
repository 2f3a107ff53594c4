//! The whole demo, as `make demo` runs it: it ends well, shows what it should, prints no value and leaves nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use e2e::{ControlPlane, Options};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::process::Command;

const DEMO: &str = env!("CARGO_BIN_EXE_e2e");
/// Drives a program on a terminal: waits for a text, presses Ctrl-C, and passes on its output and exit status.
const TERMINAL: &str = include_str!("demo/terminal.py");
/// The only public value: a `default` in the Stack.
const DEFAULT: &str = "info";

/// The folder of the operator and the plugin, which `cargo test --workspace` has just built.
fn programs() -> PathBuf {
    let folder = Path::new(DEMO).parent().unwrap().to_owned();
    for name in ["atmos-secrets-operator", "kubectl-atmos_secret"] {
        assert!(folder.join(name).is_file(), "{name} is not built: run `cargo build --workspace --bins` first");
    }
    folder
}

fn demo(programs: &Path) -> Command {
    let mut command = Command::new(DEMO);
    command.arg("demo").arg("--programs").arg(programs).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("DEMO_CONTEXT").env_remove("KUBECONFIG");
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Both streams and the exit status, for a failure.
fn assert_ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

fn assert_story(text: &str) {
    let mut rest = text;
    for line in [
        "plat-ue1-prod   False   4/5           ValueMissing   orders-api PAYMENT_API_KEY",
        "terraform/orders-api   PAYMENT_API_KEY   instance   Store/local   missing",
        "missing: terraform/orders-api PAYMENT_API_KEY: ValueMissing",
        "(exit status 1)",
        "set PAYMENT_API_KEY",
        "Secret orders-api was there ",
        "The new password was in Secret orders-db ",
        "secret/orders-db patched",
        "Secret orders-db was as it should be again ",
        "target orders-db was edited and is written again",
        "plat-ue1-prod   True    5/5           Synced",
        "valid: Stack quickstart/plat-ue1-prod: 5 of 5 secrets have a value",
    ] {
        let Some((_before, after)) = rest.split_once(line) else {
            panic!("{line:?} is missing, or out of order, in\n{text}")
        };
        rest = after;
    }
}

/// The folder that the demo said it works in.
fn folder(text: &str) -> PathBuf {
    let (_before, after) = text.split_once("copies of the repository's, in ").unwrap();
    PathBuf::from(after.split_once(".\n").map_or(after, |(path, _after)| path).trim_end_matches(".\r"))
}

#[tokio::test]
async fn the_demo_ends_well_on_a_control_plane_of_its_own() {
    let output = demo(&programs()).output().await.unwrap();
    assert_ended(&output, 0);
    let text = text(&output);
    assert_story(&text);
    assert!(text.contains("<MASKED>"), "{text}");
    assert!(!folder(&text).exists(), "the demo left its folder");
}

type Values = Arc<Mutex<BTreeSet<Vec<u8>>>>;

/// Collects every value that any Secret of the quickstart ever has.
fn collect_values(client: Client) -> (Values, tokio::task::JoinHandle<()>) {
    let values = Values::default();
    let seen = Arc::clone(&values);
    let secrets = watcher(Api::<Secret>::namespaced(client, "quickstart"), watcher::Config::default());
    let collect = secrets.default_backoff().applied_objects().into_stream().for_each(move |secret| {
        let data = secret.ok().and_then(|secret| secret.data).unwrap_or_default();
        seen.lock().unwrap().extend(data.into_values().map(|value| value.0));
        std::future::ready(())
    });
    (values, tokio::spawn(collect))
}

async fn installed(control_plane: &ControlPlane) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut arguments: Vec<String> = ["get", "--ignore-not-found", "--output=name"].map(str::to_owned).into();
    for path in ["crds", "examples/install/rbac.yaml", "examples/quickstart/namespace.yaml"] {
        arguments.push(format!("--filename={}", root.join(path).display()));
    }
    let output = control_plane.kubectl(&arguments).await.unwrap();
    text(&output)
}

#[tokio::test]
async fn in_a_cluster_of_others_it_prints_no_value_and_takes_everything_away() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    // What an interrupted demo leaves.
    let left = "apiVersion: v1
kind: Namespace
metadata: {name: atmos-secrets, labels: {app.kubernetes.io/created-by: atmos-secrets-demo}}
---
apiVersion: v1
kind: Namespace
metadata: {name: quickstart}
";
    control_plane.apply_yaml(left).await.unwrap();
    let (values, collecting) = collect_values(control_plane.client().await.unwrap());

    let mut command = demo(&programs());
    command.env("DEMO_CONTEXT", "current").env("KUBECONFIG", control_plane.admin_kubeconfig());
    let output = command.output().await.unwrap();
    assert_ended(&output, 0);
    let text = text(&output);
    assert_story(&text);
    assert!(text.contains("An earlier demo was interrupted here"), "{text}");
    assert_eq!(installed(&control_plane).await, "", "the demo left something in the cluster");

    collecting.abort();
    let values = values.lock().unwrap().clone();
    // The age identity; a key, a user and two passwords of the SOPS files; the value that was set; the default.
    assert_eq!(values.len(), 7, "not every value was collected");
    for value in values.iter().filter(|value| value.as_slice() != DEFAULT.as_bytes()) {
        let plain = String::from_utf8_lossy(value);
        let plain = plain.lines().last().unwrap();
        let found = [plain, &BASE64.encode(plain)].into_iter().any(|form| text.contains(form));
        assert!(!found, "the demo printed a value:\n{text}");
    }
}

#[tokio::test]
async fn it_does_not_touch_what_is_not_its_own() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let theirs = "{apiVersion: v1, kind: Namespace, metadata: {name: quickstart}}";
    control_plane.apply_yaml(theirs).await.unwrap();
    let mut command = demo(&programs());
    command.env("DEMO_CONTEXT", "current").env("KUBECONFIG", control_plane.admin_kubeconfig());
    let output = command.output().await.unwrap();
    assert_ended(&output, 1);
    let text = text(&output);
    assert!(text.contains("this cluster has namespace/quickstart already"), "{text}");
    assert_eq!(installed(&control_plane).await.trim(), "namespace/quickstart");
}

/// A demo that goes on when a step fails would prove nothing.
#[tokio::test]
async fn it_fails_when_a_step_does_not_come_true() {
    let folder = tempfile::tempdir().unwrap();
    let operator = programs().join("atmos-secrets-operator");
    std::os::unix::fs::symlink(operator, folder.path().join("atmos-secrets-operator")).unwrap();
    // Says that all is well, and does nothing.
    let plugin = folder.path().join("kubectl-atmos_secret");
    std::fs::write(&plugin, "#!/bin/sh\necho valid\n").unwrap();
    std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = demo(folder.path()).output().await.unwrap();
    assert_ended(&output, 1);
    let text = text(&output);
    assert!(text.contains("error: the last command ended with exit status: 0, expected was exit status 1"), "{text}");
}

#[tokio::test]
async fn on_a_terminal_it_stays_until_ctrl_c() {
    let mut command = Command::new("python3");
    command.arg("-c").arg(TERMINAL).arg(DEMO).arg("demo").arg("--programs").arg(programs());
    command.env("NO_COLOR", "1").env_remove("DEMO_CONTEXT").env_remove("KUBECONFIG").kill_on_drop(true);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert_ended(&output, 0);
    let text = text(&output);
    assert_story(&text);
    assert!(text.contains("until you press Ctrl-C here") && text.contains("export KUBECONFIG="), "{text}");
    let folder = folder(&text);
    assert!(folder.starts_with("/tmp") || folder.starts_with(std::env::temp_dir()), "{}", folder.display());
    assert!(!folder.exists(), "the demo left its folder");
}
