//! Texts of each format into the tree.

mod dotenv;
mod ini;
mod json;
mod yaml;

pub(super) use self::ini::DEFAULT_SECTION;
pub(super) use self::json::value as json_value;
use super::error::Error;
use super::format::Format;
use super::limits::Limits;
use super::tree::Map;

/// What a byte order mark is as text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The documents of a file: one, but for YAML.
///
/// # Errors
/// Bytes that are no file of the format, and what passes a limit. See [`Error`].
pub(super) fn documents(format: Format, bytes: &[u8], limits: &Limits) -> Result<Vec<Map>, Error> {
    if bytes.len() > limits.file_bytes {
        return Err(Error::TooLarge { limit: limits.file_bytes, expanded: false });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::Unparsable { format, line, problem: "it is not UTF-8 text" }
    })?;
    match format {
        Format::Yaml => yaml::read(text, limits),
        // An encrypted binary file is a JSON file.
        Format::Json | Format::Binary => Ok(vec![json::read(text, format, limits)?]),
        Format::Dotenv => Ok(vec![dotenv::read(text, limits)?]),
        Format::Ini => Ok(vec![ini::read(text, limits)?]),
    }
}

/// Whether every line ends as on Windows. A file of which that is true was converted as a whole, so that the carriage
/// returns are none of its values'.
pub(super) fn has_windows_line_ends(text: &str) -> bool {
    let mut lines =
        text.split_inclusive('\n').filter(|line| !line.trim_end_matches(['\r', '\n']).is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| line.ends_with("\r\n") || !line.ends_with('\n')) && text.contains("\r\n")
}
