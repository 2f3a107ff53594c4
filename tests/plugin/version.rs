//! `version`.

use crate::fixture::{Fixture, PLUGIN, run};

const OURS: &str = env!("CARGO_PKG_VERSION");

#[tokio::test]
async fn tells_the_plugin_the_api_and_the_operator() {
    let fixture = Fixture::new("version").await;
    let expected = format!("client    {OURS}\napi       secrets.atmos.tools/v1alpha1\noperator  not found\n");
    fixture.run(&["version"]).await.is(0, &expected, "");
    fixture.run(&["version", "--client", "-o", "json"]).await.is(0, &format!("{{\n  \"client\": \"{OURS}\"\n}}\n"), "");
    let fixture = fixture.with_rights(serde_json::json!([])).await;
    let asked = fixture.run(&["version"]).await;
    assert_eq!(asked.code, 0);
    assert!(asked.text().contains("operator  unknown (you may not list Deployments)"), "{asked:?}");
}

#[tokio::test]
async fn never_fails_because_of_the_cluster() {
    let fixture = Fixture::new("version").await;
    for (variable, said) in [
        ("/does/not/exist", "warning: could not read the kubeconfig /does/not/exist: entity not found\n"),
        ("", "warning: found no kubeconfig\n"),
    ] {
        let mut command = fixture.command(PLUGIN, &["version"]);
        command.env("KUBECONFIG", variable);
        let outcome = run(command, b"").await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(outcome.text().starts_with(&format!("client    {OURS}\n")), "{outcome:?}");
        assert!(outcome.stderr == said || variable.starts_with('/'), "{outcome:?}");
    }
}
