//! What fuzzing has found: inputs for which a property of the fuzz targets once did not hold.

use super::mutations::properties;
use crate::sops::{Format, Plain};
use crate::value::SecretValue;

/// The text as it is written, which is how it is written again.
fn written(format: Format, text: &str) -> String {
    properties::file(format, text.as_bytes());
    let plain = Plain::parse(format, &SecretValue::from(text.to_owned())).unwrap();
    String::from_utf8(plain.to_file().unwrap().expose().to_vec()).unwrap()
}

#[test]
fn a_comment_of_an_ini_file_keeps_signs_of_its_own() {
    for (text, expected) in [
        ("; #f the\na = b\n", "; #f the\na = b\n"),
        ("# ;f\na = b\n", "# ;f\na = b\n"),
        ("a = b\n; one\n# #two\n;;three\nc = d\n", "a = b\n; one\n# #two\n; ;three\nc = d\n"),
        ("a = b ; #c\n", "; #c\na = b\n"),
        ("a = b\n; \t\t; c\nd = e\n", "a = b\n# ; c\nd = e\n"),
    ] {
        assert_eq!(written(Format::Ini, text), expected, "{text:?}");
    }
}

/// `sops` reads it there, too.
#[test]
fn a_comment_that_begins_an_element_stands_above_its_dash() {
    for text in ["a:\n- - #c\n- 2\n", "a:\n- - - #c\n    - 1\n", "a:\n- ? b\n  #c\n", "a:\n- - #c\n  - #d\n  - e\n"] {
        let once = written(Format::Yaml, text);
        assert!(once.contains("#c") && !once.lines().any(|line| line.trim() == "-"), "{once}");
    }
    // Right of the first value of an inner list: it stays there.
    for text in ["a:\n- - b # c\n", "a:\n- - - b # c\n  - d\n", "a:\n- {b: c} # d\n- [] # e\n", "a:\n- # c\n  - b\n"] {
        written(Format::Yaml, text);
    }
}

#[test]
fn the_last_line_of_a_dotenv_file_ends_like_the_others() {
    assert_eq!(written(Format::Dotenv, "#ENC[\r"), "#ENC[\n");
    assert_eq!(written(Format::Dotenv, "A=1\r\nB=2\r"), "A=1\nB=2\n");
    assert_eq!(written(Format::Dotenv, "A=1\nB=2\r"), "A=1\nB=2\r\n");
}
