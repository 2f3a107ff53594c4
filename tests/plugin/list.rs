//! `list`.

use serde_json::{Value, json};

use crate::fixture::{Fixture, PLUGIN, ready, run};

/// A Stack with a shared, a global and two instance secrets, and its status.
pub async fn payments(fixture: &Fixture) {
    fixture
        .stack(
            "prod",
            json!({
                "name": "plat-ue1-prod",
                "secrets": {"vars": {"API_KEY": {"store": "app", "description": "for all"}, "CA": {"store": "app", "scope": "global"}}},
                "components": {"terraform": {
                    "db": {"secrets": {"vars": {"PASSWORD": {"store": "app", "required": true}, "USER": {"store": "app"}}}},
                    "web": {},
                }},
            }),
        )
        .await;
    fixture
        .status(
            "prod",
            json!({
                "initialized": "2/4",
                "conditions": [ready("False", "ValueMissing", "1 required secret has no value: terraform/db PASSWORD")],
                "secrets": [
                    {"component": "", "name": "API_KEY", "state": "Initialized", "scope": "stack", "store": "Store/app",
                     "backendKey": "atmos.plat-ue1-prod#API_KEY", "origin": "stack", "version": "7"},
                    {"component": "", "name": "CA", "state": "Unknown", "scope": "global", "store": "Store/app",
                     "backendKey": "atmos#CA", "origin": "stack"},
                    {"component": "terraform/db", "name": "PASSWORD", "state": "Missing", "scope": "instance",
                     "store": "Store/app", "backendKey": "atmos.plat-ue1-prod.db#PASSWORD", "origin": "component",
                     "required": true, "reason": "ValueMissing", "message": "no value at atmos.plat-ue1-prod.db#PASSWORD"},
                    {"component": "terraform/db", "name": "USER", "state": "Initialized", "scope": "instance",
                     "store": "Store/app", "backendKey": "atmos.plat-ue1-prod.db#USER", "origin": "component"},
                ],
                "targets": [{"name": "prod-db", "component": "terraform/db", "ready": false, "reason": "ValueMissing",
                             "message": "waits for PASSWORD"}],
            }),
        )
        .await;
}

const TABLE: &str = "\
STACK           COMPONENT      SECRET     SCOPE      STORE       STATUS
plat-ue1-prod   *              API_KEY    stack      Store/app   initialized
*               *              CA         global     Store/app   unknown
plat-ue1-prod   terraform/db   PASSWORD   instance   Store/app   missing
plat-ue1-prod   terraform/db   USER       instance   Store/app   initialized
";

#[tokio::test]
async fn shows_what_the_status_says() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    fixture.run(&["list"]).await.is(0, TABLE, "");
    fixture.run(&["list", "-s", "prod"]).await.is(0, TABLE, "");
    fixture.run(&["list", "--stack", "plat-ue1-prod"]).await.is(0, TABLE, "");
    fixture.run(&["list", "-o", "name"]).await.is(0, "API_KEY\nCA\nPASSWORD\nUSER\n", "");
    fixture.run(&["list", "-o", "wide"]).await.is(
        0,
        "\
STACK           COMPONENT      SECRET     SCOPE      STORE       STATUS        REASON         CHANGED   BACKEND KEY                       DESCRIPTION
plat-ue1-prod   *              API_KEY    stack      Store/app   initialized   -              -         atmos.plat-ue1-prod#API_KEY       for all
*               *              CA         global     Store/app   unknown       -              -         atmos#CA                          -
plat-ue1-prod   terraform/db   PASSWORD   instance   Store/app   missing       ValueMissing   -         atmos.plat-ue1-prod.db#PASSWORD   -
plat-ue1-prod   terraform/db   USER       instance   Store/app   initialized   -              -         atmos.plat-ue1-prod.db#USER       -
",
        "",
    );
}

#[tokio::test]
async fn a_component_sees_its_own_and_what_is_shared() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    fixture.run(&["list", "-c", "web", "-o", "name"]).await.is(0, "API_KEY\nCA\n", "");
    fixture.run(&["list", "-c", "terraform/db", "-o", "name"]).await.is(0, "API_KEY\nCA\nPASSWORD\nUSER\n", "");
    fixture.run(&["list", "-c", "dv"]).await.is(
        2,
        "",
        "error: no component dv in Stack prod\nhint: did you mean db?\n",
    );
}

#[tokio::test]
async fn json_and_yaml_are_one_document() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    let as_json = fixture.run(&["list", "-o", "json"]).await;
    assert_eq!((as_json.code, as_json.stderr.as_str()), (0, ""));
    let rows = as_json.json();
    assert_eq!(
        rows[2],
        json!({
            "namespace": fixture.namespace, "stackObject": "prod", "stack": "plat-ue1-prod",
            "component": "terraform/db", "name": "PASSWORD", "scope": "instance", "store": "Store/app",
            "status": "missing", "reason": "ValueMissing",
            "message": "no value at atmos.plat-ue1-prod.db#PASSWORD", "required": true,
            "backendKey": "atmos.plat-ue1-prod.db#PASSWORD", "origin": "component",
        })
    );
    let as_yaml = fixture.run(&["list", "-o", "yaml"]).await;
    #[expect(clippy::disallowed_methods, reason = "an independent reader of what we print")]
    let read_back = serde_saphyr::from_str::<Value>(as_yaml.text()).expect("YAML");
    assert_eq!(read_back, rows);
}

#[tokio::test]
async fn nothing_declared_is_no_failure() {
    let fixture = Fixture::new("list").await;
    let said = format!("no declared secrets in namespace {}\n", fixture.namespace);
    fixture.run(&["list"]).await.is(0, "", &said);
    fixture.run(&["list", "-o", "json"]).await.is(0, "[]\n", &said);
    fixture.run(&["list", "-s", "none"]).await.is(
        3,
        "",
        &format!(
            "error: no Stack none in namespace {}\nhint: see `kubectl get stacks -A`; -n chooses another namespace\n",
            fixture.namespace
        ),
    );
}

#[tokio::test]
async fn all_namespaces_have_a_column() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    let listed = run(fixture.command(PLUGIN, &["list", "-A", "-s", "prod", "-c", "db"]), b"").await;
    assert_eq!(listed.code, 0, "{listed:?}");
    let header = listed.text().lines().next().expect("a header");
    assert!(header.starts_with("NAMESPACE"), "{header}");
    let row = listed.text().lines().find(|line| line.starts_with(&fixture.namespace)).expect("a row of this test");
    assert!(row.contains("plat-ue1-prod") && row.contains("API_KEY"), "{row}");
}

#[tokio::test]
async fn says_why_nothing_or_something_old_is_listed() {
    let fixture = Fixture::new("list").await;
    let name = format!("{}/prod", fixture.namespace);
    fixture.stack("prod", json!({})).await;
    fixture.run(&["list"]).await.is(
        0,
        "",
        &format!(
            "warning: Stack {name} has changes that the operator has not looked at yet\nno declared secrets in namespace {}\n",
            fixture.namespace
        ),
    );
    fixture.status("prod", json!({"conditions": [ready("False", "CatalogNotFound", "no Catalog base")]})).await;
    let listed = fixture.run(&["list", "-s", "prod"]).await;
    listed.is(
        0,
        "",
        &format!("warning: Stack {name}: CatalogNotFound: no Catalog base\nno declared secrets known for Stack prod\n"),
    );
}

#[tokio::test]
async fn what_was_never_checked_is_unknown() {
    let fixture = Fixture::new("list").await;
    fixture.stack("prod", json!({"secrets": {"vars": {"OLD": {"store": "app"}, "GONE": {"store": "app"}}}})).await;
    let entry = |name: &str| json!({"component": "", "name": name, "state": "Initialized", "scope": "stack", "store": "Store/app"});
    fixture
        .status("prod", json!({"conditions": [ready("True", "Synced", "")], "secrets": [entry("GONE"), entry("OLD")]}))
        .await;
    fixture.change("prod", json!({"secrets": {"vars": {"NEW": {"store": "app"}, "GONE": null}}})).await;
    fixture.run(&["list"]).await.is(
        0,
        "\
STACK   COMPONENT   SECRET   SCOPE   STORE       STATUS
prod    *           NEW      stack   Store/app   unknown
prod    *           OLD      stack   Store/app   initialized
",
        &format!("warning: Stack {}/prod has changes that the operator has not looked at yet\n", fixture.namespace),
    );
}

#[tokio::test]
async fn a_hostile_message_cannot_move_the_cursor() {
    let fixture = Fixture::new("list").await;
    fixture
        .stack("prod", json!({"secrets": {"vars": {"A": {"store": "app", "description": "x\u{1b}[2Jy\u{9b}1mz"}}}}))
        .await;
    fixture
        .status(
            "prod",
            json!({"conditions": [ready("True", "Synced", "\u{1b}]0;title\u{7}")],
                   "secrets": [{"component": "", "name": "A", "state": "Error", "scope": "stack", "store": "Store/\u{1b}c",
                                "reason": "Unreachable", "message": "line\nforged: \u{1b}[31m"}]}),
        )
        .await;
    for arguments in [
        &["list", "-o", "wide"][..],
        &["list", "-o", "json"],
        &["list", "-o", "yaml"],
        &["describe"],
        &["describe", "A"],
        &["validate"],
        &["validate", "-o", "json"],
    ] {
        let outcome = fixture.run(arguments).await;
        let shown = format!("{}{}", outcome.text(), outcome.stderr);
        assert!(shown.contains('A'), "{arguments:?}: {outcome:?}");
        let bad: Vec<char> = shown.chars().filter(|character| character.is_control() && *character != '\n').collect();
        assert!(bad.is_empty(), "{arguments:?} let {bad:?} through: {shown}");
        assert!(!shown.lines().any(|line| line.starts_with("forged")), "{arguments:?} lets a line be forged: {shown}");
    }
}

#[tokio::test]
async fn needs_no_right_but_to_read_stacks() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks"], "verbs": ["get", "list"]}]))
        .await;
    for verb in [&["list"][..], &["describe"], &["validate"]] {
        let outcome = fixture.run(verb).await;
        assert_ne!(outcome.code, 3, "{outcome:?}");
    }
}

#[tokio::test]
async fn no_right_to_list_is_said() {
    let fixture = Fixture::new("list").await.with_rights(json!([])).await;
    fixture.run(&["list"]).await.is(
        3,
        "",
        &format!(
            "error: could not list Stacks in namespace {}: you have no right to\nhint: `kubectl auth can-i --list` shows your rights\n",
            fixture.namespace
        ),
    );
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let fixture = Fixture::new("list").await;
    payments(&fixture).await;
    let script = format!("set -o pipefail; '{PLUGIN}' list -n {} | true", fixture.namespace);
    let outcome = run(fixture.command("bash", &["-c", &script]), b"").await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}
