//! Metadata in formats that have no trees: `sops_age__list_0__map_recipient`, as dotenv and INI files hold it.
//!
//! See `stores/flatten.go` of the reference.

use std::collections::BTreeMap;

use super::error::{Error, shown};
use super::tree::{Entry, Item, Kind, Map, Node, Scalar};

/// What stands before every field in a dotenv file.
pub(super) const PREFIX: &str = "sops_";

const IN_MAP: &str = "__map_";
const IN_LIST: &str = "__list_";

/// Steps from the root to a field; the deepest that SOPS writes has 6 (a value of a KMS context in a key group).
const MOST_STEPS: usize = 16;

/// Takes the fields out of a dotenv file.
pub(super) fn take_prefixed(document: &mut Map) -> Map {
    let mut fields = Map::new();
    for entry in std::mem::take(document) {
        match entry {
            Entry::Pair(key, node) => match key.strip_prefix(PREFIX) {
                Some(field) => fields.push(Entry::Pair(field.to_owned(), node)),
                None => document.push(Entry::Pair(key, node)),
            },
            Entry::Comment(comment) => document.push(Entry::Comment(comment)),
        }
    }
    fields
}

/// The same fields with line ends for `\n`: INI files escape them.
pub(super) fn unescaped(fields: Map) -> Map {
    with_texts(fields, |text| text.replace("\\n", "\n"))
}

/// The same fields with `\n` for line ends.
pub(super) fn escaped(fields: Map) -> Map {
    with_texts(fields, |text| text.replace('\n', "\\n"))
}

fn with_texts(fields: Map, change: impl Fn(&str) -> String) -> Map {
    fields
        .into_iter()
        .map(|entry| match entry {
            Entry::Pair(key, Node::Scalar(scalar)) => match scalar.as_str() {
                Some(text) => Entry::Pair(key, Node::Scalar(Scalar::new(scalar.kind, change(text)))),
                None => Entry::Pair(key, Node::Scalar(scalar)),
            },
            other => other,
        })
        .collect()
}

/// A tree that is put together from paths.
enum Growing {
    Leaf(Node),
    Map(BTreeMap<String, Growing>),
    List(BTreeMap<usize, Growing>),
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Place(usize),
}

/// The tree behind flat fields. Maps are sorted by key.
///
/// # Errors
/// [`Error::BadMetadata`] where two fields contradict each other or a list has gaps.
pub(super) fn unflatten(fields: Map) -> Result<Map, Error> {
    let mut root = BTreeMap::new();
    for entry in fields {
        let Entry::Pair(path, node) = entry else { continue };
        let bad = |problem| Error::BadMetadata { field: shown(&path), problem };
        let steps = steps(&path).ok_or_else(|| bad("is not the path of a field"))?;
        let Some((Step::Key(first), rest)) = steps.split_first().map(|(first, rest)| (*first, rest)) else {
            return Err(bad("is not the path of a field"));
        };
        if !grow(&mut root, first.to_owned(), rest, node) {
            return Err(bad("contradicts another field"));
        }
    }
    finished_map(root, "")
}

/// Sets what is below `key`; false where something else is there.
fn grow<K: Ord>(level: &mut BTreeMap<K, Growing>, key: K, steps: &[Step<'_>], node: Node) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return match level.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Growing::Leaf(node));
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        };
    };
    match *step {
        Step::Key(name) => match level.entry(key).or_insert_with(|| Growing::Map(BTreeMap::new())) {
            Growing::Map(map) => grow(map, name.to_owned(), rest, node),
            Growing::Leaf(_) | Growing::List(_) => false,
        },
        Step::Place(place) => match level.entry(key).or_insert_with(|| Growing::List(BTreeMap::new())) {
            Growing::List(list) => grow(list, place, rest, node),
            Growing::Leaf(_) | Growing::Map(_) => false,
        },
    }
}

/// `path` is the map's own, with what joins a key to it.
fn finished_map(map: BTreeMap<String, Growing>, path: &str) -> Result<Map, Error> {
    let entry = |(key, value)| {
        let path = format!("{path}{key}");
        Ok(Entry::Pair(key, finished(value, &path)?))
    };
    map.into_iter().map(entry).collect()
}

fn finished(value: Growing, path: &str) -> Result<Node, Error> {
    Ok(match value {
        Growing::Leaf(node) => node,
        Growing::Map(map) => Node::Map(finished_map(map, &format!("{path}{IN_MAP}"))?),
        Growing::List(list) => {
            if list.keys().enumerate().any(|(expected, place)| expected != *place) {
                return Err(Error::BadMetadata {
                    field: shown(path),
                    problem: "has elements missing: its numbers do not count from 0 without gaps; restore the lines that were removed",
                });
            }
            let item = |(place, value)| Ok(Item::Value(finished(value, &format!("{path}{IN_LIST}{place}"))?));
            Node::List(list.into_iter().map(item).collect::<Result<_, Error>>()?)
        }
    })
}

/// A path taken apart; none where it is too long or a place is no number.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    let mut in_list = false;
    loop {
        let end = [rest.find(IN_MAP), rest.find(IN_LIST)].into_iter().flatten().min().unwrap_or(rest.len());
        let (token, after) = rest.split_at_checked(end)?;
        steps.push(if in_list {
            // Go would take `+1` and `01` too, which nothing writes.
            Step::Place(token.parse().ok()?)
        } else {
            Step::Key(token)
        });
        if after.is_empty() || steps.len() > MOST_STEPS {
            return (steps.len() <= MOST_STEPS).then_some(steps);
        }
        (rest, in_list) = match after.strip_prefix(IN_LIST) {
            Some(rest) => (rest, true),
            None => (after.strip_prefix(IN_MAP)?, false),
        };
    }
}

/// The flat fields of a tree, in its order. Nulls and what is empty have none.
pub(super) fn flatten(map: &Map, prefix: &str) -> Map {
    let mut fields = Map::new();
    descend_map(map, prefix, &mut fields);
    fields
}

fn descend_map(map: &Map, prefix: &str, fields: &mut Map) {
    for entry in map {
        match entry {
            Entry::Comment(_) => {}
            Entry::Pair(key, node) => descend(node, format!("{prefix}{key}"), fields),
        }
    }
}

fn descend(node: &Node, path: String, fields: &mut Map) {
    match node {
        Node::Null => {}
        Node::Scalar(scalar) => {
            let text = Scalar { kind: Kind::Text, ..scalar.copy() };
            fields.push(Entry::Pair(path, Node::Scalar(text)));
        }
        Node::Map(map) => descend_map(map, &format!("{path}{IN_MAP}"), fields),
        Node::List(items) => {
            let values = items.iter().filter_map(|item| match item {
                Item::Comment(_) => None,
                Item::Value(node) => Some(node),
            });
            for (place, node) in values.enumerate() {
                descend(node, format!("{path}{IN_LIST}{place}"), fields);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn fields(paths: &[&str]) -> Map {
        paths.iter().map(|path| Entry::Pair((*path).to_owned(), Node::text(*path))).collect()
    }

    #[test]
    fn what_is_flattened_comes_back() {
        let paths = [
            "age__list_0__map_enc",
            "age__list_0__map_recipient",
            "age__list_1__map_enc",
            "key_groups__list_0__map_kms__list_0__map_context__map_Env",
            "lastmodified",
            "odd__name",
        ];
        let tree = unflatten(fields(&paths)).unwrap();
        let again: Vec<String> = flatten(&tree, "")
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Pair(key, _) => Some(key),
                Entry::Comment(_) => None,
            })
            .collect();
        assert_eq!(again, paths);
    }

    #[test]
    fn contradictions_and_gaps_are_refused() {
        for paths in [
            vec!["a", "a"],
            vec!["a", "a__map_b"],
            vec!["a__map_b", "a"],
            vec!["a__list_0", "a__map_b"],
            vec!["a__list_1"],
            vec!["a__list_0", "a__list_2"],
            vec!["a__list_x"],
            vec!["a__list_-1"],
            vec!["a__list_99999999999999999999"],
        ] {
            assert!(matches!(unflatten(fields(&paths)), Err(Error::BadMetadata { .. })), "{paths:?}");
        }
        let deep = format!("a{}", IN_MAP.repeat(100_000));
        assert!(matches!(unflatten(fields(&[&deep])), Err(Error::BadMetadata { .. })));
    }
}
