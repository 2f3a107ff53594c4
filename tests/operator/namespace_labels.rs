//! ClusterStores that admit namespaces by a label: what happens when the label comes, and when it goes.

use atmos_secrets::api::Reason;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Tenant, secret};
use crate::sops_files::{AgeKey, encrypt};

const LABEL: &str = "example.com/shared";

async fn label(tenant: &Tenant, value: Value) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(tenant.client.clone());
    let patch = json!({"metadata": {"labels": {LABEL: value}}});
    namespaces.patch(&tenant.namespace, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Puts the file of the Stack into the operator's namespace, where the sources of ClusterStores lie.
async fn put_file(tenant: &Tenant, name: &str, key: &AgeKey, value: &str) -> anyhow::Result<()> {
    let file = encrypt("secrets.enc.yaml", &json!({"DB_PASSWORD": value}).to_string(), &[key]).await?;
    let metadata = json!({"name": name, "namespace": "atmos-secrets"});
    let data = json!({"prod.orders-db.enc.yaml": file});
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    tenant.cluster.apply_yaml(&object.to_string()).await.map(drop)
}

/// A ClusterStore of SOPS files for the namespaces with the label, with all that it reads.
async fn offer(tenant: &Tenant, name: &str, key: &AgeKey) -> anyhow::Result<()> {
    tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
    let metadata = json!({"name": name, "namespace": "atmos-secrets"});
    let account = json!({"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"});
    let group = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key.txt": key.identity}}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [
            {"apiGroups": [""], "resources": ["secrets", "configmaps"], "resourceNames": [name], "verbs": ["get"]},
        ]}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name}, "subjects": [account]}),
    ] {
        tenant.cluster.apply_yaml(&object.to_string()).await?;
    }
    let spec = json!({
        "shared": true, "minRefreshInterval": "10s",
        "allowedNamespaces": {"selector": {"matchLabels": {LABEL: tenant.namespace}}},
        "sops": {"source": {"configMaps": [name]}, "age": {"keys": [{"secret": name, "key": "key.txt"}]}},
    });
    tenant.write("ClusterStore", name, spec).await
}

#[tokio::test]
async fn a_label_that_comes_admits_and_one_that_goes_revokes() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (name, key) = (tenant.unique("shared"), AgeKey::generate());
    let (first, second) = (tenant.canary(), tenant.canary());
    put_file(&tenant, &name, &key, &first).await?;
    offer(&tenant, &name, &key).await?;
    let spec = format!(
        "
        stores: {{files: {{clusterStore: {name}}}}}
        refreshInterval: 10s
        components: {{terraform: {{orders-db: {{secrets: {{vars: {{DB_PASSWORD: {{sops: files, required: true}}}}}}}}}}}}"
    );
    tenant.stack("prod", &spec).await?;
    tenant.wait_reason("prod", Reason::NamespaceNotAllowed).await?;

    // Nobody touches the Stack or the ClusterStore.
    label(&tenant, json!(tenant.namespace)).await?;
    tenant.wait_ready("prod").await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &first)])).await?;

    label(&tenant, Value::Null).await?;
    tenant.wait_reason("prod", Reason::NamespaceNotAllowed).await?;
    put_file(&tenant, &name, &key, &second).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &first)]), "what was written stays");
    label(&tenant, json!("another")).await?;
    tenant.sync("prod").await?;
    tenant.wait_reason("prod", Reason::NamespaceNotAllowed).await?;
    // A sync that is asked for looks at once.
    label(&tenant, json!(tenant.namespace)).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &second)]));
    Ok(())
}
