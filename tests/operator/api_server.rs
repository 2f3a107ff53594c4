//! An API server that is away, slow, overloaded or silent: nothing is lost, and nothing is written twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, SecretState};
use e2e::control_plane::AuditMark;
use e2e::{Fault, FaultProxy, Matching};

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, condition, secret};
use crate::requests;

pub const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
";

/// An operator that reaches its API server through a proxy, and a tenant with a ready Stack `prod`.
pub struct Proxied {
    pub cluster: Arc<Cluster>,
    pub proxy: FaultProxy,
    pub tenant: Tenant,
    operator: Arc<Operator>,
}

impl Proxied {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Grant::Full).await
    }

    pub async fn start_with(grant: Grant) -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let proxy = FaultProxy::to_api_server(&cluster).await?;
        let kubeconfig = Some(cluster.proxied_kubeconfig(&cluster.operator_kubeconfig(), &proxy)?);
        let operator = Operator::start(&cluster, Options { kubeconfig, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, grant).await?;
        let first = tenant.canary();
        tenant.store("app", "kubernetes: {}").await?;
        put(&tenant, &first).await?;
        tenant.stack("prod", STACK).await?;
        tenant.wait_ready("prod").await?;
        Ok(Self { cluster, proxy, tenant, operator })
    }

    /// Sets a new value and waits until it arrived; returns how long that took.
    pub async fn rotate(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let next = self.tenant.canary();
        put(&self.tenant, &next).await?;
        self.tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
        self.tenant.wait_ready("prod").await?;
        Ok(started.elapsed())
    }

    /// The writes of Secrets that reached the API server.
    pub fn secret_writes(&self, mark: AuditMark) -> anyhow::Result<Vec<String>> {
        let events = requests::since(&self.cluster, mark, &self.tenant.namespace)?;
        let secrets = events.into_iter().filter(|event| event.resource == "secrets" && requests::is_write(event));
        Ok(secrets.map(|event| format!("{} {} {}", event.verb, event.name, event.code)).collect())
    }
}

pub async fn put(tenant: &Tenant, value: &str) -> anyhow::Result<()> {
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", value)]).await
}

pub const UPDATED_ONCE: &str = "update prod-orders-db 200";

pub fn secrets(method: &str) -> Matching {
    Matching::any().method(method).path("/namespaces/tenant-").path("/secrets")
}

#[tokio::test]
async fn a_restart_of_the_api_server_is_survived_without_a_write_too_many() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    Operator::start(&cluster, Options::default()).await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let (first, other, next) = (tenant.canary(), tenant.canary(), tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    put(&tenant, &first).await?;
    tenant.values("atmos.other.orders-db", &[("DB_PASSWORD", &other)]).await?;
    for stack in ["prod", "other"] {
        tenant.stack(stack, STACK).await?;
        tenant.wait_ready(stack).await?;
    }
    e2e::wait_until("the users to be counted", LIMIT, async || {
        let users = tenant.stores().get("app").await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(2), "{users:?}");
        Ok(())
    })
    .await?;
    let bystander = tenant.status("other").await?;

    let mark = cluster.audit_mark()?;
    let stopped = Instant::now();
    cluster.stop_api_server();
    // The fault itself takes this long: longer than every deadline of a single call.
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.start_api_server().await?;
    put(&tenant, &next).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.status("other").await?, bystander);
    tenant.sync("other").await?;
    let events = requests::since(&cluster, mark, &tenant.namespace)?;
    let tally = requests::tally(&events);
    // A server that starts refuses some requests, which are rightly made again.
    let (taken, refused): (Vec<_>, Vec<_>) =
        events.iter().filter(|event| requests::is_write(event)).cloned().partition(|event| event.code == 200);
    assert!(refused.iter().all(|event| event.code == 403 || event.code >= 429), "{tally:#?}");
    let writes = requests::writes(&taken);
    let on_secrets: Vec<&String> = writes.iter().filter(|write| write.contains("secrets/")).collect();
    assert_eq!(on_secrets, ["update secrets/ prod-orders-db: 200"], "{tally:#?}");
    let on_other = writes.iter().filter(|write| write.contains(" other")).count();
    assert_eq!(on_other, 1, "the sync that was asked for, and nothing else: {tally:#?}");
    // The trouble of a store is not told while it may pass, which is a minute.
    if stopped.elapsed() < Duration::from_secs(50) {
        assert!(writes.iter().all(|write| !write.contains("stores/")), "{tally:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn cut_watches_resume() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let mark = proxied.cluster.audit_mark()?;
    for _ in 0..3 {
        proxied.proxy.cut_connections();
        proxied.rotate().await?;
    }
    proxied.proxy.refuse().await;
    let next = proxied.tenant.canary();
    put(&proxied.tenant, &next).await?;
    proxied.proxy.accept().await?;
    proxied.tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE; 4]);
    Ok(())
}

#[tokio::test]
async fn a_silent_network_is_noticed() -> anyhow::Result<()> {
    /// One silent minute and a half, the wait until the next try, and a busy machine.
    const NOTICED: Duration = Duration::from_secs(150);
    let proxied = Proxied::start().await?;
    let watches = || -> anyhow::Result<usize> {
        let events = proxied.tenant.operator_requests()?;
        let watch = |event: &&e2e::control_plane::AuditEvent| event.verb == "watch" && event.resource == "secrets";
        Ok(events.iter().filter(watch).map(|event| &event.uri).collect::<std::collections::BTreeSet<_>>().len())
    };
    let before = watches()?;
    proxied.proxy.silence();
    e2e::wait_until("another watch", NOTICED, async || {
        let now = watches()?;
        anyhow::ensure!(now > before, "{now} watches");
        Ok(())
    })
    .await?;
    assert!(proxied.operator.get("/healthz").await?.starts_with("HTTP/1.0 200"));
    proxied.proxy.resume();
    proxied.rotate().await?;
    Ok(())
}

#[tokio::test]
async fn a_storm_of_conflicts_ends_in_one_write() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let mark = proxied.cluster.audit_mark()?;
    let storm = proxied.proxy.inject(Fault::answer(409), secrets("PUT").times(10));
    proxied.rotate().await?;
    assert_eq!(storm.hits(), 10);
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE]);
    Ok(())
}

#[tokio::test]
async fn an_overloaded_api_server_is_given_the_time_it_asks_for() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let mark = proxied.cluster.audit_mark()?;
    let overload = proxied.proxy.inject(Fault::too_many_requests(Some(3)), secrets("PUT").times(2));
    let took = proxied.rotate().await?;
    assert_eq!(overload.hits(), 2);
    assert!(took >= Duration::from_secs(6), "twice 3 s were asked for, but it took {took:?}");
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE]);

    let stacks = Matching::any().method("GET").path("/stacks/prod").times(1);
    let overload = proxied.proxy.inject(Fault::too_many_requests(Some(1)), stacks);
    proxied.rotate().await?;
    assert_eq!(overload.hits(), 1);
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_done_twice() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let Proxied { cluster, proxy, tenant, .. } = &proxied;
    let mark = cluster.audit_mark()?;
    let lost = proxy.inject(Fault::DropAnswer, secrets("PUT").times(1));
    proxied.rotate().await?;
    tenant.sync("prod").await?;
    assert_eq!(lost.hits(), 1);
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE]);

    let mark = cluster.audit_mark()?;
    let value = tenant.canary();
    let creation = proxy.inject(Fault::DropAnswer, secrets("POST").times(1));
    let status = proxy.inject(Fault::DropAnswer, Matching::any().method("PATCH").path("/stacks/new/status").times(1));
    tenant.values("atmos.new.orders-db", &[("DB_PASSWORD", &value)]).await?;
    tenant.stack("new", STACK).await?;
    let ready = tenant.wait_ready("new").await?;
    tenant.sync("new").await?;
    assert_eq!((creation.hits(), status.hits()), (1, 1));
    let mut writes = proxied.secret_writes(mark)?;
    // The second try of the creation, which finds what the first one made.
    writes.retain(|write| !write.ends_with(" 409"));
    assert_eq!(writes, ["create new-orders-db 201"]);
    assert_eq!(tenant.secret("new-orders-db").await?, secret(&[("DB_PASSWORD", &value)]));
    assert_eq!(condition(&ready, READY).unwrap().reason, "Synced");
    assert!(tenant.events("new").await?.len() <= 2, "no Event twice: {:?}", tenant.events("new").await?);
    Ok(())
}

#[tokio::test]
async fn an_edit_while_a_value_cannot_be_read_is_carried_out_afterwards() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let Proxied { proxy, tenant, .. } = &proxied;
    let value = tenant.secret("prod-orders-db").await?;
    let unreadable = proxy.inject(Fault::answer(503), Matching::any().method("GET").path("/atmos.prod.orders-db"));
    let edited = STACK.replace("{orders-db: {", "{orders-db: {targets: {prod-orders-db: {}, added: {}}, ");
    tenant.stack("prod", &edited).await?;
    let status = tenant.wait_reason("prod", Reason::Unreachable).await?;
    assert!(
        status.targets.iter().all(|target| target.ready == (target.name != "added")),
        "the last good read is young"
    );
    assert_eq!(tenant.secret("added").await?, None);
    unreadable.remove();
    tenant.wait_secret("added", value).await
}

#[tokio::test]
async fn errors_of_the_api_server_pass() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let mark = proxied.cluster.audit_mark()?;
    for code in [500, 503, 504] {
        let failing = proxied.proxy.inject(Fault::answer(code), secrets("PUT").times(2));
        proxied.rotate().await?;
        assert_eq!(failing.hits(), 2, "{code}");
    }
    let failing = proxied.proxy.inject(Fault::answer(500), Matching::any().method("PATCH").path("/status").times(1));
    proxied.tenant.sync("prod").await?;
    assert_eq!(failing.hits(), 1);
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE; 3]);
    Ok(())
}

#[tokio::test]
async fn trouble_that_passes_is_named_for_what_was_never_read() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let Proxied { proxy, tenant, .. } = &proxied;
    tenant.store("app", "{kubernetes: {}, timeout: 5s}").await?;
    let troubles = [
        ("throttled", Fault::too_many_requests(Some(30)), Reason::Throttled),
        ("away", Fault::answer(503), Reason::Unreachable),
        ("hangs", Fault::Stall, Reason::Timeout),
    ];
    let mut faults = Vec::new();
    for (stack, fault, _) in &troubles {
        let source = format!("/secrets/atmos.{stack}.orders-db");
        faults.push(proxy.inject(fault.clone(), Matching::any().method("GET").path(&source)));
        tenant.values(&format!("atmos.{stack}.orders-db"), &[("DB_PASSWORD", &tenant.canary())]).await?;
        tenant.stack(stack, STACK).await?;
    }
    for (stack, _, reason) in &troubles {
        let status = tenant.wait_reason(stack, *reason).await?;
        let entry = &status.secrets[0];
        assert_eq!((entry.state, entry.reason), (SecretState::Error, Some(*reason)), "{stack}");
        assert_eq!(tenant.secret(&format!("{stack}-orders-db")).await?, None, "{stack}: nothing is made up");
    }
    tenant.sync("prod").await?;
    assert_eq!(condition(&tenant.status("prod").await?, READY).unwrap().status, "True", "the others go on");
    faults.iter().for_each(e2e::fault_proxy::Injected::remove);
    for (stack, ..) in &troubles {
        tenant.sync(stack).await?;
        tenant.wait_ready(stack).await?;
    }
    Ok(())
}

/// The watch delivers an edit together with the status of before. If that were taken for the stored one although a sync
/// has written another meanwhile, what differs between the two would stay wrong for good.
#[tokio::test]
async fn an_edit_during_a_status_write_ends_with_the_status_of_the_edit() -> anyhow::Result<()> {
    let Proxied { cluster: _cluster, proxy, tenant, operator: _operator } = Proxied::start().await?;
    let status = Matching::any().method("PATCH").path("/stacks/prod/status");
    let slow = proxy.inject(Fault::Delay(Duration::from_millis(100)), status);
    let incomplete = "
        defaultStore: app
        components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}, ABSENT: {required: true}}}}}}
    ";
    for _ in 0..10 {
        let before = slow.hits();
        tenant.stack("prod", incomplete).await?;
        e2e::wait_until("the status to be on its way", LIMIT, async || {
            anyhow::ensure!(slow.hits() > before, "{} writes of the status", slow.hits());
            Ok(())
        })
        .await?;
        tenant.stack("prod", STACK).await?;
        let status = tenant.wait_ready("prod").await?;
        assert_eq!((status.initialized.as_deref(), status.missing.as_deref()), (Some("1/1"), None));
        assert_eq!(status.secrets.len(), 1, "{:?}", status.secrets);
    }
    Ok(())
}
