//! Every kind of value, in both formats, under every rule, with and without `mac_only_encrypted`.

use super::oracle::{Identity, bytes, decrypt, encrypt};
use crate::sops::{Encrypted, Format};

/// How a value is written in the plaintext, and what a reader gets; none for null.
pub(super) type Case = (&'static str, &'static str, Option<&'static [u8]>);

pub(super) const YAML_VALUES: &[Case] = &[
    ("text", "plain text", Some(b"plain text")),
    ("quoted", r#""two\nlines\n""#, Some(b"two\nlines\n")),
    ("block", "|\n  first\n  second\n", Some(b"first\nsecond\n")),
    ("block_kept", "|+\n  first\n", Some(b"first\n\n")),
    ("folded", ">-\n  first\n  second\n", Some(b"first second")),
    ("empty", r#""""#, Some(b"")),
    ("blank", r#"" ""#, Some(b" ")),
    ("unicode", r#""Grüße, 世界 🎉""#, Some("Grüße, 世界 🎉".as_bytes())),
    ("control", r#""a\0b\x7f""#, Some(b"a\0b\x7f")),
    ("looks_true", r#""true""#, Some(b"true")),
    ("looks_number", r#""007""#, Some(b"007")),
    ("yes", "yes", Some(b"yes")),
    ("looks_sealed", r#""ENC[not really]""#, Some(b"ENC[not really]")),
    ("nothing_said", "null", None),
    ("tilde", "~", None),
    ("nothing", "", None),
    ("int", "42", Some(b"42")),
    ("negative", "-7", Some(b"-7")),
    ("zero", "0", Some(b"0")),
    ("hexadecimal", "0x1F", Some(b"31")),
    ("octal", "0o17", Some(b"15")),
    ("old_octal", "0777", Some(b"511")),
    ("no_octal", "09", Some(b"9")),
    ("underscored", "1_000", Some(b"1000")),
    ("largest", "9223372036854775807", Some(b"9223372036854775807")),
    ("smallest", "-9223372036854775808", Some(b"-9223372036854775808")),
    ("beyond", "123456789012345678901234567890", Some(b"123456789012345680000000000000")),
    ("float", "1.50", Some(b"1.5")),
    ("large_float", "1e20", Some(b"100000000000000000000")),
    ("small_float", "1.5e-10", Some(b"0.00000000015")),
    ("tenth", "0.1", Some(b"0.1")),
    ("whole_float", "3.0", Some(b"3")),
    ("infinite", ".inf", Some(b"+Inf")),
    ("minus_infinite", "-.inf", Some(b"-Inf")),
    ("not_a_number", ".nan", Some(b"NaN")),
    ("on", "true", Some(b"true")),
    ("off", "False", Some(b"false")),
    ("date", "2024-01-02", Some(b"2024-01-02T00:00:00Z")),
    ("time", "2024-01-02T03:04:05.678900Z", Some(b"2024-01-02T03:04:05.6789Z")),
    ("zone", "2024-1-2t3:4:5+02:00", Some(b"2024-01-02T03:04:05+02:00")),
    ("spaced", "2024-01-02 03:04:05", Some(b"2024-01-02T03:04:05Z")),
    ("no_date", "2024-02-30", Some(b"2024-02-30")),
    ("version", "1.2.3", Some(b"1.2.3")),
    ("binary", "!!binary aGVsbG8=", Some(b"hello")),
    ("raw", "!!binary //79AA==", Some(b"\xff\xfe\xfd\0")),
    ("tagged", "!!str 12", Some(b"12")),
    ("tagged_float", "!!float 12", Some(b"12")),
    (
        "map",
        "{b: 1, a: two, 'c d': [x, 2.50, true, null, \"\"]}",
        Some(br#"{"b":1,"a":"two","c d":["x",2.5,true,null,""]}"#),
    ),
    ("list", "\n  - one\n  - [two, [three]]\n  - k: v\n", Some(br#"["one",["two",["three"]],{"k":"v"}]"#)),
    ("escaped", r#"["\"\\\n\t<&>é"]"#, Some("[\"\\\"\\\\\\n\\t<&>é\"]".as_bytes())),
    (
        "odd_kinds",
        "[2024-01-02, .inf, !!binary //79]",
        Some("[\"2024-01-02T00:00:00Z\",\"+Inf\",\"\u{fffd}\u{fffd}\u{fffd}\"]".as_bytes()),
    ),
    ("no_elements", "[]", Some(b"[]")),
    ("no_keys", "{}", Some(b"{}")),
    ("nested_empty", "{a: {}, b: [[]], c: \"\"}", Some(br#"{"a":{},"b":[[]],"c":""}"#)),
    ("anchored", "&anchor {user: u, ports: [1, 2]}", Some(br#"{"user":"u","ports":[1,2]}"#)),
    ("aliased", "*anchor", Some(br#"{"user":"u","ports":[1,2]}"#)),
];

pub(super) const JSON_VALUES: &[Case] = &[
    ("text", r#""plain text""#, Some(b"plain text")),
    ("lines", r#""two\nlines\n""#, Some(b"two\nlines\n")),
    ("empty", r#""""#, Some(b"")),
    ("unicode", r#""Gr\u00fc\u00dfe 🎉 \ud83c\udf89""#, Some("Grüße 🎉 🎉".as_bytes())),
    ("control", r#""a\u0000b\u007f\/""#, Some(b"a\0b\x7f/")),
    ("looks_time", r#""2024-01-02""#, Some(b"2024-01-02")),
    ("nothing_said", "null", None),
    ("int", "42", Some(b"42")),
    ("negative", "-7", Some(b"-7")),
    ("minus_zero", "-0", Some(b"0")),
    ("largest", "9223372036854775807", Some(b"9223372036854775807")),
    ("smallest", "-9223372036854775808", Some(b"-9223372036854775808")),
    ("unsigned", "18446744073709551615", Some(b"18446744073709552000")),
    ("beyond", "123456789012345678901234567890", Some(b"123456789012345680000000000000")),
    ("float", "1.50", Some(b"1.5")),
    ("whole_float", "3.0", Some(b"3")),
    ("large_float", "1E+25", Some(b"10000000000000000000000000")),
    ("small_float", "1.5e-10", Some(b"0.00000000015")),
    ("on", "true", Some(b"true")),
    ("off", "false", Some(b"false")),
    (
        "map",
        r#"{"b": 1, "a": "two", "c d": ["x", 2.50, true, null, ""]}"#,
        Some(br#"{"b":1,"a":"two","c d":["x",2.5,true,null,""]}"#),
    ),
    ("list", r#"["one", ["two", ["three"]], {"k": "v"}]"#, Some(br#"["one",["two",["three"]],{"k":"v"}]"#)),
    ("no_elements", "[]", Some(b"[]")),
    ("no_keys", "{}", Some(b"{}")),
    ("nested_empty", r#"{"a": {}, "b": [[]], "c": ""}"#, Some(br#"{"a":{},"b":[[]],"c":""}"#)),
];

/// Each rule with how it marks a key: as `NAME_marked`, below a comment, or not at all.
pub(super) const RULES: &[&str] = &[
    "",
    "unencrypted_suffix: _marked",
    "encrypted_suffix: _marked",
    "unencrypted_regex: _mark[eE]d$",
    "encrypted_regex: ^.*_marked$",
    "unencrypted_comment_regex: marked",
    "encrypted_comment_regex: marked",
];

/// Every case twice: under its name, and marked for the rule.
pub(super) fn plaintext(format: Format, cases: &[Case]) -> String {
    let entry = |name: &str, value: &str| match format {
        Format::Yaml => format!("{name}: {value}"),
        Format::Json => format!("\"{name}\": {value}"),
        Format::Dotenv | Format::Ini | Format::Binary => panic!("{format} has no kinds of values"),
    };
    let mut entries = Vec::new();
    for (name, value, _) in cases {
        entries.push(entry(name, value));
    }
    for (name, value, _) in cases {
        if format == Format::Yaml {
            entries.push("# marked".to_owned());
        }
        // An anchor's name stands once.
        entries.push(entry(&format!("{name}_marked"), &value.replace("&anchor ", "")));
    }
    match format {
        Format::Yaml => entries.join("\n") + "\n",
        Format::Json => format!("{{{}}}", entries.join(",\n")),
        Format::Dotenv | Format::Ini | Format::Binary => panic!("{format} has no kinds of values"),
    }
}

async fn every_kind_is_read(format: Format, cases: &[Case], rules: &[&str]) {
    let identity = Identity::generate();
    let plain = plaintext(format, cases);
    for rule in rules {
        for mac_only_encrypted in [false, true] {
            let rule = format!("{rule}\nmac_only_encrypted: {mac_only_encrypted}");
            let file = encrypt(&identity, rule.trim_start(), format, &plain);
            let encrypted = Encrypted::parse(format, file.as_bytes()).unwrap();
            let names: Vec<String> = encrypted.names().map(str::to_owned).collect();
            let document = decrypt(&identity, format, &file).await.unwrap_or_else(|error| panic!("{rule}: {error}"));
            let mut expected_names = Vec::new();
            for marked in ["", "_marked"] {
                for (name, written, expected) in cases {
                    let name = format!("{name}{marked}");
                    let found = bytes(&document, &name);
                    assert_eq!(found.as_deref(), *expected, "{rule}: {name}, written as {written}");
                    if expected.is_some() {
                        expected_names.push(name);
                    }
                }
            }
            assert_eq!(names, expected_names, "{rule}: names before decryption");
            assert_eq!(document.names().collect::<Vec<_>>(), expected_names, "{rule}: names after decryption");
        }
    }
}

#[tokio::test]
async fn every_kind_is_read_from_yaml_under_every_rule() {
    every_kind_is_read(Format::Yaml, YAML_VALUES, RULES).await;
}

#[tokio::test]
async fn every_kind_is_read_from_json_under_every_rule() {
    // JSON has no comments.
    let rules: Vec<&str> = RULES.iter().copied().filter(|rule| !rule.contains("comment")).collect();
    every_kind_is_read(Format::Json, JSON_VALUES, &rules).await;
}

#[tokio::test]
async fn rules_hold_for_everything_below_a_marked_key() {
    let identity = Identity::generate();
    let plain = "a:\n  b_unencrypted:\n    c: [1, {d: secret}]\n  e: 2\nf: 3\n";
    let file = encrypt(&identity, "", Format::Yaml, plain);
    assert!(file.contains("d: secret"), "the default rule leaves it in the clear");
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(bytes(&document, "a").unwrap(), br#"{"b_unencrypted":{"c":[1,{"d":"secret"}]},"e":2}"#);
}

#[tokio::test]
async fn floats_are_printed_digit_by_digit_as_sops_prints_them() {
    // Halfway between two shortest forms; powers of two, where neighbours are not equally far; the ends of the range.
    let mut floats: Vec<f64> = Vec::new();
    for number in 0..400u32 {
        let whole = 562_949_953_421_312.0 + f64::from(number) * 12_345_678_901.0;
        floats.extend([whole + 0.125, whole + 0.25, whole + 0.75, whole * 1024.0 + 128.0, whole * 65536.0 * 65536.0]);
        floats.push(2f64.powi(i32::try_from(number).unwrap() * 5 - 1_070));
    }
    floats.extend([f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e22, 1e23, 9007199254740993.0, 0.1 + 0.2]);
    let identity = Identity::generate();
    for rule in ["", "unencrypted_regex: ."] {
        for format in [Format::Yaml, Format::Json] {
            let entries: Vec<String> =
                floats.iter().enumerate().map(|(number, float)| format!("\"k{number}\": {float:e}")).collect();
            let file = encrypt(&identity, rule, format, &format!("{{{}}}", entries.join(",\n")));
            let document =
                decrypt(&identity, format, &file).await.unwrap_or_else(|error| panic!("{rule} {format}: {error}"));
            for (number, float) in floats.iter().enumerate() {
                let text = String::from_utf8(bytes(&document, &format!("k{number}")).unwrap()).unwrap();
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), float.to_bits(), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn only_the_first_document_of_a_stream_has_names_but_all_are_checked() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, "a: one\nb: 2\n---\nc: three\na: other\n---\n# nothing\n");
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(document.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(bytes(&document, "a").unwrap(), b"one");
    assert!(document.get("c").is_none());

    let second = file.find("\nc: ").unwrap();
    let line_end = second + 1 + file[second + 1..].find('\n').unwrap();
    let cut = format!("{}{}", &file[..second], &file[line_end..]);
    let error = decrypt(&identity, Format::Yaml, &cut).await.err().unwrap();
    assert!(matches!(error, crate::sops::Error::MacMismatch), "{error}");
}

#[tokio::test]
async fn line_ends_of_windows_and_a_byte_order_mark_are_read() {
    let identity = Identity::generate();
    let file = encrypt(&identity, "", Format::Yaml, "# comment\na: one\nb:\n  - 2 # two\n");
    let file = format!("\u{feff}{}", file.replace('\n', "\r\n"));
    let document = decrypt(&identity, Format::Yaml, &file).await.unwrap();
    assert_eq!(bytes(&document, "a").unwrap(), b"one");
    assert_eq!(bytes(&document, "b").unwrap(), b"[2]");
}

#[test]
fn formats_are_told_by_the_end_of_the_name() {
    assert_eq!(Format::from_file_name("dev.api.enc.yaml"), Some(Format::Yaml));
    assert_eq!(Format::from_file_name("dev.yml"), Some(Format::Yaml));
    assert_eq!(Format::from_file_name("a/b.json"), Some(Format::Json));
    assert_eq!(Format::from_file_name("dev.env"), Some(Format::Dotenv));
    assert_eq!(Format::from_file_name("dev.ini"), Some(Format::Ini));
    for other in ["yaml", "dev.bin", "dev.yaml.bak", ""] {
        assert_eq!(Format::from_file_name(other), None, "{other}");
    }
}
