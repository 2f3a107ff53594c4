//! The tree into dotenv.

use zeroize::Zeroizing;

use super::{Text, flat_text, single};
use crate::sops::tree::{Entry, Map, Node};

/// A file of lines; none where a value is a map, a list, null, or not UTF-8.
pub(super) fn file(documents: &[Map]) -> Option<Text> {
    let mut text = Zeroizing::new(String::new());
    for entry in single(documents)? {
        match entry {
            Entry::Comment(comment) => {
                for line in comment.text.split('\n') {
                    text.push('#');
                    text.push_str(line);
                    text.push('\n');
                }
            }
            Entry::Pair(key, node) => text.push_str(&line(key, node)?),
        }
    }
    Some(text)
}

/// The line of one name.
pub(super) fn line(key: &str, node: &Node) -> Option<Text> {
    let value = value(node)?;
    Some(Zeroizing::new(format!("{key}={}\n", value.as_str())))
}

/// What stands after the `=`.
pub(super) fn value(node: &Node) -> Option<Text> {
    flat_text(node).map(|text| Zeroizing::new(text.replace('\n', "\\n")))
}
