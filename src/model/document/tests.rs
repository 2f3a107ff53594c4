//! Leaves of JSON and YAML values.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::path::{LeafError, Path};
use crate::value::SecretValue;

fn leaf(document: &str, path: &str) -> Result<String, LeafError> {
    let value = SecretValue::new(document.as_bytes().to_vec());
    let leaf = Path::parse(path).unwrap().leaf(&value)?;
    Ok(String::from_utf8(leaf.expose().to_vec()).unwrap())
}

#[test]
fn keeps_the_text_of_json() {
    let document = r#" {"s": "a\"\u00e9\ud83d\ude00\n", "i": 12345678901234567890123, "f": 1.50, "e": 1e5, "t": true,
        "n": null, "o": {"b c": [1, {"x" : "y z"} ], "empty": {}}, "l": [[], "last"], "s": "second", "neg":-0.0} "#;
    for (path, text) in [
        (".i", "12345678901234567890123"),
        (".f", "1.50"),
        (".e", "1e5"),
        (".t", "true"),
        (".n", "null"),
        (".neg", "-0.0"),
        (".s", "second"),
        (".o", r#"{"b c":[1,{"x":"y z"}],"empty":{}}"#),
        (".o[\"b c\"][1].x", "y z"),
        (".o.empty", "{}"),
        (".l[-1]", "last"),
        (".l[0]", "[]"),
    ] {
        assert_eq!(leaf(document, path).as_deref(), Ok(text), "{path}");
    }
    assert_eq!(leaf(r#"["a\"\u00e9\ud83d\ude00\n"]"#, "[0]").as_deref(), Ok("a\"é😀\n"));
}

#[test]
fn keeps_the_text_of_yaml() {
    let document = "
base: &base {user: app, port: 0123, ratio: 1.50}
db:
  <<: *base
  user: owner
  big: 12345678901234567890123
  quoted: \"5432\"
  yes-no: yes
  empty:
  tilde: ~
  block: |
    line 1
    line 2
  list: [1, 0x1F, .5, 'a', true, True, null, 2024-01-02, !!str 7]
again: *base
";
    for (path, text) in [
        (".db.user", "owner"),
        (".db.port", "0123"),
        (".db.ratio", "1.50"),
        (".db.big", "12345678901234567890123"),
        (".db.quoted", "5432"),
        (".db.yes-no", "yes"),
        (".db.empty", "null"),
        (".db.tilde", "null"),
        (".db.block", "line 1\nline 2\n"),
        (".db.list", r#"[1,"0x1F",".5","a",true,true,null,"2024-01-02","7"]"#),
        (".db.list[-1]", "7"),
        (".again", r#"{"user":"app","port":"0123","ratio":1.50}"#),
    ] {
        assert_eq!(leaf(document, path).as_deref(), Ok(text), "{path}");
    }
    assert_eq!(
        leaf("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", ".b").as_deref(),
        Ok(r#"{"y":2,"x":1}"#),
        "merged members come after the mapping's own"
    );
    assert_eq!(leaf("--- {a: 1, b: [x,],}\n", ".b[0]").as_deref(), Ok("x"));
}

#[test]
fn tells_missing_from_unstructured() {
    for document in [
        "",
        "plain text",
        "5432",
        "\"{}\"",
        "{\"a\":",
        "a: b: c",
        "a: 1\n---\nb: 2\n",
        "- [",
        "a: *nowhere",
        "a: &a [*a]",
    ] {
        assert_eq!(leaf(document, ".a"), Err(LeafError::NotStructured), "{document}");
    }
    assert!(matches!(
        Path::parse(".a").unwrap().leaf(&SecretValue::new(vec![0xff, 0xfe])),
        Err(LeafError::NotStructured)
    ));
    let missing = |at: &str, siblings: &[&str]| {
        let siblings = siblings.iter().map(|name| (*name).to_owned()).collect();
        Err(LeafError::NotFound { at: at.to_owned(), siblings })
    };
    for document in ["{\"a\": {\"b\": 1, \"c\": 2}, \"l\": [1]}", "a: {b: 1, c: 2}\nl: [1]\n"] {
        assert_eq!(leaf(document, ".x.y"), missing(".x", &["a", "l"]));
        assert_eq!(leaf(document, ".a.x"), missing(".a.x", &["b", "c"]));
        assert_eq!(leaf(document, ".a.b.c"), missing(".a.b.c", &[]));
        assert_eq!(leaf(document, ".a[0]"), missing(".a[0]", &[]));
        assert_eq!(leaf(document, ".l.a"), missing(".l.a", &[]));
        assert_eq!(leaf(document, ".l[1]"), missing(".l[1]", &[]));
        assert_eq!(leaf(document, ".l[-2]"), missing(".l[-2]", &[]));
    }
    let many: Value =
        (0..9).map(|index| (format!("{index}{}", "x".repeat(99)), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let Err(LeafError::NotFound { siblings, .. }) = leaf(&many.to_string(), ".a") else { unreachable!() };
    assert_eq!((siblings.len(), siblings.iter().map(String::len).max()), (5, Some(64)));
}

#[test]
fn bombs_are_stopped() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(",")));
    }
    assert_eq!(leaf(&bomb, ".a11"), Err(LeafError::TooLarge));
    assert!(leaf(&bomb, ".a11[0][0]").is_err());
    assert_eq!(leaf(&bomb, ".a1[0][0]").as_deref(), Ok("x"));

    let mut merges = "a0: &a0 {k: 1}\n".to_owned();
    for level in 1..40 {
        merges.push_str(&format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}]}}\n", level - 1));
    }
    assert_eq!(leaf(&merges, ".a39.k"), Err(LeafError::TooLarge));

    for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{\"a\":".repeat(100_000)] {
        assert_eq!(leaf(&deep, ".a"), Err(LeafError::NotStructured));
    }
    assert_eq!(leaf(&format!("[{}]", "1,".repeat(1 << 20)), "[0]"), Err(LeafError::TooLarge));
}

fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every leaf of a document with the path to it.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    let quote = |name: &str| name.replace('\\', "\\\\").replace('"', "\\\"");
    if !path.is_empty() {
        found.push((path.to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{path}[{index}]"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| leaves(member, &format!("{path}[\"{}\"]", quote(name)), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn every_leaf_is_found(value in document(), pretty in any::<bool>()) {
        let mut found = Vec::new();
        leaves(&value, "", &mut found);
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        for (path, expected) in found {
            prop_assert_eq!(leaf(&text, &path), Ok(expected), "{}", path);
        }
    }

    #[test]
    fn no_bytes_break_the_readers(text in "[\\[\\]{}:,\"'&*!|>a0 \n\\-]{0,60}") {
        let _ = leaf(&text, ".a[0]");
        let _ = leaf(&text, "[0]");
    }
}

/// Dots and brackets in texts and comments are no nesting; a list of any length nests once.
#[test]
fn toml_that_only_looks_deep_is_read() {
    let dots = ".[{".repeat(500);
    let numbers = vec!["1.5"; 5000].join(", ");
    let document = format!(
        "a = \"{dots}\\\"{dots}\" # {dots}\nb = '{dots}'\nc = \"\"\"\n{dots}\"\"{dots}\"\"\"\"\"\nd = '''{dots}'''\ne = [{numbers}]\nf.g.h = {{i.j = 'end'}}\nk = \"\"\n"
    );
    let value = SecretValue::new(document.into_bytes());
    let leaf = Path::parse(".f.g.h.i.j").unwrap().leaf_of(&value, super::Format::Toml).unwrap();
    assert_eq!(leaf.expose(), b"end");
}
