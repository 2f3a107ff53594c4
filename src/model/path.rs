//! The `path` of a declaration: `.a["b.c"][0]`, one leaf of a JSON or YAML value.
//!
//! A step is `.name` (letters, digits, `_`, `-`), `."any text"`, `["any text"]` or `[number]`; a dot before a bracket is
//! accepted, a negative number counts from the end. In quotes, `\"` and `\\` stand for the character itself.

use crate::model::document::{self, Format};
use crate::value::SecretValue;

/// A parsed path: at least one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a mapping.
    Name(String),
    /// Into a sequence.
    Index(i64),
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {column}: {message}")]
pub struct PathError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What was expected.
    pub message: &'static str,
}

/// Why a value has no leaf at a path. Says nothing of the value but names of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafError {
    /// The value is no document of the format that is asked for, or has no structure.
    NotStructured,
    /// The value, or what would be written, is larger than a Secret may be, or expands beyond all measure.
    TooLarge,
    /// Nothing is at the path.
    NotFound {
        /// The part of the path that leads nowhere, from the start.
        at: String,
        /// Keys beside it, if it is looked up in a mapping: at most five, each cut at 64 characters.
        siblings: Vec<String>,
    },
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// The text does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let characters: Vec<char> = text.chars().collect();
        let mut reader = Reader { characters: &characters, position: 0 };
        let mut steps = Vec::new();
        while reader.peek().is_some() {
            steps.push(reader.step()?);
        }
        match steps.is_empty() {
            true => Err(PathError { column: 1, message: "a path has at least one step, such as `.name`" }),
            false => Ok(Self(steps)),
        }
    }

    /// The leaf at this path. Strings come without quotes, numbers and booleans as they are written, `null` as `null`,
    /// objects and arrays as JSON without white space.
    ///
    /// # Errors
    /// See [`LeafError`].
    pub fn leaf(&self, value: &SecretValue) -> Result<SecretValue, LeafError> {
        self.leaf_of(value, Format::Detected)
    }

    /// The same of a document whose format is known.
    pub(crate) fn leaf_of(&self, value: &SecretValue, format: Format) -> Result<SecretValue, LeafError> {
        document::leaf(value, format, &self.0)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&text_of(&self.0))
    }
}

/// Steps as a path is written.
pub(crate) fn text_of(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |text, step| match step {
        Step::Name(name) if !name.is_empty() && name.chars().all(is_bare) => format!("{text}.{name}"),
        Step::Name(name) => format!("{text}[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\"")),
        Step::Index(index) => format!("{text}[{index}]"),
    })
}

fn is_bare(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

struct Reader<'a> {
    characters: &'a [char],
    position: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next_if(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.position += 1;
        }
        found
    }

    fn error<T>(&self, message: &'static str) -> Result<T, PathError> {
        Err(PathError { column: self.position + 1, message })
    }

    fn step(&mut self) -> Result<Step, PathError> {
        let dot = self.next_if('.');
        match self.peek() {
            Some('[') => self.bracket(),
            Some('"') if dot => self.quoted().map(Step::Name),
            Some(character) if dot && is_bare(character) => Ok(Step::Name(self.while_bare())),
            Some(_) | None if dot => self.error("expected a name, a quoted name or `[`"),
            Some(_) | None => self.error("expected `.` or `[`"),
        }
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        self.position += 1;
        let step = match self.peek() {
            Some('"') => Step::Name(self.quoted()?),
            Some(character) if character.is_ascii_digit() || character == '-' => {
                let start = self.position;
                match self.while_bare().parse::<i64>() {
                    Ok(index) => Step::Index(index),
                    Err(_) => {
                        self.position = start;
                        return self.error("expected a whole number");
                    }
                }
            }
            Some(_) | None => return self.error("expected a number or a quoted name"),
        };
        if !self.next_if(']') {
            return self.error("expected `]`");
        }
        Ok(step)
    }

    fn quoted(&mut self) -> Result<String, PathError> {
        self.position += 1;
        let mut name = String::new();
        loop {
            let Some(character) = self.peek() else { return self.error("expected the closing `\"`") };
            self.position += 1;
            match character {
                '"' => return Ok(name),
                '\\' => match self.peek() {
                    Some(escaped @ ('"' | '\\')) => {
                        name.push(escaped);
                        self.position += 1;
                    }
                    Some(_) | None => return self.error("only `\\\"` and `\\\\` are escapes"),
                },
                other => name.push(other),
            }
        }
    }

    fn while_bare(&mut self) -> String {
        let mut name = String::new();
        while let Some(character) = self.peek().filter(|character| is_bare(*character)) {
            name.push(character);
            self.position += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests;
