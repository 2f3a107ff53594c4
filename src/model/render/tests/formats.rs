//! Targets that are one document, and what documents of declarations bring into them.

use serde_json::json;

use super::*;
use crate::model::extract::Extract;

const FORMATS: [Format; 3] = [Format::Dotenv, Format::Json, Format::Yaml];

fn document(format: Format, sync: SyncPolicy, missing: MissingPolicy) -> PlannedTarget {
    PlannedTarget { format, ..target(sync, missing) }
}

/// The document that holds `old` under these names.
fn held(format: Format, names: &[&str], verified: bool) -> Current {
    let values = names.iter().map(|name| ((*name).to_owned(), Arc::new(SecretValue::from("old".to_owned())))).collect();
    let data = lay_out(&document(format, SyncPolicy::AllOrNothing, MissingPolicy::Keep), values).unwrap();
    let data = data.into_iter().map(|(key, value)| (key, SecretValue::new(value.expose().to_vec()))).collect();
    Current { data, verified }
}

/// Names and values in the document, and its state, as `outcome` says it.
fn inside(format: Format, decision: &Decision) -> String {
    let Decision::Write { data, incomplete, kept } = decision else { return outcome(decision) };
    assert!(data.len() <= 1);
    let data = data.iter().map(|(key, value)| (key.clone(), SecretValue::new(value.expose().to_vec()))).collect();
    let values = match crate::model::format::contents(format, &data) {
        crate::model::format::Contents::Values(values) => values,
        crate::model::format::Contents::None => BTreeMap::new(),
        crate::model::format::Contents::Unreadable => panic!("unreadable"),
    };
    let data = values.into_iter().map(|(name, value)| (name, Arc::new(value))).collect();
    outcome(&Decision::Write { data, incomplete: incomplete.clone(), kept: kept.clone() })
}

#[test]
fn a_name_in_a_document_is_what_a_key_would_be() {
    use MissingPolicy::{Keep, Remove};
    use State::{Failed, Fresh, Missing, Unknown};
    use SyncPolicy::{AllOrNothing, PerKey};
    let new = None;
    let ours = Some((["a", "b"].as_slice(), true));
    let only_a = Some((["a"].as_slice(), true));
    let edited = Some((["a", "b"].as_slice(), false));
    for format in FORMATS {
        for (sync, missing, required, b, current_secret, removable, expected) in [
            (AllOrNothing, Keep, true, Fresh, new, false, "a=new b=new ready"),
            (AllOrNothing, Keep, true, Missing, ours, false, "hold ValueMissing"),
            (AllOrNothing, Keep, false, Failed, ours, false, "hold Timeout"),
            (AllOrNothing, Keep, false, Unknown, ours, false, "hold Unreachable"),
            (AllOrNothing, Keep, false, Missing, new, false, "a=new ready"),
            (AllOrNothing, Keep, false, Missing, only_a, false, "a=new ready"),
            (AllOrNothing, Keep, false, Missing, ours, false, "a=new b=old ValueMissing"),
            (AllOrNothing, Keep, false, Missing, edited, false, "hold Drifted"),
            (AllOrNothing, Keep, false, Fresh, edited, false, "a=new b=new ready"),
            (AllOrNothing, Remove, false, Missing, ours, true, "a=new ready"),
            (PerKey, Keep, true, Missing, ours, false, "a=new b=old ValueMissing"),
            (PerKey, Keep, false, Failed, ours, false, "a=new b=old Timeout"),
        ] {
            let secrets = [secret("A", true), secret("B", required)];
            let findings = [State::Fresh.finding(&secrets[0]), b.finding(&secrets[1])];
            let current_secret = current_secret.map(|(names, verified)| held(format, names, verified));
            let target = document(format, sync, missing);
            let decision = decide(&target, &secrets, &findings, current_secret.as_ref(), &|_| removable);
            assert_eq!(inside(format, &decision), expected, "{format:?} {sync:?} {missing:?} {required} {b:?}");
        }
    }
}

/// What the document held for the missing name is not known, so nothing is dropped.
#[test]
fn a_document_that_somebody_else_wrote_is_not_replaced_while_a_value_is_missing() {
    let secrets = [secret("A", true), secret("B", false)];
    for format in FORMATS {
        let target = document(format, SyncPolicy::AllOrNothing, MissingPolicy::Keep);
        let foreign = || Current {
            data: BTreeMap::from([(target.keys().next().unwrap().to_owned(), SecretValue::from("# x".to_owned()))]),
            verified: true,
        };
        let missing = [State::Fresh.finding(&secrets[0]), State::Missing.finding(&secrets[1])];
        let decision = decide(&target, &secrets, &missing, Some(&foreign()), &|_| false);
        assert_eq!(outcome(&decision), "hold Drifted");
        let complete = [State::Fresh.finding(&secrets[0]), State::Fresh.finding(&secrets[1])];
        let decision = decide(&target, &secrets, &complete, Some(&foreign()), &|_| false);
        assert_eq!(inside(format, &decision), "a=new b=new ready");
    }
}

#[test]
fn a_document_is_no_larger_than_a_secret() {
    let secrets = [secret("A", true), secret("B", true)];
    let control = "\u{1}".repeat(MAX_SECRET_BYTES / 5);
    let findings = [finding(&secrets[0], found(&control)), State::Fresh.finding(&secrets[1])];
    let target = document(Format::Json, SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    assert_eq!(outcome(&decide(&target, &secrets, &findings, None, &|_| false)), "hold ValueTooLarge");
}

/// A target of A under `a` and of the document B.
fn with_document(format: Format, sync: SyncPolicy, missing: MissingPolicy) -> PlannedTarget {
    let name = crate::model::format::name_in(format, "a").unwrap();
    PlannedTarget {
        entries: BTreeMap::from([(name, 0)]),
        documents: BTreeSet::from([1]),
        ..document(format, sync, missing)
    }
}

fn with_extract(written: serde_json::Value, required: bool) -> [PlannedSecret; 2] {
    let extract = Extract::parse(&serde_json::from_value(written).unwrap()).unwrap();
    [secret("A", true), PlannedSecret { extract: Some(extract), ..secret("B", required) }]
}

#[test]
fn what_a_document_brings_lies_in_the_target_s_format() {
    use MissingPolicy::{Keep, Remove};
    use SyncPolicy::{AllOrNothing, PerKey};
    let there = || found("{\"user\": \"new\"}");
    let gone = || failed(ErrorKind::NotFound);
    let names = ["a", "b_gone", "b_user", "other"].as_slice();
    let ours = Some((names, true));
    let edited = Some((names, false));
    for format in FORMATS {
        for (sync, missing, required, fetched, current_secret, removable, expected) in [
            (AllOrNothing, Keep, true, there(), None, false, "a=new b_user=new ready"),
            (AllOrNothing, Keep, true, there(), ours, false, "a=new b_user=new ready"),
            (AllOrNothing, Keep, false, gone(), None, false, "a=new ready"),
            (AllOrNothing, Keep, false, gone(), ours, true, "a=new b_gone=old b_user=old ValueMissing"),
            (AllOrNothing, Remove, false, gone(), ours, true, "a=new ready"),
            (AllOrNothing, Keep, false, gone(), edited, false, "hold Drifted"),
            (AllOrNothing, Keep, true, gone(), ours, false, "hold ValueMissing"),
            (PerKey, Keep, true, gone(), ours, false, "a=new b_gone=old b_user=old ValueMissing"),
            (PerKey, Keep, true, failed(ErrorKind::Timeout), ours, false, "a=new b_gone=old b_user=old Timeout"),
            (AllOrNothing, Keep, false, Fetched::Unknown, ours, false, "hold Unreachable"),
        ] {
            let secrets = with_extract(json!({"prefix": "b_"}), required);
            let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], fetched)];
            let current_secret = current_secret.map(|(names, verified)| held(format, names, verified));
            let target = with_document(format, sync, missing);
            let decision = decide(&target, &secrets, &findings, current_secret.as_ref(), &|_| removable);
            assert_eq!(inside(format, &decision), expected, "{format:?} {sync:?} {missing:?} {required}");
        }
        // What it held of the document is not known, so nothing is dropped.
        let secrets = with_extract(json!({}), false);
        let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], gone())];
        let target = with_document(format, AllOrNothing, Keep);
        let key = target.keys().next().unwrap().to_owned();
        let foreign = Current { data: BTreeMap::from([(key, SecretValue::from("# x".to_owned()))]), verified: true };
        assert_eq!(outcome(&decide(&target, &secrets, &findings, Some(&foreign), &|_| false)), "hold Drifted");
    }
}

#[test]
fn names_of_a_document_are_prefixed_for_terraform_and_found_again() {
    let secrets = with_extract(json!({"prefix": "b_"}), false);
    let target = with_document(Format::TfvarsEnv, SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let decided = |fetched: Fetched| {
        let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], fetched)];
        let before = current(&["TF_VAR_a", "TF_VAR_b_user", "b_other"], true);
        outcome(&decide(&target, &secrets, &findings, Some(&before), &|_| false))
    };
    assert_eq!(decided(found("{\"user\": \"new\"}")), "TF_VAR_a=new TF_VAR_b_user=new ready");
    assert_eq!(decided(failed(ErrorKind::NotFound)), "TF_VAR_a=new TF_VAR_b_user=old ValueMissing");
}

#[test]
fn a_name_of_a_document_that_does_not_fit_is_told_without_its_value() {
    let document = format!("{{\"tls.crt\": \"{CANARY}\"}}");
    let secrets = with_extract(json!({}), true);
    let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], found(&document))];
    for (format, words) in [
        (Format::Dotenv, "`tls.crt` is no name in a dotenv file"),
        (Format::TfvarsEnv, "`tls.crt` is no name of a Terraform variable"),
    ] {
        let target = with_document(format, SyncPolicy::AllOrNothing, MissingPolicy::Keep);
        let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
        assert_eq!(problem.reason, Reason::InvalidKeyName);
        assert!(problem.message.starts_with("the document terraform/db B: "), "{}", problem.message);
        assert!(problem.message.contains(words), "{}", problem.message);
        assert!(problem.message.ends_with("; set `rename` or `exclude` of `extract`"), "{}", problem.message);
        assert!(!format!("{problem:?}").contains(CANARY));
    }
}
