//! An exposed version has no entry of its own; its declaration says what is wrong with it.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;
use crate::model::Exposure;

fn exposed(key: &str, optional: bool) -> PlannedSecret {
    PlannedSecret {
        exposure: Some(Exposure { of: 0, version: "v1".into(), optional }),
        ..secret("terraform/orders-db", key, !optional)
    }
}

#[test]
fn a_declaration_tells_of_the_versions_that_it_exposes() {
    let message = |reason: &str| format!("version v1 for key OLD: message of {reason}");
    let gone = || Finding::Missing(problem(Reason::VersionMissing));
    for (declaration, version, optional, covered, state, told) in [
        (good(), good(), false, false, SecretState::Initialized, None),
        (good(), gone(), true, false, SecretState::Initialized, None),
        (good(), gone(), false, false, SecretState::Missing, Some("VersionMissing")),
        (good(), failing(false), true, false, SecretState::Error, Some("AccessDenied")),
        (good(), failing(true), true, true, SecretState::Initialized, None),
        (good(), failing(true), true, false, SecretState::Error, Some("Unreachable")),
        (good(), Finding::Unknown, true, false, SecretState::Unknown, None),
    ] {
        let plan = plan(vec![
            secret("terraform/orders-db", "DB", false),
            exposed("OLD", optional),
            secret("terraform/orders-db", "OTHER", false),
        ]);
        let findings = [declaration, version, good()];
        let status = observe(&plan, &findings, covered, ready(), &StackStatus::default(), at(0));
        let names: Vec<&str> = status.secrets.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["DB", "OTHER"]);
        assert_eq!(status.secrets[0].state, state);
        assert_eq!(status.secrets[0].required, state == SecretState::Missing, "only that holds a target back");
        assert_eq!(status.secrets[0].message, told.map(message));
        assert_eq!(status.secrets[0].reason.map(|reason| reason.as_str()), told);
        assert_eq!(status.secrets[1].state, SecretState::Initialized);
        let count = if state == SecretState::Initialized { "2/2" } else { "1/2" };
        assert_eq!(status.initialized.as_deref(), Some(count));
        let again = observe(&plan, &findings, covered, ready(), &status, at(9));
        assert_eq!(again, status);
    }
    // What is wrong with the value itself goes first, and an exposure of another declaration is not looked at.
    let mut of_other = exposed("OLD", false);
    of_other.exposure = Some(Exposure { of: 1, version: "v1".into(), optional: false });
    let plan =
        plan(vec![secret("terraform/orders-db", "DB", true), secret("terraform/orders-db", "B", false), of_other]);
    let status = observe(&plan, &[good(), failing(false), gone()], false, ready(), &StackStatus::default(), at(0));
    assert_eq!(status.secrets[0].state, SecretState::Initialized);
    assert_eq!(status.secrets[1].reason, Some(Reason::AccessDenied));
    assert_eq!(status.secrets[1].message.as_deref(), Some("message of AccessDenied"));
}
