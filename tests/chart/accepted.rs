//! The API server takes what the chart renders, with no field unknown to it, whatever the values are.

use crate::helm::{template, text};
use crate::installation::shared;

#[tokio::test]
async fn everything_is_valid() {
    let plane = shared().await.unwrap();
    for namespace in ["orders", "payments"] {
        assert!(plane.kubectl(["create", "namespace", namespace]).await.unwrap().status.success());
    }
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/snapshots/everything.values.yaml");
    for arguments in [
        // The Prometheus operator's kinds are not there.
        &["--values", values, "--set", "serviceMonitor.enabled=false,prometheusRule.enabled=false"][..],
        &["--set", "namespaces={orders,payments}"],
        &["--set", "clusterWide=true"],
        &[],
    ] {
        let rendered = template(arguments).await.unwrap();
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename=-"];
        let output = plane.kubectl_with_input(apply, &rendered).await.unwrap();
        let words = text(&output.stderr);
        assert!(output.status.success() && words.is_empty(), "{arguments:?}: {words}");
    }
}
