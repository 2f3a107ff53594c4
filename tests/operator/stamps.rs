//! Drift and the keyed digest: one repair for one edit, none for none, and no fight without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atmos_secrets::api::{Reason, marks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, secret};

const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
";

async fn prepare(tenant: &Tenant) -> anyhow::Result<String> {
    let password = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    tenant.stack("prod", STACK).await?;
    tenant.wait_ready("prod").await?;
    Ok(password)
}

fn edit(value: &str) -> Value {
    json!({"data": {"DB_PASSWORD": STANDARD.encode(value)}})
}

async fn stamp(tenant: &Tenant) -> anyhow::Result<Option<String>> {
    Ok(tenant.secrets().get("prod-orders-db").await?.annotations().get(marks::DIGEST).cloned())
}

fn verbs(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    Ok(tenant.operator_writes("prod-orders-db")?.into_iter().map(|event| event.verb).collect())
}

async fn drift_events(tenant: &Tenant) -> anyhow::Result<usize> {
    Ok(tenant.events("prod").await?.iter().filter(|(reason, _)| reason == "Drifted").count())
}

#[tokio::test]
async fn an_edit_is_repaired_once() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    let stamped = stamp(&tenant).await?;
    tenant.patch_secret("prod-orders-db", edit("edited by hand")).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &password)])).await?;
    tenant.sync("prod").await?;
    assert_eq!(verbs(&tenant)?, ["create", "update"]);
    assert_eq!(stamp(&tenant).await?, stamped, "equal data have an equal stamp");
    e2e::wait_until("the Event", LIMIT, async || match drift_events(&tenant).await? {
        1 => Ok(()),
        count => anyhow::bail!("{count} Events"),
    })
    .await
}

#[tokio::test]
async fn a_removed_stamp_comes_back_and_foreign_marks_stay() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    let stamped = stamp(&tenant).await?;
    let patch = json!({"metadata": {"annotations": {marks::DIGEST: null, "example.com/mine": "yes"}}});
    tenant.patch_secret("prod-orders-db", patch).await?;
    e2e::wait_until("the stamp", LIMIT, async || {
        let now = stamp(&tenant).await?;
        anyhow::ensure!(now == stamped, "{now:?}");
        Ok(())
    })
    .await?;
    tenant.sync("prod").await?;
    assert_eq!(verbs(&tenant)?, ["create", "update"]);
    assert_eq!(drift_events(&tenant).await?, 0, "the data were never edited");
    let found = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(found.annotations().get("example.com/mine").map(String::as_str), Some("yes"));
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));

    // What only others set is none of our business.
    tenant.patch_secret("prod-orders-db", json!({"metadata": {"labels": {"example.com/more": "yes"}}})).await?;
    tenant.sync("prod").await?;
    assert_eq!(verbs(&tenant)?, ["create", "update"]);
    Ok(())
}

#[tokio::test]
async fn a_rival_writer_does_not_make_a_hot_loop() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    let (fighting, began) = (Arc::new(AtomicBool::new(true)), Instant::now());
    // One creation and three repairs at once, one more after ten seconds, the next after twenty, then forty.
    let most = || 5 + [30, 70].into_iter().filter(|seconds| began.elapsed() >= Duration::from_secs(*seconds)).count();
    let rival = {
        let (secrets, fighting, password) = (tenant.secrets(), Arc::clone(&fighting), password.clone());
        tokio::spawn(async move {
            let mut edits = 0;
            while fighting.load(Ordering::Relaxed) {
                let found = secrets.get("prod-orders-db").await.unwrap();
                if found.data.unwrap()["DB_PASSWORD"].0 == password.as_bytes() {
                    let patch = Patch::Merge(edit("the rival's"));
                    secrets.patch("prod-orders-db", &PatchParams::default(), &patch).await.unwrap();
                    edits += 1;
                }
                // Not so often that the operator has no share of the machine.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            edits
        })
    };
    let status = tenant.wait_reason("prod", Reason::Drifted).await?;
    let message = status.targets[0].message.clone().unwrap();
    assert!(message.contains("another writer"), "{message}");
    // As often as anybody asks, the rival has its way for now.
    for _ in 0..5 {
        tenant.sync("prod").await?;
    }
    let writes = verbs(&tenant)?;
    assert!(writes.len() <= most(), "one creation and a few repairs, but there were {writes:?}");
    fighting.store(false, Ordering::Relaxed);
    let edits = rival.await?;
    assert!((1..=most()).contains(&edits), "{edits} edits");
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &password)])).await?;
    tenant.wait_ready("prod").await?;
    Ok(())
}

#[tokio::test]
async fn a_new_digest_key_costs_no_write_until_a_real_one() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let operator = Operator::start(&cluster, Options::default()).await?;
    prepare(&tenant).await?;
    let first = stamp(&tenant).await?.unwrap();
    operator.terminate().await?;

    let deleted =
        cluster.kubectl(["--namespace=atmos-secrets", "delete", "secret", "atmos-secrets-digest-key"]).await?;
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let operator = Operator::start(&cluster, Options::default()).await?;
    tenant.sync("prod").await?;
    assert_eq!(verbs(&tenant)?, ["create"], "equal data are left as they are");
    assert_eq!(stamp(&tenant).await?.as_ref(), Some(&first));

    let next = tenant.canary();
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &next)]).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    let second = stamp(&tenant).await?.unwrap();
    let key_id = |stamp: &str| stamp.split_once('.').unwrap().0.to_owned();
    assert_ne!(key_id(&first), key_id(&second), "stamped under the new key");
    assert_eq!(drift_events(&tenant).await?, 0);

    // Data that were edited while the key was gone differ from the store's and are written.
    operator.terminate().await?;
    cluster.kubectl(["--namespace=atmos-secrets", "delete", "secret", "atmos-secrets-digest-key"]).await?;
    tenant.patch_secret("prod-orders-db", edit("edited")).await?;
    Operator::start(&cluster, Options::default()).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    Ok(())
}
