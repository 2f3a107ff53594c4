//! Renders a checked template, within its bounds.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

use super::check::{CONTEXT, SECRETS, is_reserved};
use super::functions::{Budget, Callable, FILTERS, FUNCTIONS, TESTS, text};
use super::{Surroundings, Trouble};
use crate::model::render::MAX_SECRET_BYTES;
use crate::value::SecretValue;

/// The most instructions of a render. A template of 500 tokens without a loop has fewer than 1,000.
const FUEL: u64 = 20_000;

/// The most bytes in and out of the filters and functions of a render: several times what a Secret can hold.
const WORK: usize = 16 << 20;

/// Why a render failed, and on which line if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub line: Option<usize>,
    pub trouble: Trouble,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        write!(formatter, "{}", self.trouble)
    }
}

/// Jinja's delimiters. What stands around a tag on its own line goes with it; everything else stays, also a line feed at
/// the end.
pub(super) fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    // Jinja's own delimiters are legal, so this cannot fail.
    builder.build().unwrap_or_default()
}

pub(super) fn evaluate<'v>(
    text: &str,
    surroundings: &Surroundings,
    values: impl Iterator<Item = (&'v str, &'v SecretValue)>,
) -> Result<SecretValue, Failure> {
    let context = context(surroundings, values).map_err(|trouble| Failure { line: None, trouble })?;
    let environment = environment();
    let mut output = Bounded(Vec::new());
    environment
        .template_from_str(text)
        .and_then(|template| template.render_captured_to(context, &mut output).map(drop))
        .map_err(|error| failure(&error))?;
    Ok(SecretValue::new(std::mem::take(&mut output.0)))
}

fn context<'v>(
    surroundings: &Surroundings,
    values: impl Iterator<Item = (&'v str, &'v SecretValue)>,
) -> Result<BTreeMap<String, Value>, Trouble> {
    let mut size = 0usize;
    let mut secrets: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in values {
        let bytes = value.expose();
        size = size.saturating_add(bytes.len());
        if size > MAX_SECRET_BYTES {
            return Err(Trouble::TooLarge);
        }
        let value = std::str::from_utf8(bytes).map_or_else(|_| Value::from_bytes(bytes.to_vec()), Value::from);
        secrets.insert(name.to_owned(), value);
    }
    let Surroundings { stack, component, namespace } = surroundings;
    let about = [("stack", stack), ("component", component), ("namespace", namespace)];
    let about: BTreeMap<String, Value> = about.map(|(name, value)| (name.to_owned(), Value::from(value))).into();
    let mut context = secrets.clone();
    context.retain(|name, _| !is_reserved(name));
    context.insert(SECRETS.to_owned(), Value::from(secrets));
    context.insert(CONTEXT.to_owned(), Value::from(about));
    Ok(context)
}

/// An environment with our lists of things to call and nothing else.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(syntax());
    environment.set_formatter(write);
    let budget = Arc::new(Budget::new(WORK));
    for filter in FILTERS {
        let budget = Arc::clone(&budget);
        environment.add_filter(filter.name, move |arguments: Rest<Value>| call(filter, &arguments, &budget));
    }
    for function in FUNCTIONS {
        let budget = Arc::clone(&budget);
        environment.add_function(function.name, move |arguments: Rest<Value>| call(function, &arguments, &budget));
    }
    for test in TESTS {
        let wanted = *test == "undefined";
        environment.add_test(*test, move |value: &Value| value.is_undefined() == wanted);
    }
    environment
}

fn call(callable: &Callable, arguments: &[Value], budget: &Budget) -> Result<Value, Error> {
    (callable.apply)(arguments, budget).map_err(raise)
}

/// Writes what stands in `{{ … }}`: text and whole numbers.
fn write(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    out.write_str(&text(value).map_err(raise)?).map_err(Error::from)
}

fn raise(trouble: Trouble) -> Error {
    Error::from(ErrorKind::InvalidOperation).with_source(trouble)
}

/// Takes our own words out of an error; the engine's may quote values.
fn failure(error: &Error) -> Failure {
    let ours = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Trouble>()).copied();
    let trouble = ours.unwrap_or(match error.kind() {
        ErrorKind::UndefinedError => Trouble::Undefined,
        ErrorKind::OutOfFuel => Trouble::OutOfFuel,
        ErrorKind::WriteFailure => Trouble::TooLarge,
        // Others are not reached by what `check` lets through, and the engine may add more.
        _ => Trouble::Unexpected,
    });
    Failure { line: error.line(), trouble }
}

/// An output that takes no more than a Secret can hold, and is cleared when it is dropped.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_SECRET_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}
