//! Documents that bring their own keys, and versions that are exposed.

use super::*;
use crate::api::transform::Extract as Written;
use crate::model::Exposure;
use crate::model::extract::Extract;

fn document(name: &str, required: bool, written: serde_json::Value) -> PlannedSecret {
    let written: Written = serde_json::from_value(written).unwrap();
    PlannedSecret { extract: Some(Extract::parse(&written).unwrap()), ..secret(name, required) }
}

fn current(pairs: &[(&str, &str)], verified: bool) -> Current {
    let value = |text: &str| SecretValue::from(text.to_owned());
    Current { data: pairs.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect(), verified }
}

/// A target with the key `a` of the first secret, and all others as documents.
fn with_documents(secrets: &[PlannedSecret], sync: SyncPolicy, missing: MissingPolicy) -> PlannedTarget {
    PlannedTarget {
        entries: BTreeMap::from([("a".to_owned(), 0)]),
        documents: (1..secrets.len()).collect(),
        ..target(sync, missing)
    }
}

/// `key=value` of what is written, with `!` where the target is not ready; or the reason that holds it.
fn told(decision: &Decision) -> String {
    match decision {
        Decision::Hold(problem) => format!("hold {}", problem.reason),
        Decision::Write { data, incomplete, kept } => {
            let text = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
            let mut words: Vec<String> = data.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            words.extend(incomplete.as_ref().map(|problem| format!("!{}", problem.reason)));
            words.extend((!kept.is_empty()).then(|| format!("kept{kept:?}")));
            words.join(" ")
        }
    }
}

fn run(
    secrets: &[PlannedSecret],
    fetched: Vec<Fetched>,
    target: &PlannedTarget,
    current: Option<&Current>,
    removable: bool,
) -> String {
    let findings: Vec<Finding> =
        secrets.iter().zip(fetched).map(|(secret, fetched)| finding(secret, fetched)).collect();
    told(&decide(target, secrets, &findings, current, &|_| removable))
}

#[test]
fn a_documents_names_follow_it() {
    let secrets = [secret("A", true), document("DOC", true, serde_json::json!({"prefix": "db_"}))];
    let target = with_documents(&secrets, SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let before = current(&[("a", "1"), ("db_user", "old"), ("db_gone", "old")], true);
    let fetched = vec![found("1"), found("{\"user\": \"app\", \"port\": 5432}")];
    assert_eq!(run(&secrets, fetched.clone(), &target, None, false), "a=1 db_port=5432 db_user=app");
    assert_eq!(run(&secrets, fetched, &target, Some(&before), false), "a=1 db_port=5432 db_user=app");
    assert_eq!(run(&secrets, vec![found("1"), found("{}")], &target, Some(&before), false), "a=1");
}

#[test]
fn a_document_that_is_not_there_keeps_what_is_its_own() {
    let secrets = [
        secret("A", false),
        document("DOC", false, serde_json::json!({"exclude": ["secret"], "rename": {"crt": "tls.crt"}})),
        document("OTHER", false, serde_json::json!({"prefix": "o_"})),
    ];
    let other = || found("{\"x\": 1}");
    let before =
        current(&[("a", "1"), ("user", "u"), ("tls.crt", "t"), ("secret", "s"), ("crt", "c"), ("o_x", "0")], true);
    let edited = Current { verified: false, ..current(&[("a", "1"), ("user", "u")], true) };
    use MissingPolicy::{Keep, Remove};
    use SyncPolicy::{AllOrNothing, PerKey};
    for (document, sync, missing, now, removable, expected) in [
        (
            failed(ErrorKind::NotFound),
            AllOrNothing,
            Keep,
            Some(&before),
            true,
            "a=1 o_x=1 tls.crt=t user=u !ValueMissing kept{1}",
        ),
        (
            failed(ErrorKind::NotFound),
            AllOrNothing,
            Remove,
            Some(&before),
            false,
            "a=1 o_x=1 tls.crt=t user=u !ValueMissing kept{1}",
        ),
        (failed(ErrorKind::NotFound), AllOrNothing, Remove, Some(&before), true, "a=1 o_x=1"),
        (failed(ErrorKind::NotFound), AllOrNothing, Keep, None, false, "a=1 o_x=1"),
        (failed(ErrorKind::NotFound), AllOrNothing, Keep, Some(&edited), false, "hold Drifted"),
        (failed(ErrorKind::Timeout), AllOrNothing, Keep, Some(&before), false, "hold Timeout"),
        (failed(ErrorKind::Timeout), PerKey, Keep, Some(&before), false, "a=1 o_x=1 tls.crt=t user=u !Timeout"),
        (found("no document"), PerKey, Keep, Some(&before), false, "a=1 o_x=1 tls.crt=t user=u !NotStructured"),
        (found("no document"), PerKey, Keep, None, false, "a=1 o_x=1 !NotStructured"),
        (Fetched::Unknown, PerKey, Keep, Some(&before), false, "hold Unreachable"),
    ] {
        let target = with_documents(&secrets, sync, missing);
        let told = run(&secrets, vec![found("1"), document, other()], &target, now, removable);
        assert_eq!(told, expected, "{sync:?} {missing:?} {removable}");
    }
    let mut required = secrets.clone();
    required[1].required = true;
    let target = with_documents(&required, AllOrNothing, Keep);
    let fetched = vec![found("1"), failed(ErrorKind::NotFound), other()];
    assert_eq!(run(&required, fetched, &target, Some(&before), false), "hold ValueMissing");
}

#[test]
fn a_key_that_two_want_is_a_problem_of_the_target_until_the_document_changes() {
    let secrets = [
        secret("A", false),
        document("DOC", false, serde_json::json!({})),
        document("OTHER", false, serde_json::json!({})),
    ];
    let target = with_documents(&secrets, SyncPolicy::PerKey, MissingPolicy::Keep);
    for (first, document, other, words) in [
        (found("1"), "{\"a\": 1}", "{}", "the document terraform/db DOC and terraform/db A both have the key a;"),
        // The key is A's also while A has no value.
        (
            failed(ErrorKind::NotFound),
            "{\"a\": 1}",
            "{}",
            "the document terraform/db DOC and terraform/db A both have the key a;",
        ),
        (
            found("1"),
            "{\"b\": 1}",
            "{\"b\": 2}",
            "the document terraform/db OTHER and terraform/db DOC both have the key b;",
        ),
    ] {
        let findings: Vec<Finding> = secrets
            .iter()
            .zip([first, found(document), found(other)])
            .map(|(secret, fetched)| finding(secret, fetched))
            .collect();
        let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
        assert_eq!(problem.reason, Reason::InvalidTarget);
        assert!(problem.message.starts_with(words), "{}", problem.message);
        assert!(!problem.stalled, "an edit of the document cures it");
    }
    let fine = vec![found("1"), found("{\"b\": 1}"), found("{\"c\": 2}")];
    assert_eq!(run(&secrets, fine, &target, None, false), "a=1 b=1 c=2");
}

#[test]
fn the_type_of_a_target_is_checked_with_what_a_document_brings() {
    let secrets = [document("TLS", true, serde_json::json!({"rename": {"cert": "tls.crt", "key": "tls.key"}}))];
    let target = PlannedTarget {
        secret_type: SecretType::Tls,
        entries: BTreeMap::new(),
        documents: BTreeSet::from([0]),
        ..target(SyncPolicy::AllOrNothing, MissingPolicy::Keep)
    };
    let told = |document: &str| run(&secrets, vec![found(document)], &target, None, false);
    assert_eq!(told("{\"cert\": \"c\", \"key\": \"k\"}"), "tls.crt=c tls.key=k");
    assert_eq!(told("{\"cert\": \"c\"}"), "hold ValueMissing");
}

#[test]
fn an_exposed_version_follows_what_the_store_has() {
    let exposed = |optional: bool| PlannedSecret {
        exposure: Some(Exposure { of: 0, version: "AWSPREVIOUS".to_owned(), optional }),
        ..secret("A_PREVIOUS", !optional)
    };
    let before = current(&[("a", "1"), ("b", "0")], true);
    for (optional, fetched, expected) in [
        (true, found("0"), "a=1 b=0"),
        (true, failed(ErrorKind::VersionNotFound), "a=1"),
        // The whole value is gone: kept as the value itself would be.
        (true, failed(ErrorKind::NotFound), "a=1 b=0 !ValueMissing kept{1}"),
        (true, failed(ErrorKind::Timeout), "hold Timeout"),
        (false, failed(ErrorKind::VersionNotFound), "hold VersionMissing"),
    ] {
        let secrets = [secret("A", true), exposed(optional)];
        let target = target(SyncPolicy::AllOrNothing, MissingPolicy::Keep);
        assert_eq!(run(&secrets, vec![found("1"), fetched], &target, Some(&before), false), expected, "{optional}");
    }
}
