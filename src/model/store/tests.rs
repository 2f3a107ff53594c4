//! Definitions that may be used, and those that may not.

#![expect(clippy::panic, reason = "tests fail by panicking")]

use serde_json::json;

use super::*;

fn cluster(spec: serde_json::Value) -> ClusterStoreSpec {
    serde_json::from_value(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn store(spec: serde_json::Value) -> StoreSpec {
    serde_json::from_value(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("team".to_owned(), "pay".to_owned())])
}

fn judge(spec: serde_json::Value) -> StoreView {
    facts(Definition::ClusterStore(&cluster(spec)), "shared", "payments", &labels()).view
}

#[test]
fn defaults_are_per_kind() {
    let asm = facts(
        Definition::Store(&store(json!({"awsSecretsManager": {"region": "eu-west-1"}}))),
        "app",
        "payments",
        &labels(),
    );
    assert_eq!(asm.view, StoreView::Usable(KeyLayout::new(StoreKind::AwsSecretsManager)));
    assert_eq!(asm.min_refresh_interval, Duration::from_secs(60));
    let kubernetes = facts(
        Definition::Store(&store(json!({"kubernetes": {}, "minRefreshInterval": "5m"}))),
        "app",
        "payments",
        &labels(),
    );
    let StoreView::Usable(layout) = kubernetes.view else { panic!("refused") };
    assert_eq!((layout.prefix.as_str(), layout.has_versions), ("atmos", false));
    assert_eq!(kubernetes.min_refresh_interval, Duration::from_secs(300));
}

#[test]
fn durations_are_bounded() {
    for (text, interval) in [("0s", 10), ("9000h", 2_592_000), ("?", 60)] {
        let spec = store(json!({"kubernetes": {}, "minRefreshInterval": text}));
        let facts = facts(Definition::Store(&spec), "app", "payments", &labels());
        assert_eq!(facts.min_refresh_interval.as_secs(), interval, "{text}");
    }
}

#[test]
fn versions_exist_where_the_store_keeps_them() {
    for (version, has_versions) in [(json!(null), true), (json!(2), true), (json!(1), false)] {
        let spec = store(json!({"vault": {"address": "https://v", "mount": "secret", "kvVersion": version}}));
        let StoreView::Usable(layout) = facts(Definition::Store(&spec), "v", "n", &labels()).view else {
            panic!("refused")
        };
        assert_eq!(layout.has_versions, has_versions);
    }
}

#[test]
fn exactly_one_provider() {
    for (spec, fragment) in [
        (json!({}), "no provider"),
        (json!({"kubernetes": {}, "awsSsm": {"region": "r"}}), "awsSsm and kubernetes"),
        (json!({"sops": {"source": {"configMaps": ["a"]}, "file": "{{ x }}"}}), "at character 1"),
        (json!({"awsSsm": {"region": "r", "auth": {"ambient": {}}}}), "auth.ambient"),
        (json!({"sops": {"source": {"secrets": ["a"]}, "awsKms": {"auth": {"ambient": {}}}}}), "auth.ambient"),
    ] {
        let StoreView::Refused(problem) = facts(Definition::Store(&store(spec)), "app", "n", &labels()).view else {
            panic!("usable")
        };
        assert_eq!(problem.reason, Reason::Unsupported);
        assert!(problem.message.contains(fragment), "{}", problem.message);
    }
}

#[test]
fn a_cluster_store_admits_whom_it_names() {
    for (allowed, admitted) in [
        (json!({}), false),
        (json!({"names": ["payments"]}), true),
        (json!({"names": ["orders"]}), false),
        (json!({"selector": {}}), false),
        (json!({"selector": {"matchLabels": {}}}), false),
        (json!({"selector": {"matchLabels": {"team": "pay"}}}), true),
        (json!({"selector": {"matchLabels": {"team": "pay", "tier": "1"}}}), false),
        (json!({"names": ["orders"], "selector": {"matchLabels": {"team": "pay"}}}), true),
    ] {
        let view = judge(json!({"allowedNamespaces": allowed, "shared": true, "awsSsm": {"region": "r"}}));
        assert_eq!(matches!(view, StoreView::Usable(_)), admitted, "{allowed}");
    }
    // Not even a broken definition shows that it exists.
    let view = judge(json!({"allowedNamespaces": {}}));
    assert_eq!(view, StoreView::Refused(not_available("shared", "payments")));
}

#[test]
fn a_cluster_store_keeps_namespaces_apart() {
    let region = json!({"region": "r"});
    for (prefix, shared, provider, usable) in [
        (Some("/atmos/{namespace}"), false, "awsSsm", Some("/atmos/payments")),
        (Some("{namespace}/x/"), false, "awsSsm", Some("payments/x/")),
        (Some("/atmos/{namespace}"), true, "awsSsm", Some("/atmos/payments")),
        (Some("/atmos"), true, "awsSsm", Some("/atmos")),
        (None, true, "awsSsm", Some("")),
        (None, false, "awsSsm", None),
        (Some("/atmos/x-{namespace}"), false, "awsSsm", None),
        (Some("/atmos//{namespace}"), false, "awsSsm", None),
        (Some("/atmos/../{namespace}"), false, "awsSsm", None),
        (Some("/a%2f/{namespace}"), false, "awsSsm", None),
        (Some("{namespace}/x{namespace}"), false, "awsSsm", None),
    ] {
        let view = judge(json!({
            "allowedNamespaces": {"names": ["payments"]}, "prefix": prefix, "shared": shared, provider: region,
        }));
        match (view, usable) {
            (StoreView::Usable(layout), Some(expanded)) => {
                assert_eq!(layout.prefix, expanded);
                assert_eq!(layout.contained, prefix.is_some_and(|prefix| prefix.contains(NAMESPACE)), "{prefix:?}");
            }
            (StoreView::Refused(problem), None) => assert_eq!(problem.reason, Reason::Unsupported),
            (view, _) => panic!("{prefix:?} {view:?}"),
        }
    }
    for provider in
        [json!({"azureKeyVault": {"vaultUrl": "https://v"}}), json!({"gcpSecretManager": {"projectId": "p"}})]
    {
        let mut spec = json!({"allowedNamespaces": {"names": ["payments"]}, "prefix": "a/{namespace}"});
        if let (Some(spec), Some(provider)) = (spec.as_object_mut(), provider.as_object()) {
            spec.extend(provider.clone());
        }
        assert!(matches!(judge(spec), StoreView::Refused(_)));
    }
}
