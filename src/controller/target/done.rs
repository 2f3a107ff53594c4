//! What became of a target, and what is remembered of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::Reason;
use crate::controller::Context;
use crate::model::Problem;
use crate::model::outcome::TargetReport;
use crate::value::Digest;

/// What we remember of a target: the version that we wrote or checked, and the digest of what should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Of the Secret.
    pub resource_version: Box<str>,
    /// Of everything that we would write, under the process's own key.
    pub desired: Digest,
}

/// What became of a target.
pub struct Done {
    /// For the status.
    pub report: TargetReport,
    /// To be remembered.
    pub remembered: Option<Remembered>,
    /// The version of the Secret whose sight kept us from writing: another one may be no hindrance.
    pub hindrance: Option<Box<str>>,
    /// Whether and when to try again without being told of a change.
    pub again: Again,
    /// Somebody had edited the Secret and we wrote it again.
    pub repaired: bool,
    /// Optional secrets, by index in the plan, that are gone and keep their last bytes here.
    pub kept: BTreeSet<usize>,
    /// The write undid a change that somebody made to what we had written.
    pub undid: bool,
}

/// When a target is tried again although nothing that we watch changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Never: whatever can change it is watched, or looked at by the [tick](crate::controller::drift).
    Never,
    /// Soon, with a growing wait: the API server, not the Stack, is the reason.
    Soon,
    /// Not before this time has passed, for the same reason: the API server named it.
    After(Duration),
    /// From time to time: somebody can cure it in a place that we do not see, such as a quota, a policy or a role.
    Sometimes,
    /// When this time is over: another writer undoes what we write.
    Patiently(Duration),
}

impl Done {
    /// Takes note of the version of the Secret that was looked at, if that look is why nothing is remembered.
    pub(super) fn after_a_look_at(self, version: Box<str>) -> Self {
        let hindrance = self.remembered.is_none().then_some(version);
        Self { hindrance, ..self }
    }
}

impl Again {
    /// Whether the API server was in trouble, so that nothing is known of the target.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Soon | Self::After(_) => true,
            Self::Never | Self::Sometimes | Self::Patiently(_) => false,
        }
    }
}

/// A target that is not written for this reason.
pub(super) fn held(problem: Problem, derived: bool) -> Done {
    Done {
        report: TargetReport { problem: Some(problem), derived, ..TargetReport::default() },
        remembered: None,
        hindrance: None,
        again: Again::Never,
        repaired: false,
        kept: BTreeSet::new(),
        undid: false,
    }
}

/// A target that another writer keeps changing: it stays as that writer left it for a while.
pub(super) fn fought_over(known: &Remembered, patience: Duration) -> Done {
    let message = format!(
        "another writer changes the Secret each time after we wrote it; it is written again in {} s: find that writer, \
         rename the target, or set drift: Report",
        patience.as_secs().max(1)
    );
    Done {
        remembered: Some(known.clone()),
        again: Again::Patiently(patience),
        ..held(Problem { reason: Reason::Drifted, message, stalled: false }, false)
    }
}

/// A target that the API server asked us to leave alone for a while.
pub fn throttled(known: Option<&Remembered>, wait: Duration) -> Done {
    let message = "the API server asked for time before the Secret is written; it is tried again".to_owned();
    Done {
        remembered: known.cloned(),
        again: Again::After(wait),
        ..held(Problem { reason: Reason::Throttled, message, stalled: false }, false)
    }
}

/// A target in a namespace whose Secrets the operator may not even get.
pub fn ungranted(context: &Context, namespace: &str) -> Done {
    let message = context.grant_hint("get", "secrets", namespace);
    held(Problem { reason: Reason::GrantMissing, message, stalled: false }, false)
}

/// A target that is as it should be.
pub(super) fn unchanged(known: Remembered) -> Done {
    Done {
        report: TargetReport {
            ready: true,
            resource_version: Some(known.resource_version.to_string()),
            ..TargetReport::default()
        },
        remembered: Some(known),
        hindrance: None,
        again: Again::Never,
        repaired: false,
        kept: BTreeSet::new(),
        undid: false,
    }
}
