//! An API server that starts, or a proxy before one that is away: it answers, and what it says is not so. Nobody's rights
//! are gone, no Stack is, and nothing is written that would have to be taken back.

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::READY;
use e2e::fault_proxy::Injected;
use e2e::{Fault, Matching};
use kube::ResourceExt as _;
use serde_json::json;

use crate::api_server::{Proxied, UPDATED_ONCE, put, secrets};
use crate::harness::{Grant, LIMIT, Tenant, secret};
use crate::requests;

/// What the API server says of itself while its informers are still being filled.
fn not_ready(proxied: &Proxied) -> Injected {
    proxied.proxy.inject(Fault::answer(500), Matching::any().path("/readyz"))
}

/// Every question about a right is answered as if no RoleBinding were there.
fn no_rights(proxied: &Proxied) -> Injected {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {},
        "status": {"allowed": false},
    });
    let answer = Fault::Answer { code: 201, retry_after: None, body: Some(review.to_string()) };
    proxied.proxy.inject(answer, Matching::any().path("/selfsubjectaccessreviews"))
}

pub async fn wait_hits(fault: &Injected, wanted: usize) -> anyhow::Result<()> {
    e2e::wait_until("the fault to be met", LIMIT, async || {
        let hits = fault.hits();
        anyhow::ensure!(hits >= wanted, "{hits} times of {wanted}");
        Ok(())
    })
    .await
}

/// An operator with nothing left to report.
async fn settled() -> anyhow::Result<Proxied> {
    let proxied = Proxied::start().await?;
    let tenant = &proxied.tenant;
    tenant.wait_store("app", Reason::Connected).await?;
    e2e::wait_until("the user to be counted", LIMIT, async || {
        let users = tenant.stores().get("app").await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(1), "{users:?}");
        Ok(())
    })
    .await?;
    tenant.sync("prod").await?;
    Ok(proxied)
}

/// Since the Stack became ready it has always said so, and no Event says anything else.
async fn assert_always_ready(tenant: &Tenant) -> anyhow::Result<()> {
    let reasons: Vec<String> = tenant
        .history("prod")
        .await?
        .into_iter()
        .flat_map(|status| status.conditions)
        .filter(|condition| condition.type_ == READY)
        .map(|condition| condition.reason)
        .skip_while(|reason| reason != "Synced")
        .collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason == "Synced"), "{reasons:?}");
    let events = tenant.events("prod").await?;
    assert!(!events.iter().any(|(reason, _)| reason == Reason::GrantMissing.as_str()), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn rights_that_are_not_known_yet_are_not_taken_for_lost() -> anyhow::Result<()> {
    let proxied = settled().await?;
    let Proxied { cluster, proxy, tenant, .. } = &proxied;
    let mark = cluster.audit_mark()?;
    let _unready = not_ready(&proxied);
    let reviews = no_rights(&proxied);
    for kind in ["/secrets?", "/configmaps?"] {
        proxy.inject(Fault::answer(403), Matching::any().method("GET").path("/namespaces/tenant-").path(kind));
    }
    proxy.cut_connections();
    wait_hits(&reviews, 6).await?;
    proxy.clear();
    proxied.rotate().await?;
    tenant.sync("prod").await?;
    assert_always_ready(tenant).await?;
    let writes = requests::writes(&requests::since(cluster, mark, &tenant.namespace)?);
    let status = "patch stacks/status prod: 200";
    assert_eq!(
        writes,
        ["update secrets/ prod-orders-db: 200", status, status],
        "the new value, and the sync asked for"
    );
    Ok(())
}

#[tokio::test]
async fn refused_reads_and_writes_are_tried_again_until_the_roles_are_known() -> anyhow::Result<()> {
    let proxied = settled().await?;
    let Proxied { cluster, proxy, tenant, .. } = &proxied;
    let _unready = not_ready(&proxied);
    let _reviews = no_rights(&proxied);
    let mark = cluster.audit_mark()?;
    for code in [401, 403] {
        let reads = proxy.inject(Fault::answer(code), secrets("GET"));
        tenant.sync("prod").await?;
        assert!(reads.hits() > 0);
        reads.remove();
    }
    let writes = proxy.inject(Fault::answer(403), secrets("PUT").times(3));
    proxied.rotate().await?;
    assert_eq!(writes.hits(), 3);

    let status = json!({
        "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "secrets \"prod-orders-db\" is forbidden: not yet ready to handle request",
    });
    let admission = Fault::Answer { code: 403, retry_after: None, body: Some(status.to_string()) };
    let writes = proxy.inject(admission, secrets("PUT").times(3));
    proxied.rotate().await?;
    assert_eq!(writes.hits(), 3);
    assert_eq!(proxied.secret_writes(mark)?, [UPDATED_ONCE; 2]);
    assert_always_ready(tenant).await?;
    let writes = requests::writes(&requests::since(cluster, mark, &tenant.namespace)?);
    assert!(writes.iter().all(|write| !write.contains("stores/")), "the store was as it is: {writes:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_of_a_proxy_does_not_make_a_stack_forgotten() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let page = Fault::Answer { code: 404, retry_after: None, body: Some("<html>404 page not found</html>".to_owned()) };
    let reads = proxied
        .proxy
        .inject(page.clone(), Matching::any().method("GET").path("/namespaces/tenant-").path("/stacks/prod").times(1));
    proxied.rotate().await?;
    assert_eq!(reads.hits(), 1);
    let mark = proxied.cluster.audit_mark()?;
    let writes = proxied.proxy.inject(page, Matching::any().method("PATCH").path("/stacks/prod/status").times(1));
    proxied.tenant.sync("prod").await?;
    assert_eq!(writes.hits(), 1);
    assert_eq!(proxied.secret_writes(mark)?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_target_that_left_the_spec_is_not_lost_by_one_error() -> anyhow::Result<()> {
    for fault in [secrets("GET").path("/prod-orders-db").times(1), secrets("DELETE").times(1)] {
        let proxied = Proxied::start_with(Grant::WithoutWatch).await?;
        let Proxied { proxy, tenant, .. } = &proxied;
        let targets = |targets| {
            json!({"spec": {
                "targetDefaults": {"deletionPolicy": "Delete"},
                "components": {"terraform": {"orders-db": {"targets": targets}}},
            }})
        };
        tenant.patch_stack("prod", targets(json!({"prod-orders-db": {}}))).await?;
        tenant.wait_ready("prod").await?;
        assert_eq!(tenant.secrets().get("prod-orders-db").await?.owner_references().len(), 1);
        let failing = proxy.inject(Fault::answer(500), fault);
        tenant.patch_stack("prod", targets(json!({"prod-orders-db": null, "renamed": {}}))).await?;
        tenant.wait_secret("prod-orders-db", None).await?;
        assert_eq!(failing.hits(), 1);
        let nothing_left = |status: &atmos_secrets::api::StackStatus| status.leftover.is_empty();
        tenant.wait_status("prod", "nothing to be left over", nothing_left).await?;
        assert!(tenant.secret("renamed").await?.is_some());
    }
    Ok(())
}

/// A check that failed while the API server was in trouble, and a report that it took a moment later, would be a store in
/// trouble for everybody who looks.
#[tokio::test]
async fn a_store_is_not_reported_for_a_moment_of_trouble() -> anyhow::Result<()> {
    let proxied = settled().await?;
    let Proxied { cluster, proxy, tenant, .. } = &proxied;
    let mark = cluster.audit_mark()?;
    let next = tenant.canary();
    let _unready = not_ready(&proxied);
    let failing = proxy.inject(Fault::answer(503), secrets("GET"));
    put(tenant, &next).await?;
    // Those of the read and those of the check that it causes.
    wait_hits(&failing, 6).await?;
    proxy.clear();
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    tenant.sync("prod").await?;
    let writes = requests::writes(&requests::since(cluster, mark, &tenant.namespace)?);
    assert!(writes.iter().all(|write| !write.contains("stores/")), "{writes:?}");

    // What stays is told.
    proxy.inject(Fault::answer(503), secrets("GET"));
    put(tenant, &tenant.canary()).await?;
    tenant.wait_store("app", Reason::Unreachable).await?;
    proxy.clear();
    tenant.wait_store("app", Reason::Connected).await?;
    Ok(())
}
