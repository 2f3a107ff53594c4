//! Declarations whose store is not there, not named, not admitted or not able.

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, STALLED, SecretState};

use crate::harness::{Neighbour, Tenant, condition, secret};

#[tokio::test]
async fn a_missing_store_is_named_until_it_appears() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let value = tenant.canary();
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    tenant.stack("prod", "{defaultStore: later, components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}").await?;
    let status = tenant.wait_reason("prod", Reason::BackendNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    let expected = format!("terraform/db A: Store/later does not exist in namespace {}", tenant.namespace);
    assert!(message.contains(&expected), "{message}");
    assert_eq!(
        (status.secrets[0].state, status.secrets[0].reason),
        (SecretState::Error, Some(Reason::BackendNotFound))
    );
    assert_eq!(tenant.secret("prod-db").await?, None);
    tenant.wait_event("prod", Reason::BackendNotFound, message).await?;
    neighbour.still_syncs().await?;

    tenant.store("later", "kubernetes: {}").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &value)]));
    let history = tenant.history("prod").await?;
    assert!(history.len() >= 2);
    assert!(history.iter().all(|status| condition(status, STALLED).is_none()));
    Ok(())
}

#[tokio::test]
async fn an_alias_to_nothing_names_what_is_not_there() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let cluster_store = tenant.unique("nowhere");
    let spec = format!(
        "
        stores: {{files: {{store: nowhere}}, shared: {{clusterStore: {cluster_store}}}}}
        components:
          terraform:
            one: {{secrets: {{vars: {{A: {{store: files}}}}}}}}
            two: {{secrets: {{vars: {{B: {{store: shared}}}}}}}}"
    );
    tenant.stack("prod", &spec).await?;
    let status = tenant.wait_reason("prod", Reason::BackendNotFound).await?;
    let of = |name: &str| status.secrets.iter().find(|entry| entry.name == name).unwrap().clone();
    assert!(of("A").message.unwrap().contains("Store/nowhere does not exist"));
    assert_eq!(of("B").reason, Some(Reason::NamespaceNotAllowed));
    assert!(
        of("B").message.unwrap().contains(&format!("ClusterStore/{cluster_store} does not exist or does not admit"))
    );
    assert!(condition(&status, STALLED).is_none());
    Ok(())
}

#[tokio::test]
async fn one_bad_declaration_holds_back_only_the_targets_that_contain_it() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.one", &[("A", &first), ("B", &first)]).await?;
    tenant.values("atmos.prod.two", &[("C", &second)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            one:
              secrets: {vars: {A: {}, B: {}, BAD: {store: nowhere}}}
              targets: {with: {}, without: {keys: {a: A, b: B}}}
            two: {secrets: {vars: {C: {}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::BackendNotFound).await?;
    assert_eq!(status.initialized.as_deref(), Some("3/4"));
    assert_eq!(tenant.secret("with").await?, None);
    assert_eq!(tenant.secret("without").await?, secret(&[("a", &first), ("b", &first)]));
    assert_eq!(tenant.secret("prod-two").await?, secret(&[("C", &second)]));
    let target = status.targets.iter().find(|target| target.name == "with").unwrap();
    assert!(!target.ready && target.message.as_ref().unwrap().contains("BAD"), "{target:?}");
    Ok(())
}

#[tokio::test]
async fn a_declaration_without_a_store_stalls() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.good", &[("A", &value)]).await?;
    let spec = "components: {terraform: {bad: {secrets: {vars: {A: {}}}}, good: {secrets: {vars: {A: {store: app}}}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::NoBackend).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("terraform/bad A") && message.contains("spec.defaultStore"), "{message}");
    assert_eq!(condition(&status, STALLED).unwrap().reason, "NoBackend");
    assert_eq!(tenant.secret("prod-good").await?, secret(&[("A", &value)]));
    Ok(())
}

#[tokio::test]
async fn a_cluster_store_serves_only_the_namespaces_that_it_admits() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let name = tenant.unique("shared");
    let aws = "shared: true, awsSecretsManager: {region: us-east-1, auth: {secret: {name: aws, accessKeyIdKey: id, secretAccessKeyKey: key}}}";
    tenant.cluster_store(&name, &format!("{{allowedNamespaces: {{}}, {aws}}}")).await?;
    let spec = format!(
        "{{stores: {{shared: {{clusterStore: {name}}}}}, defaultStore: shared, components: {{terraform: {{db: {{secrets: {{vars: {{A: {{}}}}}}}}}}}}}}"
    );
    tenant.stack("prod", &spec).await?;
    let status = tenant.wait_reason("prod", Reason::NamespaceNotAllowed).await?;
    let message = &condition(&status, READY).unwrap().message;
    let expected = format!("ClusterStore/{name} does not exist or does not admit namespace {}", tenant.namespace);
    assert!(message.contains(&expected), "{message}");
    assert!(condition(&status, STALLED).is_none());

    // Admitted by name, then by a label; its credentials are a Secret that the operator may not read.
    let namespace = &tenant.namespace;
    tenant.cluster_store(&name, &format!("{{allowedNamespaces: {{names: [{namespace}]}}, {aws}}}")).await?;
    let status = tenant.wait_reason("prod", Reason::GrantMissing).await?;
    assert!(
        condition(&status, READY).unwrap().message.contains("may not read the Secrets or ConfigMaps of its own"),
        "{status:?}"
    );
    let by_label = format!("matchLabels: {{kubernetes.io/metadata.name: {namespace}}}");
    tenant.cluster_store(&name, &format!("{{allowedNamespaces: {{selector: {{{by_label}}}}}, {aws}}}")).await?;
    tenant
        .wait_status("prod", "the new generation", |status| status.inputs[&format!("ClusterStore/{name}")] == 3)
        .await?;
    tenant.wait_reason("prod", Reason::GrantMissing).await?;
    tenant
        .cluster_store(&name, &format!("{{allowedNamespaces: {{selector: {{matchLabels: {{no: way}}}}}}, {aws}}}"))
        .await?;
    tenant.wait_reason("prod", Reason::NamespaceNotAllowed).await?;
    neighbour.still_syncs().await?;
    Ok(())
}

#[tokio::test]
async fn a_version_is_refused_by_a_store_without_versions() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &value)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db: {secrets: {vars: {A: {}, B: {version: '2'}}}, targets: {good: {keys: {a: A}}, bad: {}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::Unsupported).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(
        message.contains("terraform/db B: `version` is set, but Store/app of kind kubernetes keeps no versions"),
        "{message}"
    );
    assert_eq!(tenant.secret("good").await?, secret(&[("a", &value)]));
    assert_eq!(tenant.secret("bad").await?, None);
    Ok(())
}
