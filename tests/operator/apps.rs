//! What programs that restart apps see of our Secrets. They watch them and hash their data, so an app restarts once for each
//! change of a byte, and never for anything else.
//!
//! Reloader compares a hash of a Secret's data at each event of its watch
//! (<https://docs.stakater.com/reloader/1.4/how-to-guides/use-reloader-with-argocd.html>), Wave the hash of all data that an
//! app mounts (<https://github.com/wave-k8s/wave>).

use anyhow::Context as _;
use atmos_secrets::api::status::SUSPENDED;
use atmos_secrets::api::{StackStatus, marks};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{WatchEvent, WatchParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, condition, secret};
use crate::sops_files::{AgeKey, encrypt};

/// A program that restarts apps, and what it has seen of one Secret.
struct Reloader<'t> {
    tenant: &'t Tenant,
    name: &'static str,
    /// The version at which it began, or has looked last.
    version: String,
    /// Of the data then.
    hash: Vec<u8>,
}

/// Everything that happened since the last look.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Events of the watch.
    changes: usize,
    /// Those with other data than the one before.
    restarts: usize,
}

const NOTHING: Seen = Seen { changes: 0, restarts: 0 };
const ONE_RESTART: Seen = Seen { changes: 1, restarts: 1 };

fn hash(secret: &Secret) -> Vec<u8> {
    let mut hash = Sha256::new();
    for (key, value) in secret.data.iter().flatten() {
        hash.update(format!("{key}={}\n", value.0.len()));
        hash.update(&value.0);
    }
    hash.finalize().to_vec()
}

impl<'t> Reloader<'t> {
    async fn on(tenant: &'t Tenant, name: &'static str) -> anyhow::Result<Self> {
        let secret = tenant.secrets().get(name).await?;
        let version = secret.resource_version().context("no version")?;
        Ok(Self { tenant, name, version, hash: hash(&secret) })
    }

    /// Reads the watch from the last look to the present version.
    async fn look(&mut self) -> anyhow::Result<Seen> {
        let secrets = self.tenant.secrets();
        let present = secrets.get(self.name).await?.resource_version().context("no version")?;
        let parameters = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let mut stream = Box::pin(secrets.watch(&parameters, &self.version).await?);
        let mut seen = NOTHING;
        while self.version != present {
            let event = tokio::time::timeout(LIMIT, stream.try_next()).await??.context("the watch ended early")?;
            let WatchEvent::Modified(secret) = event else {
                anyhow::bail!("Secret {} was made anew or deleted: an app would lose it for a moment", self.name);
            };
            seen.changes += 1;
            let now = hash(&secret);
            if now != self.hash {
                seen.restarts += 1;
            }
            (self.version, self.hash) = (secret.resource_version().context("no version")?, now);
        }
        Ok(seen)
    }
}

fn spec(description: &str, interval: &str, label: &str) -> String {
    format!(
        "
        refreshInterval: {interval}
        defaultStore: app
        secrets: {{vars: {{TOKEN: {{scope: global, description: {description}}}}}}}
        components:
          terraform:
            api:
              secrets: {{vars: {{PASSWORD: {{required: true, description: {description}}}}}}}
              targets: {{api: {{}}}}
            web:
              targets: {{web: {{labels: {{example.com/team: {label}}}}}}}
        "
    )
}

/// Two Secrets that share one value, in a namespace where everything is asked for at each tick.
async fn prepare(tenant: &Tenant) -> anyhow::Result<[String; 2]> {
    let (token, password) = (tenant.canary(), tenant.canary());
    tenant.store("app", "{kubernetes: {}, minRefreshInterval: 10s}").await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    tenant.values("atmos.prod.api", &[("PASSWORD", &password)]).await?;
    tenant.stack("prod", &spec("first", "10s", "red")).await?;
    tenant.wait_ready("prod").await?;
    Ok([token, password])
}

#[tokio::test]
async fn an_app_restarts_for_new_bytes_and_for_nothing_else() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster, Options::default()).await?;
    let tenant = Tenant::on(&cluster, Grant::WithoutWatch).await?;
    let [token, _] = prepare(&tenant).await?;
    let (mut api, mut web) = (Reloader::on(&tenant, "api").await?, Reloader::on(&tenant, "web").await?);

    // Refresh rounds.
    let reads = async || operator.metric("atmos_secrets_store_calls_total", "operation=\"read\"").await;
    let before = reads().await?;
    e2e::wait_until("two rounds", LIMIT, async || {
        let now = reads().await?;
        anyhow::ensure!(now >= before + 4.0, "{now} reads after {before}");
        Ok(())
    })
    .await?;
    assert_eq!((api.look().await?, web.look().await?), (NOTHING, NOTHING), "after two rounds");

    // Requests of people, at the Stack and at the Store.
    for _ in 0..3 {
        tenant.sync("prod").await?;
    }
    let patch = json!({"metadata": {"annotations": {marks::SYNC_REQUESTED_AT: "now"}}});
    tenant.patch("secrets.atmos.tools/v1alpha1", "Store", "app", patch).await?;
    e2e::wait_until("the Store's users to be synced", LIMIT, async || {
        let handled = tenant.stores().get("app").await?.status.and_then(|status| status.last_handled_sync);
        anyhow::ensure!(handled.as_deref() == Some("now"), "{handled:?}");
        Ok(())
    })
    .await?;
    assert_eq!((api.look().await?, web.look().await?), (NOTHING, NOTHING), "after requests");

    // The same bytes written once more, and the source touched.
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    tenant.patch_secret("atmos", json!({"metadata": {"annotations": {"example.com/touched": "yes"}}})).await?;
    tenant.sync("prod").await?;
    assert_eq!((api.look().await?, web.look().await?), (NOTHING, NOTHING), "after the same bytes");

    // Edits of the Stack and of the Store that change no byte.
    tenant.stack("prod", &spec("second", "20s", "red")).await?;
    tenant.store("app", "{kubernetes: {}, minRefreshInterval: 10s, timeout: 20s}").await?;
    tenant.wait_ready("prod").await?;
    tenant.sync("prod").await?;
    assert_eq!((api.look().await?, web.look().await?), (NOTHING, NOTHING), "after edits of other fields");

    // A label of one target is written to that one, and restarts nothing.
    tenant.stack("prod", &spec("second", "20s", "blue")).await?;
    tenant.wait_ready("prod").await?;
    tenant.sync("prod").await?;
    assert_eq!(api.look().await?, NOTHING, "another target's label");
    assert_eq!(web.look().await?, Seen { changes: 1, restarts: 0 }, "a label is no data");

    // The operator crashes, and is updated.
    operator.kill();
    let operator = Operator::start(&cluster, Options::default()).await?;
    tenant.sync("prod").await?;
    operator.terminate().await?;
    Operator::start(&cluster, Options::default()).await?;
    tenant.sync("prod").await?;
    assert_eq!((api.look().await?, web.look().await?), (NOTHING, NOTHING), "after restarts of the operator");

    // A new value of one Secret, then of both: one change and one restart each.
    let password = tenant.canary();
    tenant.values("atmos.prod.api", &[("PASSWORD", &password)]).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("api").await?, secret(&[("PASSWORD", &password), ("TOKEN", &token)]));
    assert_eq!((api.look().await?, web.look().await?), (ONE_RESTART, NOTHING), "after a new value of one");

    let token = tenant.canary();
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("web").await?, secret(&[("TOKEN", &token)]));
    assert_eq!((api.look().await?, web.look().await?), (ONE_RESTART, ONE_RESTART), "after a new value of both");

    // Several new values at once are one change.
    let (token, password) = (tenant.canary(), tenant.canary());
    tenant.patch_stack("prod", json!({"spec": {"suspend": true}})).await?;
    let is_suspended = |status: &StackStatus| condition(status, SUSPENDED).is_some();
    tenant.wait_status("prod", "it to be suspended", is_suspended).await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    tenant.values("atmos.prod.api", &[("PASSWORD", &password)]).await?;
    tenant.patch_stack("prod", json!({"spec": {"suspend": null}})).await?;
    tenant.wait_secret("api", secret(&[("PASSWORD", &password), ("TOKEN", &token)])).await?;
    tenant.sync("prod").await?;
    assert_eq!((api.look().await?, web.look().await?), (ONE_RESTART, ONE_RESTART), "after two new values at once");
    Ok(())
}

/// Encrypting anew, as `sops rotate` and `sops updatekeys` do, changes every byte of the file and none of the Secret.
#[tokio::test]
async fn a_file_that_is_encrypted_anew_restarts_nothing() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let key = AgeKey::generate();
    tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
    tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", &key.identity)]).await?;
    tenant.store("files", "sops: {source: {configMaps: [files]}, age: {keys: [{secret: age, key: key.txt}]}}").await?;
    let put = async |value: &str| -> anyhow::Result<()> {
        let plain = serde_json::to_string(&json!({"DB_PASSWORD": value}))?;
        let file = encrypt("secrets.enc.yaml", &plain, &[&key]).await?;
        let data = json!({"prod.db.enc.yaml": file});
        tenant
            .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": data}))
            .await
    };
    let password = tenant.canary();
    put(&password).await?;
    let spec = "components: {terraform: {db: {secrets: {vars: {DB_PASSWORD: {sops: files, required: true}}}}}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_ready("prod").await?;
    let mut app = Reloader::on(&tenant, "prod-db").await?;

    for _ in 0..2 {
        put(&password).await?;
        tenant.sync("prod").await?;
    }
    assert_eq!(app.look().await?, NOTHING);

    let next = tenant.canary();
    put(&next).await?;
    tenant.wait_secret("prod-db", secret(&[("DB_PASSWORD", &next)])).await?;
    tenant.sync("prod").await?;
    assert_eq!(app.look().await?, ONE_RESTART);
    Ok(())
}
