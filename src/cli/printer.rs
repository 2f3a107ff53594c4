//! The only door to stdout and stderr.
//!
//! Data go to stdout, words to stderr. Names and messages come from a cluster that others write to, so every text is
//! filtered: control characters (ESC and the C1 range among them), which could move the cursor or forge a line, and
//! characters that reorder or hide text are replaced. Values leave through [`Printer::value`] alone.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::process;
use crate::value::SecretValue;

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Where a verb writes.
pub struct Printer {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    stdout_is_terminal: bool,
    colors: bool,
    broken: Option<io::Error>,
}

impl Printer {
    /// The process's own stdout and stderr; colors only if stderr is a terminal and `NO_COLOR` is unset or empty
    /// (<https://no-color.org>).
    #[must_use]
    pub fn of_process() -> Self {
        let no_color = process::variable("NO_COLOR").is_some();
        Self {
            stdout: Box::new(io::BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            colors: io::stderr().is_terminal() && !no_color,
            broken: None,
        }
    }

    /// Whether what goes to stdout is shown to a person.
    #[must_use]
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// One line of data.
    pub fn line(&mut self, text: &str) {
        let text = clean(text);
        self.stdout_bytes(text.as_bytes());
        self.stdout_bytes(b"\n");
    }

    /// Columns under a header, as kubectl has them. Cells are filtered.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.iter().map(|cell| (*cell).to_owned()));
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
        }
        let last = header.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { 3 }));
        }
        let text = table.trim_fmt();
        self.stdout_bytes(text.as_bytes());
        self.stdout_bytes(b"\n");
    }

    /// A document as JSON, indented by 2.
    pub fn json(&mut self, document: &impl Serialize) {
        // Our own types: their maps have text keys, so this cannot fail.
        let text = serde_json::to_string_pretty(document).unwrap_or_default();
        let text = escape_in_json(&text);
        self.stdout_bytes(text.as_bytes());
        self.stdout_bytes(b"\n");
    }

    /// A document as YAML.
    pub fn yaml(&mut self, document: &impl Serialize) {
        // Our own types, as for JSON.
        let text = serde_saphyr::to_string(document).unwrap_or_default();
        for line in text.trim_end_matches('\n').split('\n') {
            self.line(line);
        }
    }

    /// The bytes of a value, unfiltered, between texts of our own. The caller has decided that they may be shown.
    pub fn value(&mut self, before: &[u8], value: &SecretValue, after: &[u8]) {
        self.stdout_bytes(before);
        self.stdout_bytes(value.expose());
        self.stdout_bytes(after);
    }

    /// A sentence for the person, on stderr.
    pub fn info(&mut self, text: &str) {
        let text = clean(text);
        self.stderr_line(&text);
    }

    /// A question on stderr; the cursor stays behind it.
    pub fn question(&mut self, text: &str) {
        // Words that cannot be shown are no reason to fail.
        let _ = write!(self.stderr, "{} ", clean(text)).and_then(|()| self.stderr.flush());
    }

    /// What a person should look at, though the work goes on.
    pub fn warning(&mut self, text: &str) {
        let text = format!("{} {}", self.colored("warning:", "33"), clean(text));
        self.stderr_line(&text);
    }

    /// Why the work could not be done and what to do.
    pub fn failure(&mut self, failure: &Failure) {
        let Failure { exit: _, message, hint, passing: _ } = failure;
        let text = format!("{} {}", self.colored("error:", "1;31"), clean(message));
        self.stderr_line(&text);
        if let Some(hint) = hint {
            let text = format!("{} {}", self.colored("hint:", "36"), clean(hint));
            self.stderr_line(&text);
        }
    }

    /// Writes out what is buffered. A reader that went away (`| head`) is no failure; a full disk is.
    pub fn finish(mut self, exit: Exit) -> Exit {
        if let Err(error) = self.stdout.flush() {
            self.broken.get_or_insert(error);
        }
        match self.broken.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.failure(&Failure::access(format!("could not write to stdout: {}", error.kind())));
                Exit::Access
            }
            Some(_) | None => exit,
        }
    }

    fn colored(&self, word: &'static str, style: &str) -> Cow<'static, str> {
        if self.colors { Cow::Owned(format!("\u{1b}[{style}m{word}\u{1b}[0m")) } else { Cow::Borrowed(word) }
    }

    fn stdout_bytes(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.broken = self.stdout.write_all(bytes).err();
        }
    }

    fn stderr_line(&mut self, text: &str) {
        // Words that cannot be shown are no reason to fail.
        let _ = writeln!(self.stderr, "{text}");
    }
}

/// Replaces what a terminal would act on instead of showing it.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(text.chars().map(|character| if is_unsafe(character) { REPLACEMENT } else { character }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters (C0, DEL, C1), separators of lines and paragraphs, and characters that reorder or hide text
/// (Unicode TR 36, section 2.10: "Trojan source").
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Writes as `\u....` what JSON allows bare inside a string and a terminal would act on. Outside of strings a document of
/// ours holds only line feeds, which stay.
fn escape_in_json(text: &str) -> Cow<'_, str> {
    let acted_on = |character: char| character != '\n' && is_unsafe(character);
    if !text.chars().any(acted_on) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if acted_on(character) {
            // All of them are in the basic plane: four digits are enough.
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_through() {
        for (given, shown) in [
            ("plain, ünïcödé, 漢字", "plain, ünïcödé, 漢字"),
            ("\u{1b}[2Jgone", "\u{fffd}[2Jgone"),
            ("a\u{9b}31mb", "a\u{fffd}31mb"),
            ("two\nlines\r", "two\u{fffd}lines\u{fffd}"),
            ("bell\u{7}del\u{7f}", "bell\u{fffd}del\u{fffd}"),
            ("re\u{202e}order", "re\u{fffd}order"),
        ] {
            assert_eq!(clean(given), shown);
        }
    }

    #[test]
    fn json_stays_the_same_document() {
        let given = serde_json::json!({"message": "a\u{9b}31m\u{7f}\u{202e}\n\u{1b}b"});
        let text = serde_json::to_string_pretty(&given).unwrap_or_default();
        let shown = escape_in_json(&text);
        assert!(shown.chars().all(|character| character == '\n' || !is_unsafe(character)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(given));
    }
}
