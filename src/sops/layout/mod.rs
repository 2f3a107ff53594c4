//! Where the values of a text stand, and how a text is changed in those places only.
//!
//! Comparing two trees gives the edits; what cannot be edited in place (a reordered map, an alias) gives none, and the
//! caller writes the whole file. The result is read again by the caller, so a wrong guess here costs layout, never values.

mod flat;
mod json;
mod yaml;

use std::collections::HashSet;
use std::ops::Range;

use zeroize::Zeroizing;

use super::compare::{same, same_comment};
use super::emit::{self, Indent, Style, Text};
use super::format::Format;
use super::tree::{Comment, Entry, Item, Map, Node};

/// Where a node stands.
struct Place {
    range: Range<usize>,
    shape: Shape,
}

/// What can be done in a place.
enum Shape {
    /// A value on one line, which another one can replace.
    Scalar {
        in_flow: bool,
    },
    /// A value that cannot be replaced by itself.
    Fixed,
    List(Vec<Place>),
    Map(Vec<Pair>),
}

/// Where a pair stands.
struct Pair {
    value: Place,
    /// Where the pairs of its map stand.
    indent: Indent,
    /// The lines that hold this pair, and nothing else but a comment right of it; none where other things share them.
    lines: Option<Range<usize>>,
    /// Where the key begins, in JSON, which has signs between pairs instead of lines.
    key: Option<usize>,
}

/// Where the pairs stand that have no lines of their own.
const NOWHERE: Indent = Indent { column: 0, in_element: false };

struct Edit {
    range: Range<usize>,
    text: Text,
}

/// `source`, which holds `old`, changed so that it holds `new`; none where that takes more than edits.
pub(super) fn splice(format: Format, source: &str, old: &[Map], new: &[Map], style: &Style) -> Option<Text> {
    let places = match format {
        Format::Yaml => yaml::documents(source)?,
        Format::Json | Format::Binary => vec![json::document(source)?],
        Format::Dotenv => vec![flat::dotenv(source)],
        Format::Ini => vec![flat::ini(source)?],
    };
    if places.len() != old.len() || old.len() != new.len() {
        return None;
    }
    let mut splicer = Splicer { format, source, style, edits: Vec::new() };
    for ((old, new), place) in old.iter().zip(new).zip(&places) {
        splicer.map(old, new, place)?;
    }
    splicer.apply()
}

struct Splicer<'a> {
    format: Format,
    source: &'a str,
    style: &'a Style,
    edits: Vec<Edit>,
}

impl Splicer<'_> {
    fn apply(mut self) -> Option<Text> {
        self.edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut text = Zeroizing::new(String::with_capacity(self.source.len()));
        let mut from = 0;
        for edit in &self.edits {
            text.push_str(self.source.get(from..edit.range.start)?);
            text.push_str(&edit.text);
            from = edit.range.end;
        }
        text.push_str(self.source.get(from..)?);
        Some(text)
    }

    fn node(&mut self, old: &Node, new: &Node, place: &Place) -> Option<()> {
        if same(old, new) {
            return Some(());
        }
        match (old, new, &place.shape) {
            (Node::Map(old), Node::Map(new), Shape::Map(_)) => self.map(old, new, place),
            (Node::List(old), Node::List(new), Shape::List(places)) => self.list(old, new, places),
            (Node::Scalar(_) | Node::Null, Node::Scalar(_) | Node::Null, Shape::Scalar { in_flow }) => {
                let text = emit::on_one_line(self.format, new, *in_flow)?;
                self.edits.push(Edit { range: place.range.clone(), text });
                Some(())
            }
            (
                Node::Map(_) | Node::List(_) | Node::Scalar(_) | Node::Null,
                Node::Map(_) | Node::List(_) | Node::Scalar(_) | Node::Null,
                Shape::Scalar { .. } | Shape::Fixed | Shape::List(_) | Shape::Map(_),
            ) => None,
        }
    }

    fn list(&mut self, old: &[Item], new: &[Item], places: &[Place]) -> Option<()> {
        if old.len() != new.len() {
            return None;
        }
        let mut places = places.iter();
        for pair in old.iter().zip(new) {
            match pair {
                (Item::Comment(old), Item::Comment(new)) if same_comment(old, new) => {}
                (Item::Value(old), Item::Value(new)) => self.node(old, new, places.next()?)?,
                (Item::Comment(_), _) | (_, Item::Comment(_)) => return None,
            }
        }
        places.next().is_none().then_some(())
    }

    fn map(&mut self, old: &Map, new: &Map, place: &Place) -> Option<()> {
        let Shape::Map(places) = &place.shape else { return None };
        let mut old = Old { entries: old, keys: keys(old), next: 0, places, next_place: 0 };
        let mut right: Vec<&Comment> = Vec::new();
        let new_keys = keys(new);
        let is_in_new = |name: &str| new_keys.contains(name);
        for entry in new {
            self.remove(&mut old, is_in_new)?;
            match entry {
                Entry::Comment(comment) => {
                    match old.entries.get(old.next) {
                        Some(Entry::Comment(before)) if same_comment(before, comment) => old.next += 1,
                        Some(Entry::Comment(_) | Entry::Pair(..)) | None => return None,
                    }
                    if comment.inline { right.push(comment) } else { right.clear() }
                }
                Entry::Pair(key, node) => {
                    self.pair(&mut old, key, node, &right)?;
                    right.clear();
                }
            }
        }
        self.remove(&mut old, is_in_new)?;
        let any_left = new.iter().any(|entry| matches!(entry, Entry::Pair(..)));
        (old.next == old.entries.len() && old.next_place == places.len() && (any_left || places.is_empty()))
            .then_some(())
    }

    /// Removes the pairs that come next in the old map and are not in the new one, with the comments right of them.
    fn remove(&mut self, old: &mut Old<'_>, is_in_new: impl Fn(&str) -> bool) -> Option<()> {
        while let Some((skipped, key)) = old.next_pair()
            && !is_in_new(key)
        {
            let range = match old.places.get(old.next_place)?.key {
                Some(begin) => self.json_pair(old, begin)?,
                None => old.places.get(old.next_place)?.lines.clone()?,
            };
            self.edits.push(Edit { range, text: Text::default() });
            old.next += skipped + 1;
            old.next_place += 1;
        }
        Some(())
    }

    fn pair(&mut self, old: &mut Old<'_>, key: &str, new: &Node, right: &[&Comment]) -> Option<()> {
        if let Some(Entry::Pair(name, before)) = old.entries.get(old.next)
            && name == key
        {
            let place = old.places.get(old.next_place)?;
            old.next += 1;
            old.next_place += 1;
            let edits = self.edits.len();
            if self.node(before, new, &place.value).is_some() {
                return Some(());
            }
            self.edits.truncate(edits);
            if let Some(begin) = place.key {
                let level = self.json_level(begin).1;
                let text = emit::json_at_level(None, new, level, self.style)?;
                self.edits.push(Edit { range: place.value.range.clone(), text });
                return Some(());
            }
            let text = emit::lines(self.format, key, new, right, place.indent, self.style)?;
            self.edits.push(Edit { range: place.lines.clone()?, text });
            return Some(());
        }
        if old.keys.contains(key) {
            return None;
        }
        self.insert(old, key, new)
    }

    /// What goes with a pair of JSON that is removed: up to the next key, or from the value before it.
    fn json_pair(&self, old: &Old<'_>, begin: usize) -> Option<Range<usize>> {
        let next = old.next_place + 1;
        match (old.places.get(next), old.next_place.checked_sub(1).and_then(|before| old.places.get(before))) {
            (Some(next), _) => Some(begin..next.key?),
            (None, Some(before)) => Some(before.value.range.end..old.places.get(old.next_place)?.value.range.end),
            (None, None) => None,
        }
    }

    /// The blanks before a key of JSON, and how deep its line is for them.
    fn json_level(&self, begin: usize) -> (&str, usize) {
        let before = self.source.get(..begin).unwrap_or_default();
        let blanks = before.get(before.trim_end_matches([' ', '\t', '\r', '\n']).len()..).unwrap_or_default();
        let columns = blanks.rsplit('\n').next().map_or(0, str::len);
        (blanks, columns / self.style.json_indent.len().max(1))
    }

    /// A new pair: before the one that comes next in the old map, or at its end.
    fn insert(&mut self, old: &Old<'_>, key: &str, new: &Node) -> Option<()> {
        if let Some(begin) = old.places.get(old.next_place).or(old.places.last())?.key {
            let (blanks, level) = self.json_level(begin);
            let pair = emit::json_at_level(Some(key), new, level, self.style)?;
            let (at, text) = match old.places.get(old.next_place) {
                Some(_) => (begin, format!("{},{blanks}", pair.as_str())),
                None => (old.places.last()?.value.range.end, format!(",{blanks}{}", pair.as_str())),
            };
            self.edits.push(Edit { range: at..at, text: Zeroizing::new(text) });
            return Some(());
        }
        let (at, indent) = match old.places.get(old.next_place) {
            Some(next) => (next.lines.as_ref()?.start, next.indent),
            None => {
                let last = old.places.last()?;
                (last.lines.as_ref()?.end, last.indent)
            }
        };
        let mut text = emit::lines(self.format, key, new, &[], indent, self.style)?;
        if at > 0 && self.source.as_bytes().get(at - 1) != Some(&b'\n') {
            text = Zeroizing::new(format!("{}{}", if self.style.windows { "\r\n" } else { "\n" }, text.as_str()));
        }
        self.edits.push(Edit { range: at..at, text });
        Some(())
    }
}

fn keys(map: &Map) -> HashSet<&str> {
    map.iter()
        .filter_map(|entry| match entry {
            Entry::Pair(key, _) => Some(key.as_str()),
            Entry::Comment(_) => None,
        })
        .collect()
}

/// How far the walk over the old map has come.
struct Old<'a> {
    entries: &'a [Entry],
    keys: HashSet<&'a str>,
    next: usize,
    places: &'a [Pair],
    next_place: usize,
}

impl<'a> Old<'a> {
    /// The key that comes next where only comments right of its value stand between, and how many those are.
    fn next_pair(&self) -> Option<(usize, &'a str)> {
        let rest = self.entries.get(self.next..)?;
        let skipped =
            rest.iter().take_while(|entry| matches!(entry, Entry::Comment(comment) if comment.inline)).count();
        match rest.get(skipped) {
            Some(Entry::Pair(key, _)) => Some((skipped, key)),
            Some(Entry::Comment(_)) | None => None,
        }
    }
}

/// The lines around a range in which nothing else stands but what `is_nothing` says, and the blanks before it.
fn whole_lines(text: &str, range: &Range<usize>, is_nothing: impl Fn(&str) -> bool) -> Option<(Range<usize>, usize)> {
    let begin = text.get(..range.start)?.rfind('\n').map_or(0, |place| place + 1);
    if !text.get(begin..range.start)?.bytes().all(|byte| byte == b' ') {
        return None;
    }
    let ends_line = range.end > range.start && text.as_bytes().get(range.end - 1) == Some(&b'\n');
    let end = if ends_line {
        range.end
    } else {
        let rest = text.get(range.end..)?;
        let (line, length) = match rest.find('\n') {
            Some(place) => (rest.get(..place)?, place + 1),
            None => (rest, rest.len()),
        };
        if !is_nothing(line) {
            return None;
        }
        range.end + length
    };
    Some((begin..end, range.start - begin))
}
