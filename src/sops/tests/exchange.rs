//! Files that go back and forth between `sops` and this module: every format, every rule, every kind of age key.

use jiff::Timestamp;

use super::oracle::{Identity, Workplace, encrypt_bytes_under};
use super::values::{JSON_VALUES, RULES, YAML_VALUES, plaintext};
use crate::sops::compare::same_values;
use crate::sops::tree::{Entry, Item, Kind, Map, Node, copy};
use crate::sops::{
    AgeKeys, AgeRecipients, Creation, Editor, Format, KeyGroups, Path, Plain, Recipient, Selection, Value,
};
use crate::value::SecretValue;

/// A key pair of any kind.
pub(super) struct KeyPair {
    pub(super) recipient: String,
    pub(super) secret: String,
}

impl KeyPair {
    pub(super) fn all() -> [Self; 4] {
        let Identity { recipient, secret } = Identity::generate();
        let ssh = |public: &str, secret: &str| Self { recipient: public.trim().to_owned(), secret: secret.to_owned() };
        [
            Self { recipient, secret },
            ssh(include_str!("ssh/ed25519.key.pub"), include_str!("ssh/ed25519.key")),
            ssh(include_str!("ssh/rsa.key.pub"), include_str!("ssh/rsa.key")),
            ssh(include_str!("ssh/rsa-pem.key.pub"), include_str!("ssh/rsa-pem.key")),
        ]
    }

    pub(super) fn keys(&self) -> AgeKeys {
        AgeKeys::parse("test key", &SecretValue::from(self.secret.clone())).unwrap()
    }

    pub(super) fn groups(&self) -> KeyGroups {
        KeyGroups::single(vec![Recipient::Age(self.recipient.clone())])
    }
}

const DOTENV: &str = "\
# marked
NAME_marked=first
PLAIN=second

# a comment
EMPTY=
BLANKS=  two blanks  
QUOTED=\"x y\"
EQUALS=a=b=c
LINES=one\\ntwo\\n
UNICODE=Grüße, 世界 🎉
NUMBER=007
export EXPORTED=1
#
TRUE_marked=true
";

const INI: &str = "\
top = level

; of the section
[first]
; marked
name_marked = first
plain: second
# two lines
# of comment
empty =
quoted = \"two words\"
single = 'x'
blanks = \"  two blanks  \"
lines = \"\"\"one
two\"\"\"
backticks = `a # b ; c`
inline = value ; a comment
unicode = Grüße, 世界 🎉
`a:b` = colon
continued = one \\
  two
[second marked]
number = 007
";

pub(super) fn sample(format: Format) -> Vec<u8> {
    match format {
        Format::Yaml => plaintext(format, YAML_VALUES).into_bytes(),
        Format::Json => plaintext(format, JSON_VALUES).into_bytes(),
        Format::Dotenv => DOTENV.as_bytes().to_vec(),
        Format::Ini => INI.as_bytes().to_vec(),
        Format::Binary => (0..=255).chain([0, b'\n', b'\r']).collect(),
    }
}

pub(super) fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

/// A place for a value in each format.
fn place(format: Format, name: &str) -> Path {
    match format {
        Format::Yaml | Format::Json | Format::Dotenv => Path::key(name),
        Format::Ini => Path::key("first").then(name),
        Format::Binary => Path::key("data"),
    }
}

fn place_of_sops(format: Format, name: &str) -> String {
    match format {
        Format::Yaml | Format::Json | Format::Dotenv => format!("[\"{name}\"]"),
        Format::Ini => format!("[\"first\"][\"{name}\"]"),
        Format::Binary => "[\"data\"]".to_owned(),
    }
}

fn plain(format: Format, bytes: &[u8]) -> Plain {
    Plain::parse(format, &SecretValue::new(bytes.to_vec())).unwrap()
}

/// `sops` writes the float `3.0` as `3` where it is not encrypted, and then reads an integer: the same text to the MAC.
fn whole_floats_as_integers(node: &mut Node) {
    match node {
        Node::Null => {}
        Node::Scalar(scalar) => {
            if scalar.kind == Kind::Float && !scalar.text.expose().contains(&b'.') {
                scalar.kind = Kind::Integer;
            }
        }
        Node::Map(map) => map_whole_floats(map),
        Node::List(items) => {
            for item in items {
                if let Item::Value(node) = item {
                    whole_floats_as_integers(node);
                }
            }
        }
    }
}

fn map_whole_floats(map: &mut Map) {
    for entry in map {
        if let Entry::Pair(_, node) = entry {
            whole_floats_as_integers(node);
        }
    }
}

fn assert_same(one: &Plain, other: &Plain, what: &str) {
    assert_eq!(one.documents.len(), other.documents.len(), "{what}");
    for (one_document, other_document) in one.documents.iter().zip(&other.documents) {
        let (mut one_document, mut other_document) = (copy(one_document), copy(other_document));
        map_whole_floats(&mut one_document);
        map_whole_floats(&mut other_document);
        let shown = |plain: &Plain| String::from_utf8_lossy(plain.to_file().unwrap().expose()).into_owned();
        assert!(same_values(&one_document, &other_document), "{what}:\n{}\n---\n{}", shown(one), shown(other));
    }
}

fn selection(rule: &str) -> Option<Selection> {
    let (field, text) = rule.split_once(": ")?;
    Some(Selection::of_field(field, text.to_owned()).unwrap())
}

/// What `sops` makes of numbers and times in its plain output is not always what it read (`3.0` becomes `3`), so its own
/// reading of our plain text is what its reading of our encrypted file is held against.
fn as_sops_prints(format: Format, pair: &KeyPair, bytes: &[u8]) -> Vec<u8> {
    let file = encrypt_bytes_under(&format!("age: {}", pair.recipient), format, bytes);
    Workplace::new(format, &[&pair.secret]).decrypt(&file).unwrap()
}

async fn exchange(format: Format, rule: &str, mac_only_encrypted: bool, pair: &KeyPair) {
    let what = format!("{format}, {rule}, {mac_only_encrypted}, {}", pair.recipient);
    let bytes = sample(format);
    let meant = plain(format, &bytes);
    let workplace = Workplace::new(format, &[&pair.secret]);

    // Theirs, read by us.
    let rules = format!("age: {}\n{rule}\nmac_only_encrypted: {mac_only_encrypted}", pair.recipient);
    let theirs = encrypt_bytes_under(&rules.replace("\n\n", "\n"), format, &bytes);
    let opened = Editor::open(format, &theirs, &pair.keys()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_same(&opened.plain, &meant, &what);

    // Ours, read by them and by us.
    let creation =
        Creation { keys: pair.groups(), selection: selection(rule), mac_only_encrypted, ..Creation::default() };
    let ours = meant.encrypt(&creation, &AgeRecipients, now()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let shown = String::from_utf8_lossy(&ours);
    let decrypted = workplace.decrypt(&ours).unwrap_or_else(|said| panic!("{what}: {said}\n{shown}"));
    if format == Format::Binary {
        assert_eq!(decrypted, bytes);
    } else {
        let expected = as_sops_prints(format, pair, &bytes);
        assert_same(&plain(format, &decrypted), &plain(format, &expected), &what);
    }
    let opened = Editor::open(format, &ours, &pair.keys()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_same(&opened.plain, &meant, &what);

    // Edited by one and read by the other, three times in turn, each beginning with the other's file.
    for mut file in [theirs, ours] {
        for turn in 0..3 {
            let (by_us, by_them) = (format!("us{turn}"), format!("them{turn}"));
            let value = |text: &str| Value::text(SecretValue::from(text.to_owned()));
            let mut editor = Editor::open(format, &file, &pair.keys()).await.unwrap();
            assert!(editor.set(&place(format, &by_us), value(&format!("ours {turn}"))).unwrap());
            assert!(
                editor.set(&place(format, "us_marked"), value(&format!("ours {turn}"))).unwrap()
                    || format == Format::Binary
            );
            file = editor.save(now()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let shown = String::from_utf8_lossy(&file).into_owned();
            let theirs = format!("\"theirs {turn}\"");
            file = workplace
                .change(&file, &["set", &place_of_sops(format, &by_them), &theirs])
                .unwrap_or_else(|said| panic!("{what}: {said}\n{shown}"));
            let editor = Editor::open(format, &file, &pair.keys()).await.unwrap();
            let found = |name: &str| editor.document().find(&place(format, name)).unwrap().expose().to_vec();
            assert_eq!(found(&by_them), format!("theirs {turn}").into_bytes(), "{what}");
            if format != Format::Binary {
                assert_eq!(found(&by_us), format!("ours {turn}").into_bytes(), "{what}");
                assert_eq!(found("us_marked"), format!("ours {turn}").into_bytes(), "{what}");
            }
        }
        workplace.decrypt(&file).unwrap_or_else(|said| panic!("{what}: {said}"));
    }
}

async fn every_rule(format: Format) {
    let pair = &KeyPair::all()[0];
    for rule in RULES {
        // JSON has no comments.
        if rule.contains("comment") && format == Format::Json {
            continue;
        }
        for mac_only_encrypted in [false, true] {
            exchange(format, rule, mac_only_encrypted, pair).await;
        }
    }
}

#[tokio::test]
async fn yaml_goes_back_and_forth_under_every_rule() {
    every_rule(Format::Yaml).await;
}

#[tokio::test]
async fn json_goes_back_and_forth_under_every_rule() {
    every_rule(Format::Json).await;
}

#[tokio::test]
async fn dotenv_goes_back_and_forth_under_every_rule() {
    every_rule(Format::Dotenv).await;
}

#[tokio::test]
async fn ini_goes_back_and_forth_under_every_rule() {
    every_rule(Format::Ini).await;
}

#[tokio::test]
async fn binary_goes_back_and_forth_under_every_rule() {
    every_rule(Format::Binary).await;
}

#[tokio::test]
async fn every_format_goes_back_and_forth_with_every_kind_of_age_key() {
    for pair in &KeyPair::all()[1..] {
        for format in Format::ALL {
            exchange(format, "", false, pair).await;
        }
    }
}
