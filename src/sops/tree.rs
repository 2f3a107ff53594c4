//! The tree that every format is read into: maps with their order, lists, comments, and scalars with their kind.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::Format;
use super::error::Error;
use super::limits::Budget;
use crate::value::SecretValue;

/// One document: a map. (SOPS refuses documents that are lists or single values.)
pub(super) type Map = Vec<Entry>;

/// One line of a map, in the file's order.
pub(super) enum Entry {
    /// A comment, which may be encrypted, and which some rules look at.
    Comment(Comment),
    /// A key and its value. Keys are always in the clear.
    Pair(String, Node),
}

/// One line of a list, in the file's order.
pub(super) enum Item {
    /// See [`Entry::Comment`].
    Comment(Comment),
    /// An element.
    Value(Node),
}

/// The text of a comment after its `#`, leading blanks included.
pub(super) struct Comment(pub(super) Zeroizing<String>);

/// A value.
pub(super) enum Node {
    /// Stays null in an encrypted file and is no part of the MAC.
    Null,
    /// Everything that has a text.
    Scalar(Scalar),
    /// A list.
    List(Vec<Item>),
    /// A map.
    Map(Map),
}

/// A value with a text.
pub(super) struct Scalar {
    pub(super) kind: Kind,
    /// The text in the form that SOPS gives to the MAC, but for booleans, which are `true` and `false` here.
    pub(super) text: SecretValue,
}

/// What a scalar is. Numbers keep their text: SOPS computes nothing with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    Time,
    Bytes,
}

impl Scalar {
    pub(super) fn new(kind: Kind, text: String) -> Self {
        Self { kind, text: SecretValue::from(text) }
    }

    /// The text, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.text.expose()).ok()
    }
}

impl Node {
    /// A copy that is paid for, as an alias makes it. `levels` is the depth at which it is put.
    pub(super) fn duplicate(&self, budget: &mut Budget<'_>, levels: usize, line: usize) -> Result<Node, Error> {
        match self {
            Node::Null => {
                budget.spend(0)?;
                Ok(Node::Null)
            }
            Node::Scalar(scalar) => {
                let bytes = scalar.text.expose();
                budget.spend(bytes.len())?;
                Ok(Node::Scalar(Scalar { kind: scalar.kind, text: SecretValue::new(bytes.to_vec()) }))
            }
            Node::List(items) => {
                budget.check_depth(levels, line)?;
                budget.spend(0)?;
                let mut copy = Vec::new();
                for item in items {
                    copy.push(match item {
                        Item::Comment(comment) => Item::Comment(comment.duplicate(budget)?),
                        Item::Value(node) => Item::Value(node.duplicate(budget, levels + 1, line)?),
                    });
                }
                Ok(Node::List(copy))
            }
            Node::Map(entries) => {
                budget.check_depth(levels, line)?;
                budget.spend(0)?;
                let mut copy = Vec::new();
                for entry in entries {
                    copy.push(match entry {
                        Entry::Comment(comment) => Entry::Comment(comment.duplicate(budget)?),
                        Entry::Pair(key, node) => {
                            budget.spend(key.len())?;
                            Entry::Pair(key.clone(), node.duplicate(budget, levels + 1, line)?)
                        }
                    });
                }
                Ok(Node::Map(copy))
            }
        }
    }
}

impl Comment {
    fn duplicate(&self, budget: &mut Budget<'_>) -> Result<Comment, Error> {
        budget.spend(self.0.len())?;
        Ok(Comment(self.0.clone()))
    }
}

/// A map or list that is not closed yet.
enum Open {
    Map { entries: Map, keys: HashSet<String>, key: Option<String> },
    List(Vec<Item>),
}

/// Puts a tree together from the events of a parser, within a budget. Holds no recursion.
pub(super) struct Builder<'a> {
    format: Format,
    open: Vec<Open>,
    pub(super) budget: Budget<'a>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(format: Format, budget: Budget<'a>) -> Self {
        Self { format, open: Vec::new(), budget }
    }

    /// How many maps and lists are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the next node is the key of a pair.
    pub(super) fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    /// Whether the next node is the value of a pair.
    pub(super) fn expects_value(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: Some(_), .. }))
    }

    pub(super) fn open_map(&mut self, line: usize) -> Result<(), Error> {
        self.begin(Open::Map { entries: Map::new(), keys: HashSet::new(), key: None }, line)
    }

    pub(super) fn open_list(&mut self, line: usize) -> Result<(), Error> {
        self.begin(Open::List(Vec::new()), line)
    }

    fn begin(&mut self, open: Open, line: usize) -> Result<(), Error> {
        self.budget.check_depth(self.open.len(), line)?;
        self.budget.spend(0)?;
        self.open.push(open);
        Ok(())
    }

    /// The key of the next pair.
    pub(super) fn key(&mut self, name: String, line: usize) -> Result<(), Error> {
        self.budget.spend(name.len())?;
        match self.open.last_mut() {
            Some(Open::Map { keys, key: key @ None, .. }) => {
                if !keys.insert(name.clone()) {
                    return Err(Error::DuplicateKey { format: self.format, line });
                }
                *key = Some(name);
                Ok(())
            }
            Some(Open::Map { key: Some(_), .. } | Open::List(_)) | None => Err(self.misplaced(line)),
        }
    }

    /// Closes the innermost map or list and returns it; it is not attached yet.
    pub(super) fn close(&mut self, line: usize) -> Result<Node, Error> {
        match self.open.pop() {
            Some(Open::Map { entries, key: None, keys: _ }) => Ok(Node::Map(entries)),
            Some(Open::List(items)) => Ok(Node::List(items)),
            Some(Open::Map { key: Some(_), .. }) | None => Err(self.misplaced(line)),
        }
    }

    /// Attaches a finished value to the innermost map or list. Gives it back where none is open: it is the root.
    pub(super) fn attach(&mut self, node: Node, line: usize) -> Result<Option<Node>, Error> {
        match self.open.last_mut() {
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => {
                    entries.push(Entry::Pair(key, node));
                    Ok(None)
                }
                None => Err(self.misplaced(line)),
            },
            Some(Open::List(items)) => {
                items.push(Item::Value(node));
                Ok(None)
            }
            None => Ok(Some(node)),
        }
    }

    /// Adds a comment at the end of the innermost map or list; dropped where none is open.
    pub(super) fn comment(&mut self, comment: Comment) -> Result<(), Error> {
        self.budget.spend(comment.0.len())?;
        match self.open.last_mut() {
            Some(Open::Map { entries, .. }) => entries.push(Entry::Comment(comment)),
            Some(Open::List(items)) => items.push(Item::Comment(comment)),
            None => {}
        }
        Ok(())
    }

    /// Adds a comment that stands right of the last value: before that value, or inside it as its first line where it is
    /// a map or a list. This is where `sops` puts it.
    pub(super) fn comment_on_last(&mut self, comment: Comment) -> Result<(), Error> {
        self.budget.spend(comment.0.len())?;
        match self.open.last_mut() {
            Some(Open::Map { entries, .. }) => match entries.last_mut() {
                Some(Entry::Pair(_, Node::List(items))) => items.insert(0, Item::Comment(comment)),
                Some(Entry::Pair(_, Node::Map(map))) => map.insert(0, Entry::Comment(comment)),
                Some(Entry::Pair(_, Node::Null | Node::Scalar(_)) | Entry::Comment(_)) | None => {
                    entries.insert(entries.len().saturating_sub(1), Entry::Comment(comment));
                }
            },
            Some(Open::List(items)) => items.insert(items.len().saturating_sub(1), Item::Comment(comment)),
            None => {}
        }
        Ok(())
    }

    fn misplaced(&self, line: usize) -> Error {
        Error::Unparsable { format: self.format, line, problem: "a key without a value, or a value without a key" }
    }
}
