//! SOPS files as the source of values: what arrives, what is asked again, and what stays when a file goes bad.

use std::collections::BTreeMap;

use atmos_secrets::api::Reason;
use atmos_secrets::api::status::{READY, SecretState};
use serde_json::json;

use crate::harness::{Tenant, condition, secret};
use crate::requests;
use crate::sops_files::{AgeKey, encrypt};

/// A Stack whose one target needs a file of its own, called `NAME.orders-db.enc.yaml`.
const ORDERS: &str = "
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {sops: files, required: true}}}}}}
";

/// Puts files into an object that a Store reads.
pub async fn put_files(tenant: &Tenant, kind: &str, name: &str, files: &[(&str, &str)]) -> anyhow::Result<()> {
    if kind == "Secret" {
        return tenant.apply_secret(name, json!({}), "Opaque", files).await;
    }
    let data: BTreeMap<&str, &str> = files.iter().copied().collect();
    tenant.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})).await
}

async fn put_key(tenant: &Tenant, key: &AgeKey) -> anyhow::Result<()> {
    tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
    tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", &key.identity)]).await
}

/// A Store of ConfigMap `files`, opened with key `key.txt` of Secret `age`.
async fn put_store(tenant: &Tenant) -> anyhow::Result<()> {
    tenant.store("files", "sops: {source: {configMaps: [files]}, age: {keys: [{secret: age, key: key.txt}]}}").await
}

pub async fn file(values: &[(&str, &str)], key: &AgeKey) -> anyhow::Result<String> {
    let plain: BTreeMap<&str, &str> = values.iter().copied().collect();
    encrypt("secrets.enc.yaml", &serde_json::to_string(&plain)?, &[key]).await
}

#[tokio::test]
async fn every_scope_arrives_from_config_maps_and_from_secrets() -> anyhow::Result<()> {
    for kind in ["ConfigMap", "Secret"] {
        let tenant = Tenant::new().await?;
        let key = AgeKey::generate();
        let (own, stack, global) = (tenant.canary(), tenant.canary(), tenant.canary());
        put_key(&tenant, &key).await?;
        let field = if kind == "Secret" { "secrets" } else { "configMaps" };
        let source = format!("{{source: {{{field}: [files]}}, age: {{keys: [{{secret: age, key: key.txt}}]}}}}");
        tenant.store("files", &format!("sops: {source}")).await?;
        let files = [
            ("prod.orders-db.enc.yaml", file(&[("DB_PASSWORD", &own)], &key).await?),
            ("prod.enc.yaml", file(&[("API_KEY", &stack)], &key).await?),
            ("global.enc.yaml", file(&[("ROOT_CA", &global)], &key).await?),
        ];
        put_files(&tenant, kind, "files", &files.each_ref().map(|(name, text)| (*name, text.as_str()))).await?;
        tenant
            .stack(
                "prod",
                "
                secrets: {vars: {API_KEY: {sops: files}, ROOT_CA: {sops: files, scope: global}}}
                components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {sops: files, required: true}}}}}}
                ",
            )
            .await?;
        let status = tenant.wait_ready("prod").await?;
        assert_eq!(status.initialized.as_deref(), Some("3/3"), "{kind}");
        let wanted = secret(&[("API_KEY", &stack), ("DB_PASSWORD", &own), ("ROOT_CA", &global)]);
        assert_eq!(tenant.secret("prod-orders-db").await?, wanted, "{kind}");
        tenant.wait_store("files", Reason::Connected).await?;
        let store = tenant.stores().get("files").await?.status.unwrap_or_default();
        assert_eq!(store.recipients, std::slice::from_ref(&key.recipient), "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_file_reaches_its_users_and_nobody_else() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let key = AgeKey::generate();
    put_key(&tenant, &key).await?;
    put_store(&tenant).await?;
    let (first, second, other) = (tenant.canary(), tenant.canary(), tenant.canary());
    let before = file(&[("DB_PASSWORD", &first)], &key).await?;
    put_files(&tenant, "ConfigMap", "files", &[("prod.orders-db.enc.yaml", &before)]).await?;
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.other.api", &[("TOKEN", &other)]).await?;
    tenant.stack("prod", ORDERS).await?;
    tenant
        .stack("other", "{defaultStore: app, components: {terraform: {api: {secrets: {vars: {TOKEN: {}}}}}}}")
        .await?;
    tenant.wait_ready("prod").await?;
    tenant.wait_ready("other").await?;
    // What was applied in one go may be synced more than once; only what comes after all that is looked at.
    tenant.sync("prod").await?;
    tenant.sync("other").await?;

    let mark = tenant.cluster.audit_mark()?;
    let after = file(&[("DB_PASSWORD", &second)], &key).await?;
    put_files(&tenant, "ConfigMap", "files", &[("prod.orders-db.enc.yaml", &after)]).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &second)])).await?;
    tenant.sync("prod").await?;
    let requests = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    let touched: Vec<_> =
        ["other", "other-api", "atmos.other.api"].iter().flat_map(|name| requests::about(&requests, name)).collect();
    assert!(touched.is_empty(), "a bystander was asked for: {touched:?}");
    let writes = requests::about(&requests, "prod-orders-db").into_iter().filter(|event| requests::is_write(event));
    assert_eq!(writes.count(), 1, "one change is one write: {:?}", requests::tally(&requests));
    assert_eq!(tenant.secret("other-api").await?, secret(&[("TOKEN", &other)]));
    Ok(())
}

#[tokio::test]
async fn a_source_a_file_and_a_key_may_come_later() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let key = AgeKey::generate();
    let password = tenant.canary();
    put_store(&tenant).await?;
    tenant.stack("prod", ORDERS).await?;
    let status = tenant.wait_reason("prod", Reason::SourceNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains(&format!("Secret {}/age", tenant.namespace)), "{message}");

    put_key(&tenant, &key).await?;
    let names_the_source = |status: &atmos_secrets::api::StackStatus| {
        condition(status, READY).is_some_and(|ready| {
            ready.reason == "SourceNotFound" && ready.message.contains(&format!("ConfigMap {}/files", tenant.namespace))
        })
    };
    tenant.wait_status("prod", "the absent ConfigMap to be named", names_the_source).await?;
    tenant.wait_store("files", Reason::SourceNotFound).await?;

    let elsewhere = file(&[("DB_PASSWORD", &password)], &key).await?;
    put_files(&tenant, "ConfigMap", "files", &[("other.orders-db.enc.yaml", &elsewhere)]).await?;
    let status = tenant.wait_reason("prod", Reason::ValueMissing).await?;
    assert_eq!(status.secrets[0].state, SecretState::Missing);
    let message = status.secrets[0].message.clone().unwrap();
    assert!(message.contains("there is no file prod.orders-db.enc.yaml"), "{message}");
    tenant.wait_store("files", Reason::Connected).await?;

    let without = file(&[("SOMETHING", "else")], &key).await?;
    put_files(&tenant, "ConfigMap", "files", &[("prod.orders-db.enc.yaml", &without)]).await?;
    let names_the_key = |status: &atmos_secrets::api::StackStatus| {
        let message = status.secrets[0].message.as_deref().unwrap_or_default();
        message.contains("no value at prod.orders-db.enc.yaml DB_PASSWORD")
    };
    let status = tenant.wait_status("prod", "the absent key to be named", names_the_key).await?;
    assert_eq!(condition(&status, READY).unwrap().reason, "ValueMissing");
    assert_eq!(tenant.secret("prod-orders-db").await?, None, "nothing is written without its required value");

    let with = file(&[("DB_PASSWORD", &password)], &key).await?;
    put_files(&tenant, "ConfigMap", "files", &[("prod.orders-db.enc.yaml", &with)]).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn a_wrong_age_key_is_named_and_the_right_one_takes_effect() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (right, wrong) = (AgeKey::generate(), AgeKey::generate());
    let (first, second) = (tenant.canary(), tenant.canary());
    put_key(&tenant, &wrong).await?;
    put_store(&tenant).await?;
    put_files(
        &tenant,
        "ConfigMap",
        "files",
        &[("prod.orders-db.enc.yaml", &file(&[("DB_PASSWORD", &first)], &right).await?)],
    )
    .await?;
    tenant.stack("prod", ORDERS).await?;
    let status = tenant.wait_reason("prod", Reason::NoMatchingKey).await?;
    let message = status.secrets[0].message.clone().unwrap();
    assert!(message.contains(&right.recipient), "the recipient is named: {message}");
    assert!(message.contains("age/key.txt"), "the key held is named: {message}");
    assert!(!message.contains("AGE-SECRET-KEY"), "{message}");
    assert_eq!(tenant.secret("prod-orders-db").await?, None);

    put_key(&tenant, &right).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &first)]));

    // The key rotates before the file does: the last good Secret stays until both fit again.
    let next = AgeKey::generate();
    put_key(&tenant, &next).await?;
    tenant.wait_reason("prod", Reason::NoMatchingKey).await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &first)]));
    let rotated = file(&[("DB_PASSWORD", &second)], &next).await?;
    put_files(&tenant, "ConfigMap", "files", &[("prod.orders-db.enc.yaml", &rotated)]).await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &second)])).await?;
    tenant.wait_ready("prod").await?;

    tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", "not an identity")]).await?;
    tenant.wait_reason("prod", Reason::AuthFailed).await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &second)]));
    Ok(())
}

#[tokio::test]
async fn every_broken_file_is_told_and_leaves_the_last_good_secret() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let (key, stranger) = (AgeKey::generate(), AgeKey::generate());
    let (password, user, healthy) = (tenant.canary(), tenant.plain_canary(), tenant.canary());
    put_key(&tenant, &key).await?;
    tenant
        .store(
            "files",
            &format!(
                "sops: {{source: {{configMaps: [files, more]}}, age: {{keys: [{{secret: age, key: key.txt}}]}}, \
                 allowedRecipients: ['{}']}}",
                key.recipient
            ),
        )
        .await?;
    let good = file(&[("DB_PASSWORD", &password), ("DB_USER", &user)], &key).await?;
    let beside = file(&[("TOKEN", &healthy)], &key).await?;
    let name = "prod.orders-db.enc.yaml";
    let restore = async |more: &[(&str, &str)]| -> anyhow::Result<()> {
        put_files(&tenant, "ConfigMap", "files", &[(name, &good), ("other.api.enc.yaml", &beside)]).await?;
        put_files(&tenant, "ConfigMap", "more", more).await
    };
    restore(&[]).await?;
    let vars = "{DB_PASSWORD: {sops: files, required: true}, DB_USER: {sops: files}}";
    tenant.stack("prod", &format!("components: {{terraform: {{orders-db: {{secrets: {{vars: {vars}}}}}}}}}")).await?;
    tenant.stack("other", "components: {terraform: {api: {secrets: {vars: {TOKEN: {sops: files}}}}}}").await?;
    tenant.wait_ready("prod").await?;
    let bystander = tenant.wait_ready("other").await?;

    let without_user: Vec<&str> = good.lines().filter(|line| !line.starts_with("DB_USER:")).collect();
    let encrypted = |key: &str| good.lines().find(|line| line.starts_with(key)).unwrap().split_once(": ").unwrap().1;
    let swapped = good.replace(encrypted("DB_PASSWORD"), encrypted("DB_USER"));
    let plain = format!("DB_PASSWORD: {}\nDB_USER: {user}\n", tenant.plain_canary());
    let both = encrypt(name, &format!("{{DB_PASSWORD: {user}, DB_USER: {user}}}"), &[&key, &stranger]).await?;
    let cut = good.split("sops:").next().unwrap();
    let broken = [
        (without_user.join("\n"), Reason::MacMismatch, "MAC does not match"),
        (swapped, Reason::DecryptFailed, "DB_PASSWORD"),
        (plain, Reason::NotEncrypted, "the file is not encrypted"),
        (both, Reason::AccessDenied, stranger.recipient.as_str()),
        (cut.to_owned(), Reason::NotEncrypted, "restore its end"),
        ("a: [".to_owned(), Reason::DecryptFailed, "cannot read the file as YAML"),
    ];
    for (text, reason, says) in &broken {
        put_files(&tenant, "ConfigMap", "files", &[(name, text), ("other.api.enc.yaml", &beside)]).await?;
        let status = tenant.wait_reason("prod", *reason).await?;
        let entry = status.secrets.iter().find(|entry| entry.name == "DB_PASSWORD").unwrap();
        assert_eq!((entry.state, entry.reason), (SecretState::Error, Some(*reason)), "{reason}");
        let message = entry.message.clone().unwrap();
        assert!(message.contains(says) && message.contains(name), "{reason}: {message}");
        let kept = secret(&[("DB_PASSWORD", &password), ("DB_USER", &user)]);
        assert_eq!(tenant.secret("prod-orders-db").await?, kept, "{reason}: the last good bytes stay");
        restore(&[]).await?;
        tenant.wait_ready("prod").await?;
    }

    restore(&[(name, &good)]).await?;
    let status = tenant.wait_reason("prod", Reason::PathCollision).await?;
    let message = status.secrets[0].message.clone().unwrap();
    let objects = ["files", "more"].map(|object| format!("ConfigMap {}/{object}", tenant.namespace));
    assert!(objects.iter().all(|object| message.contains(object.as_str())), "both objects are named: {message}");
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password), ("DB_USER", &user)]));
    restore(&[]).await?;
    tenant.wait_ready("prod").await?;

    let writes: Vec<_> = tenant.operator_writes("prod-orders-db")?.into_iter().map(|event| event.verb).collect();
    assert_eq!(writes, ["create"], "what went bad and was restored needed no write");
    assert_eq!(tenant.status("other").await?, bystander, "the other Stack of the same Store saw nothing");
    assert_eq!(tenant.secret("other-api").await?, secret(&[("TOKEN", &healthy)]));
    Ok(())
}
