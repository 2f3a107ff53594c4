//! YAML into the tree: documents, comments where `sops` puts them, aliases expanded within the budget.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{ErrorKind, Event, Parser, Placement, ScalarStyle, ScanError, Span, StructureStyle, Tag};
use zeroize::Zeroizing;

use super::BYTE_ORDER_MARK;
use crate::sops::error::Error;
use crate::sops::format::Format;
use crate::sops::limits::{Budget, Limits};
use crate::sops::scalar::{canonical_float, resolve_plain};
use crate::sops::tree::{Builder, Comment, Kind, Map, Node, Scalar};
use crate::value::SecretValue;

const FORMAT: Format = Format::Yaml;
const CORE_TAGS: &str = "tag:yaml.org,2002:";

/// Reads every document of a YAML stream.
///
/// Keys are read by their text (numbers: in decimal), so `1: x` and `"1": x` are the same key. A merge key (`<<`) is a key like any other, as
/// it is to `sops`.
///
/// # Errors
/// Not YAML, a document that is not a map, a key twice, a tag of one's own, or a limit passed.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Vec<Map>, Error> {
    let budget = Budget::for_file(text.as_bytes(), limits)?;
    let options = granit_parser::options! {
        // Both are bounded by the size of the file; the defaults (96 comment lines in a row) refuse real files.
        max_buffered_comment_events: limits.file_bytes,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = Reader {
        builder: Builder::new(FORMAT, budget),
        columns: Vec::new(),
        anchors: HashMap::new(),
        open_anchors: Vec::new(),
        pending: Vec::new(),
        value_ended_at_line: None,
        documents: Vec::new(),
        root: None,
    };
    for step in Parser::new_from_str_with_options(text, options) {
        let (event, span) = step.map_err(|error| reader.unparsable(&error))?;
        reader.take(event, span)?;
    }
    Ok(reader.documents)
}

struct Reader<'a> {
    builder: Builder<'a>,
    /// The column of each open map or list; none for flow style, where indentation says nothing.
    columns: Vec<Option<usize>>,
    /// Copies of the anchored nodes of the document.
    anchors: HashMap<usize, Node>,
    /// The anchor of each open map or list, 0 for none.
    open_anchors: Vec<usize>,
    /// Comments on lines of their own that are not placed yet: their map or list may end, or the next may begin.
    pending: Vec<(Comment, usize)>,
    /// Where the last value ended, to see whether a comment stands right of it.
    value_ended_at_line: Option<usize>,
    documents: Vec<Map>,
    root: Option<Node>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Error> {
        let line = span.start.line();
        match event {
            Event::StreamStart | Event::StreamEnd | Event::Anchor(..) => Ok(()),
            Event::DocumentStart(..) => {
                self.value_ended_at_line = None;
                self.root = None;
                Ok(())
            }
            Event::DocumentEnd => self.end_document(line),
            Event::Comment(text, placement) => {
                let comment = Comment::new(text.trim_end_matches('\r').to_owned());
                self.comment(comment, placement, line, span.start.col())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(text.into_owned(), style, tag.as_deref(), line)?;
                self.builder.budget.spend(text_length(&node))?;
                self.remember(anchor, &node, line)?;
                self.scalar_or_alias(node, line, span.end.line())
            }
            Event::Alias(anchor) => {
                let levels = self.builder.depth();
                let node = self.anchors.get(&anchor).ok_or(Error::Unparsable {
                    format: FORMAT,
                    line,
                    problem: "an alias stands inside what it refers to",
                })?;
                let node = node.duplicate(&mut self.builder.budget, levels, line)?;
                self.scalar_or_alias(node, line, span.end.line())
            }
            Event::UnresolvedAlias(_) => {
                Err(Error::Unparsable { format: FORMAT, line, problem: "an alias refers to no anchor" })
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.begin(style, anchor, tag.as_deref(), "seq", span)?;
                self.builder.open_list(line)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.begin(style, anchor, tag.as_deref(), "map", span)?;
                self.builder.open_map(line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.place_pending_inside()?;
                let node = self.builder.close(line)?;
                self.columns.pop();
                let anchor = self.open_anchors.pop().unwrap_or(0);
                self.remember(anchor, &node, line)?;
                self.attach(node, line, span.end.line())
            }
            // The parser's list of events is open; what it may add must not be lost unseen.
            _ => Err(Error::Unsupported { what: "a part of YAML that is not known", line }),
        }
    }

    fn begin(
        &mut self,
        style: StructureStyle,
        anchor: usize,
        tag: Option<&Tag>,
        expected: &str,
        span: Span,
    ) -> Result<(), Error> {
        let line = span.start.line();
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema_tag(expected)) {
            return Err(Error::Unsupported { what: "a tag on a map or list", line });
        }
        if self.builder.expects_key() {
            return Err(Error::Unsupported { what: "a map or list as the key of a map", line });
        }
        // Comments above the value of a pair belong into the map or list that begins here.
        if !self.builder.expects_value() && self.builder.depth() > 0 {
            self.place_pending()?;
        }
        self.columns.push(match style {
            StructureStyle::Block => Some(span.start.col()),
            StructureStyle::Flow => None,
        });
        self.open_anchors.push(anchor);
        self.value_ended_at_line = None;
        Ok(())
    }

    fn scalar_or_alias(&mut self, node: Node, line: usize, end_line: usize) -> Result<(), Error> {
        self.place_pending()?;
        if self.builder.expects_key() {
            self.value_ended_at_line = None;
            return match node {
                Node::Null => self.builder.key("null".to_owned(), line),
                Node::Scalar(scalar) => match scalar.as_str() {
                    Some(key) => self.builder.key(key.to_owned(), line),
                    None => Err(Error::Unsupported { what: "a key that is not text", line }),
                },
                Node::List(_) | Node::Map(_) => {
                    Err(Error::Unsupported { what: "a map or list as the key of a map", line })
                }
            };
        }
        self.attach(node, line, end_line)
    }

    fn attach(&mut self, node: Node, line: usize, end_line: usize) -> Result<(), Error> {
        if let Some(root) = self.builder.attach(node, line)? {
            self.root = Some(root);
        }
        self.value_ended_at_line = Some(end_line);
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, line: usize) -> Result<(), Error> {
        if anchor != 0 {
            let copy = node.duplicate(&mut self.builder.budget, 0, line)?;
            self.anchors.insert(anchor, copy);
        }
        Ok(())
    }

    fn comment(&mut self, comment: Comment, placement: Placement, line: usize, column: usize) -> Result<(), Error> {
        match placement {
            Placement::Right if self.value_ended_at_line == Some(line) => self.builder.comment_on_last(comment),
            // Right of a key whose value follows on other lines: above that pair.
            Placement::Right if self.builder.depth() > 0 => self.builder.comment(comment),
            // Placement is a hint; every other one is a line of its own.
            _ => {
                self.pending.push((comment, column));
                Ok(())
            }
        }
    }

    /// Puts the waiting comments before what comes next in the innermost map or list.
    fn place_pending(&mut self) -> Result<(), Error> {
        for (comment, _) in std::mem::take(&mut self.pending) {
            self.builder.comment(comment)?;
        }
        Ok(())
    }

    /// The innermost map or list ends: the waiting comments that are indented as far as it is are its last ones.
    fn place_pending_inside(&mut self) -> Result<(), Error> {
        let column = self.columns.last().copied().flatten().unwrap_or(0);
        let outside = self.pending.iter().position(|(_, position)| *position < column).unwrap_or(self.pending.len());
        let outside = self.pending.split_off(outside);
        for (comment, _) in std::mem::replace(&mut self.pending, outside) {
            self.builder.comment(comment)?;
        }
        Ok(())
    }

    fn end_document(&mut self, line: usize) -> Result<(), Error> {
        self.anchors.clear();
        match self.root.take() {
            Some(Node::Map(map)) => self.documents.push(map),
            Some(Node::Null) | None => self.documents.push(Map::new()),
            Some(Node::Scalar(_) | Node::List(_)) => {
                return Err(Error::Unparsable {
                    format: FORMAT,
                    line,
                    problem: "a SOPS file in YAML has a map at its root",
                });
            }
        }
        Ok(())
    }

    /// The parser's own message may quote the input: only its place and its kind of limit are taken over.
    fn unparsable(&self, error: &ScanError) -> Error {
        let line = error.marker().line();
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.builder.budget.too_deep(line);
        }
        Error::Unparsable { format: FORMAT, line, problem: "it is not valid YAML here, or ends too early" }
    }
}

fn text_length(node: &Node) -> usize {
    match node {
        Node::Scalar(scalar) => scalar.text.expose().len(),
        Node::Null | Node::List(_) | Node::Map(_) => 0,
    }
}

/// A scalar by its tag, or else by how it is written.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Node, Error> {
    let text = Zeroizing::new(text);
    let as_text = |text: &str| Node::Scalar(Scalar::new(Kind::Text, text.to_owned()));
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => resolve_plain(&text),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                as_text(&text)
            }
        });
    };
    if tag.parts() == ("!", "") || tag.parts() == ("", "!") {
        return Ok(as_text(&text));
    }
    let wanted = match tag.suffix_in_namespace(CORE_TAGS).as_deref() {
        // `sops` writes the text `<<` as `!!merge <<`.
        Some("str" | "merge") => return Ok(as_text(&text)),
        Some("binary") => return binary(&text, line),
        Some("null") => None,
        Some("int") => Some(Kind::Integer),
        Some("float") => Some(Kind::Float),
        Some("bool") => Some(Kind::Boolean),
        Some("timestamp") => Some(Kind::Time),
        Some(_) | None => return Err(Error::Unsupported { what: "a tag that is not one of YAML's own", line }),
    };
    let node = resolve_plain(&text);
    let found = match &node {
        Node::Scalar(scalar) => Some(scalar.kind),
        Node::Null | Node::List(_) | Node::Map(_) => None,
    };
    if found == wanted {
        return Ok(node);
    }
    // An integer is a float too.
    if let (Some(Kind::Float), Node::Scalar(scalar)) = (wanted, &node)
        && scalar.kind == Kind::Integer
        && let Some(float) = scalar.as_str().and_then(canonical_float)
    {
        return Ok(Node::Scalar(Scalar::new(Kind::Float, float)));
    }
    Err(Error::Unparsable { format: FORMAT, line, problem: "a value is not what its tag says" })
}

fn binary(text: &str, line: usize) -> Result<Node, Error> {
    let packed = Zeroizing::new(text.chars().filter(|character| !character.is_ascii_whitespace()).collect::<String>());
    let bytes = STANDARD.decode(packed.as_bytes()).map_err(|_| Error::Unparsable {
        format: FORMAT,
        line,
        problem: "a value tagged as binary is not base64",
    })?;
    // To SOPS this is text, which need not be UTF-8.
    Ok(Node::Scalar(Scalar::of(Kind::Text, SecretValue::new(bytes))))
}
