//! Stores of kind `azureKeyVault` behind the real operator: a vault and a login that throttle, refuse and go away.

use std::sync::Arc;
use std::time::Instant;

use atmos_secrets::api::status::{READY, SecretState};
use atmos_secrets::api::{Reason, StackStatus};
use e2e::{AzureApplication, AzureVault, Fault, Matching};
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, Operator, Options, Tenant, condition, expect_round, secret, state_of};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";

/// A vault, an operator that may reach it, and a namespace with the credentials.
struct Scene {
    azure: AzureVault,
    operator: Arc<Operator>,
    tenant: Tenant,
    client_secret: String,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let azure = AzureVault::start().await?;
        let cluster: Arc<Cluster> = Cluster::start().await?;
        let authority = cluster.folder().join("azure-ca.pem");
        std::fs::write(&authority, azure.ca_pem())?;
        let arguments = [
            "--allow-loopback-endpoints".to_owned(),
            "--service-endpoint".to_owned(),
            format!("azure-login={}", azure.url()),
            "--ca-file".to_owned(),
            authority.display().to_string(),
        ];
        let operator = Operator::start(&cluster, Options { arguments: arguments.into(), ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, Grant::Full).await?;
        let client_secret = tenant.plain_canary();
        let scene = Self { azure, operator, tenant, client_secret };
        scene.register(vec!["get", "list"]);
        Ok(scene)
    }

    fn register(&self, rights: Vec<&'static str>) {
        self.azure.register(AzureApplication {
            tenant: TENANT.into(),
            client: CLIENT.into(),
            secret: Some(self.client_secret.clone()),
            rights,
            ..AzureApplication::default()
        });
    }

    async fn credentials(&self, client_secret: &str) -> anyhow::Result<()> {
        self.tenant.apply_secret("azure", json!({}), "Opaque", &[("secret", client_secret)]).await
    }

    async fn store(&self) -> anyhow::Result<()> {
        let client_secret = json!({"tenantId": TENANT, "clientId": CLIENT,
            "clientSecret": {"secret": "azure", "key": "secret"}});
        self.store_with(json!({"clientSecret": client_secret})).await
    }

    async fn store_with(&self, auth: Value) -> anyhow::Result<()> {
        let spec = json!({
            "prefix": "atmos",
            "minRefreshInterval": "10s",
            "azureKeyVault": {"vaultUrl": self.azure.url(), "auth": auth},
        });
        self.tenant.write("Store", "azure", spec).await
    }

    /// Stores a value as Atmos does, and returns its version.
    fn put(&self, name: &str, value: &str) -> anyhow::Result<String> {
        self.azure.set(name, &json!(value).to_string(), Value::Null)
    }

    fn logins(&self) -> usize {
        self.azure.requests().iter().filter(|request| request.path.contains("/oauth2/")).count()
    }

    /// How often values were read that are there.
    fn reads(&self) -> usize {
        let is_read = |request: &&e2e::AzureRequest| {
            request.method == "GET" && request.path.starts_with("/secrets/atmos-") && request.status == 200
        };
        self.azure.requests().iter().filter(is_read).count()
    }
}

fn refusal(code: u16, word: &str, inner: &str) -> Fault {
    let body = json!({"error": {"code": word, "message": "x", "innererror": {"code": inner}}});
    Fault::Answer { code, retry_after: None, body: Some(body.to_string()) }
}

#[tokio::test]
async fn values_arrive_change_and_survive_what_befalls_the_vault() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { azure, operator, tenant, client_secret } = &scene;
    let [old, own, stack, global, late, next] = [(); 6].map(|()| tenant.canary());
    let before = scene.put("atmos-prod-orders-db-DB-PASSWORD", &old)?;
    scene.put("atmos-prod-orders-db-DB-PASSWORD", &own)?;
    scene.put("atmos-prod-API-KEY", &stack)?;
    scene.put("atmos-ROOT-CA", &global)?;
    scene.put("atmos-prod-orders-db-DELETED", &late)?;
    azure.delete("atmos-prod-orders-db-DELETED");
    azure.set("atmos-prod-orders-db-OFF", &json!(late).to_string(), json!({"enabled": false}))?;
    scene.credentials(client_secret).await?;
    scene.store().await?;
    let spec = format!(
        "
        defaultStore: azure
        refreshInterval: 10s
        secrets: {{vars: {{API_KEY: {{required: true}}, ROOT_CA: {{scope: global}}}}}}
        components:
          terraform:
            orders-db:
              secrets:
                vars:
                  DB_PASSWORD: {{required: true}}
                  BEFORE: {{reference: DB_PASSWORD, version: '{before}'}}
                  NEVER: {{reference: DB_PASSWORD, version: none-such}}
                  LATE: {{}}
                  DELETED: {{}}
            other:
              secrets: {{vars: {{OFF: {{backendKey: atmos-prod-orders-db-OFF}}}}}}
        "
    );
    tenant.stack("prod", &spec).await?;
    let mut data = vec![("API_KEY", &*stack), ("BEFORE", &old), ("DB_PASSWORD", &own), ("ROOT_CA", &global)];
    tenant.wait_secret("prod-orders-db", secret(&data)).await?;
    let told = |status: &StackStatus| state_of(status, "OFF").1.is_some() && state_of(status, "NEVER").1.is_some();
    let status = tenant.wait_status("prod", "the bad secrets", told).await?;
    for (name, state, reason) in [
        ("LATE", SecretState::Missing, Reason::ValueMissing),
        ("DELETED", SecretState::Missing, Reason::PendingDeletion),
        ("NEVER", SecretState::Missing, Reason::VersionMissing),
        ("OFF", SecretState::Error, Reason::AccessDenied),
    ] {
        assert_eq!(state_of(&status, name), (state, Some(reason)), "{name}");
    }
    assert_eq!(tenant.secret("prod-other").await?, None);

    // What appears and what changes is found by the tick.
    scene.put("atmos-prod-orders-db-LATE", &late)?;
    scene.put("atmos-prod-API-KEY", &next)?;
    data[0].1 = &next;
    data.push(("LATE", &late));
    let good = secret(&data);
    tenant.wait_secret("prod-orders-db", good.clone()).await?;

    // Throttled, then away: what was written stays.
    let logins = scene.logins();
    for (fault, reason) in
        [(refusal(429, "Throttled", ""), Reason::Throttled), (Fault::answer(503), Reason::Unreachable)]
    {
        let injected = azure.proxy().inject(fault, Matching::any().path("/secrets"));
        tenant.wait_store("azure", reason).await?;
        assert_eq!(tenant.secret("prod-orders-db").await?, good);
        injected.remove();
        tenant.wait_store("azure", Reason::Connected).await?;
    }
    assert_eq!(scene.logins(), logins, "trouble is no reason to log in again");

    // The role is taken away, and given back.
    scene.register(Vec::new());
    let told = |status: &StackStatus| state_of(status, "DB_PASSWORD").1 == Some(Reason::AccessDenied);
    tenant.wait_status("prod", "the denied secrets", told).await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, good);
    scene.register(vec!["get", "list"]);
    let told = |status: &StackStatus| state_of(status, "DB_PASSWORD") == (SecretState::Initialized, None);
    tenant.wait_status("prod", "the secrets again", told).await?;

    // The SDK has a log of its own, with every address.
    let log = std::fs::read_to_string(operator.log())?;
    assert!(log.contains("started") && !log.contains("api-version="), "the SDK of Azure logs");
    Ok(())
}

#[tokio::test]
async fn calls_and_logins_are_as_few_as_can_be() -> anyhow::Result<()> {
    const KEYS: usize = 12;
    let scene = Scene::new().await?;
    let Scene { azure, operator: _, tenant, client_secret } = &scene;
    let value = tenant.canary();
    let names: Vec<String> = (0..KEYS).map(|number| format!("K{number}")).collect();
    for name in &names {
        scene.put(&format!("atmos-prod-{name}"), &value)?;
    }
    let vars: Vec<String> = names.iter().map(|name| format!("{name}: {{}}")).collect();
    let vars = vars.join(", ");
    let spec = format!(
        "{{name: prod, defaultStore: azure, refreshInterval: 10s, secrets: {{vars: {{{vars}}}}}, components: {{terraform: {{db: {{}}}}}}}}"
    );
    for stack in ["one", "two", "three"] {
        tenant.stack(stack, &spec).await?;
        // The namespace is in use, and its Secrets are watched, before the store comes.
        tenant.wait_reason(stack, Reason::BackendNotFound).await?;
    }

    // No Secret, a wrong one, the right one: each takes effect at once, and no wrong one makes a storm.
    scene.store().await?;
    for stack in ["one", "two", "three"] {
        tenant.wait_reason(stack, Reason::SourceNotFound).await?;
    }
    assert_eq!(scene.logins(), 0);
    let began = Instant::now();
    scene.credentials("wrong").await?;
    for stack in ["one", "two", "three"] {
        tenant.wait_reason(stack, Reason::AuthFailed).await?;
    }
    let wrong = scene.logins();
    // Six in each round of ten seconds: a few rounds pass where the machine is slow.
    let most = 6 * (1 + began.elapsed().as_secs() / 10);
    assert!((1..=most).contains(&(wrong as u64)), "{wrong} logins for 12 keys that could not be read");
    scene.credentials(client_secret).await?;
    for stack in ["one", "two", "three"] {
        tenant.wait_ready(stack).await?;
    }
    let good =
        azure.requests().iter().filter(|request| request.path.contains("/oauth2/") && request.status == 200).count();
    assert_eq!(good, 1, "one login for all");

    // In a refresh every value is read once, whoever wants it.
    expect_round(&[KEYS], async || Ok(vec![scene.reads()])).await?;

    // The login ends before its time: one new one, and nobody notices.
    azure.revoke_tokens();
    let next = tenant.canary();
    scene.put("atmos-prod-K7", &next)?;
    let data: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), if name == "K7" { &*next } else { &*value })).collect();
    for stack in ["one", "two", "three"] {
        tenant.wait_secret(&format!("{stack}-db"), secret(&data)).await?;
        let status = tenant.stacks().get(stack).await?.status.unwrap();
        assert_eq!(condition(&status, READY).unwrap().status, "True", "{stack}");
    }
    let good =
        azure.requests().iter().filter(|request| request.path.contains("/oauth2/") && request.status == 200).count();
    assert_eq!(good, 2);
    Ok(())
}

/// As `docs/stores/azure-key-vault.md` has it: the operator may ask for tokens of one account, once somebody says so.
#[tokio::test]
async fn a_workload_identity_needs_a_grant_and_nothing_else() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { azure, tenant, .. } = &scene;
    let value = tenant.canary();
    scene.put("atmos-prod-db-K", &value)?;
    let namespace = &tenant.namespace;
    azure.register(AzureApplication {
        tenant: TENANT.into(),
        client: "federated".into(),
        federated: Some((format!("system:serviceaccount:{namespace}:vault-reader"), tenant.client.clone())),
        rights: vec!["get"],
        ..AzureApplication::default()
    });
    tenant.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "vault-reader"}})).await?;
    let identity = json!({"tenantId": TENANT, "clientId": "federated", "serviceAccount": {"name": "vault-reader"}});
    scene.store_with(json!({"workloadIdentity": identity})).await?;
    let stack =
        "{defaultStore: azure, refreshInterval: 10s, components: {terraform: {db: {secrets: {vars: {K: {}}}}}}}";
    tenant.stack("prod", stack).await?;
    let status = tenant.wait_reason("prod", Reason::GrantMissing).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains(&format!("tokens of ServiceAccount {namespace}/vault-reader")), "{message}");
    assert_eq!(scene.logins(), 0);

    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts/token"],
        "resourceNames": ["vault-reader"], "verbs": ["create"]}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "vault-reader-token"});
    let operator = json!([{"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"}]);
    for object in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "vault-reader-token"}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "vault-reader-token"}, "roleRef": role, "subjects": operator}),
    ] {
        tenant.apply(&object).await?;
    }
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("K", &value)]));
    assert_eq!(scene.logins(), 1);
    Ok(())
}
