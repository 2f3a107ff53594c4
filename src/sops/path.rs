//! Where a value is: keys of maps and places in lists, and the changes of a tree in such a place.

use std::fmt;

use super::compare::same;
use super::error::{Error, shown};
use super::tree::{self, Entry, Item, Map, Node};

/// The way from the root of a document to a value.
///
/// ```
/// use atmos_secrets::sops::Path;
///
/// let path = Path::key("database").then("users").at(2).then("password");
/// assert_eq!(path.to_string(), "database.users[2].password");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Place(usize),
}

impl Path {
    /// The value of a top-level key.
    #[must_use]
    pub fn key(name: impl Into<String>) -> Self {
        Self(vec![Step::Key(name.into())])
    }

    /// The value of a key in the map here.
    #[must_use]
    pub fn then(mut self, name: impl Into<String>) -> Self {
        self.0.push(Step::Key(name.into()));
        self
    }

    /// The element of the list here, counted from 0; comments do not count.
    #[must_use]
    pub fn at(mut self, place: usize) -> Self {
        self.0.push(Step::Place(place));
        self
    }

    /// The keys on the way, without places.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Place(_) => None,
        })
    }

    /// How many steps the way has.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// The key that is the whole way, if it is one.
    pub(super) fn single_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Key(key)] => Some(key),
            _ => None,
        }
    }

    /// The node there, if any.
    pub(super) fn find<'a>(&self, document: &'a Map) -> Option<&'a Node> {
        let (first, rest) = self.0.split_first()?;
        let Step::Key(first) = first else { return None };
        rest.iter().try_fold(tree::get(document, first)?, |node, step| match (step, node) {
            (Step::Key(key), Node::Map(map)) => tree::get(map, key),
            (Step::Place(place), Node::List(items)) => items.iter().filter_map(value).nth(*place),
            (Step::Key(_) | Step::Place(_), Node::Map(_) | Node::List(_) | Node::Scalar(_) | Node::Null) => None,
        })
    }

    /// Puts `value` there, and the maps that are missing on the way; a list grows by one at its end. Says whether that
    /// changed anything.
    pub(super) fn set(&self, document: &mut Map, value: Node) -> Result<bool, Error> {
        match self.0.split_first() {
            Some((Step::Key(key), rest)) => self.set_in_map(document, key, rest, value),
            Some((Step::Place(_), _)) | None => Err(self.bad("the root of a document is a map")),
        }
    }

    fn set_in_map(&self, map: &mut Map, key: &str, rest: &[Step], value: Node) -> Result<bool, Error> {
        let found = map.iter_mut().find_map(|entry| match entry {
            Entry::Pair(name, node) if name == key => Some(node),
            Entry::Pair(..) | Entry::Comment(_) => None,
        });
        match found {
            Some(node) => self.set_in(node, rest, value),
            None => {
                let mut node = Node::Null;
                self.set_in(&mut node, rest, value)?;
                map.push(Entry::Pair(key.to_owned(), node));
                Ok(true)
            }
        }
    }

    fn set_in(&self, node: &mut Node, steps: &[Step], value: Node) -> Result<bool, Error> {
        let Some((step, rest)) = steps.split_first() else {
            // What is the same keeps its sealed text.
            let changed = !same(node, &value);
            if changed {
                *node = value;
            }
            return Ok(changed);
        };
        if matches!(node, Node::Null) {
            // Put together aside: what is refused further down the way has changed nothing.
            let mut made = match step {
                Step::Key(_) => Node::Map(Map::new()),
                Step::Place(_) => Node::List(Vec::new()),
            };
            let changed = self.set_in(&mut made, steps, value)?;
            *node = made;
            return Ok(changed);
        }
        match (step, node) {
            (Step::Key(key), Node::Map(map)) => self.set_in_map(map, key, rest, value),
            (Step::Place(place), Node::List(items)) => {
                let count = items.iter().filter_map(self::value).count();
                if *place > count {
                    return Err(self.bad("the list is shorter than that"));
                }
                if *place == count {
                    let mut node = Node::Null;
                    self.set_in(&mut node, rest, value)?;
                    items.push(Item::Value(node));
                    return Ok(true);
                }
                match items.iter_mut().filter_map(value_mut).nth(*place) {
                    Some(node) => self.set_in(node, rest, value),
                    None => Err(self.bad("the list is shorter than that")),
                }
            }
            (Step::Key(_), Node::List(_) | Node::Scalar(_) | Node::Null) => {
                Err(self.bad("there is something else than a map on the way"))
            }
            (Step::Place(_), Node::Map(_) | Node::Scalar(_) | Node::Null) => {
                Err(self.bad("there is something else than a list on the way"))
            }
        }
    }

    /// Removes what is there. Says whether anything was.
    pub(super) fn unset(&self, document: &mut Map) -> bool {
        match self.0.split_first() {
            Some((Step::Key(key), rest)) => unset_in_map(document, key, rest),
            Some((Step::Place(_), _)) | None => false,
        }
    }

    pub(super) fn bad(&self, problem: &'static str) -> Error {
        Error::BadPath { path: shown(&self.to_string()), problem }
    }
}

fn unset_in_map(map: &mut Map, key: &str, rest: &[Step]) -> bool {
    if rest.is_empty() {
        return tree::remove(map, key).is_some();
    }
    map.iter_mut().any(|entry| match entry {
        Entry::Pair(name, node) if name == key => unset_in(node, rest),
        Entry::Pair(..) | Entry::Comment(_) => false,
    })
}

fn unset_in(node: &mut Node, steps: &[Step]) -> bool {
    match (steps.split_first(), node) {
        (Some((Step::Key(key), rest)), Node::Map(map)) => unset_in_map(map, key, rest),
        (Some((Step::Place(place), rest)), Node::List(items)) => {
            if !rest.is_empty() {
                return items.iter_mut().filter_map(value_mut).nth(*place).is_some_and(|node| unset_in(node, rest));
            }
            let values = items.iter().enumerate().filter(|(_, item)| value(item).is_some());
            let Some(index) = values.map(|(index, _)| index).nth(*place) else { return false };
            items.remove(index);
            true
        }
        (
            Some((Step::Key(_) | Step::Place(_), _)) | None,
            Node::Map(_) | Node::List(_) | Node::Scalar(_) | Node::Null,
        ) => false,
    }
}

fn value(item: &Item) -> Option<&Node> {
    match item {
        Item::Value(node) => Some(node),
        Item::Comment(_) => None,
    }
}

fn value_mut(item: &mut Item) -> Option<&mut Node> {
    match item {
        Item::Value(node) => Some(node),
        Item::Comment(_) => None,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => write!(formatter, "{}{key}", if index > 0 { "." } else { "" })?,
                Step::Place(place) => write!(formatter, "[{place}]")?,
            }
        }
        Ok(())
    }
}
