//! Objects that our schema would refuse: stored before it was so strict, or under definitions of another version.

use atmos_secrets::api::status::READY;
use atmos_secrets::api::{self, Reason};
use serde_json::json;

use crate::harness::{Cluster, Grant, Neighbour, Operator, Options, Tenant, condition, secret};

/// Our definitions without any rule: the API server stores what it gets.
fn loose_definitions() -> anyhow::Result<String> {
    let mut text = String::new();
    for definition in api::crds()? {
        let mut definition = serde_json::to_value(definition)?;
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"] = json!({
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"status": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true, "default": {"observedGeneration": -1},
                }},
            });
        }
        text.push_str(&format!("---\n{definition}\n"));
    }
    Ok(text)
}

#[tokio::test]
async fn what_the_schema_would_refuse_harms_only_itself() -> anyhow::Result<()> {
    let cluster = Cluster::start_with(&loose_definitions()?).await?;
    Operator::start(&cluster, Options::default()).await?;
    let tenant = Tenant::on(&cluster, Grant::Full).await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.good", &[("A", &value)]).await?;

    both_store_and_sops(&tenant, &value).await?;
    scope_against_position(&tenant, &value).await?;
    neighbour.still_syncs().await?;
    unreadable_stack(&tenant).await?;
    neighbour.still_syncs().await?;
    unreadable_definitions(&tenant).await?;
    neighbour.still_syncs().await
}

async fn both_store_and_sops(tenant: &Tenant, value: &str) -> anyhow::Result<()> {
    let spec = "
        defaultStore: app
        components:
          terraform:
            base: {metadata: {type: abstract}, secrets: {vars: {A: {store: app, sops: files}}}}
            bad: {metadata: {inherits: [base]}}
            good: {metadata: {inherits: [base]}, secrets: {vars: {A: {store: app}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::AmbiguousBackend).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(
        message.contains("terraform/bad A: both `store` and `sops` are set (inherits/base); keep one"),
        "{message}"
    );
    assert_eq!(tenant.secret("prod-good").await?, secret(&[("A", value)]));
    assert_eq!(tenant.secret("prod-bad").await?, None);
    Ok(())
}

async fn scope_against_position(tenant: &Tenant, value: &str) -> anyhow::Result<()> {
    tenant.catalog("scopes", "components: {terraform: {base: {secrets: {vars: {B: {scope: stack}}}}}}").await?;
    tenant.stack("importing", "secrets: {vars: {C: {scope: instance}}}").await?;
    let spec = "
        defaultStore: app
        imports: [{catalog: scopes}, {stack: importing}]
        components:
          terraform:
            bad: {metadata: {inherits: [base]}}
            good: {secrets: {vars: {A: {}, C: {declared: false}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::ScopeConflict).await?;
    let of = |name: &str| {
        let entry = status.secrets.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.reason, Some(Reason::ScopeConflict), "{entry:?}");
        entry.message.clone().unwrap()
    };
    assert!(of("B").contains("`scope: stack` contradicts its position (inherits/base)"), "{}", of("B"));
    assert!(of("C").contains("`scope: instance` contradicts its position (import/importing)"), "{}", of("C"));
    assert_eq!(tenant.secret("prod-good").await?, secret(&[("A", value)]));
    Ok(())
}

async fn unreadable_stack(tenant: &Tenant) -> anyhow::Result<()> {
    for (name, spec) in [
        ("broken-type", json!({"components": ["not", "a", "map"]})),
        ("broken-word", json!({"drift": "Sometimes"})),
        ("broken-number", json!({"refreshInterval": 5})),
        ("broken-list", json!({"secrets": {"vars": ["TOKEN"]}})),
    ] {
        tenant.write("Stack", name, spec).await?;
        // These objects cannot be read as Stacks here either, so only their status is.
        let has_reason = async || {
            let object = tenant.cluster.get_json(["stack", name, "--namespace", tenant.namespace.as_str()]).await?;
            let ready =
                object["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
            anyhow::ensure!(
                ready.is_some_and(|ready| ready["reason"] == "InvalidSpec" && ready["status"] == "False"),
                "{object}"
            );
            let words = ready.and_then(|ready| ready["message"].as_str()).unwrap_or_default();
            anyhow::ensure!(words.contains("CustomResourceDefinition"), "{words}");
            Ok(())
        };
        e2e::wait_until(format!("InvalidSpec of {name}"), crate::harness::LIMIT, has_reason).await?;
    }
    Ok(())
}

async fn unreadable_definitions(tenant: &Tenant) -> anyhow::Result<()> {
    for (kind, name, spec) in [
        ("Store", "broken", json!({"kubernetes": 7})),
        ("ClusterStore", "broken", json!({"allowedNamespaces": "all"})),
        ("Catalog", "broken", json!({"secrets": {"vars": 7}})),
    ] {
        tenant.write(kind, name, spec).await?;
    }
    tenant
        .stack("of-store", "{defaultStore: broken, components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}")
        .await?;
    let status = tenant.wait_reason("of-store", Reason::InvalidSpec).await?;
    assert!(condition(&status, READY).unwrap().message.contains("cannot read Store/broken"), "{status:?}");
    tenant.stack("of-catalog", "{imports: [{catalog: broken}]}").await?;
    let status = tenant.wait_reason("of-catalog", Reason::CatalogNotFound).await?;
    assert!(
        condition(&status, READY).unwrap().message.contains("Catalog/broken is imported, but cannot be read"),
        "{status:?}"
    );
    Ok(())
}
