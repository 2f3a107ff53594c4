//! One target: own or refuse, then write at most once.
//!
//! A Secret is ours if it carries our label and names this Stack in our annotation. Everything else is somebody else's
//! and is never touched, unless a person handed it over with the `adopt` annotation. So a Stack that was re-created or
//! restored finds its Secrets again, and one that names a foreign Secret by mistake does no harm.
//!
//! The usual case costs no call at all: the watch still shows the version that we wrote, and what should be there has the
//! digest of what we wrote. A new Secret costs one POST. Only otherwise the Secret is read, compared and, if it differs,
//! replaced under its resourceVersion.

mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::Context;
use super::digest_key::{self, Stamp};
use super::namespaces::{Namespace, Sight};
use super::relations::StackKey;
use crate::api::stack::{DeletionPolicy, DriftPolicy, SyncPolicy};
use crate::api::{GROUP, Reason, VERSION, marks};
use crate::backend::connect::Watched;
use crate::cluster::{self, Secret, SecretDraft};
use crate::model::outcome::TargetReport;
use crate::model::render::decide;
use crate::model::{Current, Decision, Finding, Plan, PlannedTarget, Problem};
use crate::value::{Digest, SecretValue};

/// How often a write is tried again at once after somebody else wrote first.
const CONFLICT_TRIES: usize = 4;

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
    /// Never: whatever can change it is watched.
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

/// What a Secret should be.
struct Desired<'a> {
    data: &'a BTreeMap<String, Arc<SecretValue>>,
    labels: BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    owner: Option<OwnerReference>,
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
                Ok(Some(secret)) => self.replace(target, secret, remembered).await,
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

    /// Whether the target, or a document of it as it was read, has this key.
    fn is_declared(&self, target: &PlannedTarget, key: &str) -> bool {
        let brings = |index: &usize| match self.findings.get(*index) {
            Some(Finding::Initialized { keys, .. }) => {
                keys.as_ref().zip(target.open_key(key)).is_some_and(|(keys, key)| keys.contains_key(key))
            }
            Some(Finding::Missing(_) | Finding::Error { .. } | Finding::Unknown) | None => false,
        };
        target.keys().any(|own| own == key) || target.documents.iter().any(brings)
    }

    fn desired<'d>(&self, target: &'d PlannedTarget, data: &'d BTreeMap<String, Arc<SecretValue>>) -> Desired<'d> {
        let mut labels = target.labels.clone();
        labels.insert(marks::MANAGED.to_owned(), "true".to_owned());
        labels.insert(marks::STACK.to_owned(), label_value(&self.stack.name));
        if let Some((_, component)) = target.component.split_once('/') {
            labels.insert(marks::COMPONENT.to_owned(), label_value(component));
        }
        let owner = match target.deletion {
            DeletionPolicy::Retain => None,
            DeletionPolicy::Delete => Some(OwnerReference {
                api_version: format!("{GROUP}/{VERSION}"),
                kind: "Stack".to_owned(),
                name: self.stack.name.to_string(),
                uid: self.uid.to_owned(),
                controller: None,
                block_owner_deletion: None,
            }),
        };
        Desired { data, labels, annotations: &target.annotations, owner }
    }

    /// Puts our marks, the user's labels and annotations, the owner and the stamp on.
    fn dress(&self, metadata: &mut cluster::Metadata, target: &PlannedTarget, desired: &Desired<'_>) {
        for (key, value) in &desired.labels {
            metadata.labels.insert(key.clone(), value.clone());
        }
        for (key, value) in desired.annotations {
            metadata.annotations.insert(key.clone(), value.clone());
        }
        metadata.annotations.insert(marks::STACK, self.stack.name.to_string());
        let data = desired.data.iter().map(|(key, value)| (key.as_str(), &**value));
        let stamp = digest_key::stamp(&self.context.digest_key, &self.stack.namespace, &target.name, data);
        metadata.annotations.insert(marks::DIGEST, stamp);
        metadata.owner_references.retain(|owner| !is_stack(owner));
        metadata.owner_references.extend(desired.owner.clone());
    }

    /// Whether [`dress`](Self::dress) would change nothing but the stamp.
    fn is_dressed(metadata: &cluster::Metadata, desired: &Desired<'_>) -> bool {
        let Desired { data: _, labels, annotations, owner } = desired;
        labels.iter().all(|(key, value)| metadata.labels.get(key) == Some(value))
            && annotations.iter().all(|(key, value)| metadata.annotations.get(key) == Some(value.as_str()))
            && metadata.owner_references.iter().filter(|owner| is_stack(owner)).eq(owner.iter())
    }

    fn ownership(&self, target: &PlannedTarget, secret: &Secret) -> Ownership {
        let metadata = &secret.metadata;
        let marked = metadata.labels.get(marks::MANAGED).is_some_and(|value| value == "true");
        let stack = metadata.annotations.get(marks::STACK);
        if marked && stack == Some(&*self.stack.name) {
            return Ownership::Ours;
        }
        if metadata.annotations.get(marks::ADOPT) != Some(&*self.stack.name) {
            let whose = match (marked, stack) {
                (true, Some(stack)) => format!("it belongs to Stack {stack}"),
                (_, _) => "it is not marked as ours".to_owned(),
            };
            let message = format!(
                "Secret {} exists and {whose}; rename the target, delete the Secret, or hand it over: \
                 kubectl -n {} annotate secret {} {}={}",
                target.name,
                self.stack.namespace,
                target.name,
                marks::ADOPT,
                self.stack.name
            );
            return Ownership::Foreign(Problem { reason: Reason::OwnerConflict, message, stalled: false });
        }
        let refused = |why: String| {
            let message = format!("Secret {} is not adopted: {why}", target.name);
            Ownership::Foreign(Problem { reason: Reason::OwnerConflict, message, stalled: false })
        };
        if let Some(owner) = metadata.owner_references.iter().find(|owner| owner.controller == Some(true)) {
            return refused(format!("{} {} controls it", owner.kind, owner.name));
        }
        if secret.secret_type != target.secret_type.as_str() {
            return refused(format!(
                "its type is {}, the target's {}",
                secret.secret_type,
                target.secret_type.as_str()
            ));
        }
        let undeclared: Vec<&str> =
            secret.data.keys().map(String::as_str).filter(|key| !self.is_declared(target, key)).collect();
        if !undeclared.is_empty() {
            let names = undeclared.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            return refused(format!("no declaration names its keys {names}; declare them, or remove them"));
        }
        Ownership::HandedOver
    }

    fn digest(&self, target: &PlannedTarget, desired: &Desired<'_>) -> Digest {
        let Desired { data, labels, annotations, owner } = desired;
        let mut parts: Vec<&[u8]> = vec![target.secret_type.as_str().as_bytes()];
        for (key, value) in labels {
            parts.extend([b"label".as_slice(), key.as_bytes(), value.as_bytes()]);
        }
        for (key, value) in *annotations {
            parts.extend([b"annotation".as_slice(), key.as_bytes(), value.as_bytes()]);
        }
        if let Some(owner) = owner {
            parts.extend([b"owner".as_slice(), owner.uid.as_bytes()]);
        }
        for (key, value) in *data {
            parts.extend([b"data".as_slice(), key.as_bytes(), value.expose()]);
        }
        self.context.process_key.digest(parts)
    }

    fn remember(&self, target: &PlannedTarget, desired: &Desired<'_>, resource_version: &str) -> Remembered {
        Remembered { resource_version: resource_version.into(), desired: self.digest(target, desired) }
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

enum Ownership {
    Ours,
    HandedOver,
    Foreign(Problem),
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

fn is_stack(owner: &OwnerReference) -> bool {
    owner.kind == "Stack" && owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

fn held(problem: Problem, derived: bool) -> Done {
    Done {
        report: TargetReport { problem: Some(problem), derived, ..TargetReport::default() },
        remembered: None,
        again: Again::Never,
        repaired: false,
        kept: BTreeSet::new(),
        undid: false,
    }
}

/// A target that another writer keeps changing: it stays as that writer left it for a while.
fn fought_over(known: &Remembered, patience: Duration) -> Done {
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

fn unchanged(known: Remembered) -> Done {
    Done {
        report: TargetReport {
            ready: true,
            resource_version: Some(known.resource_version.to_string()),
            ..TargetReport::default()
        },
        remembered: Some(known),
        again: Again::Never,
        repaired: false,
        kept: BTreeSet::new(),
        undid: false,
    }
}

/// A label value for selecting: the name itself, or a prefix and a hash where it is too long or not a label value.
///
/// The hash says nothing secret: names are public. Full names are in the annotation.
pub fn label_value(name: &str) -> String {
    let fits = name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fits {
        return name.to_owned();
    }
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(name.as_bytes());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let prefix: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .skip_while(|c| *c == '-')
        .take(40)
        .collect();
    format!("{}-{hash}", if prefix.is_empty() { "x" } else { prefix.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_legal_and_distinct() {
        assert_eq!(label_value("orders-db"), "orders-db");
        let slash = label_value("network/vpc");
        assert!(slash.starts_with("network-vpc-") && slash.len() <= 63, "{slash}");
        assert_ne!(slash, label_value("network-vpc"));
        let long = "a".repeat(200);
        assert!(label_value(&long).len() <= 63);
        assert_ne!(label_value(&long), label_value(&"a".repeat(201)));
        assert!(label_value("///").starts_with("x-"));
    }
}
