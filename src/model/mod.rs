//! What a Stack means: pure functions from declarations to a plan, and from what was read to Secrets and status.
//!
//! No client, no SDK, no environment, no clock, no async. Everything here can be tried with a table or a property test.
//!
//! ```text
//! StackSpec + World ──merge──▶ declarations ──plan──▶ Plan ──(reads)──▶ Finding per secret ──render──▶ Decision per target
//!                                                                                └──────── outcome ──▶ StackStatus
//! ```

pub mod backend_key;
pub mod claims;
mod content;
mod document;
pub mod extract;
mod file_template;
mod format;
mod key_rules;
mod layers;
mod merge;
pub mod near;
pub mod outcome;
pub mod path;
pub mod plan;
pub mod quote;
pub mod render;
pub mod store;
mod targets;
pub mod template;
pub mod transform;
mod uid;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::api::stack::{DeletionPolicy, DriftPolicy, Format, MissingPolicy, SecretType, SyncPolicy};
use crate::api::{CatalogSpec, Reason, Scope, StackSpec};
use crate::backend;
use crate::value::SecretValue;

pub use self::file_template::store_file_regex;
pub use self::uid::Uid;

/// A store as a Stack reaches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreRef {
    /// A Store of the Stack's namespace.
    Store(String),
    /// A ClusterStore.
    ClusterStore(String),
}

impl std::fmt::Display for StoreRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(name) => write!(formatter, "Store/{name}"),
            Self::ClusterStore(name) => write!(formatter, "ClusterStore/{name}"),
        }
    }
}

/// An object besides the Stack itself that a plan was computed from, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// A Catalog.
    Catalog(String),
    /// A Stack of the same namespace.
    Stack(String),
    /// A store.
    Store(StoreRef),
}

impl std::fmt::Display for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Catalog(name) => write!(formatter, "Catalog/{name}"),
            Self::Stack(name) => write!(formatter, "Stack/{name}"),
            Self::Store(store) => write!(formatter, "{store}"),
        }
    }
}

/// An object that was looked up.
#[derive(Clone, Debug)]
pub enum Lookup<T> {
    /// It exists and can be read.
    Found(T),
    /// It exists, but not in a form that this version of the API can read.
    Invalid,
}

/// What a store's definition means for the plan of one namespace; see `model::store::facts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreView {
    /// It may be used.
    Usable(crate::model::backend_key::KeyLayout),
    /// It may not, whatever the Stack says: an unusable definition, or a namespace that is not admitted.
    Refused(Problem),
}

/// The objects that a Stack's namespace can see, as far as its plan names them. What is not in here does not exist.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Catalogs by name.
    pub catalogs: BTreeMap<String, Lookup<Arc<CatalogSpec>>>,
    /// Other Stacks of the namespace by object name.
    pub stacks: BTreeMap<String, Lookup<Arc<StackSpec>>>,
    /// Stores, already judged for this namespace.
    pub stores: BTreeMap<StoreRef, StoreView>,
}

/// Something that holds a secret, a target or a whole Stack back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word.
    pub reason: Reason,
    /// What was tried, on which object, what was expected, what to do next.
    pub message: String,
    /// `true` if no other object can cure it: only an edit of this Stack (kstatus "Stalled").
    pub stalled: bool,
}

/// How many characters of a message are kept: names may be long, and a status has a thousand entries.
const MAX_MESSAGE: usize = 512;

impl Problem {
    /// A problem that an edit of another object may cure as well. The message is cut at 512 characters.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { reason, message, stalled: false }
    }

    /// The same problem, marked as one that only an edit of the Stack itself can cure if `stalled`.
    #[must_use]
    pub fn stalled_if(mut self, stalled: bool) -> Self {
        self.stalled = stalled;
        self
    }
}

/// The full place of a value in the Atmos hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinate {
    /// Which of the parts below count.
    pub scope: Scope,
    /// The Atmos stack name; empty for `global`.
    pub stack: String,
    /// The component's name; empty but for `instance`.
    pub component: String,
    /// The NAME, or its `reference`.
    pub name: String,
}

impl Coordinate {
    /// A coordinate whose parts that do not count for `scope` are left empty (only `instance` has a
    /// component, and `global` has no stack either).
    #[must_use]
    pub fn new(scope: Scope, stack: &str, component: &str, name: &str) -> Self {
        let (stack, component) = match scope {
            Scope::Instance => (stack, component),
            Scope::Stack => (stack, ""),
            Scope::Global => ("", ""),
        };
        Self { scope, stack: stack.to_owned(), component: component.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Coordinate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scope {
            Scope::Instance => {
                write!(formatter, "{} of component {} in stack {}", self.name, self.component, self.stack)
            }
            Scope::Stack => write!(formatter, "{} of stack {}", self.name, self.stack),
            Scope::Global => write!(formatter, "global {}", self.name),
        }
    }
}

/// A Stack after the merge: what to read and what to write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The Atmos stack name.
    pub stack: String,
    /// How often to read again; `None` for never on its own.
    pub refresh_interval: Option<Duration>,
    /// What happens to edited targets.
    pub drift: DriftPolicy,
    /// Set if the set of declarations is unknowable: then nothing is read, written or removed.
    pub blocked: Option<Problem>,
    /// One entry for each effective declaration: the stack level first, then components by type and name; NAMEs sorted.
    /// Behind each come the versions that it exposes.
    pub secrets: Vec<PlannedSecret>,
    /// What `declared: false` takes from a component, its bases included: `<type>/<component>` and NAME.
    pub dropped: BTreeSet<(String, Arc<str>)>,
    /// Targets by name.
    pub targets: Vec<PlannedTarget>,
    /// Every object that the plan looked at or for.
    pub inputs: BTreeSet<Input>,
}

impl Plan {
    /// The effective declarations, without the versions that they expose.
    pub fn declarations(&self) -> impl Iterator<Item = &PlannedSecret> {
        self.secrets.iter().filter(|secret| secret.exposure.is_none())
    }
}

/// One effective declaration, or a version that one exposes.
#[derive(Clone, Debug)]
pub struct PlannedSecret {
    /// `<type>/<component>`, or empty at the stack level.
    pub component: String,
    /// The NAME; of an exposed version its key.
    pub name: String,
    /// Where its value lives.
    pub scope: Scope,
    /// Whether targets wait for it.
    pub required: bool,
    /// For people.
    pub description: Option<String>,
    /// Which layer declared it: `stack`, `component`, `inherits/<base>`, `catalog/<name>`, `import/<stack>`.
    pub origin: String,
    /// Used when the value or the path is missing.
    pub default: Option<String>,
    /// One leaf of the value.
    pub path: Option<crate::model::path::Path>,
    /// What then changes it.
    pub transforms: crate::model::transform::Transforms,
    /// Set if it is a document that brings its own keys.
    pub extract: Option<crate::model::extract::Extract>,
    /// Set if it is no declaration, but a version that one exposes.
    pub exposure: Option<Exposure>,
    /// Where to read it, or why it cannot be read.
    pub read: Result<PlannedRead, Problem>,
    /// The store as far as it is known, also when `read` is a problem.
    pub store: Option<StoreRef>,
}

/// A version that a declaration exposes under a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The declaration, by index in [`Plan::secrets`].
    pub of: usize,
    /// The version, as it is written.
    pub version: String,
    /// Whether the key is left out while the store has no such version.
    pub optional: bool,
}

impl PlannedSecret {
    /// Whether the key is left out for this reason, instead of waiting for a value or keeping the last one: an exposed
    /// version follows what the store has.
    #[must_use]
    pub fn is_left_out(&self, problem: &Problem) -> bool {
        self.exposure.as_ref().is_some_and(|exposure| exposure.optional) && problem.reason == Reason::VersionMissing
    }
}

/// Where a value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRead {
    /// The store.
    pub store: StoreRef,
    /// The place in the hierarchy; `None` when `backendKey` names the key outside of it.
    pub coordinate: Option<Coordinate>,
    /// The key in the store.
    pub key: backend::Key,
    /// Whether the store tells no names apart that differ in case alone.
    pub caseless: bool,
}

impl PlannedRead {
    /// What tells the key from others in its store.
    #[must_use]
    pub fn place(&self) -> Cow<'_, str> {
        match self.caseless {
            true => Cow::Owned(self.key.name.to_ascii_lowercase()),
            false => Cow::Borrowed(&self.key.name),
        }
    }
}

/// One Secret to write.
#[derive(Clone, Debug)]
pub struct PlannedTarget {
    /// The Secret's name.
    pub name: String,
    /// `<type>/<component>`, or empty at the stack level.
    pub component: String,
    /// The Secret's type.
    pub secret_type: SecretType,
    /// Labels that the user wants.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the user wants.
    pub annotations: BTreeMap<String, String>,
    /// What happens when the Stack goes.
    pub deletion: DeletionPolicy,
    /// What happens to optional keys whose value is gone.
    pub missing: MissingPolicy,
    /// What happens while a key cannot be read.
    pub sync: SyncPolicy,
    /// How the values are laid out in the Secret.
    pub format: Format,
    /// Key in the Secret, or name in its document, to index in [`Plan::secrets`].
    pub entries: BTreeMap<String, usize>,
    /// Key in the Secret, or name in its document, to what makes its value of several secrets.
    pub templates: BTreeMap<String, template::Template>,
    /// Documents that bring their own keys, by index in [`Plan::secrets`].
    pub documents: BTreeSet<usize>,
    /// Why the target cannot be written whatever is read.
    pub problem: Option<Problem>,
}

impl PlannedTarget {
    /// Everything that the target is made of, by index in [`Plan::secrets`]; some more than once.
    pub fn secrets(&self) -> impl Iterator<Item = usize> {
        let templates = self.templates.values().flat_map(template::Template::secrets);
        self.entries.values().chain(&self.documents).copied().chain(templates)
    }

    /// The keys that the Secret has when every value is there, without those that documents bring: they are known only
    /// once the documents were read.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let document = format::document_key(self.format);
        let each = self.entries.keys().chain(self.templates.keys()).map(String::as_str);
        document.into_iter().chain(each.filter(move |_| document.is_none()))
    }

    /// Whether documents bring further keys to the Secret.
    #[must_use]
    pub fn has_open_keys(&self) -> bool {
        !self.documents.is_empty() && format::document_key(self.format).is_none()
    }

    /// What a document would have to call a value for it to stand under this key of the Secret.
    #[must_use]
    pub fn open_key<'k>(&self, key: &'k str) -> Option<&'k str> {
        self.has_open_keys().then(|| format::key_of(self.format, key)).flatten()
    }
}

/// What a read of one key found.
#[derive(Clone)]
pub enum Fetched {
    /// A value.
    Value(backend::Versioned),
    /// An error; `kind.is_missing()` says whether it means "no value".
    Error(backend::Error),
    /// It was not asked.
    Unknown,
}

/// What is known of one declared secret after its read, its `path`, `transforms`, `extract` and `default`.
#[derive(Clone)]
pub enum Finding {
    /// It has a value.
    Initialized {
        /// The bytes for a target; of a document the whole of it.
        value: Arc<SecretValue>,
        /// The keys that a document brings.
        keys: Option<Arc<crate::model::extract::Keys>>,
        /// The store's version.
        version: String,
        /// Whether the declaration's default is in use.
        from_default: bool,
    },
    /// It has none.
    Missing(Problem),
    /// It could not be read or used; `transient` if asking again may help.
    Error {
        /// Why.
        problem: Problem,
        /// Whether asking again, unchanged, may help.
        transient: bool,
    },
    /// It was not asked.
    Unknown,
}

/// A target's Secret as it is in the cluster, if it is ours.
pub struct Current {
    /// Its data.
    pub data: BTreeMap<String, SecretValue>,
    /// Whether the digest annotation verifies, so that the data are known to be our last good bytes.
    pub verified: bool,
}

/// What to do with a target.
pub enum Decision {
    /// The Secret should hold exactly this.
    Write {
        /// The data.
        data: BTreeMap<String, Arc<SecretValue>>,
        /// Set if the data are not the newest of every key (PerKey, kept keys): written, but the target is not ready.
        incomplete: Option<Problem>,
        /// Optional secrets, by index in [`Plan::secrets`], that are gone and keep their last bytes here.
        kept: BTreeSet<usize>,
    },
    /// The Secret stays as it is.
    Hold(Problem),
}
