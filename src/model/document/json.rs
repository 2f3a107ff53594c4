//! Slices of a text that is known to be valid JSON; `None` says that it was not.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{Member, not_found, position};
use crate::model::path::{LeafError, Step};
use crate::value::SecretValue;

pub(super) fn leaf(text: &str, steps: &[Step]) -> Result<SecretValue, LeafError> {
    let mut value = text;
    for (depth, step) in steps.iter().enumerate() {
        let children = children(value).ok_or(LeafError::NotStructured)?;
        value = match (step, children) {
            (Step::Name(name), Children::Object(members)) => {
                match members.iter().rfind(|(key, _)| key.as_str() == name) {
                    Some((_, value)) => value,
                    None => {
                        return Err(not_found(steps, depth, members.iter().map(|(key, _)| key.as_str())));
                    }
                }
            }
            (Step::Index(index), Children::Array(items)) => {
                match position(*index, items.len()).and_then(|position| items.get(position)) {
                    Some(value) => value,
                    None => return Err(not_found(steps, depth, std::iter::empty())),
                }
            }
            (Step::Name(_), Children::Array(_) | Children::None)
            | (Step::Index(_), Children::Object(_) | Children::None) => {
                return Err(not_found(steps, depth, std::iter::empty()));
            }
        };
    }
    written(value)
}

pub(super) fn members(text: &str) -> Result<Vec<Member>, LeafError> {
    let Some(Children::Object(members)) = children(text) else { return Err(LeafError::NotStructured) };
    // The last of equal names counts.
    let last: BTreeMap<&str, usize> =
        members.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    members
        .iter()
        .enumerate()
        .filter(|(place, (name, _))| last.get(name.as_str()) == Some(place))
        .map(|(_, (name, value))| Ok((name.clone(), written(value)?)))
        .collect()
}

pub(super) fn items(text: &str) -> Result<Vec<SecretValue>, LeafError> {
    match children(text) {
        Some(Children::Array(items)) => items.into_iter().map(written).collect(),
        Some(Children::Object(_) | Children::None) | None => Err(LeafError::NotStructured),
    }
}

/// A string's text, or any other value without white space.
fn written(value: &str) -> Result<SecretValue, LeafError> {
    match value.starts_with('"') {
        true => serde_json::from_str::<String>(value).map(SecretValue::from).map_err(|_| LeafError::NotStructured),
        false => Ok(SecretValue::from(compact(value))),
    }
}

enum Children<'a> {
    Object(Vec<(Zeroizing<String>, &'a str)>),
    Array(Vec<&'a str>),
    None,
}

fn children(value: &str) -> Option<Children<'_>> {
    if let Some(inside) = value.strip_prefix('{') {
        let mut members = Vec::new();
        let mut rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (key, tail) = rest.split_at_checked(value_length(rest)?)?;
            let tail = tail.trim_start().strip_prefix(':')?.trim_start();
            let (member, tail) = tail.split_at_checked(value_length(tail)?)?;
            members.push((Zeroizing::new(serde_json::from_str(key).ok()?), member));
            rest = after_comma(tail);
        }
        return Some(Children::Object(members));
    }
    if let Some(inside) = value.strip_prefix('[') {
        let mut items = Vec::new();
        let mut rest = inside.trim_start();
        while !rest.starts_with(']') {
            let (item, tail) = rest.split_at_checked(value_length(rest)?)?;
            items.push(item);
            rest = after_comma(tail);
        }
        return Some(Children::Array(items));
    }
    Some(Children::None)
}

fn after_comma(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix(',').unwrap_or(text).trim_start()
}

/// How many bytes the value at the start of `text` has.
fn value_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (index, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return (index > 0).then_some(index),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return (index > 0).then_some(index),
            _ => {}
        }
    }
    (depth == 0 && !in_string && !text.is_empty()).then_some(text.len())
}

/// The text without white space between its tokens.
fn compact(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if character == '"' {
            in_string = true;
        } else if character.is_ascii_whitespace() {
            continue;
        }
        result.push(character);
    }
    result
}
