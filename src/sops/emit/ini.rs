//! The tree into INI, aligned and quoted as `gopkg.in/ini.v1` does for `sops` (its `file.go`).

use zeroize::Zeroizing;

use super::{Text, flat_text, single};
use crate::sops::read::DEFAULT_SECTION;
use crate::sops::tree::{Entry, Map, Node};

/// A file of sections; none where a value is not a text inside a section.
pub(super) fn file(documents: &[Map]) -> Option<Text> {
    let mut text = Zeroizing::new(String::new());
    let sections = single(documents)?.iter().filter_map(|entry| match entry {
        // There is no comment between sections: each belongs to what follows it.
        Entry::Comment(_) => None,
        Entry::Pair(name, node) => Some((name, node)),
    });
    for (index, (name, node)) in sections.enumerate() {
        let Node::Map(entries) = node else { return None };
        if index > 0 {
            text.push('\n');
        }
        section(name, entries, index == 0, &mut text)?;
    }
    Some(text)
}

fn section(name: &str, entries: &Map, first: bool, text: &mut String) -> Option<()> {
    let width = entries.iter().filter_map(|entry| match entry {
        Entry::Comment(_) => None,
        Entry::Pair(key, _) => Some(quoted_key(key).len()),
    });
    let width = width.max().unwrap_or(0);
    let mut header = Some(format!("[{name}]\n"));
    if first && name.eq_ignore_ascii_case(DEFAULT_SECTION) && !matches!(entries.first(), Some(Entry::Comment(_))) {
        header = None;
    }
    // A comment stands behind its key in the tree and above it in the file.
    let mut pair: Option<Text> = None;
    for entry in entries {
        match entry {
            Entry::Comment(comment) => {
                let lines = comment.text.split('\n').filter(|line| !line.trim().is_empty());
                for (place, line) in lines.enumerate() {
                    push_comment(line, place == 0, text);
                }
                if let Some(header) = header.take() {
                    text.push_str(&header);
                }
                if let Some(pair) = pair.take() {
                    text.push_str(&pair);
                }
            }
            Entry::Pair(key, node) => {
                if let Some(header) = header.take() {
                    text.push_str(&header);
                }
                if let Some(pair) = pair.take() {
                    text.push_str(&pair);
                }
                let key = quoted_key(key);
                pair = Some(Zeroizing::new(format!(
                    "{key}{} = {}\n",
                    " ".repeat(width - key.len()),
                    value(node)?.as_str()
                )));
            }
        }
    }
    for rest in [header.map(Zeroizing::new), pair].into_iter().flatten() {
        text.push_str(&rest);
    }
    Some(())
}

/// A line of a comment. A reader takes the signs before the first line away, all of one kind, and leaves those of the others:
/// a first line that begins with one of its own stands behind the other one. (`sops` writes it as it is, and loses it.)
fn push_comment(line: &str, is_first: bool, text: &mut String) {
    let line = line.trim();
    let (sign, rest) = match (line.chars().next(), is_first) {
        (Some(';'), true) => ("#", line),
        (Some('#'), false) => ("#", line.strip_prefix('#').unwrap_or(line)),
        (Some(';'), false) => (";", line.strip_prefix(';').unwrap_or(line)),
        (_, _) => (";", line),
    };
    for part in [sign, " ", rest.trim(), "\n"] {
        text.push_str(part);
    }
}

fn quoted_key(key: &str) -> String {
    if key.contains(['"', '=', ':']) {
        format!("`{key}`")
    } else if key.contains('`') {
        format!("\"\"\"{key}\"\"\"")
    } else {
        key.to_owned()
    }
}

/// What stands after the `=`.
pub(super) fn value(node: &Node) -> Option<Text> {
    let text = flat_text(node)?;
    Some(Zeroizing::new(if text.contains(['\n', '`']) {
        format!("\"\"\"{text}\"\"\"")
    } else if text.contains(['#', ';']) || text.ends_with('\\') || begins_and_ends_quoted(text) {
        format!("`{text}`")
    } else if text.trim().len() != text.len() {
        format!("\"{text}\"")
    } else {
        text.to_owned()
    }))
}

/// Whether a reader would take quotes for the value's bounds. (`sops` itself writes such values bare and loses the quotes.)
fn begins_and_ends_quoted(text: &str) -> bool {
    text.starts_with(['\'', '"'])
}
