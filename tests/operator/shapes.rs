//! What becomes of a value on its way into a Secret: transforms, documents, exposed versions.

use atmos_secrets::api::status::{STALLED, SecretState};
use atmos_secrets::api::{Reason, marks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Tenant, condition, secret, told_of};

#[tokio::test]
async fn transforms_and_documents_reach_their_targets() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [password, token, next] = [(); 3].map(|()| tenant.plain_canary());
    tenant.store("app", "kubernetes: {}").await?;
    let packed = STANDARD.encode(json!({"token": format!(" {token}\n")}).to_string());
    tenant.guard(&packed);
    let document = json!({"username": "app", "password": password, "port": 5432, "engine": "pg"}).to_string();
    tenant.values("atmos.prod.db", &[("PACKED", &packed), ("DOCUMENT", &document)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db:
              secrets:
                vars:
                  TOKEN: {reference: PACKED, required: true, transforms: [{base64Decode: {}}, {jsonExtract: {path: .token}}, {trim: {}}]}
                  HOSTS: {reference: PACKED, default: none, transforms: [{base64Decode: }, {jsonExtract: {path: .hosts}}]}
                  DOCUMENT: {required: true, extract: {exclude: [engine], rename: {username: user}, prefix: DB_}}
              targets:
                all: {}
                one: {keys: {token: TOKEN}}";
    tenant.stack("prod", spec).await?;
    let shaped = |password: &str| {
        secret(&[("TOKEN", &token), ("HOSTS", "none"), ("user", "app"), ("DB_password", password), ("DB_port", "5432")])
    };
    tenant.wait_secret("all", shaped(&password)).await?;
    let status = tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("one").await?, secret(&[("token", &token)]));
    assert_eq!(status.initialized.as_deref(), Some("3/3"));

    // One value of the document changes, and one of its names goes: it leaves the Secret at once.
    let document = json!({"username": "app", "password": next, "engine": "pg"}).to_string();
    tenant.values("atmos.prod.db", &[("PACKED", &packed), ("DOCUMENT", &document)]).await?;
    let fewer = secret(&[("TOKEN", &token), ("HOSTS", "none"), ("user", "app"), ("DB_password", &next)]);
    tenant.wait_secret("all", fewer.clone()).await?;

    // The document is no document any more: its last good keys stay, all of them.
    tenant.values("atmos.prod.db", &[("PACKED", &packed), ("DOCUMENT", &next)]).await?;
    let status = tenant.wait_reason("prod", Reason::NotStructured).await?;
    assert_eq!(told_of(&status, "DOCUMENT").0, SecretState::Error);
    assert_eq!(tenant.secret("all").await?, fewer);
    tenant.values("atmos.prod.db", &[("PACKED", &packed), ("DOCUMENT", &document)]).await?;
    tenant.wait_ready("prod").await?;
    Ok(())
}

#[tokio::test]
async fn a_step_that_fails_is_told_by_number_and_offset() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.plain_canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant
        .values(
            "atmos.prod.db",
            &[("VALUE", &format!("{value}\u{1}")), ("DOCUMENT", &format!("{{\"a b\": \"{value}\"}}"))],
        )
        .await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db:
              secrets:
                vars:
                  GOOD: {reference: VALUE, transforms: [{replace: {from: \"\\u0001\", to: ''}}]}
                  BAD: {reference: VALUE, default: unused, transforms: [{trim: {}}, {hexDecode: {}}]}
                  GZIP: {reference: VALUE, transforms: [{gunzip: {}}]}
                  WRONG: {reference: VALUE, transforms: [{split: {separator: ',', index: 7}}]}
                  NAMES: {reference: DOCUMENT, extract: {}}
              targets: {good: {keys: {good: GOOD}}, bad: {}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_secret("good", secret(&[("good", &value)])).await?;
    let status = tenant.wait_reason("prod", Reason::TransformFailed).await?;
    for (name, reason, part) in [
        (
            "BAD",
            Reason::TransformFailed,
            "`transforms[1]` (hexDecode) cannot be done: its input has something else than",
        ),
        ("GZIP", Reason::TransformFailed, "`transforms[0]` (gunzip) cannot be done: its input is no gzip"),
        (
            "WRONG",
            Reason::TransformFailed,
            "`transforms[0]` (split) cannot be done: its input has no part of that index",
        ),
        ("NAMES", Reason::InvalidKeyName, "the document's name `a b` gives no key of a Secret"),
    ] {
        let (state, found, words) = told_of(&status, name);
        assert_eq!((state, found), (SecretState::Error, Some(reason)), "{name}: {words}");
        assert!(words.contains(part) && words.contains("the value at atmos.prod.db#"), "{words}");
    }
    assert!(condition(&status, STALLED).is_none(), "a better value cures it");
    assert_eq!(tenant.secret("bad").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_key_of_a_document_that_is_declared_too_holds_that_target_alone() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.plain_canary();
    tenant.store("app", "kubernetes: {}").await?;
    let with = |document: &str| [("A".to_owned(), value.clone()), ("DOCUMENT".to_owned(), document.to_owned())];
    let put = async |document: &str| {
        let values = with(document);
        let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        tenant.values("atmos.prod.db", &values).await
    };
    put("{\"A\": \"other\"}").await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db:
              secrets: {vars: {A: {}, DOCUMENT: {extract: {}}}}
              targets: {both: {}, one: {keys: {A: A}}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_secret("one", secret(&[("A", &value)])).await?;
    let status = tenant.wait_reason("prod", Reason::InvalidTarget).await?;
    let target = status.targets.iter().find(|target| target.name == "both").unwrap();
    let words = target.message.as_deref().unwrap_or_default();
    assert!(words.contains("the document terraform/db DOCUMENT and terraform/db A both have the key A"), "{words}");
    assert!(condition(&status, STALLED).is_none(), "a change of the document cures it");
    assert_eq!(tenant.secret("both").await?, None);

    put("{\"B\": \"other\"}").await?;
    tenant.wait_secret("both", secret(&[("A", &value), ("B", "other")])).await?;
    tenant.wait_ready("prod").await?;

    // A Secret that is handed over may hold what the document brings, and nothing else.
    tenant
        .patch_stack("prod", json!({"spec": {"components": {"terraform": {"db": {"targets": {"taken": {}}}}}}}))
        .await?;
    tenant.wait_ready("prod").await?;
    tenant
        .apply_secret("adopted", json!({"annotations": {marks::ADOPT: "prod"}}), "Opaque", &[("B", "x"), ("C", "x")])
        .await?;
    tenant
        .patch_stack("prod", json!({"spec": {"components": {"terraform": {"db": {"targets": {"adopted": {}}}}}}}))
        .await?;
    let status = tenant.wait_reason("prod", Reason::OwnerConflict).await?;
    let target = status.targets.iter().find(|target| target.name == "adopted").unwrap();
    let words = target.message.as_deref().unwrap_or_default();
    assert!(words.contains("no declaration names its keys C;"), "{words}");
    put("{\"B\": \"other\", \"C\": \"more\"}").await?;
    tenant.wait_secret("adopted", secret(&[("A", &value), ("B", "other"), ("C", "more")])).await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_shaped_is_told_before_anything_is_read() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.db", &[("A", &value)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            base: {metadata: {type: abstract}, secrets: {vars: {MIXED: {path: .a}}}}
            db:
              metadata: {inherits: [base]}
              secrets:
                vars:
                  A: {}
                  PATTERN: {reference: A, transforms: [{regexReplace: {pattern: '(', replacement: ''}}]}
                  MIXED: {reference: A, extract: {}}
                  OLD: {reference: A, expose: [{version: '1', key: OLDER}]}
              targets: {good: {keys: {A: A}}, exposed: {keys: {now: OLD, before: OLDER}}}";
    tenant.stack("prod", spec).await?;
    tenant.wait_secret("good", secret(&[("A", &value)])).await?;
    let status = tenant.wait_reason("prod", Reason::InvalidSpec).await?;
    for (name, reason, part) in [
        ("PATTERN", Reason::InvalidSpec, "`transforms[0]` cannot be used: `pattern` is no regular expression"),
        ("MIXED", Reason::InvalidSpec, "it has `extract`, which brings its own keys, and `path`"),
        (
            "OLD",
            Reason::Unsupported,
            "version 1 for key OLDER: `expose` is set, but Store/app of kind kubernetes keeps no versions",
        ),
    ] {
        let (state, found, words) = told_of(&status, name);
        assert_eq!((state, found), (SecretState::Error, Some(reason)), "{name}: {words}");
        assert!(words.contains(part), "{words}");
    }
    assert!(condition(&status, STALLED).is_some());
    assert_eq!(status.secrets.len(), 4, "an exposed version has no entry of its own");
    assert_eq!(tenant.secret("exposed").await?, None);
    Ok(())
}
