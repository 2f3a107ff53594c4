//! What is deleted while a watch is broken is in no event: when everything is listed anew, it is noticed by its absence.

use atmos_secrets::api::Reason;
use e2e::{Fault, Matching};
use serde_json::json;

use crate::api_server::{Proxied, STACK};
use crate::harness::{condition, secret};
use crate::sops_files::AgeKey;
use crate::sops_store::{file, put_files};
use crate::starting::wait_hits;

/// A Stack whose one value is in a SOPS file.
fn from_files(store: &str) -> String {
    format!(
        "components: {{terraform: {{orders-db: {{secrets: {{vars: {{DB_PASSWORD: {{sops: {store}, required: true}}}}}}}}}}}}"
    )
}

/// Breaks the watch on `resource` in the tenant's namespace, deletes something meanwhile, and lets the watch go on with a
/// new list, as after a restart of the API server that forgot the version to go on from.
async fn delete_unseen(proxied: &Proxied, resource: &str, objects: &[(&str, &str)]) -> anyhow::Result<()> {
    let Proxied { proxy, tenant, .. } = proxied;
    let path = format!("/namespaces/{}/{resource}?", tenant.namespace);
    let watch = || Matching::any().method("GET").path(&path).path("watch=true");
    let away = proxy.inject(Fault::answer(503), watch());
    proxy.cut_connections();
    wait_hits(&away, 1).await?;
    for (kind, name) in objects {
        tenant.delete(kind, name).await?;
    }
    let gone = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version",
    }});
    let answer = Fault::Answer { code: 200, retry_after: None, body: Some(format!("{gone}\n")) };
    let forgotten = proxy.inject(answer, watch().times(1));
    away.remove();
    wait_hits(&forgotten, 1).await
}

/// The Store `name` of SOPS files in `source`, opened with the age key in the Secret `NAME-key`.
async fn put_store(proxied: &Proxied, name: &str, source: &str) -> anyhow::Result<AgeKey> {
    let tenant = &proxied.tenant;
    let key = AgeKey::generate();
    tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
    tenant.apply_secret(&format!("{name}-key"), json!({}), "Opaque", &[("key.txt", &key.identity)]).await?;
    let age = format!("age: {{keys: [{{secret: {name}-key, key: key.txt}}]}}");
    tenant.store(name, &format!("sops: {{source: {source}, {age}}}")).await?;
    Ok(key)
}

#[tokio::test]
async fn a_secret_that_went_unseen_is_in_nobodys_way_and_no_source_and_no_key() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let tenant = &proxied.tenant;
    let (value, foreign) = (tenant.canary(), tenant.canary());
    tenant.values("atmos.held.orders-db", &[("DB_PASSWORD", &value)]).await?;
    tenant.apply_secret("held-orders-db", json!({}), "Opaque", &[("DB_PASSWORD", &foreign)]).await?;
    tenant.stack("held", STACK).await?;
    tenant.wait_reason("held", Reason::OwnerConflict).await?;
    for (store, source) in [("documents", "{secrets: [documents]}"), ("opened", "{configMaps: [opened]}")] {
        let key = put_store(&proxied, store, source).await?;
        let text = file(&[("DB_PASSWORD", &value)], &key).await?;
        let kind = if store == "documents" { "Secret" } else { "ConfigMap" };
        put_files(tenant, kind, store, &[(&format!("{store}.orders-db.enc.yaml"), &text)]).await?;
        tenant.stack(store, &from_files(store)).await?;
        tenant.wait_ready(store).await?;
        tenant.wait_store(store, Reason::Connected).await?;
    }

    delete_unseen(
        &proxied,
        "secrets",
        &[
            ("Secret", "held-orders-db"),
            ("Secret", "documents"),
            ("Secret", "opened-key"),
            ("Secret", "prod-orders-db"),
        ],
    )
    .await?;
    tenant.wait_ready("held").await?;
    assert_eq!(tenant.secret("held-orders-db").await?, secret(&[("DB_PASSWORD", &value)]));
    for (store, absent) in [("documents", "documents"), ("opened", "opened-key")] {
        let status = tenant.wait_reason(store, Reason::SourceNotFound).await?;
        let message = &condition(&status, "Ready").unwrap().message;
        assert!(message.contains(&format!("Secret {}/{absent}", tenant.namespace)), "{message}");
        tenant.wait_store(store, Reason::SourceNotFound).await?;
        let last = secret(&[("DB_PASSWORD", &value)]);
        assert_eq!(tenant.secret(&format!("{store}-orders-db")).await?, last, "the last good value stays");
    }
    tenant.wait_ready("prod").await?;
    assert!(tenant.secret("prod-orders-db").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_config_map_that_went_unseen_is_no_source() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let tenant = &proxied.tenant;
    let value = tenant.canary();
    let key = put_store(&proxied, "files", "{configMaps: [files]}").await?;
    let text = file(&[("DB_PASSWORD", &value)], &key).await?;
    put_files(tenant, "ConfigMap", "files", &[("files.orders-db.enc.yaml", &text)]).await?;
    tenant.stack("files", &from_files("files")).await?;
    tenant.wait_ready("files").await?;
    tenant.wait_store("files", Reason::Connected).await?;

    delete_unseen(&proxied, "configmaps", &[("ConfigMap", "files")]).await?;
    let status = tenant.wait_reason("files", Reason::SourceNotFound).await?;
    let message = &condition(&status, "Ready").unwrap().message;
    assert!(message.contains(&format!("ConfigMap {}/files", tenant.namespace)), "{message}");
    tenant.wait_store("files", Reason::SourceNotFound).await?;
    Ok(())
}
