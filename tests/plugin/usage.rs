//! The command line itself: help, mistakes, and `kubectl atmos-secret` through kubectl.

use std::path::Path;

use crate::fixture::{Fixture, PLUGIN, run, search_path};
use crate::list::payments;

#[tokio::test]
async fn help_needs_no_cluster_and_speaks_of_kubectl() {
    let fixture = Fixture::new("usage").await;
    for arguments in [&["--help"][..], &["list", "--help"], &["validate", "-h"], &["help", "describe"]] {
        let mut command = fixture.command(PLUGIN, arguments);
        command.env("KUBECONFIG", "/does/not/exist");
        let outcome = run(command, b"").await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(outcome.text().contains("Usage: kubectl atmos-secret"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_mistyped_word_gets_the_nearest_one() {
    let fixture = Fixture::new("usage").await;
    for (arguments, near) in
        [(&["lst"][..], "'list'"), (&["list", "--stak", "x"], "'--stack'"), (&["list", "-o", "jsn"], "'json'")]
    {
        let outcome = run(fixture.command(PLUGIN, arguments), b"").await;
        assert_eq!((outcome.code, outcome.text()), (2, ""), "{arguments:?}");
        assert!(outcome.stderr.contains(near), "{outcome:?}");
    }
    let nothing = run(fixture.command(PLUGIN, &[]), b"").await;
    assert_eq!(nothing.code, 2, "{nothing:?}");
}

#[tokio::test]
async fn an_unusable_kubeconfig_is_2() {
    let fixture = Fixture::new("usage").await;
    let outcome = run(fixture.command(PLUGIN, &["list", "--context", "none"]), b"").await;
    outcome.is(2, "", "error: the kubeconfig has no context none\nhint: see `kubectl config get-contexts`\n");
    let outcome = run(fixture.command(PLUGIN, &["list", "--kubeconfig", "/does/not/exist"]), b"").await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
}

#[tokio::test]
async fn kubectl_finds_the_plugin_under_its_name() {
    let fixture = Fixture::new("usage").await;
    payments(&fixture).await;
    let kubectl = e2e::tools::path(e2e::tools::Tool::Kubectl).await.expect("kubectl");
    let folder = Path::new(PLUGIN).parent().expect("a folder").to_owned();
    let mut path = search_path();
    path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).expect("a PATH");
    let mut command = fixture
        .command(kubectl.to_str().expect("text"), &["atmos-secret", "list", "-n", &fixture.namespace, "-o", "name"]);
    command.env("PATH", path);
    run(command, b"").await.is(0, "API_KEY\nCA\nPASSWORD\nUSER\n", "");
}

#[tokio::test]
async fn colors_are_for_terminals() {
    let mut fixture = Fixture::new("usage").await;
    fixture.colors = true;
    let colored = fixture.on_terminal(&["validate"], serde_json::json!([])).await;
    assert!(colored.output.starts_with("\u{1b}[1;31merror:\u{1b}[0m "), "{colored:?}");
    fixture.colors = false;
    let plain = fixture.on_terminal(&["validate"], serde_json::json!([])).await;
    assert!(plain.output.starts_with("error: "), "{plain:?}");
}
