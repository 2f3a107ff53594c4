//! The verbs of the `e2e` program.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod release_notes;
pub(crate) mod sbom;
pub(crate) mod tools;
pub(crate) mod up;

use std::io::Write as _;

/// Figures and other data go to stdout.
pub(crate) fn print(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Words for people go to stderr; a closed stderr is no reason to fail.
pub(crate) fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
