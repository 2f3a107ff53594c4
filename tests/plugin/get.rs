//! `get`, and `--verify` of `list` and `validate`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::fixture::Fixture;
use crate::store::{CANARY, DB_OBJECT, put, quickstart};

/// What is said when a value leaves.
fn warned(name: &str) -> String {
    format!("warning: the value of {name} went to something that is not a terminal, unmasked\n")
}

#[tokio::test]
async fn a_value_is_masked_unless_asked_otherwise() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    for (arguments, shown) in [
        (&["get", "PASSWORD"][..], "<MASKED>\n"),
        (&["get", "PASSWORD", "-c", "db", "--mask"], "<MASKED>\n"),
        (&["get", "PASSWORD", "-o", "json"], "\"<MASKED>\"\n"),
        (&["get", "PASSWORD", "-o", "env", "--mask=true"], "PASSWORD='<MASKED>'\n"),
    ] {
        fixture.run(arguments).await.is(0, shown, "");
    }
    let warned = warned("PASSWORD");
    for (arguments, shown) in [
        (&["get", "PASSWORD", "--mask=false"][..], format!("{CANARY}\n")),
        (&["get", "PASSWORD", "--mask=false", "--raw"], CANARY.to_owned()),
        (&["get", "PASSWORD", "--mask=false", "-o", "json"], format!("\"{CANARY}\"\n")),
        (&["get", "PASSWORD", "--mask=false", "-o", "env"], format!("PASSWORD={CANARY}\n")),
    ] {
        fixture.run(arguments).await.is(0, &shown, &warned);
    }
    let fixture = fixture.with_variable("ATMOS_MASK", "false");
    fixture.run(&["get", "PASSWORD"]).await.is(0, &format!("{CANARY}\n"), &warned);
    fixture.run(&["get", "PASSWORD", "--mask=true"]).await.is(0, "<MASKED>\n", "");
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_2() {
    let fixture = Fixture::new("get").await;
    fixture.run(&["get", "PASSWORD", "--raw"]).await.is(
        2,
        "",
        "error: --raw prints the value itself, but values are masked\nhint: add --mask=false\n",
    );
    for output in ["json", "env"] {
        let refused = fixture.run(&["get", "PASSWORD", "--raw", "--mask=false", "-o", output]).await;
        assert_eq!((refused.code, refused.text()), (2, ""), "{refused:?}");
    }
}

#[tokio::test]
async fn bytes_come_as_they_are() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    for value in [&b""[..], b"\n", b"ends in a line feed\n", b"\x00\xff\xfebinary", "ünïcödé".as_bytes()] {
        put(&fixture, DB_OBJECT, &[("PASSWORD", value)]).await;
        let raw = fixture.run(&["get", "PASSWORD", "--mask=false", "-r"]).await;
        assert_eq!((raw.code, raw.stdout.as_slice()), (0, value));
    }
    put(&fixture, DB_OBJECT, &[("PASSWORD", b"\xff")]).await;
    let json = fixture.run(&["get", "PASSWORD", "--mask=false", "-o", "json"]).await;
    assert_eq!((json.code, json.text()), (2, ""), "{json:?}");
    put(&fixture, DB_OBJECT, &[("PASSWORD", b"it's \"$HOME\"\n")]).await;
    fixture.run(&["get", "PASSWORD", "--mask=false", "-o", "env"]).await.is(
        0,
        "PASSWORD=\"it's \\\"\\$HOME\\\"\n\"\n",
        &warned("PASSWORD"),
    );
    fixture.run(&["get", "PASSWORD", "--mask=false", "-o", "json"]).await.is(
        0,
        "\"it's \\\"$HOME\\\"\\n\"\n",
        &warned("PASSWORD"),
    );
}

#[tokio::test]
async fn missing_is_1_and_what_cannot_be_read_is_3() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    let missing = fixture.run(&["get", "PASSWORD", "-s", "prod"]).await;
    assert_eq!((missing.code, missing.text()), (1, ""));
    assert!(missing.stderr.starts_with("error: ValueMissing: "), "{missing:?}");
    assert!(
        missing.stderr.ends_with("hint: set it with `kubectl atmos-secret set PASSWORD -s prod -c db`\n"),
        "{missing:?}"
    );

    let nowhere = fixture.run(&["get", "LOST"]).await;
    assert_eq!(nowhere.code, 3);
    assert!(nowhere.stderr.starts_with("error: BackendNotFound: "), "{nowhere:?}");

    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks", "stores"], "verbs": ["get", "list"]}]))
        .await;
    let denied = fixture.run(&["get", "PASSWORD"]).await;
    assert_eq!((denied.code, denied.text()), (3, ""));
    assert!(denied.stderr.contains("with your own rights"), "{denied:?}");
}

#[tokio::test]
async fn a_store_that_one_may_not_read_is_told_from_one_that_is_not_there() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks"], "verbs": ["get", "list"]}]))
        .await;
    let denied = fixture.run(&["get", "PASSWORD"]).await;
    assert_eq!(denied.code, 3);
    assert!(denied.stderr.starts_with("error: AccessDenied: could not read Store/app"), "{denied:?}");
}

#[tokio::test]
async fn names_and_components_are_found_or_refused() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    let title = format!("{}/prod", fixture.namespace);
    fixture.run(&["get", "PASWORD"]).await.is(
        2,
        "",
        &format!("error: NotDeclared: PASWORD is not declared in Stack {title}\nhint: did you mean PASSWORD?\n"),
    );
    fixture.run(&["get", "PASSWORD", "-c", "web"]).await.is(
        2,
        "",
        &format!(
            "error: NotDeclared: PASSWORD is not declared in component terraform/web of Stack {title}\nhint: `kubectl atmos-secret list` shows what is declared\n"
        ),
    );
    put(&fixture, "atmos.plat-ue1-prod", &[("API_KEY", b"shared")]).await;
    for component in ["web", "db", "terraform/db"] {
        let inherited = fixture.run(&["get", "API_KEY", "-c", component, "--mask=false"]).await;
        assert_eq!((inherited.code, inherited.text()), (0, "shared\n"), "{inherited:?}");
    }
}

#[tokio::test]
async fn paths_and_defaults_are_those_of_the_declaration() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    let warned = warned("HOST");
    fixture.run(&["get", "HOST", "--mask=false"]).await.is(
        0,
        "localhost\n",
        &format!("HOST has no value: this is its declared default\n{warned}"),
    );
    put(&fixture, DB_OBJECT, &[("ENDPOINT", br#"{"host": "db.example", "port": 5432}"#)]).await;
    fixture.run(&["get", "HOST", "--mask=false"]).await.is(0, "db.example\n", &warned);

    put(&fixture, DB_OBJECT, &[("PASSWORD", br#"{"users": [{"name": "a.b", "age": 7}]}"#)]).await;
    let leaf = fixture.run(&["get", "PASSWORD", "--mask=false", "--path", ".users[0].name", "-r"]).await;
    assert_eq!(leaf.text(), "a.b");
    let nothing = fixture.run(&["get", "PASSWORD", "--mask=false", "--path", ".users[1]"]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.starts_with("error: PathNotFound: "), "{nothing:?}");
    assert_eq!(fixture.run(&["get", "PASSWORD", "--path", "users["]).await.code, 2);
}

#[tokio::test]
async fn a_terminal_gets_no_binary() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", b"\x1b[2Jgone")]).await;
    let refused = fixture.on_terminal(&["get", "PASSWORD", "--mask=false"], json!([])).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(!refused.output.contains("gone"), "{refused:?}");
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    let shown = fixture.on_terminal(&["get", "PASSWORD", "--mask=false"], json!([])).await;
    assert_eq!((shown.code, shown.output), (0, format!("{CANARY}\n")), "no warning on a terminal");
    let masked = fixture.on_terminal(&["get", "PASSWORD"], json!([])).await;
    assert_eq!((masked.code, masked.output.as_str()), (0, "<MASKED>\n"));
}

#[tokio::test]
async fn verify_asks_the_stores_and_goes_on_after_an_error() {
    let fixture = Fixture::new("verify").await;
    quickstart(&fixture).await;
    put(&fixture, "atmos.plat-ue1-prod", &[("API_KEY", CANARY.as_bytes())]).await;
    fixture.run(&["list", "--verify"]).await.is(
        0,
        "\
STACK           COMPONENT      SECRET     SCOPE      STORE           STATUS
plat-ue1-prod   *              API_KEY    stack      Store/app       initialized
*               *              CA         global     Store/app       missing
plat-ue1-prod   terraform/db   HOST       instance   Store/app       initialized
plat-ue1-prod   terraform/db   LOST       instance   Store/nowhere   error
plat-ue1-prod   terraform/db   PASSWORD   instance   Store/app       missing
",
        "",
    );
    let missing = fixture.run(&["validate", "--verify"]).await;
    assert_eq!((missing.code, missing.text().lines().count()), (1, 2), "{missing:?}");
    assert!(missing.text().starts_with("missing: terraform/db PASSWORD: ValueMissing: "), "{missing:?}");
    assert!(
        missing.stderr.starts_with("warning: optional, error: terraform/db LOST: BackendNotFound: "),
        "{missing:?}"
    );
    put(&fixture, DB_OBJECT, &[("PASSWORD", CANARY.as_bytes())]).await;
    let valid = fixture.run(&["validate", "--verify", "-o", "json"]).await;
    assert_eq!((valid.code, valid.json()["verdict"].as_str()), (0, Some("valid")), "no operator is needed: {valid:?}");

    let fixture = fixture
        .with_rights(json!([{"apiGroups": ["secrets.atmos.tools"], "resources": ["stacks", "stores"], "verbs": ["get", "list"]}]))
        .await;
    let denied = fixture.run(&["list", "--verify", "-o", "json"]).await;
    assert_eq!(denied.code, 0);
    assert_eq!(denied.json()[0]["status"], "error", "{denied:?}");
    assert_eq!(fixture.run(&["validate", "--verify"]).await.code, 3);
    for outcome in [missing, valid, denied] {
        assert!(!format!("{outcome:?}").contains(CANARY));
        assert!(!outcome.text().contains(CANARY) && !outcome.stderr.contains(CANARY), "{outcome:?}");
    }
}

/// A Stack whose values are shaped on their way to a target.
async fn shaped(fixture: &Fixture) {
    quickstart(fixture).await;
    let vars = json!({
        "TOKEN": {"reference": "PACKED", "path": ".token", "transforms": [{"base64Decode": {}}, {"trim": {}}]},
        "BROKEN": {"reference": "PACKED", "transforms": [{"gunzip": {}}]},
        "DOCUMENT": {"reference": "PACKED", "extract": {"prefix": "P_"}},
    });
    fixture.stack("shaped", json!({"name": "plat-ue1-prod", "defaultStore": "app", "components": {"terraform": {"db": {"secrets": {"vars": vars}}}}})).await;
    let packed = STANDARD.encode(format!(" {CANARY}\n"));
    put(fixture, DB_OBJECT, &[("PACKED", json!({"token": packed}).to_string().as_bytes())]).await;
}

/// The same steps as in the operator: by the same function.
#[tokio::test]
async fn a_value_comes_as_its_targets_get_it() {
    let fixture = Fixture::new("get").await;
    shaped(&fixture).await;
    let get = ["get", "-s", "shaped", "--mask=false"];
    let run = async |name: &str| fixture.run(&[&get[..], &[name]].concat()).await;
    run("TOKEN").await.is(0, &format!("{CANARY}\n"), &warned("TOKEN"));
    let document = run("DOCUMENT").await;
    assert!(document.code == 0 && document.text().starts_with("{\"token\":"), "{document:?}");
    let broken = run("BROKEN").await;
    assert_eq!((broken.code, broken.text()), (3, ""));
    assert!(
        broken.stderr.starts_with(
            "error: TransformFailed: the value at atmos.plat-ue1-prod.db#PACKED: `transforms[0]` (gunzip) cannot be done"
        ),
        "{broken:?}"
    );
    let described = fixture.run(&["describe", "-s", "shaped", "TOKEN"]).await;
    for line in ["Path:         .token\n", "Transforms:   base64Decode, trim\n"] {
        assert!(described.text().contains(line), "{described:?}");
    }
}

#[tokio::test]
async fn what_a_base_in_a_catalog_drops_is_not_declared() {
    let fixture = Fixture::new("get").await;
    quickstart(&fixture).await;
    put(&fixture, "atmos.plat-ue1-prod", &[("API_KEY", CANARY.as_bytes())]).await;
    let name = fixture.namespace.clone();
    let catalog = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Catalog", "metadata": {"name": name},
        "spec": {"components": {"terraform": {"plain": {"metadata": {"type": "abstract"},
            "secrets": {"vars": {"API_KEY": {"declared": false}}}}}}},
    });
    fixture.control_plane.apply_yaml(&catalog.to_string()).await.expect("the Catalog is accepted");
    let web = json!({"metadata": {"inherits": ["plain"]}});
    fixture.change("prod", json!({"imports": [{"catalog": name}], "components": {"terraform": {"web": web}}})).await;
    let shared = fixture.run(&["get", "API_KEY", "-c", "db", "--mask=false", "-r"]).await;
    assert_eq!((shared.code, shared.text()), (0, CANARY), "{shared:?}");
    let dropped = fixture.run(&["get", "API_KEY", "-c", "web", "--mask=false", "-r"]).await;
    assert_eq!((dropped.code, dropped.text()), (2, ""), "{dropped:?}");
}
