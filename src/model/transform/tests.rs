//! Every step with what it takes, what it refuses, and what is too much for it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bounds;
mod texts;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CANARY: &str = "c4n4ry-v4lu3";

fn parse(steps: Value) -> Result<Transforms, String> {
    Transforms::parse(&serde_json::from_value::<Vec<Transform>>(steps).unwrap())
}

fn value(bytes: &[u8]) -> Arc<SecretValue> {
    Arc::new(SecretValue::new(bytes.to_vec()))
}

fn run(steps: Value, input: &[u8]) -> Result<Vec<u8>, Problem> {
    parse(steps).unwrap().apply(&value(input)).map(|value| value.expose().to_vec())
}

/// The result as text, or the reason and the part of the message behind the step.
fn words(steps: &Value, input: &[u8]) -> String {
    match run(steps.clone(), input) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_else(|error| format!("{:?}", error.as_bytes())),
        Err(problem) => format!("{}: {}", problem.reason, problem.message),
    }
}

fn check(table: &[(Value, &[u8], &str)]) {
    for (step, input, expected) in table {
        let found = words(&json!([step]), input);
        match expected.strip_suffix('…') {
            Some(start) => assert!(found.starts_with(start), "{step} of {input:?}: {found}"),
            None => assert_eq!(&found, expected, "{step} of {input:?}"),
        }
    }
}

#[test]
fn leaves_are_taken_out_of_documents_of_one_format() {
    check(&[
        (json!({"jsonExtract": {"path": ".a.b[0]"}}), br#"{"a": {"b": [1.50, 2]}}"#, "1.50"),
        (json!({"jsonExtract": {"path": ".a"}}), br#"{"a": {"b": [1.50, 2]}}"#, r#"{"b":[1.50,2]}"#),
        (
            json!({"jsonExtract": {"path": ".a"}}),
            b"a: 1",
            "NotStructured: `transforms[0]` (jsonExtract) cannot be done: its input is no such document",
        ),
        (
            json!({"jsonExtract": {"path": ".b"}}),
            br#"{"a": 1}"#,
            "PathNotFound: `transforms[0]` (jsonExtract) finds nothing at .b; beside it are a",
        ),
        (json!({"jsonExtract": {"path": ".a"}}), b"\xff", "NotStructured: …"),
        (json!({"jsonExtract": {"path": ".a"}}), b"", "NotStructured: …"),
        (json!({"yamlExtract": {"path": ".a.b"}}), b"a: {b: 0x1f}", "0x1f"),
        (json!({"yamlExtract": {"path": ".a"}}), b"just text", "NotStructured: …"),
        (json!({"tomlExtract": {"path": ".a.b[1]"}}), b"[a]\nb = [1_000, 2.50]", "2.50"),
        (
            json!({"tomlExtract": {"path": ".a"}}),
            b"[a]\nb = [1_000, 2.50, +3]\nc = 1979-05-27",
            r#"{"b":["1_000",2.50,"+3"],"c":"1979-05-27"}"#,
        ),
        (
            json!({"tomlExtract": {"path": ".a.c"}}),
            b"[a]\nb = 1",
            "PathNotFound: `transforms[0]` (tomlExtract) finds nothing at .a.c; beside it are b",
        ),
        (
            json!({"tomlExtract": {"path": ".a[0]"}}),
            b"[a]\nb = 1",
            "PathNotFound: `transforms[0]` (tomlExtract) finds nothing at .a[0]",
        ),
        (json!({"tomlExtract": {"path": ".a"}}), br#"{"a": 1}"#, "NotStructured: …"),
        (json!({"tomlExtract": {"path": ".a"}}), b"a = '''\nline\n'''", "line\n"),
    ]);
}

#[test]
fn encodings_are_read_with_and_without_padding_and_white_space() {
    let url = json!({"base64Decode": {"variant": "url"}});
    check(&[
        (json!({"base64Decode": {}}), b"aGVsbG8=", "hello"),
        (json!({"base64Decode": null}), b"aGVsbG8", "hello"),
        (json!({"base64Decode": {}}), b"aGVs\r\n bG8=\n", "hello"),
        (json!({"base64Decode": {}}), b"", ""),
        (json!({"base64Decode": {}}), b"//79", "[255, 254, 253]"),
        (url.clone(), b"__79", "[255, 254, 253]"),
        (
            url,
            b"//79",
            "TransformFailed: `transforms[0]` (base64Decode) cannot be done: its input is no Base64 of this variant at offset 0",
        ),
        (
            json!({"base64Decode": {}}),
            b"aGVs\n\nb_8=",
            "TransformFailed: `transforms[0]` (base64Decode) cannot be done: its input is no Base64 of this variant at offset 7",
        ),
        (
            json!({"base64Decode": {}}),
            b"aGVsb",
            "TransformFailed: `transforms[0]` (base64Decode) cannot be done: its input is no whole Base64: it ends too early or is wrongly padded at offset 5",
        ),
        (json!({"base64Decode": {}}), b"aGVsbG8==", "TransformFailed: …"),
        (json!({"base64Decode": {}}), b"aGVsbG9=", "TransformFailed: …"),
        (json!({"base64Encode": {}}), b"\xff\xfe\xfd\xfc", "//79/A=="),
        (json!({"base64Encode": {"variant": "url"}}), b"\xff\xfe\xfd\xfc", "__79_A"),
        (json!({"hexDecode": {}}), b"68 65\n6C6c6F", "hello"),
        (
            json!({"hexDecode": {}}),
            b"0x68",
            "TransformFailed: `transforms[0]` (hexDecode) cannot be done: its input has something else than a hexadecimal digit at offset 1",
        ),
        (
            json!({"hexDecode": {}}),
            b"686",
            "TransformFailed: `transforms[0]` (hexDecode) cannot be done: its input has an odd number of digits, and ends at offset 3",
        ),
        (json!({"hexEncode": {}}), b"\x00\xffz", "00ff7a"),
        (json!({"urlEncode": {}}), "p@ss w/ö-._~".as_bytes(), "p%40ss%20w%2F%C3%B6-._~"),
        (json!({"urlEncode": {}}), b"\xff", "%FF"),
    ]);
}

#[test]
fn text_is_changed_by_what_is_written() {
    check(&[
        (json!({"trim": {}}), b" \t\r\n a b \n", "a b"),
        (json!({"trim": {}}), b"\n\xff\n", "[255]"),
        (json!({"lines": {"join": " "}}), b"a\r\nb\n\nc\n", "a b  c"),
        (json!({"lines": {"join": ""}}), b"", ""),
        (json!({"lines": {"split": ","}}), b"a,b,,c", "a\nb\n\nc"),
        (
            json!({"lines": {"join": ","}}),
            b"a\xff",
            "TransformFailed: `transforms[0]` (lines) cannot be done: its input is no UTF-8 text at offset 1",
        ),
        (json!({"replace": {"from": "aa", "to": "b"}}), b"aaaaa", "bba"),
        (json!({"replace": {"from": "|", "to": ","}}), b"a|b,c", "a,b,c"),
        (json!({"replace": {"from": "x", "to": ""}}), b"axbx", "ab"),
        (
            json!({"join": {"separator": ", "}}),
            br#"["a", 1.50, true, null, {"b": [1]}, "c|d"]"#,
            r#"a, 1.50, true, null, {"b":[1]}, c|d"#,
        ),
        (json!({"join": {"separator": ","}}), b"[]", ""),
        (
            json!({"join": {"separator": ","}}),
            br#"{"a": 1}"#,
            "NotStructured: `transforms[0]` (join) cannot be done: its input is no such document",
        ),
        (json!({"join": {"separator": ","}}), b"a,b", "NotStructured: …"),
        (json!({"split": {"separator": ","}}), br#"a,"b,"#, r#"["a","\"b",""]"#),
        (json!({"split": {"separator": ",", "index": 1}}), b"a,b,c", "b"),
        (json!({"split": {"separator": ",", "index": -1}}), b"a,b,c", "c"),
        (
            json!({"split": {"separator": ",", "index": 3}}),
            b"a,b,c",
            "TransformFailed: `transforms[0]` (split) cannot be done: its input has no part of that index",
        ),
        (json!({"split": {"separator": ",", "index": -4}}), b"a,b,c", "TransformFailed: …"),
        (json!({"case": "upper"}), "straße".as_bytes(), "STRASSE"),
        (json!({"case": "lower"}), "ÄBC".as_bytes(), "äbc"),
        (json!({"slice": {"start": 1, "end": 3}}), "äöüß".as_bytes(), "öü"),
        (json!({"slice": {"start": -2}}), "äöüß".as_bytes(), "üß"),
        (json!({"slice": {"end": -1}}), b"abc", "ab"),
        (json!({"slice": {"end": 63}}), b"abc", "abc"),
        (json!({"slice": {"start": -63}}), b"abc", "abc"),
        (
            json!({"slice": {"start": 3}}),
            b"abc",
            "TransformFailed: `transforms[0]` (slice) cannot be done: its input has no character between `start` and `end`",
        ),
        (json!({"slice": {"start": -1, "end": 1}}), b"abc", "TransformFailed: …"),
    ]);
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn steps_follow_each_other_and_say_which_one_failed() {
    let steps = json!([
        {"base64Decode": {}}, {"gunzip": {}}, {"jsonExtract": {"path": ".hosts"}}, {"join": {"separator": ","}}, {"case": "upper"}
    ]);
    use base64::Engine as _;
    let packed = base64::engine::general_purpose::STANDARD.encode(zipped(br#"{"hosts": ["a", "b"]}"#));
    assert_eq!(words(&steps, packed.as_bytes()), "A,B");
    let packed = base64::engine::general_purpose::STANDARD.encode(zipped(br#"{"hosts": "a"}"#));
    assert_eq!(
        words(&steps, packed.as_bytes()),
        "NotStructured: `transforms[3]` (join) cannot be done: its input is no such document"
    );
}

#[test]
fn what_is_written_wrong_is_told_before_anything_is_read() {
    for (steps, words) in [
        (
            json!([{}]),
            "`transforms[0]` cannot be used: an entry of the list is exactly one step of a kind that this version knows",
        ),
        (
            json!([{"trim": {}}, {"trim": {}, "case": "upper"}]),
            "`transforms[1]` cannot be used: an entry of the list is exactly one step of a kind that this version knows",
        ),
        (json!(vec![json!({"trim": {}}); 17]), "`transforms` has 17 steps, at most 16 are allowed"),
        (
            json!([{"jsonExtract": {"path": "a"}}]),
            "`transforms[0]` cannot be used: `path` cannot be read at character 1: expected `.` or `[`",
        ),
        (json!([{"lines": {}}]), "`transforms[0]` cannot be used: `lines` needs `join` or `split`, and not both"),
        (
            json!([{"lines": {"join": "", "split": ","}}]),
            "`transforms[0]` cannot be used: `lines` needs `join` or `split`, and not both",
        ),
        (json!([{"replace": {"from": "", "to": "a"}}]), "`transforms[0]` cannot be used: `from` is empty"),
        (json!([{"split": {"separator": ""}}]), "`transforms[0]` cannot be used: `separator` is empty"),
        (json!([{"slice": {}}]), "`transforms[0]` cannot be used: `slice` needs `start`, `end` or both"),
        (
            json!([{"slice": {"start": 2, "end": 2}}]),
            "`transforms[0]` cannot be used: `end` of `slice` is not after `start`",
        ),
        (
            json!([{"slice": {"start": -2, "end": -3}}]),
            "`transforms[0]` cannot be used: `end` of `slice` is not after `start`",
        ),
        (
            json!([{"regexReplace": {"pattern": "", "replacement": ""}}]),
            "`transforms[0]` cannot be used: `pattern` has 1 to 1024 bytes",
        ),
        (
            json!([{"regexReplace": {"pattern": "a", "replacement": "$1"}}]),
            "`transforms[0]` cannot be used: `replacement` names the group 1, which `pattern` has not",
        ),
        (
            json!([{"regexReplace": {"pattern": "(?<a>.)", "replacement": "${b}"}}]),
            "`transforms[0]` cannot be used: `replacement` names the group b, which `pattern` has not",
        ),
    ] {
        assert_eq!(parse(steps).map(|_| ()).unwrap_err(), words);
    }
    for pattern in ["(", "a{1000000}", "(?=a)", r"\bword", &"(".repeat(100)] {
        let error = parse(json!([{"regexReplace": {"pattern": pattern, "replacement": ""}}])).map(|_| ()).unwrap_err();
        assert!(error.starts_with("`transforms[0]` cannot be used: `pattern` is no regular expression"), "{error}");
    }
    for replacement in ["$", "a$ b", "$$$", "${1", "$x"] {
        let error =
            parse(json!([{"regexReplace": {"pattern": "(a)", "replacement": replacement}}])).map(|_| ()).unwrap_err();
        assert!(error.contains("is followed by a number"), "{replacement}: {error}");
    }
    for replacement in ["", "$$", "$$1", "a$$", "$1$1", "${1}0", "$$$1"] {
        parse(json!([{"regexReplace": {"pattern": "(a)", "replacement": replacement}}])).unwrap();
    }
}

/// What goes wrong is told without a word of the value, for every kind of step.
#[test]
fn no_message_holds_what_the_value_holds() {
    let steps = [
        json!({"jsonExtract": {"path": ".a"}}),
        json!({"yamlExtract": {"path": ".a"}}),
        json!({"tomlExtract": {"path": ".a"}}),
        json!({"base64Decode": {}}),
        json!({"base64Decode": {"variant": "url"}}),
        json!({"hexDecode": {}}),
        json!({"join": {"separator": ","}}),
        json!({"split": {"separator": ";", "index": 9}}),
        json!({"slice": {"start": 5000}}),
        json!({"gunzip": {}}),
        json!({"pem": {"part": "key"}}),
        json!({"lines": {"join": ","}}),
        json!({"regexReplace": {"pattern": "a", "replacement": "b"}}),
    ];
    let inputs = [
        CANARY.as_bytes().to_vec(),
        format!("a: b: {CANARY}").into_bytes(),
        format!("{{\"a\": {CANARY}").into_bytes(),
        format!("a = {CANARY}").into_bytes(),
        format!("-----BEGIN {CANARY}-----\n{CANARY}").into_bytes(),
        [CANARY.as_bytes(), b"\xff"].concat(),
        [b"\x1f\x8b\x08\x00", CANARY.as_bytes()].concat(),
    ];
    let mut failed = 0;
    for (step, input) in steps.iter().flat_map(|step| inputs.iter().map(move |input| (step, input))) {
        if let Err(problem) = run(json!([step]), input) {
            failed += 1;
            assert!(!format!("{problem:?}").contains(CANARY), "{problem:?}");
            assert!(problem.message.len() <= 256, "{problem:?}");
        }
    }
    assert!(failed > 60, "only {failed} of the inputs were refused");
    let transforms = parse(json!(steps)).unwrap();
    assert!(!format!("{transforms:?}").contains(CANARY));
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (encode, decode) in [
            (json!({"base64Encode": {}}), json!({"base64Decode": {}})),
            (json!({"base64Encode": {"variant": "url"}}), json!({"base64Decode": {"variant": "url"}})),
            (json!({"hexEncode": {}}), json!({"hexDecode": {}})),
        ] {
            prop_assert_eq!(run(json!([encode, decode]), &bytes).unwrap(), bytes.clone());
        }
        let escaped = run(json!([{"urlEncode": {}}]), &bytes).unwrap();
        prop_assert_eq!(percent_encoding::percent_decode(&escaped).collect::<Vec<u8>>(), bytes.clone());
        prop_assert_eq!(run(json!([{"gunzip": {}}]), &zipped(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn what_is_split_is_joined_again(text in "[a-c,\"\\\\ü\n]{0,40}") {
        let steps = json!([{"split": {"separator": ","}}, {"join": {"separator": ","}}]);
        prop_assert_eq!(run(steps, text.as_bytes()).unwrap(), text.as_bytes());
    }

    /// The matcher on a budget finds what `regex` finds.
    #[test]
    fn expressions_mean_the_same_as_elsewhere(
        pattern in "(a|b|é|\\.|\\[ab\\]|\\(a\\|ab\\)|\\(b\\)|a\\*|b\\?|\\^|\\$|\\(\\?-u:\\\\B\\)|\\||\\(\\?-u:\\\\b\\)){1,6}",
        text in "[abé \n]{0,20}",
    ) {
        let replacement = "<$0>";
        let Ok(expected) = ::regex::Regex::new(&pattern) else { return Ok(()) };
        let expected = expected.replace_all(&text, replacement);
        let found = run(json!([{"regexReplace": {"pattern": pattern, "replacement": replacement}}]), text.as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8(found).unwrap(), expected);
    }

    #[test]
    fn no_input_makes_a_step_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,100}") {
        for step in [
            json!({"jsonExtract": {"path": ".a[0]"}}), json!({"yamlExtract": {"path": ".a[0]"}}),
            json!({"tomlExtract": {"path": ".a[0]"}}), json!({"base64Decode": {}}), json!({"hexDecode": {}}),
            json!({"trim": {}}), json!({"lines": {"join": "-"}}), json!({"join": {"separator": ","}}),
            json!({"split": {"separator": " ", "index": -2}}), json!({"case": "upper"}),
            json!({"slice": {"start": -3, "end": 100}}), json!({"gunzip": {}}), json!({"pem": {"part": "chain"}}),
        ] {
            let _ = run(json!([step.clone()]), &bytes);
            let _ = run(json!([step]), text.as_bytes());
        }
    }
}
