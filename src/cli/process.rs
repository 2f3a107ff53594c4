//! What the plugin shares with the system: its environment, and its memory, which may hold values.

use std::ffi::OsString;

/// A variable of the environment; one that is empty is the same as none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the plugin reads variables that no argument names")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Turns core dumps off, also those that a debugger of the same user would ask for. Best effort: where the system
/// refuses, the plugin works all the same.
pub fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
