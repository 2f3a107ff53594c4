//! Where the values of a JSON file stand.

use json_event_parser::{JsonEvent, LowLevelJsonParser};

use super::{NOWHERE, Pair, Place, Shape};

enum Open {
    /// The pairs, and where the next one's key begins.
    Map(Vec<Pair>, usize),
    List(Vec<Place>),
}

/// The one document of a file that was read before; none where a place is not known.
pub(super) fn document(source: &str) -> Option<Place> {
    let mut parser = LowLevelJsonParser::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        let step = parser.parse_next(source.as_bytes().get(at..)?, true);
        let begin = at;
        at += step.consumed_bytes;
        let Some(event) = step.event else { continue };
        let shape = match event.ok()? {
            JsonEvent::StartObject => {
                open.push(Open::Map(Vec::new(), at));
                continue;
            }
            JsonEvent::StartArray => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            JsonEvent::ObjectKey(_) => {
                if let Some(Open::Map(_, key)) = open.last_mut() {
                    *key = begin + source.get(begin..at)?.find('"')?;
                }
                continue;
            }
            JsonEvent::Eof => return None,
            JsonEvent::String(_) | JsonEvent::Number(_) | JsonEvent::Boolean(_) | JsonEvent::Null => {
                Shape::Scalar { in_flow: true }
            }
            JsonEvent::EndObject | JsonEvent::EndArray => match open.pop()? {
                Open::Map(pairs, _) => Shape::Map(pairs),
                Open::List(places) => Shape::List(places),
            },
        };
        // What was consumed may begin with the blanks and signs before a value.
        let token = source.get(begin..at)?;
        let is_between = |character: char| character.is_ascii_whitespace() || matches!(character, ',' | ':');
        let start = at - token.trim_start_matches(is_between).len();
        let end = begin + token.trim_end_matches(is_between).len();
        let place = Place { range: start..end.max(start), shape };
        match open.last_mut() {
            Some(Open::Map(pairs, key)) => {
                pairs.push(Pair { value: place, indent: NOWHERE, lines: None, key: Some(*key) });
            }
            Some(Open::List(places)) => places.push(place),
            None => return Some(place),
        }
    }
}
