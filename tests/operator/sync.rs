//! The main job: declared secrets become Secrets.

use atmos_secrets::api::marks;
use atmos_secrets::api::status::{READY, SUSPENDED, SecretState, StackStatus};
use kube::ResourceExt as _;
use serde_json::json;

use crate::harness::{Tenant, condition, secret};

#[tokio::test]
async fn a_declared_secret_becomes_a_secret() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    let spec = "
        defaultStore: app
        components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(status.initialized.as_deref(), Some("1/1"));
    assert_eq!(status.missing, None);
    assert_eq!(status.stores.as_deref(), Some("app"));
    assert_eq!(status.inputs, [("Store/app".to_owned(), 1)].into());
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));

    let written = tenant.secrets().get("prod-orders-db").await?;
    assert_eq!(written.type_.as_deref(), Some("Opaque"));
    assert_eq!(written.labels()[marks::MANAGED], "true");
    assert_eq!(written.labels()[marks::STACK], "prod");
    assert_eq!(written.labels()[marks::COMPONENT], "orders-db");
    assert_eq!(written.labels()[marks::MANAGED_BY], marks::OPERATOR);
    assert_eq!(written.annotations()[marks::STACK], "prod");
    assert!(written.annotations().contains_key(marks::DIGEST));
    assert_eq!(written.owner_references(), []);
    assert_eq!(tenant.operator_writes("prod-orders-db")?.len(), 1);

    let rotated = tenant.canary();
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &rotated)]).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &rotated)])).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.operator_writes("prod-orders-db")?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_required_secret_without_a_value_holds_its_target_back() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (user, password) = (tenant.canary(), tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("USER", &user)]).await?;
    let spec = "
        defaultStore: app
        components: {terraform: {db: {secrets: {vars: {USER: {}, PASSWORD: {required: true}, NOTE: {}}}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", atmos_secrets::api::Reason::ValueMissing).await?;
    assert_eq!(status.initialized.as_deref(), Some("1/3"));
    assert_eq!(status.missing.as_deref(), Some("db PASSWORD"));
    let message = &condition(&status, READY).unwrap().message;
    assert_eq!(message, "1 required secret has no value: terraform/db PASSWORD");
    assert_eq!(tenant.secret("prod-db").await?, None);

    tenant.values("atmos.prod.db", &[("USER", &user), ("PASSWORD", &password)]).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(status.initialized.as_deref(), Some("2/3"));
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("USER", &user), ("PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn each_scope_has_its_own_place() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [instance, stack, global, overridden] = [(); 4].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.plat-prod.network-vpc", &[("A", &instance), ("SHARED", &overridden)]).await?;
    tenant.values("atmos.plat-prod", &[("B", &stack), ("SHARED", &stack)]).await?;
    tenant.values("atmos", &[("C", &global), ("D", &global)]).await?;
    let spec = "
        name: plat-prod
        defaultStore: app
        secrets: {vars: {B: {scope: stack}, C: {scope: global}, SHARED: {}}}
        components:
          terraform:
            network/vpc: {secrets: {vars: {A: {scope: instance}, D: {scope: global}, SHARED: {}}}}
            other: {targets: {other: {}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    let all = secret(&[("A", &instance), ("B", &stack), ("C", &global), ("D", &global), ("SHARED", &overridden)]);
    assert_eq!(tenant.secret("prod-network-vpc").await?, all);
    let shared = secret(&[("B", &stack), ("C", &global), ("SHARED", &stack)]);
    assert_eq!(tenant.secret("other").await?, shared);
    // Declarations of the stack level are listed once.
    assert_eq!(status.secrets.len(), 6);
    let entry = |component: &str, name: &str| {
        let entry = status.secrets.iter().find(|entry| entry.component == component && entry.name == name).unwrap();
        (entry.scope.as_str(), entry.backend_key.as_str(), entry.origin.as_str())
    };
    assert_eq!(entry("", "B"), ("stack", "atmos.plat-prod#B", "stack"));
    assert_eq!(entry("", "C"), ("global", "atmos#C", "stack"));
    assert_eq!(entry("terraform/network/vpc", "A"), ("instance", "atmos.plat-prod.network-vpc#A", "component"));
    assert_eq!(entry("terraform/network/vpc", "D"), ("global", "atmos#D", "component"));
    assert_eq!(
        entry("terraform/network/vpc", "SHARED"),
        ("instance", "atmos.plat-prod.network-vpc#SHARED", "component")
    );
    Ok(())
}

#[tokio::test]
async fn defaults_paths_references_and_keys_are_applied() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [user, password, plain] = [(); 3].map(|()| tenant.plain_canary());
    let document = json!({"host": {"na.me": [user]}, "password": password, "port": 5432}).to_string();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("DOCUMENT", &document), ("OTHER_NAME", &plain)]).await?;
    let spec = r#"
        defaultStore: app
        components:
          terraform:
            db:
              secrets:
                vars:
                  USER: {reference: DOCUMENT, path: '.host["na.me"][0]'}
                  PASSWORD: {reference: DOCUMENT, path: .password, required: true}
                  PORT: {reference: DOCUMENT, path: .port, key: db.port}
                  REGION: {reference: DOCUMENT, path: .region, default: eu}
                  ABSENT: {default: ''}
                  RENAMED: {reference: OTHER_NAME, key: some-key}
                  DROPPED: {declared: false}"#;
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(status.initialized.as_deref(), Some("6/6"));
    let expected = secret(&[
        ("USER", &user),
        ("PASSWORD", &password),
        ("db.port", "5432"),
        ("REGION", "eu"),
        ("ABSENT", ""),
        ("some-key", &plain),
    ]);
    assert_eq!(tenant.secret("prod-db").await?, expected);
    let origin = |name: &str| status.secrets.iter().find(|entry| entry.name == name).unwrap().origin.clone();
    assert_eq!(
        (origin("REGION"), origin("ABSENT"), origin("USER")),
        ("default".into(), "default".into(), "component".into())
    );
    Ok(())
}

#[tokio::test]
async fn targets_choose_what_they_hold() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [shared, own, certificate, key] = [(); 4].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod", &[("SHARED", &shared)]).await?;
    tenant.values("atmos.prod.web", &[("OWN", &own), ("CERT", &certificate), ("KEY", &key)]).await?;
    let spec = "
        defaultStore: app
        secrets: {vars: {SHARED: {}}}
        targetDefaults: {labels: {team: red}, annotations: {note: all}}
        targets: {of-the-stack: {}}
        components:
          terraform:
            web:
              secrets: {vars: {OWN: {}, CERT: {}, KEY: {}}}
              targets:
                everything: {}
                own: {inherit: Own, labels: {team: blue}, annotations: {more: '1'}}
                web-tls: {type: kubernetes.io/tls, keys: {tls.crt: CERT, tls.key: KEY}}
            tracked: {secrets: {vars: {UNUSED: {}}}, targets: {}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("of-the-stack").await?, secret(&[("SHARED", &shared)]));
    let everything = secret(&[("SHARED", &shared), ("OWN", &own), ("CERT", &certificate), ("KEY", &key)]);
    assert_eq!(tenant.secret("everything").await?, everything);
    assert_eq!(tenant.secret("own").await?, secret(&[("OWN", &own), ("CERT", &certificate), ("KEY", &key)]));
    assert_eq!(tenant.secret("web-tls").await?, secret(&[("tls.crt", &certificate), ("tls.key", &key)]));
    let tls = tenant.secrets().get("web-tls").await?;
    assert_eq!(tls.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!((tls.labels()["team"].as_str(), tls.annotations()["note"].as_str()), ("red", "all"));
    let own = tenant.secrets().get("own").await?;
    assert_eq!((own.labels()["team"].as_str(), own.annotations()["note"].as_str()), ("blue", "all"));
    assert_eq!(own.annotations()["more"], "1");
    // `targets: {}` is tracked and written nowhere.
    assert_eq!(status.targets.len(), 4);
    assert_eq!(tenant.secret("prod-tracked").await?, None);
    let unused = status.secrets.iter().find(|entry| entry.name == "UNUSED").unwrap();
    assert_eq!(unused.state, SecretState::Missing);
    Ok(())
}

#[tokio::test]
async fn aliases_and_default_store_choose_the_store() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("one", "{kubernetes: {}, prefix: one}").await?;
    tenant.store("two", "{kubernetes: {}, prefix: two}").await?;
    tenant.values("one.prod.db", &[("A", &first), ("B", &first), ("C", &first)]).await?;
    tenant.values("two.prod.db", &[("A", &second), ("B", &second), ("C", &second)]).await?;
    let spec = "
        stores: {main: {store: one}, one: {store: two}}
        defaultStore: main
        components: {terraform: {db: {secrets: {vars: {A: {}, B: {store: one}, C: {store: two}}}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &first), ("B", &second), ("C", &second)]));
    assert_eq!(status.stores.as_deref(), Some("main, one"));
    Ok(())
}

#[tokio::test]
async fn a_name_that_left_the_spec_leaves_the_secret() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &first), ("B", &second)]).await?;
    let with =
        |vars: &str| format!("{{defaultStore: app, components: {{terraform: {{db: {{secrets: {{vars: {vars}}}}}}}}}}}");
    tenant.stack("prod", &with("{A: {}, B: {}}")).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &first), ("B", &second)]));
    tenant.stack("prod", &with("{B: {}}")).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("B", &second)]));
    Ok(())
}

#[tokio::test]
async fn a_suspended_stack_reads_and_writes_nothing() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &first)]).await?;
    tenant.stack("prod", "{defaultStore: app, components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}").await?;
    tenant.wait_ready("prod").await?;
    tenant.patch_stack("prod", json!({"spec": {"suspend": true}})).await?;
    let is_suspended = |status: &StackStatus| condition(status, SUSPENDED).is_some();
    let status = tenant.wait_status("prod", "it to be suspended", is_suspended).await?;
    assert_eq!(condition(&status, SUSPENDED).unwrap().status, "True");
    assert_eq!(condition(&status, READY).unwrap().status, "True");

    tenant.values("atmos.prod.db", &[("A", &second)]).await?;
    tenant.delete("Secret", "prod-db").await?;
    // A Stack beside it that reads the same key shows that the news arrived.
    tenant
        .stack("beside", "{name: prod, defaultStore: app, components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}")
        .await?;
    tenant.wait_secret("beside-db", secret(&[("A", &second)])).await?;
    assert_eq!(tenant.secret("prod-db").await?, None);
    assert_eq!(tenant.operator_writes("prod-db")?.len(), 1);

    tenant.patch_stack("prod", json!({"spec": {"suspend": null}})).await?;
    let status = tenant.wait_ready("prod").await?;
    assert!(condition(&status, SUSPENDED).is_none());
    assert_eq!(tenant.secret("prod-db").await?, secret(&[("A", &second)]));
    Ok(())
}
