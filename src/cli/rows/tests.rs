//! Which rows a Stack and its components have.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::json;

use super::*;

fn stack() -> Stack {
    serde_json::from_value(json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": "prod", "namespace": "payments"},
        "spec": {
            "name": "plat-ue1-prod",
            "secrets": {"vars": {
                "API_KEY": {"store": "app", "description": "for all"},
                "CA": {"store": "app", "scope": "global"},
                "TOKEN": {"store": "app"},
            }},
            "components": {"terraform": {
                "base": {
                    "metadata": {"type": "abstract"},
                    "secrets": {"vars": {
                        "PASSWORD": {"store": "app", "description": "of the base"},
                        "TOKEN": {"declared": false},
                    }},
                },
                "db": {
                    "metadata": {"inherits": ["base"]},
                    "secrets": {"vars": {"API_KEY": {"store": "app", "description": "its own"}}},
                },
                "web": {},
            }},
        },
        "status": {"secrets": [
            {"component": "", "name": "API_KEY", "state": "Initialized", "scope": "stack", "store": "Store/app"},
            {"component": "", "name": "CA", "state": "Missing", "scope": "global", "store": "Store/app"},
            {"component": "", "name": "TOKEN", "state": "Initialized", "scope": "stack", "store": "Store/app"},
            {"component": "terraform/db", "name": "API_KEY", "state": "Unknown", "scope": "instance", "store": "Store/app"},
            {"component": "terraform/db", "name": "PASSWORD", "state": "Error", "scope": "instance", "store": "Store/app"},
        ]},
    }))
    .unwrap()
}

fn shown(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {} {}", row.stack, row.component, row.name)).collect()
}

#[test]
fn what_is_shared_stands_under_a_star() {
    assert_eq!(
        shown(&from_status(&stack())),
        [
            "plat-ue1-prod * API_KEY",
            "* * CA",
            "plat-ue1-prod * TOKEN",
            "plat-ue1-prod terraform/db API_KEY",
            "plat-ue1-prod terraform/db PASSWORD"
        ]
    );
}

#[test]
fn a_component_gets_its_own_and_what_it_neither_declares_anew_nor_drops() {
    let stack = stack();
    let db = effective(&stack.spec, "terraform/db", from_status(&stack));
    assert_eq!(
        shown(&db),
        ["* * CA", "plat-ue1-prod terraform/db API_KEY", "plat-ue1-prod terraform/db PASSWORD"],
        "TOKEN is dropped by the base, API_KEY is declared anew"
    );
    let web = effective(&stack.spec, "terraform/web", from_status(&stack));
    assert_eq!(shown(&web), ["plat-ue1-prod * API_KEY", "* * CA", "plat-ue1-prod * TOKEN"]);
}

#[test]
fn descriptions_come_from_the_layer_that_declares() {
    let rows = from_status(&stack());
    let of = |component: &str, name: &str| {
        rows.iter().find(|row| row.declared_by == component && row.name == name).unwrap().description.clone()
    };
    assert_eq!(of("", "API_KEY").unwrap(), "for all");
    assert_eq!(of("terraform/db", "API_KEY").unwrap(), "its own");
    assert_eq!(of("terraform/db", "PASSWORD").unwrap(), "of the base");
    assert_eq!(of("", "CA"), None);
}

#[test]
fn a_component_is_named_with_or_without_its_type() {
    for (given, found) in [
        ("db", Some("terraform/db")),
        ("terraform/db", Some("terraform/db")),
        ("helmfile/db", None),
        ("d", None),
        ("base", None),
    ] {
        assert_eq!(find_component(&stack(), given).as_deref(), found, "{given}");
    }
}

#[test]
fn stacks_with_one_atmos_name_share_their_rows() {
    let mut twin = stack();
    twin.metadata.name = Some("prod-twin".to_owned());
    let mut other = stack();
    other.spec.name = Some("other".to_owned());
    let rows: Vec<Row> = [stack(), twin, other].iter().flat_map(from_status).collect();
    let shared: Vec<String> =
        shown(&shared_once(rows)).into_iter().filter(|row| row.ends_with("* API_KEY") || row.ends_with("CA")).collect();
    assert_eq!(shared, ["plat-ue1-prod * API_KEY", "* * CA", "other * API_KEY"]);
}

#[test]
fn bases_in_a_circle_end() {
    let mut stack = stack();
    let components = &mut stack.spec.components.get_mut("terraform").unwrap().0;
    components.get_mut("base").unwrap().metadata.as_mut().unwrap().inherits = vec!["db".to_owned()];
    assert!(!effective(&stack.spec, "terraform/db", from_status(&stack)).is_empty());
}
