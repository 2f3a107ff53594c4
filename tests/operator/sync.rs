//! The main job: declared secrets become Secrets.

use crate::harness::{Tenant, secret};

#[tokio::test]
async fn a_declared_secret_becomes_a_secret() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    tenant
        .stack(
            "prod",
            "
            defaultStore: app
            components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
            ",
        )
        .await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(status.initialized.as_deref(), Some("1/1"));
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}
