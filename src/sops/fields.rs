//! Maps of the metadata and of creation rules, read field by field; an error names the field by its path.

use std::collections::BTreeMap;

use super::error::{Error, shown};
use super::tree::{self, Entry, Item, Kind, Map, Node};

/// The words of YAML 1.1 for truth, which Go's YAML takes where truth is asked for (`decode.go`, `scalar`).
const YES: [&str; 8] = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"];
const NO: [&str; 8] = ["n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// What is read. That decides about errors, merge keys and words.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The `sops` block of a file, where merge keys have no meaning and texts of some formats stand for truth.
    Metadata,
    /// A `.sops.yaml`.
    CreationRules,
}

/// A map with the path to it.
pub(super) struct Fields<'a> {
    origin: Origin,
    path: String,
    map: &'a Map,
}

impl<'a> Fields<'a> {
    /// The map at the root.
    pub(super) fn of(origin: Origin, map: &'a Map) -> Self {
        Self { origin, path: String::new(), map }
    }

    /// The map of the field `name`, which is at `place` of a list where it is one of several.
    pub(super) fn below(&self, name: &str, place: Option<usize>, map: &'a Map) -> Self {
        let place = place.map(|place| format!("[{place}]")).unwrap_or_default();
        Self { origin: self.origin, path: format!("{}{name}{place}.", self.path), map }
    }

    /// A field; of creation rules also one that a merge key brings: what stands in the map itself wins, then the first map
    /// merged.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let own = tree::get(self.map, name);
        match self.origin {
            Origin::Metadata => own,
            Origin::CreationRules => own.or_else(|| merged(self.map, name)),
        }
    }

    /// A field's text, whatever kind of scalar it is; none where it is missing or null.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self.get(name) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Scalar(scalar)) => match scalar.as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.bad(name, "is not text")),
            },
            Some(Node::List(_) | Node::Map(_)) => Err(self.bad(name, "is not a single value")),
        }
    }

    /// As [`Fields::text`]; none where it is empty, too.
    pub(super) fn filled(&self, name: &str) -> Result<Option<String>, Error> {
        self.text(name).map(|text| text.filter(|text| !text.is_empty()))
    }

    /// As [`Fields::text`]; empty where it is missing.
    pub(super) fn part(&self, name: &str) -> Result<String, Error> {
        self.text(name).map(Option::unwrap_or_default)
    }

    /// Whether a field says so; false where it is missing.
    pub(super) fn truth(&self, name: &str) -> Result<bool, Error> {
        let bad = || self.bad(name, "is neither true nor false");
        let scalar = match self.get(name) {
            None | Some(Node::Null) => return Ok(false),
            Some(Node::Scalar(scalar)) => scalar,
            Some(Node::List(_) | Node::Map(_)) => return Err(bad()),
        };
        let word = scalar.as_str().ok_or_else(bad)?;
        let (yes, no): (&[&str], &[&str]) = match (scalar.kind, self.origin) {
            (Kind::Boolean, Origin::Metadata | Origin::CreationRules) | (Kind::Text, Origin::Metadata) => {
                (&["true"], &["false"])
            }
            (Kind::Text, Origin::CreationRules) => (&YES, &NO),
            (Kind::Integer | Kind::Float | Kind::Time | Kind::Bytes, Origin::Metadata | Origin::CreationRules) => {
                return Err(bad());
            }
        };
        if yes.contains(&word) {
            return Ok(true);
        }
        if no.contains(&word) { Ok(false) } else { Err(bad()) }
    }

    /// A map of texts; empty where it is missing or null.
    pub(super) fn named_texts(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let map = match self.get(name) {
            None | Some(Node::Null) => return Ok(BTreeMap::new()),
            Some(Node::Map(map)) => map,
            Some(Node::Scalar(_) | Node::List(_)) => return Err(self.bad(name, "is not a map")),
        };
        let fields = self.below(name, None, map);
        let mut texts = BTreeMap::new();
        for entry in map {
            match entry {
                Entry::Comment(_) => {}
                Entry::Pair(key, _) => {
                    texts.insert(key.clone(), fields.part(key)?);
                }
            }
        }
        Ok(texts)
    }

    /// A list of texts; empty where it is missing or null.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let bad = || self.bad(name, "holds something that is not text");
        let mut texts = Vec::new();
        for node in self.values(name)? {
            match node {
                Node::Scalar(scalar) => texts.push(scalar.as_str().ok_or_else(bad)?.to_owned()),
                Node::Null | Node::List(_) | Node::Map(_) => return Err(bad()),
            }
        }
        Ok(texts)
    }

    /// Text with commas, or a list of texts, each of which may have commas too.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let texts = match self.get(name) {
            Some(Node::Scalar(_)) => self.text(name)?.into_iter().collect(),
            Some(Node::Null | Node::List(_) | Node::Map(_)) | None => self.texts(name)?,
        };
        let parts = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty());
        Ok(parts.map(str::to_owned).collect())
    }

    /// A list of maps; empty where it is missing or null.
    pub(super) fn maps(&self, name: &str) -> Result<Vec<Fields<'a>>, Error> {
        let mut maps = Vec::new();
        for node in self.values(name)? {
            match node {
                Node::Map(map) => maps.push(self.below(name, Some(maps.len()), map)),
                Node::Null | Node::Scalar(_) | Node::List(_) => {
                    return Err(self.bad(name, "holds something that is not a map"));
                }
            }
        }
        Ok(maps)
    }

    /// The values of a list, without its comments.
    fn values(&self, name: &str) -> Result<Vec<&'a Node>, Error> {
        match self.get(name) {
            None | Some(Node::Null) => Ok(Vec::new()),
            Some(Node::List(items)) => Ok(items
                .iter()
                .filter_map(|item| match item {
                    Item::Value(node) => Some(node),
                    Item::Comment(_) => None,
                })
                .collect()),
            Some(Node::Scalar(_) | Node::Map(_)) => Err(self.bad(name, "is not a list")),
        }
    }

    /// The map itself.
    pub(super) fn map(&self) -> &'a Map {
        self.map
    }

    /// The error about a field.
    pub(super) fn bad(&self, name: &str, problem: &'static str) -> Error {
        let field = shown(&format!("{}{name}", self.path));
        match self.origin {
            Origin::Metadata => Error::BadMetadata { field, problem },
            Origin::CreationRules => Error::BadCreationRules { field, problem },
        }
    }
}

/// The field that a merge key of the map brings.
fn merged<'a>(map: &'a Map, name: &str) -> Option<&'a Node> {
    let of = |map: &'a Map| Fields::of(Origin::CreationRules, map).get(name);
    match tree::get(map, "<<")? {
        Node::Map(map) => of(map),
        Node::List(items) => items.iter().find_map(|item| match item {
            Item::Value(Node::Map(map)) => of(map),
            Item::Value(Node::Null | Node::Scalar(_) | Node::List(_)) | Item::Comment(_) => None,
        }),
        Node::Null | Node::Scalar(_) => None,
    }
}
