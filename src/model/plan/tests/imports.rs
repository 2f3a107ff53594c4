//! Catalogs, imported Stacks and bases.

use serde_json::json;

use super::*;

fn reason(plan: &Plan) -> Option<(Reason, bool)> {
    plan.blocked.as_ref().map(|problem| (problem.reason, problem.stalled))
}

#[test]
fn imports_merge_in_order_with_their_own_aliases() {
    let world = with_catalog(
        world(),
        "datadog",
        json!({
            "stores": {"main": {"clusterStore": "shared"}},
            "secrets": {"vars": {"KEY": {"store": "main"}, "LATE": {"store": "later"}, "OPEN": {"required": true}}},
            "components": {"terraform": {"db": {"secrets": {"vars": {"PASSWORD": {"store": "main"}}}}}},
        }),
    );
    let world = with_stack(
        world,
        "base",
        json!({
            "name": "other",
            "stores": {"main": {"store": "app"}},
            "secrets": {"vars": {"KEY": {"required": true}, "OWN": {"store": "main"}}},
            "targets": {"not-ours": {}},
            "components": {"terraform": {"api": {"secrets": {"vars": {"TOKEN": {"store": "main"}}}}}},
        }),
    );
    let plan = compile(
        json!({
            "name": "s",
            "imports": [{"catalog": "datadog"}, {"stack": "base"}],
            "stores": {"main": {"store": "ssm"}, "later": {"store": "files"}},
            "defaultStore": "main",
            "components": {"terraform": {"db": {"metadata": {"component": "db", "inherits": ["api"]}}}},
        }),
        &world,
    );
    assert_eq!(plan.blocked, None);
    let expected = map(&[
        (" KEY", "ClusterStore/shared /s/KEY"),
        (" LATE", "Store/files s.enc.yaml#LATE"),
        (" OPEN", "Store/ssm /s/OPEN"),
        (" OWN", "Store/app atmos.s#OWN"),
        ("terraform/db PASSWORD", "ClusterStore/shared /s/db/PASSWORD"),
        ("terraform/db TOKEN", "Store/app atmos.s.db#TOKEN"),
    ]);
    assert_eq!(reads(&plan), expected);
    let origins: Vec<&str> = plan.secrets.iter().map(|secret| secret.origin.as_str()).collect();
    assert_eq!(
        origins,
        ["import/base", "catalog/datadog", "catalog/datadog", "import/base", "inherits/db", "inherits/api"]
    );
    let names: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["prod-db"], "an import brings no targets");
    let inputs: Vec<String> = plan.inputs.iter().map(ToString::to_string).collect();
    assert_eq!(
        inputs,
        ["Catalog/datadog", "Stack/base", "Store/app", "Store/files", "Store/ssm", "ClusterStore/shared"]
    );
}

#[test]
fn a_missing_or_unreadable_import_blocks_and_others_are_still_named() {
    let spec =
        json!({"imports": [{"catalog": "gone"}, {"stack": "gone-too"}], "secrets": {"vars": {"A": {"store": "app"}}}});
    let plan = compile(spec, &world());
    assert_eq!(reason(&plan), Some((Reason::CatalogNotFound, false)));
    assert!(plan.secrets.is_empty() && plan.targets.is_empty());
    let inputs: Vec<String> = plan.inputs.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["Catalog/gone", "Stack/gone-too", "Store/app"]);

    let mut unreadable = world();
    unreadable.catalogs.insert("bad".to_owned(), Lookup::Invalid);
    let plan = compile(json!({"imports": [{"catalog": "bad"}]}), &unreadable);
    assert_eq!(reason(&plan), Some((Reason::CatalogNotFound, false)));
}

#[test]
fn circles_block() {
    let plan = compile(json!({"imports": [{"stack": "prod"}]}), &world());
    assert_eq!(reason(&plan), Some((Reason::InheritanceCycle, true)));

    let there = with_stack(world(), "there", json!({"imports": [{"stack": "prod"}]}));
    let plan = compile(json!({"imports": [{"stack": "there"}]}), &there);
    assert_eq!(reason(&plan), Some((Reason::InheritanceCycle, false)));
    assert!(plan.blocked.unwrap().message.contains("Stack/prod imports Stack/there imports Stack/prod"));

    let catalogs = with_catalog(
        with_catalog(world(), "a", json!({"imports": [{"catalog": "b"}]})),
        "b",
        json!({"imports": [{"catalog": "a"}]}),
    );
    assert_eq!(
        reason(&compile(json!({"imports": [{"catalog": "a"}]}), &catalogs)),
        Some((Reason::InheritanceCycle, false))
    );

    let components = json!({"components": {"terraform": {
        "a": {"metadata": {"inherits": ["b"]}},
        "b": {"metadata": {"inherits": ["c"]}},
        "c": {"metadata": {"inherits": ["b"]}},
    }}});
    let plan = compile(components, &world());
    assert_eq!(reason(&plan), Some((Reason::InheritanceCycle, true)));
    assert!(plan.blocked.unwrap().message.contains("b inherits c inherits b"));
    let itself = json!({"components": {"terraform": {"a": {"metadata": {"inherits": ["a"]}}}}});
    assert_eq!(reason(&compile(itself, &world())), Some((Reason::InheritanceCycle, true)));
}

#[test]
fn naming_oneself_as_component_is_no_circle() {
    let spec = json!({"components": {"terraform": {"vpc": {
        "metadata": {"component": "vpc"}, "secrets": {"vars": {"A": {"store": "app"}}},
    }}}});
    let plan = compile(spec, &world());
    assert_eq!(plan.blocked, None);
    assert_eq!(reads(&plan), map(&[("terraform/vpc A", "Store/app atmos.prod.vpc#A")]));
}

#[test]
fn bases_resolve_first_and_later_ones_win() {
    let spec = json!({"components": {"terraform": {
        "root": {"metadata": {"type": "abstract"}, "secrets": {"vars": {"A": {"store": "app", "key": "root"}, "GONE": {"store": "app"}}}},
        "one": {"metadata": {"type": "abstract", "inherits": ["root"]}, "secrets": {"vars": {"A": {"key": "one"}, "GONE": {"declared": false}}}},
        "two": {"metadata": {"type": "abstract"}, "secrets": {"vars": {"A": {"store": "files"}}}},
        "x": {"metadata": {"component": "one", "inherits": ["two"]}},
        "y": {"metadata": {"component": "two", "inherits": ["one"]}},
    }}});
    let plan = compile(spec, &world());
    assert_eq!(
        reads(&plan),
        map(&[("terraform/x A", "Store/files prod.x.enc.yaml#A"), ("terraform/y A", "Store/app atmos.prod.y#A")])
    );
    assert_eq!(entries(&plan, "prod-x"), map(&[("one", "terraform/x A")]));
    assert_eq!(plan.secrets[0].origin, "inherits/two");
}

#[test]
fn a_missing_base_holds_one_component() {
    let spec = json!({
        "secrets": {"vars": {"S": {"store": "app"}}},
        "components": {"terraform": {
            "bad": {"metadata": {"inherits": ["nowhere"]}, "secrets": {"vars": {"A": {"store": "app"}}}},
            "good": {"secrets": {"vars": {"A": {"store": "app"}}}},
        }},
    });
    let plan = compile(spec, &world());
    assert_eq!(plan.blocked, None);
    assert_eq!(reads(&plan)["terraform/bad A"], "BaseNotFound");
    assert_eq!(reads(&plan)["terraform/good A"], "Store/app atmos.prod.good#A");
    let problems: Vec<Option<Reason>> =
        plan.targets.iter().map(|target| target.problem.as_ref().map(|problem| problem.reason)).collect();
    assert_eq!(problems, [Some(Reason::BaseNotFound), None]);
    assert!(plan.targets[0].problem.as_ref().unwrap().stalled);
}

#[test]
fn imports_that_multiply_are_bounded() {
    let mut many = world();
    for index in 0..200 {
        let next = index + 1;
        many = with_stack(
            many,
            &format!("s{index}"),
            json!({"imports": [{"stack": format!("s{next}")}, {"stack": format!("s{next}")}]}),
        );
    }
    let plan = compile(json!({"imports": [{"stack": "s0"}]}), &many);
    assert_eq!(reason(&plan), Some((Reason::CatalogNotFound, false)));

    // Diamonds below the bound cost one visit each.
    let mut diamonds = with_stack(world(), "s30", json!({"secrets": {"vars": {"A": {"store": "app"}}}}));
    for index in 0..30 {
        let next = format!("s{}", index + 1);
        diamonds = with_stack(diamonds, &format!("s{index}"), json!({"imports": [{"stack": next}, {"stack": next}]}));
    }
    assert_eq!(compile(json!({"imports": [{"stack": "s0"}]}), &diamonds).secrets.len(), 1);
}

#[test]
fn inheritance_has_a_bounded_depth() {
    let chain = |length: usize| {
        let components: serde_json::Map<_, _> = (0..length)
            .map(|index| {
                let inherits = if index + 1 < length { vec![format!("c{}", index + 1)] } else { Vec::new() };
                let kind = if index == 0 { "real" } else { "abstract" };
                let vars = json!({format!("N{index}"): {"store": "app"}});
                (
                    format!("c{index}"),
                    json!({"metadata": {"type": kind, "inherits": inherits}, "secrets": {"vars": vars}}),
                )
            })
            .collect();
        compile(json!({"components": {"terraform": components}}), &world())
    };
    let legal = chain(20);
    assert_eq!((legal.blocked, legal.secrets.len()), (None, 20));
    assert_eq!(reason(&chain(1000)), Some((Reason::InheritanceCycle, true)));
}
