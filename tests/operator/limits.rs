//! Too much of something, and fields that nobody knows.

use std::fmt::Write as _;

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, STALLED};
use kube::api::ValidationDirective;
use serde_json::json;

use crate::harness::{Neighbour, Tenant, condition, secret};

const SMALL: &str = "{defaultStore: app, components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}";

/// A tenant whose Stack `prod` is ready with one target.
async fn synced() -> anyhow::Result<(Tenant, String)> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    tenant.stack("prod", SMALL).await?;
    tenant.wait_ready("prod").await?;
    Ok((tenant, value))
}

/// `components` components with `names` declarations each.
fn many(components: usize, names: usize) -> String {
    let mut text = "defaultStore: app\ncomponents:\n".to_owned();
    let mut written = 0;
    for type_number in 0..components.div_ceil(128) {
        writeln!(text, "  type{type_number}:").unwrap();
        for _ in 0..128.min(components - written) {
            let vars: Vec<String> = (0..names).map(|name| format!("N{name}: {{}}")).collect();
            writeln!(text, "    c{written}: {{secrets: {{vars: {{{}}}}}}}", vars.join(", ")).unwrap();
            written += 1;
        }
    }
    text
}

#[tokio::test]
async fn too_many_secrets_or_targets_hold_everything_as_it_is() -> anyhow::Result<()> {
    let (tenant, value) = synced().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    for (components, names, words) in [(5, 201, "more than 1000 secrets are declared"), (129, 1, "129 targets")] {
        tenant.stack("prod", &many(components, names)).await?;
        let status = tenant.wait_reason("prod", Reason::TooManySecrets).await?;
        let message = &condition(&status, READY).unwrap().message;
        assert!(message.contains(words), "{message}");
        assert_eq!(condition(&status, STALLED).unwrap().status, "True");
        assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &value)]));
    }
    neighbour.still_syncs().await?;
    tenant.stack("prod", SMALL).await?;
    tenant.wait_ready("prod").await?;
    Ok(())
}

#[tokio::test]
async fn more_than_a_secret_can_hold_is_not_written() -> anyhow::Result<()> {
    let (tenant, value) = synced().await?;
    let half = format!("{}{}", tenant.canary(), "x".repeat(600 * 1024));
    tenant.values("atmos.prod.web", &[("FIRST", &half)]).await?;
    tenant.values("atmos.prod", &[("SECOND", &half)]).await?;
    let spec = "
        defaultStore: app
        secrets: {vars: {SECOND: {}}}
        components:
          terraform:
            db: {secrets: {vars: {A: {}}}, targets: {prod-db: {inherit: Own}}}
            web: {secrets: {vars: {FIRST: {}}}, targets: {both: {}, one: {inherit: Own}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::ValueTooLarge).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("target both") && message.contains("1 MiB"), "{message}");
    assert_eq!(tenant.secret("both").await?, None);
    assert_eq!(tenant.secret("one").await?, secret(&[("FIRST", &half)]));
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &value)]));
    assert_eq!(tenant.operator_writes("both")?, []);
    Ok(())
}

#[tokio::test]
async fn an_unknown_field_is_refused_or_pruned_and_harms_nobody() -> anyhow::Result<()> {
    let (tenant, value) = synced().await?;
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack", "metadata": {"name": "unknown"},
        "spec": {
            "name": "prod", "defaultStore": "app", "surprise": true,
            "components": {"terraform": {"db": {"secrets": {"vars": {"A": {"value": "x", "required": true}}}}}},
        },
    });
    let refused = tenant.create(&object, ValidationDirective::Strict).await.unwrap_err();
    assert!(refused.to_string().contains("surprise"), "{refused:#}");
    tenant.create(&object, ValidationDirective::Ignore).await?;
    tenant.wait_ready("unknown").await?;
    assert_eq!(tenant.secret("unknown-db").await?, secret(&[("A", &value)]));
    Ok(())
}
