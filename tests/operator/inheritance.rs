//! Bases of components, and what a later layer does to an earlier one.

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, STALLED};

use crate::harness::{Neighbour, Tenant, condition, secret};

#[tokio::test]
async fn bases_are_merged_in_order_and_never_written() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [one, two, three] = [(); 3].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("ONE", &one), ("TWO", &two), ("OWN", &three)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            first: {metadata: {type: abstract}, secrets: {vars: {A: {reference: ONE}, B: {reference: ONE}}}}
            second: {metadata: {enabled: false}, secrets: {vars: {B: {reference: TWO}, C: {reference: TWO}}}}
            db:
              metadata: {component: first, inherits: [second]}
              secrets: {vars: {OWN: {}, C: {declared: false}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &one), ("B", &two), ("OWN", &three)]));
    assert_eq!(status.targets.len(), 1);
    let origin = |name: &str| status.secrets.iter().find(|entry| entry.name == name).unwrap().origin.clone();
    assert_eq!((origin("A").as_str(), origin("B").as_str()), ("inherits/first", "inherits/second"));
    Ok(())
}

#[tokio::test]
async fn another_store_clears_the_inherited_key_and_version() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [old, new] = [(); 2].map(|()| tenant.canary());
    tenant.store("one", "{kubernetes: {}, prefix: one}").await?;
    tenant.store("two", "{kubernetes: {}, prefix: two}").await?;
    tenant.values("legacy", &[("PASSWORD", &old)]).await?;
    tenant.values("two.prod.db", &[("PASSWORD", &new)]).await?;
    let spec = "
        components:
          terraform:
            base: {metadata: {type: abstract}, secrets: {vars: {PASSWORD: {store: one, backendKey: 'legacy#PASSWORD'}}}}
            versioned: {metadata: {type: abstract}, secrets: {vars: {PASSWORD: {store: one, version: '3'}}}}
            kept: {metadata: {inherits: [base]}, secrets: {vars: {PASSWORD: {required: true}}}}
            db: {metadata: {inherits: [base, versioned]}, secrets: {vars: {PASSWORD: {store: two}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-kept").await?, secret(&[("PASSWORD", &old)]));
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("PASSWORD", &new)]));
    let key =
        |component: &str| status.secrets.iter().find(|entry| entry.component == component).unwrap().backend_key.clone();
    assert_eq!(key("terraform/kept"), "legacy#PASSWORD");
    assert_eq!(key("terraform/db"), "two.prod.db#PASSWORD");
    Ok(())
}

#[tokio::test]
async fn a_later_layer_chooses_between_store_and_sops() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    let spec = "
        components:
          terraform:
            base: {metadata: {type: abstract}, secrets: {vars: {A: {sops: files}}}}
            db: {metadata: {inherits: [base]}, secrets: {vars: {A: {store: app}}}}
            other: {metadata: {inherits: [db]}, secrets: {vars: {A: {sops: app}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::AmbiguousBackend).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("terraform/other A: `sops` names Store/app, which is of kind kubernetes"), "{message}");
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &value)]));
    assert_eq!(tenant.secret("prod-other").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_circle_of_bases_is_named_and_stalls() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let neighbour = Neighbour::start(&tenant).await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    let db = "db: {secrets: {vars: {A: {}}}}";
    tenant.stack("prod", &format!("{{defaultStore: app, components: {{terraform: {{{db}}}}}}}")).await?;
    tenant.wait_ready("prod").await?;
    let circle =
        "one: {metadata: {inherits: [two]}}, two: {metadata: {inherits: [three]}}, three: {metadata: {component: one}}";
    tenant.stack("prod", &format!("{{defaultStore: app, components: {{terraform: {{{circle}}}}}}}")).await?;
    let status = tenant.wait_reason("prod", Reason::InheritanceCycle).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("one inherits two inherits three inherits one"), "{message}");
    assert_eq!(condition(&status, STALLED).unwrap().reason, "InheritanceCycle");
    // The set is not known, so what was written stays, although its component left the spec.
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &value)]));
    neighbour.still_syncs().await?;
    tenant.stack("prod", &format!("{{defaultStore: app, components: {{terraform: {{{db}}}}}}}")).await?;
    assert!(condition(&tenant.wait_ready("prod").await?, STALLED).is_none());
    Ok(())
}

#[tokio::test]
async fn a_missing_base_holds_back_its_component_alone() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.good", &[("A", &value)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            bad: {metadata: {inherits: [no-such-base]}, secrets: {vars: {A: {}}}}
            good: {secrets: {vars: {A: {}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::BaseNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("component bad inherits from no-such-base"), "{message}");
    assert_eq!(condition(&status, STALLED).unwrap().status, "True");
    assert_eq!(tenant.secret("prod-good").await?, secret(&[("A", &value)]));
    assert_eq!(tenant.secret("prod-bad").await?, None);
    Ok(())
}
