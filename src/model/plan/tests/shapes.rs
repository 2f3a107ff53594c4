//! Transforms, exposed versions and documents in a plan.

use super::*;
use crate::api::Reason;

fn spec(vars: Value) -> Value {
    json!({"name": "prod", "defaultStore": "ssm", "stores": {"shared": {"clusterStore": "shared"}},
           "components": {"terraform": {"x": {"secrets": {"vars": vars}}}}})
}

fn problem_of(vars: Value) -> (Reason, String, bool) {
    let plan = compile(spec(vars), &world());
    let problem = plan.secrets.iter().find_map(|secret| secret.read.as_ref().err()).unwrap();
    (problem.reason, problem.message.clone(), problem.stalled)
}

#[test]
fn an_exposed_version_is_one_more_read() {
    let plan = compile(
        spec(json!({
            "DB": {"store": "shared", "required": true, "path": ".password", "transforms": [{"trim": {}}], "default": null,
                   "expose": [{"version": "AWSPREVIOUS", "key": "DB_OLD", "optional": true}, {"version": "3", "key": "DB_3"}]},
            "OTHER": {},
        })),
        &world(),
    );
    let versions: Vec<(&str, Option<&str>, bool, bool)> = plan
        .secrets
        .iter()
        .map(|secret| {
            let key = &secret.read.as_ref().unwrap().key;
            assert_eq!(secret.path.is_some(), secret.name != "OTHER");
            (secret.name.as_str(), key.version.as_deref(), secret.required, secret.exposure.is_some())
        })
        .collect();
    assert_eq!(
        versions,
        [
            ("DB", None, true, false),
            ("DB_OLD", Some("AWSPREVIOUS"), false, true),
            ("DB_3", Some("3"), true, true),
            ("OTHER", None, false, false),
        ]
    );
    assert_eq!(plan.secrets[0].read.as_ref().unwrap().key.name, plan.secrets[1].read.as_ref().unwrap().key.name);
    assert_eq!(plan.secrets[1].transforms.kinds().collect::<Vec<_>>(), ["trim"]);
    assert_eq!(plan.declarations().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["DB", "OTHER"]);
    let expected = map(&[
        ("DB", "terraform/x DB"),
        ("DB_OLD", "terraform/x DB_OLD"),
        ("DB_3", "terraform/x DB_3"),
        ("OTHER", "terraform/x OTHER"),
    ]);
    assert_eq!(entries(&plan, "prod-x"), expected);
}

#[test]
fn an_exposed_version_goes_with_its_declaration() {
    let shared = json!({"DB": {"store": "shared", "expose": [{"version": "1", "key": "OLD"}]}});
    let plan = compile(
        json!({"stores": {"shared": {"clusterStore": "shared"}}, "secrets": {"vars": shared},
        "components": {"terraform": {
             "all": {},
             "own": {"targets": {"own": {"inherit": "Own"}}},
             "keys": {"targets": {"keys": {"keys": {"now": "DB", "before": "OLD"}}}},
             "without": {"secrets": {"vars": {"DB": {"declared": false}}}},
             "elsewhere": {"secrets": {"vars": {"DB": {"store": "app"}}}},
        }}}),
        &world(),
    );
    assert_eq!(entries(&plan, "prod-all"), map(&[("DB", " DB"), ("OLD", " OLD")]));
    assert_eq!(entries(&plan, "own"), map(&[]));
    assert_eq!(entries(&plan, "keys"), map(&[("now", " DB"), ("before", " OLD")]));
    assert!(!plan.targets.iter().any(|target| target.name == "prod-without"));
    // Another store has other versions: what was inherited for the first one is dropped.
    assert_eq!(entries(&plan, "prod-elsewhere"), map(&[("DB", "terraform/elsewhere DB")]));
    assert!(plan.secrets.iter().all(|secret| secret.read.is_ok()));
}

#[test]
fn a_store_without_versions_exposes_none() {
    let plan = compile(spec(json!({"A": {"store": "app", "expose": [{"version": "1", "key": "OLD"}]}})), &world());
    assert!(plan.secrets[0].read.is_ok());
    let problem = plan.secrets[1].read.as_ref().unwrap_err();
    assert_eq!(problem.reason, Reason::Unsupported);
    assert!(problem.message.starts_with("`expose` is set, but Store/app of kind kubernetes keeps no versions"));
    let plan = compile(spec(json!({"A": {"expose": [{"version": "1", "key": "B"}]}, "B": {}})), &world());
    assert_eq!(plan.targets[0].problem.as_ref().unwrap().reason, Reason::InvalidTarget);
}

#[test]
fn a_document_is_no_key_but_brings_them() {
    let vars = json!({"DOC": {"extract": {"prefix": "D_"}}, "A": {}});
    let plan = compile(spec(vars.clone()), &world());
    assert_eq!(entries(&plan, "prod-x"), map(&[("A", "terraform/x A")]));
    let names = plan.targets[0].documents.iter().map(|index| plan.secrets[*index].name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["DOC"]);
    assert_eq!(plan.targets[0].secrets().count(), 2);
    let with_keys = json!({"defaultStore": "ssm", "components": {"terraform": {"x": {
        "secrets": {"vars": vars}, "targets": {"t": {"keys": {"doc": "DOC"}}}}}}});
    let plan = compile(with_keys, &world());
    let problem = plan.targets[0].problem.as_ref().unwrap();
    assert_eq!(problem.reason, Reason::InvalidTarget);
    assert!(problem.message.contains("key doc names DOC, whose `extract` brings its own keys; use `inherit`"));
    // What its type needs may be in the document.
    let tls = json!({"defaultStore": "ssm", "components": {"terraform": {"x": {
        "secrets": {"vars": {"DOC": {"extract": {}}}}, "targets": {"t": {"type": "kubernetes.io/tls"}}}}}});
    assert_eq!(compile(tls, &world()).targets[0].problem, None);
    // Unless the target is one document itself: then it has one key.
    let tls = json!({"defaultStore": "ssm", "components": {"terraform": {"x": {
        "secrets": {"vars": {"DOC": {"extract": {}}}},
        "targets": {"t": {"type": "kubernetes.io/tls", "format": "Json"}}}}}});
    assert_eq!(compile(tls, &world()).targets[0].problem.as_ref().unwrap().reason, Reason::InvalidTarget);
}

#[test]
fn a_template_uses_exposed_versions_and_no_documents() {
    let compile_text = |text: &str| {
        let spec = json!({"defaultStore": "ssm", "components": {"terraform": {"x": {
            "secrets": {"vars": {
                "DB": {"store": "shared", "expose": [{"version": "1", "key": "OLD"}]}, "DOC": {"extract": {}}}},
            "targets": {"t": {"template": {"data": {"k": text}}}}}}},
            "stores": {"shared": {"clusterStore": "shared"}}});
        compile(spec, &world())
    };
    let plan = compile_text("{{ DB }} {{ OLD }}");
    assert_eq!(plan.targets[0].problem, None);
    let names: Vec<&str> = plan.targets[0].secrets().map(|index| plan.secrets[index].name.as_str()).collect();
    assert_eq!(names, ["DB", "OLD"]);
    for text in ["{{ DOC }}", "{% if DOC is defined %}x{% endif %}", "{{ secrets[\"DOC\"] }}"] {
        let plan = compile_text(text);
        let problem = plan.targets[0].problem.as_ref().unwrap();
        assert_eq!((problem.reason, problem.stalled), (Reason::InvalidTarget, true), "{text}");
        assert_eq!(
            problem.message,
            "target t: template of key k: it names DOC, whose `extract` brings its own keys; declare the value again, with \
             `path`, under another name"
        );
    }
    // What documents bring is known only when they were read.
    assert_eq!(compile_text("{{ user }}").targets[0].problem.as_ref().unwrap().reason, Reason::NotDeclared);
}

#[test]
fn what_shapes_a_value_is_checked_before_anything_is_read() {
    for (vars, words) in [
        (
            json!({"A": {"transforms": [{"trim": {}}, {"jsonExtract": {"path": "x"}}]}}),
            "`transforms[1]` cannot be used: `path` cannot be read",
        ),
        (
            json!({"A": {"transforms": [{"regexReplace": {"pattern": "(", "replacement": ""}}]}}),
            "`transforms[0]` cannot be used: `pattern` is no regular expression",
        ),
        (json!({"A": {"extract": {"rename": {"a": "b/c"}}}}), "`extract.rename` of `a` is no key of a Secret"),
        (json!({"A": {"extract": {}, "path": ".a"}}), "it has `extract`, which brings its own keys, and `path`"),
    ] {
        let (reason, message, stalled) = problem_of(vars.clone());
        assert_eq!((reason, stalled), (Reason::InvalidSpec, true), "{vars}");
        assert!(message.starts_with(words), "{message}");
    }
}

#[test]
fn a_later_layer_replaces_the_whole_list() {
    let base = |vars: Value, own: Value| {
        let spec = json!({"defaultStore": "ssm", "components": {"terraform": {
            "base": {"metadata": {"type": "abstract"}, "secrets": {"vars": {"A": vars}}},
            "x": {"metadata": {"inherits": ["base"]}, "secrets": {"vars": {"A": own}}},
        }}});
        let plan = compile(spec, &world());
        plan.secrets[0].transforms.kinds().collect::<Vec<_>>().join(" ")
    };
    let two = json!({"transforms": [{"trim": {}}, {"case": "upper"}]});
    assert_eq!(base(two.clone(), json!({})), "trim case");
    assert_eq!(base(two.clone(), json!({"transforms": [{"gunzip": {}}]})), "gunzip");
    assert_eq!(base(two, json!({"transforms": []})), "");
}
