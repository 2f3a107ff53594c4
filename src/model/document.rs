//! Takes leaves and members out of a JSON, YAML or TOML value, keeping the text of numbers exactly.
//!
//! serde data models turn `1.50` into `1.5` and cut long integers, so no format is read through one. A JSON value is
//! validated by `serde_json` and then sliced; a YAML value is built from parser events into a small tree that shares
//! what aliases repeat; of a TOML value the parser says where each scalar stands. What an alias bomb would expand to is
//! bounded in nodes and in bytes.

mod json;
mod toml;
mod yaml;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::model::path::{LeafError, Step, text_of};
use crate::value::SecretValue;

/// The largest value that is looked into, and the largest leaf: what a Secret holds at most.
pub(crate) const MAX_BYTES: usize = 1 << 20;

const MAX_SIBLINGS: usize = 5;
const MAX_SIBLING_CHARACTERS: usize = 64;

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As JSON if it is JSON, else as YAML. TOML is never guessed: many of its documents are YAML as well.
    Detected,
    Json,
    Yaml,
    Toml,
}

/// The text of a value, and what it is.
enum Document<'a> {
    /// Known to be valid, an object or an array.
    Json(&'a str),
    Yaml(&'a str),
    Toml(&'a str),
}

/// A member of an object: its name, and its value as [`leaf`] writes it.
pub(crate) type Member = (Zeroizing<String>, SecretValue);

/// See [`crate::model::path::Path::leaf`].
pub(crate) fn leaf(value: &SecretValue, format: Format, steps: &[Step]) -> Result<SecretValue, LeafError> {
    match read(value, format)? {
        Document::Json(text) => json::leaf(text, steps),
        Document::Yaml(text) => yaml::leaf(text, steps),
        Document::Toml(text) => toml::leaf(text, steps),
    }
}

/// The members at the top level of an object, each name once, in the order of the document. All together are not larger
/// than [`MAX_BYTES`].
pub(crate) fn members(value: &SecretValue, format: Format) -> Result<Vec<Member>, LeafError> {
    match read(value, format)? {
        Document::Json(text) => json::members(text),
        Document::Yaml(text) => yaml::members(text),
        Document::Toml(text) => toml::members(text),
    }
}

/// The items of a JSON array.
pub(crate) fn items(value: &SecretValue) -> Result<Vec<SecretValue>, LeafError> {
    match read(value, Format::Json)? {
        Document::Json(text) => json::items(text),
        Document::Yaml(_) | Document::Toml(_) => Err(LeafError::NotStructured),
    }
}

fn read(value: &SecretValue, format: Format) -> Result<Document<'_>, LeafError> {
    if value.expose().len() > MAX_BYTES {
        return Err(LeafError::TooLarge);
    }
    let text = std::str::from_utf8(value.expose()).map_err(|_| LeafError::NotStructured)?;
    let is_json = || text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok();
    match format {
        Format::Detected | Format::Json if is_json() => Ok(Document::Json(text.trim())),
        Format::Json => Err(LeafError::NotStructured),
        Format::Detected | Format::Yaml => Ok(Document::Yaml(text)),
        Format::Toml => Ok(Document::Toml(text)),
    }
}

/// A JSON string of a text.
pub(crate) fn quoted(text: &str) -> Result<Zeroizing<String>, LeafError> {
    serde_json::to_string(text).map(Zeroizing::new).map_err(|_| LeafError::NotStructured)
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && text.ends_with(|last: char| last.is_ascii_digit())
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn not_found<'a>(steps: &[Step], depth: usize, names: impl Iterator<Item = &'a str>) -> LeafError {
    let at = text_of(steps.get(..=depth).unwrap_or(steps));
    let cut = |name: &str| name.escape_debug().take(MAX_SIBLING_CHARACTERS).collect();
    LeafError::NotFound { at, siblings: names.take(MAX_SIBLINGS).map(cut).collect() }
}

/// The place in a sequence that an index means.
pub(crate) fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => (index < length).then_some(index),
        Err(_) => usize::try_from(index.unsigned_abs()).ok().and_then(|back| length.checked_sub(back)),
    }
}

#[cfg(test)]
mod tests;
