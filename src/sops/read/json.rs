//! JSON into the tree.

use json_event_parser::{JsonEvent, LowLevelJsonParser};
use zeroize::Zeroizing;

use crate::sops::error::Error;
use crate::sops::format::Format;
use crate::sops::limits::{Budget, Limits};
use crate::sops::scalar::{canonical_float, canonical_integer};
use crate::sops::tree::{Builder, Kind, Map, Node, Scalar};

/// Reads one JSON object. `format` is what messages call the file: a binary one is JSON too.
///
/// # Errors
/// Not JSON, not an object, anything after the object, a key twice, or a limit passed.
pub(super) fn read(text: &str, format: Format, limits: &Limits) -> Result<Map, Error> {
    const NOT_AN_OBJECT: &str = "a SOPS file in JSON is one object";
    // A list may be long; what is refused for what it begins with is refused at once.
    if text.trim_start().starts_with('[') {
        return Err(unparsable(format, 1, NOT_AN_OBJECT));
    }
    match root(text, format, limits)? {
        (Node::Map(map), _) => Ok(map),
        (Node::Null | Node::Scalar(_) | Node::List(_), line) => Err(unparsable(format, line, NOT_AN_OBJECT)),
    }
}

/// Reads one JSON value of any kind.
///
/// # Errors
/// As for a file.
pub(in crate::sops) fn value(text: &str, limits: &Limits) -> Result<Node, Error> {
    root(text, Format::Json, limits).map(|(node, _)| node)
}

/// The value, and the line where it ends.
fn root(text: &str, format: Format, limits: &Limits) -> Result<(Node, usize), Error> {
    let mut builder = Builder::new(format, Budget::for_file(text.as_bytes(), limits)?);
    let mut parser = LowLevelJsonParser::new();
    let mut rest = text.as_bytes();
    let mut line = 1;
    let mut root = None;
    loop {
        let step = parser.parse_next(rest, true);
        let (consumed, left) = rest.split_at_checked(step.consumed_bytes).unwrap_or((rest, &[]));
        line += consumed.iter().filter(|byte| **byte == b'\n').count();
        rest = left;
        let Some(event) = step.event else { continue };
        // The parser's own message quotes the input.
        let event = event.map_err(|_| unparsable(format, line, "it is not valid JSON here, or ends too early"))?;
        let node = match event {
            JsonEvent::StartObject => {
                builder.open_map(line)?;
                continue;
            }
            JsonEvent::StartArray => {
                builder.open_list(line)?;
                continue;
            }
            JsonEvent::ObjectKey(key) => {
                builder.key(key.into_owned(), line)?;
                continue;
            }
            JsonEvent::EndObject | JsonEvent::EndArray => builder.close(line)?,
            JsonEvent::Eof => break,
            JsonEvent::String(text) => scalar(&mut builder, Kind::Text, text.into_owned())?,
            JsonEvent::Number(text) => number(&mut builder, &Zeroizing::new(text.into_owned()), format, line)?,
            JsonEvent::Boolean(value) => scalar(&mut builder, Kind::Boolean, value.to_string())?,
            JsonEvent::Null => {
                builder.budget.spend(0)?;
                Node::Null
            }
        };
        if let Some(node) = builder.attach(node, line)? {
            root = Some(node);
        }
    }
    let root = root.ok_or_else(|| unparsable(format, line, "there is no value"))?;
    Ok((root, line))
}

fn unparsable(format: Format, line: usize, problem: &'static str) -> Error {
    Error::Unparsable { format, line, problem }
}

fn scalar(builder: &mut Builder<'_>, kind: Kind, text: String) -> Result<Node, Error> {
    builder.budget.spend(text.len())?;
    Ok(Node::Scalar(Scalar::new(kind, text)))
}

/// A number as SOPS keeps it: an integer while it fits 64 bits with a sign, else a float, whatever it looks like.
fn number(builder: &mut Builder<'_>, text: &str, format: Format, line: usize) -> Result<Node, Error> {
    if text.parse::<i64>().is_ok()
        && let Some(integer) = canonical_integer(text)
    {
        return scalar(builder, Kind::Integer, integer);
    }
    let float =
        canonical_float(text).ok_or_else(|| unparsable(format, line, "a number is too large for a 64-bit float"))?;
    scalar(builder, Kind::Float, float)
}
