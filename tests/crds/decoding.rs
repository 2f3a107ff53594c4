//! Fields that the schema does not have: refused by name for strict clients, dropped for others.

use serde_json::json;

use crate::cluster::Kind::{Catalog, ClusterStore, Stack, Store};
use crate::cluster::{Cluster, Kind, Unknown, yaml};

/// Spec with one unknown field, and its path.
const UNKNOWN: &[(Kind, &str, &str)] = &[
    (Stack, "{secret: {}}", "spec.secret"),
    (Stack, "{secrets: {vars: {TOKEN: {value: canary}}}}", "spec.secrets.vars.TOKEN.value"),
    (
        Stack,
        "{components: {terraform: {db: {secrets: {vars: {TOKEN: {value: canary}}}}}}}",
        "spec.components.terraform.db.secrets.vars.TOKEN.value",
    ),
    (Stack, "{components: {terraform: {db: {vars: {}}}}}", "spec.components.terraform.db.vars"),
    (Stack, "{targets: {app: {data: {a: canary}}}}", "spec.targets.app.data"),
    (Stack, "{targets: {app: {namespace: other}}}", "spec.targets.app.namespace"),
    (Stack, "{stores: {app: {store: a, namespace: other}}}", "spec.stores.app.namespace"),
    (Stack, "{imports: [{stack: a, namespace: other}]}", "spec.imports[0].namespace"),
    (Store, "{kubernetes: {namespace: other}}", "spec.kubernetes.namespace"),
    (Store, "{sops: {source: {configMaps: [a], namespace: other}}}", "spec.sops.source.namespace"),
    (
        Store,
        "{sops: {source: {configMaps: [a]}, age: {keys: [{secret: a, key: b, namespace: other}]}}}",
        "spec.sops.age.keys[0].namespace",
    ),
    (Store, "{awsSsm: {region: a, auth: {secret: {name: a, namespace: other}}}}", "spec.awsSsm.auth.secret.namespace"),
    (
        Store,
        "{awsSsm: {region: a, auth: {serviceAccount: {name: a, namespace: other}}}}",
        "spec.awsSsm.auth.serviceAccount.namespace",
    ),
    (
        Store,
        "{vault: {address: 'https://v', mount: m, ca: {configMap: a, namespace: other}}}",
        "spec.vault.ca.namespace",
    ),
    (Store, "{kubernetes: {}, allowedNamespaces: {names: [a]}}", "spec.allowedNamespaces"),
    (Store, "{kubernetes: {}, shared: true}", "spec.shared"),
    (ClusterStore, "{allowedNamespaces: {}, shared: true, awsSsm: {region: a}, kubernetes: {}}", "spec.kubernetes"),
    (
        ClusterStore,
        "{allowedNamespaces: {}, shared: true, sops: {source: {secrets: [a]}, age: {keys: [{secret: a, key: b, namespace: c}]}}}",
        "spec.sops.age.keys[0].namespace",
    ),
    (Catalog, "{targets: {}}", "spec.targets"),
    (Catalog, "{imports: [{catalog: a, stack: b}]}", "spec.imports[0].stack"),
    (Catalog, "{stores: {app: {clusterStore: a, store: b}}}", "spec.stores.app.store"),
    (Catalog, "{components: {terraform: {db: {targets: {}}}}}", "spec.components.terraform.db.targets"),
];

#[tokio::test]
async fn strict_clients_learn_the_name_of_an_unknown_field() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec, field) in UNKNOWN {
        let refusal = cluster.create(*kind, spec).await.unwrap_err();
        assert!(refusal.message.ends_with(&format!("strict decoding error: unknown field \"{field}\"")), "{refusal:?}");
        assert_eq!(refusal.code, 400, "{refusal:?}");
        assert!(!refusal.message.contains("canary"), "{refusal:?}");
    }
}

#[tokio::test]
async fn others_find_an_unknown_field_dropped() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec, field) in UNKNOWN {
        let object = json!({"metadata": {}, "spec": yaml(spec)});
        let stored = cluster.create_with(*kind, Unknown::Pruned, &object).await.unwrap();
        let pointer = format!("/{}", field.replace("[0]", "/0").replace('.', "/"));
        assert!(object.pointer(&pointer).is_some(), "the test's own path is wrong: {pointer}");
        let (parent, _) = pointer.rsplit_once('/').unwrap();
        assert!(stored.data.pointer(&pointer).is_none(), "{spec} was stored as {}", stored.data);
        assert!(stored.data.pointer(parent).is_some(), "{spec} was stored as {}", stored.data);
    }
}

#[tokio::test]
async fn a_kind_that_a_cluster_store_cannot_be_does_not_count_as_its_provider() {
    let cluster = Cluster::new().await.unwrap();
    let object = json!({"metadata": {}, "spec": {"allowedNamespaces": {}, "shared": true, "kubernetes": {}}});
    let refusal = cluster.create_with(ClusterStore, Unknown::Pruned, &object).await.unwrap_err();
    let words = "set exactly one of awsSecretsManager, awsSsm, vault, azureKeyVault, gcpSecretManager, sops";
    assert!(refusal.is("spec", words), "{refusal:?}");
}

/// A plain value where none belongs must not come back in the API server's answer, which clients log.
#[tokio::test]
async fn a_value_in_the_wrong_place_is_not_repeated() {
    let cluster = Cluster::new().await.unwrap();
    for spec in [
        "{secrets: {vars: {TOKEN: canary}}}",
        "{secrets: {vars: {TOKEN: [canary]}}}",
        "{secrets: {vars: {TOKEN: {default: [canary]}}}}",
        "{secrets: {vars: {TOKEN: {default: {a: canary}}}}}",
        "{secrets: {vars: {TOKEN: {value: canary}}}}",
        "{secrets: {vars: {TOKEN: {store: a, sops: b, default: canary}}}}",
    ] {
        let refusal = cluster.create(Stack, spec).await.unwrap_err();
        assert!(!format!("{refusal:?}").contains("canary"), "{refusal:?}");
    }
}
