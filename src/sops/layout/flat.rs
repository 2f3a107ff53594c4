//! Where the values of dotenv and INI files stand.

use super::{NOWHERE, Pair, Place, Shape};

/// A dotenv file: a line for each name.
pub(super) fn dotenv(source: &str) -> Place {
    let mut pairs = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let value_begin = begin + name.len() + 1;
        let value = Place {
            range: value_begin..value_begin + value.trim_end_matches(['\r', '\n']).len(),
            shape: Shape::Scalar { in_flow: false },
        };
        pairs.push(Pair { value, indent: NOWHERE, lines: Some(begin..at), key: None });
    }
    Place { range: 0..source.len(), shape: Shape::Map(pairs) }
}

/// An INI file of bare values on one line; none where a value is more than that.
pub(super) fn ini(source: &str) -> Option<Place> {
    let mut sections: Vec<Vec<Pair>> = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let content = line.trim_start();
        match content.chars().next() {
            None | Some('#' | ';' | '\u{feff}') => {}
            Some('[') => sections.push(Vec::new()),
            Some('"' | '`') => return None,
            Some(_) => {
                let (name, value) = line.split_once(['=', ':'])?;
                let text = value.trim();
                if text.starts_with(['"', '\'', '`']) || text.contains(['#', ';', '\\']) {
                    return None;
                }
                let start = begin + name.len() + 1 + (value.len() - value.trim_start().len());
                let shape = if text.is_empty() { Shape::Fixed } else { Shape::Scalar { in_flow: false } };
                let value = Place { range: start..start + text.len(), shape };
                if sections.is_empty() {
                    sections.push(Vec::new());
                }
                sections.last_mut()?.push(Pair { value, indent: NOWHERE, lines: None, key: None });
            }
        }
    }
    let whole = |shape| Place { range: 0..source.len(), shape };
    let sections = sections.into_iter().map(|pairs| Pair {
        value: whole(Shape::Map(pairs)),
        indent: NOWHERE,
        lines: None,
        key: None,
    });
    Some(whole(Shape::Map(sections.collect())))
}
