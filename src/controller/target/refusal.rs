//! What a refused or failed call to the API server means for a target: whose fault it is, and when to try again.

use std::time::Duration;

use super::{Again, Done, Work, held};
use crate::api::Reason;
use crate::cluster::{self, Cause, StatusReason};
use crate::controller::rights::{is_ready, may};
use crate::model::Problem;

/// The longest wait that an API server may ask for: more than priority and fairness asks for, less than a person waits.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

impl Work<'_> {
    /// What a failed call means for the target.
    pub(super) async fn failed(&self, verb: &'static str, error: &cluster::Error) -> Done {
        let namespace = &*self.stack.namespace;
        let soft = |reason: Reason| {
            let message = format!("cannot {verb} the Secret: {error}; it is tried again");
            Done { again: Again::Soon, ..held(Problem { reason, message, stalled: false }, false) }
        };
        let hard = |reason: Reason, message: String| held(Problem { reason, message, stalled: false }, false);
        let elsewhere = |reason: Reason, message: String| Done { again: Again::Sometimes, ..hard(reason, message) };
        let Some(refusal) = error.refusal() else {
            return match error {
                cluster::Error::Timeout(_) => soft(Reason::Timeout),
                cluster::Error::InvalidName => {
                    hard(Reason::InvalidTarget, "the name cannot be the name of a Secret".to_owned())
                }
                cluster::Error::Refused(_)
                | cluster::Error::Unreachable
                | cluster::Error::Credentials
                | cluster::Error::Unreadable(_)
                | cluster::Error::AnswerTooLarge(_)
                | cluster::Error::MissingPrecondition => soft(Reason::Unreachable),
            };
        };
        match (refusal.status, refusal.cause) {
            (_, Cause::Starting) => soft(Reason::Unreachable),
            (404, _) if refusal.reason != StatusReason::NotFound => soft(Reason::Unreachable),
            (_, Cause::NamespaceTerminating) | (404, _) => hard(
                Reason::GrantMissing,
                format!("namespace {namespace} is being deleted; nothing is written any more"),
            ),
            (_, Cause::QuotaExceeded) => elsewhere(
                Reason::QuotaExceeded,
                format!("the quota of namespace {namespace} does not allow another Secret; raise it, or delete some"),
            ),
            (_, Cause::AdmissionDenied) => self.admission_denied(verb),
            (403, Cause::Unspecified) if !is_ready(&self.context.client, namespace).await => soft(Reason::Unreachable),
            (403, Cause::Unspecified) => match may(&self.context.client, namespace, "secrets", verb).await {
                Some(false) => {
                    self.namespace.probe_again();
                    elsewhere(Reason::GrantMissing, self.context.grant_hint(verb, "secrets", namespace))
                }
                Some(true) => self.admission_denied(verb),
                None => soft(Reason::Unreachable),
            },
            (413, Cause::Unspecified) => hard(
                Reason::ValueTooLarge,
                "the API server refuses the Secret as too large; at most 1 MiB in all is possible".to_owned(),
            ),
            (400 | 422, Cause::Unspecified) => hard(
                Reason::InvalidTarget,
                "the API server refuses the Secret as invalid: check its type, its labels and its annotations"
                    .to_owned(),
            ),
            (429, Cause::Unspecified) => {
                let again = refusal.retry_after.map_or(Again::Soon, |wait| Again::After(wait.min(LONGEST_ASKED)));
                Done { again, ..soft(Reason::Throttled) }
            }
            (_, Cause::Unspecified) => soft(Reason::Unreachable),
        }
    }

    fn admission_denied(&self, verb: &'static str) -> Done {
        let message = format!(
            "an admission webhook or policy of the cluster does not let the operator {verb} Secrets like this in \
             namespace {}; its answer is in the API server's audit log",
            self.stack.namespace
        );
        Done {
            again: Again::Sometimes,
            ..held(Problem { reason: Reason::AdmissionDenied, message, stalled: false }, false)
        }
    }
}
