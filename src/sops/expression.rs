//! Regular expressions as Go reads them: SOPS files and rules hold those.
//!
//! Rust's engine is of the same family (RE2), but the same text is not always the same rule
//! (<https://pkg.go.dev/regexp/syntax>, `regexp/syntax/parse.go`):
//!
//! - `\d`, `\w`, `\s` and `\b` are Unicode there, and of ASCII alone in Go;
//! - inside a class, `&&`, `--`, `~~` and `[` are operations on sets there, and characters in Go;
//! - `\<` and `\>` are boundaries of words there, `{,2}` and `{ 2}` are repetitions, and all of them characters in Go.
//!
//! So an expression is read by Go's grammar and written out in a form that means the same to both. What Go refuses is
//! refused, as far as it would mean something there. So are `\B`, which has no such form, and `\Q…\E`.

use regex::{Regex, RegexBuilder};

/// Bytes that one compiled expression may take; real ones need a few thousand.
const COMPILED_BYTES: usize = 1 << 20;

/// The most repetitions that Go takes (`maxRepeat`).
const MOST_REPETITIONS: u32 = 1_000;

/// The classes of ASCII that have a name, as in `[[:alpha:]]`.
const NAMED_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// An expression that Go would take.
#[derive(Clone, Debug)]
pub(super) struct Expression(Regex);

impl Expression {
    /// None for text that is not one, or too large a one.
    pub(super) fn new(text: &str) -> Option<Self> {
        let translation = Translation { rest: text, written: String::with_capacity(text.len()) };
        let regex = RegexBuilder::new(&translation.whole()?)
            .size_limit(COMPILED_BYTES)
            .dfa_size_limit(COMPILED_BYTES)
            .nest_limit(50)
            .build();
        regex.ok().map(Self)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// An expression of Go on its way to the syntax of Rust. None, anywhere: it is not taken.
struct Translation<'a> {
    rest: &'a str,
    written: String,
}

impl Translation<'_> {
    fn whole(mut self) -> Option<String> {
        while !self.rest.is_empty() {
            match self.next()? {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '{' => self.brace()?,
                '(' => self.group()?,
                other => self.written.push(other),
            }
        }
        Some(self.written)
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.take(character).then_some(character)
    }

    /// Passes over a character if it comes next.
    fn take(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A character for itself, in a class or outside of one.
    fn literal(&mut self, character: char) {
        if character.is_alphanumeric() {
            self.written.push(character);
        } else {
            self.written.push_str(&format!("\\x{{{:x}}}", u32::from(character)));
        }
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Option<()> {
        if self.class_escape()? {
            return Some(());
        }
        match self.rest.chars().next()? {
            'b' => self.written.push_str("(?-u:\\b)"),
            'A' => self.written.push_str("\\A"),
            'z' => self.written.push_str("\\z"),
            _ => {
                let character = self.escaped()?;
                self.literal(character);
                return Some(());
            }
        }
        self.next().map(drop)
    }

    /// Behind a backslash, in a class or outside of one: a class that has a letter. Says whether there is one.
    fn class_escape(&mut self) -> Option<bool> {
        let class = match self.rest.chars().next()? {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[\\t\\n\\x0c\\r ]",
            'S' => "[^\\t\\n\\x0c\\r ]",
            'p' | 'P' => return self.unicode_class().map(|()| true),
            _ => return Some(false),
        };
        self.written.push_str(class);
        self.next().map(|_| true)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, and the same with `P`.
    fn unicode_class(&mut self) -> Option<()> {
        let letter = self.next()?;
        let (name, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => self.rest.split_at_checked(1)?,
        };
        self.rest = rest;
        let (negated, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            return None;
        }
        let letter = if (letter == 'P') == negated { 'p' } else { 'P' };
        self.written.push_str(&format!("\\{letter}{{{name}}}"));
        Some(())
    }

    /// Behind a backslash: the one character that is meant (`parseEscape`).
    fn escaped(&mut self) -> Option<char> {
        let character = self.next()?;
        let code = match character {
            '0' => self.octal(0),
            // One digit alone would be a reference to a group, which Go does not have.
            '1'..='7' if self.rest.starts_with(|next: char| next.is_digit(8)) => self.octal(character.to_digit(8)?),
            'x' => self.hexadecimal()?,
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => return Some(other),
            _ => return None,
        };
        char::from_u32(code)
    }

    /// Up to two more digits.
    fn octal(&mut self, mut code: u32) -> u32 {
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else { break };
            self.rest = self.rest.get(1..).unwrap_or_default();
            code = code * 8 + digit;
        }
        code
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        self.rest = rest;
        // `from_str_radix` would take a sign.
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        are_digits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }

    /// Behind `[`.
    fn class(&mut self) -> Option<()> {
        self.written.push('[');
        if self.take('^') {
            self.written.push('^');
        }
        let mut is_first = true;
        // The first one may be a bracket for itself.
        while is_first || !self.take(']') {
            is_first = false;
            self.class_item()?;
        }
        self.written.push(']');
        Some(())
    }

    /// A class in a class, a character, or a range of them.
    fn class_item(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix("[:")
            && let Some((name, rest)) = rest.split_once(":]")
        {
            if !NAMED_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return None;
            }
            self.written.push_str(&format!("[:{name}:]"));
            self.rest = rest;
            return Some(());
        }
        if let Some(rest) = self.rest.strip_prefix('\\') {
            let mut behind = Self { rest, written: String::new() };
            if behind.class_escape()? {
                self.rest = behind.rest;
                self.written.push_str(&behind.written);
                return Some(());
            }
        }
        let from = self.class_character()?;
        self.literal(from);
        let is_range = self.rest.starts_with('-') && !matches!(self.rest.as_bytes(), [b'-'] | [b'-', b']', ..]);
        if is_range {
            self.next()?;
            let to = self.class_character()?;
            if to < from {
                return None;
            }
            self.written.push('-');
            self.literal(to);
        }
        Some(())
    }

    fn class_character(&mut self) -> Option<char> {
        match self.next()? {
            '\\' => self.escaped(),
            other => Some(other),
        }
    }

    /// Behind `{`: a repetition if it is written as one, else the brace itself.
    fn brace(&mut self) -> Option<()> {
        let is_count = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'))
        };
        let counts = self.rest.split_once('}').map(|(counts, _)| counts);
        let bounds = counts.map(|counts| counts.split_once(',').unwrap_or((counts, "")));
        match bounds.filter(|(least, most)| is_count(least) && (most.is_empty() || is_count(most))) {
            Some((least, most)) => {
                let is_few = |text: &str| text.parse().is_ok_and(|count: u32| count <= MOST_REPETITIONS);
                if !is_few(least) || !(most.is_empty() || is_few(most)) {
                    return None;
                }
                self.written.push('{');
            }
            None => self.literal('{'),
        }
        Some(())
    }

    /// Behind `(`: flags that Go does not have are refused.
    fn group(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix('?') {
            let is_name = rest.starts_with("P<") || rest.starts_with('<');
            let behind_flags = rest.trim_start_matches(['i', 'm', 's', 'U', '-']);
            if !is_name && !behind_flags.starts_with([':', ')']) {
                return None;
            }
        }
        self.written.push('(');
        Some(())
    }
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
        }
        for bad in ["(", "[", r"\", r"\B", r"\Qa\E", "(a{1000}){1000}"] {
            assert!(Expression::new(bad).is_none(), "{bad}");
        }
    }
}
