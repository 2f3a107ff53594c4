//! Values that cannot be used as they are asked for, and Secrets that are no stores.

use atmos_secrets::api::status::{READY, STALLED, SecretState};
use atmos_secrets::api::{Reason, marks};
use serde_json::json;

use crate::harness::{Tenant, condition, secret, told_of};

#[tokio::test]
async fn a_path_into_plain_text_or_to_nothing_is_explained_without_the_value() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (text, password) = (tenant.canary(), tenant.plain_canary());
    tenant.store("app", "kubernetes: {}").await?;
    let document = json!({"user": "u", "password": password}).to_string();
    let broken = format!("{{\"password\": \"{password}");
    tenant
        .values("atmos.prod.db", &[("TEXT", &text), ("DOCUMENT", &document), ("BROKEN", &broken), ("GOOD", &text)])
        .await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db:
              secrets:
                vars:
                  GOOD: {}
                  PLAIN: {reference: TEXT, path: .password}
                  CUT: {reference: BROKEN, path: .password}
                  ABSENT: {reference: DOCUMENT, path: .pass, required: true}
                  BAD_PATH: {reference: DOCUMENT, path: 'pass[word'}
              targets: {good: {keys: {good: GOOD}}, bad: {}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_secret("good", secret(&[("good", &text)])).await?;
    let status = tenant.wait_reason("prod", Reason::InvalidSpec).await?;
    let (state, reason, words) = told_of(&status, "PLAIN");
    assert_eq!((state, reason), (SecretState::Error, Some(Reason::NotStructured)));
    assert!(words.contains("`path` is .password") && words.contains("atmos.prod.db#TEXT"), "{words}");
    assert_eq!(told_of(&status, "CUT").1, Some(Reason::NotStructured));
    let (state, reason, words) = told_of(&status, "ABSENT");
    assert_eq!((state, reason), (SecretState::Missing, Some(Reason::PathNotFound)));
    assert!(words.contains(".pass") && words.contains("user, password"), "{words}");
    let (state, reason, words) = told_of(&status, "BAD_PATH");
    assert_eq!((state, reason), (SecretState::Error, Some(Reason::InvalidSpec)));
    assert!(words.contains("`path` cannot be read"), "{words}");
    assert_eq!(condition(&status, STALLED).unwrap().reason, "InvalidSpec");
    assert_eq!(tenant.secret("bad").await?, None);
    Ok(())
}

#[tokio::test]
async fn required_and_default_may_not_meet_in_two_layers() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    tenant.store("app", "kubernetes: {}").await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            base: {metadata: {type: abstract}, secrets: {vars: {A: {default: x}}}}
            bad: {metadata: {inherits: [base]}, secrets: {vars: {A: {required: true}}}}
            good: {metadata: {inherits: [base]}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::InvalidSpec).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("terraform/bad A: it is `required` and has a `default`"), "{message}");
    assert_eq!(tenant.secret("prod-good").await?, secret(&[("A", "x")]));
    assert_eq!(tenant.secret("prod-bad").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_component_of_two_types_is_an_error_of_both() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.web", &[("A", &value)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform: {db: {secrets: {vars: {A: {}}}, targets: {one: {}}}, web: {secrets: {vars: {A: {}}}}}
          helmfile: {db: {secrets: {vars: {A: {}}}, targets: {two: {}}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::PathCollision).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("component db is declared under helmfile and terraform"), "{message}");
    assert_eq!(tenant.secret("prod-web").await?, secret(&[("A", &value)]));
    assert_eq!((tenant.secret("one").await?, tenant.secret("two").await?), (None, None));
    Ok(())
}

#[tokio::test]
async fn only_secrets_marked_as_stores_of_values_are_read() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [value, private] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    tenant.apply_secret("private", json!({}), "Opaque", &[("KEY", &private)]).await?;
    let marked = json!({"labels": {marks::VALUES: "true"}});
    tenant.apply_secret("login", marked, "kubernetes.io/basic-auth", &[("password", &private)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db: {secrets: {vars: {A: {}}}}
            unmarked: {secrets: {vars: {B: {backendKey: 'private#KEY', required: true}}}}
            typed: {secrets: {vars: {C: {backendKey: 'login#password', required: true}}}}
            target: {secrets: {vars: {D: {backendKey: 'prod-db#A', required: true}}}}
            elsewhere: {secrets: {vars: {E: {backendKey: 'kube-system/private#KEY', required: true}}}}
            climbing: {secrets: {vars: {F: {backendKey: '../../private#KEY', required: true}}}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_secret("prod-db", secret(&[("A", &value)])).await?;
    let status = tenant.sync("prod").await?;
    let namespace = &tenant.namespace;
    for (name, reason, part) in [
        ("B", Reason::Unsupported, format!("kubectl -n {namespace} label secret private {}=true", marks::VALUES)),
        ("C", Reason::Unsupported, format!("Secret {namespace}/login is not of type Opaque")),
        ("D", Reason::Unsupported, format!("Secret {namespace}/prod-db is a target of the operator")),
        ("E", Reason::InvalidKeyName, "kube-system/private#KEY".to_owned()),
        ("F", Reason::InvalidKeyName, "../../private#KEY".to_owned()),
    ] {
        let (state, found, words) = told_of(&status, name);
        assert_eq!((state, found), (SecretState::Error, Some(reason)), "{name}: {words}");
        assert!(words.contains(&part), "{part} is missing in: {words}");
    }
    let list = tenant.secrets().list(&kube::api::ListParams::default().labels(marks::MANAGED)).await?;
    let written: Vec<String> = list.items.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(written, ["prod-db"]);

    // Marked, it is read at once.
    tenant.patch_secret("private", json!({"metadata": {"labels": {marks::VALUES: "true"}}})).await?;
    tenant.wait_secret("prod-unmarked", secret(&[("B", &private)])).await?;
    Ok(())
}
