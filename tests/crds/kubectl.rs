//! What people see in the real kubectl: columns and `explain`.

use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind};

impl Cluster {
    /// What kubectl prints, or a panic with its words.
    async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.control_plane.kubectl(arguments).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The cells of the one object of this namespace or name, by header.
    async fn table(&self, arguments: &[&str]) -> Vec<(String, String)> {
        let text = self.kubectl(arguments).await;
        let (header, row) = text.trim_end().split_once('\n').unwrap();
        let starts: Vec<_> = header
            .char_indices()
            .filter(|(at, letter)| *letter != ' ' && (*at == 0 || header[..*at].ends_with(' ')))
            .map(|(at, _)| at)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
        let cell = |line: &str, start: usize, end: usize| line[start..end.min(line.len())].trim().to_owned();
        starts.iter().zip(ends).map(|(start, end)| (cell(header, *start, end), cell(row, *start, end))).collect()
    }

    async fn write_status(&self, kind: Kind, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.objects(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }
}

fn cells<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(header, cell)| (header.to_owned(), cell.to_owned())).into()
}

/// Ages change while a test runs.
fn without_age(mut cells: Vec<(String, String)>) -> Vec<(String, String)> {
    let age = cells.iter_mut().find(|(header, _)| header == "AGE").unwrap();
    assert!(age.1.ends_with('s') || age.1.ends_with('m'), "{}", age.1);
    age.1.clear();
    cells
}

fn ready(reason: &str, message: &str) -> Value {
    json!([
        {"type": "Stalled", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ])
}

#[tokio::test]
async fn columns_of_stacks() {
    let cluster = Cluster::new().await.unwrap();
    let stack = cluster.create(Kind::Stack, "{name: plat-ue1-prod}").await.unwrap().name_any();
    let namespace = cluster.namespace.as_str();
    let status = json!({
        "initialized": "10/12", "missing": "orders-db DB_PASSWORD +1", "stores": "app-secrets, files",
        "conditions": ready("ValueMissing", "1 required secret has no value"),
    });
    cluster.write_status(Kind::Stack, &stack, status).await;
    let usual = [
        ("NAME", stack.as_str()),
        ("READY", "False"),
        ("INITIALIZED", "10/12"),
        ("REASON", "ValueMissing"),
        ("MISSING", "orders-db DB_PASSWORD +1"),
        ("AGE", ""),
    ];
    for word in ["stacks", "stack", "stk", "stacks.secrets.atmos.tools"] {
        let table = cluster.table(&["get", word, "--namespace", namespace]).await;
        assert_eq!(without_age(table), cells(usual), "{word}");
    }
    let wide = cluster.table(&["get", "stacks", "--namespace", namespace, "--output=wide"]).await;
    let more =
        [("STACK", "plat-ue1-prod"), ("STORES", "app-secrets, files"), ("MESSAGE", "1 required secret has no value")];
    assert_eq!(without_age(wide), [cells(usual), cells(more)].concat());
}

#[tokio::test]
async fn columns_of_stores() {
    let cluster = Cluster::new().await.unwrap();
    let store = cluster.create(Kind::Store, "{kubernetes: {}}").await.unwrap().name_any();
    let shared =
        cluster.create(Kind::ClusterStore, "{allowedNamespaces: {}, shared: true, awsSsm: {region: a}}").await.unwrap();
    let shared = shared.name_any();
    let namespace = cluster.namespace.as_str();
    for (kind, name, which) in [
        (Kind::Store, &store, vec!["stores", "--namespace", namespace]),
        (Kind::ClusterStore, &shared, vec!["clusterstores", &shared]),
    ] {
        let status = json!({"kind": "sops", "users": 12, "conditions": ready("Timeout", "the store did not answer")});
        cluster.write_status(kind, name, status).await;
        let usual = [("NAME", name.as_str()), ("READY", "False"), ("KIND", "sops"), ("REASON", "Timeout"), ("AGE", "")];
        let more = [("USERS", "12"), ("MESSAGE", "the store did not answer")];
        let table = cluster.table(&[&["get"], which.as_slice()].concat()).await;
        assert_eq!(without_age(table), cells(usual), "{kind:?}");
        let wide = cluster.table(&[&["get", "--output=wide"], which.as_slice()].concat()).await;
        assert_eq!(without_age(wide), [cells(usual), cells(more)].concat(), "{kind:?}");
    }
}

#[tokio::test]
async fn the_category_lists_every_kind() {
    let cluster = Cluster::new().await.unwrap();
    let text = cluster.kubectl(&["api-resources", "--categories=atmos", "--no-headers"]).await;
    let mut rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    rows.sort();
    let version = "secrets.atmos.tools/v1alpha1";
    assert_eq!(
        rows,
        [
            vec!["catalogs", version, "false", "Catalog"],
            vec!["clusterstores", version, "false", "ClusterStore"],
            vec!["stacks", "stk", version, "true", "Stack"],
            vec!["stores", version, "true", "Store"],
        ]
    );
}

#[tokio::test]
async fn explain_prints_our_documentation() {
    let cluster = Cluster::new().await.unwrap();
    for (field, words) in [
        ("stacks", "A Stack declares by name the secrets of one Atmos stack and the Secrets to write them into."),
        (
            "stacks.spec.components",
            "Components by type (`terraform`, `helmfile`, `packer`, `ansible` or any word) and name.",
        ),
        ("stacks.spec.drift", "`Correct` (default) writes it again, `Report` only says so."),
        ("stacks.spec.refreshInterval", "`10s` to `720h`, or `0s` for never on its own. Default: `1h`."),
        (
            "stacks.spec.secrets.vars.scope",
            "An explicit value must equal the implied one; `global` is allowed anywhere.",
        ),
        ("stacks.spec.targets.deletionPolicy", "`Retain` (default) leaves the Secret"),
        ("stacks.spec.targets.type", "Default: `Opaque`"),
        ("stacks.status.secrets.state", "Whether it has a value."),
        ("stores.spec.sops.source", "exactly one of `configMaps` and `secrets`"),
        ("stores.spec.encoding", "`atmos` (default): values as the Atmos CLI stores them."),
        ("clusterstores.spec.allowedNamespaces", "Empty admits nobody."),
        ("catalogs.spec.stores", "Aliases for ClusterStores"),
    ] {
        let text = cluster.kubectl(&["explain", field]).await;
        // kubectl breaks lines where it likes.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "explain {field} does not say {words:?}:\n{text}");
    }
    let values = cluster.kubectl(&["explain", "stacks.spec.targets.syncPolicy"]).await;
    assert!(values.contains("AllOrNothing") && values.contains("PerKey"), "{values}");
}
