//! One target: own or refuse, then write at most once.
//!
//! A Secret is ours if it carries our label and names this Stack in our annotation. Everything else is somebody else's
//! and is never touched, unless a person handed it over with the `adopt` annotation. So a Stack that was re-created or
//! restored finds its Secrets again, and one that names a foreign Secret by mistake does no harm.
//!
//! The usual case costs no call at all: the watch still shows the version that we wrote, and what should be there has the
//! digest of what we wrote. A new Secret costs one POST. Only otherwise the Secret is read, compared and, if it differs,
//! replaced under its resourceVersion.

mod desired;
mod done;
mod ownership;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::desired::Desired;
pub use self::done::{Again, Done, Remembered, throttled, ungranted};
use self::done::{fought_over, held, unchanged};
use self::ownership::Ownership;
use super::Context;
use super::digest_key::{self, Stamp};
use super::namespaces::{Namespace, Sight};
use super::relations::StackKey;
use crate::api::stack::{DriftPolicy, SyncPolicy};
use crate::api::{Reason, marks};
use crate::backend::connect::Watched;
use crate::cluster::{self, Secret, SecretDraft};
use crate::model::outcome::TargetReport;
use crate::model::render::decide;
use crate::model::{Current, Decision, Finding, Plan, PlannedTarget, Problem};
use crate::value::SecretValue;

/// How often a write is tried again at once after somebody else wrote first.
const CONFLICT_TRIES: usize = 4;

/// The Stack whose targets are written.
pub struct Work<'a> {
    /// The controller.
    pub context: &'a Context,
    /// The Stack.
    pub stack: &'a StackKey,
    /// Its uid.
    pub uid: &'a str,
    /// What should be.
    pub plan: &'a Plan,
    /// What was found.
    pub findings: &'a [Finding],
    /// Whether an optional secret was missing long enough to be removed.
    pub removable: &'a (dyn Fn(usize) -> bool + Sync),
    /// The Stack's namespace.
    pub namespace: &'a Arc<Namespace>,
    /// How long to let another writer have its way before its change is undone.
    pub patience: Duration,
}

impl Work<'_> {
    /// Brings one target to what it should be.
    pub async fn sync(&self, target: &PlannedTarget, remembered: Option<&Remembered>) -> Done {
        if let Some(problem) = &target.problem {
            return held(problem.clone(), false);
        }
        let decision = self.decide(target, None);
        if let (Decision::Hold(problem), SyncPolicy::AllOrNothing) = (&decision, target.sync)
            && !self.has_gaps_only(target)
        {
            // No present content can change this decision, so the Secret need not be read.
            return held(problem.clone(), true);
        }
        let sight = self.namespace.sight(&target.name);
        if let Decision::Write { data, incomplete: None, .. } = &decision
            && self.is_complete(target)
        {
            let digest = self.digest(target, &self.desired(target, data));
            if let (Sight::Ours(seen), Some(known)) = (&sight, remembered)
                && known.resource_version == seen.resource_version
                && known.desired == digest
            {
                return unchanged(known.clone());
            }
        }
        if sight == Sight::NotOurs
            && let Decision::Write { data, incomplete, .. } = &decision
        {
            match self.create(target, data, incomplete.clone(), remembered).await {
                Ok(done) => return done,
                Err(error) if error.is_conflict() => {}
                Err(error) => return self.failed("create", &error).await,
            }
        }
        self.read_and_replace(target, remembered).await
    }

    async fn read_and_replace(&self, target: &PlannedTarget, remembered: Option<&Remembered>) -> Done {
        for _ in 0..CONFLICT_TRIES {
            let found = self.context.objects.get_secret(&self.stack.namespace, &target.name).await;
            let step = match found {
                Ok(Some(secret)) => {
                    let version = Box::from(secret.metadata.resource_version.as_str());
                    self.replace(target, secret, remembered).await.map(|done| done.after_a_look_at(version))
                }
                Ok(None) => match self.decide(target, None) {
                    Decision::Hold(problem) => return held(problem, true),
                    Decision::Write { data, incomplete, .. } => {
                        self.create(target, &data, incomplete, remembered).await
                    }
                },
                Err(error) => return self.failed("get", &error).await,
            };
            match step {
                Ok(done) => return done,
                Err(error) if error.is_conflict() => {}
                Err(error) => return self.failed("update", &error).await,
            }
        }
        let problem = Problem {
            reason: Reason::Unreachable,
            message: "another writer keeps changing the Secret; it is tried again".to_owned(),
            stalled: false,
        };
        Done { again: Again::Soon, ..held(problem, false) }
    }

    async fn create(
        &self,
        target: &PlannedTarget,
        data: &BTreeMap<String, Arc<SecretValue>>,
        incomplete: Option<Problem>,
        remembered: Option<&Remembered>,
    ) -> Result<Done, cluster::Error> {
        let desired = self.desired(target, data);
        let undone = self.undone(target, &desired, remembered);
        if let Some(known) = undone
            && !self.patience.is_zero()
        {
            return Ok(fought_over(known, self.patience));
        }
        let mut metadata = cluster::Metadata {
            namespace: self.stack.namespace.to_string(),
            name: target.name.clone(),
            ..cluster::Metadata::default()
        };
        metadata.labels.insert(marks::MANAGED_BY.to_owned(), marks::OPERATOR.to_owned());
        self.dress(&mut metadata, target, &desired);
        let draft = SecretDraft {
            metadata: &metadata,
            secret_type: target.secret_type.as_str(),
            immutable: false,
            data: data.iter().map(|(key, value)| (key.as_str(), &**value)).collect(),
        };
        self.namespace.begin_write(&target.name);
        let written = self.context.objects.create_secret(&draft).await;
        self.end_write(target, written.as_ref().ok());
        Ok(Done { undid: undone.is_some(), ..self.wrote(target, &desired, &written?, incomplete, false) })
    }

    async fn replace(
        &self,
        target: &PlannedTarget,
        mut secret: Secret,
        remembered: Option<&Remembered>,
    ) -> Result<Done, cluster::Error> {
        let adopting = match self.ownership(target, &secret) {
            Ownership::Ours => false,
            Ownership::HandedOver => true,
            Ownership::Foreign(problem) => return Ok(held(problem, false)),
        };
        if secret.metadata.is_being_deleted {
            let message = "the Secret is being deleted and waits for a finalizer of somebody else".to_owned();
            return Ok(held(Problem { reason: Reason::OwnerConflict, message, stalled: false }, false));
        }
        if secret.secret_type != target.secret_type.as_str() {
            return Ok(held(wrong_type(target, &secret), false));
        }
        let stamp = digest_key::verify(&self.context.digest_key, &secret);
        let current = Current { data: std::mem::take(&mut secret.data), verified: stamp == Stamp::Verified };
        let (data, incomplete, kept) = match self.decide(target, Some(&current)) {
            Decision::Hold(problem) => return Ok(held(problem, true)),
            Decision::Write { data, incomplete, kept } => (data, incomplete, kept),
        };
        let desired = self.desired(target, &data);
        let same_data = current.data.len() == data.len()
            && data.iter().all(|(key, value)| current.data.get(key).is_some_and(|now| value.equals(now.expose())));
        if same_data && !adopting && stamp != Stamp::Broken && Self::is_dressed(&secret.metadata, &desired) {
            let known = self.remember(target, &desired, &secret.metadata.resource_version);
            return Ok(match incomplete {
                None => unchanged(known),
                Some(problem) => Done { remembered: Some(known), kept, ..held(problem, true) },
            });
        }
        let edited = !adopting && stamp == Stamp::Broken && !same_data;
        if edited && self.plan.drift == DriftPolicy::Report {
            let message = "the Secret was edited, and drift: Report leaves it so; set drift: Correct, or delete the \
                           Secret, to have it written again";
            return Ok(held(Problem { reason: Reason::Drifted, message: message.to_owned(), stalled: false }, false));
        }
        if secret.immutable && !same_data {
            let message = "the Secret is immutable; rename the target, or delete the Secret".to_owned();
            return Ok(held(Problem { reason: Reason::TargetImmutable, message, stalled: false }, false));
        }
        let undone = self.undone(target, &desired, remembered);
        if let Some(known) = undone
            && !self.patience.is_zero()
        {
            return Ok(fought_over(known, self.patience));
        }
        let mut metadata = secret.metadata;
        metadata.annotations.remove(marks::ADOPT);
        self.dress(&mut metadata, target, &desired);
        let draft = SecretDraft {
            metadata: &metadata,
            secret_type: &secret.secret_type,
            immutable: secret.immutable,
            data: data.iter().map(|(key, value)| (key.as_str(), &**value)).collect(),
        };
        self.namespace.begin_write(&target.name);
        let written = self.context.objects.replace_secret(&draft).await;
        self.end_write(target, written.as_ref().ok());
        let mut done = self.wrote(target, &desired, &written?, incomplete, edited);
        done.report.changed = !same_data;
        done.kept = kept;
        done.undid = undone.is_some();
        Ok(done)
    }

    /// What we remember, if it is what should be there: then a write that is needed all the same undoes a change, or the
    /// deletion, that somebody else made.
    fn undone<'r>(
        &self,
        target: &PlannedTarget,
        desired: &Desired<'_>,
        remembered: Option<&'r Remembered>,
    ) -> Option<&'r Remembered> {
        remembered.filter(|known| known.desired == self.digest(target, desired))
    }

    fn decide(&self, target: &PlannedTarget, current: Option<&Current>) -> Decision {
        decide(target, &self.plan.secrets, self.findings, current, self.removable)
    }

    /// Whether every key of the target has a value, so that nothing of the present content is needed.
    fn is_complete(&self, target: &PlannedTarget) -> bool {
        target.secrets().all(|index| matches!(self.findings.get(index), Some(Finding::Initialized { .. })))
    }

    /// Whether nothing but missing optional values stands against writing.
    fn has_gaps_only(&self, target: &PlannedTarget) -> bool {
        target.secrets().all(|index| {
            let required = self.plan.secrets.get(index).is_some_and(|secret| secret.required);
            match self.findings.get(index) {
                Some(Finding::Initialized { .. }) => true,
                Some(Finding::Missing(_)) => !required,
                Some(Finding::Error { .. } | Finding::Unknown) | None => false,
            }
        })
    }

    fn wrote(
        &self,
        target: &PlannedTarget,
        desired: &Desired<'_>,
        written: &cluster::Written,
        incomplete: Option<Problem>,
        repaired: bool,
    ) -> Done {
        Done {
            report: TargetReport {
                ready: incomplete.is_none(),
                derived: incomplete.is_some(),
                problem: incomplete,
                resource_version: Some(written.resource_version.clone()),
                changed: true,
            },
            remembered: Some(self.remember(target, desired, &written.resource_version)),
            hindrance: None,
            again: Again::Never,
            repaired,
            kept: BTreeSet::new(),
            undid: false,
        }
    }

    fn end_write(&self, target: &PlannedTarget, written: Option<&cluster::Written>) {
        let version = written.map(|written| written.resource_version.as_str());
        if self.namespace.end_write(&target.name, &self.stack.name, version) {
            self.context.queue.add(self.stack.clone(), super::queue::Lane::User);
        }
        if version.is_some() {
            // The watch tells nobody of our own writes, but a store may log in with what was written.
            let (namespace, name) = (self.stack.namespace.to_string(), target.name.clone());
            super::route::credential(self.context, &Watched::Secret { namespace, name });
        }
    }
}

fn wrong_type(target: &PlannedTarget, secret: &Secret) -> Problem {
    let message = format!(
        "the Secret exists with type {}, wanted is {}, and the type of a Secret cannot change; rename the target, or \
         delete the Secret",
        secret.secret_type,
        target.secret_type.as_str()
    );
    Problem { reason: Reason::TargetImmutable, message, stalled: false }
}
