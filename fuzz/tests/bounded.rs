//! Every fuzz target on a bounded number of inputs, which libFuzzer makes from good files; the same ones in every run.
//!
//! Nothing guides it here, because nothing counts what the code does: `make fuzz` builds the targets so that it is guided, and
//! begins with the files that this leaves in the target folder.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use atmos_secrets_fuzz::sops::{AgeRecipients, Creation, Encrypted, Format, KeyGroups, Plain, Recipient, Selection};
use atmos_secrets_fuzz::value::SecretValue;

/// Inputs that are made from each good file: some seconds for each target, in a development build.
const RUNS: usize = 600;

const RECIPIENTS: [&str; 2] = [
    "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun",
    include_str!("../../src/sops/tests/ssh/ed25519.key.pub").trim_ascii(),
];

const YAML: &str = "\
# of the file
text: 'quoted'   # beside
number: 0x1f
float: 1.50
truth: true
none: ~
time: 2024-01-02T03:04:05Z
empty: \"\"
list: [one, {two: 3}, &a four, *a]
nested:
    block: |
        lines

        and lines
    folded: >-
        one
        two
    ? 7
    : seven
---
second: document
";

const JSON: &str = r#"{"text": "a \u00e9\n", "number": 1.0e2, "list": [1, [true, null], {"a": "b"}], "empty": ""}"#;

const DOTENV: &str = "# of the file\nTEXT=plain\nEMPTY=\nLINES=one\\ntwo\nEQUALS=a=b\nexport EXPORTED=1\n";

const INI: &str = "top = level\n; of the section\n[first]\nname = value\nlines = \"\"\"one\ntwo\"\"\"\n`a:b` = 'x' ; beside\n[second one]\nnumber = 007\n";

const RULES: &str = r"x: &x {age: [a, b]}
creation_rules:
  - path_regex: ^secrets/.*\.yaml$
    shamir_threshold: 2
    key_groups:
      - *x
      - merge: [*x]
        kms: [{arn: 'arn:aws:kms:us-east-1:1:key/a', role: b, context: {c: d}, aws_profile: e}]
        azure_keyvault: [{vaultUrl: 'https://a.vault.azure.net', key: b, version: c}]
        hc_vault: ['https://vault.example.com:8200/v1/transit/keys/k']
  - <<: *x
    kms: arn:aws:kms:us-east-1:1:key/a+arn:aws:iam::1:role/b, arn:aws:kms:us-east-1:1:alias/c
    encrypted_regex: ^a$
    mac_only_encrypted: true
";

/// How the good files are encrypted: plainly, by every rule, and in groups.
fn creations() -> Vec<Creation> {
    let age = |names: &[&str]| names.iter().map(|name| Recipient::Age((*name).to_owned())).collect::<Vec<_>>();
    let [one, two] = RECIPIENTS;
    let single = KeyGroups::single(age(&RECIPIENTS));
    let selections = [
        None,
        Some(Selection::EncryptedRegex("^(text|TEXT|lines|LINES)$".to_owned())),
        Some(Selection::UnencryptedSuffix("_clear".to_owned())),
        Some(Selection::EncryptedCommentRegex("beside".to_owned())),
    ];
    let by_rule = selections.into_iter().map(|selection| {
        let mac_only_encrypted = selection.is_some();
        Creation { keys: single.clone(), selection, mac_only_encrypted, ..Creation::default() }
    });
    let groups = KeyGroups { groups: vec![age(&[one]), age(&[two])], threshold: Some(2) };
    by_rule.chain([Creation { keys: groups, ..Creation::default() }]).collect()
}

async fn encrypted(format: Format, plain: &[u8], creation: &Creation) -> Vec<u8> {
    let plain = Plain::parse(format, &SecretValue::new(plain.to_vec())).unwrap();
    let now = "2026-02-03T04:05:06Z".parse().unwrap();
    let file = plain.encrypt(creation, &AgeRecipients, now).await.unwrap();
    Encrypted::parse(format, &file).unwrap();
    file
}

/// Good files of a format, in the clear and encrypted.
async fn files(format: Format, plain: &[u8]) -> Vec<Vec<u8>> {
    let mut files = vec![plain.to_vec()];
    for creation in creations() {
        files.push(encrypted(format, plain, &creation).await);
    }
    files
}

/// The lines of the metadata of good files, without what is put before them again.
async fn metadata() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for creation in creations() {
        for (format, plain, prefix) in [(Format::Yaml, "a: b\n", "    "), (Format::Dotenv, "a=b\n", "sops_")] {
            let file = String::from_utf8(encrypted(format, plain.as_bytes(), &creation).await).unwrap();
            let own = ["lastmodified", "mac:", "mac="];
            let lines = file.lines().filter_map(|line| line.strip_prefix(prefix));
            let lines: Vec<&str> = lines.filter(|line| !own.iter().any(|name| line.starts_with(name))).collect();
            assert!(lines.len() > 5, "{file}");
            found.push(lines.join("\n").into_bytes());
        }
    }
    found
}

/// Runs a target, `fuzz_` and a name, on inputs made from each of the seeds. A process for each: without counters no seed has a weight, and
/// libFuzzer chooses among several by their weights.
fn run(program: &str, seeds: &[Vec<u8>]) {
    let name = program.rsplit("fuzz_").next().unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeds").join(name);
    fs::create_dir_all(&kept).unwrap();
    for (place, seed) in seeds.iter().enumerate() {
        fs::write(kept.join(place.to_string()), seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("corpus");
        fs::create_dir(&corpus).unwrap();
        fs::write(corpus.join("seed"), seed).unwrap();
        let said = libfuzzer(program, place, &corpus);
        let executed = format!("stat::number_of_executed_units: {RUNS}\n");
        assert!(said.contains(&executed), "not every run was made:\n{said}");
        assert!(
            said.contains(&format!("corp: 1/{}", seed.len())) || seed.len() > 1 << 14,
            "not from the seed:\n{said}"
        );
    }
}

/// What libFuzzer says on standard error, which has what went wrong and the input as base64.
fn libfuzzer(program: &str, seed: usize, corpus: &Path) -> String {
    let dictionary = concat!("-dict=", env!("CARGO_MANIFEST_DIR"), "/pieces.dict");
    let output = Command::new(program)
        .env_clear()
        .args([&format!("-seed={}", seed + 1), &format!("-runs={RUNS}"), dictionary])
        .args(["-keep_seed=1", "-max_len=8192", "-len_control=0", "-print_final_stats=1"])
        // Bounds that a good run is far from.
        .args(["-timeout=20", "-rss_limit_mb=1024", "-max_total_time=120"])
        .arg(format!("-artifact_prefix={}/", corpus.parent().unwrap().display()))
        .arg(corpus)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}:\n{said}", output.status);
    said
}

#[tokio::test]
async fn yaml() {
    run(env!("CARGO_BIN_EXE_fuzz_yaml"), &files(Format::Yaml, YAML.as_bytes()).await);
}

#[tokio::test]
async fn json() {
    run(env!("CARGO_BIN_EXE_fuzz_json"), &files(Format::Json, JSON.as_bytes()).await);
}

#[tokio::test]
async fn dotenv() {
    run(env!("CARGO_BIN_EXE_fuzz_dotenv"), &files(Format::Dotenv, DOTENV.as_bytes()).await);
}

#[tokio::test]
async fn ini() {
    run(env!("CARGO_BIN_EXE_fuzz_ini"), &files(Format::Ini, INI.as_bytes()).await);
}

#[tokio::test]
async fn binary() {
    let plain: Vec<u8> = (0..=255).chain([0, b'\n', b'\r']).collect();
    run(env!("CARGO_BIN_EXE_fuzz_binary"), &files(Format::Binary, &plain).await);
}

#[tokio::test]
async fn metadata_of_files() {
    run(env!("CARGO_BIN_EXE_fuzz_metadata"), &metadata().await);
}

#[tokio::test]
async fn creation_rules() {
    run(
        env!("CARGO_BIN_EXE_fuzz_creation_rules"),
        &[RULES.as_bytes().to_vec(), b"creation_rules:\n- age: a\n".to_vec()],
    );
}
