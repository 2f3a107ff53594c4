//! Answers of the API server that make no sense, with values in them: they are told nowhere, and harm only for as long as
//! they last. Every operator here logs at `trace`; the tenant's end searches log, metrics, status and Events.

use e2e::fault_proxy::Injected;
use e2e::{Fault, FaultProxy, Matching};
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, secret};
use crate::sops_files::{AgeKey, encrypt};

const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {
        DB_PASSWORD: {required: true},
        API_KEY: {sops: files, required: true},
    }}}}}
";
const OBJECT: &str = "atmos.prod.orders-db";
const FILE: &str = "prod.orders-db.enc.yaml";
const TARGET: &str = "prod-orders-db";

/// A ready Stack whose operator reaches the API server through a proxy.
struct Proxied {
    proxy: FaultProxy,
    tenant: Tenant,
    key: AgeKey,
}

impl Proxied {
    async fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let proxy = FaultProxy::to_api_server(&cluster).await?;
        let kubeconfig = Some(cluster.proxied_kubeconfig(&cluster.operator_kubeconfig(), &proxy)?);
        Operator::start(&cluster, Options { kubeconfig, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, Grant::Full).await?;
        let key = AgeKey::generate();
        tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
        tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", &key.identity)]).await?;
        tenant.store("app", "kubernetes: {}").await?;
        tenant
            .store("files", "sops: {source: {configMaps: [files]}, age: {keys: [{secret: age, key: key.txt}]}}")
            .await?;
        let proxied = Self { proxy, tenant, key };
        let values = proxied.put().await?;
        proxied.tenant.stack("prod", STACK).await?;
        proxied.wait(&values).await?;
        Ok(proxied)
    }

    /// Sets new values in both stores.
    async fn put(&self) -> anyhow::Result<[String; 2]> {
        let [password, api_key] = [self.tenant.canary(), self.tenant.canary()];
        self.tenant.values(OBJECT, &[("DB_PASSWORD", &password)]).await?;
        let file = encrypt(FILE, &json!({"API_KEY": api_key}).to_string(), &[&self.key]).await?;
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {FILE: file}});
        self.tenant.apply(&object).await?;
        Ok([password, api_key])
    }

    /// Waits until these values arrived.
    async fn wait(&self, [password, api_key]: &[String; 2]) -> anyhow::Result<()> {
        let wanted = secret(&[("API_KEY", api_key), ("DB_PASSWORD", password)]);
        self.tenant.wait_secret(TARGET, wanted).await?;
        self.tenant.wait_ready("prod").await.map(drop)
    }

    /// Answers such requests with this body, each kind of them at least once, while both values change; then the
    /// operator must catch up.
    async fn survive(&self, what: &str, matching: Vec<Matching>, body: String) -> anyhow::Result<()> {
        let answer = Fault::Answer { code: 200, retry_after: None, body: Some(body) };
        let faults: Vec<_> = matching.into_iter().map(|matching| self.proxy.inject(answer.clone(), matching)).collect();
        self.proxy.cut_connections();
        let mut values = self.put().await?;
        let mut changed = true;
        e2e::wait_until(format!("{what} to be served"), LIMIT, async || {
            // A sync that is asked for reads everything but the Stack, which comes with the request; one that a value
            // causes reads the Stack, too. So there is now the one and now the other.
            changed = !changed;
            if changed {
                values = self.put().await?;
            } else {
                let now = jiff::Timestamp::now().to_string();
                let asked = json!({"metadata": {"annotations": {atmos_secrets::api::marks::SYNC_REQUESTED_AT: now}}});
                self.tenant.patch_stack("prod", asked).await?;
            }
            let hits: Vec<usize> = faults.iter().map(Injected::hits).collect();
            anyhow::ensure!(hits.iter().all(|hits| *hits > 0), "asked for so often: {hits:?}");
            Ok(())
        })
        .await?;
        faults.iter().for_each(Injected::remove);
        self.wait(&values).await
    }

    /// An object of the core API that holds `content` beside what belongs there.
    fn object(&self, kind: &str, name: &str, content: Value) -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": kind, "type": "Opaque",
            "metadata": {
                "name": name, "namespace": self.tenant.namespace, "uid": "u", "resourceVersion": "7",
                "labels": {atmos_secrets::api::marks::VALUES: "true"},
            },
        });
        for (field, content) in content.as_object().unwrap() {
            object[field] = content.clone();
        }
        object
    }

    fn path(&self, rest: &str) -> Matching {
        Matching::any().path(&format!("/namespaces/{}/{rest}", self.tenant.namespace))
    }
}

/// Bodies that are no such object, each with a value.
fn broken(proxied: &Proxied, kind: &str, name: &str) -> Vec<(&'static str, String)> {
    let canary = || proxied.tenant.plain_canary();
    let object = |content| proxied.object(kind, name, content).to_string();
    let cut = object(json!({"data": {FILE: canary(), "DB_PASSWORD": canary()}}));
    vec![
        ("text", format!("{} <html> \n", canary())),
        ("an object cut off", cut[..cut.len() - 2].to_owned()),
        ("data that are text", object(json!({"data": canary()}))),
        ("data in a list", object(json!({"data": {"DB_PASSWORD": [canary()], FILE: [canary()]}}))),
        ("a number as a value", object(json!({"data": {"DB_PASSWORD": 7, FILE: 7, "other": canary()}}))),
        ("a word as metadata", object(json!({"metadata": canary(), "data": {}}))),
        ("another kind", object(json!({"kind": canary(), "data": {"DB_PASSWORD": "", FILE: canary()}}))),
    ]
}

#[tokio::test]
async fn a_malformed_secret_is_told_nowhere() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let source = || proxied.path(&format!("secrets/{OBJECT}")).method("GET");
    let mut bodies = broken(&proxied, "Secret", OBJECT);
    let encoded = json!({"data": {"DB_PASSWORD": format!("{}!", proxied.tenant.plain_canary())}});
    bodies.push(("what is no base64", proxied.object("Secret", OBJECT, encoded).to_string()));
    for (what, body) in bodies {
        proxied.survive(what, vec![source()], body).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_malformed_config_map_is_told_nowhere() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    for (what, body) in broken(&proxied, "ConfigMap", "files") {
        proxied.survive(what, vec![proxied.path("configmaps/files").method("GET")], body).await?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_answers_about_the_target_are_told_nowhere() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    for method in ["GET", "PUT"] {
        for (what, body) in broken(&proxied, "Secret", TARGET) {
            let matching = proxied.path(&format!("secrets/{TARGET}")).method(method);
            proxied.survive(&format!("{method}: {what}"), vec![matching], body).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_malformed_stack_is_told_nowhere() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let canary = || proxied.tenant.plain_canary();
    let stack = |spec: Value| {
        let api_version = "secrets.atmos.tools/v1alpha1";
        proxied.object("Stack", "prod", json!({"apiVersion": api_version, "spec": spec})).to_string()
    };
    for (what, body) in [
        ("text", canary()),
        ("a list", json!([canary()]).to_string()),
        ("a spec of text", stack(json!(canary()))),
        ("components of text", stack(json!({"components": canary()}))),
        ("a default store that is a list", stack(json!({"defaultStore": [canary()]}))),
    ] {
        proxied.survive(what, vec![proxied.path("stacks/prod").method("GET")], body).await?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_lists_and_watches_are_told_nowhere() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let canary = || proxied.tenant.plain_canary();
    // Watches and lists alike, of all namespaces and of one.
    let resources = ["/stacks?", "/stores?", "/clusterstores?", "/catalogs?", "/secrets?", "/configmaps?"];
    let event = |object: Value| format!("{}\n", json!({"type": "MODIFIED", "object": object}));
    let error = json!({"kind": "Status", "code": 500, "reason": canary(), "message": canary()});
    let metadata = json!({"name": "x", "annotations": {"a": [canary()]}, "labels": canary()});
    for (what, body) in [
        ("text", format!("{}\n{}\n", canary(), canary())),
        ("an event of text", event(json!(canary()))),
        ("an event about an object with other types", event(json!({"metadata": metadata, "spec": canary()}))),
        ("an error with a message", format!("{}\n", json!({"type": "ERROR", "object": error}))),
        ("a type nobody knows", format!("{}\n", json!({"type": canary(), "object": {}}))),
    ] {
        let all = resources.map(|resource| Matching::any().method("GET").path(resource));
        proxied.survive(what, all.into(), body).await?;
    }
    Ok(())
}
