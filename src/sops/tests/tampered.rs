//! Files that somebody changed: each change is found, by the value's own seal or by the MAC, and the text of the error
//! gives nothing away.

use super::oracle::{Identity, Workplace, decrypt, encrypt, text};
use crate::sops::{Encrypted, Error, Format};

/// Stands in every value; no error may hold it.
const CANARY: &str = "canary-5c1f";

struct Sample {
    identity: Identity,
    file: String,
}

impl Sample {
    fn new(rule: &str) -> Self {
        let identity = Identity::generate();
        let plain = format!(
            "a: {CANARY}-a\nb: {CANARY}-b\nm:\n    k: {CANARY}-k\n    l: [{CANARY}-0, {CANARY}-1]\n    number: 17\nopen_unencrypted: {CANARY}-open\n"
        );
        let file = encrypt(&identity, rule, Format::Yaml, &plain);
        Self { identity, file }
    }

    /// The line of a key, without what is before the key.
    fn line(&self, key: &str) -> &str {
        self.file.lines().find(|line| line.trim_start().starts_with(&format!("{key}:"))).unwrap()
    }

    /// The encrypted value of a key.
    fn sealed(&self, key: &str) -> &str {
        self.line(key).split_once(": ").unwrap().1
    }

    /// What is said about the file after `from` was replaced by `to`.
    async fn after(&self, from: &str, to: &str) -> Error {
        assert!(self.file.contains(from), "{from}");
        self.of(&self.file.replacen(from, to, 1)).await
    }

    async fn of(&self, file: &str) -> Error {
        assert_ne!(file, self.file);
        let error = decrypt(&self.identity, Format::Yaml, file).await.err().expect("a changed file does not open");
        for said in [error.to_string(), format!("{error:?}")] {
            assert!(!said.contains(CANARY) && !said.contains("AGE-SECRET-KEY"), "{said}");
        }
        error
    }
}

fn failed_at(error: &Error, expected: &str) -> bool {
    matches!(error, Error::DecryptFailed { path, .. } if path == expected)
}

/// Another character of base64 in the middle of a part of a sealed value.
fn with_part_changed(sealed: &str, part: &str) -> String {
    let start = sealed.find(part).unwrap() + part.len() + 2;
    let other = if &sealed[start..=start] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &sealed[..start], &sealed[start + 1..])
}

#[tokio::test]
async fn a_changed_value_is_told_by_its_path() {
    let sample = Sample::new("");
    for part in ["data:", "iv:", "tag:"] {
        for (key, path) in [("a", "a"), ("k", "m.k"), ("number", "m.number")] {
            let sealed = sample.sealed(key);
            let error = sample.after(sealed, &with_part_changed(sealed, part)).await;
            assert!(failed_at(&error, path), "{part} of {key}: {error}");
        }
    }
    let first = sample.file.lines().find_map(|line| line.trim().strip_prefix("- ENC")).unwrap();
    let error = sample.after(first, &with_part_changed(first, "data:")).await;
    assert!(failed_at(&error, "m.l[0]"), "{error}");
}

#[tokio::test]
async fn a_value_does_not_open_under_another_key() {
    let sample = Sample::new("");
    let (a, b) = (sample.sealed("a"), sample.sealed("b"));
    let swapped = sample.file.replace(a, "\0").replace(b, a).replace("\0", b);
    assert!(failed_at(&sample.of(&swapped).await, "a"));
    assert!(failed_at(&sample.after("\nb: ", "\nc: ").await, "c"));
}

#[tokio::test]
async fn parts_that_are_not_as_they_should_be_are_refused() {
    let sample = Sample::new("");
    let sealed = sample.sealed("a");
    let (data, rest) = sealed.split_once(",iv:").unwrap();
    let (nonce, rest) = rest.split_once(",tag:").unwrap();
    let (tag, _) = rest.split_once(",type:").unwrap();
    let changes = [
        (nonce, "AAAA".to_owned()),
        (nonce, String::new()),
        (nonce, "AAAAAAAAAAAAAAAAAAAAAA==".to_owned()),
        (nonce, "AAAAAAAAAAAAAAAA".to_owned()),
        (nonce, "*not base64*".to_owned()),
        (tag, "AAAA".to_owned()),
        (tag, "AAAAAAAAAAAAAAAAAAAAAA==".to_owned()),
        (data, "ENC[AES256_GCM,data:".to_owned()),
        (data, format!("{data}=")),
        ("AES256_GCM", "AES256_CBC".to_owned()),
        ("type:str]", "type:str".to_owned()),
        ("type:str]", "type:str],".to_owned()),
        ("type:str]", "type:str]trailing".to_owned()),
        ("type:str]", "type:text]".to_owned()),
        ("type:str]", "]".to_owned()),
        ("type:str]", "type:int]".to_owned()),
        ("type:str]", "type:float]".to_owned()),
        ("type:str]", "type:bool]".to_owned()),
        ("type:str]", "type:time]".to_owned()),
        (",iv:", ",vi:".to_owned()),
    ];
    for (from, to) in changes {
        let changed = sealed.replacen(from, &to, 1);
        let error = sample.after(sealed, &changed).await;
        assert!(failed_at(&error, "a"), "{from} -> {to}: {error}");
    }
    // The type is not sealed: where the text fits another one, the MAC is what it was, and so is the text.
    let sealed = sample.sealed("number");
    let file = sample.file.replacen(sealed, &sealed.replace("type:int", "type:str"), 1);
    let document = decrypt(&sample.identity, Format::Yaml, &file).await.unwrap();
    assert!(text(&document, "m").unwrap().contains(r#""number":"17""#));
}

#[tokio::test]
async fn values_that_are_not_encrypted_are_refused_where_the_rules_want_it() {
    let sample = Sample::new("");
    for plain in [CANARY, "12", "1.5", "true", "2024-01-02", "\"enc[]\"", "!!binary AAEC", "[x]", "{x: y}"] {
        let error = sample.after(sample.sealed("a"), plain).await;
        let Error::DecryptFailed { path, problem } = &error else { panic!("{error}") };
        assert!(path.starts_with('a') && problem.contains("not encrypted"), "{plain}: {error}");
    }
    // An added one too, and one with an empty text, which is never encrypted, changes nothing but what it says.
    let added = sample.file.replacen("a: ENC", &format!("added: {CANARY}\na: ENC"), 1);
    assert!(failed_at(&sample.of(&added).await, "added"));
    assert!(matches!(sample.after(sample.sealed("a"), "\"\"").await, Error::MacMismatch));
}

#[tokio::test]
async fn what_each_value_alone_cannot_show_the_mac_does() {
    let sample = Sample::new("");
    let (a, b) = (sample.line("a"), sample.line("b"));
    let changes = [
        ("removed", sample.file.replacen(&format!("{a}\n"), "", 1)),
        ("reordered", sample.file.replacen(&format!("{a}\n{b}\n"), &format!("{b}\n{a}\n"), 1)),
        ("in the clear", sample.file.replacen("-open", "-other", 1)),
        ("added in the clear", sample.file.replacen("a: ENC", "x_unencrypted: 1\na: ENC", 1)),
        ("later", sample.file.replacen("lastmodified: \"20", "lastmodified: \"21", 1)),
        ("other MAC", sample.file.replacen(sample.sealed("mac"), sample.sealed("a"), 1)),
        ("plain MAC", sample.file.replacen(sample.sealed("mac"), "AB12", 1)),
        ("null", sample.file.replacen(sample.sealed("a"), "null", 1)),
        ("list order", {
            let items: Vec<&str> = sample.file.lines().filter(|line| line.trim().starts_with("- ENC")).collect();
            sample.file.replacen(&items.join("\n"), &format!("{}\n{}", items[1], items[0]), 1)
        }),
        ("setting", sample.file.replacen("sops:\n", "sops:\n    mac_only_encrypted: true\n", 1)),
    ];
    for (what, file) in changes {
        let error = sample.of(&file).await;
        assert!(matches!(error, Error::MacMismatch), "{what}: {error}");
    }
    for missing in ["", "\"\"", "null"] {
        let error = sample.after(sample.sealed("mac"), missing).await;
        assert!(matches!(error, Error::MacMissing), "{missing}: {error}");
    }
}

#[tokio::test]
async fn a_mac_over_encrypted_values_lets_the_clear_ones_change() {
    let sample = Sample::new("mac_only_encrypted: true");
    let file = sample.file.replacen("-open", "-other", 1);
    let document = decrypt(&sample.identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(text(&document, "open_unencrypted").unwrap(), format!("{CANARY}-other"));
    let a = sample.line("a");
    assert!(matches!(sample.of(&sample.file.replacen(&format!("{a}\n"), "", 1)).await, Error::MacMismatch));
    // The MAC was begun differently.
    assert!(matches!(sample.after("mac_only_encrypted: true", "mac_only_encrypted: false").await, Error::MacMismatch));
}

#[tokio::test]
async fn a_bad_field_of_the_metadata_is_named() {
    let sample = Sample::new("");
    let modified = sample.sealed("lastmodified");
    let block = |line: &str| sample.file.replacen("sops:\n", &format!("sops:\n    {line}\n"), 1);
    let changes = [
        ("lastmodified", sample.file.replacen(modified, "yesterday", 1)),
        ("lastmodified", sample.file.replacen(&format!("    lastmodified: {modified}\n"), "", 1)),
        ("lastmodified", sample.file.replacen(modified, "[1]", 1)),
        ("encrypted_suffix", block("encrypted_suffix: _x")),
        ("mac_only_encrypted", block("mac_only_encrypted: perhaps")),
        ("shamir_threshold", block("shamir_threshold: many")),
        ("kms", block("kms: none")),
        ("kms", block("kms: [none]")),
        ("kms[0].arn", block("kms: [{arn: [1]}]")),
        ("age", sample.file.replacen("    age:\n", "    ega:\n", 1)),
    ];
    for (expected, file) in changes {
        let error = sample.of(&file).await;
        assert!(matches!(&error, Error::BadMetadata { field, .. } if field == expected), "{expected}: {error}");
    }
    for regex in ["\"(\"", "\"(a{1000}){1000}\"", "\"[\""] {
        let file = sample.file.replacen("unencrypted_suffix: _unencrypted", &format!("encrypted_regex: {regex}"), 1);
        let error = sample.of(&file).await;
        assert!(matches!(&error, Error::BadMetadata { field, .. } if field == "encrypted_regex"), "{regex}: {error}");
    }
}

#[test]
fn plaintext_files_are_refused_as_such() {
    let yaml = [
        "".to_owned(),
        "# only a comment\n".to_owned(),
        format!("password: {CANARY}\n"),
        format!("password: {CANARY}\nsops: false\n"),
        format!("a: {{sops: {{mac: {CANARY}}}}}\n"),
        format!("a: {CANARY}\n---\nsops: {{mac: x}}\n"),
    ];
    for file in yaml {
        let error = Encrypted::parse(Format::Yaml, file.as_bytes()).err().unwrap();
        assert!(matches!(error, Error::NotEncrypted), "{file}: {error}");
    }
    let error = Encrypted::parse(Format::Json, format!("{{\"password\": \"{CANARY}\"}}").as_bytes()).err().unwrap();
    assert!(matches!(error, Error::NotEncrypted), "{error}");
}

/// What the module's page says of the format: the type of a value is authenticated by nothing, here and in `sops`.
#[tokio::test]
async fn a_type_can_be_changed_where_the_text_is_the_same_in_both() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, "a: 'True'\nb: '5'\nc: 'true'\nd: '05'\n");
    let retagged = |name: &str, kind: &str| -> String {
        let line = file.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
        file.replace(line, &line.replace("type:str", &format!("type:{kind}")))
    };
    let workplace = Workplace::new(Format::Yaml, &[&identity.secret]);
    for (name, kind, expected) in [("a", "bool", "true"), ("b", "int", "5"), ("b", "float", "5")] {
        let changed = retagged(name, kind);
        assert_eq!(text(&decrypt(&identity, Format::Yaml, &changed).await.unwrap(), name).unwrap(), expected);
        workplace.decrypt(changed.as_bytes()).unwrap();
    }
    for (name, kind) in [("c", "bool"), ("d", "int"), ("a", "comment")] {
        let changed = retagged(name, kind);
        let error = decrypt(&identity, Format::Yaml, &changed).await.err().unwrap();
        assert!(matches!(error, Error::MacMismatch), "{name} as {kind}: {error}");
        assert!(workplace.decrypt(changed.as_bytes()).is_err(), "{name} as {kind}");
    }
}
