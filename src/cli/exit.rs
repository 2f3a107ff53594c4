//! How the plugin ends: the exit codes, and failures with what to do about them.

use std::process::ExitCode;

use crate::api::Reason;

/// The exit codes. Scripts rely on them: a number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a check: all is well.
    Ok,
    /// A check failed, or a value that was asked for is not there.
    CheckFailed,
    /// The command line asks for something that cannot be.
    Usage,
    /// The cluster or a store refused or failed, or it could not be found out.
    Access,
    /// Somebody else holds a lock.
    LockHeld,
    /// Ctrl-C, or another signal to end (128 + SIGINT, as shells have it).
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::CheckFailed => 1,
            Self::Usage => 2,
            Self::Access => 3,
            Self::LockHeld => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a verb could not do its work. Printed as `error: …` and `hint: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was tried, on which object, what went wrong. Lower case, no full stop, never a value.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether asking again, unchanged, may help.
    pub passing: bool,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, passing: false }
    }

    /// The command line asks for something that cannot be.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The cluster or a store refused or failed, or it could not be found out.
    #[must_use]
    pub fn access(message: impl Into<String>) -> Self {
        Self::new(Exit::Access, message)
    }

    /// A value that was asked for is not there.
    #[must_use]
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Exit::CheckFailed, message)
    }

    /// Somebody else holds a lock.
    #[must_use]
    pub fn lock_held(message: impl Into<String>) -> Self {
        Self::new(Exit::LockHeld, message)
    }

    /// A person or the system asked to stop.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// Says that asking again, unchanged, may help.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// The word for rows of a table: somebody refused, or nobody answered.
    #[must_use]
    pub fn reason(&self) -> Reason {
        if self.passing { Reason::Unreachable } else { Reason::AccessDenied }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
