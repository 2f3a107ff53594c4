//! Property: whatever tree `sops` encrypts, we read the same values, with their kinds' texts and in the same order.

use proptest::prelude::*;

use super::oracle::{Identity, bytes, encrypt};
use crate::sops::scalar::canonical_float;
use crate::sops::{Encrypted, Format};

#[derive(Clone, Debug)]
enum Value {
    Null,
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// Text with what is hard on parsers and printers: quotes, signs of YAML, line ends, control characters, all of Unicode.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "[a-c:#\\-?&*!|>%@`'\"\\\\{}\\[\\],\\n\\t ~=<]{0,12}",
        prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter),
        prop::sample::select(vec![
            "",
            " ",
            "\n",
            "null",
            "yes",
            "0x1F",
            "1e3",
            "<<",
            "---",
            "2024-01-02",
            "ENC[",
            "# no"
        ])
        .prop_map(str::to_owned),
        "[a-z]{200,300}",
    ]
}

/// Text as people choose for keys, and then some. `sops` 3.13 loses keys and unencrypted text of YAML that begin with blanks
/// or hold line ends (it writes what it reads back as something else), so those stay out where it would print them bare.
fn visible() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!-~]([ -~]{0,18}[!-~])?",
        "\\PC{0,12}".prop_filter("blanks at the ends", |text| text.trim() == text),
        "[a-z]{200,300}",
    ]
}

fn value(text: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        6 => text.prop_map(Value::Text),
        2 => any::<i64>().prop_map(Value::Integer),
        1 => (-100..100i64).prop_map(Value::Integer),
        2 => prop::num::f64::NORMAL.prop_map(Value::Float),
        1 => (-1e6..1e6).prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Boolean),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((visible(), inner), 0..6).prop_map(|pairs| Value::Map(numbered(pairs, ""))),
        ]
    })
}

/// A document: most of it encrypted, some left in the clear by the default rule.
fn document() -> impl Strategy<Value = Vec<(String, Value)>> {
    let sealed = prop::collection::vec((visible(), value(text().boxed())), 20..60);
    let clear = prop::collection::vec((visible(), value(visible().boxed())), 0..8);
    (sealed, clear)
        .prop_map(|(sealed, clear)| numbered(sealed, "").into_iter().chain(numbered(clear, "_unencrypted")).collect())
}

/// Keys that differ: a number makes them so.
fn numbered(pairs: Vec<(String, Value)>, suffix: &str) -> Vec<(String, Value)> {
    pairs.into_iter().enumerate().map(|(number, (key, value))| (format!("{key}.{number}{suffix}"), value)).collect()
}

/// JSON, with every character that is not plain ASCII escaped, so that it is YAML too.
fn write(value: &Value, format: Format, file: &mut String) {
    match value {
        Value::Null => file.push_str("null"),
        Value::Text(text) => write_text(text, format, file),
        Value::Integer(integer) => file.push_str(&integer.to_string()),
        Value::Float(float) => file.push_str(&format!("{float:e}")),
        Value::Boolean(truth) => file.push_str(&truth.to_string()),
        Value::List(values) => {
            file.push('[');
            for (index, value) in values.iter().enumerate() {
                file.push_str(if index == 0 { "" } else { ", " });
                write(value, format, file);
            }
            file.push(']');
        }
        Value::Map(pairs) => write_map(pairs, format, file),
    }
}

fn write_map(pairs: &[(String, Value)], format: Format, file: &mut String) {
    file.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        file.push_str(if index == 0 { "" } else { ", " });
        // A long key is only a key in YAML when it says so.
        file.push_str(if format == Format::Yaml { "? " } else { "" });
        write_text(key, format, file);
        file.push_str(": ");
        write(value, format, file);
    }
    file.push('}');
}

fn write_text(text: &str, format: Format, file: &mut String) {
    file.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => file.extend(['\\', character]),
            ' '..='~' => file.push(character),
            _ => match format {
                Format::Yaml => file.push_str(&format!("\\U{:08x}", u32::from(character))),
                Format::Json | Format::Dotenv | Format::Ini | Format::Binary => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        file.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            },
        }
    }
    file.push('"');
}

/// What a reader gets for a value: its text, or compact JSON.
fn expected(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone().into_bytes()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::List(_) | Value::Map(_) => {
            Some(compact(value).into_bytes())
        }
    }
}

fn compact(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => serde_json::to_string(text).unwrap(),
        Value::Integer(integer) => integer.to_string(),
        // Go's digits, not Rust's, where two forms are as short: the MAC of the file is what says that they are right.
        Value::Float(float) => canonical_float(&format!("{float:e}")).unwrap(),
        Value::Boolean(truth) => truth.to_string(),
        Value::List(values) => format!("[{}]", values.iter().map(compact).collect::<Vec<_>>().join(",")),
        Value::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(key, value)| format!("{}:{}", serde_json::to_string(key).unwrap(), compact(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

fn we_read_what_sops_writes(format: Format) {
    let identity = Identity::generate();
    // Each case starts a process, so it carries many values.
    let config =
        ProptestConfig { cases: 20, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    proptest!(config, |(tree in document())| {
        let mut plain = String::new();
        write_map(&tree, format, &mut plain);
        let file = encrypt(&identity, "", format, &plain);
        let document = Encrypted::parse(format, file.as_bytes())
            .and_then(|encrypted| futures::executor::block_on(encrypted.decrypt(&identity.keys())));
        let document = document.map_err(|error| TestCaseError::fail(format!("{error}\n{file}")))?;
        let encrypted = Encrypted::parse(format, file.as_bytes()).ok().unwrap();
        let names: Vec<&String> = tree.iter().filter(|(_, value)| !matches!(value, Value::Null)).map(|(name, _)| name).collect();
        prop_assert_eq!(encrypted.names().collect::<Vec<_>>(), &names[..]);
        prop_assert_eq!(document.names().collect::<Vec<_>>(), names);
        for (name, value) in &tree {
            prop_assert_eq!(bytes(&document, name), expected(value), "{}", name);
        }
    });
}

#[test]
fn random_trees_are_read_from_yaml() {
    we_read_what_sops_writes(Format::Yaml);
}

#[test]
fn random_trees_are_read_from_json() {
    we_read_what_sops_writes(Format::Json);
}
