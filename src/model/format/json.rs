//! Text between double quotes that JSON and YAML read alike.

/// The most bytes that one byte of text becomes.
pub const WORST: usize = 6;

/// Appends `text` as a JSON string (RFC 8259, section 7) that is a double-quoted YAML scalar too.
///
/// YAML 1.2.2 takes every escape that JSON has (section 5.7), but does not print all characters that JSON does (section
/// 5.1, `c-printable`), and YAML 1.1 breaks lines at three more (its section 5.4); those are escaped as well.
pub fn write(text: &str, out: &mut String) {
    use std::fmt::Write;
    // Room for the worst case would be six times the text; most is written as it stands.
    out.reserve(text.len().saturating_add(2));
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character.is_control() || is_unprintable(character) => {
                // Writing to a String cannot fail. All of them are below U+10000.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn is_unprintable(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
