//! What a target held before: the last good bytes of each of its keys, or of each name in its document.

use std::collections::BTreeMap;

use crate::model::format::{Contents, contents, document_key};
use crate::model::{Current, PlannedTarget};
use crate::value::SecretValue;

/// What the target holds under one key.
#[derive(Clone, Copy)]
pub(super) enum LastGood<'a> {
    /// Nothing.
    None,
    /// Bytes that are known to be ours.
    Bytes(&'a SecretValue),
    /// Bytes that somebody may have changed.
    Unverified,
}

/// What the target held.
pub(super) enum Before<'a> {
    /// There is no Secret, or no document in it.
    Nothing,
    /// A value under each key.
    Keys(&'a Current),
    /// A document that can be read.
    Document(BTreeMap<String, SecretValue>, bool),
    /// A document that cannot: what it holds for a name is not known.
    Unreadable,
}

impl<'a> Before<'a> {
    pub fn of(target: &PlannedTarget, current: Option<&'a Current>) -> Self {
        match current {
            None => Self::Nothing,
            Some(current) if document_key(target.format).is_none() => Self::Keys(current),
            Some(Current { data, verified }) => match contents(target.format, data) {
                Contents::None => Self::Nothing,
                Contents::Values(values) => Self::Document(values, *verified),
                Contents::Unreadable => Self::Unreadable,
            },
        }
    }

    /// The names that it held, of plain keys and in a document alike; `None` if they are not known.
    pub fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Nothing => Some(Vec::new()),
            Self::Keys(current) => Some(current.data.keys().map(String::as_str).collect()),
            Self::Document(values, _) => Some(values.keys().map(String::as_str).collect()),
            Self::Unreadable => None,
        }
    }

    pub fn last_good(&self, key: &str) -> LastGood<'_> {
        let (value, verified) = match self {
            Self::Nothing => return LastGood::None,
            Self::Unreadable => return LastGood::Unverified,
            Self::Keys(current) => (current.data.get(key), current.verified),
            Self::Document(values, verified) => (values.get(key), *verified),
        };
        match (value, verified) {
            (None, _) => LastGood::None,
            (Some(value), true) => LastGood::Bytes(value),
            (Some(_), false) => LastGood::Unverified,
        }
    }
}
