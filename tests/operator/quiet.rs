//! Nothing changed: no write, no Event, no word in the log. And what is asked for is done, and said to be done.

use atmos_secrets::api::{Reason, marks};
use e2e::control_plane::AuditMark;
use serde_json::{Value, json};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, secret};
use crate::requests;

const STACKS: usize = 20;

fn spec() -> &'static str {
    "
    defaultStore: app
    secrets: {vars: {TOKEN: {scope: global}}}
    components: {terraform: {api: {}}}
    "
}

/// Many Stacks that share one value.
async fn prepare(tenant: &Tenant) -> anyhow::Result<()> {
    let token = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    for number in 0..STACKS {
        tenant.stack(&format!("s{number}"), spec()).await?;
    }
    for number in 0..STACKS {
        tenant.wait_ready(&format!("s{number}")).await?;
    }
    tenant.wait_store("app", Reason::Connected).await?;
    e2e::wait_until("the users to be counted", LIMIT, async || {
        let users = tenant.stores().get("app").await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(u32::try_from(STACKS)?), "{users:?}");
        Ok(())
    })
    .await
}

async fn touch(tenant: &Tenant, word: &str) -> anyhow::Result<()> {
    tenant.patch_secret("atmos", json!({"metadata": {"annotations": {"example.com/touched": word}}})).await
}

/// How often the source was read since then.
fn reads(tenant: &Tenant, mark: AuditMark) -> anyhow::Result<usize> {
    let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    Ok(requests::about(&events, "atmos").iter().filter(|event| event.verb == "get").count())
}

#[tokio::test]
async fn a_touched_source_costs_one_read_and_no_write() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    prepare(&tenant).await?;
    let mark = tenant.cluster.audit_mark()?;
    for (round, word) in ["once", "twice"].into_iter().enumerate() {
        touch(&tenant, word).await?;
        e2e::wait_until("the source to be read", LIMIT, async || {
            let reads = reads(&tenant, mark)?;
            anyhow::ensure!(reads > round, "{reads} reads");
            Ok(())
        })
        .await?;
    }
    let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    assert_eq!(requests::writes(&events), Vec::<String>::new());
    assert!(events.len() <= 4, "20 Stacks share one read: {:?}", requests::tally(&events));

    // A real change of the shared value reaches all of them with one write each.
    let next = tenant.canary();
    let mark = tenant.cluster.audit_mark()?;
    tenant.values("atmos", &[("TOKEN", &next)]).await?;
    for number in 0..STACKS {
        tenant.wait_secret(&format!("s{number}-api"), secret(&[("TOKEN", &next)])).await?;
        tenant.sync(&format!("s{number}")).await?;
        let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
        let writes = requests::about(&events, &format!("s{number}-api"));
        assert_eq!(writes.iter().filter(|event| requests::is_write(event)).count(), 1, "{writes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sync_request_is_echoed_and_one_at_a_store_reaches_all_its_users() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    prepare(&tenant).await?;
    let mark = tenant.cluster.audit_mark()?;
    tenant.sync("s3").await?;
    assert!(reads(&tenant, mark)? >= 1, "a sync reads");
    let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    assert!(requests::about(&events, "s4").is_empty(), "and leaves the others alone");
    assert!(events.iter().all(|event| event.resource != "secrets" || event.verb == "get"), "nothing had changed");

    let mark = tenant.cluster.audit_mark()?;
    let patch = json!({"metadata": {"annotations": {marks::SYNC_REQUESTED_AT: "now"}}});
    tenant.patch("secrets.atmos.tools/v1alpha1", "Store", "app", patch).await?;
    e2e::wait_until("every user to be synced", LIMIT, async || {
        let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
        for number in 0..STACKS {
            let name = format!("s{number}");
            anyhow::ensure!(!requests::about(&events, &name).is_empty(), "{name} was not looked at");
        }
        let handled = tenant.stores().get("app").await?.status.and_then(|status| status.last_handled_sync);
        anyhow::ensure!(handled.as_deref() == Some("now"), "{handled:?}");
        Ok(())
    })
    .await?;
    assert!(reads(&tenant, mark)? >= 1);
    Ok(())
}

#[tokio::test]
async fn events_come_with_changes_only() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let token = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    // A Stack that comes before its store is known has an Event about that.
    tenant.wait_store("app", Reason::Connected).await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    tenant.stack("good", spec()).await?;
    tenant.wait_ready("good").await?;
    let required = "
        defaultStore: app
        components: {terraform: {api: {secrets: {vars: {NEEDED: {required: true}}}}}}
    ";
    tenant.stack("waits", required).await?;
    tenant.wait_reason("waits", Reason::ValueMissing).await?;
    for _ in 0..3 {
        tenant.sync("waits").await?;
    }
    tenant.values("atmos.waits.api", &[("NEEDED", &token)]).await?;
    tenant.wait_ready("waits").await?;
    for stack in ["waits", "good"] {
        for _ in 0..3 {
            tenant.sync(stack).await?;
        }
    }
    let events = e2e::wait_until("both Events", LIMIT, async || {
        let events = tenant.events("waits").await?;
        anyhow::ensure!(events.len() >= 2, "{events:?}");
        Ok(events)
    })
    .await?;
    let mut reasons: Vec<&str> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["Synced", "ValueMissing"]);
    assert_eq!(tenant.events("good").await?, [], "nothing is said of a Stack that is ready at once");
    let count = requests::tally(&tenant.operator_requests()?);
    let events: usize = count.iter().filter(|(what, _)| what.contains(" events/")).map(|(_, count)| count).sum();
    assert_eq!(events, 2, "{count:?}");
    Ok(())
}

/// The lines at level info and above.
fn loud(operator: &Operator) -> anyhow::Result<Vec<String>> {
    let log = std::fs::read_to_string(operator.log())?;
    let mut loud = Vec::new();
    for line in log.lines() {
        let parsed: Value =
            serde_json::from_str(line).map_err(|error| anyhow::anyhow!("{error} in log line {line}"))?;
        if ["INFO", "WARN", "ERROR"].contains(&parsed["level"].as_str().unwrap_or_default()) {
            loud.push(line.to_owned());
        }
    }
    Ok(loud)
}

#[tokio::test]
async fn a_quiet_cluster_is_not_talked_about() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster, Options::default()).await?;
    let tenant = Tenant::on(&cluster, Grant::WithoutWatch).await?;
    let token = tenant.canary();
    tenant.store("app", "{kubernetes: {}, minRefreshInterval: 10s}").await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    let polled = "{refreshInterval: 10s, defaultStore: app, secrets: {vars: {TOKEN: {scope: global}}}, \
                  components: {terraform: {api: {}}}}";
    tenant.stack("prod", polled).await?;
    tenant.wait_ready("prod").await?;
    let reads = async || operator.metric("atmos_secrets_store_calls_total", "operation=\"read\"").await;
    let wait_for_reads = async |count: f64| {
        let limit = reads().await? + count;
        e2e::wait_until("another round", LIMIT, async || {
            let now = reads().await?;
            anyhow::ensure!(now >= limit, "{now} of {limit}");
            Ok(())
        })
        .await
    };
    wait_for_reads(1.0).await?;
    let before = loud(&operator)?;
    wait_for_reads(2.0).await?;
    let after = loud(&operator)?;
    assert_eq!(after.get(before.len()..), Some([].as_slice()), "two rounds without a change say nothing");
    Ok(())
}
