//! Rules of declarations: the entries of a `vars` map.

use crate::cluster::Kind::{Catalog, Stack};
use crate::rules::{Rule, check};

#[tokio::test]
async fn rules_of_declarations_hold() {
    check(RULES).await;
}

pub const RULES: &[Rule] = &[
    Rule {
        says: "a declaration needs no field, and takes all that go together",
        kind: Stack,
        accepts: &[
            "{secrets: {vars: {TOKEN: {}}}}",
            "{secrets: {vars: {TOKEN: {description: d, store: s, scope: stack, required: true, reference: OTHER, key: k, version: '3', path: .a, declared: true}}}}",
            "{secrets: {vars: {TOKEN: {sops: s, backendKey: a/b, default: '', required: false}}}}",
            "{components: {terraform: {db: {secrets: {vars: {TOKEN: {}}}}}}}",
        ],
        refuses: &[],
    },
    Rule {
        says: "a declaration is a map, not a bare string",
        kind: Stack,
        accepts: &[],
        refuses: &[
            (
                "{secrets: {vars: {TOKEN: canary}}}",
                "spec.secrets.vars.TOKEN",
                "\"string\": spec.secrets.vars.TOKEN in body must be of type object: \"string\"",
            ),
            (
                "{components: {terraform: {db: {secrets: {vars: {TOKEN: canary}}}}}}",
                "spec.components.terraform.db.secrets.vars.TOKEN",
                "\"string\": spec.components.terraform.db.secrets.vars.TOKEN in body must be of type object: \"string\"",
            ),
        ],
    },
    Rule {
        says: "store and sops are one slot",
        kind: Stack,
        accepts: &["{secrets: {vars: {TOKEN: {store: a}}}}", "{secrets: {vars: {TOKEN: {sops: a}}}}"],
        refuses: &[
            (
                "{secrets: {vars: {TOKEN: {store: a, sops: b}}}}",
                "spec.secrets.vars[TOKEN]",
                "set either store or sops, not both",
            ),
            (
                "{components: {terraform: {a/db: {secrets: {vars: {DB.TOKEN: {store: a, sops: b}}}}}}}",
                "spec.components[terraform][a/db].secrets.vars[DB.TOKEN]",
                "set either store or sops, not both",
            ),
        ],
    },
    Rule {
        says: "reference and backendKey are one slot",
        kind: Stack,
        accepts: &["{secrets: {vars: {TOKEN: {reference: A}}}}", "{secrets: {vars: {TOKEN: {backendKey: a/b}}}}"],
        refuses: &[(
            "{secrets: {vars: {TOKEN: {reference: A, backendKey: b}}}}",
            "spec.secrets.vars[TOKEN]",
            "set either reference or backendKey, not both",
        )],
    },
    Rule {
        says: "a required secret has no default",
        kind: Stack,
        accepts: &[
            "{secrets: {vars: {TOKEN: {default: d}}}}",
            "{secrets: {vars: {TOKEN: {default: d, required: false}}}}",
            "{secrets: {vars: {TOKEN: {required: true}}}}",
        ],
        refuses: &[(
            "{secrets: {vars: {TOKEN: {default: d, required: true}}}}",
            "spec.secrets.vars[TOKEN]",
            "a required secret cannot have a default: remove required or default",
        )],
    },
    Rule {
        says: "scope agrees with the stack level",
        kind: Stack,
        accepts: &["{secrets: {vars: {A: {scope: stack}, B: {scope: global}, C: {}}}}"],
        refuses: &[
            (
                "{secrets: {vars: {A: {scope: instance}}}}",
                "spec.secrets.vars",
                "scope must be stack or global here: declarations at the stack level are shared by its components",
            ),
            (
                "{secrets: {vars: {A: {scope: Stack}}}}",
                "spec.secrets.vars.A.scope",
                "Unsupported value: \"Stack\": supported values: \"instance\", \"stack\", \"global\"",
            ),
        ],
    },
    Rule {
        says: "scope agrees with a component",
        kind: Stack,
        accepts: &[
            "{components: {terraform: {db: {secrets: {vars: {A: {scope: instance}, B: {scope: global}, C: {}}}}}}}",
        ],
        refuses: &[(
            "{components: {terraform: {db: {secrets: {vars: {A: {scope: stack}}}}}}}",
            "spec.components[terraform][db].secrets.vars",
            "scope must be instance or global here: declare the name at the stack level to share it",
        )],
    },
    Rule {
        says: "scope agrees with the position in a Catalog too",
        kind: Catalog,
        accepts: &[
            "{secrets: {vars: {A: {scope: stack}}}, components: {terraform: {db: {secrets: {vars: {B: {scope: instance}}}}}}}",
        ],
        refuses: &[
            (
                "{secrets: {vars: {A: {scope: instance}}}}",
                "spec.secrets.vars",
                "scope must be stack or global here: declarations at the stack level are shared by its components",
            ),
            (
                "{components: {terraform: {db: {secrets: {vars: {A: {scope: stack}}}}}}}",
                "spec.components[terraform][db].secrets.vars",
                "scope must be instance or global here: declare the name at the stack level to share it",
            ),
        ],
    },
    Rule {
        says: "names are keys that a Secret accepts",
        kind: Stack,
        accepts: &["{secrets: {vars: {aZ0-_.: {}, '9': {}, .dockerconfigjson: {}}}}"],
        refuses: &[
            ("{secrets: {vars: {a/b: {}}}}", "spec.secrets.vars", NAMES),
            ("{secrets: {vars: {'a b': {}}}}", "spec.secrets.vars", NAMES),
            ("{secrets: {vars: {'': {}}}}", "spec.secrets.vars", NAMES),
            ("{secrets: {vars: {größe: {}}}}", "spec.secrets.vars", NAMES),
            (
                "{components: {terraform: {db: {secrets: {vars: {a/b: {}}}}}}}",
                "spec.components[terraform][db].secrets.vars",
                NAMES,
            ),
        ],
    },
    Rule {
        says: "key is a key that a Secret accepts",
        kind: Stack,
        accepts: &["{secrets: {vars: {TOKEN: {key: .docker-config_1}}}}"],
        refuses: &[(
            "{secrets: {vars: {TOKEN: {key: a/b}}}}",
            "spec.secrets.vars.TOKEN.key",
            "\"a/b\": spec.secrets.vars.TOKEN.key in body should match '^[-._a-zA-Z0-9]+$'",
        )],
    },
    Rule {
        says: "texts that name something are not empty",
        kind: Stack,
        accepts: &["{secrets: {vars: {TOKEN: {description: '', default: ''}}}}"],
        refuses: &[
            (
                "{secrets: {vars: {TOKEN: {store: ''}}}}",
                "spec.secrets.vars.TOKEN.store",
                "\"\": spec.secrets.vars.TOKEN.store in body should be at least 1 chars long",
            ),
            (
                "{secrets: {vars: {TOKEN: {backendKey: ''}}}}",
                "spec.secrets.vars.TOKEN.backendKey",
                "\"\": spec.secrets.vars.TOKEN.backendKey in body should be at least 1 chars long",
            ),
            (
                "{secrets: {vars: {TOKEN: {path: ''}}}}",
                "spec.secrets.vars.TOKEN.path",
                "\"\": spec.secrets.vars.TOKEN.path in body should be at least 1 chars long",
            ),
        ],
    },
    Rule {
        says: "a document brings its own keys",
        kind: Stack,
        accepts: &[
            "{secrets: {vars: {A: {extract: {}, transforms: [{gunzip: {}}]}, B: {extract: {include: [a], exclude: ['*'], rename: {a b: c}, prefix: p, format: toml}}}}}",
        ],
        refuses: &[
            ("{secrets: {vars: {A: {extract: {}, key: a}}}}", "spec.secrets.vars[A]", DOCUMENT),
            ("{secrets: {vars: {A: {extract: {prefix: a}, path: .a}}}}", "spec.secrets.vars[A]", DOCUMENT),
            ("{secrets: {vars: {A: {extract: {}, default: a}}}}", "spec.secrets.vars[A]", DOCUMENT),
            (
                "{components: {terraform: {db: {secrets: {vars: {A: {extract: {}, expose: [{version: '1', key: a}]}}}}}}}",
                "spec.components[terraform][db].secrets.vars[A]",
                DOCUMENT,
            ),
        ],
    },
    Rule {
        says: "a step is exactly one of its kinds",
        kind: Stack,
        accepts: &[
            "{secrets: {vars: {A: {transforms: [{jsonExtract: {path: .a}}, {yamlExtract: {path: .a}}, {tomlExtract: {path: .a}}, {base64Decode: {}}, {base64Decode: {variant: url}}, {base64Encode: {}}, {hexDecode: {}}, {hexEncode: {}}, {trim: {}}, {lines: {join: ''}}, {lines: {split: a}}, {replace: {from: a, to: ''}}]}}}}",
            "{secrets: {vars: {A: {transforms: [{regexReplace: {pattern: a, replacement: b}}, {join: {separator: ''}}, {split: {separator: a, index: -1}}, {case: upper}, {slice: {start: 1}}, {gunzip: {}}, {pem: {part: fullchain}}, {urlEncode: {}}]}, B: {transforms: []}}}}",
        ],
        refuses: &[
            (
                "{secrets: {vars: {A: {transforms: [{}]}}}}",
                "spec.secrets.vars.A.transforms[0]",
                "0: spec.secrets.vars.A.transforms[0] in body should have at least 1 properties",
            ),
            (
                "{secrets: {vars: {A: {transforms: [{trim: {}, gunzip: {}}]}}}}",
                "spec.secrets.vars.A.transforms[0]",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{secrets: {vars: {A: {transforms: [{lines: {join: a, split: b}}]}}}}",
                "spec.secrets.vars.A.transforms[0].lines",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{secrets: {vars: {A: {transforms: [{case: title}]}}}}",
                "spec.secrets.vars.A.transforms[0].case",
                "Unsupported value: \"title\": supported values: \"upper\", \"lower\"",
            ),
            (
                "{secrets: {vars: {A: {transforms: [{replace: {from: a}}]}}}}",
                "spec.secrets.vars.A.transforms[0].replace.to",
                "Required value",
            ),
        ],
    },
    Rule {
        says: "an exposed version has a key",
        kind: Stack,
        accepts: &["{secrets: {vars: {A: {expose: [{version: AWSPREVIOUS, key: A_OLD, optional: true}]}}}}"],
        refuses: &[
            ("{secrets: {vars: {A: {expose: [{version: a}]}}}}", "spec.secrets.vars.A.expose[0].key", "Required value"),
            (
                "{secrets: {vars: {A: {expose: [{version: a, key: a/b}]}}}}",
                "spec.secrets.vars.A.expose[0].key",
                "\"a/b\": spec.secrets.vars.A.expose[0].key in body should match '^[-._a-zA-Z0-9]+$'",
            ),
        ],
    },
    Rule {
        says: "types are not guessed",
        kind: Stack,
        accepts: &[],
        refuses: &[
            (
                "{secrets: {vars: {TOKEN: {version: 3}}}}",
                "spec.secrets.vars.TOKEN.version",
                "\"integer\": spec.secrets.vars.TOKEN.version in body must be of type string: \"integer\"",
            ),
            (
                "{secrets: {vars: {TOKEN: {required: 'true'}}}}",
                "spec.secrets.vars.TOKEN.required",
                "\"string\": spec.secrets.vars.TOKEN.required in body must be of type boolean: \"string\"",
            ),
        ],
    },
];

const DOCUMENT: &str = "extract brings its own keys: it goes with none of key, path, default and expose";

const NAMES: &str = "names of secrets are 1 to 253 letters, digits, '-', '_' or '.'";
