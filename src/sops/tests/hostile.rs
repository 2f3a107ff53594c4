//! Bytes that somebody made to harm: bombs, depth, size, cut-off and damaged files. Each ends in an error, soon, without a
//! panic, and without a word of its content.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::oracle::{Identity, bytes, encrypt};
use crate::sops::{Document, Encrypted, Error, Format, Limits};

/// Stands in every hostile file that can hold text; no error may show it.
const CANARY: &str = "canary-77e0";

/// Far more than any case takes, far less than an unbounded one: these builds are not optimised and machines are shared.
const SOON: Duration = Duration::from_secs(120);

fn refused(format: Format, file: &[u8]) -> Error {
    let begun = Instant::now();
    let error = Encrypted::parse(format, file).err().expect("a hostile file is refused");
    assert!(begun.elapsed() < SOON, "took {:?}: {error}", begun.elapsed());
    for said in [error.to_string(), format!("{error:?}")] {
        assert!(!said.contains("canary"), "{said}");
        assert!(said.len() < 1_000, "{} characters", said.len());
    }
    error
}

fn refused_yaml(file: &str) -> Error {
    refused(Format::Yaml, file.as_bytes())
}

#[test]
fn alias_bombs_stop_at_the_budget() {
    let mut laughs = format!("a0: &a0 [{CANARY}, {CANARY}]\n");
    for level in 1..30 {
        laughs.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1));
    }
    assert!(matches!(refused_yaml(&laughs), Error::TooManyNodes { limit: 250_000 }));

    let long = format!("a: &a {}\nb: [{}]\n", CANARY.repeat(10_000), "*a, ".repeat(20_000));
    assert!(matches!(refused_yaml(&long), Error::TooLarge { expanded: true, .. }));

    let keys = format!(
        "a: &a {}\n{}",
        CANARY.repeat(10_000),
        (0..1_000).map(|n| format!("{n}: {{*a : 1}}\n")).collect::<String>()
    );
    assert!(matches!(refused_yaml(&keys), Error::TooLarge { expanded: true, .. }));

    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..120 {
        deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(matches!(refused_yaml(&deep), Error::TooDeep { limit: 100, .. }));

    let anchors: String = (0..90).map(|level| format!("&a{level} [")).collect();
    let nested = format!("a: {anchors}{}{}", format!("{CANARY}, ").repeat(100_000), "]".repeat(90));
    assert!(matches!(refused_yaml(&nested), Error::TooManyNodes { .. } | Error::TooLarge { .. }));
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    for file in ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: *b\n", "a: 1\n---\nb: *a\n", "a: &x 1\n---\nb: *x\n"] {
        assert!(matches!(refused_yaml(file), Error::Unparsable { .. }), "{file}");
    }
}

#[test]
fn depth_is_bounded_in_both_formats() {
    let many = 100_000;
    let block: String = (0..1_200).map(|level| format!("{}k:\n", " ".repeat(level))).collect();
    let yaml = [
        format!("a: {}", "[".repeat(many)),
        format!("a: {}{CANARY}{}", "[".repeat(many), "]".repeat(many)),
        format!("a: {}", "{b: ".repeat(many)),
        format!("a:\n {}{CANARY}", "- ".repeat(many)),
        block,
        "? ".repeat(many),
    ];
    for file in yaml {
        let error = refused_yaml(&file);
        assert!(
            matches!(error, Error::TooDeep { .. } | Error::Unparsable { .. } | Error::Unsupported { .. }),
            "{error}"
        );
    }
    for file in [
        format!("{{\"a\": {}", "[".repeat(many)),
        format!("{{\"a\": {}{}}}", "[".repeat(many), "]".repeat(many)),
        "{\"a\": ".repeat(many),
    ] {
        let error = refused(Format::Json, file.as_bytes());
        assert!(matches!(error, Error::TooDeep { limit: 100, .. }), "{error}");
    }
    // The limit itself is fine: the map at the root is one level.
    for (levels, fits) in [(99, true), (100, false)] {
        let file = format!("{{\"a\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
        for format in [Format::Json, Format::Yaml] {
            let error = refused(format, file.as_bytes());
            assert_eq!(matches!(error, Error::NotEncrypted), fits, "{format}, {levels}: {error}");
        }
    }
}

#[test]
fn size_is_bounded_before_anything_is_read() {
    let line = format!("{CANARY}: {CANARY}\n");
    let ten_megabytes = line.repeat(10_000_000 / line.len());
    assert!(matches!(refused_yaml(&ten_megabytes), Error::TooLarge { limit: 1_572_864, expanded: false }));
    assert!(matches!(refused(Format::Json, ten_megabytes.as_bytes()), Error::TooLarge { .. }));
    assert!(matches!(refused(Format::Yaml, &vec![0xff; 10_000_000]), Error::TooLarge { .. }));

    let limits = Limits { file_bytes: 10, ..Limits::default() };
    assert!(matches!(Encrypted::parse_within(Format::Yaml, b"a: 1234567", &limits), Err(Error::NotEncrypted)));
    assert!(matches!(Encrypted::parse_within(Format::Yaml, b"a: 12345678", &limits), Err(Error::TooLarge { .. })));
}

#[test]
fn files_as_large_as_allowed_are_read_soon_whatever_is_in_them() {
    let most = Limits::default().file_bytes;
    let fill = |unit: &str| unit.repeat(most / unit.len());
    let yaml = [
        fill("#\n"),
        fill("a: 1 # c\n"),
        fill("-\n"),
        fill("- a\n"),
        fill("? a\n"),
        fill("---\n"),
        fill("--- {}\n"),
        fill("\n"),
        fill(" "),
        fill("\t"),
        fill("a"),
        fill("a "),
        fill("a\n"),
        fill("\"a\\n"),
        fill("'"),
        fill("&a "),
        fill("!a "),
        fill("*a "),
        fill("%TAG ! x\n"),
        fill(": "),
        fill(", "),
        fill("|\n"),
        fill("\u{feff}"),
        format!("a: \"{}\"", fill("\\x41").get(10..).unwrap()),
        format!("a: |\n{}", fill(" x\n").get(..most - 10).unwrap()),
        format!("a: [{}", fill("a,").get(..most - 10).unwrap()),
        format!("a: {{{}", fill("a: b,").get(..most - 10).unwrap()),
        format!("a: [{}", fill("a, # c\n").get(..most - 10).unwrap()),
        (0..most / 12).map(|number| format!("{number}: x\n")).collect(),
    ];
    for file in yaml {
        refused_yaml(&file);
    }
    for file in [
        fill("["),
        fill("{\"a\":"),
        fill("\""),
        fill(" "),
        fill("1"),
        format!("{{\"a\": [{}", fill("1,").get(10..).unwrap()),
        format!("{{\"a\": \"{}", fill("\\u0041").get(12..).unwrap()),
    ] {
        refused(Format::Json, file.as_bytes());
    }
    let lines = [
        fill("\n"),
        fill("#\n"),
        fill("a"),
        fill("="),
        fill("\\n"),
        fill("a=\\n"),
        format!("a={}", fill("\\n").get(2..).unwrap()),
        (0..most / 12).map(|number| format!("{number}=x\n")).collect(),
        (0..most / 40).map(|number| format!("sops_a__list_{number}__map_b=x\n")).collect(),
        format!("sops_a{}=x\n", fill("__map_").get(20..).unwrap()),
    ];
    for file in lines {
        refused(Format::Dotenv, file.as_bytes());
    }
    let sections = [
        fill("[a]\n"),
        fill("["),
        fill("]"),
        fill(";\n"),
        fill("a = \\\n"),
        fill("\"\"\"\n"),
        fill("`"),
        format!("a = \"\"\"{}", fill("x\n").get(10..).unwrap()),
        format!("a = {}", fill("\\\n").get(10..).unwrap()),
        (0..most / 12).map(|number| format!("{number} = x\n")).collect(),
        (0..most / 12).map(|number| format!("[{number}]\n")).collect(),
        format!("[sops]\n{}", (0..most / 40).map(|number| format!("a__list_{number}__map_b=x\n")).collect::<String>()),
    ];
    for file in sections {
        refused(Format::Ini, file.as_bytes());
    }
}

#[test]
fn values_of_flat_files_that_are_not_as_they_should_be_are_refused() {
    for format in [Format::Dotenv, Format::Ini, Format::Binary] {
        let sample = Sample::new(format);
        let sealed: Vec<&str> = sample
            .file
            .split("ENC[")
            .skip(1)
            .map(|rest| rest.split(']').next().unwrap())
            .filter(|sealed| !sealed.ends_with("comment"))
            .collect();
        let (first, last) = (sealed[0], sealed[sealed.len() - 1]);
        let part = |from: &str, to: &str| first.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
        let changes = [
            // The MAC's text where a value stands, and the other way round.
            sample.file.replace(first, "\0").replace(last, first).replace('\0', last),
            sample.file.replace(&part("iv:", ","), "AAAA"),
            sample.file.replace(&part("iv:", ","), "not base64"),
            sample.file.replace(&part("tag:", ","), "AAAA"),
            sample.file.replace(&part("data:", ","), "*"),
            sample.file.replacen("type:str", "type:int", 1),
            sample.file.replacen("AES256_GCM", "AES256_CBC", 1),
            sample.file.replacen(first, CANARY, 1),
        ];
        for file in changes {
            assert_ne!(file, sample.file);
            assert!(sample.decrypt(file.as_bytes()).is_err(), "{format}\n{file}");
            assert!(sample.holds_for(file.as_bytes()), "{format}\n{file}");
        }
    }
    // The same key twice, with another value.
    for (format, line) in [(Format::Dotenv, "z=canary\n"), (Format::Ini, "[m]\nb = canary\n")] {
        let sample = Sample::new(format);
        let error = sample.decrypt(format!("{line}{}", sample.file).as_bytes()).err().unwrap();
        assert!(matches!(error, Error::DuplicateKey { .. }), "{format}: {error}");
    }
}

#[test]
fn keys_that_stand_twice_are_refused_by_line() {
    let yaml = [
        ("a: 1\nb: 2\na: canary\n", 3),
        ("m:\n  x: canary\n  x: 2\n", 3),
        ("l:\n- {x: 1, x: 2}\n", 2),
        ("1: a\n\"1\": b\n", 2),
        ("a: &k x\n*k : 1\nx: 2\n", 3),
        ("sops: {}\nsops: {}\n", 2),
    ];
    for (file, expected) in yaml {
        let error = refused_yaml(file);
        assert!(matches!(error, Error::DuplicateKey { line, .. } if line == expected), "{file}: {error}");
    }
    for (file, expected) in [("{\"a\": 1,\n \"a\": \"canary\"}", 2), ("{\"m\": {\"a\": 1, \"\\u0061\": 2}}", 1)] {
        let error = refused(Format::Json, file.as_bytes());
        assert!(matches!(error, Error::DuplicateKey { line, .. } if line == expected), "{file}: {error}");
    }
}

#[test]
fn what_is_no_file_of_the_format_is_refused_by_line() {
    let yaml: &[(&[u8], usize)] = &[
        (b"a: canary\nb: \"canary\nc: 1\n", 2),
        (b"a: 1\nb: [canary\n", 2),
        (b"a: 1\n b: canary\n", 2),
        (b"a: 1\n\tb: canary\n", 1),
        (b"- canary\n", 1),
        (b"canary\n", 1),
        (b"a: 1\n\xff\xfecanary\n", 2),
        (b"\xff\xfea\0:\0", 1),
        (b"a: 1\nb: canary\0\n", 2),
        (b"a: !!int canary\n", 1),
        (b"a: !!binary canary*\n", 1),
    ];
    for (file, expected) in yaml {
        let error = refused(Format::Yaml, file);
        let Error::Unparsable { line, .. } = error else { panic!("{}: {error}", String::from_utf8_lossy(file)) };
        assert!(line == *expected || line == expected + 1, "{}: {error}", String::from_utf8_lossy(file));
    }
    for file in ["a: !canary x\n", "a: !!set {x}\n", "? [canary]\n: 1\n", "? {canary: 1}\n: 1\n", "a: !canary [x]\n"] {
        let error = refused_yaml(file);
        assert!(matches!(error, Error::Unsupported { line: 1, .. }), "{file}: {error}");
    }
    let json: &[&[u8]] = &[
        b"",
        b"[\"canary\"]",
        b"\"canary\"",
        b"12",
        b"{\"a\": canary}",
        b"{\"a\": \"canary\"",
        b"{\"a\": \"canary\"} {}",
        b"{\"a\": \"canary\",}",
        b"{\"a\" \"canary\"}",
        b"{'a': 'canary'}",
        b"{\"a\": \"\\ud800canary\"}",
        b"{\"a\": \"canary\n\"}",
        b"{\"a\": 1e999}",
        b"{\"a\": 01}",
        b"{\"a\": \"\xff\"}",
        b"{\"a\": NaN}",
        b"// canary\n{}",
    ];
    for file in json {
        let error = refused(Format::Json, file);
        assert!(matches!(error, Error::Unparsable { .. }), "{}: {error}", String::from_utf8_lossy(file));
    }
}

/// A file whose every value is encrypted, so that nothing in it can change unseen.
struct Sample {
    format: Format,
    identity: Identity,
    file: String,
    expected: Vec<(String, Vec<u8>)>,
}

impl Sample {
    fn new(format: Format) -> Self {
        let identity = Identity::generate();
        let plain = match format {
            Format::Yaml | Format::Json => format!(
                "{{\"a\": \"{CANARY}\", \"m\": {{\"b\": 12, \"l\": [true, 1.5, \"{CANARY}\"]}}, \"z\": \"end\"}}"
            ),
            Format::Dotenv => format!("a={CANARY}\nm=x\\n{CANARY}\nz=end\n"),
            Format::Ini => format!("a = {CANARY}\n[m]\nb = 12\nl = {CANARY}\n[z]\nend = 1\n"),
            Format::Binary => CANARY.repeat(3),
        };
        let file = encrypt(&identity, "", format, &plain);
        let mut sample = Self { format, identity, file, expected: Vec::new() };
        let document = sample.decrypt(sample.file.as_bytes()).unwrap();
        sample.expected = contents(&document);
        assert_eq!(sample.expected.len(), if format == Format::Binary { 1 } else { 3 });
        sample
    }

    fn decrypt(&self, file: &[u8]) -> Result<Document, Error> {
        let keys = self.identity.keys();
        let encrypted = Encrypted::parse(self.format, file)?;
        futures::executor::block_on(encrypted.decrypt(&keys))
    }

    /// Either an error that shows nothing, or exactly the values of the whole file.
    fn holds_for(&self, file: &[u8]) -> bool {
        match self.decrypt(file) {
            Ok(document) => contents(&document) == self.expected,
            Err(error) => {
                let said = format!("{error} {error:?}");
                !said.contains(CANARY) && !said.contains("AGE-SECRET-KEY")
            }
        }
    }
}

fn contents(document: &Document) -> Vec<(String, Vec<u8>)> {
    document.names().map(|name| (name.to_owned(), bytes(document, name).unwrap())).collect()
}

#[test]
fn a_file_cut_off_anywhere_gives_an_error_or_all_of_it() {
    for format in Format::ALL {
        let sample = Sample::new(format);
        let file = sample.file.as_bytes();
        // The MAC stands behind the values; after it come the rule and the version, which reading can do without.
        let mac_end = sample.file.rfind("type:str]").unwrap();
        for end in 0..file.len() {
            assert!(sample.holds_for(&file[..end]), "{format}, cut at {end} of {}", file.len());
            assert!(end > mac_end || sample.decrypt(&file[..end]).is_err(), "{format}, cut at {end} of {}", file.len());
        }
    }
}

#[test]
fn bytes_changed_anywhere_give_an_error_or_the_same_values() {
    let samples = Format::ALL.map(Sample::new);
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let change = (0..samples.len(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4));
    proptest!(config, |((which, changes) in change)| {
        let sample = &samples[which];
        let mut file = sample.file.clone().into_bytes();
        for (place, byte, how) in changes {
            let place = place.index(file.len());
            match how {
                0 => file[place] = byte,
                1 => file.insert(place, byte),
                _ => { file.remove(place); }
            }
        }
        prop_assert!(sample.holds_for(&file), "{}", String::from_utf8_lossy(&file));
    });
}

#[test]
fn random_bytes_never_panic() {
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let yamlish = "[\\[\\]{}:,&*!|>'\"%@`#?\\-\\n\\t a-c0-9.~<=_]{0,80}";
    proptest!(config, |(bytes in prop::collection::vec(any::<u8>(), 0..200), text in yamlish)| {
        for format in Format::ALL {
            prop_assert!(Encrypted::parse(format, &bytes).is_err());
            prop_assert!(Encrypted::parse(format, text.as_bytes()).is_err());
        }
    });
}
