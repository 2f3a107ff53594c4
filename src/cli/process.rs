//! What the plugin is told by its environment.

use std::ffi::OsString;

/// A variable of the environment; one that is empty is the same as none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the plugin reads variables that no argument names")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
