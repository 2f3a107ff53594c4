//! Bad declarations and targets: each says why, and the rest goes on.

use serde_json::json;

use super::*;

/// One component `x` with one declaration `A`.
fn one(declaration: Value) -> Value {
    json!({"stores": {"both": {"store": "a", "clusterStore": "b"}, "cs": {"clusterStore": "gone"}},
           "components": {"terraform": {"x": {"secrets": {"vars": {"A": declaration, "GOOD": {"store": "app"}}}}}}})
}

#[test]
fn a_bad_declaration_says_why_and_leaves_the_others() {
    let mut world = world();
    let refused = Problem::new(Reason::NamespaceNotAllowed, "no");
    world.stores.insert(StoreRef::Store("refused".to_owned()), StoreView::Refused(refused));
    for (declaration, reason, stalled) in [
        (json!({}), Reason::NoBackend, true),
        (json!({"store": "nowhere"}), Reason::BackendNotFound, false),
        (json!({"store": "both"}), Reason::AmbiguousBackend, true),
        (json!({"store": "cs"}), Reason::NamespaceNotAllowed, false),
        (json!({"store": "refused"}), Reason::NamespaceNotAllowed, false),
        (json!({"store": "app", "sops": "files"}), Reason::AmbiguousBackend, true),
        (json!({"sops": "app"}), Reason::AmbiguousBackend, false),
        (json!({"store": "app", "scope": "stack"}), Reason::ScopeConflict, true),
        (json!({"store": "app", "version": "1"}), Reason::Unsupported, false),
        (json!({"store": "app", "required": true, "default": "x"}), Reason::InvalidSpec, true),
        (json!({"store": "app", "reference": "a", "backendKey": "b#c"}), Reason::InvalidSpec, true),
        (json!({"store": "app", "path": "a"}), Reason::InvalidSpec, true),
        (json!({"store": "app", "backendKey": "no-key"}), Reason::InvalidKeyName, false),
        (json!({"store": "app", "reference": "a b"}), Reason::InvalidKeyName, false),
    ] {
        let plan = compile(one(declaration.clone()), &world);
        let problem = plan.secrets[0].read.as_ref().unwrap_err();
        assert_eq!((problem.reason, problem.stalled), (reason, stalled), "{declaration} {}", problem.message);
        assert!(plan.secrets[1].read.is_ok());
        assert_eq!(plan.blocked, None);
        let target = plan.targets.iter().find(|target| target.name == "prod-x").unwrap();
        assert_eq!((target.entries.len(), &target.problem), (2, &None));
    }
}

#[test]
fn a_missing_cluster_store_looks_like_one_that_refuses() {
    let plan = compile(one(json!({"store": "cs"})), &world());
    assert_eq!(plan.secrets[0].read, Err(not_available("gone", "payments")));
    assert_eq!(plan.secrets[0].store, Some(StoreRef::ClusterStore("gone".to_owned())));
}

#[test]
fn different_coordinates_with_one_key_collide() {
    let spec = |component: Value| {
        json!({"defaultStore": "ssm", "name": "a-b",
               "secrets": {"vars": {"K": {}, "FREE": {}}}, "components": {"terraform": {"x": {"secrets": {"vars": component}}}}})
    };
    // `/a/b/x/K` twice: at the instance, and as a name with slashes at the stack level.
    let mut collides = spec(json!({"K": {}}));
    collides["secrets"]["vars"]["OTHER"] = json!({"reference": "x/K"});
    let plan = compile(collides, &world());
    let found = reads(&plan);
    assert_eq!((found[" OTHER"].as_str(), found["terraform/x K"].as_str()), ("PathCollision", "PathCollision"));
    assert_eq!(found[" K"], "Store/ssm /a/b/K");
    assert_eq!(found[" FREE"], "Store/ssm /a/b/FREE");

    // The same coordinate twice, one `backendKey` twice, and one that another computes are legal.
    let legal = spec(json!({
        "ONE": {"backendKey": "/legacy", "path": ".a"}, "TWO": {"backendKey": "/legacy", "path": ".b"},
        "THREE": {"backendKey": "/a/b/K"}, "FOUR": {"reference": "SAME"}, "FIVE": {"reference": "SAME"},
    }));
    assert!(compile(legal, &world()).secrets.iter().all(|secret| secret.read.is_ok()));
}

#[test]
fn names_that_differ_in_case_alone_meet_in_key_vault() {
    let spec =
        |store: &str| json!({"defaultStore": store, "secrets": {"vars": {"token": {}, "TOKEN": {}, "OTHER": {}}}});
    let found = reads(&compile(spec("azure"), &world()));
    assert_eq!((found[" token"].as_str(), found[" TOKEN"].as_str()), ("PathCollision", "PathCollision"));
    assert_eq!(found[" OTHER"], "Store/azure prod-OTHER");
    let found = reads(&compile(spec("ssm"), &world()));
    assert_eq!(
        (found[" token"].as_str(), found[" TOKEN"].as_str()),
        ("Store/ssm /prod/token", "Store/ssm /prod/TOKEN")
    );
}

#[test]
fn a_stack_called_global_meets_the_global_file() {
    let spec = json!({"name": "global", "defaultStore": "files",
                      "secrets": {"vars": {"A": {}, "B": {"scope": "global", "reference": "A"}, "C": {"scope": "global"}}}});
    let found = reads(&compile(spec, &world()));
    assert_eq!((found[" A"].as_str(), found[" B"].as_str()), ("PathCollision", "PathCollision"));
    assert_eq!(found[" C"], "Store/files global.enc.yaml#C");
}

#[test]
fn one_component_name_in_two_types_is_an_error_of_both() {
    let component = json!({"secrets": {"vars": {"A": {"store": "app"}}}});
    let spec = json!({"components": {"terraform": {"x": component, "y": component}, "helmfile": {"x": component}}});
    let plan = compile(spec, &world());
    let found = reads(&plan);
    assert_eq!(found["terraform/x A"], "PathCollision");
    assert_eq!(found["helmfile/x A"], "PathCollision");
    assert_eq!(found["terraform/y A"], "Store/app atmos.prod.y#A");
}

#[test]
fn bad_targets_say_why_and_leave_the_others() {
    let long = "x".repeat(254);
    for (name, target, reason) in [
        ("t", json!({"keys": {"a": "GONE"}}), Reason::NotDeclared),
        ("t", json!({"keys": {"a": "A"}, "inherit": "All"}), Reason::InvalidTarget),
        ("t", json!({"keys": {"..a": "A"}}), Reason::InvalidKeyName),
        ("t", json!({"keys": {"tls.crt": "A"}, "type": "kubernetes.io/tls"}), Reason::InvalidTarget),
        ("t", json!({"type": "kubernetes.io/ssh-auth"}), Reason::InvalidTarget),
        ("t", json!({"labels": {"app.kubernetes.io/managed-by": "me"}}), Reason::InvalidTarget),
        ("t", json!({"labels": {"secrets.atmos.tools/managed": "true"}}), Reason::InvalidTarget),
        ("t", json!({"annotations": {"kubectl.kubernetes.io/x": "y"}}), Reason::InvalidTarget),
        ("t", json!({"annotations": {"not a name": "y"}}), Reason::InvalidTarget),
        ("t", json!({"labels": {"a": "not a value"}}), Reason::InvalidTarget),
        ("t", json!({"template": {"data": {"a": "{{ A"}}}), Reason::InvalidTarget),
        ("t", json!({"template": {"data": {"a": "{{ A | env }}"}}}), Reason::InvalidTarget),
        ("t", json!({"template": {"data": {"a": "{{ B }}"}}}), Reason::NotDeclared),
        ("t", json!({"template": {"data": {"A": "x"}}, "inherit": "All"}), Reason::InvalidTarget),
        ("t", json!({"template": {"data": {"..a": "x"}}}), Reason::InvalidKeyName),
        ("t", json!({"template": {"data": {"a": "x"}}, "type": "kubernetes.io/ssh-auth"}), Reason::InvalidTarget),
        (
            "t",
            json!({"format": "Json", "type": "kubernetes.io/basic-auth", "keys": {"username": "A"}}),
            Reason::InvalidTarget,
        ),
        ("t", json!({"format": "Dotenv", "keys": {"a-b": "A"}}), Reason::InvalidKeyName),
        ("t", json!({"format": "TfvarsEnv", "keys": {"1a": "A"}}), Reason::InvalidKeyName),
        ("t", json!({"annotations": {"a": "x {{ A }}"}}), Reason::TaintedSink),
        ("t", json!({"annotations": {"a": "{% if A %}"}}), Reason::TaintedSink),
        ("t", json!({"labels": {"a": "{{ A }}"}}), Reason::TaintedSink),
        ("Upper", json!({}), Reason::InvalidTarget),
        ("dot.-x", json!({}), Reason::InvalidTarget),
        (long.as_str(), json!({}), Reason::InvalidTarget),
    ] {
        let spec = json!({"components": {"terraform": {"x": {
            "secrets": {"vars": {"A": {"store": "app"}}}, "targets": {name: target, "zzz": {}},
        }}}});
        let plan = compile(spec, &world());
        let find = |name: &str| plan.targets.iter().find(|target| target.name == name).unwrap();
        let problem = find(name).problem.as_ref().unwrap();
        assert_eq!((problem.reason, problem.stalled), (reason, true), "{target} {}", problem.message);
        assert_eq!(find("zzz").problem, None);
    }
    let plan = compile(
        json!({"components": {"terraform": {"x": {
            "secrets": {"vars": {"A": {"store": "app"}}},
            "targets": {"t": {"labels": {"app.kubernetes.io/name": "x", "k8s.io.example/x": "", "short": "y"}}},
        }}}}),
        &world(),
    );
    assert_eq!(plan.targets[0].problem, None);
}

#[test]
fn a_template_alone_has_its_own_keys_alone() {
    let spec = json!({"components": {"terraform": {"x/y": {
        "secrets": {"vars": {"A": {"store": "app"}, "B": {"store": "app"}}},
        "targets": {
            "alone": {"template": {"data": {"url": "{{ B }}"}}},
            "added": {"inherit": "Own", "template": {"data": {"url": "{{ B }}"}}},
            "beside": {"keys": {"a": "A"}, "template": {"data": {"url": "{{ B }}"}}},
            "env": {"format": "Dotenv", "keys": {"a": "A"}, "template": {"data": {"url": "{{ B }}"}}},
            "vars": {"format": "TfvarsEnv", "keys": {"a": "A"}, "template": {"data": {"url": "{{ B }}"}}},
            "pull": {"type": "kubernetes.io/dockerconfigjson", "template": {"data": {".dockerconfigjson": "{}"}}},
        },
    }}}});
    let plan = compile(spec, &world());
    let found: Vec<(&str, Vec<&str>, usize)> = plan
        .targets
        .iter()
        .inspect(|target| assert_eq!(target.problem, None, "{}", target.name))
        .map(|target| (target.name.as_str(), target.keys().collect(), target.secrets().count()))
        .collect();
    let expected = [
        ("added", vec!["A", "B", "url"], 3),
        ("alone", vec!["url"], 1),
        ("beside", vec!["a", "url"], 2),
        ("env", vec![".env"], 2),
        ("pull", vec![".dockerconfigjson"], 0),
        ("vars", vec!["TF_VAR_a", "TF_VAR_url"], 2),
    ];
    assert_eq!(found, expected);
}

#[test]
fn too_much_text_in_templates_is_an_error_of_all_that_have_some() {
    let targets = |text: usize| -> Value {
        let data: serde_json::Map<String, Value> =
            (0..16).map(|key| (format!("k{key}"), json!("x".repeat(text)))).collect();
        json!({"a": {"template": {"data": data}}, "plain": {}})
    };
    let spec = |text: usize| {
        json!({"components": {"terraform": {"x": {"secrets": {"vars": {"A": {"store": "app"}}}, "targets": targets(text)}}},
                                    "targets": {"b": {"template": {"data": {"k": "x"}}}}})
    };
    let problems = |text: usize| -> Vec<Option<Reason>> {
        let plan = compile(spec(text), &world());
        plan.targets.iter().map(|target| target.problem.as_ref().map(|problem| problem.reason)).collect()
    };
    assert_eq!(problems(1535), [None, None, None]);
    assert_eq!(problems(1536), [Some(Reason::InvalidTarget), Some(Reason::InvalidTarget), None]);
}

#[test]
fn two_declarations_with_one_key_need_a_choice() {
    let spec = json!({"components": {"terraform": {"x": {
        "secrets": {"vars": {"A": {"store": "app", "key": "k"}, "B": {"store": "app", "key": "k"}}},
        "targets": {"all": {}, "chosen": {"keys": {"k": "B"}}},
    }}}});
    let plan = compile(spec, &world());
    assert_eq!(plan.targets[0].problem.as_ref().map(|problem| problem.reason), Some(Reason::InvalidTarget));
    assert_eq!(plan.targets[1].problem, None);
}

#[test]
fn one_target_name_twice_is_an_error_of_both() {
    let vars = json!({"vars": {"A": {"store": "app"}}});
    let spec = json!({"secrets": vars, "targets": {"prod-x": {}, "free": {}},
                      "components": {"terraform": {"x": {"secrets": vars}}}});
    let plan = compile(spec, &world());
    let problems: Vec<_> =
        plan.targets.iter().map(|target| (target.name.as_str(), target.problem.as_ref().map(|p| p.reason))).collect();
    let invalid = Some(Reason::InvalidTarget);
    assert_eq!(problems, [("free", None), ("prod-x", invalid), ("prod-x", invalid)]);
}

#[test]
fn messages_are_bounded() {
    let problem = Problem::new(Reason::InternalError, "é".repeat(600));
    assert_eq!(problem.message.chars().count(), 513);
    assert_eq!(Problem::new(Reason::InternalError, "é".repeat(512)).message.chars().count(), 512);
}

#[test]
fn limits_block() {
    let vars = |count: usize| -> Value {
        json!({"vars": (0..count).map(|index| (format!("N{index}"), json!({"store": "app"}))).collect::<serde_json::Map<_, _>>()})
    };
    let components = |count: usize, each: usize| -> Value {
        (0..count)
            .map(|index| (format!("c{index}"), json!({"secrets": vars(each)})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let full = compile(json!({"components": {"terraform": components(4, 250)}}), &world());
    assert_eq!((full.blocked, full.secrets.len()), (None, MAX_SECRETS));
    let over = compile(json!({"components": {"terraform": components(4, 250)}, "secrets": vars(1)}), &world());
    assert_eq!(over.blocked.map(|problem| (problem.reason, problem.stalled)), Some((Reason::TooManySecrets, true)));
    let targets = compile(json!({"components": {"terraform": components(128, 1)}}), &world());
    assert_eq!((targets.blocked, targets.targets.len()), (None, MAX_TARGETS));
    let over = compile(
        json!({"components": {"terraform": components(128, 1)}, "secrets": vars(1), "targets": {"t": {}}}),
        &world(),
    );
    assert_eq!(over.blocked.map(|problem| problem.reason), Some(Reason::TooManySecrets));
    assert!(over.targets.is_empty() && over.secrets.is_empty());
}

#[test]
fn a_component_without_secrets_has_no_target() {
    let plan =
        compile(json!({"components": {"terraform": {"x": {}, "bad": {"metadata": {"inherits": ["no"]}}}}}), &world());
    let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["prod-bad"], "but one that cannot be known keeps its place");
}
