//! The tree that every format is read into: maps with their order, lists, comments, and scalars with their kind.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::error::Error;
use super::format::Format;
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

/// A comment.
#[derive(Clone)]
pub(super) struct Comment {
    /// The text after its `#`, leading blanks included. INI comments may have several lines, and have lost their blanks.
    pub(super) text: Zeroizing<String>,
    /// Whether it stands right of the value that follows it here, on the same line.
    pub(super) inline: bool,
    /// The encrypted text that it was opened from, for writing it back unchanged.
    pub(super) sealed: Option<String>,
}

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
    /// The encrypted text that it was opened from, for writing it back unchanged.
    pub(super) sealed: Option<String>,
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
        Self::of(kind, SecretValue::from(text))
    }

    pub(super) fn of(kind: Kind, text: SecretValue) -> Self {
        Self { kind, text, sealed: None }
    }

    /// A copy, which is sealed as this one is.
    pub(super) fn copy(&self) -> Self {
        let text = SecretValue::new(self.text.expose().to_vec());
        Self { kind: self.kind, text, sealed: self.sealed.clone() }
    }

    /// Whether both are the same value of the same kind.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text.equals(other.text.expose())
    }

    /// The text, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.text.expose()).ok()
    }
}

impl Node {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Node {
        Node::Scalar(Scalar::new(Kind::Text, text.into()))
    }

    /// A copy of what is bounded already.
    pub(super) fn copy(&self) -> Node {
        match self {
            Node::Null => Node::Null,
            Node::Scalar(scalar) => Node::Scalar(scalar.copy()),
            Node::List(items) => Node::List(
                items
                    .iter()
                    .map(|item| match item {
                        Item::Comment(comment) => Item::Comment(comment.clone()),
                        Item::Value(node) => Item::Value(node.copy()),
                    })
                    .collect(),
            ),
            Node::Map(map) => Node::Map(copy(map)),
        }
    }

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
                Ok(Node::Scalar(scalar.copy()))
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
    /// A comment on a line of its own.
    pub(super) fn new(text: String) -> Self {
        Self { text: Zeroizing::new(text), inline: false, sealed: None }
    }

    fn duplicate(&self, budget: &mut Budget<'_>) -> Result<Comment, Error> {
        budget.spend(self.text.len())?;
        Ok(self.clone())
    }
}

/// A copy of a map that is bounded already.
pub(super) fn copy(map: &Map) -> Map {
    map.iter()
        .map(|entry| match entry {
            Entry::Comment(comment) => Entry::Comment(comment.clone()),
            Entry::Pair(key, node) => Entry::Pair(key.clone(), node.copy()),
        })
        .collect()
}

/// The value of a key; none where the map has no such key.
pub(super) fn get<'a>(map: &'a Map, name: &str) -> Option<&'a Node> {
    map.iter().find_map(|entry| match entry {
        Entry::Pair(key, node) if key == name => Some(node),
        Entry::Pair(..) | Entry::Comment(_) => None,
    })
}

/// Replaces the value of a key, or appends the key with it.
pub(super) fn put(map: &mut Map, name: &str, value: Node) {
    for entry in map.iter_mut() {
        match entry {
            Entry::Pair(key, node) if key == name => {
                *node = value;
                return;
            }
            Entry::Pair(..) | Entry::Comment(_) => {}
        }
    }
    map.push(Entry::Pair(name.to_owned(), value));
}

/// Removes a key with the comments that stand right of its value.
pub(super) fn remove(map: &mut Map, name: &str) -> Option<Node> {
    let place = map.iter().position(|entry| matches!(entry, Entry::Pair(key, _) if key == name))?;
    let Entry::Pair(_, node) = map.remove(place) else { return None };
    let mut place = place;
    while let Some(before) = place.checked_sub(1)
        && matches!(map.get(before), Some(Entry::Comment(comment)) if comment.inline)
    {
        map.remove(before);
        place = before;
    }
    Some(node)
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
        self.budget.spend(comment.text.len())?;
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
        self.budget.spend(comment.text.len())?;
        let inline = |comment| Comment { inline: true, ..comment };
        match self.open.last_mut() {
            Some(Open::Map { entries, .. }) => match entries.last_mut() {
                Some(Entry::Pair(_, Node::List(items))) => items.insert(0, Item::Comment(comment)),
                Some(Entry::Pair(_, Node::Map(map))) => map.insert(0, Entry::Comment(comment)),
                Some(Entry::Pair(_, Node::Null | Node::Scalar(_)) | Entry::Comment(_)) | None => {
                    entries.insert(entries.len().saturating_sub(1), Entry::Comment(inline(comment)));
                }
            },
            Some(Open::List(items)) => items.insert(items.len().saturating_sub(1), Item::Comment(inline(comment))),
            None => {}
        }
        Ok(())
    }

    fn misplaced(&self, line: usize) -> Error {
        Error::Unparsable { format: self.format, line, problem: "a key without a value, or a value without a key" }
    }
}
