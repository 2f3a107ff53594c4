//! The tree into texts of each format, in the way in which `sops` writes them.
//!
//! Nothing here is trusted to be right: who writes a file reads it again and compares (see `write`).

mod dotenv;
mod ini;
mod json;
mod yaml;

use zeroize::Zeroizing;

pub(super) use self::yaml::Indent;
use super::format::Format;
use super::tree::{Comment, Entry, Map, Node};

/// A text that may hold values.
pub(super) type Text = Zeroizing<String>;

/// How a file is laid out where that is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Blanks of one level of YAML. `sops` writes 4.
    pub(super) yaml_indent: usize,
    /// One level of JSON. `sops` writes a tab.
    pub(super) json_indent: String,
    /// Whether lines end as on Windows.
    pub(super) windows: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { yaml_indent: 4, json_indent: "\t".to_owned(), windows: false }
    }
}

impl Style {
    /// A rendered text with the line ends of the file.
    pub(super) fn line_ends(&self, text: Text) -> Text {
        if self.windows { Zeroizing::new(text.replace('\n', "\r\n")) } else { text }
    }
}

/// A whole file; none where the format cannot hold it.
pub(super) fn file(format: Format, documents: &[Map], style: &Style) -> Option<Text> {
    let text = match format {
        Format::Yaml => yaml::file(documents, style),
        Format::Json | Format::Binary => json::file(documents, style)?,
        Format::Dotenv => dotenv::file(documents)?,
        Format::Ini => ini::file(documents)?,
    };
    Some(style.line_ends(text))
}

/// A value on one line, to stand where another one stood. `in_flow`: inside YAML's brackets. None where it needs more.
pub(super) fn on_one_line(format: Format, node: &Node, in_flow: bool) -> Option<Text> {
    match format {
        Format::Yaml => yaml::on_one_line(node, in_flow),
        Format::Json | Format::Binary => json::on_one_line(node),
        Format::Dotenv => dotenv::value(node),
        Format::Ini => ini::value(node),
    }
}

/// The lines of one pair, with what stands right of its value; none where the format has no such.
pub(super) fn lines(
    format: Format,
    key: &str,
    node: &Node,
    right: &[&Comment],
    at: Indent,
    style: &Style,
) -> Option<Text> {
    let text = match format {
        Format::Yaml => yaml::lines(key, node, right, at, style),
        Format::Dotenv => dotenv::line(key, node)?,
        Format::Json | Format::Binary | Format::Ini => return None,
    };
    Some(style.line_ends(text))
}

/// A pair of JSON, or without a key a value, whose own line stands `level` levels deep.
pub(super) fn json_at_level(key: Option<&str>, node: &Node, level: usize, style: &Style) -> Option<Text> {
    json::at_level(key, node, level, style).map(|text| style.line_ends(text))
}

/// The text of a scalar of a format that has no kinds.
fn flat_text(node: &Node) -> Option<&str> {
    match node {
        Node::Scalar(scalar) => scalar.as_str(),
        Node::Null | Node::List(_) | Node::Map(_) => None,
    }
}

/// The pairs of the first document and the comments, in order.
fn single(documents: &[Map]) -> Option<&[Entry]> {
    match documents {
        [document] => Some(document),
        _ => None,
    }
}
