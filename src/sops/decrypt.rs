//! The walk over an encrypted tree: opens each value under its path, and feeds the MAC in the file's order.

use super::cipher::{Cipher, DATA_KEY_BYTES, NOT_SEALED, Opened};
use super::error::{Error, shown};
use super::mac::Mac;
use super::metadata::Metadata;
use super::rules::{Position, Siblings};
use super::tree::{Comment, Entry, Item, Kind, Map, Node, Scalar};
use crate::value::SecretValue;

/// Opens all documents and checks the MAC. What comes back has no comments and no `sops` block.
///
/// # Errors
/// [`Error::DecryptFailed`] for the first value that does not open, [`Error::MacMissing`], [`Error::MacMismatch`].
pub(super) fn decrypt(documents: &[Map], metadata: &Metadata, data_key: &SecretValue) -> Result<Vec<Map>, Error> {
    let cipher = Cipher::new(data_key).filter(|_| data_key.expose().len() == DATA_KEY_BYTES).ok_or_else(|| {
        Error::BadMetadata { field: "enc".to_owned(), problem: "does not hold a data key of 32 bytes" }
    })?;
    let sealed_mac = metadata.mac.as_deref().ok_or(Error::MacMissing)?;
    let mut walk = Walk {
        cipher: &cipher,
        mac: Mac::new(metadata.mac_only_encrypted),
        additional_data: String::new(),
        shown_path: String::new(),
    };
    let mut plain = Vec::with_capacity(documents.len());
    for document in documents {
        plain.push(walk.map(document, metadata.rule.at_root())?);
    }
    let expected = match cipher.open(sealed_mac, &metadata.last_modified) {
        Ok(Opened::Scalar(scalar)) => scalar.text,
        // The MAC is bound to `lastmodified`: a change of either shows here.
        Ok(Opened::Comment) | Err(_) => return Err(Error::MacMismatch),
    };
    if !expected.equals(walk.mac.finish().as_bytes()) {
        return Err(Error::MacMismatch);
    }
    Ok(plain)
}

struct Walk<'a> {
    cipher: &'a Cipher,
    mac: Mac,
    /// The keys on the way, each followed by `:`. Lists add nothing.
    additional_data: String,
    /// The same with the places in lists, for messages.
    shown_path: String,
}

impl Walk<'_> {
    fn map(&mut self, entries: &Map, position: Position<'_>) -> Result<Map, Error> {
        let mut siblings = Siblings::default();
        let mut plain = Map::new();
        for entry in entries {
            match entry {
                Entry::Comment(comment) => self.comment(comment, position, &mut siblings),
                Entry::Pair(key, node) => {
                    let before = (self.additional_data.len(), self.shown_path.len());
                    self.additional_data.push_str(key);
                    self.additional_data.push(':');
                    if !self.shown_path.is_empty() {
                        self.shown_path.push('.');
                    }
                    self.shown_path.push_str(key);
                    if let Some(node) = self.node(node, position.below(key, &siblings))? {
                        plain.push(Entry::Pair(key.clone(), node));
                    }
                    self.additional_data.truncate(before.0);
                    self.shown_path.truncate(before.1);
                    siblings = Siblings::default();
                }
            }
        }
        Ok(plain)
    }

    fn list(&mut self, items: &[Item], position: Position<'_>) -> Result<Vec<Item>, Error> {
        let mut siblings = Siblings::default();
        let mut plain = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Item::Comment(comment) => self.comment(comment, position, &mut siblings),
                Item::Value(node) => {
                    let before = self.shown_path.len();
                    self.shown_path.push_str(&format!("[{index}]"));
                    if let Some(node) = self.node(node, position.element(&siblings))? {
                        plain.push(Item::Value(node));
                        siblings = Siblings::default();
                    }
                    self.shown_path.truncate(before);
                }
            }
        }
        Ok(plain)
    }

    /// The plain value; none where it turns out to be a comment.
    fn node(&mut self, node: &Node, position: Position<'_>) -> Result<Option<Node>, Error> {
        match node {
            Node::Null => Ok(Some(Node::Null)),
            Node::List(items) => Ok(Some(Node::List(self.list(items, position)?))),
            Node::Map(entries) => Ok(Some(Node::Map(self.map(entries, position)?))),
            Node::Scalar(scalar) => {
                let encrypted = position.is_encrypted();
                let plain = if encrypted {
                    match self.open(scalar)? {
                        Opened::Scalar(plain) => plain,
                        Opened::Comment => return Ok(None),
                    }
                } else {
                    Scalar { kind: scalar.kind, text: SecretValue::new(scalar.text.expose().to_vec()) }
                };
                self.mac.add(&plain, encrypted);
                Ok(Some(Node::Scalar(plain)))
            }
        }
    }

    fn open(&self, scalar: &Scalar) -> Result<Opened, Error> {
        let failed = |problem| Error::DecryptFailed { path: shown(&self.shown_path), problem };
        let text = match (scalar.kind, scalar.as_str()) {
            (Kind::Text, Some(text)) => text,
            (Kind::Text | Kind::Integer | Kind::Float | Kind::Boolean | Kind::Time | Kind::Bytes, _) => {
                return Err(failed(NOT_SEALED));
            }
        };
        self.cipher.open(text, &self.additional_data).map_err(failed)
    }

    /// Comments are no part of the MAC, unless their encrypted text says that it is a value. One that does not open was
    /// never encrypted: older versions of SOPS left them as they were.
    fn comment(&mut self, comment: &Comment, position: Position<'_>, siblings: &mut Siblings) {
        if !position.comment(&comment.0, siblings) || !comment.0.starts_with("ENC[") {
            return;
        }
        // A comment at the root has the empty path, which SOPS writes with its final colon too.
        let additional_data = if self.additional_data.is_empty() { ":" } else { &self.additional_data };
        if let Ok(Opened::Scalar(value)) = self.cipher.open(&comment.0, additional_data) {
            self.mac.add(&value, true);
        }
    }
}
