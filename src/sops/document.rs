//! A decrypted file: its top-level names and their values as bytes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::path::Path;
use super::tree::{Entry, Item, Kind, Map, Node, Scalar};
use crate::value::SecretValue;

/// A decrypted file whose MAC was right.
///
/// A value is one top-level key of the (first) document. A YAML stream of several documents is decrypted and checked as a
/// whole, but only its first document has names.
pub struct Document {
    entries: Map,
    places: BTreeMap<String, usize>,
}

impl Document {
    pub(super) fn new(entries: Map) -> Self {
        let places = entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| match entry {
                Entry::Pair(_, Node::Null) | Entry::Comment(_) => None,
                Entry::Pair(key, Node::Scalar(_) | Node::List(_) | Node::Map(_)) => Some((key.clone(), place)),
            })
            .collect();
        Self { entries, places }
    }

    /// The value at a path; see [`Document::get`] for what its bytes are.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<SecretValue> {
        contents(path.find(&self.entries)?)
    }

    /// The top-level keys that have a value, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.entries)
    }

    /// The value of a top-level key; none where there is no such key or its value is null.
    ///
    /// - Text comes as it is, with its newlines at the end, and may be empty; `bytes` come as they are.
    /// - Integers and floats come as SOPS prints them before it encrypts: decimal, no exponent. Booleans are `true` and
    ///   `false`, times RFC 3339.
    /// - A map or a list comes as compact JSON: keys in the file's order, numbers with their text, times as text, bytes as
    ///   base64, infinities and NaN as text. Text that is not UTF-8 has U+FFFD where it is not, as in Go's JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SecretValue> {
        let Some(Entry::Pair(_, node)) = self.entries.get(*self.places.get(name)?) else { return None };
        contents(node)
    }
}

fn contents(node: &Node) -> Option<SecretValue> {
    match node {
        Node::Null => None,
        Node::Scalar(scalar) => Some(SecretValue::new(scalar.text.expose().to_vec())),
        Node::List(_) | Node::Map(_) => Some(rendered(node)),
    }
}

/// The keys of a document that have a value, in order. Null counts as none: SOPS leaves it in the clear.
pub(super) fn names(entries: &Map) -> impl Iterator<Item = &str> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Pair(_, Node::Null) | Entry::Comment(_) => None,
        Entry::Pair(key, Node::Scalar(_) | Node::List(_) | Node::Map(_)) => Some(key.as_str()),
    })
}

fn rendered(node: &Node) -> SecretValue {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut json = Zeroizing::new(Vec::with_capacity(upper_bound(node)));
    render(node, &mut json);
    SecretValue::new(std::mem::take(&mut *json))
}

/// Bytes that the JSON of a node takes at most: a byte of text becomes six at most (`\u0000`).
fn upper_bound(node: &Node) -> usize {
    const PUNCTUATION: usize = 4;
    let text = |length: usize| length * 6 + PUNCTUATION;
    match node {
        Node::Null => "null".len() + PUNCTUATION,
        Node::Scalar(scalar) => text(scalar.text.expose().len()),
        Node::List(items) => {
            let lengths = items.iter().map(|item| match item {
                Item::Comment(_) => 0,
                Item::Value(node) => upper_bound(node),
            });
            lengths.sum::<usize>() + PUNCTUATION
        }
        Node::Map(entries) => {
            let lengths = entries.iter().map(|entry| match entry {
                Entry::Comment(_) => 0,
                Entry::Pair(key, node) => text(key.len()) + upper_bound(node),
            });
            lengths.sum::<usize>() + PUNCTUATION
        }
    }
}

fn render(node: &Node, json: &mut Vec<u8>) {
    match node {
        Node::Null => json.extend_from_slice(b"null"),
        Node::Scalar(scalar) => render_scalar(scalar, json),
        Node::List(items) => {
            json.push(b'[');
            let values = items.iter().filter_map(|item| match item {
                Item::Comment(_) => None,
                Item::Value(node) => Some(node),
            });
            for (index, node) in values.enumerate() {
                if index > 0 {
                    json.push(b',');
                }
                render(node, json);
            }
            json.push(b']');
        }
        Node::Map(entries) => {
            json.push(b'{');
            let pairs = entries.iter().filter_map(|entry| match entry {
                Entry::Comment(_) => None,
                Entry::Pair(key, node) => Some((key, node)),
            });
            for (index, (key, node)) in pairs.enumerate() {
                if index > 0 {
                    json.push(b',');
                }
                render_text(key, json);
                json.push(b':');
                render(node, json);
            }
            json.push(b'}');
        }
    }
}

fn render_scalar(scalar: &Scalar, json: &mut Vec<u8>) {
    let bytes = scalar.text.expose();
    match scalar.kind {
        Kind::Float if matches!(bytes, b"NaN" | b"+Inf" | b"-Inf") => render_lossy(bytes, json),
        Kind::Integer | Kind::Float | Kind::Boolean => json.extend_from_slice(bytes),
        Kind::Text | Kind::Time => render_lossy(bytes, json),
        Kind::Bytes => render_text(&Zeroizing::new(STANDARD.encode(bytes)), json),
    }
}

fn render_lossy(bytes: &[u8], json: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => render_text(text, json),
        Err(_) => render_text(&Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()), json),
    }
}

fn render_text(text: &str, json: &mut Vec<u8>) {
    // Writing text into a Vec cannot fail.
    let _ = serde_json::to_writer(json, text);
}
