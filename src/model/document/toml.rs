//! Values of a TOML document. Scalars that are no strings keep the text that they have in the document.
//!
//! Source: <https://toml.io/en/v1.1.0>.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::{MAX_BYTES, Member, is_json_number, not_found, position, quoted};
use crate::model::path::{LeafError, Step};
use crate::value::SecretValue;

/// How deep a document may nest: brackets and, inside of each, dots of a key. The parser admits 80 of each kind, and 80
/// times 80 levels are too many for the stack of a thread where the tree is taken down.
const DEEPEST: usize = 128;

type Value<'i> = Spanned<DeValue<'i>>;

pub(super) fn leaf(text: &str, steps: &[Step]) -> Result<SecretValue, LeafError> {
    let root = parse(text)?;
    let mut found: Option<&Value<'_>> = None;
    for (depth, step) in steps.iter().enumerate() {
        let table = match found.map(Spanned::get_ref) {
            None => Some(&root),
            Some(DeValue::Table(table)) => Some(table),
            Some(_) => None,
        };
        let next = match (step, table, found.map(Spanned::get_ref)) {
            (Step::Name(name), Some(table), _) => table.get(name.as_str()),
            (Step::Index(index), None, Some(DeValue::Array(items))) => {
                position(*index, items.len()).and_then(|position| items.get(position))
            }
            (Step::Name(_) | Step::Index(_), _, _) => None,
        };
        let siblings = || match (step, table) {
            (Step::Name(_), Some(table)) => not_found(steps, depth, table.iter().map(|(name, _)| &**name.get_ref())),
            (Step::Name(_) | Step::Index(_), _) => not_found(steps, depth, std::iter::empty()),
        };
        found = Some(next.ok_or_else(siblings)?);
    }
    // A path has at least one step.
    found.map_or(Err(LeafError::NotStructured), |value| written(text, value))
}

/// See [`super::members`].
pub(super) fn members(text: &str) -> Result<Vec<Member>, LeafError> {
    let root = parse(text)?;
    let mut size = 0;
    let mut found = Vec::with_capacity(root.len());
    for (name, value) in &root {
        let value = written(text, value)?;
        size += value.expose().len();
        if size > MAX_BYTES {
            return Err(LeafError::TooLarge);
        }
        found.push((Zeroizing::new(name.get_ref().to_string()), value));
    }
    Ok(found)
}

fn parse(text: &str) -> Result<DeTable<'_>, LeafError> {
    if depth(text) > DEEPEST {
        return Err(LeafError::TooLarge);
    }
    // The parser's own words quote the text, so they are dropped.
    DeTable::parse(text).map(Spanned::into_inner).map_err(|_| LeafError::NotStructured)
}

/// A string's text, another scalar as it is written, a table or list as JSON.
fn written(document: &str, value: &Value<'_>) -> Result<SecretValue, LeafError> {
    match value.get_ref() {
        DeValue::String(text) => Ok(SecretValue::new(text.as_bytes().to_vec())),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Ok(SecretValue::new(source(document, value)?.as_bytes().to_vec()))
        }
        DeValue::Array(_) | DeValue::Table(_) => {
            let mut output = Zeroizing::new(String::new());
            write(&mut output, document, value)?;
            Ok(SecretValue::new(output.as_bytes().to_vec()))
        }
    }
}

/// Where a scalar stands in the document.
fn source<'d>(document: &'d str, value: &Value<'_>) -> Result<&'d str, LeafError> {
    document.get(value.span()).ok_or(LeafError::NotStructured)
}

/// Appends a value as JSON without white space.
fn write(output: &mut Zeroizing<String>, document: &str, value: &Value<'_>) -> Result<(), LeafError> {
    match value.get_ref() {
        DeValue::String(text) => output.push_str(&quoted(text)?),
        DeValue::Boolean(true) => output.push_str("true"),
        DeValue::Boolean(false) => output.push_str("false"),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => match source(document, value)? {
            number if is_json_number(number) => output.push_str(number),
            // What JSON cannot write as it stands (0x1f, 1_000, inf, dates) keeps its text in quotes.
            other => output.push_str(&quoted(other)?),
        },
        DeValue::Array(items) => {
            output.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                write(output, document, item)?;
            }
            output.push(']');
        }
        DeValue::Table(members) => {
            output.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                output.push_str(&quoted(name.get_ref())?);
                output.push(':');
                write(output, document, member)?;
            }
            output.push('}');
        }
    }
    match output.len() > MAX_BYTES {
        true => Err(LeafError::TooLarge),
        false => Ok(()),
    }
}

/// At least how deep the values of a document nest, the header of their table aside: open brackets and dots in the keys
/// that lead to them. Digits with a dot count as well, which is one too many at most.
fn depth(text: &str) -> usize {
    let (mut open, mut dots, mut deepest) = (Vec::new(), 0usize, 0usize);
    // Of the dots, those of the innermost key.
    let mut own = 0usize;
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' | b'\'' => rest = after_string(*byte, after),
            b'#' => rest = after_byte(b'\n', after, false),
            b'[' | b'{' => {
                open.push(own);
                own = 0;
            }
            b']' | b'}' => {
                dots = dots.saturating_sub(own);
                own = open.pop().unwrap_or(0);
            }
            b',' | b'\n' => {
                dots = dots.saturating_sub(own);
                own = 0;
            }
            b'.' => {
                dots += 1;
                own += 1;
            }
            _ => {}
        }
        deepest = deepest.max(open.len() + dots);
    }
    deepest
}

/// What follows a string whose first quote was read. One that is not closed ends with its line, or with the document.
fn after_string(quote: u8, text: &[u8]) -> &[u8] {
    let escapes = quote == b'"';
    let Some(mut rest) = text.strip_prefix(&[quote, quote]) else {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        let (line, below) = text.split_at(end);
        let in_line = after_byte(quote, line, escapes);
        return text.get(text.len() - below.len() - in_line.len()..).unwrap_or_default();
    };
    while !rest.is_empty() {
        rest = after_byte(quote, rest, escapes);
        if let Some(mut after) = rest.strip_prefix(&[quote, quote]) {
            // Up to two quotes may stand right before the three that close it.
            while let Some(more) = after.strip_prefix(&[quote]) {
                after = more;
            }
            return after;
        }
    }
    rest
}

/// What follows the next such byte, unless it is escaped; nothing if there is none.
fn after_byte(wanted: u8, text: &[u8], escapes: bool) -> &[u8] {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'\\' if escapes => after.get(1..).unwrap_or_default(),
            byte if *byte == wanted => return after,
            _ => after,
        };
    }
    rest
}
