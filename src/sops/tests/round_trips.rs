//! Properties over random trees: what we write, we read, and `sops` reads the same; one changed value shows alone.

use proptest::prelude::*;

use super::editing::difference;
use super::exchange::now;
use super::oracle::{Identity, Workplace};
use crate::sops::compare::{same_map, same_values};
use crate::sops::tree::{Comment, Entry, Item, Kind, Map, Node, Scalar};
use crate::sops::{AgeRecipients, Creation, Editor, Format, KeyGroups, Path, Plain, Recipient, Selection, Value};
use crate::value::SecretValue;

/// A tree without values in it that cannot be compared or copied: those are made from it.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Text(Vec<u8>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Time(u32),
    List(Vec<(Vec<String>, Tree)>),
    Map(Vec<(Vec<String>, String, Tree)>),
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "[a-c:#\\-?&*!|>%@`'\"\\\\{}\\[\\],\\n\\t\\r ~=<;]{0,12}",
        prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter),
        prop::sample::select(vec![
            "",
            " ",
            "\n",
            "\n\n",
            "a\n",
            "a\n\n",
            " a\nb",
            "a\n b\n",
            "a\n\n\nb",
            "null",
            "~",
            "yes",
            "0x1F",
            "1e3",
            "1_0",
            "1:20",
            "<<",
            "=",
            "---",
            "...",
            "- a",
            "? a",
            "2024-01-02",
            "ENC[",
            "# no",
            "a # b",
            "a: b",
            "a:",
            "\u{85}",
            "\u{2028}x",
            "\u{feff}",
            "\u{fffe}",
            "💥",
            "\\n",
            "[a]",
            "{a}",
            "'",
            "\"",
            "`",
            "\"\"\"",
        ])
        .prop_map(str::to_owned),
        "[a-z]{200,300}",
    ]
}

fn comments() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![6 => Just(Vec::new()), 1 => prop::collection::vec("[ -~]{0,15}", 1..3)]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        1 => Just(Tree::Null),
        6 => any_text().prop_map(|text| Tree::Text(text.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..10).prop_map(Tree::Text),
        2 => any::<i64>().prop_map(Tree::Integer),
        2 => prop::num::f64::NORMAL.prop_map(Tree::Float),
        1 => (-1e6..1e6).prop_map(Tree::Float),
        1 => any::<bool>().prop_map(Tree::Boolean),
        1 => any::<u32>().prop_map(Tree::Time),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec((comments(), inner.clone()), 0..6).prop_map(Tree::List),
            prop::collection::vec((comments(), any_text(), inner), 0..6).prop_map(Tree::Map),
        ]
    })
}

fn document(least: usize) -> impl Strategy<Value = Vec<(Vec<String>, String, Tree)>> {
    prop::collection::vec((comments(), any_text(), tree()), least..12)
}

fn node(tree: &Tree, with_comments: bool) -> Node {
    let scalar = |kind, text: String| Node::Scalar(Scalar::new(kind, text));
    match tree {
        Tree::Null => Node::Null,
        Tree::Text(bytes) => Node::Scalar(Scalar::of(Kind::Text, SecretValue::new(bytes.clone()))),
        Tree::Integer(integer) => scalar(Kind::Integer, integer.to_string()),
        Tree::Float(float) => scalar(Kind::Float, crate::sops::scalar::canonical_float(&format!("{float:e}")).unwrap()),
        Tree::Boolean(truth) => scalar(Kind::Boolean, truth.to_string()),
        Tree::Time(seconds) => {
            let time = jiff::Timestamp::from_second(i64::from(*seconds)).unwrap();
            scalar(Kind::Time, time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        Tree::List(items) => {
            let mut list = Vec::new();
            for (comments, tree) in items {
                let comments = if with_comments { comments.as_slice() } else { &[] };
                list.extend(comments.iter().map(|text| Item::Comment(Comment::new(text.clone()))));
                let mut element = node(tree, with_comments);
                // Above the first thing of an element is above the element, to every reader.
                match &mut element {
                    Node::Map(map) => drop(map.drain(..leading(map, |entry| matches!(entry, Entry::Comment(_))))),
                    Node::List(items) => drop(items.drain(..leading(items, |item| matches!(item, Item::Comment(_))))),
                    Node::Null | Node::Scalar(_) => {}
                }
                list.push(Item::Value(element));
            }
            Node::List(list)
        }
        Tree::Map(pairs) => Node::Map(map(pairs, "", with_comments)),
    }
}

fn leading<T>(all: &[T], is: impl Fn(&T) -> bool) -> usize {
    all.iter().take_while(|one| is(one)).count()
}

/// Keys that differ: a number makes them so.
fn map(pairs: &[(Vec<String>, String, Tree)], suffix: &str, with_comments: bool) -> Map {
    let mut map = Map::new();
    for (number, (comments, key, tree)) in pairs.iter().enumerate() {
        let comments = if with_comments { comments.as_slice() } else { &[] };
        map.extend(comments.iter().map(|text| Entry::Comment(Comment::new(text.clone()))));
        map.push(Entry::Pair(format!("{key}.{number}{suffix}"), node(tree, with_comments)));
    }
    map
}

fn creation(identity: &Identity, selection: Option<Selection>) -> Creation {
    let keys = KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]);
    Creation { keys, selection, mac_only_encrypted: false, ..Creation::default() }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() }
}

fn encrypted(plain: &Plain, creation: &Creation) -> Vec<u8> {
    futures::executor::block_on(plain.encrypt(creation, &AgeRecipients, now()))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn reopened(identity: &Identity, format: Format, file: &[u8]) -> Editor {
    futures::executor::block_on(Editor::open(format, file, &identity.keys()))
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(file)))
}

#[test]
fn what_we_encrypt_we_decrypt() {
    let identity = Identity::generate();
    proptest!(config(200), |(pairs in document(0), clear in any::<bool>(), as_json in any::<bool>())| {
        let format = if as_json && !clear { Format::Json } else { Format::Yaml };
        let selection = clear.then(|| Selection::EncryptedRegex("^no key has this$".to_owned()));
        let plain = Plain { format, documents: vec![map(&pairs, "", format == Format::Yaml)] };
        let file = encrypted(&plain, &creation(&identity, selection));
        let opened = reopened(&identity, format, &file);
        let same = if clear { same_values } else { same_map };
        prop_assert!(same(&opened.plain.documents[0], &plain.documents[0]), "{}", String::from_utf8_lossy(&file));
        // The plain file too, comments and all.
        if format == Format::Yaml {
            let text = plain.to_file().unwrap();
            let read = Plain::parse(format, &text).unwrap();
            prop_assert!(same_values(&read.documents[0], &plain.documents[0]));
        }
    });
}

#[test]
fn what_we_encrypt_sops_decrypts() {
    let identity = Identity::generate();
    for format in [Format::Yaml, Format::Json] {
        let workplace = Workplace::new(Format::Yaml, &[&identity.secret]);
        let json = Workplace::new(Format::Json, &[&identity.secret]);
        proptest!(config(25), |(pairs in document(8), clear in document(0))| {
            let mut all = map(&pairs, "", format == Format::Yaml);
            if format == Format::Yaml {
                all.extend(map(&clear, "_unencrypted", true));
            }
            let plain = Plain { format, documents: vec![all] };
            let file = encrypted(&plain, &creation(&identity, None));
            let workplace = if format == Format::Yaml { &workplace } else { &json };
            // Its MAC is over every value, and it is right only if every value is the same. What it has opened it cannot
            // always print: Go's YAML does not read all that it writes, such as a name that begins with a tab below a comment.
            if let Err(said) = workplace.decrypt(&file)
                && !said.contains("Error dumping file")
            {
                prop_assert!(false, "{said}\n{}", String::from_utf8_lossy(&file));
            }
        });
    }
}

#[test]
fn flat_files_of_any_text_are_read_by_both() {
    let identity = Identity::generate();
    let name = "[A-Za-z_][A-Za-z0-9_.-]{0,10}";
    for format in [Format::Dotenv, Format::Ini] {
        let workplace = Workplace::new(format, &[&identity.secret]);
        proptest!(config(25), |(pairs in prop::collection::vec((name, any_text(), "[ -~]{1,20}"), 1..20))| {
            let mut plain = Plain::new(format);
            for (number, (key, text, clear)) in pairs.iter().enumerate() {
                let path = |suffix: &str| {
                    let key = format!("{key}{number}{suffix}");
                    if format == Format::Ini { Path::key(format!("section {}", number % 3)).then(key) } else { Path::key(key) }
                };
                plain.set(&path(""), Value::text(SecretValue::from(text.clone()))).unwrap();
                // What has no form in the clear is refused as a whole; here only what has one.
                let lone = clear.trim().replace(['\\', '"', '\'', '`', '#', ';'], "");
                plain.set(&path("_unencrypted"), Value::text(SecretValue::from(lone))).unwrap();
            }
            let file = encrypted(&plain, &creation(&identity, None));
            let opened = reopened(&identity, format, &file);
            prop_assert!(same_values(&opened.plain.documents[0], &plain.documents[0]));
            if let Err(said) = workplace.decrypt(&file) {
                prop_assert!(false, "{said}\n{}", String::from_utf8_lossy(&file));
            }
        });
    }
}

#[test]
fn one_changed_value_changes_one_line_the_time_and_the_mac() {
    let identity = Identity::generate();
    let earlier = "2020-01-01T00:00:00Z".parse().unwrap();
    proptest!(config(60), |(pairs in document(1), which in any::<prop::sample::Index>(), as_json in any::<bool>())| {
        let format = if as_json { Format::Json } else { Format::Yaml };
        let mut document = map(&pairs, "", format == Format::Yaml);
        let name = format!("changed {}", which.index(1_000));
        let place = which.index(document.len() + 1);
        document.insert(place, Entry::Pair(name.clone(), Node::text("before")));
        let plain = Plain { format, documents: vec![document] };
        let creation = creation(&identity, None);
        let made = plain.encrypt(&creation, &AgeRecipients, earlier);
        let file = futures::executor::block_on(made).unwrap();
        let mut editor = reopened(&identity, format, &file);
        editor.set(&Path::key(name.clone()), Value::text(SecretValue::from("after\nlines".to_owned()))).unwrap();
        let saved = editor.save(now()).unwrap();
        let (before, after) = (String::from_utf8(file).unwrap(), String::from_utf8(saved).unwrap());
        let mut expected: Vec<String> = ["lastmodified", "mac", &name].iter().flat_map(|name| [format!("+{name}"), format!("-{name}")]).collect();
        expected.sort();
        let mut found = difference(&before, &after);
        found.sort();
        prop_assert_eq!(found, expected, "{}\n{}", before, after);
        let opened = reopened(&identity, format, after.as_bytes());
        let changed = opened.document().get(&name).unwrap();
        prop_assert_eq!(changed.expose(), b"after\nlines");
    });
}

/// Tells the process that a test started that it is to read.
const READS: &str = "ATMOS_TEST_ROPS_READS";

/// `rops`, another library, reads what it knows of the format: no empty texts, no comments in lists, one document. It takes
/// its keys from a variable alone, so that it reads in a process of its own.
#[test]
#[expect(clippy::disallowed_methods, reason = "the task of a process that this test started")]
fn rops_reads_what_we_write() {
    if std::env::var_os(READS).is_some() {
        return rops_reads_the_files_of_this_folder();
    }
    let identity = Identity::generate();
    let mut plain = Plain::new(Format::Yaml);
    for (name, value) in [
        ("text", Value::text(SecretValue::from("two\nlines".to_owned()))),
        ("integer", Value::integer(-7)),
        ("float", Value::float(1.5).unwrap()),
        ("truth", Value::boolean(true)),
        ("nothing", Value::null()),
        ("list", Value::json(&SecretValue::from("[\"a\", {\"b\": [1]}]".to_owned())).unwrap()),
    ] {
        plain.set(&Path::key("map").then(name), value).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let yaml = encrypted(&plain, &creation(&identity, None));
    let mut editor = reopened(&identity, Format::Yaml, &yaml);
    editor.set(&Path::key("added"), Value::integer(1)).unwrap();
    std::fs::write(folder.path().join("secrets.yaml"), editor.save(now()).unwrap()).unwrap();
    let json = Plain { format: Format::Json, documents: plain.documents };
    std::fs::write(folder.path().join("secrets.json"), encrypted(&json, &creation(&identity, None))).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sops::tests::round_trips::rops_reads_what_we_write", "--nocapture"])
        .env(READS, "1")
        .env("ROPS_AGE", &identity.secret)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn rops_reads_the_files_of_this_folder() {
    use rops::cryptography::cipher::AES256GCM;
    use rops::cryptography::hasher::SHA512;
    use rops::file::RopsFile;
    use rops::file::format::{JsonFileFormat, YamlFileFormat};
    use rops::file::state::EncryptedFile;

    let yaml = std::fs::read_to_string("secrets.yaml").unwrap();
    let yaml: RopsFile<EncryptedFile<AES256GCM, SHA512>, YamlFileFormat> = yaml.parse().unwrap();
    let yaml = yaml.decrypt::<YamlFileFormat>().unwrap().map().to_string();
    for line in ["integer: -7", "float: 1.5", "truth: true", "nothing: null", "- a", "- b:", "- 1", "added: 1"] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
    let json = std::fs::read_to_string("secrets.json").unwrap();
    let json: RopsFile<EncryptedFile<AES256GCM, SHA512>, JsonFileFormat> = json.parse().unwrap();
    let json = json.decrypt::<JsonFileFormat>().unwrap().map().to_string();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["map"]["text"], "two\nlines");
    assert_eq!(json["map"]["list"], serde_json::json!(["a", {"b": [1]}]));
}
