//! Edits of files that are there: a diff shows what changed and nothing else, in every format and layout.

use super::exchange::{KeyPair, now};
use super::oracle::{Identity, Workplace, encrypt, encrypt_bytes_under};
use crate::sops::{AgeRecipients, Creation, Editor, Error, Format, KeyGroups, Path, Plain, Recipient, Value};
use crate::value::SecretValue;

fn text(text: &str) -> Value {
    Value::text(SecretValue::from(text.to_owned()))
}

async fn open(format: Format, identity: &Identity, file: &[u8]) -> Editor {
    Editor::open(format, file, &identity.keys()).await.unwrap_or_else(|error| {
        panic!("{error}\n{}", String::from_utf8_lossy(file));
    })
}

/// The lines that one file has and the other has not, without what differs in them by nature.
pub(super) fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // The longest common subsequence.
    let mut longest = vec![vec![0; after.len() + 1]; before.len() + 1];
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            longest[i][j] =
                if old == new { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            changes.push(format!("-{}", name(before[i])));
            i += 1;
        } else {
            changes.push(format!("+{}", name(after[j])));
            j += 1;
        }
    }
    changes
}

/// What a line is about.
fn name(line: &str) -> String {
    let line = line.trim().trim_start_matches("- ");
    if line.starts_with("ENC[") {
        return "element".to_owned();
    }
    let end = line.find(['=', ':']).unwrap_or(line.len());
    line[..end].trim().trim_matches('"').trim_start_matches("sops_").to_owned()
}

fn changed(names: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = names.iter().flat_map(|name| [format!("+{name}"), format!("-{name}")]).collect();
    all.sort();
    all
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Sets, adds and removes one value after the other in `file`, and looks at every diff; `sops` reads each version.
async fn edits_show_alone(format: Format, identity: &Identity, file: &str) {
    let path = |name: &str| match format {
        Format::Ini => Path::key("section").then(name),
        Format::Yaml | Format::Json | Format::Dotenv | Format::Binary => Path::key(name),
    };
    let workplace = Workplace::new(format, &[&identity.secret]);
    let readable = |file: &str| {
        workplace.decrypt(file.as_bytes()).unwrap_or_else(|said| panic!("{format}: {said}\n{file}"));
    };

    let mut editor = open(format, identity, file.as_bytes()).await;
    assert!(editor.set(&path("second"), text("changed")).unwrap());
    let set = String::from_utf8(editor.save(now()).unwrap()).unwrap();
    assert_eq!(sorted(difference(file, &set)), changed(&["lastmodified", "mac", "second"]), "{format}\n{file}\n{set}");
    readable(&set);

    let mut editor = open(format, identity, set.as_bytes()).await;
    assert!(editor.unset(&path("first")));
    assert!(!editor.unset(&path("first")));
    let unset = String::from_utf8(editor.save(now()).unwrap()).unwrap();
    let mut expected = changed(&["mac"]);
    expected.push("-first".to_owned());
    // The time is the same: the clock stands still.
    assert_eq!(sorted(difference(&set, &unset)), sorted(expected), "{format}\n{set}\n{unset}");
    readable(&unset);

    let mut editor = open(format, identity, unset.as_bytes()).await;
    assert!(editor.set(&path("fifth"), text("new\nlines")).unwrap());
    let added = String::from_utf8(editor.save(now()).unwrap()).unwrap();
    let mut expected = changed(&["mac"]);
    expected.push("+fifth".to_owned());
    expected.sort();
    assert_eq!(sorted(difference(&unset, &added)), expected, "{format}\n{unset}\n{added}");
    readable(&added);
    let document = open(format, identity, added.as_bytes()).await.document();
    for (name, value) in [("second", "changed"), ("fifth", "new\nlines"), ("third", "3")] {
        assert_eq!(document.find(&path(name)).unwrap().expose(), value.as_bytes(), "{format}: {name}");
    }
    assert!(document.find(&path("first")).is_none());

    // Nothing to do, nothing done.
    let mut editor = open(format, identity, added.as_bytes()).await;
    assert!(!editor.set(&path("second"), text("changed")).unwrap());
    assert_eq!(editor.save(now()).unwrap(), added.as_bytes());
}

const PLAIN: [(Format, &str); 4] = [
    (
        Format::Yaml,
        "# top\nfirst: 1\n\n# of second\nsecond: two # right\nthird: '3'\nnested:\n  - a: b\n    c: [d, e]\n",
    ),
    (Format::Json, "{\"first\": 1, \"second\": \"two\", \"third\": \"3\", \"nested\": {\"a\": [\"b\", {}]}}"),
    (Format::Dotenv, "# top\nfirst=1\n# of second\nsecond=two\nthird=3\n"),
    (Format::Ini, "[section]\nfirst = 1\n; of second\nsecond = two\nthird = 3\n[other]\na = b\n"),
];

#[tokio::test]
async fn a_changed_value_changes_its_line_the_time_and_the_mac() {
    let identity = Identity::generate();
    for (format, plain) in PLAIN {
        let file = encrypt(&identity, "", format, plain);
        edits_show_alone(format, &identity, &file).await;
        let creation = Creation {
            keys: KeyGroups::single(vec![Recipient::Age(identity.recipient.clone())]),
            ..Creation::default()
        };
        let plain = Plain::parse(format, &SecretValue::from(plain.to_owned())).unwrap();
        let earlier = "2020-01-01T00:00:00Z".parse().unwrap();
        let ours = plain.encrypt(&creation, &AgeRecipients, earlier).await.unwrap();
        edits_show_alone(format, &identity, &String::from_utf8(ours).unwrap()).await;
    }
}

#[tokio::test]
async fn layouts_of_other_hands_are_kept() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, PLAIN[0].1);
    // Blank lines, another indentation, lists that are not indented, quotes, a document's start.
    let (values, metadata) = file.split_once("\nsops:\n").unwrap();
    let values = values.replace("\nthird", "\n\n\nthird").replace("second: ENC", "second:   ENC");
    let metadata: String = metadata.lines().map(|line| format!("{}\n", &line[2..])).collect();
    edits_show_alone(Format::Yaml, &identity, &format!("---\n{values}\nsops:\n{metadata}")).await;
    let quoted: String = file
        .lines()
        .map(|line| match line.split_once(": ENC[") {
            Some((key, sealed)) if !line.contains(" #") => format!("{key}: \"ENC[{sealed}\"\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(quoted, file);
    edits_show_alone(Format::Yaml, &identity, &quoted).await;

    let json = encrypt(&identity, "", Format::Json, PLAIN[1].1);
    edits_show_alone(Format::Json, &identity, &json.replace('\t', "  ")).await;
    // Lists on one line, as formatters write them.
    let (before, rest) = json.split_once("\"nested\": ").unwrap();
    let (nested, after) = rest.split_once("\n\t},").unwrap();
    let formatted = format!("{before}\"nested\": {} }},{after}", nested.replace(['\n', '\t'], " "));
    edits_show_alone(Format::Json, &identity, &formatted).await;
    let mut editor = open(Format::Json, &identity, formatted.as_bytes()).await;
    editor
        .set(&Path::key("nested").then("b"), Value::json(&SecretValue::from("{\"c\": [1]}".to_owned())).unwrap())
        .unwrap();
    editor.set(&Path::key("nested").then("a").at(0), Value::null()).unwrap();
    editor.unset(&Path::key("third"));
    let saved = editor.save(now()).unwrap();
    Workplace::new(Format::Json, &[&identity.secret]).decrypt(&saved).unwrap();
    let saved = String::from_utf8(saved).unwrap();
    assert!(saved.contains("{   \"a\": [    null,"), "{saved}");
    let document = open(Format::Json, &identity, saved.as_bytes()).await.document();
    assert_eq!(document.get("nested").unwrap().expose(), br#"{"a":[null,{}],"b":{"c":[1]}}"#);
    // On one line there are no lines to keep; what stands around the values stays.
    let flat = json.replace(['\t', '\n'], "");
    let mut editor = open(Format::Json, &identity, flat.as_bytes()).await;
    editor.set(&Path::key("second"), text("changed")).unwrap();
    assert_eq!(editor.save(now()).unwrap().iter().filter(|byte| **byte == b'\n').count(), 0);
}

#[tokio::test]
async fn windows_line_ends_are_kept() {
    let identity = Identity::generate();
    for (format, plain) in PLAIN {
        let file = encrypt(&identity, "", format, plain).replace('\n', "\r\n");
        let mut editor = open(format, &identity, file.as_bytes()).await;
        let path = if format == Format::Ini { Path::key("section").then("new") } else { Path::key("new") };
        assert!(editor.set(&path, text("value")).unwrap());
        let saved = String::from_utf8(editor.save(now()).unwrap()).unwrap();
        assert_eq!(saved.matches('\n').count(), saved.matches("\r\n").count(), "{format}\n{saved}");
        let document = open(format, &identity, saved.as_bytes()).await.document();
        assert_eq!(document.find(&path).unwrap().expose(), b"value", "{format}");
        // The line ends are in the way of `sops` itself in dotenv alone: it takes them for a part of the time.
        let read = Workplace::new(format, &[&identity.secret]).decrypt(saved.as_bytes());
        assert_eq!(read.is_ok(), format != Format::Dotenv, "{format}: {read:?}");
    }
}

#[tokio::test]
async fn nested_values_are_set_added_and_removed_in_place() {
    let identity = Identity::generate();
    let plain = "a:\n  b:\n    c: 1\n    d: [x, {y: z}]\n  e: 2\nf: [1, 2, 3]\ng: {}\n";
    let file = encrypt(&identity, "", Format::Yaml, plain);
    let workplace = Workplace::new(Format::Yaml, &[&identity.secret]);
    let deep = Path::key("a").then("b");
    let steps: [(Path, Option<Value>, &[&str]); 9] = [
        (deep.clone().then("c"), Some(Value::integer(7)), &["+c", "-c"]),
        (deep.clone().then("d").at(1).then("y"), Some(text("zz")), &["+y", "-y"]),
        (deep.clone().then("n"), Some(Value::boolean(true)), &["+n"]),
        (deep.clone().then("d").at(1).then("new"), Some(Value::null()), &["+new"]),
        (deep.clone().then("c"), None, &["-c"]),
        (Path::key("f").at(1), None, &["-element"]),
        (Path::key("f").at(2), Some(Value::float(1.5).unwrap()), &["+element"]),
        (Path::key("g").then("h").then("i"), Some(text("made on the way")), &["+g", "+h", "+i", "-g"]),
        (Path::key("a"), None, &["-a", "-b", "-d", "-e", "-n", "-new", "-y", "-element"]),
    ];
    let mut file = file;
    for (path, value, expected) in steps {
        let mut editor = open(Format::Yaml, &identity, file.as_bytes()).await;
        match value {
            Some(value) => assert!(editor.set(&path, value).unwrap(), "{path}"),
            None => assert!(editor.unset(&path), "{path}"),
        }
        let saved = String::from_utf8(editor.save(now()).unwrap()).unwrap();
        let found: Vec<String> = difference(&file, &saved)
            .into_iter()
            .filter(|line| !line.ends_with("mac") && !line.ends_with("lastmodified"))
            .collect();
        let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        expected.sort();
        assert_eq!(sorted(found), expected, "{path}\n{file}\n{saved}");
        workplace.decrypt(saved.as_bytes()).unwrap_or_else(|said| panic!("{path}: {said}\n{saved}"));
        file = saved;
    }
    let document = open(Format::Yaml, &identity, file.as_bytes()).await.document();
    assert_eq!(document.get("f").unwrap().expose(), b"[1,3,1.5]");
    assert_eq!(document.get("g").unwrap().expose(), br#"{"h":{"i":"made on the way"}}"#);
}

#[tokio::test]
async fn places_that_there_cannot_be_are_refused() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, "a: 1\nl: [1]\nm: {k: v}\n");
    let mut editor = open(Format::Yaml, &identity, file.as_bytes()).await;
    for path in [
        Path::key("a").then("b"),
        Path::key("a").at(0),
        Path::key("l").at(2),
        Path::key("l").then("k"),
        Path::key("m").at(0),
        Path::key("sops"),
        Path::key("sops").then("mac"),
    ] {
        assert!(matches!(editor.set(&path, Value::integer(1)), Err(Error::BadPath { .. })), "{path}");
    }
    for (format, path, value) in [
        (Format::Dotenv, Path::key("a").then("b"), Value::integer(1)),
        (Format::Dotenv, Path::key("sops_mac"), Value::integer(1)),
        (Format::Dotenv, Path::key("a"), Value::null()),
        (Format::Ini, Path::key("a"), Value::integer(1)),
        (Format::Ini, Path::key("a").then("b").then("c"), Value::integer(1)),
        (Format::Ini, Path::key("sops").then("b"), Value::integer(1)),
        (Format::Binary, Path::key("a"), Value::integer(1)),
        (Format::Binary, Path::key("data"), Value::null()),
    ] {
        assert!(matches!(Plain::new(format).set(&path, value), Err(Error::BadPath { .. })), "{format} {path}");
    }
    assert_eq!(editor.save(now()).unwrap(), file.as_bytes());
}

#[tokio::test]
async fn what_a_format_cannot_hold_is_not_written() {
    let pair = &KeyPair::all()[0];
    let creation = Creation { keys: pair.groups(), ..Creation::default() };
    let cases = [
        (Format::Dotenv, Path::key("a=b"), text("x")),
        (Format::Dotenv, Path::key("a\nb"), text("x")),
        (Format::Dotenv, Path::key("#a"), text("x")),
        (Format::Dotenv, Path::key("a_unencrypted"), text("back\\nslash")),
        (Format::Ini, Path::key("a]b\n").then("c"), text("x")),
        (Format::Ini, Path::key("a").then("b\nc"), text("x")),
        (Format::Json, Path::key("a_unencrypted"), Value::text(SecretValue::new(vec![0xff]))),
    ];
    for (format, path, value) in cases {
        let mut plain = Plain::new(format);
        plain.set(&path, value).unwrap();
        let written = plain.encrypt(&creation, &AgeRecipients, now()).await;
        let error = written.err().unwrap_or_else(|| panic!("{format} {path}"));
        assert!(matches!(error, Error::Unwritable { .. } | Error::Unparsable { .. }), "{format} {path}: {error}");
        assert!(!error.to_string().contains("slash"), "{error}");
    }
    // `sops` reads no integer beyond 64 bits, in the clear or not.
    for name in ["a", "a_unencrypted"] {
        let plain = format!("{name}: 9223372036854775808\n");
        let plain = Plain::parse(Format::Yaml, &SecretValue::from(plain)).unwrap();
        let error = plain.encrypt(&creation, &AgeRecipients, now()).await.err().unwrap();
        assert!(matches!(&error, Error::Unwritable { path, .. } if path == name), "{error}");
    }
    // What is encrypted is only its base64 to the format.
    for format in [Format::Dotenv, Format::Ini, Format::Json, Format::Yaml] {
        let path = if format == Format::Ini { Path::key("s").then("a") } else { Path::key("a") };
        for bytes in [&b"\xff\0"[..], b"back\\nslash", b"`\"\"\"#;\\", b" \r\n", b""] {
            let mut plain = Plain::new(format);
            plain.set(&path, Value::text(SecretValue::new(bytes.to_vec()))).unwrap();
            let file = plain.encrypt(&creation, &AgeRecipients, now()).await.unwrap();
            let editor = Editor::open(format, &file, &pair.keys()).await.unwrap();
            assert_eq!(editor.document().find(&path).unwrap().expose(), bytes, "{format}");
        }
    }
}

#[tokio::test]
async fn a_new_data_key_seals_everything_anew() {
    let (identity, other) = (Identity::generate(), Identity::generate());
    for (format, plain) in PLAIN {
        let rule = format!("age: {},{}", identity.recipient, other.recipient);
        let file = String::from_utf8(encrypt_bytes_under(&rule, format, plain.as_bytes())).unwrap();
        let mut editor = open(format, &identity, file.as_bytes()).await;
        editor.rotate(&AgeRecipients, now()).await.unwrap();
        let rotated = String::from_utf8(editor.save(now()).unwrap()).unwrap();
        let sealed = |file: &str| -> Vec<String> {
            file.split("ENC[").skip(1).map(|rest| rest.split(']').next().unwrap().to_owned()).collect()
        };
        let before = sealed(&file);
        assert!(before.len() > 3 && sealed(&rotated).len() == before.len());
        assert!(sealed(&rotated).iter().all(|sealed| !before.contains(sealed)), "{format}\n{rotated}");
        for identity in [&identity, &other] {
            let document = open(format, identity, rotated.as_bytes()).await.document();
            let before = open(format, identity, file.as_bytes()).await.document();
            let contents = |document: &crate::sops::Document| -> Vec<(String, Vec<u8>)> {
                document.names().map(|name| (name.to_owned(), document.get(name).unwrap().expose().to_vec())).collect()
            };
            assert_eq!(contents(&document), contents(&before), "{format}");
            Workplace::new(format, &[&identity.secret]).decrypt(rotated.as_bytes()).unwrap();
        }
    }
}

/// A change that is refused leaves nothing behind, not even the maps and lists on its way.
#[tokio::test]
async fn a_change_that_is_refused_changes_nothing() {
    let plain = "a: null\nm: {n: }\nl: [null]\nother: 1\n";
    for path in [
        Path::key("a").at(3),
        Path::key("a").then("b").at(1),
        Path::key("a").at(0).at(1),
        Path::key("m").then("n").at(1),
        Path::key("m").then("new").at(1),
        Path::key("l").at(0).then("k").at(7),
        Path::key("l").at(1).at(1),
    ] {
        let mut parsed = Plain::parse(Format::Yaml, &SecretValue::from(plain.to_owned())).unwrap();
        let before = parsed.to_file().unwrap();
        assert!(matches!(parsed.set(&path, Value::integer(1)), Err(Error::BadPath { .. })), "{path}");
        let after = parsed.to_file().unwrap();
        assert!(after.equals(before.expose()), "{path}\n{}", String::from_utf8_lossy(after.expose()));
    }
}
