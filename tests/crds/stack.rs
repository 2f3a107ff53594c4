//! Rules of a Stack and a Catalog outside their declarations and targets.

use crate::cluster::Kind::{Catalog, Stack};
use crate::cluster::{Cluster, Unknown};
use crate::rules::{Rule, check};
use serde_json::json;

#[tokio::test]
async fn rules_of_stacks_and_catalogs_hold() {
    check(RULES).await;
}

/// From, to, whether it is the same name; the object is called `plat`.
const RENAMES: &[(&str, &str, bool)] = &[
    ("{}", "{suspend: true}", true),
    ("{}", "{name: plat}", true),
    ("{name: plat}", "{}", true),
    ("{name: other}", "{name: other, suspend: true}", true),
    ("{}", "{name: other}", false),
    ("{name: other}", "{}", false),
    ("{name: other}", "{name: plat}", false),
    ("{name: other}", "{name: third}", false),
    // What an emptied spec becomes.
    ("{suspend: true}", "null", true),
    ("{name: plat}", "null", true),
    ("null", "{name: plat}", true),
    ("null", "{name: other}", false),
    ("{name: other}", "null", false),
];

pub const IMMUTABLE: &str =
    "spec.name is immutable, also between absent and set: it is part of every coordinate; create another Stack instead";

#[tokio::test]
async fn the_effective_name_is_immutable() {
    for (from, to, same) in RENAMES {
        let cluster = Cluster::new().await.unwrap();
        let object = json!({"metadata": {"name": "plat"}, "spec": crate::cluster::yaml(from)});
        let stored = cluster.create_with(Stack, Unknown::Refused, &object).await.unwrap();
        match cluster.replace_spec(Stack, &stored, to).await {
            Ok(_) => assert!(same, "{from} → {to} should be refused"),
            Err(refusal) => {
                assert!(!same, "{from} → {to} should be stored: {refusal:?}");
                assert!(refusal.is("spec.name", IMMUTABLE), "{from} → {to}: {refusal:?}");
            }
        }
    }
}

pub const RULES: &[Rule] = &[
    Rule {
        says: "a Stack needs nothing, and takes the top-level fields",
        kind: Stack,
        accepts: &[
            "{}",
            "{name: plat-ue1-prod, refreshInterval: 1h, suspend: false, drift: Correct, defaultStore: app, stores: {}, imports: [], secrets: {}, targetDefaults: {}, targets: {}, components: {}}",
            "{name: orgs/acme/plat_1.prod, drift: Report}",
        ],
        refuses: &[
            ("{name: ''}", "spec.name", "\"\": spec.name in body should be at least 1 chars long"),
            (
                "{name: -plat}",
                "spec.name",
                "\"-plat\": spec.name in body should match '^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$'",
            ),
            (
                "{drift: correct}",
                "spec.drift",
                "Unsupported value: \"correct\": supported values: \"Correct\", \"Report\"",
            ),
        ],
    },
    Rule {
        says: "refreshInterval has bounds and one way to write it",
        kind: Stack,
        accepts: &[
            "{refreshInterval: 0s}",
            "{refreshInterval: 10s}",
            "{refreshInterval: 1h30m}",
            "{refreshInterval: 720h}",
            "{refreshInterval: 2592000s}",
        ],
        refuses: &[
            (
                "{refreshInterval: 9s}",
                "spec.refreshInterval",
                "\"9s\": refreshInterval must be 0s, or between 10s and 720h",
            ),
            (
                "{refreshInterval: 0h}",
                "spec.refreshInterval",
                "\"0h\": refreshInterval must be 0s, or between 10s and 720h",
            ),
            (
                "{refreshInterval: 720h1s}",
                "spec.refreshInterval",
                "\"720h1s\": refreshInterval must be 0s, or between 10s and 720h",
            ),
            (
                "{refreshInterval: 9999h999999m99999999s}",
                "spec.refreshInterval",
                "\"9999h999999m99999999s\": refreshInterval must be 0s, or between 10s and 720h",
            ),
            (
                "{refreshInterval: 1d}",
                "spec.refreshInterval",
                "\"1d\": spec.refreshInterval in body should match '^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$'",
            ),
            (
                "{refreshInterval: 1.5h}",
                "spec.refreshInterval",
                "\"1.5h\": spec.refreshInterval in body should match '^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$'",
            ),
            (
                "{refreshInterval: ''}",
                "spec.refreshInterval",
                "\"\": spec.refreshInterval in body should be at least 2 chars long",
            ),
            (
                "{refreshInterval: 3600}",
                "spec.refreshInterval",
                "\"integer\": spec.refreshInterval in body must be of type string: \"integer\"",
            ),
        ],
    },
    Rule {
        says: "an alias stands for exactly one store",
        kind: Stack,
        accepts: &["{stores: {app/Secrets_1.x-y: {clusterStore: shared}, files: {store: team}}}"],
        refuses: &[
            ("{stores: {app: {}}}", "spec.stores.app", "0: spec.stores.app in body should have at least 1 properties"),
            (
                "{stores: {app: {store: a, clusterStore: b}}}",
                "spec.stores.app",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{stores: {app: shared}}",
                "spec.stores.app",
                "\"string\": spec.stores.app in body must be of type object: \"string\"",
            ),
            ("{stores: {'a b': {store: a}}}", "spec.stores", ALIASES),
            ("{stores: {'': {store: a}}}", "spec.stores", ALIASES),
        ],
    },
    Rule {
        says: "an import names exactly one Catalog or Stack",
        kind: Stack,
        accepts: &["{imports: [{catalog: datadog}, {stack: base}]}"],
        refuses: &[
            ("{imports: [{}]}", "spec.imports[0]", "0: spec.imports[0] in body should have at least 1 properties"),
            (
                "{imports: [{catalog: a}, {catalog: a, stack: b}]}",
                "spec.imports[1]",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{imports: [{catalog: ''}]}",
                "spec.imports[0].catalog",
                "\"\": spec.imports[0].catalog in body should be at least 1 chars long",
            ),
        ],
    },
    Rule {
        says: "component types are words",
        kind: Stack,
        accepts: &["{components: {terraform: {}, helmfile: {}, packer: {}, ansible: {}, My-type_2: {}}}"],
        refuses: &[
            ("{components: {a/b: {}}}", "spec.components", TYPES),
            ("{components: {-a: {}}}", "spec.components", TYPES),
            ("{components: {'': {}}}", "spec.components", TYPES),
        ],
    },
    Rule {
        says: "names of components are paths that stay where they are",
        kind: Stack,
        accepts: &["{components: {terraform: {orders-db: {}, network/vpc_1.x: {}, _base: {}}}}"],
        refuses: &[
            ("{components: {terraform: {'': {}}}}", "spec.components[terraform]", COMPONENTS),
            ("{components: {terraform: {a/../b: {}}}}", "spec.components[terraform]", COMPONENTS),
            ("{components: {terraform: {/a: {}}}}", "spec.components[terraform]", COMPONENTS),
            ("{components: {terraform: {a//b: {}}}}", "spec.components[terraform]", COMPONENTS),
            ("{components: {terraform: {'a b': {}}}}", "spec.components[terraform]", COMPONENTS),
        ],
    },
    Rule {
        says: "a component inherits as in Atmos",
        kind: Stack,
        accepts: &[
            "{components: {terraform: {a: {metadata: {type: abstract}}, b: {metadata: {type: real, enabled: false, component: a, inherits: [a, c]}}}}}",
        ],
        refuses: &[
            (
                "{components: {terraform: {a: {metadata: {type: Abstract}}}}}",
                "spec.components.terraform.a.metadata.type",
                "Unsupported value: \"Abstract\": supported values: \"abstract\", \"real\"",
            ),
            (
                "{components: {terraform: {a: {metadata: {inherits: b}}}}}",
                "spec.components.terraform.a.metadata.inherits",
                "\"string\": spec.components.terraform.a.metadata.inherits in body must be of type array: \"string\"",
            ),
            (
                "{components: {terraform: {a: {metadata: {inherits: ['']}}}}}",
                "spec.components.terraform.a.metadata.inherits[0]",
                "\"\": spec.components.terraform.a.metadata.inherits[0] in body should be at least 1 chars long",
            ),
        ],
    },
    Rule {
        says: "a Catalog imports Catalogs and reaches ClusterStores alone",
        kind: Catalog,
        accepts: &[
            "{}",
            "{imports: [{catalog: a}], stores: {app: {clusterStore: b}}, secrets: {vars: {A: {store: app}}}}",
        ],
        refuses: &[
            ("{imports: [{}]}", "spec.imports[0].catalog", "Required value"),
            ("{stores: {app: {}}}", "spec.stores.app.clusterStore", "Required value"),
            ("{stores: {'a b': {clusterStore: a}}}", "spec.stores", ALIASES),
            ("{components: {a/b: {}}}", "spec.components", TYPES),
            ("{components: {terraform: {a//b: {}}}}", "spec.components[terraform]", COMPONENTS),
            (
                "{secrets: {vars: {a/b: {}}}}",
                "spec.secrets.vars",
                "names of secrets are 1 to 253 letters, digits, '-', '_' or '.'",
            ),
            (
                "{secrets: {vars: {A: {store: a, sops: b}}}}",
                "spec.secrets.vars[A]",
                "set either store or sops, not both",
            ),
        ],
    },
];

const ALIASES: &str = "aliases of stores are 1 to 253 letters, digits, '/', '_', '.' or '-'";
const TYPES: &str = "component types are 1 to 63 letters, digits, '-' or '_'";
const COMPONENTS: &str = "names of components are at most 253 letters, digits, '-', '_' or '.', in segments that '/' parts and that start with a letter, a digit or '_'";
