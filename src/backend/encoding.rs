//! How values look as text in a store: as the Atmos CLI keeps them, or byte for byte.
//!
//! What Atmos does was read in its stores (`pkg/store` of cloudposse/atmos): most write JSON, and a plain text as a JSON
//! string literal. Reading takes one level of that literal away and leaves everything else as it is: no number becomes a
//! float, no document is written anew.
//!
//! | style | a text is written as | exceptions |
//! |---|---|---|
//! | [`Style::Parameter`] (AWS SSM) | itself | empty: `""`, since SSM refuses empty values; a text that is a JSON string literal: as a literal |
//! | [`Style::Document`] (AWS Secrets Manager) | a JSON string literal | a JSON object or array without outer white space: itself |
//! | [`Style::Literal`] (Azure, Google Cloud) | a JSON string literal | – |
//!
//! The exceptions for literals and white space are ours: Atmos's form would not come back as the same bytes, and Atmos
//! reads ours as the same text. Vault keeps native JSON and needs none of this.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::api::store::Encoding;
use crate::value::SecretValue;

/// Which form a store's texts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Texts as they are.
    Parameter,
    /// Documents as they are, other texts as literals.
    Document,
    /// Literals.
    Literal,
}

/// The text of a value as a store keeps it.
#[must_use]
pub fn decode(encoding: Encoding, stored: SecretValue) -> SecretValue {
    match encoding {
        Encoding::Raw => stored,
        Encoding::Atmos => match literal(stored.expose()) {
            Some(text) => SecretValue::new(text.into_owned().into_bytes()),
            None => stored,
        },
    }
}

/// What a store keeps for a text. Bytes that are no text stay as they are: whether the store can hold them is the driver's
/// business.
#[must_use]
pub fn encode(encoding: Encoding, style: Style, value: &SecretValue) -> SecretValue {
    let bytes = value.expose();
    let text = match (encoding, std::str::from_utf8(bytes)) {
        (Encoding::Raw, _) | (Encoding::Atmos, Err(_)) => return SecretValue::new(bytes.to_vec()),
        (Encoding::Atmos, Ok(text)) => text,
    };
    let as_it_is = match style {
        Style::Parameter => !text.is_empty() && literal(bytes).is_none(),
        Style::Document => text.starts_with(['{', '[']) && text.ends_with(['}', ']']) && is_json(text),
        Style::Literal => false,
    };
    if as_it_is { SecretValue::new(bytes.to_vec()) } else { quote(text) }
}

/// The text of a JSON string literal; `None` if the bytes are anything else.
fn literal(bytes: &[u8]) -> Option<Cow<'_, str>> {
    // A look at the first byte spares the parser, whose errors quote what they read.
    if bytes.trim_ascii().first() != Some(&b'"') {
        return None;
    }
    serde_json::from_slice::<String>(bytes).ok().map(Cow::Owned)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A JSON string literal as Go writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped, too (`encoding/json`, HTMLEscape).
fn quote(text: &str) -> SecretValue {
    // Enough for most, so that few copies are made; the longest escape takes six bytes for one.
    let mut quoted = Zeroizing::new(String::with_capacity(text.len().saturating_mul(2).saturating_add(2)));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    SecretValue::new(std::mem::take(&mut *quoted).into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(style: Style, text: &str) -> String {
        let value = SecretValue::new(text.as_bytes().to_vec());
        String::from_utf8_lossy(encode(Encoding::Atmos, style, &value).expose()).into_owned()
    }

    fn read(stored: &str) -> String {
        let value = SecretValue::new(stored.as_bytes().to_vec());
        String::from_utf8_lossy(decode(Encoding::Atmos, value).expose()).into_owned()
    }

    #[test]
    fn writes_what_atmos_writes() {
        // Text; as a parameter, as a document, as a literal.
        let cases = [
            ("abc", "abc", "\"abc\"", "\"abc\""),
            ("", "\"\"", "\"\"", "\"\""),
            ("123", "123", "\"123\"", "\"123\""),
            ("true", "true", "\"true\"", "\"true\""),
            ("{\"a\":1}", "{\"a\":1}", "{\"a\":1}", "\"{\\\"a\\\":1}\""),
            ("[1, 2]", "[1, 2]", "[1, 2]", "\"[1, 2]\""),
            ("{broken", "{broken", "\"{broken\"", "\"{broken\""),
            ("a<b>&c", "a<b>&c", "\"a\\u003cb\\u003e\\u0026c\"", "\"a\\u003cb\\u003e\\u0026c\""),
            ("line\n\ttab\u{1}", "line\n\ttab\u{1}", "\"line\\n\\ttab\\u0001\"", "\"line\\n\\ttab\\u0001\""),
            ("\u{2028}ü\u{1f511}", "\u{2028}ü\u{1f511}", "\"\\u2028ü\u{1f511}\"", "\"\\u2028ü\u{1f511}\""),
            // Ours: what Atmos writes here would not come back.
            ("\"abc\"", "\"\\\"abc\\\"\"", "\"\\\"abc\\\"\"", "\"\\\"abc\\\"\""),
            (" {\"a\":1}\n", " {\"a\":1}\n", "\" {\\\"a\\\":1}\\n\"", "\" {\\\"a\\\":1}\\n\""),
        ];
        for (text, parameter, document, as_literal) in cases {
            assert_eq!(written(Style::Parameter, text), parameter);
            assert_eq!(written(Style::Document, text), document);
            assert_eq!(written(Style::Literal, text), as_literal);
        }
    }

    #[test]
    fn reads_one_literal_and_nothing_else() {
        let cases = [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("\"\"", ""),
            ("\"\\\"abc\\\"\"", "\"abc\""),
            (" \"abc\"\n", "abc"),
            ("1e5", "1e5"),
            ("12345678901234567890", "12345678901234567890"),
            ("true", "true"),
            ("null", "null"),
            ("007", "007"),
            ("{\"a\": 1.50}", "{\"a\": 1.50}"),
            ("\"broken", "\"broken"),
            ("\"two\" \"literals\"", "\"two\" \"literals\""),
        ];
        for (stored, text) in cases {
            assert_eq!(read(stored), text);
            let raw = decode(Encoding::Raw, SecretValue::new(stored.as_bytes().to_vec()));
            assert!(raw.equals(stored.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "(\\PC|[\"{}\\[\\] \n])*") {
            for style in [Style::Parameter, Style::Document, Style::Literal] {
                for bytes in [bytes.as_slice(), text.as_bytes()] {
                    for encoding in [Encoding::Atmos, Encoding::Raw] {
                        let stored = encode(encoding, style, &SecretValue::new(bytes.to_vec()));
                        prop_assert!(decode(encoding, stored).equals(bytes));
                    }
                }
            }
        }
    }
}
