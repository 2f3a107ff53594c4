//! Stores of kind `vault`: a real Vault behind a proxy that can throttle and cut, and one login for all reads.

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{SecretState, StackStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Fault, FaultProxy, Matching, Vault};
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, Operator, Options, Tenant, secret};

const STACK: &str = "
    defaultStore: vault
    refreshInterval: 10s
    components:
      terraform:
        orders-db:
          secrets: {vars: {DB_PASSWORD: {required: true}, DOCUMENT: {path: .user}}}
          targets: {orders-db: {}}
        other:
          secrets: {vars: {LATER: {required: true}, DENIED: {backendKey: elsewhere/K}}}
          targets: {later: {keys: {LATER: LATER}}, denied: {keys: {DENIED: DENIED}}}";

/// A Vault with an AppRole that may read `secret/data/atmos/*`, and the Secret with its credentials.
struct Scene {
    vault: Vault,
    proxy: FaultProxy,
    tenant: Tenant,
    role_id: String,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let arguments = vec!["--allow-loopback-endpoints".to_owned()];
        Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, Grant::Full).await?;
        let vault = Vault::start().await?;
        let proxy = FaultProxy::to_http(vault.url()).await?;
        let policy = r#"path "secret/data/atmos/*" { capabilities = ["read"] }
                        path "secret/metadata/atmos/*" { capabilities = ["read", "list"] }"#;
        vault.must("PUT", "sys/policies/acl/app", json!({"policy": policy})).await?;
        vault.must("POST", "sys/auth/approle", json!({"type": "approle"})).await?;
        let role = json!({"token_policies": ["app"], "token_ttl": "1h"});
        vault.must("POST", "auth/approle/role/app", role).await?;
        let role_id = vault.must("GET", "auth/approle/role/app/role-id", Value::Null).await?;
        let role_id = role_id["data"]["role_id"].as_str().context("a role id")?.to_owned();
        Ok(Self { vault, proxy, tenant, role_id })
    }

    async fn put(&self, path: &str, value: &str) -> anyhow::Result<()> {
        self.vault.must("POST", &format!("secret/data/{path}"), json!({"data": {"value": value}})).await.map(drop)
    }

    async fn new_secret_id(&self) -> anyhow::Result<String> {
        let made = self.vault.must("POST", "auth/approle/role/app/secret-id", json!({})).await?;
        let id = made["data"]["secret_id"].as_str().context("a secret id")?.to_owned();
        self.tenant.guard(&id.replace('-', ""));
        Ok(id)
    }

    async fn credentials(&self, secret_id: &str) -> anyhow::Result<()> {
        self.tenant.apply_secret("vault", json!({}), "Opaque", &[("secretId", secret_id)]).await
    }

    async fn store(&self) -> anyhow::Result<()> {
        let spec = json!({
            "prefix": "atmos",
            "minRefreshInterval": "10s",
            "vault": {
                "address": self.proxy.url(),
                "mount": "secret",
                "auth": {"approle": {"roleId": self.role_id, "secretId": {"secret": "vault", "key": "secretId"}}},
            },
        });
        self.tenant.write("Store", "vault", spec).await
    }

    /// Logins that succeeded, and those that did not.
    fn logins(&self) -> anyhow::Result<(usize, usize)> {
        let requests = self.vault.requests()?;
        let count = |failed| {
            requests.iter().filter(|asked| asked.path == "auth/approle/login" && asked.failed == failed).count()
        };
        Ok((count(false), count(true)))
    }
}

fn of(status: &StackStatus, name: &str) -> (SecretState, Option<Reason>) {
    let entry = status.secrets.iter().find(|entry| entry.name == name).unwrap();
    (entry.state, entry.reason)
}

#[tokio::test]
async fn values_arrive_change_and_survive_what_befalls_vault() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { vault, proxy, tenant, .. } = &scene;
    let (first, second, later, user) = (tenant.canary(), tenant.canary(), tenant.canary(), tenant.plain_canary());
    scene.put("atmos/prod/orders-db/DB_PASSWORD", &first).await?;
    // A whole object, of which a path takes one field.
    let document = json!({"data": {"user": user, "port": 5432}});
    vault.must("POST", "secret/data/atmos/prod/orders-db/DOCUMENT", document).await?;
    scene.put("elsewhere/K", "nobody's").await?;
    scene.credentials(&scene.new_secret_id().await?).await?;
    scene.store().await?;
    tenant.stack("prod", STACK).await?;

    tenant.wait_secret("orders-db", secret(&[("DB_PASSWORD", &first), ("DOCUMENT", &user)])).await?;
    tenant.wait_store("vault", Reason::Connected).await?;
    let told = |status: &StackStatus| of(status, "LATER").1.is_some() && of(status, "DENIED").1.is_some();
    let status = tenant.wait_status("prod", "both bad secrets", told).await?;
    assert_eq!(of(&status, "DB_PASSWORD"), (SecretState::Initialized, None));
    assert_eq!(of(&status, "LATER"), (SecretState::Missing, Some(Reason::ValueMissing)));
    assert_eq!(of(&status, "DENIED"), (SecretState::Error, Some(Reason::AccessDenied)));
    assert_eq!((tenant.secret("later").await?, tenant.secret("denied").await?), (None, None));

    // Nothing tells of a change in Vault: the next refresh finds it.
    scene.put("atmos/prod/other/LATER", &later).await?;
    scene.put("atmos/prod/orders-db/DB_PASSWORD", &second).await?;
    tenant.wait_secret("later", secret(&[("LATER", &later)])).await?;
    let good = secret(&[("DB_PASSWORD", &second), ("DOCUMENT", &user)]);
    tenant.wait_secret("orders-db", good.clone()).await?;
    // A connection made before the namespace is watched is made once more when the watch shows the Secret.
    let (logins, refused) = scene.logins()?;
    assert!(logins <= 2 && refused == 0, "{logins} and {refused} logins for everything so far");

    // Throttled, then broken off: what was written stays.
    for (fault, reason) in
        [(Fault::too_many_requests(Some(1)), Reason::Throttled), (Fault::answer(502), Reason::Unreachable)]
    {
        let injected = proxy.inject(fault, Matching::any().path("/v1/"));
        tenant.wait_store("vault", reason).await?;
        assert_eq!(tenant.secret("orders-db").await?, good);
        injected.remove();
        tenant.wait_store("vault", Reason::Connected).await?;
    }
    assert_eq!(scene.logins()?, (logins, 0), "trouble is no reason to log in again");

    // Vault forgets the login: one new one, and nothing is seen of it.
    vault.must("PUT", "sys/leases/revoke-prefix/auth/approle/login", json!({})).await?;
    let third = tenant.canary();
    scene.put("atmos/prod/orders-db/DB_PASSWORD", &third).await?;
    let good = secret(&[("DB_PASSWORD", &third), ("DOCUMENT", &user)]);
    tenant.wait_secret("orders-db", good.clone()).await?;
    assert_eq!(scene.logins()?, (logins + 1, 0), "exactly one login after the revocation");

    // Deleted by its user, with a way back: missing, and the last good Secret stays.
    vault.must("DELETE", "secret/data/atmos/prod/orders-db/DB_PASSWORD", Value::Null).await?;
    let gone = |status: &StackStatus| of(status, "DB_PASSWORD") == (SecretState::Missing, Some(Reason::ValueMissing));
    tenant.wait_status("prod", "the deleted value", gone).await?;
    assert_eq!(tenant.secret("orders-db").await?, good);
    let undelete = json!({"versions": [3]});
    vault.must("POST", "secret/undelete/atmos/prod/orders-db/DB_PASSWORD", undelete).await?;
    let back = |status: &StackStatus| of(status, "DB_PASSWORD").0 == SecretState::Initialized;
    tenant.wait_status("prod", "the value to be back", back).await?;
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_each_round_and_right_ones_at_once() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { vault: _, proxy: _, tenant, .. } = &scene;
    let value = tenant.canary();
    for name in ["A", "B", "C", "D"] {
        scene.put(&format!("atmos/prod/db/{name}"), &value).await?;
    }
    scene.store().await?;
    for stack in ["prod", "other", "third"] {
        let spec = "{defaultStore: vault, refreshInterval: 10s, components: {terraform: {db: {secrets: {vars: {A: {}, B: {}, C: {}, D: {}}}}}}}";
        tenant.stack(stack, spec).await?;
    }
    tenant.wait_reason("prod", Reason::SourceNotFound).await?;
    assert_eq!(scene.logins()?, (0, 0));
    let wrong = "00000000-0000-0000-0000-000000000000";
    scene.credentials(wrong).await?;
    for stack in ["prod", "other", "third"] {
        tenant.wait_reason(stack, Reason::AuthFailed).await?;
    }
    tenant.wait_store("vault", Reason::AuthFailed).await?;
    let (good, bad) = scene.logins()?;
    assert_eq!(good, 0);
    assert!((1..=6).contains(&bad), "{bad} logins for 12 keys that could not be read");

    let right = scene.new_secret_id().await?;
    scene.credentials(&right).await?;
    tenant.wait_secret("prod-db", secret(&["A", "B", "C", "D"].map(|name| (name, value.as_str())))).await?;
    tenant.wait_ready("prod").await?;
    let (good, _) = scene.logins()?;
    assert!((1..=2).contains(&good), "{good} logins for one store");
    let encoded = STANDARD.encode(&right);
    let status = serde_json::to_string(&tenant.stores().get("vault").await?.status)?;
    assert!(!status.contains(&right) && !status.contains(&encoded));
    Ok(())
}
