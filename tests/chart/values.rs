//! Which values the chart takes.

use atmos_secrets::backend::network::AllowedHost;
use atmos_secrets::process::args::Args;
use clap::Parser as _;
use serde_json::Value;

use crate::helm::{CHART, RELEASE, find, helm, objects, template, text};

#[tokio::test]
async fn lint_finds_nothing() {
    for arguments in [&[][..], &["--set", "clusterWide=true"], &["--set", "namespaces={a,b}"]] {
        let output = helm(None, &[&["lint", "--strict", CHART], arguments].concat()).await.unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[tokio::test]
async fn wrong_values_are_refused() {
    let mut otherwise = String::new();
    for (value, words) in [
        ("namespace=\"a\"", "additional properties 'namespace' not allowed"),
        ("image.name=\"x\"", "additional properties 'name' not allowed"),
        ("log.color=true", "additional properties 'color' not allowed"),
        ("networkPolicy.egress.cidrs=[]", "additional properties 'cidrs' not allowed"),
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("namespaces=\"a\"", "/namespaces': got string, want array"),
        ("namespaces=[\"A\"]", "/namespaces/0': 'A' does not match pattern"),
        ("namespaces=[\"a\",\"a\"]", "/namespaces': items at 0 and 1 are equal"),
        ("namespaces=[\"*\"]", "/namespaces/0': '*' does not match pattern"),
        ("clusterWide=\"yes\"", "/clusterWide': got string, want boolean"),
        ("clusterStoreSecrets=[\"\"]", "/clusterStoreSecrets/0': '' does not match pattern"),
        ("concurrency=0", "/concurrency': minimum: got 0, want 1"),
        ("concurrency=257", "/concurrency': maximum: got 257, want 256"),
        ("concurrency=1.5", "/concurrency': got number, want integer"),
        ("log.format=\"xml\"", "/log/format': value must be one of 'json', 'text'"),
        ("log.level=\"info --panic\"", "/log/level': 'info --panic' does not match pattern"),
        ("stores.allowedEndpoints=[\"https://a\"]", "/stores/allowedEndpoints/0': 'https://a' does not match pattern"),
        ("stores.serviceEndpoints={\"aws\":\"https://a\"}", "invalid propertyName 'aws'"),
        ("stores.serviceEndpoints={\"aws-sts\":\"http://a\"}", "aws-sts': 'http://a' does not match pattern"),
        ("stores.endpoints=[]", "additional properties 'endpoints' not allowed"),
        ("image.digest=\"sha256:1\"", "/image/digest': 'sha256:1' does not match pattern"),
        ("image.tag=\"a b\"", "/image/tag': 'a b' does not match pattern"),
        ("image.pullPolicy=\"Sometimes\"", "/image/pullPolicy': value must be one of"),
        ("listenAddress=\"localhost\"", "/listenAddress': 'localhost' does not match pattern"),
        ("resources.requests.memory=\"much\"", "/resources/requests/memory': 'much' does not match pattern"),
        ("podLabels={\"app.kubernetes.io/name\":\"x\"}", "invalid propertyName 'app.kubernetes.io/name'"),
        ("networkPolicy.egress.apiServerCIDRs=[\"10.0.0.1\"]", "/apiServerCIDRs/0': '10.0.0.1' does not match pattern"),
        ("networkPolicy.egress.storePorts=[0]", "/storePorts/0': minimum: got 0, want 1"),
        ("networkPolicy.egress.storeCIDRs=[\"10.0.0.0/8\"]", "without apiServerCIDRs would cut the operator off"),
        ("imagePullSecrets=[\"x\"]", "/imagePullSecrets/0': got string, want object"),
    ] {
        let refused = template(&["--set-json", value]).await.expect_err(value);
        if !refused.contains(words) {
            otherwise.push_str(&format!("{value}: expected {words}\n{refused}\n"));
        }
    }
    assert!(otherwise.is_empty(), "{otherwise}");
    let both = template(&["--set", "clusterWide=true,namespaces={a}"]).await.unwrap_err();
    assert!(both.contains("clusterWide: true grants every namespace"), "{both}");
}

#[tokio::test]
async fn values_of_a_parent_chart_are_taken() {
    template(&["--set", "global.region=eu", "--set-json", "resources={\"limits\":{\"cpu\":2,\"memory\":\"1Gi\"}}"])
        .await
        .unwrap();
}

#[tokio::test]
async fn the_chart_needs_the_kubernetes_that_the_readme_names() {
    for (version, good) in [("1.32.9", false), ("1.33.0", true), ("1.33.4-gke.1", true), ("1.40.0", true)] {
        let answer = template(&["--kube-version", version]).await;
        assert_eq!(answer.is_ok(), good, "{version}: {answer:?}");
    }
}

#[tokio::test]
async fn versions_are_those_of_the_package() {
    let chart = helm(None, &["show", "chart", CHART]).await.unwrap();
    let chart = text(&chart.stdout);
    for field in ["version", "appVersion"] {
        let line = format!("\n{field}: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(format!("\n{chart}").contains(&line), "{field} is not {}:\n{chart}", env!("CARGO_PKG_VERSION"));
    }
}

/// The arguments that the chart gives are arguments of the operator, and its defaults are the operator's own.
#[tokio::test]
async fn the_operator_takes_its_arguments() {
    let parse = |objects: &[Value]| {
        let pod = &find(objects, "Deployment", RELEASE)["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap().clone();
        Args::try_parse_from(std::iter::once("operator").chain(arguments.iter().map(|word| word.as_str().unwrap())))
            .unwrap()
    };
    let default = Args::try_parse_from(["operator"]).unwrap();
    let rendered = parse(&objects(&[]).await);
    assert_eq!(format!("{rendered:?}"), format!("{default:?}"));

    let values = "concurrency=256,log.format=text,log.level=info\\,atmos_secrets=debug,listenAddress=[::]";
    let rendered = parse(&objects(&["--set", values]).await);
    assert_eq!(rendered.concurrency, 256);
    assert_eq!(rendered.log.log_level, "info,atmos_secrets=debug");
    assert_eq!(rendered.listen.to_string(), "[::]:8080");

    let values = "stores.allowedEndpoints={vault.example.org,*.example.com:8200},stores.allowAmbientCredentials=true,\
                  stores.serviceEndpoints.aws-sts=https://sts.example.org,stores.certificateAuthorities=roots";
    let rendered = parse(&objects(&["--set", values]).await).outside;
    let hosts: Vec<AllowedHost> =
        ["vault.example.org", "*.example.com:8200"].iter().map(|host| host.parse().unwrap()).collect();
    assert_eq!(rendered.allow_endpoint, hosts);
    assert_eq!(rendered.service_endpoint, ["aws-sts=https://sts.example.org".parse().unwrap()]);
    assert!(rendered.allow_ambient_credentials && rendered.ca_file.is_some());
    assert!(!rendered.allow_loopback_endpoints);
}

#[tokio::test]
async fn a_digest_wins_over_a_tag() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = async |values: &str| {
        let objects = objects(&["--set", values]).await;
        let pod = &find(&objects, "Deployment", RELEASE)["spec"]["template"]["spec"];
        pod["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image("image.repository=r/o").await, format!("r/o:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(image("image.repository=r/o,image.tag=v2").await, "r/o:v2");
    assert_eq!(
        image(&format!("image.repository=r/o,image.tag=v2,image.digest={digest}")).await,
        format!("r/o@{digest}")
    );
}

#[tokio::test]
async fn notes_say_what_to_do_next() {
    let notes = async |values: &str| {
        let arguments = ["install", RELEASE, CHART, "--dry-run=client", "--namespace", "elsewhere", "--set", values];
        let output = helm(None, &arguments).await.unwrap();
        let text = text(&output.stdout);
        let (_, notes) = text.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("no notes: {output:?}"));
        notes.to_owned()
    };
    let grant = "--clusterrole=atmos-secrets-operator-namespace --serviceaccount=elsewhere:atmos-secrets-operator";
    let plain = notes("concurrency=32").await;
    assert!(plain.contains(grant) && plain.contains("may not touch any Secret yet"), "{plain}");
    assert!(!plain.contains("WARNING"), "{plain}");
    let two = notes("namespaces={a,b}").await;
    assert!(two.contains(grant) && two.contains("Secrets in: a, b."), "{two}");
    let wide = notes("clusterWide=true").await;
    assert!(wide.contains("WARNING: clusterWide is on."), "{wide}");
    let open = notes("admissionPolicy.enabled=false").await;
    assert!(open.contains("WARNING: admissionPolicy is off."), "{open}");
}
