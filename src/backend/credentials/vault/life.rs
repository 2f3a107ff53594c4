//! How long a token lives, and when it is renewed.

use std::time::Duration;

use tokio::time::Instant;

/// The longest life that is believed, a hundred years: no number that a server sends leads past the end of a clock.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The life of a session from its login or its last renewal on.
#[derive(Clone, Copy)]
pub(super) struct Life {
    began: Instant,
    length: Duration,
    /// What the login gave.
    at_login: Duration,
}

impl Life {
    /// A life of so many seconds, as a login gave it. `None`: for ever, which Vault says with 0.
    pub(super) fn new(began: Instant, seconds: u64) -> Option<Self> {
        let length = Duration::from_secs(seconds).min(LONGEST_LIFE);
        (!length.is_zero()).then_some(Self { began, length, at_login: length })
    }

    /// The same for a session that had the life `before`.
    pub(super) fn after(self, before: Self) -> Self {
        Self { at_login: before.at_login, ..self }
    }

    /// Whether what a renewal gave is far less than what the login did, as it is near the end of the longest life.
    pub(super) fn gains_little(self) -> bool {
        self.length * 2 < self.at_login
    }

    /// When it is to be renewed.
    pub(super) fn due(self) -> Instant {
        self.began + self.length.mul_f64(0.8)
    }

    /// When it is over.
    pub(super) fn end(self) -> Instant {
        self.began + self.length
    }
}
