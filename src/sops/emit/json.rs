//! The tree into JSON, indented and escaped as Go's `encoding/json` does.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::{Style, Text, single};
use crate::sops::scalar::float_with_point;
use crate::sops::tree::{Entry, Item, Kind, Map, Node, Scalar};

/// A file; none where a text is not UTF-8 or a float is no number.
pub(super) fn file(documents: &[Map], style: &Style) -> Option<Text> {
    let mut text = Zeroizing::new(String::new());
    push_map(single(documents)?, 0, style, &mut text)?;
    text.push('\n');
    Some(text)
}

/// A scalar, an empty map or an empty list.
pub(super) fn on_one_line(node: &Node) -> Option<Text> {
    let mut text = Zeroizing::new(String::new());
    match node {
        Node::Null | Node::Scalar(_) => push(node, 0, &Style::default(), &mut text)?,
        Node::List(_) | Node::Map(_) => return None,
    }
    Some(text)
}

/// A pair, or without a key a value, whose own line stands `level` levels deep.
pub(super) fn at_level(key: Option<&str>, node: &Node, level: usize, style: &Style) -> Option<Text> {
    let mut text = Zeroizing::new(String::new());
    if let Some(key) = key {
        push_text(key, &mut text);
        text.push_str(": ");
    }
    push(node, level, style, &mut text)?;
    Some(text)
}

fn push(node: &Node, level: usize, style: &Style, text: &mut String) -> Option<()> {
    match node {
        Node::Null => text.push_str("null"),
        Node::Scalar(scalar) => push_scalar(scalar, text)?,
        Node::Map(map) => push_map(map, level, style, text)?,
        Node::List(items) => {
            let values = items.iter().filter_map(|item| match item {
                Item::Comment(_) => None,
                Item::Value(node) => Some(node),
            });
            text.push('[');
            let mut empty = true;
            for node in values {
                text.push_str(if empty { "" } else { "," });
                empty = false;
                begin_line(level + 1, style, text);
                push(node, level + 1, style, text)?;
            }
            if !empty {
                begin_line(level, style, text);
            }
            text.push(']');
        }
    }
    Some(())
}

fn push_map(entries: &[Entry], level: usize, style: &Style, text: &mut String) -> Option<()> {
    let pairs = entries.iter().filter_map(|entry| match entry {
        Entry::Comment(_) => None,
        Entry::Pair(key, node) => Some((key, node)),
    });
    text.push('{');
    let mut empty = true;
    for (key, node) in pairs {
        text.push_str(if empty { "" } else { "," });
        empty = false;
        begin_line(level + 1, style, text);
        push_text(key, text);
        text.push_str(": ");
        push(node, level + 1, style, text)?;
    }
    if !empty {
        begin_line(level, style, text);
    }
    text.push('}');
    Some(())
}

fn begin_line(level: usize, style: &Style, text: &mut String) {
    text.push('\n');
    for _ in 0..level {
        text.push_str(&style.json_indent);
    }
}

fn push_scalar(scalar: &Scalar, text: &mut String) -> Option<()> {
    let plain = scalar.as_str()?;
    match scalar.kind {
        Kind::Text | Kind::Time | Kind::Bytes => push_text(plain, text),
        Kind::Integer | Kind::Boolean => text.push_str(plain),
        Kind::Float => text.push_str(&float_with_point(plain).filter(|float| !float.contains(['n', 'N']))?),
    }
    Some(())
}

/// A text with Go's escapes, among them those that make it safe inside HTML.
fn push_text(plain: &str, text: &mut String) {
    text.push('"');
    for character in plain.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}
