//! Stores of kind `gcpSecretManager` behind the real operator: what arrives, what each failure is called, and how often
//! Google is asked. The Google is one of our own, over TLS where nothing stands in front of it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, SecretState, StackStatus};
use e2e::{Fault, FaultProxy, Gcp, Matching};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::{Cluster, Grant, Operator, Options, Tenant, condition, expect_round, secret, state_of};

const READER: &str = "reader@payments-prod.iam.gserviceaccount.com";
const PROVIDER: &str = "projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod";
const LOGIN: &str = "POST /token";

/// A Google, an operator that may connect to it, and a namespace.
struct Scene {
    gcp: Gcp,
    proxy: FaultProxy,
    tenant: Tenant,
    _authority: NamedTempFile,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let gcp = Gcp::start()?;
        let mut authority = NamedTempFile::new()?;
        authority.write_all(gcp.ca_pem().as_bytes())?;
        let cluster = Cluster::start().await?;
        let services = ["gcp-oauth", "gcp-sts", "gcp-iam-credentials"].map(|name| format!("{name}={}", gcp.url()));
        let services = services.into_iter().flat_map(|service| ["--service-endpoint".to_owned(), service]);
        let authority_path = authority.path().display().to_string();
        let rest = ["--allow-loopback-endpoints".to_owned(), "--ca-file".to_owned(), authority_path];
        let arguments = services.chain(rest).collect();
        Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, Grant::Full).await?;
        let proxy = FaultProxy::to_http(&gcp.plain_url()).await?;
        Ok(Self { gcp, proxy, tenant, _authority: authority })
    }

    /// Stores a value as Atmos does; returns the number of its version.
    fn put(&self, key: &str, text: &str) -> u64 {
        self.gcp.put(&self.id(key), json!(text).to_string().as_bytes())
    }

    fn id(&self, key: &str) -> String {
        format!("{}_{key}", self.tenant.namespace)
    }

    /// A new key of the reader, which ends the one before.
    fn new_key(&self) -> anyhow::Result<String> {
        let key = self.gcp.account_key(READER)?;
        let line = key["private_key"].as_str().and_then(|pem| pem.lines().nth(7)).context("a key in PEM")?;
        self.tenant.guard(line);
        Ok(key.to_string())
    }

    /// Tokens are looked for at the end of the test like values.
    fn guard_tokens(&self) {
        let tokens = self.gcp.tokens();
        assert!(!tokens.is_empty());
        for token in tokens {
            self.tenant.guard(token.trim_start_matches("ya29."));
        }
    }

    async fn set_key(&self, key: &str) -> anyhow::Result<()> {
        self.tenant.apply_secret("google", json!({}), "Opaque", &[("key.json", key)]).await
    }

    async fn store(&self, endpoint: String, auth: Value) -> anyhow::Result<()> {
        let spec = json!({
            "prefix": self.tenant.namespace,
            "minRefreshInterval": "10s",
            "gcpSecretManager": {"projectId": e2e::gcp::PROJECT, "endpoint": endpoint, "auth": auth},
        });
        self.tenant.write("Store", "google", spec).await
    }

    async fn store_by_key(&self) -> anyhow::Result<()> {
        self.store(self.proxy.url(), json!({"serviceAccountKey": {"secret": "google", "key": "key.json"}})).await
    }
}

const ORDERS: &str = "
    defaultStore: google
    refreshInterval: 10s
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}, MODE: {default: fallback}}}}}}
";

#[tokio::test]
async fn values_of_every_scope_and_version_arrive_by_workload_identity() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { gcp, tenant, .. } = &scene;
    let namespace = &tenant.namespace;
    let [old, own, stack, global, late, next] = [(); 6].map(|()| tenant.canary());
    let database = scene.id("plat_prod_orders-db_DB_PASSWORD");
    for (key, value) in [
        ("plat_prod_orders-db_DB_PASSWORD", &old),
        ("plat_prod_orders-db_DB_PASSWORD", &own),
        ("plat_prod_API_KEY", &stack),
        ("ROOT_CA", &global),
        ("plat_prod_orders-db_GONE", &old),
    ] {
        scene.put(key, value);
    }
    gcp.set_alias(&database, "stable", 1);
    gcp.destroy(&scene.id("plat_prod_orders-db_GONE"), 1);
    let subject = format!("system:serviceaccount:{namespace}:reader");
    gcp.trust(PROVIDER, &subject);
    gcp.let_act_as(&subject, READER);
    tenant.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})).await?;
    let auth = json!({"workloadIdentity": {
        "provider": PROVIDER, "serviceAccountEmail": READER, "serviceAccount": {"name": "reader"}}});
    scene.store(gcp.url(), auth).await?;
    let spec = "
        name: plat-prod
        defaultStore: google
        refreshInterval: 10s
        secrets: {vars: {API_KEY: {required: true}, ROOT_CA: {scope: global}}}
        components:
          terraform:
            orders-db:
              secrets:
                vars:
                  DB_PASSWORD: {required: true}
                  BEFORE: {reference: DB_PASSWORD, version: '1'}
                  STABLE: {reference: DB_PASSWORD, version: stable}
                  NEVER: {reference: DB_PASSWORD, version: none-such}
                  LATE: {}
                  GONE: {}
    ";
    tenant.stack("prod", spec).await?;
    // Tokens of an account are asked for only with a right on that account.
    tenant.wait_reason("prod", Reason::GrantMissing).await?;
    let told = tenant.wait_store("google", Reason::GrantMissing).await?;
    let account = format!("tokens of ServiceAccount {namespace}/reader; list it in serviceAccountTokens");
    assert!(told.message.contains(&account), "{}", told.message);
    assert!(gcp.requests().is_empty(), "no login without a token");
    let rule = json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["reader"],
        "verbs": ["create"]});
    let group = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "reader-token"},
            "rules": [rule]}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "reader-token"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader-token"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": tenant.cluster.operator_user()}]}),
    ] {
        tenant.apply(&object).await?;
    }

    let status = tenant.wait_ready("prod").await?;
    let mut data =
        vec![("API_KEY", &*stack), ("BEFORE", &old), ("DB_PASSWORD", &own), ("ROOT_CA", &global), ("STABLE", &old)];
    tenant.wait_secret("prod-orders-db", secret(&data)).await?;
    assert_eq!(state_of(&status, "LATE"), (SecretState::Missing, Some(Reason::ValueMissing)));
    assert_eq!(state_of(&status, "NEVER"), (SecretState::Missing, Some(Reason::VersionMissing)));
    assert_eq!(state_of(&status, "GONE"), (SecretState::Missing, Some(Reason::VersionMissing)));
    let gone = status.secrets.iter().find(|entry| entry.name == "GONE").unwrap().message.clone().unwrap_or_default();
    assert!(gone.contains("is destroyed"), "{gone}");

    // What appears and what changes is found by the tick, with the right to read alone, too.
    gcp.permit_only(READER, &["secretmanager.versions.access"]);
    scene.put("plat_prod_orders-db_LATE", &late);
    scene.put("plat_prod_API_KEY", &next);
    scene.put("plat_prod_orders-db_GONE", &next);
    data[0].1 = &next;
    data.extend([("LATE", &*late), ("GONE", &*next)]);
    tenant.wait_secret("prod-orders-db", secret(&data)).await?;
    scene.guard_tokens();
    Ok(())
}

#[tokio::test]
async fn each_failure_has_its_reason_and_leaves_the_last_good_secret() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let Scene { gcp, proxy, tenant, .. } = &scene;
    let [value, next, mode] = [(); 3].map(|()| tenant.canary());
    let data = |password: &str| secret(&[("DB_PASSWORD", password), ("MODE", &mode)]);
    scene.put("prod_orders-db_DB_PASSWORD", &value);
    scene.put("prod_orders-db_MODE", &mode);
    scene.set_key(&scene.new_key()?).await?;
    scene.store_by_key().await?;
    tenant.stack("prod", ORDERS).await?;
    tenant.wait_ready("prod").await?;
    let good = data(&value);
    tenant.wait_secret("prod-orders-db", good.clone()).await?;

    gcp.permit_only(READER, &[]);
    let status = tenant.wait_reason("prod", Reason::AccessDenied).await?;
    assert_eq!(state_of(&status, "DB_PASSWORD"), (SecretState::Error, Some(Reason::AccessDenied)));
    assert_eq!(tenant.secret("prod-orders-db").await?, good);
    gcp.permit_only(READER, &["secretmanager.versions.access"]);
    tenant.wait_ready("prod").await?;

    // What is disabled is there: no default stands in for it.
    gcp.disable(&scene.id("prod_orders-db_MODE"), 1);
    let status = tenant.wait_reason("prod", Reason::AccessDenied).await?;
    assert_eq!(state_of(&status, "MODE"), (SecretState::Error, Some(Reason::AccessDenied)));
    let off = status.secrets.iter().find(|entry| entry.name == "MODE").unwrap().message.clone().unwrap_or_default();
    assert!(off.contains("is disabled"), "{off}");
    assert_eq!(tenant.secret("prod-orders-db").await?, good);
    gcp.enable(&scene.id("prod_orders-db_MODE"), 1);
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, good);

    gcp.destroy(&scene.id("prod_orders-db_DB_PASSWORD"), 1);
    let status = tenant.wait_reason("prod", Reason::VersionMissing).await?;
    assert_eq!(state_of(&status, "DB_PASSWORD"), (SecretState::Missing, Some(Reason::VersionMissing)));
    assert_eq!(tenant.secret("prod-orders-db").await?, good);
    // Whether it is back is asked by metadata, which this account may not see: that changes nothing about the status.
    let denied = |history: Vec<StackStatus>| {
        let reasons = history.iter().flat_map(|status| &status.secrets).map(|entry| entry.reason);
        reasons.filter(|reason| *reason == Some(Reason::AccessDenied)).count()
    };
    let before = denied(tenant.history("prod").await?);
    let looks = || gcp.requests().iter().filter(|asked| asked.path.ends_with("DB_PASSWORD/versions/latest")).count();
    let wanted = looks() + 2;
    let looked = async || if looks() >= wanted { Ok(()) } else { Err(looks()) };
    e2e::wait_until("two more looks", Duration::from_secs(60), looked).await?;
    assert_eq!(denied(tenant.history("prod").await?), before);
    scene.put("prod_orders-db_DB_PASSWORD", &value);
    tenant.wait_ready("prod").await?;

    // What passes turns the Store and not its Stacks.
    for (fault, reason) in
        [(Fault::too_many_requests(Some(1)), Reason::Throttled), (Fault::answer(503), Reason::Unreachable)]
    {
        let injected = proxy.inject(fault, Matching::any());
        tenant.wait_store("google", reason).await?;
        let ready = tenant.stacks().get("prod").await?.status.unwrap();
        assert_eq!(condition(&ready, READY).unwrap().status, "True", "{reason}");
        assert_eq!(tenant.secret("prod-orders-db").await?, good);
        injected.remove();
        tenant.wait_store("google", Reason::Connected).await?;
    }
    scene.put("prod_orders-db_DB_PASSWORD", &next);
    tenant.wait_secret("prod-orders-db", data(&next)).await?;

    // Another service of Google's, where anybody may keep files, is not this one.
    let auth = json!({"serviceAccountKey": {"secret": "google", "key": "key.json"}});
    scene.store("https://storage.googleapis.com".to_owned(), auth).await?;
    tenant.wait_reason("prod", Reason::EndpointNotAllowed).await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, data(&next));
    scene.guard_tokens();
    Ok(())
}

/// D distinct keys are D reads, however many Stacks want them, with one login for the store; wrong credentials make no
/// storm, and right ones take effect without a restart.
#[tokio::test]
async fn reads_and_logins_are_as_few_as_can_be() -> anyhow::Result<()> {
    const KEYS: usize = 21;
    let scene = Scene::new().await?;
    let Scene { gcp, tenant, .. } = &scene;
    let value = tenant.canary();
    let names: Vec<String> = (0..KEYS).map(|number| format!("K{number}")).collect();
    for name in &names {
        scene.put(&format!("prod_{name}"), &value);
    }
    // All Stacks carry one Atmos name, so that they share the stack's secrets.
    let vars: Vec<String> = names.iter().map(|name| format!("{name}: {{}}")).collect();
    let spec = format!(
        "{{name: prod, defaultStore: google, refreshInterval: 10s, secrets: {{vars: {{{}}}}}, components: {{terraform: {{db: {{}}}}}}}}",
        vars.join(", ")
    );
    scene.store_by_key().await?;
    let stacks = ["one", "two", "three"];
    for stack in stacks {
        tenant.stack(stack, &spec).await?;
    }
    for stack in stacks {
        let status = tenant.wait_reason(stack, Reason::SourceNotFound).await?;
        let message = &condition(&status, READY).unwrap().message;
        assert!(message.contains(&format!("there is no Secret {}/google", tenant.namespace)), "{message}");
    }
    assert!(gcp.requests().is_empty());

    // A key that Google does not know any more.
    let old = scene.new_key()?;
    let key = scene.new_key()?;
    let began = Instant::now();
    scene.set_key(&old).await?;
    for stack in stacks {
        tenant.wait_reason(stack, Reason::AuthFailed).await?;
    }
    tenant.wait_store("google", Reason::AuthFailed).await?;
    let refused = gcp.count(LOGIN);
    // Six in each round of ten seconds: a few rounds pass where the machine is slow.
    let most = 6 * (1 + began.elapsed().as_secs() / 10);
    assert!((1..=most).contains(&(refused as u64)), "{refused} logins for {KEYS} keys that could not be read");
    assert_eq!(gcp.count(":access"), 0);

    scene.set_key(&key).await?;
    for stack in stacks {
        tenant.wait_ready(stack).await?;
    }
    let good = gcp.requests().iter().filter(|asked| asked.path == "/token" && asked.status == 200).count();
    assert_eq!(good, 1, "one login for all");
    expect_round(&[KEYS], async || Ok(vec![gcp.count(":access")])).await?;

    // The token ends at Google: one new login, and nobody notices.
    let logins = gcp.count(LOGIN);
    let next = tenant.canary();
    gcp.end_tokens();
    scene.put("prod_K7", &next);
    let data: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), if name == "K7" { &*next } else { &*value })).collect();
    for stack in stacks {
        tenant.wait_secret(&format!("{stack}-db"), secret(&data)).await?;
    }
    assert_eq!(gcp.count(LOGIN), logins + 1);
    scene.guard_tokens();
    Ok(())
}
