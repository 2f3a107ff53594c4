//! The one vocabulary of reasons, used in status, Events, metrics and the plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Why something is as it is, in one stable word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name),+
        }

        impl Reason {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// What the word means, as the documentation has it.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

reasons! {
    /// Every target equals what the stores held at the last read.
    Synced,
    /// The store answers with the credentials given.
    Connected,
    /// `suspend: true`: nothing is read or written.
    Suspended,
    /// A declaration holds its value at one version: it does not follow the store.
    Pinned,
    /// The store should have rotated a value by now and did not.
    RotationOverdue,
    /// The stored object, or a part of it, is not what this version of the API knows.
    InvalidSpec,
    /// A target or a component names something that no declaration declares.
    NotDeclared,
    /// A declaration names no store, and there is no `defaultStore`.
    NoBackend,
    /// One layer sets both `store` and `sops`, or `sops` names a store of another kind.
    AmbiguousBackend,
    /// The Store or ClusterStore does not exist.
    BackendNotFound,
    /// An imported Catalog or Stack does not exist or cannot be used.
    CatalogNotFound,
    /// A component inherits from one that does not exist.
    BaseNotFound,
    /// Components, Catalogs or Stacks inherit from each other in a circle.
    InheritanceCycle,
    /// An explicit `scope` differs from the one that the position implies.
    ScopeConflict,
    /// A value cannot be set here for a name that is only inherited (plugin).
    NotOverridable,
    /// Two different coordinates lead to one backend key.
    PathCollision,
    /// A name cannot be a key in the backend or in a Secret.
    InvalidKeyName,
    /// A target's definition cannot be written as it stands.
    InvalidTarget,
    /// The Secret exists with another type, or is immutable.
    TargetImmutable,
    /// The Secret belongs to somebody else.
    OwnerConflict,
    /// A limit on the number of declarations or targets is exceeded.
    TooManySecrets,
    /// The store holds no value for the key.
    ValueMissing,
    /// The store holds the key, but not the version asked for.
    VersionMissing,
    /// The value is marked for deletion in its store.
    PendingDeletion,
    /// The store refused to let these credentials read.
    AccessDenied,
    /// The store did not accept the credentials.
    AuthFailed,
    /// The store asked to be called less often.
    Throttled,
    /// The store did not answer.
    Unreachable,
    /// The store did not answer in time.
    Timeout,
    /// A ConfigMap or Secret that a Store names does not exist.
    SourceNotFound,
    /// A SOPS source holds a file that is not encrypted.
    NotEncrypted,
    /// A SOPS file cannot be decrypted or read.
    DecryptFailed,
    /// A SOPS file was changed after it was encrypted.
    MacMismatch,
    /// None of the keys held opens the SOPS file.
    NoMatchingKey,
    /// `path`, `extract` or a step of `transforms` asks for a document with structure, and the value is none.
    NotStructured,
    /// The value has structure, but nothing at the path or under the name that is asked for.
    PathNotFound,
    /// A step of `transforms`, or a template, cannot be done with the values read.
    TransformFailed,
    /// A value cannot stand where it is to be written: it is no text, or holds a NUL.
    TypeMismatch,
    /// A label or an annotation of a target looks like a template: they never take values.
    TaintedSink,
    /// A value, or a Secret as a whole, is larger than allowed.
    ValueTooLarge,
    /// Somebody edited a target, and `drift: Report` leaves it so or it is edited again and again.
    Drifted,
    /// The ClusterStore does not admit this namespace.
    NamespaceNotAllowed,
    /// The store's address is not on the operator's allow-list, or leads where no store may be.
    EndpointNotAllowed,
    /// The operator has no rights on Secrets or ConfigMaps of this namespace.
    GrantMissing,
    /// An admission policy or webhook of the cluster refused the write.
    AdmissionDenied,
    /// The namespace's quota is exhausted.
    QuotaExceeded,
    /// The store or its kind cannot do what is asked.
    Unsupported,
    /// A defect of the operator: please report it.
    InternalError,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
