//! What stays at one version is told in a condition of its own.

use super::*;
use crate::api::status::PINNED;
use crate::model::Exposure;

fn at_version(name: &str, version: &str) -> PlannedSecret {
    let mut secret = secret("terraform/orders-db", name, true);
    if let Ok(read) = &mut secret.read {
        read.key.version = Some(version.into());
    }
    secret
}

fn message(secrets: Vec<PlannedSecret>) -> Option<String> {
    let plan = plan(secrets);
    let findings: Vec<Finding> = plan.secrets.iter().map(|_| good()).collect();
    let status = observe(&plan, &findings, false, ready(), &StackStatus::default(), at(0));
    assert_eq!(condition(&status, READY).unwrap().status, "True", "a pin is no fault");
    let pinned = condition(&status, PINNED)?;
    assert_eq!((pinned.status.as_str(), pinned.reason.as_str()), ("True", "Pinned"));
    Some(pinned.message.clone())
}

#[test]
fn numbers_and_ids_never_move() {
    assert_eq!(
        message(vec![at_version("A", "7"), secret("", "B", true)]).unwrap(),
        "1 secret stays at a version and does not follow the store: terraform/orders-db A at 7"
    );
    let id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    assert!(message(vec![at_version("A", id)]).unwrap().ends_with(&format!("A at {id}")));
    assert!(message(vec![at_version("A", &"0123456789abcdef".repeat(2))]).is_some());
    let many = (0..5).map(|index| at_version(&format!("N{index}"), "1")).collect();
    assert_eq!(
        message(many).unwrap(),
        "5 secrets stay at a version and do not follow the store: terraform/orders-db N0 at 1, \
         terraform/orders-db N1 at 1, terraform/orders-db N2 at 1 (and 2 more)"
    );
}

#[test]
fn labels_stages_and_aliases_move() {
    for version in ["AWSCURRENT", "AWSPREVIOUS", "latest", "stable", "v7", "beef"] {
        assert_eq!(message(vec![at_version("A", version)]), None, "{version}");
    }
    assert_eq!(message(vec![secret("", "A", true)]), None);
}

#[test]
fn a_version_beside_the_current_one_is_no_pin() {
    let mut exposed = at_version("A", "7");
    exposed.exposure = Some(Exposure { of: 0, version: "7".into(), optional: false });
    assert_eq!(message(vec![secret("terraform/orders-db", "A", true), exposed]), None);
}
