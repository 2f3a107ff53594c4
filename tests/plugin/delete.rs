//! `delete` on stores outside of files, with and without a terminal.

use serde_json::json;

use crate::fixture::Fixture;
use crate::store::{CANARY, DB_OBJECT, put, quickstart, stored};

fn deleted() -> String {
    format!(
        "deleted PASSWORD, for component terraform/db in stack plat-ue1-prod (Store/app {DB_OBJECT}#PASSWORD); it is still \
         declared\n"
    )
}

#[tokio::test]
async fn a_value_goes_and_the_others_stay() {
    let fixture = Fixture::new("delete").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes()), ("OTHER", b"kept")]).await;
    for word in ["delete", "rm", "unset"] {
        put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes()), ("OTHER", b"kept")]).await;
        fixture.run(&[word, "PASSWORD", "--yes"]).await.is(0, "", &deleted());
        assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await, None);
    }
    assert_eq!(stored(&fixture, DB_OBJECT, "OTHER").await.expect("a value"), b"kept");
    fixture.run(&["delete", "PASSWORD", "--yes", "--purge"]).await.is(
        0,
        "",
        &format!("PASSWORD has no value (Store/app {DB_OBJECT}#PASSWORD): nothing to delete\n"),
    );
    let local = fixture.run(&["delete", "PASSWORD", "--yes", "--local", "/tmp"]).await;
    assert_eq!(local.code, 3, "{local:?}");
    assert!(local.stderr.contains("Store/app holds no SOPS files: --local is not for it"), "{local:?}");
}

#[tokio::test]
async fn nothing_goes_without_being_asked_for() {
    let fixture = Fixture::new("delete").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    put(&fixture, "atmos.plat-ue1-prod", &[("API_KEY", CANARY.as_bytes())]).await;
    fixture.run(&["delete", "PASSWORD"]).await.is(
        2,
        "",
        "error: there is no terminal to ask whether the value may go\nhint: say so with --yes\n",
    );
    let question = format!(
        "Delete the value of PASSWORD, for component terraform/db in stack plat-ue1-prod (Store/app {DB_OBJECT}#PASSWORD)? [y/N] "
    );
    let steps = json!([["expect", question], ["send", "n\r"]]);
    let session = fixture.on_terminal(&["delete", "PASSWORD"], steps).await;
    assert!(session.code == 0 && session.output.ends_with("PASSWORD keeps its value\n"), "{session:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());
    let steps = json!([["expect", question], ["send", "y\r"]]);
    let session = fixture.on_terminal(&["delete", "PASSWORD"], steps).await;
    assert!(session.code == 0 && session.output.ends_with(&deleted()), "{session:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await, None);

    // What is shared names who has it.
    let steps = json!([["expect", "has the components terraform/db, terraform/web)? [y/N] "], ["send", "\r"]]);
    let session = fixture.on_terminal(&["delete", "API_KEY"], steps).await;
    assert!(session.code == 0 && session.output.ends_with("API_KEY keeps its value\n"), "{session:?}");
    let inherited = fixture.run(&["delete", "API_KEY", "-c", "db", "--yes"]).await;
    assert_eq!(inherited.code, 2);
    assert!(inherited.stderr.starts_with("error: NotOverridable: "), "{inherited:?}");
    assert!(stored(&fixture, "atmos.plat-ue1-prod", "API_KEY").await.is_some());
}

#[tokio::test]
async fn a_refusal_is_no_deletion() {
    let fixture = Fixture::new("delete").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    let fixture = fixture
        .with_rights(json!([
            {"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks", "stores"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]))
        .await;
    let denied = fixture.run(&["delete", "PASSWORD", "--yes"]).await;
    assert_eq!((denied.code, denied.text()), (3, ""), "{denied:?}");
    assert!(denied.stderr.contains("GrantMissing") && !denied.stderr.contains(CANARY), "{denied:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());
}

#[tokio::test]
async fn all_of_a_component_is_what_it_declares_itself() {
    let fixture = Fixture::new("delete").await;
    quickstart(&fixture).await;
    fixture.change("prod", json!({"components": {"terraform": {"db": {"secrets": {"vars": {"LOST": null}}}}}})).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes()), ("ENDPOINT", b"{}"), ("OTHER", b"kept")]).await;
    put(&fixture, "atmos.plat-ue1-prod", &[("API_KEY", CANARY.as_bytes())]).await;
    let open = fixture.run(&["delete", "--all", "--yes"]).await;
    assert_eq!(open.code, 2, "{open:?}");
    assert!(open.stderr.contains("name it with -c"), "{open:?}");
    assert_eq!(fixture.run(&["delete", "PASSWORD", "--all", "-c", "db", "--yes"]).await.code, 2);
    assert_eq!(fixture.run(&["delete", "-c", "db", "--yes"]).await.code, 2);

    let question = format!("Delete the values of HOST (Store/app {DB_OBJECT}#ENDPOINT), PASSWORD (");
    let steps = json!([["expect", question], ["send", "n\r"]]);
    let session = fixture.on_terminal(&["delete", "--all", "-c", "db"], steps).await;
    assert!(session.code == 0 && session.output.ends_with("all keep their values\n"), "{session:?}");
    let done = fixture.run(&["delete", "--all", "-c", "db", "--yes"]).await;
    assert_eq!((done.code, done.stderr.matches("deleted ").count()), (0, 2), "{done:?}");
    for (object, key, there) in [
        (DB_OBJECT, "PASSWORD", false),
        (DB_OBJECT, "ENDPOINT", false),
        (DB_OBJECT, "OTHER", true),
        ("atmos.plat-ue1-prod", "API_KEY", true),
    ] {
        assert_eq!(stored(&fixture, object, key).await.is_some(), there, "{object} {key}");
    }
    let again = fixture.run(&["delete", "--all", "-c", "db", "--yes"]).await;
    assert!(again.code == 0 && again.stderr.matches("nothing to delete").count() == 2, "{again:?}");
}
