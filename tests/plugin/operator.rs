//! The plugin and the real operator together: what one writes the other reads.

use std::process::Stdio;

use e2e::{ControlPlane, Options};
use serde_json::json;

use crate::fixture::{Fixture, install_crds};
use crate::store::{CANARY, quickstart};

const OPERATOR: &str = env!("CARGO_BIN_EXE_atmos-secrets-operator");

#[tokio::test]
async fn the_operator_answers_what_the_plugin_asks() {
    // One of its own: the operator works on every Stack that it finds.
    let options = Options { controller_manager: false, ..Options::default() };
    let control_plane: &'static ControlPlane =
        Box::leak(Box::new(ControlPlane::start(options).await.expect("a control plane")));
    install_crds(control_plane).await;
    let fixture = Fixture::on(control_plane, "operator").await;
    let mut operator = fixture
        .command(OPERATOR, &["--namespace", &fixture.namespace, "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the operator starts");

    quickstart(&fixture).await;
    fixture.change("prod", json!({"components": {"terraform": {"db": {"secrets": {"vars": {"LOST": null}}}}}})).await;
    let missing = fixture.run(&["validate", "--timeout", "5m"]).await;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.text().starts_with("missing: terraform/db PASSWORD: ValueMissing: "), "{missing:?}");

    let set = fixture.run_with_input(&["set", "PASSWORD", "--stdin"], CANARY.as_bytes()).await;
    assert_eq!(set.code, 0, "{set:?}");
    let valid = fixture.run(&["validate", "--refresh", "--timeout", "5m"]).await;
    assert_eq!(valid.code, 0, "{valid:?}");
    fixture.run(&["list", "-c", "db", "-o", "name"]).await.is(0, "API_KEY\nCA\nHOST\nPASSWORD\n", "");
    let by_status = fixture.run(&["list"]).await;
    let by_stores = fixture.run(&["list", "--verify"]).await;
    assert_eq!(by_status.text(), by_stores.text(), "both say the same");
    let described = fixture.run(&["describe", "PASSWORD"]).await;
    assert!(described.text().contains("Targets:      prod-db\n"), "{described:?}");
    for outcome in [missing, set, valid, by_status, by_stores, described] {
        assert!(!outcome.text().contains(CANARY) && !outcome.stderr.contains(CANARY), "{outcome:?}");
    }
    operator.kill().await.expect("the operator ends");
    control_plane.stop_api_server();
}
