//! Stacks and targets that go, come back, or change what happens to their Secrets.

use atmos_secrets::api::StackStatus;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use crate::harness::{LIMIT, Tenant, secret};

fn spec(policy: &str) -> String {
    format!(
        "
        defaultStore: app
        targetDefaults: {{deletionPolicy: {policy}}}
        components: {{terraform: {{orders-db: {{secrets: {{vars: {{DB_PASSWORD: {{required: true}}}}}}}}}}}}
        "
    )
}

/// A tenant with a ready Stack `prod` under this policy, and the value of its one secret.
async fn with_stack(policy: &str) -> anyhow::Result<(Tenant, String)> {
    let tenant = Tenant::new().await?;
    let password = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    tenant.stack("prod", &spec(policy)).await?;
    tenant.wait_ready("prod").await?;
    Ok((tenant, password))
}

async fn stack_uid(tenant: &Tenant) -> anyhow::Result<String> {
    Ok(tenant.stacks().get("prod").await?.uid().unwrap())
}

fn owners(secret: &Secret) -> Vec<&str> {
    secret.owner_references().iter().map(|owner| owner.uid.as_str()).collect()
}

/// Waits for the garbage collector, whose own waits are longer than any of ours.
async fn wait_gone(tenant: &Tenant, name: &str) -> anyhow::Result<()> {
    e2e::wait_until(format!("Secret {}/{name} to be gone", tenant.namespace), LIMIT * 3, async || {
        anyhow::ensure!(tenant.secret(name).await?.is_none(), "it is still there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_retained_secret_outlives_its_stack_and_is_found_again() -> anyhow::Result<()> {
    let (tenant, password) = with_stack("Retain").await?;
    let before = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(owners(&before), Vec::<&str>::new());
    tenant.delete("Stack", "prod").await?;
    tenant.stack("prod", &spec("Retain")).await?;
    tenant.wait_ready("prod").await?;
    tenant.sync("prod").await?;
    let after = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(after.resource_version(), before.resource_version(), "found again without a write");

    tenant.delete("Stack", "prod").await?;
    // The next object of the same watch tells that the operator knows of the deletion.
    tenant.stack("other", "{defaultStore: app, components: {}}").await?;
    tenant.wait_ready("other").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn an_owned_secret_goes_with_its_stack() -> anyhow::Result<()> {
    let (tenant, _) = with_stack("Delete").await?;
    let secret = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(owners(&secret), [stack_uid(&tenant).await?]);
    let owner = &secret.owner_references()[0];
    assert_eq!((owner.block_owner_deletion, owner.controller), (None, None), "nothing of ours can block a deletion");
    tenant.delete("Stack", "prod").await?;
    wait_gone(&tenant, "prod-orders-db").await?;
    let writes: Vec<_> = tenant.operator_writes("prod-orders-db")?.into_iter().map(|event| event.verb).collect();
    assert_eq!(writes, ["create"], "the garbage collector deletes it, and nobody makes it again");
    Ok(())
}

#[tokio::test]
async fn a_stack_created_again_at_once_ends_up_with_an_owned_secret() -> anyhow::Result<()> {
    let (tenant, password) = with_stack("Delete").await?;
    let old = stack_uid(&tenant).await?;
    let background =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    tenant.stacks().delete("prod", &background).await?;
    tenant.stack("prod", &spec("Delete")).await?;
    let new = stack_uid(&tenant).await?;
    assert_ne!(old, new);
    e2e::wait_until("the Secret to belong to the new Stack", LIMIT, async || {
        let found = tenant.secrets().get("prod-orders-db").await?;
        anyhow::ensure!(owners(&found) == [new.as_str()], "its owners are {:?}", owners(&found));
        Ok(())
    })
    .await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn the_policy_can_be_flipped_both_ways() -> anyhow::Result<()> {
    let (tenant, password) = with_stack("Retain").await?;
    let uid = stack_uid(&tenant).await?;
    for (policy, wanted) in [("Delete", vec![uid.as_str()]), ("Retain", Vec::new())] {
        tenant.stack("prod", &spec(policy)).await?;
        e2e::wait_until(format!("the owner under {policy}"), LIMIT, async || {
            let found = tenant.secrets().get("prod-orders-db").await?;
            anyhow::ensure!(owners(&found) == wanted, "its owners are {:?}", owners(&found));
            Ok(())
        })
        .await?;
    }
    tenant.delete("Stack", "prod").await?;
    tenant.stack("other", "{defaultStore: app, components: {}}").await?;
    tenant.wait_ready("other").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn a_target_that_leaves_the_spec_is_left_over_or_deleted() -> anyhow::Result<()> {
    let (tenant, password) = with_stack("Retain").await?;
    let before = tenant.secrets().get("prod-orders-db").await?;
    let targets = |targets| json!({"spec": {"components": {"terraform": {"orders-db": {"targets": targets}}}}});
    tenant.patch_stack("prod", targets(json!({"owned": {"deletionPolicy": "Delete"}}))).await?;
    let is_left = |status: &StackStatus| status.leftover == ["prod-orders-db"];
    tenant.wait_status("prod", "the old target to be left over", is_left).await?;
    tenant.wait_ready("prod").await?;
    let wanted = secret(&[("DB_PASSWORD", &password)]);
    assert_eq!(tenant.secret("prod-orders-db").await?, wanted);
    assert_eq!(tenant.secret("owned").await?, wanted);

    // Taken up again: it is found as it is, and what was owned goes.
    tenant.patch_stack("prod", targets(json!({"owned": null, "prod-orders-db": {}}))).await?;
    wait_gone(&tenant, "owned").await?;
    let status = tenant.wait_status("prod", "nothing to be left over", |status| status.leftover.is_empty()).await?;
    assert_eq!(status.targets.len(), 1);
    let after = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(after.resource_version(), before.resource_version(), "taken up again without a write");
    let deletes = tenant.operator_writes("owned")?.into_iter().filter(|event| event.verb == "delete");
    assert_eq!(deletes.map(|event| event.code).collect::<Vec<_>>(), [200]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_deleted_while_another_target_is_not_ready() -> anyhow::Result<()> {
    let (tenant, password) = with_stack("Delete").await?;
    tenant
        .patch_stack(
            "prod",
            json!({"spec": {"components": {"terraform": {
                "orders-db": {"targets": {"renamed": {}}, "secrets": {"vars": {"NEW": {"required": true}}}},
            }}}}),
        )
        .await?;
    tenant.wait_reason("prod", atmos_secrets::api::Reason::ValueMissing).await?;
    let status = tenant.sync("prod").await?;
    assert_eq!(status.leftover, ["prod-orders-db"]);
    let wanted = secret(&[("DB_PASSWORD", &password)]);
    assert_eq!(tenant.secret("prod-orders-db").await?, wanted, "its successor is not there yet");
    let next = tenant.canary();
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password), ("NEW", &next)]).await?;
    wait_gone(&tenant, "prod-orders-db").await?;
    assert_eq!(tenant.secret("renamed").await?, secret(&[("DB_PASSWORD", &password), ("NEW", &next)]));
    Ok(())
}
