//! Keys that are made of several secrets.

use serde_json::json;

use super::*;
use crate::model::Exposure;
use crate::model::extract::Extract;
use crate::model::template::{Surroundings, Template};

/// A target with `url` made of A and B, beside the plain key `a`.
fn templated(text: &str, sync: SyncPolicy, missing: MissingPolicy) -> PlannedTarget {
    let surroundings = Surroundings { stack: String::new(), component: String::new(), namespace: String::new() };
    let names = ["A", "B"];
    let index_of = |name: &str| names.iter().position(|known| *known == name);
    let template = Template::compile(text, &Arc::new(surroundings), &index_of, names.into_iter()).unwrap();
    PlannedTarget {
        entries: BTreeMap::from([("a".to_owned(), 0)]),
        templates: BTreeMap::from([("url".to_owned(), template)]),
        ..target(sync, missing)
    }
}

#[test]
fn a_templated_key_is_what_a_plain_key_would_be() {
    use MissingPolicy::{Keep, Remove};
    use State::{Failed, Fresh, Missing, Unknown};
    use SyncPolicy::{AllOrNothing, PerKey};
    let new = None;
    let ours = Some((["a", "url"].as_slice(), true));
    let only_a = Some((["a"].as_slice(), true));
    let edited = Some((["a", "url"].as_slice(), false));
    let uses = "{{ A }}:{{ B }}";
    let tests = "{{ A }}{% if B is defined %}:{{ B }}{% endif %}";
    let broken = "{{ A | split('') | join }}";
    for (text, sync, missing, required, b, current_secret, removable, expected) in [
        (uses, AllOrNothing, Keep, true, Fresh, new, false, "a=new url=new:new ready"),
        (uses, AllOrNothing, Keep, true, Missing, new, false, "hold ValueMissing"),
        (uses, AllOrNothing, Keep, true, Missing, ours, false, "hold ValueMissing"),
        (uses, AllOrNothing, Keep, false, Failed, ours, false, "hold Timeout"),
        (uses, AllOrNothing, Keep, false, Unknown, ours, false, "hold Unreachable"),
        (uses, AllOrNothing, Keep, false, Missing, new, false, "a=new ready"),
        (uses, AllOrNothing, Keep, false, Missing, only_a, false, "a=new ready"),
        (uses, AllOrNothing, Keep, false, Missing, ours, false, "a=new url=old ValueMissing"),
        (uses, AllOrNothing, Keep, false, Missing, ours, true, "a=new url=old ValueMissing"),
        (uses, AllOrNothing, Keep, false, Missing, edited, false, "hold Drifted"),
        (uses, AllOrNothing, Remove, false, Missing, ours, false, "a=new url=old ValueMissing"),
        (uses, AllOrNothing, Remove, false, Missing, ours, true, "a=new ready"),
        (uses, PerKey, Keep, true, Missing, new, false, "hold ValueMissing"),
        (uses, PerKey, Keep, true, Missing, ours, false, "a=new url=old ValueMissing"),
        (uses, PerKey, Keep, false, Failed, ours, false, "a=new url=old Timeout"),
        (uses, PerKey, Keep, false, Failed, edited, false, "hold Drifted"),
        // Its own test decides, whatever the Secret held.
        (tests, AllOrNothing, Keep, false, Missing, ours, false, "a=new url=new ready"),
        (tests, AllOrNothing, Keep, false, Fresh, ours, false, "a=new url=new:new ready"),
        (tests, AllOrNothing, Keep, false, Failed, ours, false, "hold Timeout"),
        (broken, AllOrNothing, Keep, false, Fresh, new, false, "hold TransformFailed"),
        (broken, AllOrNothing, Keep, false, Fresh, ours, false, "hold TransformFailed"),
        (broken, PerKey, Keep, false, Fresh, new, false, "hold TransformFailed"),
        (broken, PerKey, Keep, false, Fresh, ours, false, "a=new url=old TransformFailed"),
        (broken, PerKey, Keep, false, Fresh, only_a, false, "a=new TransformFailed"),
        (broken, PerKey, Keep, false, Fresh, edited, false, "hold TransformFailed"),
    ] {
        let secrets = [secret("A", true), secret("B", required)];
        let findings = [State::Fresh.finding(&secrets[0]), b.finding(&secrets[1])];
        let current_secret = current_secret.map(|(keys, verified)| current(keys, verified));
        let target = templated(text, sync, missing);
        let decision = decide(&target, &secrets, &findings, current_secret.as_ref(), &|_| removable);
        let case = format!("{text} {sync:?} {missing:?} required={required} {b:?} removable={removable}");
        assert_eq!(outcome(&decision), expected, "{case}");
        if let Decision::Write { kept, .. } = &decision {
            assert_eq!(kept.contains(&1), expected.contains("url=old ValueMissing") && !required, "{case}");
        }
    }
}

#[test]
fn a_template_that_fails_names_its_place_and_no_value() {
    let secrets = [secret("A", true), secret("B", false)];
    let large = "x".repeat(MAX_SECRET_BYTES);
    for (text, value, reason, words) in [
        ("x\n{{ A | split('') | join }}", CANARY, Reason::TransformFailed, "line 2: split needs a separator"),
        ("{{ [A] }}", CANARY, Reason::TransformFailed, "line 1: a list or a map is no text"),
        ("{{ A }}x", &large, Reason::ValueTooLarge, "larger than 1 MiB"),
    ] {
        let findings = [finding(&secrets[0], found(value)), Finding::Unknown];
        let target = PlannedTarget {
            entries: BTreeMap::new(),
            ..templated(text, SyncPolicy::AllOrNothing, MissingPolicy::Keep)
        };
        let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
        assert_eq!(problem.reason, reason);
        assert!(problem.message.starts_with("target t: template of key url: "), "{}", problem.message);
        assert!(problem.message.contains(words) && !format!("{problem:?}").contains(CANARY), "{}", problem.message);
    }
    let binary = Versioned { value: Arc::new(SecretValue::new(b"\xff".to_vec())), version: String::new() };
    let findings = [finding(&secrets[0], Fetched::Value(binary)), Finding::Unknown];
    let target = PlannedTarget {
        entries: BTreeMap::new(),
        ..templated("{{ A }}", SyncPolicy::AllOrNothing, MissingPolicy::Keep)
    };
    let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
    assert_eq!(problem.reason, Reason::TypeMismatch);
}

#[test]
fn a_secret_in_many_keys_is_counted_once() {
    let secrets = [secret("A", true), secret("B", true)];
    let findings = [State::Failed.finding(&secrets[0]), State::Fresh.finding(&secrets[1])];
    let target = templated("{{ A }}", SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let Decision::Hold(problem) = decide(&target, &secrets, &findings, None, &|_| false) else { panic!("written") };
    assert_eq!(problem.message, "1 secret cannot be read: terraform/db A: said the store");
}

#[test]
fn a_template_sees_what_transforms_made() {
    let steps: Vec<_> =
        [json!({"trim": {}}), json!({"case": "upper"})].map(|step| serde_json::from_value(step).unwrap()).into();
    let shaped = PlannedSecret {
        path: Some(Path::parse(".word").unwrap()),
        transforms: Transforms::parse(&steps).unwrap(),
        ..secret("B", true)
    };
    let secrets = [secret("A", true), shaped];
    let target = templated("{{ A }}:{{ B }}", SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let of = |text: &str| {
        let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], found(text))];
        outcome(&decide(&target, &secrets, &findings, None, &|_| false))
    };
    assert_eq!(of("{\"word\": \" b \"}"), "a=new url=new:B ready");
    assert_eq!(of("{\"other\": \" b \"}"), "hold PathNotFound");
}

/// As a plain key of it would be: not kept, and nothing to tell.
#[test]
fn a_template_of_an_exposed_version_that_is_not_there_is_left_out() {
    let exposure = Exposure { of: 0, version: "1".to_owned(), optional: true };
    let secrets = [secret("A", true), PlannedSecret { exposure: Some(exposure), ..secret("B", false) }];
    let target = templated("{{ B }}", SyncPolicy::AllOrNothing, MissingPolicy::Keep);
    let before = current(&["a", "url"], true);
    let of = |fetched: Fetched| {
        let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], fetched)];
        outcome(&decide(&target, &secrets, &findings, Some(&before), &|_| false))
    };
    assert_eq!(of(found("new")), "a=new url=new ready");
    assert_eq!(of(failed(ErrorKind::VersionNotFound)), "a=new ready");
    assert_eq!(of(failed(ErrorKind::NotFound)), "a=new url=old ValueMissing");
}

#[test]
fn a_document_may_not_bring_the_key_of_a_template_and_never_keeps_it() {
    let extract = Extract::parse(&serde_json::from_value(json!({})).unwrap()).unwrap();
    let secrets = [secret("A", true), PlannedSecret { extract: Some(extract), ..secret("B", false) }];
    let target = PlannedTarget {
        documents: BTreeSet::from([1]),
        ..templated("{{ A }}", SyncPolicy::AllOrNothing, MissingPolicy::Keep)
    };
    let before = current(&["a", "url", "b"], true);
    let of = |fetched: Fetched| {
        let findings = [State::Fresh.finding(&secrets[0]), finding(&secrets[1], fetched)];
        decide(&target, &secrets, &findings, Some(&before), &|_| false)
    };
    assert_eq!(outcome(&of(found("{\"b\": \"new\"}"))), "a=new b=new url=new ready");
    assert_eq!(outcome(&of(failed(ErrorKind::NotFound))), "a=new b=old url=new ValueMissing");
    let Decision::Hold(problem) = of(found("{\"url\": \"new\"}")) else { panic!("written") };
    assert_eq!(problem.reason, Reason::InvalidTarget);
    let words = "the document terraform/db B and a template both have the key url; ";
    assert!(problem.message.starts_with(words), "{}", problem.message);
}
