//! The walk over a plain tree: seals each value under its path, and feeds the MAC in the file's order.

use super::cipher::Cipher;
use super::decrypt::comment_additional_data;
use super::error::{Error, shown};
use super::mac::Mac;
use super::rules::{Position, Rule, Siblings};
use super::tree::{Comment, Entry, Item, Kind, Map, Node, Scalar};

/// What the walk makes: the encrypted documents and the MAC over their plaintexts.
pub(super) struct Sealed {
    pub(super) documents: Vec<Map>,
    pub(super) mac: Scalar,
}

/// Whether values that know their sealed text keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The data key is the same: what did not change stays as it is, byte for byte.
    Sealed,
    /// The data key is another one.
    Nothing,
}

/// Seals all documents.
///
/// # Errors
/// [`Error::Unwritable`] for a value or comment that `sops` could not read back, [`Error::NoRandomness`].
pub(super) fn encrypt(
    documents: &[Map],
    rule: &Rule,
    mac_only_encrypted: bool,
    cipher: &Cipher,
    reuse: Reuse,
) -> Result<Sealed, Error> {
    let mut walk = Walk {
        cipher,
        reuse,
        mac: Mac::new(mac_only_encrypted),
        additional_data: String::new(),
        shown_path: String::new(),
    };
    let documents: Result<Vec<Map>, Error> =
        documents.iter().map(|document| walk.map(document, rule.at_root())).collect();
    Ok(Sealed { documents: documents?, mac: Scalar::new(Kind::Text, walk.mac.finish().to_string()) })
}

struct Walk<'a> {
    cipher: &'a Cipher,
    reuse: Reuse,
    mac: Mac,
    /// The keys on the way, each followed by `:`. Lists add nothing.
    additional_data: String,
    /// The same with the places in lists, for messages.
    shown_path: String,
}

impl Walk<'_> {
    fn map(&mut self, entries: &Map, position: Position<'_>) -> Result<Map, Error> {
        let mut siblings = Siblings::default();
        let mut sealed = Map::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Comment(comment) => {
                    let (text, encrypted) = self.comment(comment, position, &mut siblings)?;
                    sealed.push(Entry::Comment(text));
                    self.check_mark(position, sealed.last(), encrypted)?;
                }
                Entry::Pair(key, node) => {
                    let before = (self.additional_data.len(), self.shown_path.len());
                    self.additional_data.push_str(key);
                    self.additional_data.push(':');
                    if !self.shown_path.is_empty() {
                        self.shown_path.push('.');
                    }
                    self.shown_path.push_str(key);
                    sealed.push(Entry::Pair(key.clone(), self.node(node, position.below(key, &siblings))?));
                    self.additional_data.truncate(before.0);
                    self.shown_path.truncate(before.1);
                    siblings = Siblings::default();
                }
            }
        }
        Ok(sealed)
    }

    fn list(&mut self, items: &[Item], position: Position<'_>) -> Result<Vec<Item>, Error> {
        let mut siblings = Siblings::default();
        let mut sealed = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item {
                Item::Comment(comment) => {
                    let marked = siblings.alone_mark_next(position);
                    let (comment, encrypted) = self.comment(comment, position, &mut siblings)?;
                    if !encrypted {
                        sealed.push(Item::Comment(comment));
                        continue;
                    }
                    // An element to `sops`, it ends the reach of the comments above it: the next value would not be marked.
                    if marked {
                        return Err(self.unwritable(
                            "a list has an encrypted comment below the comment that marks the next value: `sops` cannot read that back",
                        ));
                    }
                    // SOPS writes an encrypted comment of a list as an element.
                    sealed.push(Item::Value(Node::Scalar(Scalar::new(Kind::Text, comment.text.to_string()))));
                }
                Item::Value(node) => {
                    let before = self.shown_path.len();
                    self.shown_path.push_str(&format!("[{index}]"));
                    sealed.push(Item::Value(self.node(node, position.element(&siblings))?));
                    siblings = Siblings::default();
                    self.shown_path.truncate(before);
                }
            }
        }
        Ok(sealed)
    }

    fn node(&mut self, node: &Node, position: Position<'_>) -> Result<Node, Error> {
        Ok(match node {
            Node::Null => Node::Null,
            Node::List(items) => Node::List(self.list(items, position)?),
            Node::Map(entries) => Node::Map(self.map(entries, position)?),
            Node::Scalar(scalar) => {
                let encrypted = position.is_encrypted();
                // What another writer sealed stays as it is.
                let kept = encrypted && scalar.sealed.is_some() && self.reuse == Reuse::Sealed;
                if scalar.kind == Kind::Integer && !kept && !is_64_bits(scalar) {
                    return Err(self.unwritable(
                        "an integer that takes more than 64 bits cannot be read by `sops`: write it as text",
                    ));
                }
                self.mac.add(scalar, encrypted);
                Node::Scalar(if encrypted {
                    Scalar::new(Kind::Text, self.seal(scalar)?)
                } else {
                    Scalar { sealed: None, ..scalar.copy() }
                })
            }
        })
    }

    fn seal(&self, scalar: &Scalar) -> Result<String, Error> {
        match (&scalar.sealed, self.reuse) {
            (Some(sealed), Reuse::Sealed) => return Ok(sealed.clone()),
            (Some(_) | None, Reuse::Sealed | Reuse::Nothing) => {}
        }
        self.cipher.seal(scalar, &self.additional_data)
    }

    /// The comment as it is written, and whether that is encrypted.
    fn comment(
        &mut self,
        comment: &Comment,
        position: Position<'_>,
        siblings: &mut Siblings,
    ) -> Result<(Comment, bool), Error> {
        let open = |text| Comment { text, inline: comment.inline, sealed: None };
        if !position.comment(&comment.text, siblings) {
            return Ok((open(comment.text.clone()), false));
        }
        let text = match (&comment.sealed, self.reuse) {
            (Some(sealed), Reuse::Sealed) => sealed.clone(),
            (Some(_) | None, Reuse::Sealed | Reuse::Nothing) => {
                self.cipher.seal_comment(&comment.text, comment_additional_data(&self.additional_data))?
            }
        };
        // The empty one is not sealed, and in a list it must not become an empty element.
        let encrypted = !text.is_empty();
        Ok((open(text.into()), encrypted))
    }

    /// A reader sees the sealed text of a comment where we saw its words: it must not mark what the words did not.
    fn check_mark(&self, position: Position<'_>, written: Option<&Entry>, encrypted: bool) -> Result<(), Error> {
        match written {
            Some(Entry::Comment(comment)) if encrypted && position.mistakes(&comment.text) => Err(self.unwritable(
                "the rule for comments matches the text of an encrypted comment: choose another expression",
            )),
            Some(Entry::Comment(_) | Entry::Pair(..)) | None => Ok(()),
        }
    }

    fn unwritable(&self, problem: &'static str) -> Error {
        Error::Unwritable { path: shown(&self.shown_path), problem }
    }
}

fn is_64_bits(scalar: &Scalar) -> bool {
    scalar.as_str().is_some_and(|text| text.parse::<i64>().is_ok())
}
