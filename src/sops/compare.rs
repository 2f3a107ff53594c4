//! Whether two trees are the same: to the last comment, or in their values.

use super::tree::{Comment, Entry, Item, Kind, Map, Node};

/// Whether both hold the same values of the same kinds, the same keys and comments, in the same order.
pub(super) fn same(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Null, Node::Null) => true,
        (Node::Scalar(one), Node::Scalar(other)) => one.is(other),
        (Node::Map(one), Node::Map(other)) => same_map(one, other),
        (Node::List(one), Node::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|pair| match pair {
                    (Item::Comment(one), Item::Comment(other)) => same_comment(one, other),
                    (Item::Value(one), Item::Value(other)) => same(one, other),
                    (Item::Comment(_), Item::Value(_)) | (Item::Value(_), Item::Comment(_)) => false,
                })
        }
        (Node::Null | Node::Scalar(_) | Node::Map(_) | Node::List(_), _) => false,
    }
}

/// See [`same`].
pub(super) fn same_map(one: &Map, other: &Map) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Entry::Comment(one), Entry::Comment(other)) => same_comment(one, other),
            (Entry::Pair(key, one), Entry::Pair(other_key, other)) => key == other_key && same(one, other),
            (Entry::Comment(_), Entry::Pair(..)) | (Entry::Pair(..), Entry::Comment(_)) => false,
        })
}

/// Whether both say the same. Right of a value or above it makes no difference to any reader.
pub(super) fn same_comment(one: &Comment, other: &Comment) -> bool {
    one.text == other.text
}

/// Whether both have the same keys, and values with the same text, in the same order. Comments do not count, nor does
/// whether a text is a time: not every format knows them.
pub(super) fn same_values(one: &Map, other: &Map) -> bool {
    let pairs = |map: &Map| -> usize { map.iter().filter(|entry| matches!(entry, Entry::Pair(..))).count() };
    fn only_pairs(map: &Map) -> impl Iterator<Item = (&String, &Node)> {
        map.iter().filter_map(|entry| match entry {
            Entry::Comment(_) => None,
            Entry::Pair(key, node) => Some((key, node)),
        })
    }
    pairs(one) == pairs(other)
        && only_pairs(one)
            .zip(only_pairs(other))
            .all(|((key, one), (other_key, other))| key == other_key && same_value(one, other))
}

fn same_value(one: &Node, other: &Node) -> bool {
    fn only_values(items: &[Item]) -> impl Iterator<Item = &Node> {
        items.iter().filter_map(|item| match item {
            Item::Comment(_) => None,
            Item::Value(node) => Some(node),
        })
    }
    let is_text = |kind| matches!(kind, Kind::Text | Kind::Time | Kind::Bytes);
    match (one, other) {
        (Node::Null, Node::Null) => true,
        (Node::Scalar(one), Node::Scalar(other)) => {
            (one.kind == other.kind || (is_text(one.kind) && is_text(other.kind)))
                && one.text.equals(other.text.expose())
        }
        (Node::Map(one), Node::Map(other)) => same_values(one, other),
        (Node::List(one), Node::List(other)) => {
            only_values(one).count() == only_values(other).count()
                && only_values(one).zip(only_values(other)).all(|(one, other)| same_value(one, other))
        }
        (Node::Null | Node::Scalar(_) | Node::Map(_) | Node::List(_), _) => false,
    }
}
