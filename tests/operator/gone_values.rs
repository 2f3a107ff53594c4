//! Values that go away or cannot be read any more: what stays, what is dropped, and when.

use std::time::{Duration, Instant};

use atmos_secrets::api::status::{READY, SecretState};
use atmos_secrets::api::{Reason, StackStatus, marks};
use serde_json::{Value, json};

use crate::harness::{Tenant, condition, secret};

fn state(status: &StackStatus, name: &str) -> (SecretState, Option<Reason>) {
    let entry = status.secrets.iter().find(|entry| entry.name == name).unwrap();
    (entry.state, entry.reason)
}

const MISSING: (SecretState, Option<Reason>) = (SecretState::Missing, Some(Reason::ValueMissing));

#[tokio::test]
async fn a_deleted_source_leaves_the_last_good_secret_and_is_told() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (password, token, next) = (tenant.canary(), tenant.canary(), tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    tenant.values("atmos.prod.api", &[("TOKEN", &token)]).await?;
    tenant
        .stack(
            "prod",
            "
            defaultStore: app
            components:
              terraform:
                orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}
                api: {secrets: {vars: {TOKEN: {}}}}
            ",
        )
        .await?;
    tenant.wait_ready("prod").await?;

    tenant.delete("Secret", "atmos.prod.orders-db").await?;
    let status = tenant.wait_reason("prod", Reason::ValueMissing).await?;
    assert_eq!(state(&status, "DB_PASSWORD"), MISSING);
    assert_eq!(state(&status, "TOKEN"), (SecretState::Initialized, None));
    assert_eq!(status.missing.as_deref(), Some("orders-db DB_PASSWORD"));
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("terraform/orders-db DB_PASSWORD"), "{message}");
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]), "the last good stays");

    tenant.values("atmos.prod.api", &[("TOKEN", &next)]).await?;
    tenant.wait_secret("prod-api", secret(&[("TOKEN", &next)])).await?;
    let writes: Vec<_> = tenant.operator_writes("prod-orders-db")?.into_iter().map(|event| event.verb).collect();
    assert_eq!(writes, ["create"], "a held target is not written");

    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &next)]).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &next)]));
    Ok(())
}

#[tokio::test]
async fn an_optional_value_that_goes_is_kept_or_removed_after_a_second_look() -> anyhow::Result<()> {
    let interval = Duration::from_secs(10);
    let tenant = Tenant::new().await?;
    let (user, hint) = (tenant.canary(), tenant.canary());
    tenant.store("app", "{kubernetes: {}, minRefreshInterval: 10s}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_USER", &user), ("HINT", &hint)]).await?;
    tenant
        .stack(
            "prod",
            "
            defaultStore: app
            refreshInterval: 10s
            components:
              terraform:
                orders-db:
                  secrets: {vars: {DB_USER: {required: true}, HINT: {}, NEVER: {}}}
                  targets: {keeps: {missingPolicy: Keep}, removes: {missingPolicy: Remove}}
            ",
        )
        .await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(state(&status, "NEVER"), MISSING, "an optional secret without a value holds nothing back");
    let both = secret(&[("DB_USER", &user), ("HINT", &hint)]);
    assert_eq!(tenant.secret("keeps").await?, both);
    assert_eq!(tenant.secret("removes").await?, both);

    let gone = Instant::now();
    tenant.values("atmos.prod.orders-db", &[("DB_USER", &user)]).await?;
    let is_told = |status: &StackStatus| state(status, "HINT") == MISSING;
    let status = tenant.wait_status("prod", "HINT to be missing", is_told).await?;
    let kept = status.targets.iter().find(|target| target.name == "keeps").unwrap().message.clone().unwrap();
    assert!(kept.contains("HINT") && kept.contains("keep"), "{kept}");
    let found = tenant.secret("removes").await?;
    if gone.elapsed() < interval {
        assert_eq!(found, both, "one look alone removes nothing");
    }
    tenant.wait_secret("removes", secret(&[("DB_USER", &user)])).await?;
    assert!(gone.elapsed() >= interval, "removed after {:?}", gone.elapsed());
    assert_eq!(tenant.secret("keeps").await?, both);

    tenant.values("atmos.prod.orders-db", &[("DB_USER", &user), ("HINT", &hint)]).await?;
    tenant.wait_secret("removes", both).await?;
    tenant.wait_ready("prod").await?;
    Ok(())
}

#[tokio::test]
async fn one_unreadable_key_holds_all_or_only_itself() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [user, password, extra, next] = [(); 4].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_USER", &user), ("DB_PASSWORD", &password)]).await?;
    tenant.values("elsewhere", &[("EXTRA", &extra)]).await?;
    tenant
        .stack(
            "prod",
            "
            defaultStore: app
            components:
              terraform:
                orders-db:
                  secrets: {vars: {DB_USER: {required: true}, DB_PASSWORD: {}, EXTRA: {backendKey: 'elsewhere#EXTRA'}}}
                  targets: {all: {}, each: {syncPolicy: PerKey}}
            ",
        )
        .await?;
    tenant.wait_ready("prod").await?;
    let data = |user: &str| secret(&[("DB_USER", user), ("DB_PASSWORD", &password), ("EXTRA", &extra)]);
    assert_eq!(tenant.secret("all").await?, data(&user));
    assert_eq!(tenant.secret("each").await?, data(&user));

    // Without its mark the object may not be read, which is an error and not a missing value.
    tenant.patch_secret("elsewhere", json!({"metadata": {"labels": {marks::VALUES: null}}})).await?;
    let status = tenant.wait_reason("prod", Reason::Unsupported).await?;
    let message = status.secrets.iter().find(|entry| entry.name == "EXTRA").unwrap().message.clone().unwrap();
    assert!(message.contains("label secret elsewhere"), "the message has the command: {message}");
    tenant.values("atmos.prod.orders-db", &[("DB_USER", &next), ("DB_PASSWORD", &password)]).await?;
    tenant.wait_secret("each", data(&next)).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("all").await?, data(&user), "AllOrNothing keeps everything as it was");

    // A required value that is gone: PerKey keeps its bytes and goes on with the others; a new target waits for it.
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &next)]).await?;
    let kept = secret(&[("DB_USER", &next), ("DB_PASSWORD", &next), ("EXTRA", &extra)]);
    tenant.wait_secret("each", kept.clone()).await?;
    let target = json!({"syncPolicy": "PerKey"});
    tenant.patch_stack("prod", targets(&json!({"late": target}))).await?;
    let is_held = |status: &StackStatus| status.targets.iter().any(|target| target.name == "late" && !target.ready);
    tenant.wait_status("prod", "the new target to be held", is_held).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("late").await?, None, "a target that never was waits for its required names");
    assert_eq!(tenant.secret("each").await?, kept);

    tenant.values("atmos.prod.orders-db", &[("DB_USER", &user), ("DB_PASSWORD", &password)]).await?;
    tenant.values("elsewhere", &[("EXTRA", &extra)]).await?;
    tenant.wait_ready("prod").await?;
    for target in ["all", "each", "late"] {
        assert_eq!(tenant.secret(target).await?, data(&user), "{target}");
    }
    Ok(())
}

fn targets(targets: &Value) -> Value {
    json!({"spec": {"components": {"terraform": {"orders-db": {"targets": targets}}}}})
}
