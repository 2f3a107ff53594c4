//! Regular expressions as Go reads them: SOPS files and rules hold those.
//!
//! Rust's engine is of the same family (RE2) but takes `\d`, `\w`, `\s` and `\b` as Unicode, where Go's are of ASCII alone
//! (<https://pkg.go.dev/regexp/syntax>). That would make another rule of the same text, so those are written out first. `\B`
//! has no such form, and `\Q…\E` is not known here: such a rule is refused.

use regex::{Regex, RegexBuilder};

/// Bytes that one compiled expression may take; real ones need a few thousand.
const COMPILED_BYTES: usize = 1 << 20;

/// An expression with its text.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    text: String,
    regex: Regex,
}

impl Expression {
    /// None for text that is not one, or too large a one.
    pub(super) fn new(text: &str) -> Option<Self> {
        let regex = RegexBuilder::new(&ascii_classes(text)?)
            .size_limit(COMPILED_BYTES)
            .dfa_size_limit(COMPILED_BYTES)
            .nest_limit(50)
            .build()
            .ok()?;
        Some(Self { text: text.to_owned(), regex })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The expression with Go's meaning of the classes that have a letter.
fn ascii_classes(text: &str) -> Option<String> {
    let mut written = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            written.push(character);
            continue;
        }
        match characters.next()? {
            'd' => written.push_str("[0-9]"),
            'D' => written.push_str("[^0-9]"),
            'w' => written.push_str("[0-9A-Za-z_]"),
            'W' => written.push_str("[^0-9A-Za-z_]"),
            's' => written.push_str("[\\t\\n\\x0c\\r ]"),
            'S' => written.push_str("[^\\t\\n\\x0c\\r ]"),
            'b' => written.push_str("(?-u:\\b)"),
            'B' => return None,
            other => written.extend(['\\', other]),
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn classes_are_of_ascii() {
        let cases = [
            (r"^\w+$", "abc_1", true),
            (r"^\w+$", "ä", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[\w-]+$", "ü-b", false),
            (r"^[^\w]$", "ä", true),
            (r"^\W$", "ä", true),
            (r"^\d$", "٣", false),
            (r"^\D$", "٣", true),
            (r"^[\D]$", "7", false),
            (r"^\s$", "\u{a0}", false),
            (r"^\S$", "\u{2003}", true),
            (r"a\b", "aä", true),
            (r"a\b", "ab", false),
            (r"^.$", "ä", true),
            (r"\\d", r"\d", true),
            (r"(?i)^PASS", "password", true),
            (r"^\p{Greek}$", "δ", true),
        ];
        for (expression, text, expected) in cases {
            assert_eq!(Expression::new(expression).unwrap().is_match(text), expected, "{expression} on {text}");
            assert_eq!(Expression::new(expression).unwrap().text(), expression);
        }
        for bad in ["(", "[", r"\", r"\B", r"\Qa\E", "(a{1000}){1000}"] {
            assert!(Expression::new(bad).is_none(), "{bad}");
        }
    }
}
