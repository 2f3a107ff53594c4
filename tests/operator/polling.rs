//! A namespace that grants only `get`: values and targets are asked for at each tick, and nothing is watched.

use std::time::{Duration, Instant};

use atmos_secrets::api::{Reason, marks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::control_plane::AuditEvent;
use serde_json::json;

use crate::harness::{Grant, LIMIT, Tenant, secret};
use crate::requests;

const INTERVAL: Duration = Duration::from_secs(10);

async fn prepare(tenant: &Tenant, stacks: usize) -> anyhow::Result<()> {
    let password = tenant.canary();
    tenant.store("app", "{kubernetes: {}, minRefreshInterval: 10s}").await?;
    for number in 0..stacks {
        tenant.values(&format!("atmos.s{number}.orders-db"), &[("DB_PASSWORD", &password)]).await?;
        tenant
            .stack(
                &format!("s{number}"),
                "
                defaultStore: app
                refreshInterval: 10s
                components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
                ",
            )
            .await?;
    }
    for number in 0..stacks {
        tenant.wait_ready(&format!("s{number}")).await?;
    }
    Ok(())
}

/// Waits until the Store has nothing left to report.
async fn wait_users(tenant: &Tenant, wanted: usize) -> anyhow::Result<()> {
    e2e::wait_until("the users to be counted", LIMIT, async || {
        let users = tenant.stores().get("app").await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(u32::try_from(wanted)?), "{users:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn changes_and_drift_are_found_by_the_tick() -> anyhow::Result<()> {
    let tenant = Tenant::granted(Grant::WithoutWatch).await?;
    prepare(&tenant, 1).await?;
    let next = tenant.canary();
    tenant.values("atmos.s0.orders-db", &[("DB_PASSWORD", &next)]).await?;
    tenant.wait_secret("s0-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;

    let patch = json!({"data": {"DB_PASSWORD": STANDARD.encode("edited")}});
    tenant.patch_secret("s0-orders-db", patch).await?;
    tenant.wait_secret("s0-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;

    tenant.delete("Secret", "s0-orders-db").await?;
    tenant.wait_secret("s0-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    let watched: Vec<AuditEvent> = tenant
        .operator_requests()?
        .into_iter()
        .filter(|event| ["secrets", "configmaps"].contains(&event.resource.as_str()))
        .filter(|event| ["list", "watch"].contains(&event.verb.as_str()))
        .collect();
    assert!(watched.is_empty(), "nobody granted that: {watched:?}");
    Ok(())
}

#[tokio::test]
async fn unchanged_rounds_cost_one_look_each_and_no_write() -> anyhow::Result<()> {
    const STACKS: usize = 20;
    let tenant = Tenant::granted(Grant::WithoutWatch).await?;
    prepare(&tenant, STACKS).await?;
    wait_users(&tenant, STACKS).await?;
    let (mark, started) = (tenant.cluster.audit_mark()?, Instant::now());
    let source = |event: &&AuditEvent| event.name == "atmos.s0.orders-db" && event.verb == "get";
    let events = e2e::wait_until("two rounds", LIMIT, async || {
        let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
        let rounds = events.iter().filter(source).count();
        anyhow::ensure!(rounds >= 2, "{rounds} rounds");
        let looks = requests::about(&events, "s0-orders-db").len();
        anyhow::ensure!(looks >= 2, "{looks} looks at the target");
        Ok(events)
    })
    .await?;
    assert_eq!(requests::writes(&events), Vec::<String>::new());
    let rounds = started.elapsed().as_secs() / INTERVAL.as_secs() + 1;
    for number in 0..STACKS {
        for name in [format!("s{number}-orders-db"), format!("atmos.s{number}.orders-db")] {
            let asked = requests::about(&events, &name).len() as u64;
            // A round may have begun just before.
            assert!(asked <= rounds + 1, "{name}: {asked} requests in {rounds} rounds: {:?}", requests::tally(&events));
        }
        let stack = requests::about(&events, &format!("s{number}"));
        assert!(stack.is_empty(), "an unchanged round touches no Stack: {stack:?}");
    }
    Ok(())
}

/// What the message of a target that is held tells a person to do takes effect with the next tick, and until then each
/// tick costs one look.
#[tokio::test]
async fn a_target_that_is_held_is_looked_at_until_nothing_is_in_its_way() -> anyhow::Result<()> {
    let tenant = Tenant::granted(Grant::WithoutWatch).await?;
    prepare(&tenant, 0).await?;
    let foreign = tenant.canary();
    let stacks = ["foreign", "typed", "edited"];
    for stack in stacks {
        tenant.values(&format!("atmos.{stack}.orders-db"), &[("DB_PASSWORD", &tenant.canary())]).await?;
    }
    for (name, kind) in [("foreign-orders-db", "Opaque"), ("typed-orders-db", "example.com/other")] {
        tenant.apply_secret(name, json!({}), kind, &[("DB_PASSWORD", &foreign)]).await?;
    }
    let ours = json!({"labels": {marks::MANAGED: "true"}, "annotations": {marks::STACK: "typed"}});
    tenant.patch_secret("typed-orders-db", json!({"metadata": ours})).await?;
    let spec = "{drift: Report, defaultStore: app, refreshInterval: 10s, \
                components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}}";
    for stack in stacks {
        tenant.stack(stack, spec).await?;
    }
    tenant.wait_ready("edited").await?;
    tenant.patch_secret("edited-orders-db", json!({"data": {"DB_PASSWORD": STANDARD.encode("edited")}})).await?;
    for (stack, reason) in
        [("foreign", Reason::OwnerConflict), ("typed", Reason::TargetImmutable), ("edited", Reason::Drifted)]
    {
        tenant.wait_reason(stack, reason).await?;
    }
    wait_users(&tenant, stacks.len()).await?;

    let (mark, started) = (tenant.cluster.audit_mark()?, Instant::now());
    let events = e2e::wait_until("two looks at each", LIMIT, async || {
        let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
        for stack in stacks {
            let looks = requests::about(&events, &format!("{stack}-orders-db")).len();
            anyhow::ensure!(looks >= 2, "{looks} looks at the target of {stack}");
        }
        Ok(events)
    })
    .await?;
    assert_eq!(requests::writes(&events), Vec::<String>::new());
    let rounds = started.elapsed().as_secs() / INTERVAL.as_secs() + 1;
    for stack in stacks {
        for name in [format!("{stack}-orders-db"), format!("atmos.{stack}.orders-db")] {
            let asked = requests::about(&events, &name).len() as u64;
            assert!(asked <= rounds + 1, "{name}: {asked} requests in {rounds} rounds: {:?}", requests::tally(&events));
        }
    }

    for stack in stacks {
        tenant.delete("Secret", &format!("{stack}-orders-db")).await?;
    }
    for stack in stacks {
        tenant.wait_ready(stack).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_handed_to_the_younger_of_two_stacks_is_found_by_the_tick() -> anyhow::Result<()> {
    let tenant = Tenant::granted(Grant::WithoutWatch).await?;
    prepare(&tenant, 0).await?;
    tenant.apply_secret("shared", json!({}), "Opaque", &[("DB_PASSWORD", &tenant.canary())]).await?;
    let spec = "{defaultStore: app, refreshInterval: 10s, components: {terraform: {orders-db: {\
                secrets: {vars: {DB_PASSWORD: {required: true}}}, targets: {shared: {}}}}}}";
    let value = tenant.canary();
    for stack in ["older", "younger"] {
        tenant.values(&format!("atmos.{stack}.orders-db"), &[("DB_PASSWORD", &value)]).await?;
        tenant.stack(stack, spec).await?;
        tenant.wait_reason(stack, Reason::OwnerConflict).await?;
        tenant.wait_older(stack).await?;
    }
    tenant.patch_secret("shared", json!({"metadata": {"annotations": {marks::ADOPT: "younger"}}})).await?;
    tenant.wait_ready("younger").await?;
    tenant.wait_secret("shared", secret(&[("DB_PASSWORD", &value)])).await?;
    let status = tenant.wait_status("older", "the owner to be named", |status| {
        status.conditions.iter().any(|condition| condition.message.contains("it belongs to Stack younger"))
    });
    status.await.map(drop)
}
