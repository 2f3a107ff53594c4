//! The operator as a process: it starts late, crashes, panics, is restarted and ends, and nothing is lost or done twice.

use std::time::Duration;

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use e2e::{Fault, FaultProxy, Matching};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::ListParams;
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, secret};
use crate::requests;

const SPEC: &str = "
    defaultStore: app
    secrets: {vars: {TOKEN: {scope: global}}}
    components: {terraform: {api: {}}}
";

async fn prepare(tenant: &Tenant, stacks: usize) -> anyhow::Result<String> {
    let token = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    add_stacks(tenant, stacks).await?;
    Ok(token)
}

async fn add_stacks(tenant: &Tenant, count: usize) -> anyhow::Result<()> {
    let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
    let mut applied = futures::stream::iter(&names).map(|name| tenant.stack(name, SPEC)).buffer_unordered(8);
    while let Some(applied) = applied.next().await {
        applied?;
    }
    Ok(())
}

async fn wait_users(tenant: &Tenant, count: usize) -> anyhow::Result<()> {
    e2e::wait_until("the users to be counted", LIMIT, async || {
        let users = tenant.stores().get("app").await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(u32::try_from(count)?), "{users:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_restart_writes_nothing_and_sigterm_ends_it_cleanly() -> anyhow::Result<()> {
    const STACKS: usize = 20;
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster, Options::default()).await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    prepare(&tenant, STACKS).await?;
    let mut before = Vec::new();
    for number in 0..STACKS {
        before.push(tenant.wait_ready(&format!("s{number}")).await?);
    }
    wait_users(&tenant, STACKS).await?;
    operator.kill();

    let mark = cluster.audit_mark()?;
    let operator = Operator::start(&cluster, Options::default()).await?;
    e2e::wait_until("every Stack to be looked at", LIMIT, async || {
        let syncs = operator.metric("atmos_secrets_syncs_total", "result=\"ok\"").await?;
        if syncs >= 20.0 { Ok(()) } else { Err(anyhow::anyhow!("{syncs} syncs")) }
    })
    .await?;
    // What waits for a time, such as the count of users, was due before this one's.
    let marker = Tenant::on(&cluster, Grant::Full).await?;
    prepare(&marker, 1).await?;
    wait_users(&marker, 1).await?;
    let events = requests::since(&cluster, mark, &tenant.namespace)?;
    assert_eq!(requests::writes(&events), Vec::<String>::new());
    for (number, before) in before.iter().enumerate() {
        assert_eq!(&tenant.status(&format!("s{number}")).await?, before, "lastChanged included");
    }

    let status = operator.terminate().await?;
    assert!(status.success(), "{status}");
    assert_eq!(operator.logged("ending: running syncs may finish").len(), 1);
    let late = operator.logged("some syncs did not finish in time; they are done again after the next start");
    assert!(late.is_empty(), "{late:?}");
    Ok(())
}

#[tokio::test]
async fn crashes_in_the_middle_of_a_batch_are_survived() -> anyhow::Result<()> {
    const STACKS: usize = 50;
    let mut random = rand::rng();
    let first = random.random_range(1..STACKS / 2);
    let second = random.random_range(first + 1..STACKS);
    // Every failure says it, so that it can be tried again.
    let crashes = format!("killed after {first} and after {second} Secrets");
    let cluster = Cluster::start().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let token = prepare(&tenant, STACKS).await?;
    let written = async || -> anyhow::Result<usize> {
        let secrets = tenant.secrets().list_metadata(&ListParams::default()).await?;
        Ok(secrets.items.iter().filter(|secret| secret.name_any().ends_with("-api")).count())
    };
    for crash in [first, second] {
        // One at a time, so that there is a middle.
        let arguments = ["--concurrency", "1"].map(str::to_owned).to_vec();
        let operator = Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
        e2e::wait_until(format!("{crash} Secrets ({crashes})"), LIMIT, async || {
            let count = written().await?;
            if count >= crash { Ok(()) } else { Err(anyhow::anyhow!("{count}")) }
        })
        .await?;
        operator.kill();
    }
    Operator::start(&cluster, Options::default()).await?;
    for number in 0..STACKS {
        let name = format!("s{number}");
        tenant.wait_ready(&name).await.with_context(|| crashes.clone())?;
        assert_eq!(tenant.secret(&format!("{name}-api")).await?, secret(&[("TOKEN", &token)]), "{name}, {crashes}");
        let writes: Vec<_> =
            tenant.operator_writes(&format!("{name}-api"))?.into_iter().map(|event| (event.verb, event.code)).collect();
        assert_eq!(writes, [("create".to_owned(), 201)], "{name}: written once, {crashes}");
        assert_eq!(tenant.events(&name).await?, [], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_marks_its_stack_and_nothing_else() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let arguments = vec!["--panic-on".to_owned(), format!("{}/s1", tenant.namespace)];
    let operator = Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
    prepare(&tenant, 4).await?;
    let status = tenant.wait_reason("s1", Reason::InternalError).await?;
    assert!(status.conditions[0].message.contains("please report it"), "{}", status.conditions[0].message);
    for name in ["s0", "s2", "s3"] {
        tenant.wait_ready(name).await?;
    }
    let next = tenant.canary();
    tenant.values("atmos", &[("TOKEN", &next)]).await?;
    for name in ["s0", "s2", "s3"] {
        tenant.wait_secret(&format!("{name}-api"), secret(&[("TOKEN", &next)])).await?;
    }
    assert_eq!(tenant.secret("s1-api").await?, None);
    assert!(operator.metric("atmos_secrets_panics_total", "").await? >= 1.0);
    assert!(operator.get("/healthz").await?.starts_with("HTTP/1.0 200"));
    let panics = operator.logged("panic");
    assert!(panics.iter().all(|line| line["place"].as_str().is_some_and(|place| place.contains(".rs:"))), "{panics:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_without_an_api_server_is_alive_and_not_ready() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    cluster.stop_api_server();
    let [port] = e2e::free_ports()?;
    let address = format!("127.0.0.1:{port}");
    let operator = Operator::launch(&cluster, address.clone())?;
    let wait_answer = async |path: &str, wanted: &str| {
        e2e::wait_until(format!("{path} to be {wanted}"), LIMIT, async || {
            let answer = operator.get(path).await?;
            anyhow::ensure!(answer.starts_with(wanted), "{answer}");
            Ok(())
        })
        .await
    };
    wait_answer("/readyz", "HTTP/1.0 503").await?;
    wait_answer("/healthz", "HTTP/1.0 200").await?;
    let status = operator.terminate().await?;
    assert!(status.success(), "{status}");

    let operator = Operator::launch(&cluster, address)?;
    e2e::wait_until("the second one to answer", LIMIT, async || operator.get("/readyz").await).await?;
    cluster.start_api_server().await?;
    operator.wait_ready().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let token = prepare(&tenant, 1).await?;
    tenant.wait_ready("s0").await?;
    assert_eq!(tenant.secret("s0-api").await?, secret(&[("TOKEN", &token)]));
    assert!(operator.get("/nowhere").await?.starts_with("HTTP/1.0 404"));

    let metrics = operator.metrics().await?;
    for name in [tenant.namespace.as_str(), "s0", "s0-api", "TOKEN", "\"app\""] {
        assert!(!metrics.contains(name), "{name} is in the metrics:\n{metrics}");
    }
    let mut log = String::new();
    tokio::fs::File::open(operator.log()).await?.read_to_string(&mut log).await?;
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in log line {line}"));
        assert!(parsed["level"].is_string() && parsed["timestamp"].is_string(), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn an_edit_overtakes_the_routine_of_a_restart() -> anyhow::Result<()> {
    const STACKS: usize = 300;
    let cluster = Cluster::start().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    prepare(&tenant, STACKS).await?;
    // Slow enough for a backlog that lasts: one at a time, each at least 200 ms, since each makes its target.
    let proxy = FaultProxy::to_api_server(&cluster).await?;
    let slow = Matching::any().method("POST").path("/secrets");
    let slowness = proxy.inject(Fault::Delay(Duration::from_millis(200)), slow);
    let kubeconfig = cluster.proxied_kubeconfig(&cluster.operator_kubeconfig(), &proxy)?;
    let arguments = ["--concurrency", "1"].map(str::to_owned).to_vec();
    let options = Options { arguments, kubeconfig: Some(kubeconfig), ..Options::default() };
    let operator = Operator::start(&cluster, options).await?;
    let background = async || operator.metric("atmos_secrets_queue", "place=\"background\"").await;
    tenant.patch_stack("s7", json!({"spec": {"targetDefaults": {"labels": {"edited": "yes"}}}})).await?;
    e2e::wait_until("the edit to be done", LIMIT, async || {
        let labels = tenant.secrets().get("s7-api").await?.metadata.labels.unwrap_or_default();
        anyhow::ensure!(labels.contains_key("edited"), "{labels:?}");
        Ok(())
    })
    .await?;
    let waiting = background().await?;
    assert!(waiting >= 100.0, "{waiting} routine items were still waiting");
    assert!(slowness.hits() > 0, "nothing was slow");
    slowness.remove();
    for number in 0..STACKS {
        tenant.wait_ready(&format!("s{number}")).await?;
    }
    Ok(())
}
