//! The verbs of the `e2e` program.

pub(crate) mod tools;
pub(crate) mod up;

use std::io::Write as _;

/// Words for people go to stderr; a closed stderr is no reason to fail.
pub(crate) fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
