//! Stores of kind `vault`: a real Vault behind a proxy that can throttle and cut, and one login for all reads.

use std::time::Instant;

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{SecretState, StackStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Fault, FaultProxy, Matching, Vault};
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, expect_round, secret, state_of};
use crate::requests;

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
        Self::granted(Grant::Full).await
    }

    async fn granted(grant: Grant) -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let arguments = vec!["--allow-loopback-endpoints".to_owned()];
        Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, grant).await?;
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
        self.tenant.write("Store", "vault", self.spec()).await
    }

    fn spec(&self) -> Value {
        json!({
            "prefix": "atmos",
            "minRefreshInterval": "10s",
            "vault": {
                "address": self.proxy.url(),
                "mount": "secret",
                "auth": {"approle": {"roleId": self.role_id, "secretId": {"secret": "vault", "key": "secretId"}}},
            },
        })
    }

    /// How often the value of each of these paths was read.
    fn reads(&self, paths: &[String]) -> anyhow::Result<Vec<usize>> {
        let requests = self.vault.requests()?;
        let count = |path: &String| requests.iter().filter(|asked| asked.path == format!("secret/data/{path}")).count();
        Ok(paths.iter().map(count).collect())
    }

    /// Waits for a refresh that reads each of these paths exactly once.
    async fn expect_one_read_of_each(&self, paths: &[String]) -> anyhow::Result<()> {
        expect_round(&vec![1; paths.len()], async || self.reads(paths)).await
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
    let told = |status: &StackStatus| state_of(status, "LATER").1.is_some() && state_of(status, "DENIED").1.is_some();
    let status = tenant.wait_status("prod", "both bad secrets", told).await?;
    assert_eq!(state_of(&status, "DB_PASSWORD"), (SecretState::Initialized, None));
    assert_eq!(state_of(&status, "LATER"), (SecretState::Missing, Some(Reason::ValueMissing)));
    assert_eq!(state_of(&status, "DENIED"), (SecretState::Error, Some(Reason::AccessDenied)));
    assert_eq!((tenant.secret("later").await?, tenant.secret("denied").await?), (None, None));

    // Nothing tells of a change in Vault: the next refresh finds it.
    scene.put("atmos/prod/other/LATER", &later).await?;
    scene.put("atmos/prod/orders-db/DB_PASSWORD", &second).await?;
    tenant.wait_secret("later", secret(&[("LATER", &later)])).await?;
    let good = secret(&[("DB_PASSWORD", &second), ("DOCUMENT", &user)]);
    tenant.wait_secret("orders-db", good.clone()).await?;
    let logins = 1;
    assert_eq!(scene.logins()?, (logins, 0), "one login for everything so far");

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
    let gone =
        |status: &StackStatus| state_of(status, "DB_PASSWORD") == (SecretState::Missing, Some(Reason::ValueMissing));
    tenant.wait_status("prod", "the deleted value", gone).await?;
    assert_eq!(tenant.secret("orders-db").await?, good);
    let undelete = json!({"versions": [3]});
    vault.must("POST", "secret/undelete/atmos/prod/orders-db/DB_PASSWORD", undelete).await?;
    let back = |status: &StackStatus| state_of(status, "DB_PASSWORD").0 == SecretState::Initialized;
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
    let began = Instant::now();
    scene.credentials(wrong).await?;
    for stack in ["prod", "other", "third"] {
        tenant.wait_reason(stack, Reason::AuthFailed).await?;
    }
    tenant.wait_store("vault", Reason::AuthFailed).await?;
    let (good, bad) = scene.logins()?;
    assert_eq!(good, 0);
    // Six in each round of ten seconds: a few rounds pass where the machine is slow.
    let most = 6 * (1 + began.elapsed().as_secs() / 10);
    assert!((1..=most).contains(&(bad as u64)), "{bad} logins for 12 keys that could not be read");

    let right = scene.new_secret_id().await?;
    scene.credentials(&right).await?;
    tenant.wait_secret("prod-db", secret(&["A", "B", "C", "D"].map(|name| (name, value.as_str())))).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(scene.logins()?.0, 1, "of one store");
    let encoded = STANDARD.encode(&right);
    let status = serde_json::to_string(&tenant.stores().get("vault").await?.status)?;
    assert!(!status.contains(&right) && !status.contains(&encoded));
    Ok(())
}

/// What is written to the Secret with the credentials asks for a new login only if its data are others.
#[tokio::test]
async fn each_store_logs_in_once_until_its_credentials_change() -> anyhow::Result<()> {
    for grant in [Grant::Full, Grant::WithoutWatch] {
        let scene = Scene::granted(grant).await?;
        let Scene { vault: _, proxy: _, tenant, .. } = &scene;
        let value = tenant.canary();
        scene.put("atmos/K", &value).await?;
        scene.credentials(&scene.new_secret_id().await?).await?;
        // Connected before anything is watched, and used when everything is.
        let stores = ["vault", "same-again"];
        for store in stores {
            tenant.write("Store", store, scene.spec()).await?;
            tenant.wait_store(store, Reason::Connected).await?;
        }
        let stacks = ["one", "two", "three", "four"];
        let sync = async || {
            for stack in stacks {
                tenant.sync(stack).await?;
            }
            anyhow::Ok(())
        };
        for (number, stack) in (0..).zip(stacks) {
            let store = stores[number % 2];
            let vars = "secrets: {vars: {K: {scope: global, required: true}}}, components: {terraform: {db: {}}}";
            tenant.stack(stack, &format!("{{defaultStore: {store}, refreshInterval: 10s, {vars}}}")).await?;
        }
        for stack in stacks {
            tenant.wait_ready(stack).await?;
        }
        sync().await?;
        assert_eq!(scene.logins()?, (stores.len(), 0), "{grant:?}: one login for each store");

        let mark = tenant.cluster.audit_mark()?;
        tenant.patch_secret("vault", json!({"metadata": {"labels": {"team": "orders"}}})).await?;
        e2e::wait_until("the operator to look at the Secret", LIMIT, async || {
            let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
            let looks = requests::about(&events, "vault").iter().filter(|event| event.resource == "secrets").count();
            anyhow::ensure!(looks >= stores.len(), "{looks} looks");
            Ok(())
        })
        .await?;
        sync().await?;
        assert_eq!(scene.logins()?, (stores.len(), 0), "{grant:?}: nothing that matters has changed");

        scene.credentials(&scene.new_secret_id().await?).await?;
        e2e::wait_until("the new logins", LIMIT, async || {
            let (logins, _) = scene.logins()?;
            anyhow::ensure!(logins >= 2 * stores.len(), "{logins}");
            Ok(())
        })
        .await?;
        sync().await?;
        assert_eq!(scene.logins()?, (2 * stores.len(), 0), "{grant:?}: one more login for each store");
    }
    Ok(())
}

#[tokio::test]
async fn credentials_that_a_stack_writes_take_effect() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { vault: _, proxy: _, tenant, .. } = &scene;
    let value = tenant.canary();
    scene.put("atmos/K", &value).await?;
    // The Secret that the store logs in with is itself the target of a Stack.
    tenant.store("local", "kubernetes: {}").await?;
    let wrong = "00000000-0000-0000-0000-000000000000";
    tenant.values("atmos", &[("secretId", wrong)]).await?;
    let spec = "{defaultStore: local, components: {terraform: {db: {secrets: {vars: {secretId: {scope: global}}}, targets: {vault: {}}}}}}";
    tenant.stack("credentials", spec).await?;
    tenant.wait_ready("credentials").await?;
    scene.store().await?;
    let vars = "secrets: {vars: {K: {scope: global, required: true}}}, components: {terraform: {db: {}}}";
    // Nothing but the new credentials makes it read again.
    tenant.stack("prod", &format!("{{defaultStore: vault, refreshInterval: 1h, {vars}}}")).await?;
    tenant.wait_reason("prod", Reason::AuthFailed).await?;
    tenant.values("atmos", &[("secretId", &scene.new_secret_id().await?)]).await?;
    tenant.wait_ready("prod").await?;
    tenant.wait_secret("prod-db", secret(&[("K", &value)])).await
}

/// D distinct keys are D reads in one refresh, however many Stacks want them.
#[tokio::test]
async fn a_refresh_reads_each_key_once() -> anyhow::Result<()> {
    const KEYS: usize = 9;
    let scene = Scene::new().await?;
    let tenant = &scene.tenant;
    let value = tenant.canary();
    let names: Vec<String> = (0..KEYS).map(|number| format!("K{number}")).collect();
    let paths: Vec<String> = names.iter().map(|name| format!("atmos/prod/{name}")).collect();
    for path in &paths {
        scene.put(path, &value).await?;
    }
    scene.credentials(&scene.new_secret_id().await?).await?;
    scene.store().await?;
    let vars: Vec<String> = names.iter().map(|name| format!("{name}: {{}}")).collect();
    let vars = vars.join(", ");
    let stacks = ["one", "two", "three"];
    for stack in stacks {
        let spec = format!(
            "{{name: prod, defaultStore: vault, refreshInterval: 10s, secrets: {{vars: {{{vars}}}}}, components: {{terraform: {{db: {{}}}}}}}}"
        );
        tenant.stack(stack, &spec).await?;
    }
    for stack in stacks {
        tenant.wait_ready(stack).await?;
    }
    scene.expect_one_read_of_each(&paths).await?;
    assert_eq!(scene.logins()?, (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_stack_over_two_namespaces_reads_what_they_share_once() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let tenant = &scene.tenant;
    let other = Tenant::on(&tenant.cluster, Grant::Full).await?;
    let value = tenant.canary();
    scene.put("atmos/prod/SHARED", &value).await?;
    let secret_id = scene.new_secret_id().await?;
    other.guard(&secret_id.replace('-', ""));
    // Credentials of a ClusterStore lie in the operator's namespace, where it may read what it was granted.
    let metadata = json!({"name": "vault", "namespace": "atmos-secrets"});
    let account = json!({"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"});
    let group = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"secretId": secret_id}}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["vault"], "verbs": ["get"]},
        ]}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "vault"}, "subjects": [account]}),
    ] {
        tenant.cluster.apply_yaml(&object.to_string()).await?;
    }
    let mut spec = scene.spec();
    spec["shared"] = json!(true);
    spec["allowedNamespaces"] = json!({"names": [tenant.namespace, other.namespace]});
    let name = tenant.unique("shared");
    tenant.write("ClusterStore", &name, spec).await?;
    // One Atmos stack, whose components are deployed to two namespaces.
    for (tenant, component) in [(tenant, "orders"), (&other, "payments")] {
        let spec = format!(
            "{{name: prod, stores: {{shared: {{clusterStore: {name}}}}}, defaultStore: shared, refreshInterval: 10s, \
             secrets: {{vars: {{SHARED: {{required: true}}}}}}, components: {{terraform: {{{component}: {{}}}}}}}}"
        );
        tenant.stack("prod", &spec).await?;
    }
    for (tenant, component) in [(tenant, "orders"), (&other, "payments")] {
        tenant.wait_ready("prod").await?;
        tenant.wait_secret(&format!("prod-{component}"), secret(&[("SHARED", &value)])).await?;
    }
    let path = ["atmos/prod/SHARED".to_owned()];
    scene.expect_one_read_of_each(&path).await?;
    assert_eq!(scene.logins()?, (1, 0), "one login for both namespaces");
    Ok(())
}
