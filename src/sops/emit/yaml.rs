//! The tree into YAML: blocks of 4, quotes only where they are needed, comments where `sops` puts them.
//!
//! The forms are those of Go's `yaml/v3` wherever that reads them back as they were: it loses some texts that begin with
//! blanks or end in several line ends, which are quoted here. Aliases are gone: their copies are written out.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Style, Text};
use crate::sops::scalar::{float_with_point, resolve_plain};
use crate::sops::tree::{Comment, Entry, Item, Kind, Map, Node, Scalar};

/// A stream of documents.
pub(super) fn file(documents: &[Map], style: &Style) -> Text {
    let mut writer = Writer::new(style);
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            writer.text.push_str("---\n");
        }
        writer.map(document, Indent { column: 0, in_element: false }, Above::Nothing);
        if !document.iter().any(|entry| matches!(entry, Entry::Pair(..))) {
            writer.text.push_str("{}\n");
        }
    }
    writer.text
}

/// The lines of one pair.
pub(super) fn lines(key: &str, node: &Node, right: &[&Comment], at: Indent, style: &Style) -> Text {
    let mut writer = Writer::new(style);
    writer.pair(key, node, right, at);
    writer.text
}

/// A scalar, an empty map or an empty list; none for what takes lines.
pub(super) fn on_one_line(node: &Node, in_flow: bool) -> Option<Text> {
    match node {
        Node::Null => Some(Zeroizing::new("null".to_owned())),
        Node::Scalar(scalar) => Some(match rendered(scalar, in_flow) {
            Rendered::Line(text) => text,
            Rendered::Block { .. } => double_quoted(scalar.as_str()?),
        }),
        Node::List(items) if items.is_empty() => Some(Zeroizing::new("[]".to_owned())),
        Node::Map(map) if map.is_empty() => Some(Zeroizing::new("{}".to_owned())),
        Node::List(_) | Node::Map(_) => None,
    }
}

/// Where the pairs of a map stand.
#[derive(Clone, Copy, Debug)]
pub(in crate::sops) struct Indent {
    /// Blanks before a key.
    pub(in crate::sops) column: usize,
    /// Whether the map is an element of a list, so that a dash stands two columns before its first key.
    pub(in crate::sops) in_element: bool,
}

/// What of a map or list is written already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    Nothing,
    /// What [`leading_comments`] finds.
    LeadingComments,
}

/// The comments on lines of their own before anything else in an element of a list, in that element's first one, and so on.
fn leading_comments(node: &Node) -> Vec<&Comment> {
    let mut found = Vec::new();
    match node {
        Node::Null | Node::Scalar(_) => {}
        Node::List(items) => {
            for item in items {
                match item {
                    Item::Comment(comment) if comment.inline => break,
                    Item::Comment(comment) => found.push(comment),
                    Item::Value(first) => {
                        found.extend(leading_comments(first));
                        break;
                    }
                }
            }
        }
        Node::Map(entries) => {
            for entry in entries {
                match entry {
                    Entry::Comment(comment) if !comment.inline => found.push(comment),
                    Entry::Comment(_) | Entry::Pair(..) => break,
                }
            }
        }
    }
    found
}

struct Writer<'a> {
    text: Text,
    style: &'a Style,
    /// The line is begun already, by the `- ` of a list.
    in_line: bool,
}

impl<'a> Writer<'a> {
    fn new(style: &'a Style) -> Self {
        Self { text: Zeroizing::new(String::new()), style, in_line: false }
    }

    fn begin_line(&mut self, column: usize) {
        if !std::mem::take(&mut self.in_line) {
            self.text.extend(std::iter::repeat_n(' ', column));
        }
    }

    fn comment(&mut self, comment: &Comment, column: usize) {
        for line in comment.text.split('\n') {
            self.begin_line(column);
            self.text.push('#');
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn map(&mut self, entries: &[Entry], at: Indent, mut above: Above) {
        let mut right: Vec<&Comment> = Vec::new();
        for entry in entries {
            match entry {
                Entry::Comment(comment) if comment.inline => {
                    above = Above::Nothing;
                    right.push(comment);
                }
                Entry::Comment(comment) if above == Above::Nothing => self.comment(comment, at.column),
                Entry::Comment(_) => {}
                Entry::Pair(key, node) => {
                    above = Above::Nothing;
                    self.pair(key, node, &right, at);
                    right.clear();
                }
            }
        }
        for comment in right {
            self.comment(comment, at.column);
        }
    }

    fn pair(&mut self, key: &str, node: &Node, right: &[&Comment], at: Indent) {
        let column = at.column;
        let right = self.above_or_right(node, right, column);
        self.begin_line(column);
        let key = rendered_text(key, false);
        let key = match key {
            Rendered::Line(key) => key,
            Rendered::Block { text, .. } => double_quoted(text),
        };
        // A key of more than 1,024 characters is only a key where it says so.
        if key.chars().count() > 1_000 {
            self.text.push_str("? ");
            self.text.push_str(&key);
            self.text.push('\n');
            self.begin_line(column);
        } else {
            self.text.push_str(&key);
        }
        self.text.push(':');
        self.value(node, &right, self.inner(at));
    }

    /// Comments stand right of values that take one line, and above others.
    fn above_or_right<'c>(&mut self, node: &Node, right: &[&'c Comment], column: usize) -> Vec<&'c Comment> {
        let one_line = match node {
            Node::Null => true,
            Node::Scalar(scalar) => matches!(rendered(scalar, false), Rendered::Line(_)),
            Node::List(items) => items.is_empty(),
            Node::Map(map) => map.is_empty(),
        };
        if one_line && right.len() == 1 {
            return right.to_vec();
        }
        for comment in right {
            self.comment(comment, column);
        }
        Vec::new()
    }

    /// Where the lines of a value begin. Go counts them from the dash where the map is an element of a list.
    fn inner(&self, at: Indent) -> usize {
        let back = if at.in_element && self.style.yaml_indent > 2 { 2 } else { 0 };
        at.column + self.style.yaml_indent - back
    }

    /// What follows the `:` of a key. `inner` is where lines of it begin.
    fn value(&mut self, node: &Node, right: &[&Comment], inner: usize) {
        match node {
            Node::Null => self.end_line(" null", right),
            Node::Scalar(scalar) => {
                self.text.push(' ');
                self.scalar(scalar, right, inner);
            }
            Node::Map(map) if map.is_empty() => self.end_line(" {}", right),
            Node::List(items) if items.is_empty() => self.end_line(" []", right),
            Node::Map(map) => {
                self.text.push('\n');
                self.map(map, Indent { column: inner, in_element: false }, Above::Nothing);
                if !map.iter().any(|entry| matches!(entry, Entry::Pair(..))) {
                    self.begin_line(inner);
                    self.end_line("{}", &[]);
                }
            }
            Node::List(items) => {
                self.text.push('\n');
                self.list(items, inner, Above::Nothing);
            }
        }
    }

    fn list(&mut self, items: &[Item], column: usize, mut above: Above) {
        let mut right: Vec<&Comment> = Vec::new();
        let mut empty = true;
        for item in items {
            match item {
                Item::Comment(comment) if comment.inline => {
                    above = Above::Nothing;
                    right.push(comment);
                }
                Item::Comment(comment) if above == Above::Nothing => self.comment(comment, column),
                Item::Comment(_) => {}
                Item::Value(node) => {
                    empty = false;
                    let right_of = self.above_or_right(node, &right, column);
                    right.clear();
                    if above == Above::Nothing {
                        for comment in leading_comments(node) {
                            self.comment(comment, column);
                        }
                    }
                    above = Above::Nothing;
                    self.begin_line(column);
                    self.element(node, &right_of, column + 2);
                }
            }
        }
        for comment in right {
            self.comment(comment, column);
        }
        if empty {
            self.begin_line(column);
            self.end_line("[]", &[]);
        }
    }

    /// A list's element with its dash. `column` is where what follows the dash stands. The comments with which it begins stand
    /// above the dash, where a reader looks for them.
    fn element(&mut self, node: &Node, right: &[&Comment], column: usize) {
        let begins_with_comment = match node {
            Node::Null | Node::Scalar(_) => false,
            Node::List(items) => {
                let first = items.iter().find(|item| !matches!(item, Item::Comment(comment) if !comment.inline));
                matches!(first, Some(Item::Comment(_)))
            }
            Node::Map(map) => {
                let is_inline = |entry: &Entry| matches!(entry, Entry::Comment(comment) if comment.inline);
                map.iter().any(is_inline) && !map.iter().any(|entry| matches!(entry, Entry::Pair(..)))
            }
        };
        if begins_with_comment {
            self.text.push_str("-\n");
        } else {
            self.text.push_str("- ");
            self.in_line = true;
        }
        match node {
            Node::Null => self.end_line("null", right),
            Node::Scalar(scalar) => {
                self.in_line = false;
                // Blocks are indented against the list, not against the dash's own column.
                self.scalar(scalar, right, column);
            }
            Node::Map(map) if map.is_empty() => self.end_line("{}", right),
            Node::List(items) if items.is_empty() => self.end_line("[]", right),
            Node::Map(map) => {
                self.map(map, Indent { column, in_element: true }, Above::LeadingComments);
                if !map.iter().any(|entry| matches!(entry, Entry::Pair(..))) {
                    self.begin_line(column);
                    self.end_line("{}", &[]);
                }
            }
            Node::List(items) => self.list(items, column, Above::LeadingComments),
        }
    }

    fn scalar(&mut self, scalar: &Scalar, right: &[&Comment], column: usize) {
        match rendered(scalar, false) {
            Rendered::Line(text) => self.end_line(&text, right),
            Rendered::Block { header, text } => {
                self.end_line(header, right);
                for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                    if !line.is_empty() {
                        self.begin_line(column);
                        self.text.push_str(line);
                    }
                    self.text.push('\n');
                }
            }
        }
    }

    fn end_line(&mut self, text: &str, right: &[&Comment]) {
        self.in_line = false;
        self.text.push_str(text);
        for comment in right {
            self.text.push_str(" #");
            self.text.push_str(&comment.text.replace('\n', " "));
        }
        self.text.push('\n');
    }
}

/// A scalar as it is written.
enum Rendered<'a> {
    Line(Text),
    /// A literal block: what stands after the key, and the text of the lines.
    Block {
        header: &'static str,
        text: &'a str,
    },
}

fn rendered(scalar: &Scalar, in_flow: bool) -> Rendered<'_> {
    let line = |text: String| Rendered::Line(Zeroizing::new(text));
    let Some(text) = scalar.as_str() else {
        return line(format!("!!binary {}", STANDARD.encode(scalar.text.expose())));
    };
    match scalar.kind {
        Kind::Text | Kind::Bytes => rendered_text(text, in_flow),
        Kind::Integer | Kind::Boolean | Kind::Time => line(text.to_owned()),
        Kind::Float => line(match text {
            "NaN" => ".nan".to_owned(),
            "+Inf" => ".inf".to_owned(),
            "-Inf" => "-.inf".to_owned(),
            _ => float_with_point(text).unwrap_or_else(|| text.to_owned()),
        }),
    }
}

fn rendered_text(text: &str, in_flow: bool) -> Rendered<'_> {
    let line = |text: String| Rendered::Line(Zeroizing::new(text));
    if text.chars().any(|character| is_special(character) && !matches!(character, '\n' | '\t')) {
        return Rendered::Line(double_quoted(text));
    }
    if text.contains('\n') {
        return match block_header(text) {
            Some(header) if !in_flow => Rendered::Block { header, text },
            Some(_) | None => Rendered::Line(double_quoted(text)),
        };
    }
    if text.contains('\t') || is_another_kind(text) {
        return Rendered::Line(double_quoted(text));
    }
    if is_plain(text, in_flow) { line(text.to_owned()) } else { line(format!("'{}'", text.replace('\'', "''"))) }
}

/// The header of a literal block that holds the text and is read back alike by every parser; none where there is none.
fn block_header(text: &str) -> Option<&'static str> {
    if text.starts_with([' ', '\t', '\n']) || text.ends_with("\n\n") {
        return None;
    }
    // A line of blanks alone is the same as an empty one to some.
    if text.split('\n').any(|line| !line.is_empty() && line.trim_end().is_empty()) {
        return None;
    }
    Some(if text.ends_with('\n') { "|" } else { "|-" })
}

/// Characters that stand in double quotes only: those that are not printed, and those that some take for line ends.
fn is_special(character: char) -> bool {
    matches!(character, '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || matches!(u32::from(character) & 0xffff, 0xfffe | 0xffff)
}

/// Whether the bare word is no text to some YAML reader: a number, a boolean of YAML 1.1, a time, null, a merge key.
fn is_another_kind(text: &str) -> bool {
    let is_text = match resolve_plain(text) {
        Node::Scalar(scalar) => scalar.kind == Kind::Text,
        Node::Null | Node::List(_) | Node::Map(_) => false,
    };
    let old_boolean = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    // `1:20` is 80 in YAML 1.1.
    let like_number = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-'))
        && text.contains(':')
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-._:".contains(&byte));
    !is_text
        || like_number
        || matches!(text, "<<" | "=")
        || old_boolean.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a text without line ends can stand without quotes. Stricter than YAML: what is rare is quoted.
fn is_plain(text: &str, in_flow: bool) -> bool {
    let good_first =
        |first: char| first.is_alphanumeric() || matches!(first, '_' | '/' | '.' | '$' | '(' | '+' | '^' | ';');
    if !text.starts_with(good_first) || text.starts_with("...") || text.ends_with([' ', ':']) {
        return false;
    }
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let good = match character {
            ':' => !in_flow && characters.peek().is_some_and(|next| *next != ' '),
            '#' => before != ' ',
            ',' | '[' | ']' | '{' | '}' => !in_flow,
            _ => character.is_alphanumeric() || (' '..='~').contains(&character),
        };
        if !good {
            return false;
        }
        before = character;
    }
    true
}

fn double_quoted(text: &str) -> Text {
    let mut quoted = Zeroizing::new(String::with_capacity(text.len() + 2));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if is_special(character) => {
                // Writing to a String cannot fail.
                let _ = match u32::from(character) {
                    code @ 0..=0xff => write!(quoted, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(quoted, "\\u{code:04x}"),
                    code => write!(quoted, "\\U{code:08x}"),
                };
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
