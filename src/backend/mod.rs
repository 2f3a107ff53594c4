//! Stores: one trait, one folder for each driver, one wrapper for everything that all of them need.
//!
//! | | driver | read | write | delete | list | versions | watched |
//! |---|---|---|---|---|---|---|---|
//! | `kubernetes` | `backend::kubernetes` | yes | yes | yes | yes | no | yes |
//! | `sops` | `backend::sops` | yes | for a person | for a person | yes | no | yes |
//! | `awsSecretsManager` | `backend::aws_secrets_manager` | 20 a call | yes | with a way back | yes | stage, id | no |
//! | `awsSsm` | `backend::aws_ssm` | 10 a call | yes | yes | yes | number, label | no |
//! | `vault` | `backend::vault` | yes | yes | yes | yes | KV version 2 | no |
//! | `gcpSecretManager` | `backend::gcp_secret_manager` | yes | yes | yes | yes | number, alias | no |
//! | `azureKeyVault` | `backend::azure_key_vault` | yes | yes | with a way back | yes | id | no |
//!
//! ```text
//! spec of a Store ──[connect]──▶ Connected { backend, reads, … }          kept by [pool]
//!
//! reads: [batch]  each key once, in full batches, shared by all who ask
//!   └─▶ backend: [guarded]  deadline, bounded retry, measurement, the store's name in errors
//!         └─▶ driver: [kubernetes], [sops], [vault]  one call to the store; its errors as kinds, in our words
//!               └─▶ [network]  the one door to stores outside the cluster; [credentials]  what opens them
//! ```
//!
//! [`connect`] is the only place that names a driver. [`memory`] is the contract in its plainest form, for tests; the suite
//! in `tests/conformance` holds every driver against the guarantees of [`Backend`], on real servers.

pub mod aws;
pub mod aws_secrets_manager;
pub mod aws_ssm;
pub mod azure_key_vault;
pub mod batch;
pub mod connect;
pub mod credentials;
pub mod encoding;
mod error;
pub mod gcp_secret_manager;
pub mod guarded;
pub mod kubernetes;
pub mod memory;
pub mod network;
pub mod pool;
pub mod rotation;
pub mod sops;
pub mod vault;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

pub use error::{Error, ErrorKind, MESSAGE_LIMIT};

use crate::value::SecretValue;

/// A key of a store, in the store's own syntax, and the version wanted.
///
/// Stores that keep many names in one object (sops, kubernetes) use `<object>#<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The name in the store.
    pub name: String,
    /// The version; `None` is the current one.
    pub version: Option<String>,
}

impl Key {
    /// The current version of `name`.
    #[must_use]
    pub fn current(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None }
    }
}

/// A value as it was read.
#[derive(Clone)]
pub struct Versioned {
    /// The bytes.
    pub value: Arc<SecretValue>,
    /// The version's id; empty where the store has none.
    pub version: String,
}

/// How a store rotates a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// When it last did.
    pub last: Option<Timestamp>,
    /// When it should have done so again, at the latest.
    pub next: Option<Timestamp>,
    /// The service that does it and owns the value, such as `rds`.
    pub owner: Option<String>,
}

/// Metadata of a key that has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The version's id; empty where the store has none.
    pub version: String,
}

/// What must be true for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The key has no value.
    Absent,
    /// The key's current version is this one.
    Version(String),
}

/// How a key is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// As the store does it by default: with a way back where it has one.
    Recoverable,
    /// At once and for good.
    Purge,
}

/// What a driver can do. What it cannot is [`ErrorKind::Unsupported`], never a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Backend::write`].
    pub write: bool,
    /// [`Backend::delete`].
    pub delete: bool,
    /// [`Backend::list`].
    pub list: bool,
    /// [`Backend::versions`] and [`Key::version`].
    pub versions: bool,
    /// How many keys one remote call can read; [`Backend::read`] takes any number.
    pub batch: usize,
}

/// A connected store.
///
/// # Guarantees
/// 1. [`read`](Self::read) and [`probe`](Self::probe) return one result for each key, in the order of the keys.
/// 2. Bytes come back as they were stored: binary, empty, with a newline at the end.
/// 3. A missing key is [`ErrorKind::NotFound`]; it is never reported for a refusal, a failure or a key that is there.
/// 4. One bad key does not fail the others.
/// 5. The version is stable while the value is unchanged and differs after a change, where the store has versions.
/// 6. [`probe`](Self::probe) reads metadata only: it decrypts nothing and needs no right to read values. The one exception
///    is `kubernetes`, where a key has no metadata of its own.
/// 7. What [`capabilities`](Self::capabilities) denies is [`ErrorKind::Unsupported`].
/// 8. Calls may run concurrently. Dropping a call's future leaves the driver usable.
/// 9. No value and no text of the remote side is in an error.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What this driver can do. Constant over its life.
    fn capabilities(&self) -> Capabilities;

    /// Reads values.
    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>>;

    /// Says which keys have a value, without reading it.
    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>>;

    /// Writes a value and returns its version.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the precondition does not hold, [`ErrorKind::TooLarge`], [`ErrorKind::InvalidKey`].
    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error>;

    /// Deletes a key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none.
    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error>;

    /// Names of the keys that start with `prefix`, sorted.
    ///
    /// # Errors
    /// As reading has them.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// The versions of a key, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the store has none.
    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error>;

    /// Whether the store can rotate values itself, so that [`rotations`](Self::rotations) has something to tell.
    fn rotates(&self) -> bool {
        false
    }

    /// How the store rotates each of these values; `None` where it does not. Metadata only.
    async fn rotations(&self, keys: &[Key]) -> Vec<Result<Option<Rotation>, Error>> {
        keys.iter().map(|_| Ok(None)).collect()
    }

    /// Whether the store answers and accepts the credentials.
    ///
    /// # Errors
    /// What is wrong with the connection.
    async fn check(&self) -> Result<(), Error>;
}
