//! INI into the tree: a map of sections, each a map of texts, read as `sops` reads it.
//!
//! That is what `gopkg.in/ini.v1` makes of a file (its `parser.go`, with the default options): keys end at the first `=` or
//! `:`; values may stand in `"""` or backticks over several lines, end in `\` to go on, and lose one pair of quotes; a `#` or
//! `;` in a bare value begins a comment. A comment belongs to the section or key below it, and stands after the key in the
//! tree, because `sops` puts it there. Unlike there, a section or key that stands twice is an error, and an empty `DEFAULT`
//! section is none.

use zeroize::Zeroizing;

use super::BYTE_ORDER_MARK;
use crate::sops::error::Error;
use crate::sops::format::Format;
use crate::sops::limits::{Budget, Limits};
use crate::sops::tree::{Builder, Comment, Kind, Map, Node, Scalar};

const FORMAT: Format = Format::Ini;

/// The name of the section above the first header.
pub(in crate::sops) const DEFAULT_SECTION: &str = "DEFAULT";

/// Reads a file of sections.
///
/// # Errors
/// A line that is none of a section, a key or a comment, an open quote, a name twice, or a limit passed.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Map, Error> {
    let builder = Builder::new(FORMAT, Budget::for_file(text.as_bytes(), limits)?);
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = Reader {
        builder,
        lines: text.split_inclusive('\n'),
        line: 0,
        comment: Zeroizing::default(),
        unnamed_keys: 0,
        in_section: false,
    };
    reader.builder.open_map(1)?;
    while let Some(line) = reader.next() {
        reader.take(line.trim_start())?;
    }
    reader.close_section()?;
    match reader.builder.close(reader.line)? {
        Node::Map(map) => Ok(map),
        Node::Null | Node::Scalar(_) | Node::List(_) => Ok(Map::new()),
    }
}

struct Reader<'a> {
    builder: Builder<'a>,
    lines: std::str::SplitInclusive<'a, char>,
    line: usize,
    /// The comments since the last section or key.
    comment: Zeroizing<String>,
    /// How many keys called `-` the section has: they are numbered.
    unnamed_keys: usize,
    in_section: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.line += 1;
        self.lines.next()
    }

    fn take(&mut self, line: &'a str) -> Result<(), Error> {
        match line.chars().next() {
            None => Ok(()),
            Some('#' | ';') => {
                self.comment.push_str(line);
                Ok(())
            }
            Some('[') => {
                let end = line.rfind(']').ok_or(self.unparsable("a section has no closing bracket"))?;
                let (name, after) = (line.get(1..end).unwrap_or_default(), line.get(end + 1..).unwrap_or_default());
                if name.is_empty() {
                    return Err(self.unparsable("a section has no name"));
                }
                self.note_comment(after);
                self.close_section()?;
                self.open_section(name)
            }
            Some(_) => self.key(line),
        }
    }

    fn open_section(&mut self, name: &str) -> Result<(), Error> {
        self.builder.key(name.to_owned(), self.line)?;
        self.builder.open_map(self.line)?;
        self.in_section = true;
        self.unnamed_keys = 0;
        self.place_comment()
    }

    fn close_section(&mut self) -> Result<(), Error> {
        if self.in_section {
            let section = self.builder.close(self.line)?;
            self.builder.attach(section, self.line)?;
            self.in_section = false;
        }
        Ok(())
    }

    fn key(&mut self, line: &'a str) -> Result<(), Error> {
        if !self.in_section {
            let comment = std::mem::take(&mut self.comment);
            self.open_section(DEFAULT_SECTION)?;
            self.comment = comment;
        }
        let (name, value) = self.split(line)?;
        let name = if name == "-" {
            self.unnamed_keys += 1;
            format!("#{}", self.unnamed_keys)
        } else {
            name.to_owned()
        };
        if name.is_empty() {
            return Err(self.unparsable("a key has no name"));
        }
        let at = self.line;
        let value = self.value(value)?;
        self.builder.key(name, at)?;
        self.builder.budget.spend(value.len())?;
        self.builder.attach(Node::Scalar(Scalar::new(Kind::Text, value)), at)?;
        self.place_comment()
    }

    /// The name of a key, and what follows the `=` or `:`.
    fn split(&self, line: &'a str) -> Result<(&'a str, &'a str), Error> {
        let missing = || self.unparsable("a line is neither empty, nor a comment, nor a section, nor key = value");
        let quote = if line.starts_with("\"\"\"") && line.len() > 6 {
            "\"\"\""
        } else if line.starts_with('"') {
            "\""
        } else if line.starts_with('`') {
            "`"
        } else {
            let (name, value) = line.split_once(['=', ':']).ok_or_else(missing)?;
            return Ok((name.trim(), value));
        };
        let quoted = line.get(quote.len()..).unwrap_or_default();
        let (name, after) = quoted.split_once(quote).ok_or(self.unparsable("the quotes of a key have no end"))?;
        let (_, value) = after.split_once(['=', ':']).ok_or_else(missing)?;
        Ok((name.trim(), value))
    }

    fn value(&mut self, text: &'a str) -> Result<String, Error> {
        let text = text.trim_start();
        let quote = if text.starts_with("\"\"\"") && text.len() > 3 {
            "\"\"\""
        } else if text.starts_with('`') {
            "`"
        } else {
            return Ok(self.bare(text.trim_end()));
        };
        let quoted = text.get(quote.len()..).unwrap_or_default();
        match quoted.rfind(quote) {
            Some(end) => Ok(quoted.get(..end).unwrap_or_default().to_owned()),
            None => self.quoted_lines(quoted, quote),
        }
    }

    /// A quoted value that goes on in the next lines.
    fn quoted_lines(&mut self, first: &str, quote: &str) -> Result<String, Error> {
        let mut value = first.to_owned();
        loop {
            let line = self.next().ok_or(self.unparsable("the quotes of a value have no end"))?;
            let Some(end) = line.rfind(quote) else {
                value.push_str(line);
                continue;
            };
            let (before, after) =
                (line.get(..end).unwrap_or_default(), line.get(end + quote.len()..).unwrap_or_default());
            if after.trim().ends_with('\\') {
                value.push_str(line);
                continue;
            }
            value.push_str(before);
            self.note_comment(after);
            return Ok(value);
        }
    }

    fn bare(&mut self, text: &str) -> String {
        if let Some(begun) = text.strip_suffix('\\') {
            return self.continued(begun);
        }
        let value = match text.find(['#', ';']) {
            Some(place) => {
                let (value, comment) = text.split_at(place);
                self.comment.push_str(comment);
                value.trim_end()
            }
            None => text,
        };
        for quote in ['\'', '"'] {
            let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            if let Some(inner) = inner.filter(|inner| !inner.contains(quote)) {
                return inner.to_owned();
            }
        }
        value.to_owned()
    }

    /// A value whose line ended in a backslash.
    fn continued(&mut self, begun: &str) -> String {
        let mut value = begun.to_owned();
        while let Some(line) = self.next() {
            let line = line.trim();
            match line.strip_suffix('\\') {
                Some(more) => value.push_str(more),
                None => {
                    value.push_str(line);
                    break;
                }
            }
        }
        value
    }

    /// Takes note of a comment at the end of a line.
    fn note_comment(&mut self, rest: &str) {
        if let Some(place) = rest.find(['#', ';']) {
            self.comment.push_str(rest.get(place..).unwrap_or_default().trim());
        }
    }

    /// Puts the comments that were noted here, without the first one's sign.
    fn place_comment(&mut self) -> Result<(), Error> {
        let noted = std::mem::take(&mut self.comment);
        let noted = noted.trim();
        let text = if noted.starts_with(';') {
            noted.trim_start_matches([';', ' '])
        } else {
            noted.trim_start_matches(['#', ' '])
        };
        if text.is_empty() {
            return Ok(());
        }
        self.builder.comment(Comment::new(text.replace("\r\n", "\n")))
    }

    fn unparsable(&self, problem: &'static str) -> Error {
        Error::Unparsable { format: FORMAT, line: self.line, problem }
    }
}
