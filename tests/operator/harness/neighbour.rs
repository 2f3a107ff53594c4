//! A Stack beside the one in trouble, to see that it goes on.

use super::{Tenant, secret};

/// A Stack with a store and a target of its own. See [`Neighbour::still_syncs`].
pub struct Neighbour<'a> {
    tenant: &'a Tenant,
}

const STORE: &str = "neighbour";
const OBJECT: &str = "neighbour.neighbour.app";
const TARGET: &str = "neighbour-app";

impl<'a> Neighbour<'a> {
    /// Starts it and waits until it is ready.
    pub async fn start(tenant: &'a Tenant) -> anyhow::Result<Self> {
        let value = tenant.canary();
        tenant.store(STORE, "{kubernetes: {}, prefix: neighbour}").await?;
        tenant.values(OBJECT, &[("TOKEN", &value)]).await?;
        tenant
            .stack(
                "neighbour",
                "{defaultStore: neighbour, components: {terraform: {app: {secrets: {vars: {TOKEN: {required: true}}}}}}}",
            )
            .await?;
        tenant.wait_ready("neighbour").await?;
        assert_eq!(tenant.secret(TARGET).await?, secret(&[("TOKEN", &value)]));
        Ok(Self { tenant })
    }

    /// A new value of it arrives, and it is ready.
    pub async fn still_syncs(&self) -> anyhow::Result<()> {
        let value = self.tenant.canary();
        self.tenant.values(OBJECT, &[("TOKEN", &value)]).await?;
        self.tenant.wait_secret(TARGET, secret(&[("TOKEN", &value)])).await?;
        self.tenant.wait_ready("neighbour").await?;
        Ok(())
    }
}
