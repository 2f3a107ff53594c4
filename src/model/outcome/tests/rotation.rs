//! Rotations by the store are facts beside the value, and a late one is told.

use super::*;
use crate::api::status::ROTATION_OVERDUE;

fn observe_with(rotation: Option<Rotation>, findings: &[Finding], before: &StackStatus, now: Timestamp) -> StackStatus {
    let plan = plan(vec![secret("terraform/orders-db", "DB_PASSWORD", true)]);
    status(&Observation {
        plan: &plan,
        findings,
        covered: &[true],
        rotations: &rotation.into_iter().map(|rotation| (0, rotation)).collect(),
        targets: &[ready()],
        kept: &BTreeSet::new(),
        previous: before,
        generation: 3,
        inputs: BTreeMap::new(),
        aliases: &BTreeMap::new(),
        handled_sync: None,
        leftover: Vec::new(),
        now,
    })
}

fn rotation() -> Option<Rotation> {
    Some(Rotation { last: Some(at(0)), next: Some(at(100)), owner: Some("rds".into()) })
}

#[test]
fn facts_stand_beside_the_secret_and_do_not_move_by_themselves() {
    let first = observe_with(rotation(), &[good()], &StackStatus::default(), at(10));
    let told = first.secrets.first().unwrap().rotation.clone().unwrap();
    assert_eq!((told.last.unwrap().0, told.next.unwrap().0, told.overdue), (at(0), at(100), false));
    assert_eq!(told.owner.as_deref(), Some("rds"));
    assert!(condition(&first, ROTATION_OVERDUE).is_none());
    assert_eq!(observe_with(rotation(), &[good()], &first, at(99)), first);

    let during = observe_with(None, &[failing(true)], &first, at(99));
    assert_eq!(during, first, "what was told is kept while the store does not answer");
    let off = observe_with(None, &[good()], &first, at(99));
    assert_eq!(off.secrets.first().unwrap().rotation, None);
}

#[test]
fn a_late_rotation_is_told_and_harms_nothing() {
    let late = observe_with(rotation(), &[good()], &StackStatus::default(), at(101));
    assert_eq!(condition(&late, READY).unwrap().status, "True");
    let overdue = condition(&late, ROTATION_OVERDUE).unwrap();
    assert_eq!((overdue.status.as_str(), overdue.reason.as_str()), ("True", "RotationOverdue"));
    assert_eq!(
        overdue.message,
        "the store should have rotated terraform/orders-db DB_PASSWORD since 2027-01-15T08:01:40Z and did not: look at \
         its rotation function"
    );
    let next = Rotation { last: Some(at(102)), next: Some(at(200)), owner: None };
    let cured = observe_with(Some(next), &[good()], &late, at(110));
    assert!(condition(&cured, ROTATION_OVERDUE).is_none());
}
