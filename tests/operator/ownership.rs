//! Whose a Secret is: foreign ones, adoption, handing back, edits.

use atmos_secrets::api::status::READY;
use atmos_secrets::api::{Reason, StackStatus, marks};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

use crate::harness::{Neighbour, Tenant, condition, secret};

const SPEC: &str = "
    defaultStore: app
    components: {terraform: {db: {secrets: {vars: {A: {}, B: {}}}, targets: {target: {}, beside: {keys: {a: A}}}}}}";

/// A tenant whose Stack `prod` writes A and B to `target`, and A to `beside`.
async fn tenant_with_values() -> anyhow::Result<(Tenant, String)> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &value)]).await?;
    Ok((tenant, value))
}

fn message(status: &StackStatus) -> String {
    condition(status, READY).unwrap().message.clone()
}

fn adopt() -> Value {
    json!({"metadata": {"annotations": {marks::ADOPT: "prod"}}})
}

#[tokio::test]
async fn a_foreign_secret_is_never_touched() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let foreign = tenant.canary();
    tenant.apply_secret("target", json!({}), "Opaque", &[("A", &foreign)]).await?;
    let before = tenant.secrets().get("target").await?;
    tenant.stack("prod", SPEC).await?;
    let status = tenant.wait_reason("prod", Reason::OwnerConflict).await?;
    let text = message(&status);
    let command = format!("kubectl -n {} annotate secret target {}=prod", tenant.namespace, marks::ADOPT);
    assert!(text.contains("target target: Secret target exists and it is not marked as ours"), "{text}");
    assert!(text.contains(&command), "{text}");
    assert_eq!(tenant.secret("beside").await?, secret(&[("a", &value)]));
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &tenant.canary())]).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secrets().get("target").await?, before);
    // The create that finds the name taken is refused; nothing else is tried.
    let writes = tenant.operator_writes("target")?;
    assert!(writes.iter().all(|write| write.verb == "create" && write.code == 409), "{writes:?}");
    neighbour.still_syncs().await?;

    // Out of the way, the name is free.
    tenant.delete("Secret", "target").await?;
    tenant.wait_ready("prod").await?;
    Ok(())
}

#[tokio::test]
async fn an_annotated_secret_is_adopted() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    let foreign = tenant.canary();
    let metadata = json!({"labels": {"team": "red"}, "annotations": {"note": "kept"}});
    tenant.apply_secret("target", metadata, "Opaque", &[("A", &foreign)]).await?;
    tenant.stack("prod", SPEC).await?;
    tenant.wait_reason("prod", Reason::OwnerConflict).await?;
    let uid = tenant.secrets().get("target").await?.uid();
    tenant.patch_secret("target", adopt()).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("A", &value), ("B", &value)]));
    let adopted = tenant.secrets().get("target").await?;
    assert_eq!(adopted.uid(), uid);
    assert_eq!(adopted.annotations().get(marks::ADOPT), None);
    assert_eq!((adopted.labels()["team"].as_str(), adopted.annotations()["note"].as_str()), ("red", "kept"));
    assert_eq!(
        (adopted.labels()[marks::MANAGED].as_str(), adopted.annotations()[marks::STACK].as_str()),
        ("true", "prod")
    );
    Ok(())
}

#[tokio::test]
async fn adoption_is_refused_with_the_reason() -> anyhow::Result<()> {
    let (tenant, _) = tenant_with_values().await?;
    let foreign = tenant.canary();
    let with_words = |words: &'static str| move |status: &StackStatus| message(status).contains(words);

    tenant
        .apply_secret("target", adopt()["metadata"].clone(), "Opaque", &[("A", &foreign), ("EXTRA", &foreign)])
        .await?;
    tenant.stack("prod", SPEC).await?;
    let status = tenant.wait_reason("prod", Reason::OwnerConflict).await?;
    assert!(
        message(&status).contains("Secret target is not adopted: no declaration names its keys EXTRA"),
        "{}",
        message(&status)
    );

    tenant.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}})).await?;
    let owners: Api<ConfigMap> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
    let uid = owners.get("owner").await?.uid();
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true});
    tenant.patch_secret("target", json!({"metadata": {"ownerReferences": [owner]}})).await?;
    let words = "Secret target is not adopted: ConfigMap owner controls it";
    tenant.wait_status("prod", words, with_words(words)).await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("A", &foreign), ("EXTRA", &foreign)]));

    tenant.delete("Secret", "target").await?;
    tenant.wait_ready("prod").await?;
    tenant
        .stack(
            "prod",
            "{defaultStore: app, components: {terraform: {db: {secrets: {vars: {A: {}}}, targets: {other: {}}}}}}",
        )
        .await?;
    tenant.wait_ready("prod").await?;
    tenant.delete("Secret", "target").await?;
    tenant
        .apply_secret("target", adopt()["metadata"].clone(), "kubernetes.io/basic-auth", &[("username", "u")])
        .await?;
    tenant.stack("prod", SPEC).await?;
    let words = "Secret target is not adopted: its type is kubernetes.io/basic-auth, the target's Opaque";
    tenant.wait_status("prod", words, with_words(words)).await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("username", "u")]));
    Ok(())
}

#[tokio::test]
async fn taking_the_marker_off_hands_the_secret_back() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    tenant.stack("prod", SPEC).await?;
    tenant.wait_ready("prod").await?;
    tenant.patch_secret("target", json!({"metadata": {"labels": {marks::MANAGED: null}}})).await?;
    tenant.wait_reason("prod", Reason::OwnerConflict).await?;
    let writes = tenant.operator_writes("target")?.len();
    let rotated = tenant.canary();
    tenant.values("atmos.prod.db", &[("A", &rotated), ("B", &rotated)]).await?;
    tenant.wait_secret("beside", secret(&[("a", &rotated)])).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("A", &value), ("B", &value)]));
    let refused = tenant.operator_writes("target")?.split_off(writes);
    assert!(refused.iter().all(|write| write.code == 409), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn an_edited_target_is_corrected() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    tenant.stack("prod", SPEC).await?;
    tenant.wait_ready("prod").await?;
    let good = secret(&[("A", &value), ("B", &value)]);
    tenant.patch_secret("target", json!({"data": {"A": "ZWRpdGVk", "MORE": "bW9yZQ=="}})).await?;
    tenant.wait_secret("target", good.clone()).await?;
    tenant.wait_event("prod", Reason::Drifted, "target target was edited").await?;
    tenant.delete("Secret", "target").await?;
    tenant.wait_secret("target", good.clone()).await?;
    // Our labels are put back, those of others stay.
    tenant
        .patch_secret("target", json!({"metadata": {"labels": {marks::COMPONENT: "wrong", "theirs": "stays"}}}))
        .await?;
    e2e::wait_until("the label to be put back", crate::harness::LIMIT, async || {
        let found = tenant.secrets().get("target").await?;
        anyhow::ensure!(found.labels()[marks::COMPONENT] == "db", "{:?}", found.labels());
        anyhow::ensure!(found.labels()["theirs"] == "stays");
        Ok(())
    })
    .await?;
    assert_eq!(tenant.secret("target").await?, good);
    Ok(())
}

#[tokio::test]
async fn an_edited_target_is_only_reported_if_asked_so() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    tenant.stack("prod", &format!("{SPEC}\n    drift: Report")).await?;
    tenant.wait_ready("prod").await?;
    let edited = tenant.canary();
    tenant.apply_secret("target", json!({}), "Opaque", &[("A", &edited), ("B", &value)]).await?;
    let status = tenant.wait_reason("prod", Reason::Drifted).await?;
    assert!(
        message(&status).contains("target target: the Secret was edited, and drift: Report leaves it so"),
        "{}",
        message(&status)
    );
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("A", &edited), ("B", &value)]));
    assert_eq!(tenant.operator_writes("target")?.len(), 1);
    tenant.patch_stack("prod", json!({"spec": {"drift": "Correct"}})).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("A", &value), ("B", &value)]));
    Ok(())
}
