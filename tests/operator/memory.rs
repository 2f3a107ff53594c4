//! What remains of values in the operator's memory once it has nothing to do: nothing.

use serde_json::json;

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, readable, secret};
use crate::sops_files::{AgeKey, encrypt};

const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {
        DB_PASSWORD: {required: true},
        API_KEY: {sops: files, required: true},
    }}}}}
";

/// A tenant whose one Stack takes values from a store of either kind.
async fn synced(tenant: &Tenant, key: &AgeKey) -> anyhow::Result<()> {
    tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
    tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", &key.identity)]).await?;
    tenant.store("app", "kubernetes: {}").await?;
    tenant.store("files", "sops: {source: {configMaps: [files]}, age: {keys: [{secret: age, key: key.txt}]}}").await?;
    rotated(tenant, key, || tenant.stack("prod", STACK)).await
}

/// Sets new values in both stores, does what comes after that, and waits for the values to arrive.
async fn rotated(tenant: &Tenant, key: &AgeKey, then: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (password, api_key) = (tenant.canary(), tenant.canary());
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    let name = "prod.orders-db.enc.yaml";
    let file = encrypt(name, &json!({"API_KEY": api_key}).to_string(), &[key]).await?;
    tenant
        .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {name: file}}))
        .await?;
    then().await?;
    tenant.wait_ready("prod").await?;
    tenant.wait_secret("prod-orders-db", secret(&[("API_KEY", &api_key), ("DB_PASSWORD", &password)])).await?;
    tenant.wait_ready("prod").await.map(drop)
}

async fn wait_until_clean(tenant: &Tenant, operator: &Operator) -> anyhow::Result<()> {
    e2e::wait_until("values to be gone from the operator's memory", LIMIT, async || {
        let hits = tenant.values_in_memory(operator)?;
        anyhow::ensure!(hits.is_empty(), "{} traces:\n{}", hits.len(), hits.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_idle_operator_holds_no_value() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster, Options { through: readable(), ..Options::default() }).await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let key = AgeKey::generate();
    synced(&tenant, &key).await?;
    let known = operator.memory()?.iter().any(|(_, text)| text.contains(&tenant.namespace));
    assert!(known, "the search does not even find the name of a namespace");
    wait_until_clean(&tenant, &operator).await?;
    rotated(&tenant, &key, async || Ok(())).await?;
    wait_until_clean(&tenant, &operator).await
}
