//! Every format under every rule with a key of every service: `sops` and we read what the other wrote, in turn.
//!
//! What the formats can hold is tried with age keys, which need no service, in `src/sops/tests/exchange.rs`.

use std::collections::BTreeMap;
use std::process::Output;

use atmos_secrets::sops::{Creation, Editor, Format, KeyGroups, Path, Plain, Selection, Value};
use atmos_secrets::value::SecretValue;
use e2e::tools::{self, Tool};
use tokio::process::Command;

use super::services::{self, Service};
use crate::log;
use crate::suite::CANARY;

/// Which values are encrypted, by what text, and whether the MAC is over those alone.
type Rule = (Option<fn(String) -> Selection>, &'static str, bool);

const RULES: [Rule; 8] = [
    (None, "", false),
    (Some(Selection::UnencryptedSuffix), "_marked", false),
    (Some(Selection::EncryptedSuffix), "_marked", false),
    (Some(Selection::UnencryptedRegex), "_mark[eE]d$", false),
    (Some(Selection::EncryptedRegex), "^.*_marked$", false),
    (Some(Selection::UnencryptedCommentRegex), "marked", false),
    (Some(Selection::EncryptedCommentRegex), "marked", false),
    (Some(Selection::EncryptedRegex), "^.*_marked$", true),
];

const YAML: &str = "\
# marked
text_marked: CANARY
plain: second
empty: \"\"
integer: 42
integer_marked: -7
float: 1.5
truth: true
time: 2024-01-02T03:04:05Z
looks_like_a_number: \"007\"
nothing: null
# above the map
map:
    b: 1
    a_marked: two
    list:
        - one
        - 3
        - x: false
lines: |
    first
    second
";

const JSON: &str = r#"{"text_marked": "CANARY", "plain": "second", "empty": "", "integer": 42, "integer_marked": -7,
"float": 1.5, "truth": true, "nothing": null, "map": {"b": 1, "a_marked": "two", "list": ["one", 3, {"x": false}]}}"#;

const DOTENV: &str = "# marked\ntext_marked=CANARY\nplain=second\nempty=\nlines=one\\ntwo\n# a comment\nnumber=007\n";

const INI: &str = "[first]\n; marked\ntext_marked = CANARY\nplain = second\nempty =\n[second]\nnumber = 007\n";

fn sample(format: Format) -> Vec<u8> {
    let text = match format {
        Format::Yaml => YAML,
        Format::Json => JSON,
        Format::Dotenv => DOTENV,
        Format::Ini => INI,
        Format::Binary => return CANARY.bytes().chain(0..=255).collect(),
    };
    text.replace("CANARY", CANARY).into_bytes()
}

pub fn file_name(format: Format) -> &'static str {
    match format {
        Format::Yaml => "secrets.yaml",
        Format::Json => "secrets.json",
        Format::Dotenv => "secrets.env",
        Format::Ini => "secrets.ini",
        Format::Binary => "secrets.bin",
    }
}

/// A place for a value in each format, to us and to `sops`.
fn place(format: Format, name: &str) -> (Path, String) {
    match format {
        Format::Yaml | Format::Json | Format::Dotenv => (Path::key(name), format!("[\"{name}\"]")),
        Format::Ini => (Path::key("first").then(name), format!("[\"first\"][\"{name}\"]")),
        Format::Binary => (Path::key("data"), "[\"data\"]".to_owned()),
    }
}

fn text(text: &str) -> Value {
    Value::text(SecretValue::from(text.to_owned()))
}

fn parsed(format: Format, bytes: &[u8]) -> Plain {
    Plain::parse(format, &SecretValue::new(bytes.to_vec())).unwrap()
}

/// Values, their kinds, their order and the comments, as one text.
fn shown(plain: &Plain) -> Vec<u8> {
    plain.to_file().unwrap().expose().to_vec()
}

/// Somebody at work with the `sops` command.
pub struct Workplace<'a> {
    folder: tempfile::TempDir,
    environment: &'a BTreeMap<String, String>,
}

impl<'a> Workplace<'a> {
    pub fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        Command::new(tools::path(Tool::Sops).await.expect("sops"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(self.environment)
            .current_dir(self.folder.path())
            .output()
            .await
            .unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// The file under one creation rule, whose lines are `rule`.
    pub async fn encrypt(&self, rule: &str, format: Format, plain: &[u8]) -> Vec<u8> {
        let rule = rule.trim_end().replace('\n', "\n    ");
        self.put("config.yaml", format!("creation_rules:\n  - {rule}\n").as_bytes());
        self.put(file_name(format), plain);
        let output = self.run(&["--config", "config.yaml", "encrypt", file_name(format)]).await;
        assert!(output.status.success(), "{rule}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What is printed, or what is said.
    pub async fn decrypt(&self, format: Format, file: &[u8]) -> Result<Vec<u8>, String> {
        self.put(file_name(format), file);
        let output = self.run(&["decrypt", file_name(format)]).await;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    async fn set(&self, format: Format, file: &[u8], place: &str, value: &str) -> Vec<u8> {
        self.put(file_name(format), file);
        let output = self.run(&["set", file_name(format), place, &format!("\"{value}\"")]).await;
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(self.folder.path().join(file_name(format))).unwrap()
    }
}

async fn opened(format: Format, file: &[u8], service: &Service, what: &str) -> Editor {
    Editor::open(format, file, &service.keys).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// One format under one rule: theirs read by us, ours read by them, and one of both edited in turn.
async fn exchange(service: &Service, workplace: &Workplace<'_>, format: Format, rule: Rule, ours_first: bool) {
    let (kind, expression, mac_only_encrypted) = rule;
    let selection = kind.map(|kind| kind(expression.to_owned()));
    let what = format!("{format} under {selection:?}, {mac_only_encrypted}, {}", service.rule);
    let bytes = sample(format);
    let meant = shown(&parsed(format, &bytes));

    let field = selection.as_ref().map_or(String::new(), |selection| {
        let (field, expression) = selection.field();
        format!("{field}: {expression}\n")
    });
    let rule = format!("{}\n{field}mac_only_encrypted: {mac_only_encrypted}", service.rule);
    let theirs = workplace.encrypt(&rule, format, &bytes).await;
    let found = opened(format, &theirs, service, &what).await.to_plain_file().unwrap();
    assert_eq!(String::from_utf8_lossy(found.expose()), String::from_utf8_lossy(&meant), "{what}");

    let keys = KeyGroups::single(vec![service.recipient.clone()]);
    let creation = Creation { keys, selection, mac_only_encrypted, ..Creation::default() };
    let now = "2026-02-03T04:05:06Z".parse().unwrap();
    let ours = parsed(format, &bytes).encrypt(&creation, &service.keys, now).await;
    let ours = ours.unwrap_or_else(|error| panic!("{what}: {error}"));
    let printed = workplace.decrypt(format, &ours).await.unwrap_or_else(|said| panic!("{what}: {said}"));
    let printed = shown(&parsed(format, &printed));
    assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&meant), "{what}");

    let mut file = if ours_first { ours } else { theirs };
    let mut expected = parsed(format, &bytes);
    for turn in 0..3 {
        let mut editor = opened(format, &file, service, &what).await;
        for name in [format!("ours_{turn}"), "ours_marked".to_owned()] {
            let value = format!("{name} {turn}");
            expected.set(&place(format, &name).0, text(&value)).unwrap();
            editor.set(&place(format, &name).0, text(&value)).unwrap();
        }
        file = editor.save(now).unwrap_or_else(|error| panic!("{what}: {error}"));
        let value = format!("theirs {turn}");
        let (path, path_of_sops) = place(format, &format!("theirs_{turn}"));
        expected.set(&path, text(&value)).unwrap();
        file = workplace.set(format, &file, &path_of_sops, &value).await;
    }
    let found = opened(format, &file, service, &what).await.to_plain_file().unwrap();
    assert_eq!(String::from_utf8_lossy(found.expose()), String::from_utf8_lossy(&shown(&expected)), "{what}");
}

/// `number` decides which combinations begin with a file of ours: over the services, each begins with both.
async fn every_combination(service: &Service, number: usize) {
    log::watch();
    let workplace = Workplace::new(&service.environment);
    let has_comments = |format| format != Format::Json;
    let mut count = number;
    for format in Format::ALL {
        for rule in RULES {
            if rule.1 == "marked" && !has_comments(format) {
                continue;
            }
            exchange(service, &workplace, format, rule, count.is_multiple_of(2)).await;
            count += 1;
        }
    }
    log::assert_clean();
}

#[tokio::test]
async fn files_go_back_and_forth_under_a_key_of_aws() {
    every_combination(&services::aws_kms("exchange-aws").await, 0).await;
}

#[tokio::test]
async fn files_go_back_and_forth_under_a_transit_key() {
    every_combination(&services::vault_transit("exchange-transit").await, 1).await;
}

#[tokio::test]
async fn files_go_back_and_forth_under_a_key_of_google() {
    every_combination(&services::gcp_kms("exchange-gcp").await, 0).await;
}

#[tokio::test]
async fn files_go_back_and_forth_under_a_key_of_azure() {
    let (service, vault) = services::azure_keys().await;
    every_combination(&service, 1).await;
    // Nobody but `sops` looks a key up: it was there, though it knows the vault as one of Microsoft's.
    assert!(vault.requests().iter().any(|request| request.path == "/keys/orders/" && request.status == 200));
}
