//! What a sync costs the API server: exactly these requests. Each one more, for each of thousands of Stacks, is a longer
//! start and a slower control plane for everybody.

use std::collections::BTreeMap;

use atmos_secrets::api::Reason;
use e2e::control_plane::AuditEvent;
use serde_json::json;

use crate::harness::{Cluster, Grant, LIMIT, Operator, Options, Tenant, secret};
use crate::requests;

const SPEC: &str = "
    defaultStore: app
    secrets: {vars: {TOKEN: {scope: global}}}
    components: {terraform: {api: {}}}
";

/// A namespace with a store that the operator knows, and a value that it has read. A check of the store, which comes some
/// seconds after its users changed, asks for a Secret `atmos`: the values are in another one, so that it is not counted.
async fn prepare(tenant: &Tenant) -> anyhow::Result<String> {
    let token = tenant.canary();
    tenant.store("app", "{kubernetes: {}, prefix: values}").await?;
    tenant.values("values", &[("TOKEN", &token)]).await?;
    tenant.stack("first", SPEC).await?;
    tenant.wait_ready("first").await?;
    tenant.wait_store("app", Reason::Connected).await?;
    tenant.sync("first").await?;
    Ok(token)
}

/// The requests about objects of these names, and how often each was made.
fn counted<'a>(events: &'a [AuditEvent], names: &[&str]) -> BTreeMap<(&'a str, String), usize> {
    let mut counted = BTreeMap::new();
    for event in events.iter().filter(|event| names.contains(&event.name.as_str())) {
        let path = [&event.resource, &event.subresource].into_iter().filter(|part| !part.is_empty());
        let what = path.map(String::as_str).collect::<Vec<_>>().join("/");
        *counted.entry((event.verb.as_str(), format!("{what} {}", event.name))).or_insert(0) += 1;
    }
    counted
}

fn expected(counts: &[(&'static str, &str, usize)]) -> BTreeMap<(&'static str, String), usize> {
    counts.iter().map(|(verb, what, count)| ((*verb, (*what).to_owned()), *count)).collect()
}

#[tokio::test]
async fn a_new_stack_costs_one_write_for_its_target_and_one_for_its_status() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let token = prepare(&tenant).await?;
    let mark = tenant.cluster.audit_mark()?;
    tenant.stack("new", SPEC).await?;
    tenant.wait_secret("new-api", secret(&[("TOKEN", &token)])).await?;
    tenant.wait_ready("new").await?;
    // A sync that is asked for costs one read of the source and one write of the status, and shows that nothing else was
    // going to happen.
    tenant.sync("new").await?;
    let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    assert_eq!(
        counted(&events, &["new", "new-api", "values"]),
        expected(&[
            ("get", "secrets values", 1 + 1),
            ("create", "secrets new-api", 1),
            ("patch", "stacks/status new", 1 + 1),
        ]),
        "no read of the Stack or of its target, no Event"
    );
    Ok(())
}

#[tokio::test]
async fn an_edit_costs_one_write_for_what_it_changes() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    prepare(&tenant).await?;
    let mark = tenant.cluster.audit_mark()?;
    tenant.patch_stack("first", json!({"spec": {"targetDefaults": {"labels": {"team": "orders"}}}})).await?;
    tenant.wait_ready("first").await?;
    tenant.sync("first").await?;
    let events = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    assert_eq!(
        counted(&events, &["first", "first-api", "values"]),
        expected(&[
            ("get", "secrets values", 1 + 1),
            // Read, so that labels and annotations of others stay.
            ("get", "secrets first-api", 1),
            ("update", "secrets first-api", 1),
            ("patch", "stacks/status first", 1 + 1),
        ])
    );
    Ok(())
}

#[tokio::test]
async fn a_start_reads_no_stack_and_a_restart_writes_nothing() -> anyhow::Result<()> {
    const STACKS: usize = 40;
    let cluster = Cluster::start().await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let token = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos", &[("TOKEN", &token)]).await?;
    for number in 0..STACKS {
        tenant.stack(&format!("s{number}"), SPEC).await?;
    }
    let mark = cluster.audit_mark()?;
    let first = Operator::start(&cluster, Options::default()).await?;
    let names: Vec<(String, String)> =
        (0..STACKS).map(|number| (format!("s{number}"), format!("s{number}-api"))).collect();
    for (stack, _) in &names {
        tenant.wait_ready(stack).await?;
    }
    // Whatever the first syncs caused was asked for before this.
    for (stack, _) in &names {
        tenant.sync(stack).await?;
    }
    let events = requests::since(&cluster, mark, &tenant.namespace)?;
    for (stack, target) in &names {
        assert_eq!(
            counted(&events, &[stack, target]),
            expected(&[
                ("create", &format!("secrets {target}"), 1),
                ("patch", &format!("stacks/status {stack}"), 1 + 1),
            ])
        );
    }

    first.terminate().await?;
    let mark = cluster.audit_mark()?;
    Operator::start(&cluster, Options::default()).await?;
    e2e::wait_until("every target to be compared", LIMIT, async || {
        let events = requests::since(&cluster, mark, &tenant.namespace)?;
        for (_, target) in &names {
            anyhow::ensure!(!requests::about(&events, target).is_empty(), "{target} was not looked at");
        }
        Ok(())
    })
    .await?;
    for (stack, _) in &names {
        tenant.sync(stack).await?;
    }
    let events = requests::since(&cluster, mark, &tenant.namespace)?;
    for (stack, target) in &names {
        assert_eq!(
            counted(&events, &[stack, target]),
            // The data are compared once, since nothing is remembered. The one write is that of the sync asked for.
            expected(&[("get", &format!("secrets {target}"), 1), ("patch", &format!("stacks/status {stack}"), 1),])
        );
    }
    Ok(())
}
