//! Every format is read back by what is made to read it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::api::stack::{DeletionPolicy, MissingPolicy, SecretType, SyncPolicy};

fn target(format: Format) -> PlannedTarget {
    PlannedTarget {
        name: "t".to_owned(),
        component: String::new(),
        secret_type: SecretType::Opaque,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        deletion: DeletionPolicy::Retain,
        missing: MissingPolicy::Keep,
        sync: SyncPolicy::AllOrNothing,
        format,
        entries: BTreeMap::new(),
        documents: std::collections::BTreeSet::new(),
        templates: BTreeMap::new(),
        problem: None,
    }
}

fn values(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Arc<SecretValue>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Arc::new(SecretValue::new(value.to_vec())))).collect()
}

/// The one document that these values make.
fn document(format: Format, pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let data = lay_out(&target(format), values(pairs)).unwrap();
    let keys: Vec<&String> = data.keys().collect();
    assert_eq!(keys, [document_key(format).unwrap()]);
    data.values().next().unwrap().expose().to_vec()
}

fn read_back(format: Format, document: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let data = BTreeMap::from([(document_key(format).unwrap().to_owned(), SecretValue::new(document.to_vec()))]);
    match contents(format, &data) {
        Contents::Values(values) => {
            Some(values.into_iter().map(|(name, value)| (name, value.expose().to_vec())).collect())
        }
        Contents::None | Contents::Unreadable => None,
    }
}

const PAIRS: &[(&str, &[u8])] = &[
    ("EMPTY", b""),
    ("PLAIN", b"a-1/b:c@d"),
    ("QUOTES", b"it's \"$HOME\" `x` \\n"),
    ("SPACE", b" a #b\ttab "),
    ("LINES", b"one\ntwo='x'\n\r\n"),
    ("NULL", b"null"),
    ("UNICODE", "\u{fc}\u{1f511}\u{2028}\u{feff}\u{85}\u{7f}\u{1}".as_bytes()),
];

#[test]
fn the_forms_are_these() {
    let pairs: &[(&str, &[u8])] = &[("B", b"it's"), ("A", b"a b"), ("C", b"x")];
    for (format, expected) in [
        (Format::Dotenv, "A='a b'\nB=\"it's\"\nC=x\n"),
        (Format::Json, "{\n  \"A\": \"a b\",\n  \"B\": \"it's\",\n  \"C\": \"x\"\n}\n"),
        (Format::Yaml, "\"A\": \"a b\"\n\"B\": \"it's\"\n\"C\": \"x\"\n"),
    ] {
        assert_eq!(String::from_utf8(document(format, pairs)).unwrap(), expected);
    }
    for format in [Format::Data, Format::TfvarsEnv] {
        let same = lay_out(&target(format), values(pairs)).unwrap();
        assert!(same.keys().eq(["A", "B", "C"]));
    }
    // No value yet: no document.
    assert!(lay_out(&target(Format::Json), BTreeMap::new()).unwrap().is_empty());
}

/// What another program prints when it is fed the document.
fn through(program: &str, arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn hex_lines(pairs: &[(&str, &[u8])]) -> String {
    let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} {}\n", hex(value))).collect();
    lines.sort();
    lines.concat()
}

#[test]
fn python_reads_the_json() {
    let script = "import json, sys\nfor name, value in sorted(json.load(sys.stdin.buffer).items()):\n    print(name, \
                  value.encode().hex())";
    assert_eq!(through("python3", &["-c", script], &document(Format::Json, PAIRS)), hex_lines(PAIRS));
}

#[test]
fn a_shell_reads_the_dotenv_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document(Format::Dotenv, PAIRS)).unwrap();
    let script = format!(
        "set -a; . {}; exec python3 -c 'import os\nfor name in sorted({:?}): print(name, os.environb[name.encode()].hex())'",
        file.path().display(),
        PAIRS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    assert_eq!(through("sh", &["-c", &script], b""), hex_lines(PAIRS));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the parser itself, as users have one, with our own text")]
fn a_yaml_parser_reads_the_yaml() {
    let read: BTreeMap<String, String> =
        serde_saphyr::from_str(std::str::from_utf8(&document(Format::Yaml, PAIRS)).unwrap()).unwrap();
    let expected: BTreeMap<String, String> =
        PAIRS.iter().map(|(name, value)| ((*name).to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect();
    assert_eq!(read, expected);
}

#[test]
fn what_cannot_stand_in_a_format_is_said_with_its_name_alone() {
    let binary: &[u8] = b"c4n4ry\xff";
    let nul: &[u8] = b"c4n4ry\0";
    for (format, value, words) in [
        (Format::Dotenv, nul, Some("holds a NUL")),
        (Format::Dotenv, binary, None),
        (Format::Json, binary, Some("is not UTF-8")),
        (Format::Json, nul, None),
        (Format::Yaml, binary, Some("is not UTF-8")),
        (Format::TfvarsEnv, nul, Some("holds a NUL or is not UTF-8")),
        (Format::TfvarsEnv, binary, Some("holds a NUL or is not UTF-8")),
        (Format::Data, binary, None),
        (Format::Data, nul, None),
    ] {
        let refused = lay_out(&target(format), values(&[("A", value)])).map(drop).err();
        assert_eq!(refused.is_some(), words.is_some(), "{format:?}");
        if let (Some(problem), Some(words)) = (refused, words) {
            assert_eq!(problem.reason, Reason::TypeMismatch);
            assert!(problem.message.starts_with("the value of A in target t ") && problem.message.contains(words));
            assert!(!format!("{problem:?}").contains("c4n4ry"));
        }
    }
    let large = vec![b'x'; MAX_SECRET_BYTES];
    let problem = lay_out(&target(Format::Json), values(&[("A", &large), ("B", b"x")])).map(drop).unwrap_err();
    assert_eq!(problem.reason, Reason::ValueTooLarge);
}

#[test]
fn names_are_checked_and_prefixed() {
    assert_eq!(name_in(Format::TfvarsEnv, "db_password"), Ok("TF_VAR_db_password".to_owned()));
    for format in [Format::Dotenv, Format::TfvarsEnv] {
        for name in ["a-b", "a.b", "1a"] {
            assert!(name_in(format, name).unwrap_err().contains(name));
        }
    }
    for format in [Format::Data, Format::Json, Format::Yaml] {
        assert_eq!(name_in(format, "a-b.c"), Ok("a-b.c".to_owned()));
    }
}

#[test]
fn what_was_not_written_by_us_is_not_read() {
    for (format, text) in [
        (Format::Dotenv, "A"),
        (Format::Dotenv, "A=x"),
        (Format::Dotenv, "A='x"),
        (Format::Dotenv, "A='x'y\n"),
        (Format::Dotenv, "A=\"x\\"),
        (Format::Dotenv, "# comment\nA=x\n"),
        (Format::Dotenv, "=x\n"),
        (Format::Json, "[]"),
        (Format::Json, "{\"A\": 1}"),
        (Format::Json, "{"),
        (Format::Yaml, "A: x\n"),
        (Format::Yaml, "\"A\": {}\n"),
    ] {
        assert_eq!(read_back(format, text.as_bytes()), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_document_gives_back_what_went_in(
        texts in prop::collection::btree_map("[A-Z_][A-Z0-9_]{0,5}", "[\\PC\u{0}-\u{a0}'\"$\\\\]{0,20}", 1..5),
        format in prop::sample::select(vec![Format::Dotenv, Format::Json, Format::Yaml]),
    ) {
        let texts: BTreeMap<String, Vec<u8>> =
            texts.into_iter().map(|(name, text)| (name, text.replace('\0', "").into_bytes())).collect();
        let pairs: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
        prop_assert_eq!(read_back(format, &document(format, &pairs)), Some(texts));
    }

    #[test]
    fn a_dotenv_file_gives_back_any_bytes(bytes in prop::collection::vec(1u8.., 0..40)) {
        let read = read_back(Format::Dotenv, &document(Format::Dotenv, &[("A", &bytes), ("B", b"x")]));
        prop_assert_eq!(read.map(|mut values| values.remove("A")), Some(Some(bytes)));
    }
}
