//! The walk over an encrypted tree: opens each value under its path, and feeds the MAC in the file's order.

use zeroize::Zeroizing;

use super::cipher::{Cipher, NOT_SEALED, Opened};
use super::error::{Error, shown};
use super::mac::Mac;
use super::metadata::Metadata;
use super::rules::{Position, Siblings};
use super::tree::{Comment, Entry, Item, Kind, Map, Node, Scalar};
use crate::value::SecretValue;

/// Opens all documents and checks the MAC. What comes back has no `sops` block; what was sealed knows its sealed text.
///
/// # Errors
/// [`Error::DecryptFailed`] for the first value that does not open, [`Error::MacMissing`], [`Error::MacMismatch`].
pub(super) fn decrypt(documents: &[Map], metadata: &Metadata, data_key: &SecretValue) -> Result<Vec<Map>, Error> {
    let cipher = Cipher::of(data_key)?;
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
        Ok(Opened::Comment(_)) | Err(_) => return Err(Error::MacMismatch),
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
                Entry::Comment(comment) => {
                    plain.push(Entry::Comment(self.comment(comment, position, &mut siblings)));
                }
                Entry::Pair(key, node) => {
                    let before = (self.additional_data.len(), self.shown_path.len());
                    self.additional_data.push_str(key);
                    self.additional_data.push(':');
                    if !self.shown_path.is_empty() {
                        self.shown_path.push('.');
                    }
                    self.shown_path.push_str(key);
                    match self.node(node, position.below(key, &siblings))? {
                        Plain::Node(node) => plain.push(Entry::Pair(key.clone(), node)),
                        // A value that says it is a comment: no writer makes one, and no reader sees a value in it.
                        Plain::Comment(comment) => plain.push(Entry::Comment(comment)),
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
                Item::Comment(comment) => {
                    plain.push(Item::Comment(self.comment(comment, position, &mut siblings)));
                }
                Item::Value(node) => {
                    let before = self.shown_path.len();
                    self.shown_path.push_str(&format!("[{index}]"));
                    match self.node(node, position.element(&siblings))? {
                        Plain::Node(node) => {
                            plain.push(Item::Value(node));
                            siblings = Siblings::default();
                        }
                        Plain::Comment(comment) => plain.push(Item::Comment(comment)),
                    }
                    self.shown_path.truncate(before);
                }
            }
        }
        Ok(plain)
    }

    /// The plain value, or the comment that it turns out to be.
    fn node(&mut self, node: &Node, position: Position<'_>) -> Result<Plain, Error> {
        Ok(Plain::Node(match node {
            Node::Null => Node::Null,
            Node::List(items) => Node::List(self.list(items, position)?),
            Node::Map(entries) => Node::Map(self.map(entries, position)?),
            Node::Scalar(scalar) => {
                let encrypted = position.is_encrypted();
                let plain = if encrypted {
                    let (opened, sealed) = self.open(scalar)?;
                    match opened {
                        Opened::Scalar(plain) => Scalar { sealed, ..plain },
                        Opened::Comment(text) => return Ok(Plain::Comment(Comment { text, inline: false, sealed })),
                    }
                } else {
                    scalar.copy()
                };
                self.mac.add(&plain, encrypted);
                Node::Scalar(plain)
            }
        }))
    }

    fn open(&self, scalar: &Scalar) -> Result<(Opened, Option<String>), Error> {
        let failed = |problem| Error::DecryptFailed { path: shown(&self.shown_path), problem };
        let text = match (scalar.kind, scalar.as_str()) {
            (Kind::Text, Some(text)) => text,
            (Kind::Text | Kind::Integer | Kind::Float | Kind::Boolean | Kind::Time | Kind::Bytes, _) => {
                return Err(failed(NOT_SEALED));
            }
        };
        let opened = self.cipher.open(text, &self.additional_data).map_err(failed)?;
        Ok((opened, Some(text.to_owned())))
    }

    /// Comments are no part of the MAC, unless their encrypted text says that it is a value. One that does not open was
    /// never encrypted: older versions of SOPS left them as they were.
    fn comment(&mut self, comment: &Comment, position: Position<'_>, siblings: &mut Siblings) -> Comment {
        if !position.comment(&comment.text, siblings) || !comment.text.starts_with("ENC[") {
            return comment.clone();
        }
        let sealed = Some(comment.text.to_string());
        match self.cipher.open(&comment.text, comment_additional_data(&self.additional_data)) {
            Ok(Opened::Comment(text)) => Comment { text, inline: comment.inline, sealed },
            Ok(Opened::Scalar(value)) => {
                self.mac.add(&value, true);
                // It is sealed as a comment when it is written again, and then no part of the MAC any more.
                let text = Zeroizing::new(String::from_utf8_lossy(value.text.expose()).into_owned());
                Comment { text, inline: comment.inline, sealed: None }
            }
            // Encrypted, but not here: it stays as it is.
            Err(_) => Comment { text: comment.text.clone(), inline: comment.inline, sealed },
        }
    }
}

/// What a place in the tree opens to.
enum Plain {
    Node(Node),
    Comment(Comment),
}

/// A comment at the root has the empty path, which SOPS writes with its final colon too.
pub(super) fn comment_additional_data(path: &str) -> &str {
    if path.is_empty() { ":" } else { path }
}
