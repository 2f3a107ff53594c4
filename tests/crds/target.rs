//! Rules of targets: the Secrets that the operator writes.

use crate::cluster::Kind::Stack;
use crate::rules::{Rule, check};

#[tokio::test]
async fn rules_of_targets_hold() {
    check(RULES).await;
}

pub const RULES: &[Rule] = &[
    Rule {
        says: "a template has at least one key, in characters that a Secret accepts; formats are a list",
        kind: Stack,
        accepts: &[
            "{targets: {app: {template: {data: {.a_B-1: '{{ A }}', b: ''}}, format: Dotenv}}}",
            "{components: {terraform: {db: {targets: {app: {inherit: Own, template: {data: {a: x}}, format: TfvarsEnv}}}}}}",
        ],
        refuses: &[
            ("{targets: {app: {template: {}}}}", "spec.targets.app.template.data", "Required value"),
            (
                "{targets: {app: {template: {data: {}}}}}",
                "spec.targets.app.template.data",
                "0: spec.targets.app.template.data in body should have at least 1 properties",
            ),
            ("{targets: {app: {template: {data: {a b: x}}}}}", "spec.targets[app].template.data", KEYS),
            (
                "{targets: {app: {format: Toml}}}",
                "spec.targets.app.format",
                "Unsupported value: \"Toml\": supported values: \"Data\", \"Dotenv\", \"Json\", \"Yaml\", \"TfvarsEnv\"",
            ),
        ],
    },
    Rule {
        says: "a target needs no field, and takes all that go together",
        kind: Stack,
        accepts: &[
            "{targets: {app: {}}}",
            "{targets: {app: {inherit: Own, type: Opaque, labels: {a: b}, annotations: {a: b}, deletionPolicy: Delete, missingPolicy: Remove, syncPolicy: PerKey}}}",
            "{components: {terraform: {db: {targets: {}}}}}",
            "{components: {terraform: {db: {targets: {app: {inherit: All}, app-tls: {type: kubernetes.io/tls, keys: {tls.crt: A, tls.key: B}}}}}}}",
            "{targetDefaults: {labels: {a: b}, annotations: {a: b}, deletionPolicy: Retain, missingPolicy: Keep, syncPolicy: AllOrNothing}}",
        ],
        refuses: &[],
    },
    Rule {
        says: "inherit and keys exclude each other",
        kind: Stack,
        accepts: &["{targets: {app: {inherit: All}}}", "{targets: {app: {keys: {a: A}}}}"],
        refuses: &[
            (
                "{targets: {app: {inherit: Own, keys: {a: A}}}}",
                "spec.targets[app]",
                "set either inherit or keys, not both",
            ),
            (
                "{components: {terraform: {db: {targets: {app: {inherit: All, keys: {a: A}}}}}}}",
                "spec.components[terraform][db].targets[app]",
                "set either inherit or keys, not both",
            ),
        ],
    },
    Rule {
        says: "the keys of targets are names of Secrets",
        kind: Stack,
        accepts: &["{targets: {a.b-c1: {}, '1': {}}}"],
        refuses: &[
            ("{targets: {App: {}}}", "spec.targets", NAMES),
            ("{targets: {a_b: {}}}", "spec.targets", NAMES),
            ("{targets: {-a: {}}}", "spec.targets", NAMES),
            ("{targets: {a.: {}}}", "spec.targets", NAMES),
            ("{targets: {a/b: {}}}", "spec.targets", NAMES),
            ("{components: {terraform: {db: {targets: {App: {}}}}}}", "spec.components[terraform][db].targets", NAMES),
        ],
    },
    Rule {
        says: "keys lists at least one, in characters that a Secret accepts",
        kind: Stack,
        accepts: &["{targets: {app: {keys: {.a_B-1: A}}}}"],
        refuses: &[
            (
                "{targets: {app: {keys: {}}}}",
                "spec.targets.app.keys",
                "0: spec.targets.app.keys in body should have at least 1 properties",
            ),
            ("{targets: {app: {keys: {a/b: A}}}}", "spec.targets[app].keys", KEYS),
            ("{targets: {app: {keys: {'': A}}}}", "spec.targets[app].keys", KEYS),
            (
                "{targets: {app: {keys: {a: ''}}}}",
                "spec.targets.app.keys.a",
                "\"\": spec.targets.app.keys.a in body should be at least 1 chars long",
            ),
            (
                "{targets: {app: {keys: [A]}}}",
                "spec.targets.app.keys",
                "\"array\": spec.targets.app.keys in body must be of type object: \"array\"",
            ),
        ],
    },
    Rule {
        says: "the type is one of those that the operator writes",
        kind: Stack,
        accepts: &[
            "{targets: {a: {type: Opaque}, b: {type: kubernetes.io/tls}, c: {type: kubernetes.io/dockerconfigjson}, d: {type: kubernetes.io/basic-auth}, e: {type: kubernetes.io/ssh-auth}}}",
        ],
        refuses: &[
            ("{targets: {app: {type: kubernetes.io/service-account-token}}}", "spec.targets.app.type", TYPE_ACCOUNT),
            ("{targets: {app: {type: bootstrap.kubernetes.io/token}}}", "spec.targets.app.type", TYPE_BOOTSTRAP),
            ("{targets: {app: {type: ''}}}", "spec.targets.app.type", TYPE_EMPTY),
        ],
    },
    Rule {
        says: "policies are their words",
        kind: Stack,
        accepts: &[],
        refuses: &[
            (
                "{targets: {app: {inherit: all}}}",
                "spec.targets.app.inherit",
                "Unsupported value: \"all\": supported values: \"All\", \"Own\"",
            ),
            (
                "{targets: {app: {deletionPolicy: Orphan}}}",
                "spec.targets.app.deletionPolicy",
                "Unsupported value: \"Orphan\": supported values: \"Retain\", \"Delete\"",
            ),
            (
                "{targets: {app: {missingPolicy: Drop}}}",
                "spec.targets.app.missingPolicy",
                "Unsupported value: \"Drop\": supported values: \"Keep\", \"Remove\"",
            ),
            (
                "{targetDefaults: {syncPolicy: Some}}",
                "spec.targetDefaults.syncPolicy",
                "Unsupported value: \"Some\": supported values: \"AllOrNothing\", \"PerKey\"",
            ),
        ],
    },
    Rule {
        says: "labels are the user's own, and app.kubernetes.io but for managed-by",
        kind: Stack,
        accepts: &[
            "{targets: {app: {labels: {team: payments, example.com/team: '', app.kubernetes.io/name: app, app.kubernetes.io/part-of: shop, notkubernetes.io/a: b, argocd.argoproj.io/instance: a}}}}",
            "{targetDefaults: {labels: {app.kubernetes.io/name: app}}}",
        ],
        refuses: &[
            ("{targets: {app: {labels: {app.kubernetes.io/managed-by: me}}}}", "spec.targets[app].labels", LABELS),
            ("{targets: {app: {labels: {kubernetes.io/a: b}}}}", "spec.targets[app].labels", LABELS),
            ("{targets: {app: {labels: {x.y.kubernetes.io/a: b}}}}", "spec.targets[app].labels", LABELS),
            ("{targets: {app: {labels: {k8s.io/a: b}}}}", "spec.targets[app].labels", LABELS),
            ("{targets: {app: {labels: {x.k8s.io/a: b}}}}", "spec.targets[app].labels", LABELS),
            ("{targets: {app: {labels: {secrets.atmos.tools/managed: 'true'}}}}", "spec.targets[app].labels", LABELS),
            ("{targetDefaults: {labels: {secrets.atmos.tools/managed: 'true'}}}", "spec.targetDefaults.labels", LABELS),
            (
                "{components: {terraform: {db: {targets: {app: {labels: {k8s.io/a: b}}}}}}}",
                "spec.components[terraform][db].targets[app].labels",
                LABELS,
            ),
        ],
    },
    Rule {
        says: "annotations are the user's own, and app.kubernetes.io but for managed-by",
        kind: Stack,
        accepts: &[
            "{targets: {app: {annotations: {reloader.stakater.com/match: 'true', app.kubernetes.io/name: app}}}}",
        ],
        refuses: &[
            (
                "{targets: {app: {annotations: {app.kubernetes.io/managed-by: me}}}}",
                "spec.targets[app].annotations",
                ANNOTATIONS,
            ),
            (
                "{targets: {app: {annotations: {kubectl.kubernetes.io/last-applied-configuration: b}}}}",
                "spec.targets[app].annotations",
                ANNOTATIONS,
            ),
            (
                "{targets: {app: {annotations: {secrets.atmos.tools/digest: b}}}}",
                "spec.targets[app].annotations",
                ANNOTATIONS,
            ),
            ("{targetDefaults: {annotations: {x.k8s.io/a: b}}}", "spec.targetDefaults.annotations", ANNOTATIONS),
        ],
    },
    Rule {
        says: "labels and annotations are such that Kubernetes accepts them",
        kind: Stack,
        accepts: &[
            "{targets: {app: {labels: {A.b_c-1: 'x_Y.1-z', a.b-c.d/E: ''}, annotations: {a: 'any text, with blanks'}}}}",
        ],
        refuses: &[
            ("{targets: {app: {labels: {'a b': c}}}}", "spec.targets[app].labels", LABEL_KEYS),
            ("{targets: {app: {labels: {Example.com/a: c}}}}", "spec.targets[app].labels", LABEL_KEYS),
            ("{targets: {app: {labels: {a/b/c: c}}}}", "spec.targets[app].labels", LABEL_KEYS),
            ("{targets: {app: {labels: {'': c}}}}", "spec.targets[app].labels", LABEL_KEYS),
            (
                "{targets: {app: {annotations: {a/: c}}}}",
                "spec.targets[app].annotations",
                "keys of annotations are at most 63 letters, digits, '-', '_' or '.', after a DNS name and '/' if you like",
            ),
            (
                "{targets: {app: {labels: {a: 'b c'}}}}",
                "spec.targets.app.labels.a",
                "\"b c\": spec.targets.app.labels.a in body should match '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$'",
            ),
            (
                "{targets: {app: {labels: {a: 1}}}}",
                "spec.targets.app.labels.a",
                "\"integer\": spec.targets.app.labels.a in body must be of type string: \"integer\"",
            ),
        ],
    },
];

const NAMES: &str = "the keys of targets are Secret names: at most 253 lower-case letters, digits, '-' or '.'";
const KEYS: &str = "keys of a Secret are 1 to 253 letters, digits, '-', '_' or '.'";
const LABELS: &str = "labels of kubernetes.io, k8s.io and secrets.atmos.tools are not yours to set (app.kubernetes.io is, but for managed-by)";
const ANNOTATIONS: &str = "annotations of kubernetes.io, k8s.io and secrets.atmos.tools are not yours to set (app.kubernetes.io is, but for managed-by)";
const LABEL_KEYS: &str =
    "keys of labels are at most 63 letters, digits, '-', '_' or '.', after a DNS name and '/' if you like";
const TYPE_ACCOUNT: &str = "Unsupported value: \"kubernetes.io/service-account-token\": supported values: \"Opaque\", \"kubernetes.io/tls\", \"kubernetes.io/dockerconfigjson\", \"kubernetes.io/basic-auth\", \"kubernetes.io/ssh-auth\"";
const TYPE_BOOTSTRAP: &str = "Unsupported value: \"bootstrap.kubernetes.io/token\": supported values: \"Opaque\", \"kubernetes.io/tls\", \"kubernetes.io/dockerconfigjson\", \"kubernetes.io/basic-auth\", \"kubernetes.io/ssh-auth\"";
const TYPE_EMPTY: &str = "Unsupported value: \"\": supported values: \"Opaque\", \"kubernetes.io/tls\", \"kubernetes.io/dockerconfigjson\", \"kubernetes.io/basic-auth\", \"kubernetes.io/ssh-auth\"";
