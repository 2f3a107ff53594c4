//! Walks down a JSON or YAML value to one leaf, keeping the text of numbers exactly.
//!
//! serde data models turn `1.50` into `1.5` and cut long integers, so neither format is read through one. A JSON value is
//! validated by `serde_json` and then sliced; a YAML value is built from parser events into a small tree that shares
//! what aliases repeat. What an alias bomb would expand to is bounded in nodes and in bytes.

mod json;
mod yaml;

use serde::de::IgnoredAny;

use crate::model::path::{LeafError, Step, text_of};
use crate::value::SecretValue;

/// The largest value that is looked into, and the largest leaf: what a Secret holds at most.
pub(crate) const MAX_BYTES: usize = 1 << 20;

const MAX_SIBLINGS: usize = 5;
const MAX_SIBLING_CHARACTERS: usize = 64;

/// See [`crate::model::path::Path::leaf`].
pub(crate) fn leaf(value: &SecretValue, steps: &[Step]) -> Result<SecretValue, LeafError> {
    if value.expose().len() > MAX_BYTES {
        return Err(LeafError::TooLarge);
    }
    let text = std::str::from_utf8(value.expose()).map_err(|_| LeafError::NotStructured)?;
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    if looks_like_json && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        json::leaf(text.trim(), steps)
    } else {
        yaml::leaf(text, steps)
    }
}

fn not_found<'a>(steps: &[Step], depth: usize, names: impl Iterator<Item = &'a str>) -> LeafError {
    let at = text_of(steps.get(..=depth).unwrap_or(steps));
    let cut = |name: &str| name.escape_debug().take(MAX_SIBLING_CHARACTERS).collect();
    LeafError::NotFound { at, siblings: names.take(MAX_SIBLINGS).map(cut).collect() }
}

/// The place in a sequence that an index means.
fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => (index < length).then_some(index),
        Err(_) => usize::try_from(index.unsigned_abs()).ok().and_then(|back| length.checked_sub(back)),
    }
}

#[cfg(test)]
mod tests;
