//! Steps on text. What is no UTF-8 is refused, with the place of the first byte that is not.

use super::Failure;
use super::output::Output;
use crate::api::transform::Case;
use crate::model::document;
use crate::value::SecretValue;

pub(super) fn of(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| Failure::at(error.valid_up_to(), "is no UTF-8 text"))
}

/// Lines end with LF or CR LF; one at the very end begins no further line.
pub(super) fn join_lines(text: &str, separator: &str) -> Result<SecretValue, Failure> {
    joined(text.lines().map(str::as_bytes), separator, text.len())
}

pub(super) fn replace(text: &str, from: &str, to: &str) -> Result<SecretValue, Failure> {
    joined(text.split(from).map(str::as_bytes), to, text.len())
}

/// The items of a JSON list: strings as their text, everything else as it is written.
pub(super) fn join(value: &SecretValue, separator: &str) -> Result<SecretValue, Failure> {
    let items = document::items(value).map_err(Failure::Leaf)?;
    joined(items.iter().map(SecretValue::expose), separator, value.expose().len())
}

fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>, between: &str, size: usize) -> Result<SecretValue, Failure> {
    let mut output = Output::with_capacity(size);
    for (index, part) in parts.enumerate() {
        if index > 0 {
            output.push(between.as_bytes())?;
        }
        output.push(part)?;
    }
    Ok(output.into_value())
}

/// One part, or all as a JSON list of strings.
pub(super) fn split(text: &str, separator: &str, index: Option<i64>) -> Result<SecretValue, Failure> {
    if let Some(index) = index {
        let parts = text.split(separator).count();
        let place = document::position(index, parts);
        let part = place.and_then(|place| text.split(separator).nth(place));
        let part = part.ok_or(Failure::unfit("has no part of that index"))?;
        return Ok(SecretValue::new(part.as_bytes().to_vec()));
    }
    let mut output = Output::with_capacity(text.len());
    for (index, part) in text.split(separator).enumerate() {
        output.push(if index > 0 { b"," } else { b"[" })?;
        output.push(document::quoted(part).map_err(Failure::Leaf)?.as_bytes())?;
    }
    output.push(b"]")?;
    Ok(output.into_value())
}

/// Unicode's full mapping: one letter may become several.
pub(super) fn case(text: &str, case: Case) -> Result<SecretValue, Failure> {
    let mut output = Output::with_capacity(text.len());
    let mut push = |character: char| output.push(character.encode_utf8(&mut [0; 4]).as_bytes());
    match case {
        Case::Upper => text.chars().flat_map(char::to_uppercase).try_for_each(&mut push)?,
        Case::Lower => text.chars().flat_map(char::to_lowercase).try_for_each(&mut push)?,
    }
    Ok(output.into_value())
}

/// Characters `start..end`, cut at the ends of the text. A range with nothing in it is a mistake, not an empty secret.
pub(super) fn slice(text: &str, start: i64, end: Option<i64>) -> Result<SecretValue, Failure> {
    let length = text.chars().count();
    let clipped = |place: i64| match usize::try_from(place) {
        Ok(place) => place.min(length),
        Err(_) => length.saturating_sub(usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (clipped(start), end.map_or(length, clipped));
    if start >= end {
        return Err(Failure::unfit("has no character between `start` and `end`"));
    }
    let offset = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(offset, _)| offset);
    let part = text.get(offset(start)..offset(end)).unwrap_or_default();
    Ok(SecretValue::new(part.as_bytes().to_vec()))
}
