//! `set`, with and without a terminal.

use std::time::Duration;

use serde_json::json;

use crate::fixture::Fixture;
use crate::store::{CANARY, DB_OBJECT, put, quickstart, stored};

const PROMPT: &str = "Value of PASSWORD (not shown): ";

fn wrote_password() -> String {
    format!("set PASSWORD, for component terraform/db in stack plat-ue1-prod (Store/app {DB_OBJECT}#PASSWORD)\n")
}

#[tokio::test]
async fn every_byte_of_stdin_is_the_value() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    fixture.run_with_input(&["set", "PASSWORD", "--stdin"], b"a\n\n").await.is(0, "", &wrote_password());
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), b"a\n\n");
    for (arguments, input, kept) in [
        (&["set", "PASSWORD", "--stdin", "--trim", "-f"][..], &b"a\n\n"[..], &b"a\n"[..]),
        (&["add", "PASSWORD", "--stdin", "--force", "-c", "db"], b"\x00\xff\r\n", b"\x00\xff\r\n"),
        (&["set", "PASSWORD", "--stdin", "--force"], b"", b""),
    ] {
        fixture.run_with_input(arguments, input).await.is(0, "", &wrote_password());
        assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), kept, "{arguments:?}");
    }
    let read = fixture.run(&["get", "PASSWORD", "--mask=false", "-r"]).await;
    assert_eq!((read.code, read.text()), (0, ""));
}

#[tokio::test]
async fn a_file_is_the_value() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    let file = fixture.home().join("value");
    std::fs::write(&file, format!("{CANARY}\n")).expect("a file");
    let path = file.to_str().expect("text");
    fixture.run(&["set", "API_KEY", "--file", path]).await.is(
        0,
        "",
        "set API_KEY, shared by all components of stack plat-ue1-prod (Store/app atmos.plat-ue1-prod#API_KEY)\n",
    );
    assert_eq!(
        stored(&fixture, "atmos.plat-ue1-prod", "API_KEY").await.expect("a value"),
        format!("{CANARY}\n").as_bytes()
    );
    fixture.run(&["set", "CA", "--file", path, "--trim"]).await.is(
        0,
        "",
        "set CA, shared by all stacks (Store/app atmos#CA)\n",
    );
    assert_eq!(stored(&fixture, "atmos", "CA").await.expect("a value"), CANARY.as_bytes());
    fixture.run(&["set", "CA", "--file", "/does/not/exist", "-f"]).await.is(
        2,
        "",
        "error: could not read /does/not/exist: entity not found\n",
    );
}

#[tokio::test]
async fn a_value_on_the_command_line_is_refused_and_not_repeated() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    let inline = format!("PASSWORD={CANARY}");
    let flag = format!("--value={CANARY}");
    let stdin = format!("--stdin={CANARY}");
    let trailing = format!("-{CANARY}");
    let long = format!("--{CANARY}");
    for arguments in [
        &["set", &inline][..],
        &["set", "PASSWORD", CANARY],
        &["set", "PASSWORD", "x", CANARY, "--stdin"],
        &["set", "PASSWORD", &flag],
        &["set", "PASSWORD", "--value", CANARY],
        &["set", "PASSWORD", &stdin],
        &["set", "PASSWORD", "--", CANARY],
        &["set", "PASSWORD", &trailing],
        &["set", "PASSWORD", &long],
        &["add", &long],
        &["set", "PASSWORD", "--force", CANARY],
    ] {
        let refused = fixture.run(arguments).await;
        assert_eq!((refused.code, refused.text()), (2, ""), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.contains(CANARY), "{arguments:?} repeats the value: {}", refused.stderr);
    }
    let refused = fixture.run(&["set", &inline]).await;
    assert!(
        refused.stderr.contains("history") && refused.stderr.contains("`kubectl atmos-secret set PASSWORD`"),
        "{refused:?}"
    );
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await, None);
    let mistyped = fixture.run(&["set", "PASSWORD", "--stdn"]).await;
    assert!(mistyped.stderr.ends_with("hint: did you mean --stdin?\n"), "{mistyped:?}");
}

#[tokio::test]
async fn a_value_is_not_overwritten_by_accident() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", b"old"), ("OTHER", b"kept")]).await;
    fixture.run_with_input(&["set", "PASSWORD", "--stdin"], CANARY.as_bytes()).await.is(
        2,
        "",
        "error: PASSWORD already has a value in Store/app\nhint: overwrite it with --force\n",
    );
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), b"old");
    fixture.run_with_input(&["set", "PASSWORD", "--stdin", "--force"], CANARY.as_bytes()).await.is(
        0,
        "",
        &wrote_password(),
    );
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());
    assert_eq!(stored(&fixture, DB_OBJECT, "OTHER").await.expect("a value"), b"kept");
}

#[tokio::test]
async fn what_a_component_only_inherits_is_not_set_for_it() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    fixture.run_with_input(&["set", "API_KEY", "-c", "db", "--stdin"], b"x").await.is(
        2,
        "",
        &format!(
            "error: NotOverridable: component db only inherits API_KEY from stack, and its value is shared by all components of stack plat-ue1-prod\n\
             hint: to change it for all, leave out -c and ATMOS_COMPONENT; to give this component a value of its own, declare API_KEY under the component in Stack {}/prod\n",
            fixture.namespace
        ),
    );
    let undeclared = fixture.run_with_input(&["set", "APIKEY", "--stdin"], b"x").await;
    assert_eq!(undeclared.code, 2);
    assert!(
        undeclared.stderr.starts_with("error: NotDeclared: ") && undeclared.stderr.contains("did you mean API_KEY?")
    );
    assert_eq!(stored(&fixture, "atmos.plat-ue1-prod", "API_KEY").await, None);
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    fixture.run(&["set", "PASSWORD"]).await.is(
        2,
        "",
        "error: there is no terminal to ask for the value\nhint: give the value with --stdin or --file\n",
    );
    let denied = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks", "stores"], "verbs": ["get", "list"]}]))
        .await
        .run_with_input(&["set", "PASSWORD", "--stdin"], CANARY.as_bytes())
        .await;
    assert_eq!(denied.code, 3, "{denied:?}");
    assert!(!denied.stderr.contains(CANARY), "{denied:?}");
}

#[tokio::test]
async fn the_prompt_shows_nothing_of_the_value() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    let typed = format!("{CANARY}\r");
    let steps = json!([["expect", PROMPT], ["echo", false], ["send", typed]]);
    let session = fixture.on_terminal(&["set", "PASSWORD"], steps).await;
    assert_eq!(session.code, 0, "{session:?}");
    assert!(session.restored && !session.output.contains(CANARY), "{session:?}");
    assert!(session.output.ends_with(&wrote_password()), "{session:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());

    let overwrite = "PASSWORD already has a value in Store/app. Overwrite it? [y/N] ";
    let steps = json!([["expect", overwrite], ["send", "n\r"]]);
    let session = fixture.on_terminal(&["set", "PASSWORD"], steps).await;
    assert!(session.code == 0 && session.output.ends_with("PASSWORD keeps its value\n"), "{session:?}");

    let steps = json!([["expect", overwrite], ["send", "y\r"], ["expect", PROMPT], ["echo", false], ["send", "\r"]]);
    let session = fixture.on_terminal(&["set", "PASSWORD"], steps).await;
    assert!(session.code == 2 && session.output.contains("error: an empty value was typed"), "{session:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());

    let steps =
        json!([["expect", overwrite], ["send", "yes\r"], ["expect", PROMPT], ["echo", false], ["send", "new\r"]]);
    assert_eq!(fixture.on_terminal(&["set", "PASSWORD"], steps).await.code, 0);
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), b"new");
}

#[tokio::test]
async fn an_interrupted_prompt_gives_the_terminal_back() {
    let fixture = Fixture::new("set").await;
    quickstart(&fixture).await;
    for end in
        [json!(["send", "half\u{3}"]), json!(["signal", "INT"]), json!(["signal", "TERM"]), json!(["send", "\u{4}"])]
    {
        let steps = json!([["expect", PROMPT], ["echo", false], end]);
        let session = fixture.on_terminal(&["set", "PASSWORD"], steps).await;
        assert_eq!((session.code, session.restored), (130, true), "{end}: {session:?}");
        assert!(session.output.contains("error: interrupted"), "{end}: {session:?}");
    }
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await, None);
}

#[tokio::test]
async fn a_store_that_hangs_is_left_with_the_keyboard() {
    let fixture = Fixture::new("set").await;
    let vault = e2e::Vault::shared().await.expect("a Vault");
    let proxy = e2e::FaultProxy::to_http(vault.url()).await.expect("a proxy");
    let write = e2e::Matching::any().path("/prod/db/PASSWORD").method("POST");
    let stalled = proxy.inject(e2e::Fault::Stall, write);
    let mount = &fixture.namespace;
    let engine = json!({"type": "kv", "options": {"version": "1"}});
    vault.must("POST", &format!("sys/mounts/{mount}"), engine).await.expect("a mount");
    let auth = json!({"token": {"secret": "of-the-operator", "key": "token"}});
    fixture
        .apply(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "vault"},
            "spec": {"timeout": "60s", "vault": {"address": proxy.url(), "mount": mount, "kvVersion": 1, "auth": auth}},
        }))
        .await;
    let vars = json!({"PASSWORD": {}});
    let spec = json!({"defaultStore": "vault", "components": {"terraform": {"db": {"secrets": {"vars": vars}}}}});
    fixture.stack("prod", spec).await;
    let fixture = fixture.with_variable("VAULT_TOKEN", vault.root_token());
    let begun = fixture.home().join("begun");
    let steps = json!([["expect", PROMPT], ["echo", false], ["send", "typed\r"], ["file", begun], ["signal", "INT"]]);
    let arguments = ["set", "PASSWORD", "--allow-loopback-endpoints"];
    let watch = async {
        e2e::wait_until("the write to hang", Duration::from_secs(120), async || match stalled.hits() {
            0 => Err("it has not begun"),
            _ => Ok(()),
        })
        .await
        .expect("a write");
        std::fs::write(&begun, "").expect("a file");
    };
    let (session, ()) = tokio::join!(fixture.on_terminal(&arguments, steps), watch);
    assert_eq!((session.code, session.restored), (130, true), "{session:?}");
    assert!(session.output.contains("it is not known whether the value was written"), "{session:?}");
}
