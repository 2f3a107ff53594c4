//! A store that hangs delays nobody who does not use it, however many Stacks do.

use atmos_secrets::api::{GROUP, Reason, VERSION, marks};
use e2e::{Fault, FaultProxy, Matching, Moto};
use serde_json::json;

use crate::aws::{self, Aws};
use crate::harness::{LIMIT, Neighbour, secret};

/// More than the stores that are refreshed, and those that are checked, at the same time.
const STORES: usize = 20;
/// Together more than the Stacks that are worked on at the same time.
const STACKS_OF_A_STORE: usize = 2;

const KIND: &str = "awsSecretsManager";

fn spec(store: &str) -> String {
    format!(
        "{{defaultStore: {store}, refreshInterval: 10s, secrets: {{vars: {{TOKEN: {{scope: global, required: true}}}}}}, components: {{terraform: {{db: {{}}}}}}}}"
    )
}

#[tokio::test]
async fn stores_that_hang_delay_neither_syncs_nor_refreshes_nor_checks_of_others() -> anyhow::Result<()> {
    let moto = Moto::shared().await?;
    let cluster = aws::cluster(moto.url()).await?;
    let operator = cluster.operators().remove(0);
    let aws = Aws::on(&cluster).await?;
    let tenant = &aws.tenant;
    let neighbour = Neighbour::start(tenant).await?;
    // One AWS by two ways, of which one will hang. No call is given up within this test.
    let healthy = FaultProxy::to_http(moto.url()).await?;
    let store = async |name: &str, url: &str| {
        let kind = format!("{{region: us-east-1, endpoint: '{url}', auth: {{secret: {{name: aws}}}}}}");
        let prefix = aws.prefix(KIND);
        tenant.store(name, &format!("{{prefix: {prefix}, timeout: 5m, minRefreshInterval: 10s, {KIND}: {kind}}}")).await
    };
    let value = tenant.canary();
    aws.put(KIND, "TOKEN", &value).await?;
    store("healthy", &healthy.url()).await?;
    tenant.stack("polled", &spec("healthy")).await?;
    let mut stacks = Vec::new();
    for number in 0..STORES {
        let name = format!("slow-{number}");
        store(&name, &aws.proxy.url()).await?;
        for member in 0..STACKS_OF_A_STORE {
            let stack = format!("{name}-{member}");
            tenant.stack(&stack, &spec(&name)).await?;
            stacks.push(stack);
        }
    }
    for stack in stacks.iter().map(String::as_str).chain(["polled"]) {
        tenant.wait_ready(stack).await?;
    }

    // Every store's refresh hangs, then a check of every store, then a sync of each of their Stacks.
    let hung = aws.proxy.inject(Fault::Stall, Matching::any());
    let hangs = async |calls: usize| {
        e2e::wait_until(format!("{calls} calls that hang"), LIMIT, async || {
            if hung.hits() >= calls { Ok(()) } else { Err(hung.hits()) }
        })
        .await
    };
    hangs(STORES).await?;
    for number in 0..STORES {
        let asked = json!({"metadata": {"annotations": {marks::SYNC_REQUESTED_AT: "now"}}});
        tenant.patch(&format!("{GROUP}/{VERSION}"), "Store", &format!("slow-{number}"), asked).await?;
    }
    hangs(2 * STORES).await?;
    for stack in &stacks {
        tenant.patch_stack(stack, json!({"spec": {"targetDefaults": {"labels": {"edited": "yes"}}}})).await?;
    }
    let waiting = async || anyhow::Ok(operator.metric("atmos_secrets_queue", "place=\"waiting\"").await? as usize);
    let wait_waiting = async |wanted: usize| {
        e2e::wait_until(format!("{wanted} syncs that wait"), LIMIT, async || {
            let waiting = waiting().await?;
            anyhow::ensure!(waiting == wanted, "{waiting}");
            Ok(())
        })
        .await
    };
    wait_waiting(stacks.len()).await?;

    // Meanwhile everybody else goes on: syncs, refreshes, and a store that is new.
    neighbour.still_syncs().await?;
    tenant.sync("polled").await?;
    let next = tenant.canary();
    aws.put(KIND, "TOKEN", &next).await?;
    tenant.wait_secret("polled-db", secret(&[("TOKEN", &next)])).await?;
    tenant.store("new", "kubernetes: {}").await?;
    tenant.wait_store("new", Reason::Connected).await?;
    // And, at times, the sync of somebody else.
    let still = waiting().await?;
    assert!(still >= stacks.len(), "all of them hang still, but {still} wait");
    let given_up = operator.metric("atmos_secrets_store_calls_total", "outcome=\"timeout\"").await?;
    assert!(given_up.abs() < 0.5, "{given_up} calls were given up: what went on may have waited for that");
    assert_eq!(tenant.secret("slow-0-0-db").await?, secret(&[("TOKEN", &value)]), "what is there stays");

    // The store is back: nobody was forgotten, and no turn was lost.
    hung.remove();
    aws.proxy.cut_connections();
    for stack in &stacks {
        tenant.wait_ready(stack).await?;
        tenant.wait_secret(&format!("{stack}-db"), secret(&[("TOKEN", &next)])).await?;
    }
    wait_waiting(0).await?;
    neighbour.still_syncs().await
}
