//! Templates of targets: a text in which values take their places.
//!
//! The syntax is that of Jinja, read by `minijinja`; the language is much smaller. What a template may do is what `check`
//! lets through, by a list of what is allowed: text, `{{ … }}`, `if` and `for`; names, literals, `and`, `or`, `not`, `==`
//! and `!=` with a literal; the filters, functions and tests of `functions`. There is no assignment, no arithmetic, no
//! concatenation of values outside of filters, no include, no macro. So a template ends, and what it costs is bounded:
//!
//! | what | bound | by |
//! |---|---|---|
//! | text | 4096 bytes | `check` |
//! | tokens, and how deep they nest | see `shape` | before anything is parsed |
//! | values put in | 1 MiB together | `evaluate` |
//! | instructions | 20,000 | fuel |
//! | bytes in and out of filters and functions | 16 MiB | the budget of `functions` |
//! | output | 1 MiB | while it is written |
//!
//! The check comes before anything is compiled, since the compiler works out constant expressions: `"x" * 100000000` would
//! take its memory there, where no fuel is counted.
//!
//! What a template makes of secrets is as secret as they are: it goes into a Secret and nowhere else. Values and what
//! filters make of them lie in the engine's own memory during a render, which only an allocator that clears what it frees
//! can wipe; the output is a [`SecretValue`] from its first byte. No error carries a value: the engine's own words, which
//! quote what they met, are dropped.

mod check;
mod evaluate;
pub mod functions;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Reason;
use crate::value::SecretValue;

pub(crate) use evaluate::Failure;

/// The most bytes of one template.
pub const MAX_TEXT: usize = 4096;

/// What a template can say of its surroundings: `ctx.stack`, `ctx.component`, `ctx.namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The Atmos stack name.
    pub stack: String,
    /// The component's name without its type; empty at the stack level.
    pub component: String,
    /// The Stack's namespace.
    pub namespace: String,
}

/// A template that was checked, with the secrets that it names.
#[derive(Clone, Debug)]
pub struct Template {
    text: Arc<str>,
    surroundings: Arc<Surroundings>,
    /// NAME to index in [`Plan::secrets`](crate::model::Plan::secrets).
    names: BTreeMap<String, usize>,
}

/// Why a template is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub reason: Reason,
    /// Line and column, both from 1, in the template's text; `None` if it is the template as a whole.
    pub at: Option<(u16, u16)>,
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.at {
            write!(formatter, "line {line} column {column}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Why a template could not be rendered. None of these carries a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("a name without a value is used; test it with `is defined`, or give it a `default`")]
    Undefined,
    #[error("a value that is not UTF-8 is used as text; encode it with b64encode")]
    NotText,
    #[error("{0}")]
    WrongType(&'static str),
    #[error("its filters work through more than 16 MiB; make it simpler")]
    TooMuchWork,
    #[error("it takes more than 20,000 steps; make its loops shorter")]
    OutOfFuel,
    #[error("its values, or what it makes of them, are larger than 1 MiB")]
    TooLarge,
    #[error("an operation does not fit the values it was given")]
    Unexpected,
}

impl Template {
    /// Checks a template; `index_of` gives the index of a declared NAME, `known` all of them.
    ///
    /// # Errors
    /// It cannot be read, does something that templates may not, or names what is not declared.
    pub(crate) fn compile<'n>(
        text: &str,
        surroundings: &Arc<Surroundings>,
        index_of: &dyn Fn(&str) -> Option<usize>,
        known: impl Iterator<Item = &'n str>,
    ) -> Result<Self, Fault> {
        let known: Vec<&str> = known.collect();
        let names = check::check(text, &known)?;
        let names = names.into_iter().filter_map(|name| index_of(&name).map(|index| (name, index))).collect();
        Ok(Self { text: text.into(), surroundings: Arc::clone(surroundings), names })
    }

    /// The secrets that it names, by index in [`Plan::secrets`](crate::model::Plan::secrets).
    pub fn secrets(&self) -> impl Iterator<Item = usize> {
        self.names.values().copied()
    }

    /// The template with these values in their places; a secret for which there is none is undefined.
    ///
    /// # Errors
    /// It uses a secret without a value, or a value that does not fit what is done with it, or goes beyond its bounds.
    pub(crate) fn render<'v>(&self, value: impl Fn(usize) -> Option<&'v SecretValue>) -> Result<SecretValue, Failure> {
        let values = self.names.iter().filter_map(|(name, index)| value(*index).map(|value| (name.as_str(), value)));
        evaluate::evaluate(&self.text, &self.surroundings, values)
    }

    /// How many bytes its text has.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}
