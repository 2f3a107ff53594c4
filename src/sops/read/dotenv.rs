//! Dotenv into the tree: a line is a comment or `NAME=value`, nothing else, as `sops` reads it.
//!
//! `sops` knows no quotes, no `export` and no blanks around the `=`: all of that is part of the name or the value. `\n` in a
//! value is a line end (`stores/dotenv/store.go`). Unlike it, a file that has Windows line ends throughout is read without
//! its carriage returns, and a name that stands twice is an error.

use zeroize::Zeroizing;

use super::has_windows_line_ends;
use crate::sops::error::Error;
use crate::sops::format::Format;
use crate::sops::limits::{Budget, Limits};
use crate::sops::tree::{Builder, Comment, Kind, Map, Node, Scalar};

const FORMAT: Format = Format::Dotenv;

/// Reads a file of lines.
///
/// # Errors
/// A line that is neither, a name twice, or a limit passed.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Map, Error> {
    let mut builder = Builder::new(FORMAT, Budget::for_file(text.as_bytes(), limits)?);
    // As the file would be if its last line were ended, too, which is how it is written.
    let windows = has_windows_line_ends(text) || has_windows_line_ends(&Zeroizing::new(format!("{text}\n")));
    builder.open_map(1)?;
    let mut last = 1;
    for (index, line) in text.split('\n').enumerate() {
        last = index + 1;
        let line = if windows { line.trim_end_matches('\r') } else { line };
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            builder.comment(Comment::new(comment.to_owned()))?;
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(Error::Unparsable {
            format: FORMAT,
            line: last,
            problem: "a line is neither empty, nor a comment, nor NAME=value",
        })?;
        builder.key(name.to_owned(), last)?;
        let value = value.replace("\\n", "\n");
        builder.budget.spend(value.len())?;
        builder.attach(Node::Scalar(Scalar::new(Kind::Text, value)), last)?;
    }
    match builder.close(last)? {
        Node::Map(map) => Ok(map),
        Node::Null | Node::Scalar(_) | Node::List(_) => Ok(Map::new()),
    }
}
