//! Imports: Catalogs and Stacks that bring declarations.

use std::time::Duration;

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, STALLED};

use e2e::{Fault, Matching};

use crate::api_server::Proxied;
use crate::harness::{LIMIT, Neighbour, Tenant, condition, secret};

#[tokio::test]
async fn a_catalog_brings_declarations_and_bases() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [api_key, password, port] = [(); 3].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod", &[("API_KEY", &api_key)]).await?;
    tenant.values("atmos.prod.orders-db", &[("PASSWORD", &password), ("PORT", &port)]).await?;
    let (outer, inner) = (tenant.unique("outer"), tenant.unique("inner"));
    tenant
        .catalog(&inner, "components: {terraform: {database: {secrets: {vars: {PASSWORD: {required: true}}}}}}")
        .await?;
    tenant
        .catalog(&outer, &format!("{{imports: [{{catalog: {inner}}}], secrets: {{vars: {{API_KEY: {{}}}}}}}}"))
        .await?;
    let spec = format!(
        "
        defaultStore: app
        imports: [{{catalog: {outer}}}]
        components:
          terraform:
            orders-db: {{metadata: {{inherits: [database]}}, secrets: {{vars: {{PORT: {{}}}}}}}}"
    );
    tenant.stack("prod", &spec).await?;
    let status = tenant.wait_ready("prod").await?;
    let expected = secret(&[("API_KEY", &api_key), ("PASSWORD", &password), ("PORT", &port)]);
    assert_eq!(tenant.secret("prod-orders-db").await?, expected);
    let origin = |name: &str| status.secrets.iter().find(|entry| entry.name == name).unwrap().origin.clone();
    assert_eq!(origin("API_KEY"), format!("catalog/{outer}"));
    assert_eq!(origin("PASSWORD"), "inherits/database");
    assert_eq!(status.inputs[&format!("Catalog/{inner}")], 1);

    // A change of the inner Catalog arrives.
    tenant.catalog(&inner, "components: {terraform: {database: {secrets: {vars: {}}}}}").await?;
    tenant.wait_secret("prod-orders-db", secret(&[("API_KEY", &api_key), ("PORT", &port)])).await?;
    Ok(())
}

#[tokio::test]
async fn a_stack_brings_its_declarations_and_not_its_targets() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [token, password] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod", &[("TOKEN", &token)]).await?;
    tenant.values("atmos.prod.db", &[("PASSWORD", &password)]).await?;
    let base = "
        secrets: {vars: {TOKEN: {store: app}}}
        targets: {of-base: {}}
        components: {terraform: {base-db: {metadata: {type: abstract}, secrets: {vars: {PASSWORD: {store: app}}}}}}";
    tenant.stack("base", base).await?;
    tenant
        .stack("prod", "{imports: [{stack: base}], components: {terraform: {db: {metadata: {component: base-db}}}}}")
        .await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("TOKEN", &token), ("PASSWORD", &password)]));
    assert_eq!(status.targets.len(), 1);
    assert_eq!(status.secrets.iter().find(|entry| entry.name == "TOKEN").unwrap().origin, "import/base");
    // The base reads its own coordinates, where there is no value.
    tenant.wait_ready("base").await?;
    assert_eq!(tenant.secret("base-base-db").await?, None);

    // A change of the imported Stack arrives.
    tenant.stack("base", "components: {terraform: {base-db: {metadata: {enabled: false}, secrets: {vars: {PASSWORD: {store: app}}}}}}").await?;
    tenant.wait_secret("prod-db", secret(&[("PASSWORD", &password)])).await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_catalog_holds_everything_until_it_appears() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let [own, imported] = [(); 2].map(|()| tenant.canary());
    let catalog = tenant.unique("later");
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("OWN", &own)]).await?;
    tenant.values("atmos.prod", &[("IMPORTED", &imported)]).await?;
    let spec = format!(
        "{{defaultStore: app, imports: [{{catalog: {catalog}}}], components: {{terraform: {{db: {{secrets: {{vars: {{OWN: {{}}}}}}}}}}}}}}"
    );
    tenant.stack("prod", &spec).await?;
    let status = tenant.wait_reason("prod", Reason::CatalogNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains(&format!("Catalog/{catalog} is imported, but does not exist")), "{message}");
    assert_eq!(tenant.secret("prod-db").await?, None);
    neighbour.still_syncs().await?;

    tenant.catalog(&catalog, "secrets: {vars: {IMPORTED: {}}}").await?;
    tenant.wait_ready("prod").await?;
    let both = secret(&[("OWN", &own), ("IMPORTED", &imported)]);
    assert_eq!(tenant.secret("prod-db").await?, both);
    let history = tenant.history("prod").await?;
    assert!(history.iter().all(|status| condition(status, STALLED).is_none()));

    // Gone again: nothing is written, nothing removed.
    tenant.delete("Catalog", &catalog).await?;
    tenant.wait_reason("prod", Reason::CatalogNotFound).await?;
    tenant.values("atmos.prod.db", &[("OWN", &tenant.canary())]).await?;
    tenant.sync("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, both);
    assert_eq!(tenant.operator_writes("prod-db")?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_catalog_that_comes_in_the_middle_of_a_first_sync_is_not_missed() -> anyhow::Result<()> {
    let proxied = Proxied::start().await?;
    let Proxied { proxy, tenant, .. } = &proxied;
    let value = tenant.canary();
    tenant.values("atmos.late", &[("A", &value)]).await?;
    tenant.stack("base", "{}").await?;
    tenant.wait_ready("base").await?;
    let slow = Matching::any().method("GET").path("/stacks/base").times(1);
    // Far longer than the Catalog takes to arrive; the first sync has looked for it before.
    let slow = proxy.inject(Fault::Delay(Duration::from_secs(5)), slow);
    let catalog = tenant.unique("late");
    let spec =
        format!("{{defaultStore: app, imports: [{{catalog: {catalog}}}, {{stack: base}}], targets: {{late: {{}}}}}}");
    tenant.stack("late", &spec).await?;
    e2e::wait_until(
        "the sync to ask for the import",
        LIMIT,
        async || {
            if slow.hits() == 1 { Ok(()) } else { Err("it has not") }
        },
    )
    .await?;
    tenant.catalog(&catalog, "secrets: {vars: {A: {}}}").await?;
    tenant.wait_ready("late").await?;
    assert_eq!(tenant.secret("late").await?, secret(&[("A", &value)]));
    Ok(())
}

#[tokio::test]
async fn a_missing_imported_stack_is_named_until_it_appears() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod", &[("A", &value)]).await?;
    tenant.stack("prod", "{imports: [{stack: base}], targets: {all: {}}}").await?;
    let status = tenant.wait_reason("prod", Reason::CatalogNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("Stack/base is imported, but does not exist"), "{message}");
    tenant.stack("base", "secrets: {vars: {A: {store: app}}}").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("all").await?, secret(&[("A", &value)]));
    Ok(())
}

#[tokio::test]
async fn stacks_that_import_each_other_say_the_circle() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    tenant.stack("one", "imports: [{stack: two}]").await?;
    tenant.stack("two", "imports: [{stack: one}]").await?;
    let status = tenant.wait_reason("one", Reason::InheritanceCycle).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("Stack/one imports Stack/two imports Stack/one"), "{message}");
    // The other one could cure it too.
    assert!(condition(&status, STALLED).is_none());
    tenant.wait_reason("two", Reason::InheritanceCycle).await?;
    neighbour.still_syncs().await?;
    tenant.stack("two", "{}").await?;
    tenant.wait_ready("one").await?;
    Ok(())
}
