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
use super::indents::Indents;
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
    /// The style of a new file, as `sops` takes the numbers of its configuration: Go's YAML knows 2 to 9 blanks, and takes
    /// 2 for any other number of them (`yaml_emitter_emit_stream_start` in `go.yaml.in/yaml/v3`).
    pub(super) fn of_new(format: Format, indents: Indents) -> Self {
        let Indents { yaml, json, binary } = indents;
        let style = Self::default();
        let of_json = |blanks: Option<usize>| blanks.map(|blanks| " ".repeat(blanks));
        match format {
            Format::Yaml => Self {
                yaml_indent: match yaml {
                    None | Some(0) => style.yaml_indent,
                    Some(blanks @ 2..=9) => blanks,
                    Some(_) => 2,
                },
                ..style
            },
            Format::Json => Self { json_indent: of_json(json).unwrap_or(style.json_indent), ..style },
            Format::Binary => Self { json_indent: of_json(binary).unwrap_or(style.json_indent), ..style },
            Format::Dotenv | Format::Ini => style,
        }
    }

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
