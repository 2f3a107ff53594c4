//! The `extract` of a declaration: which members of a document become keys, and under which names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Reason;
use crate::api::transform::{DocumentFormat, Extract as Written};
use crate::model::Problem;
use crate::model::document::{self, Format};
use crate::model::key_rules::data_key;
use crate::model::path::LeafError;
use crate::value::SecretValue;

/// The most keys that one document may bring. A Secret of 1 MiB has no use for more, and neither have its readers.
const MOST_KEYS: usize = 1024;

/// How much of a name out of a document is shown.
const SHOWN: usize = 64;

/// A checked selection.
#[derive(Clone, Debug)]
pub struct Extract(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    format: Format,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    rename: BTreeMap<String, String>,
    prefix: String,
}

/// A name, or a text in which `*` stands for any text.
#[derive(Debug)]
struct Pattern(String);

/// Keys with their values.
pub type Keys = BTreeMap<String, Arc<SecretValue>>;

impl Extract {
    /// Checks what is written.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(written: &Written) -> Result<Self, String> {
        let Written { format, include, exclude, rename, prefix } = written;
        for (name, key) in rename {
            data_key(key).map_err(|rule| format!("`extract.rename` of `{name}` is no key of a Secret: {rule}"))?;
        }
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, key) in rename {
            if let Some(other) = names.insert(key, name) {
                return Err(format!("`extract.rename` gives `{other}` and `{name}` the same key"));
            }
        }
        let patterns = |texts: &[String]| texts.iter().cloned().map(Pattern).collect();
        Ok(Self(Arc::new(Rules {
            format: match format {
                None => Format::Detected,
                Some(DocumentFormat::Json) => Format::Json,
                Some(DocumentFormat::Yaml) => Format::Yaml,
                Some(DocumentFormat::Toml) => Format::Toml,
            },
            include: patterns(include),
            exclude: patterns(exclude),
            rename: rename.clone(),
            prefix: prefix.clone().unwrap_or_default(),
        })))
    }

    /// The keys of a document.
    ///
    /// # Errors
    /// `PathNotFound` counts as a missing value, everything else as an error. Messages hold names of the document, never
    /// its values.
    pub fn keys(&self, document: &SecretValue) -> Result<Keys, Problem> {
        let members = document::members(document, self.0.format).map_err(|error| self.problem(&error))?;
        for wanted in self.0.include.iter().filter(|pattern| !pattern.is_open()) {
            if !members.iter().any(|(name, _)| name.as_str() == wanted.0) {
                let message = format!("the document has no `{}`, which `extract.include` names", wanted.0);
                return Err(Problem::new(Reason::PathNotFound, message));
            }
        }
        let mut keys = Keys::new();
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in members.into_iter().filter(|(name, _)| self.takes(name)) {
            let key = self.key_of(&name);
            data_key(&key).map_err(|rule| {
                let message = format!(
                    "the document's name `{}` gives no key of a Secret ({rule}); set `extract.rename`, or exclude it",
                    shown(&name)
                );
                Problem::new(Reason::InvalidKeyName, message)
            })?;
            if let Some(other) = sources.insert(key.clone(), shown(&name)) {
                let message = format!("the document's names {other} and {} both give the key {key}", shown(&name));
                return Err(Problem::new(Reason::InvalidTarget, message));
            }
            keys.insert(key, Arc::new(value));
        }
        match keys.len() > MOST_KEYS {
            true => Err(Problem::new(
                Reason::ValueTooLarge,
                format!("the document brings more than {MOST_KEYS} keys; set `extract.include`"),
            )),
            false => Ok(keys),
        }
    }

    /// Whether a document could bring this key, whatever else it holds.
    #[must_use]
    pub fn may_bring(&self, key: &str) -> bool {
        let Rules { format: _, include: _, exclude: _, rename, prefix } = &*self.0;
        let renamed = rename.iter().any(|(name, to)| to == key && self.takes(name));
        let plain = key.strip_prefix(prefix.as_str());
        renamed || plain.is_some_and(|name| !rename.contains_key(name) && self.takes(name))
    }

    fn takes(&self, name: &str) -> bool {
        let Rules { format: _, include, exclude, rename: _, prefix: _ } = &*self.0;
        (include.is_empty() || include.iter().any(|pattern| pattern.matches(name)))
            && !exclude.iter().any(|pattern| pattern.matches(name))
    }

    fn key_of(&self, name: &str) -> String {
        match self.0.rename.get(name) {
            Some(key) => key.clone(),
            None => format!("{}{name}", self.0.prefix),
        }
    }

    fn problem(&self, error: &LeafError) -> Problem {
        match error {
            LeafError::TooLarge => {
                Problem::new(Reason::ValueTooLarge, "the document, or what it expands to, is larger than 1 MiB")
            }
            // Members are looked up one by one above.
            LeafError::NotStructured | LeafError::NotFound { .. } => {
                let format = match self.0.format {
                    Format::Detected => "JSON or YAML",
                    Format::Json => "JSON",
                    Format::Yaml => "YAML",
                    Format::Toml => "TOML",
                };
                let message = format!("`extract` is set, but the value is no {format} document with names at its top");
                Problem::new(Reason::NotStructured, message)
            }
        }
    }
}

fn shown(name: &str) -> String {
    name.escape_debug().take(SHOWN).collect()
}

impl Pattern {
    fn is_open(&self) -> bool {
        self.0.contains('*')
    }

    /// Texts between stars are taken at their first place, so that no combination is tried twice.
    fn matches(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut left) = name.strip_prefix(start) else { return false };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            match left.split_once(part) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(end)
    }
}

#[cfg(test)]
mod tests;
