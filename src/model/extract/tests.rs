//! Selection, names and limits of documents.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CANARY: &str = "c4n4ry-v4lu3";

fn extract(written: Value) -> Result<Extract, String> {
    Extract::parse(&serde_json::from_value(written).unwrap())
}

fn keys(written: Value, document: &str) -> Result<BTreeMap<String, String>, Problem> {
    let keys = extract(written).unwrap().keys(&SecretValue::from(document.to_owned()))?;
    Ok(keys.into_iter().map(|(key, value)| (key, String::from_utf8(value.expose().to_vec()).unwrap())).collect())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const JSON: &str = r#"{"user": "app", "port": 5432, "ratio": 1.50, "on": true, "none": null, "hosts": ["a", "b"],
    "tls": {"mode": "verify"}, "port": 5433, "text": "a\"b"}"#;

#[test]
fn members_become_keys_with_their_text() {
    let all = [
        ("user", "app"),
        ("port", "5433"),
        ("ratio", "1.50"),
        ("on", "true"),
        ("none", "null"),
        ("hosts", r#"["a","b"]"#),
        ("tls", r#"{"mode":"verify"}"#),
        ("text", "a\"b"),
    ];
    assert_eq!(keys(json!({}), JSON).unwrap(), map(&all));
    let yaml = "base: &base {user: app, port: 0x10}\n<<: *base\nlist: [1.0, x]\nuser: root\n? [a]\n: no name\n";
    let of_yaml =
        [("base", r#"{"user":"app","port":"0x10"}"#), ("user", "root"), ("port", "0x10"), ("list", r#"[1.0,"x"]"#)];
    assert_eq!(keys(json!({}), yaml).unwrap(), map(&of_yaml));
    let toml = "user = \"app\"\nport = 5_432\n[tls]\nmode = 'verify'\n[[hosts]]\nname = \"a\"\n";
    let of_toml = [("user", "app"), ("port", "5_432"), ("tls", r#"{"mode":"verify"}"#), ("hosts", r#"[{"name":"a"}]"#)];
    assert_eq!(keys(json!({"format": "toml"}), toml).unwrap(), map(&of_toml));
    assert_eq!(keys(json!({}), "{}").unwrap(), map(&[]));
}

#[test]
fn names_are_selected_and_changed() {
    for (written, expected) in [
        (json!({"include": ["user", "p*"]}), &[("user", "app"), ("port", "5433")][..]),
        (
            json!({"include": ["*o*"], "exclude": ["p*t", "none"]}),
            &[("on", "true"), ("hosts", r#"["a","b"]"#), ("ratio", "1.50")],
        ),
        (json!({"include": ["user"], "prefix": "DB_"}), &[("DB_user", "app")]),
        (
            json!({"include": ["user", "port"], "prefix": "DB_", "rename": {"user": "username", "absent": "x"}}),
            &[("username", "app"), ("DB_port", "5433")],
        ),
        (json!({"exclude": ["*"]}), &[]),
    ] {
        assert_eq!(keys(written.clone(), JSON).unwrap(), map(expected), "{written}");
    }
}

#[test]
fn what_cannot_become_keys_is_told_by_name() {
    for (written, document, reason, words) in [
        (json!({}), "[1, 2]", Reason::NotStructured, "no JSON or YAML document with names at its top"),
        (json!({}), "text", Reason::NotStructured, "no JSON or YAML document"),
        (json!({"format": "json"}), "a: 1", Reason::NotStructured, "no JSON document"),
        (json!({"format": "yaml"}), "a: b: 1", Reason::NotStructured, "no YAML document"),
        (json!({"format": "toml"}), "{\"a\": 1}", Reason::NotStructured, "no TOML document"),
        (json!({"include": ["user", "absent"]}), JSON, Reason::PathNotFound, "the document has no `absent`"),
        (json!({}), "{\"a b\": 1}", Reason::InvalidKeyName, "the document's name `a b` gives no key of a Secret"),
        (json!({}), "{\"\": 1}", Reason::InvalidKeyName, "the document's name `` gives no key"),
        (json!({}), "{\"..\": 1}", Reason::InvalidKeyName, "the document's name `..` gives no key"),
        (
            json!({"rename": {"a": "b"}}),
            "{\"a\": 1, \"b\": 2}",
            Reason::InvalidTarget,
            "the document's names a and b both give the key b",
        ),
        (
            json!({"prefix": "x", "rename": {"a": "xb"}}),
            "{\"a\": 1, \"b\": 2}",
            Reason::InvalidTarget,
            "both give the key xb",
        ),
    ] {
        let problem = keys(written.clone(), document).unwrap_err();
        assert_eq!(problem.reason, reason, "{written} {document}");
        assert!(problem.message.contains(words), "{written} {document}: {}", problem.message);
        assert!(problem.message.len() <= 256);
    }
    assert_eq!(keys(json!({"rename": {"a b": "c"}}), "{\"a b\": 1}").unwrap(), map(&[("c", "1")]));
}

#[test]
fn documents_have_limits() {
    let many: serde_json::Map<String, Value> = (0..=MOST_KEYS).map(|index| (format!("k{index}"), json!(1))).collect();
    let problem = keys(json!({}), &json!(many).to_string()).unwrap_err();
    assert_eq!(problem.reason, Reason::ValueTooLarge);
    assert_eq!(keys(json!({"exclude": ["k0"]}), &json!(many).to_string()).unwrap().len(), MOST_KEYS);
    // Each level repeats the one below ten times: 10^9 texts, in ten lines.
    let mut bomb = "a0: &a0 lol\n".to_owned();
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert_eq!(keys(json!({}), &bomb).unwrap_err().reason, Reason::ValueTooLarge);
    // Many names that each repeat something large.
    let mut wide = format!("a: &a [{}]\n", "x".repeat(100_000));
    for index in 0..20 {
        wide.push_str(&format!("k{index}: *a\n"));
    }
    assert_eq!(keys(json!({}), &wide).unwrap_err().reason, Reason::ValueTooLarge);
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(keys(json!({}), &large).unwrap_err().reason, Reason::ValueTooLarge);
}

/// Nesting as deep as the parser admits, and deeper, in a thread with the stack of the operator's own threads.
#[test]
fn deep_documents_do_not_exhaust_the_stack() {
    let dotted = vec!["a"; 79].join(".");
    let mut inner = "1".to_owned();
    for _ in 0..78 {
        inner = format!("{{{dotted} = {inner}}}");
    }
    let documents = [
        format!("[{dotted}]\n{dotted} = {inner}"),
        format!("{} = 1", vec!["a"; 200_000].join(".")),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}1{}", "[".repeat(79), "]".repeat(79)),
    ];
    let check = move || {
        for document in &documents {
            if let Err(problem) = keys(json!({"format": "toml"}), document) {
                assert!(matches!(problem.reason, Reason::ValueTooLarge | Reason::NotStructured), "{problem:?}");
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn rules_are_checked_before_anything_is_read() {
    for (written, words) in [
        (json!({"rename": {"a": "b/c"}}), "`extract.rename` of `a` is no key of a Secret"),
        (json!({"rename": {"a": "c", "b": "c"}}), "`extract.rename` gives `a` and `b` the same key"),
    ] {
        let error = extract(written).map(|_| ()).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn no_message_holds_a_value() {
    for document in [
        format!("{{\"a b\": \"{CANARY}\"}}"),
        format!("[\"{CANARY}\"]"),
        CANARY.to_owned(),
        format!("a: b: {CANARY}"),
        format!("{{\"a\": {CANARY}"),
        format!("{{\"user\": \"{CANARY}\"}}"),
    ] {
        for written in
            [json!({}), json!({"format": "toml"}), json!({"include": ["x"]}), json!({"rename": {"user": "x"}})]
        {
            if let Err(problem) = keys(written, &document) {
                assert!(!format!("{problem:?}").contains(CANARY), "{problem:?}");
            }
        }
    }
}

proptest! {
    /// Every key that a document brings is one that its rules say it may bring.
    #[test]
    fn a_document_brings_only_what_it_may(
        names in proptest::collection::btree_set("[abx]{1,3}", 0..6),
        include in proptest::collection::vec("[ab*]{1,3}", 0..3), exclude in proptest::collection::vec("[ab*]{1,2}", 0..2),
        rename in proptest::collection::btree_map("[ab]{1,2}", "[ryz]{1,3}", 0..3), prefix in proptest::option::of("[xp]"),
    ) {
        let document: serde_json::Map<String, Value> = names.iter().map(|name| (name.clone(), json!(1))).collect();
        let Ok(extract) = extract(json!({"include": include, "exclude": exclude, "rename": rename, "prefix": prefix})) else {
            return Ok(());
        };
        if let Ok(keys) = extract.keys(&SecretValue::from(json!(document).to_string())) {
            for key in keys.keys() {
                prop_assert!(extract.may_bring(key), "{}", key);
            }
        }
    }

    /// Stars against the obvious way to match them.
    #[test]
    fn patterns_match_as_stars_do(pattern in "[ab*]{0,6}", name in "[ab]{0,6}") {
        let expected = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap().is_match(&name);
        prop_assert_eq!(Pattern(pattern).matches(&name), expected);
    }
}
