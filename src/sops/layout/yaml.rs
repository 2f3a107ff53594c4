//! Where the values of a YAML stream stand.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use super::{Pair, Place, Shape, whole_lines};
use crate::sops::emit::Indent;

/// The documents of a stream that was read before; none where a place is not known.
pub(super) fn documents(source: &str) -> Option<Vec<Place>> {
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut options = granit_parser::options! {
        max_buffered_comment_events: source.len(),
    };
    options.set_emit_comments(false);
    let mut walk = Walk { text, shift: source.len() - text.len(), open: Vec::new(), root: None, documents: Vec::new() };
    for step in Parser::new_from_str_with_options(text, options) {
        let (event, span) = step.ok()?;
        walk.take(event, span)?;
    }
    Some(walk.documents)
}

enum Open {
    Map { start: usize, in_flow: bool, in_element: bool, pairs: Vec<Pair>, key: Option<Range<usize>> },
    List { start: usize, in_flow: bool, places: Vec<Place> },
}

struct Walk<'a> {
    text: &'a str,
    /// Bytes before `text` in the file.
    shift: usize,
    open: Vec<Open>,
    root: Option<Place>,
    documents: Vec<Place>,
}

impl Walk<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let range = span.byte_range()?;
        match event {
            Event::DocumentStart(..) => self.root = None,
            Event::DocumentEnd => {
                let root = self.root.take().unwrap_or(Place { range, shape: Shape::Fixed });
                self.documents.push(root);
            }
            Event::Scalar(_, style, anchor, tag) => {
                let in_flow = self.is_in_flow();
                let on_lines = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let bare = anchor == 0 && tag.is_none() && !range.is_empty();
                let shape = if bare && !on_lines { Shape::Scalar { in_flow } } else { Shape::Fixed };
                self.attach(Place { range, shape })?;
            }
            Event::Alias(_) => self.attach(Place { range, shape: Shape::Fixed })?,
            Event::SequenceStart(style, ..) => self.open.push(Open::List {
                start: range.start,
                in_flow: style == StructureStyle::Flow,
                places: Vec::new(),
            }),
            Event::MappingStart(style, ..) => self.open.push(Open::Map {
                start: range.start,
                in_flow: style == StructureStyle::Flow,
                in_element: matches!(self.open.last(), Some(Open::List { .. })),
                pairs: Vec::new(),
                key: None,
            }),
            Event::SequenceEnd | Event::MappingEnd => {
                let place = match self.open.pop()? {
                    // The end of a block is only known when the next thing begins: its last element's is what counts.
                    Open::List { start, in_flow, places } => {
                        let end =
                            if in_flow { range.end } else { places.last().map_or(range.end, |last| last.range.end) };
                        Place { range: start..end, shape: Shape::List(places) }
                    }
                    Open::Map { start, in_flow, in_element: _, pairs, key: None } => {
                        let last = pairs.last().map_or(range.end, |last| last.value.range.end);
                        Place { range: start..if in_flow { range.end } else { last }, shape: Shape::Map(pairs) }
                    }
                    Open::Map { key: Some(_), .. } => return None,
                };
                self.attach(place)?;
            }
            Event::StreamStart | Event::StreamEnd => {}
            // Comments and anchors are not asked for, and what else there may be is not known.
            _ => return None,
        }
        Some(())
    }

    fn is_in_flow(&self) -> bool {
        match self.open.last() {
            Some(Open::Map { in_flow, .. } | Open::List { in_flow, .. }) => *in_flow,
            None => false,
        }
    }

    fn attach(&mut self, mut place: Place) -> Option<()> {
        let (text, shift) = (self.text, self.shift);
        match self.open.last_mut() {
            Some(Open::Map { key: key @ None, .. }) => *key = Some(place.range),
            Some(Open::Map { key: key @ Some(_), pairs, in_flow, in_element, start: _ }) => {
                let in_element = *in_element;
                let key = key.take()?;
                if place.range.is_empty() {
                    // The place of a value that is not there is anywhere.
                    place.range = key.end..key.end;
                }
                let lines = whole_lines(text, &(key.start..place.range.end), |rest| {
                    let rest = rest.trim_start_matches(':').trim();
                    rest.is_empty() || rest.starts_with('#')
                });
                let (lines, column) = match lines {
                    Some((lines, column)) if !*in_flow => (Some(lines), column),
                    Some(_) | None => (None, 0),
                };
                let lines = lines.map(|lines| lines.start + shift..lines.end + shift);
                pairs.push(Pair {
                    value: shifted(place, shift),
                    indent: Indent { column, in_element },
                    lines,
                    key: None,
                });
            }
            Some(Open::List { places, .. }) => places.push(shifted(place, shift)),
            None => self.root = Some(place),
        }
        Some(())
    }
}

/// The place in the whole file. Places inside it are shifted already.
fn shifted(place: Place, shift: usize) -> Place {
    Place { range: place.range.start + shift..place.range.end + shift, ..place }
}
