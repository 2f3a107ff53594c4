//! Targets that cannot be written as they stand.

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, STALLED};
use serde_json::json;

use crate::harness::{Tenant, condition, secret};

/// A tenant whose store has A and B for component `db` of Stack `prod`.
async fn tenant_with_values() -> anyhow::Result<(Tenant, String)> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &value)]).await?;
    Ok((tenant, value))
}

/// Applies a Stack whose component `db` has these targets, and `good` with A.
async fn apply(tenant: &Tenant, vars: &str, targets: &str) -> anyhow::Result<()> {
    let spec = format!(
        "{{defaultStore: app, components: {{terraform: {{db: {{secrets: {{vars: {vars}}}, targets: {{good: {{keys: {{a: A}}}}, {targets}}}}}}}}}}}"
    );
    tenant.stack("prod", &spec).await
}

/// Waits for the reason, looks for words in the message, and at the target beside it.
async fn expect(tenant: &Tenant, reason: Reason, words: &[&str], value: &str) -> anyhow::Result<()> {
    let status = tenant.wait_reason("prod", reason).await?;
    let message = &condition(&status, READY).unwrap().message;
    for part in words {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(tenant.secret("good").await?, secret(&[("a", value)]));
    Ok(())
}

#[tokio::test]
async fn another_type_leaves_the_secret_as_it_is() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    apply(&tenant, "{A: {}, B: {}}", "target: {keys: {username: A}}").await?;
    tenant.wait_ready("prod").await?;
    apply(&tenant, "{A: {}, B: {}}", "target: {type: kubernetes.io/basic-auth, keys: {username: B}}").await?;
    let words = ["target target", "type Opaque, wanted is kubernetes.io/basic-auth", "rename the target, or delete"];
    expect(&tenant, Reason::TargetImmutable, &words, &value).await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("username", &value)]));
    assert_eq!(tenant.operator_writes("target")?.len(), 1);

    // As the message says.
    tenant.delete("Secret", "target").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secrets().get("target").await?.type_.as_deref(), Some("kubernetes.io/basic-auth"));
    Ok(())
}

#[tokio::test]
async fn an_immutable_secret_is_left_as_it_is() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    apply(&tenant, "{A: {}, B: {}}", "target: {keys: {b: B}}").await?;
    tenant.wait_ready("prod").await?;
    tenant.patch_secret("target", json!({"immutable": true})).await?;
    let rotated = tenant.canary();
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &rotated)]).await?;
    expect(&tenant, Reason::TargetImmutable, &["target target: the Secret is immutable", "delete the Secret"], &value)
        .await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("b", &value)]));
    tenant.delete("Secret", "target").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[("b", &rotated)]));
    Ok(())
}

#[tokio::test]
async fn a_type_without_its_keys_is_no_target() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    for (target, words) in [
        ("{type: kubernetes.io/tls, keys: {tls.crt: A}}", "type kubernetes.io/tls needs the keys tls.crt and tls.key"),
        ("{type: kubernetes.io/basic-auth}", "type kubernetes.io/basic-auth needs the key username or password"),
        ("{type: kubernetes.io/ssh-auth}", "type kubernetes.io/ssh-auth needs the key ssh-privatekey"),
        (
            "{type: kubernetes.io/dockerconfigjson}",
            "type kubernetes.io/dockerconfigjson needs the key .dockerconfigjson",
        ),
    ] {
        apply(&tenant, "{A: {}, B: {}}", &format!("target: {target}")).await?;
        expect(&tenant, Reason::InvalidTarget, &["target target: a Secret of", words], &value).await?;
        let status = tenant.status("prod").await?;
        assert_eq!(condition(&status, STALLED).unwrap().reason, "InvalidTarget");
        assert_eq!(tenant.operator_writes("target")?, []);
    }
    Ok(())
}

#[tokio::test]
async fn a_docker_configuration_must_be_json() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    apply(&tenant, "{A: {}, B: {}}", "target: {type: kubernetes.io/dockerconfigjson, keys: {.dockerconfigjson: B}}")
        .await?;
    expect(&tenant, Reason::InvalidTarget, &["target target", "JSON"], &value).await?;
    let password = tenant.plain_canary();
    let document = json!({"auths": {"registry.example.com": {"password": password}}}).to_string();
    tenant.values("atmos.prod.db", &[("A", &value), ("B", &document)]).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("target").await?, secret(&[(".dockerconfigjson", &document)]));
    Ok(())
}

#[tokio::test]
async fn keys_that_no_declaration_declares_are_named() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    apply(&tenant, "{A: {}, B: {declared: false}}", "target: {keys: {x: NOWHERE, y: B}}").await?;
    expect(&tenant, Reason::NotDeclared, &["target target", "key x names NOWHERE", "key y names B"], &value).await
}

#[tokio::test]
async fn two_names_with_one_key_are_named() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    apply(&tenant, "{A: {key: same}, B: {key: same}}", "target: {}").await?;
    expect(&tenant, Reason::InvalidTarget, &["target target: A and B both have the key same"], &value).await
}

#[tokio::test]
async fn names_that_kubernetes_does_not_take_are_explained() -> anyhow::Result<()> {
    let (tenant, value) = tenant_with_values().await?;
    // A NAME that the schema's characters allow.
    apply(&tenant, "{A: {}, ..B: {}}", "target: {}").await?;
    expect(&tenant, Reason::InvalidKeyName, &["..B", "not legal"], &value).await?;
    // A key in the Secret.
    apply(&tenant, "{A: {}, B: {key: ..}}", "target: {}").await?;
    expect(&tenant, Reason::InvalidKeyName, &["target target", "`..` is no key of a Secret"], &value).await?;
    // A Secret that takes its name from a component.
    let spec = "
        defaultStore: app
        components:
          terraform:
            db: {secrets: {vars: {A: {}}}, targets: {good: {keys: {a: A}}}}
            web.: {secrets: {vars: {A: {}}}}";
    tenant.stack("prod", spec).await?;
    expect(&tenant, Reason::InvalidTarget, &["`prod-web.` is no name of a Secret"], &value).await
}
