//! Values in Secrets of one namespace: the embedded store.
//!
//! A key is `<object>#<key>`: the name of a Secret, and a key in it. Only Secrets that a person marked for this use are
//! read: type `Opaque`, label `secrets.atmos.tools/values: "true"`, and not one of the operator's own targets. A Secret
//! that is not marked is an [`ErrorKind::InvalidConfig`] with the command that marks it, so that neither a Secret made
//! for something else becomes readable through a Stack, nor a forgotten label looks like a missing value.
//!
//! - One GET serves all keys of an object.
//! - There are no versions: a resourceVersion belongs to the object, not to a key, and changes with any label.
//! - [`probe`](Backend::probe) reads the object with its data, because Kubernetes has no metadata for one key. The data
//!   are dropped at once, but the right to read them is needed (guarantee 6 cannot be given).
//! - A write creates the Secret, marked, or replaces it under its resourceVersion; who loses a race reads and tries again.
//! - A deleted key leaves its object, even if that is empty then: the object's labels and annotations are the user's.

mod error;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use rand::RngExt as _;

pub(crate) use self::error::from_cluster;
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::api::marks;
use crate::cluster::{Metadata, OPAQUE, Objects, Secret, SecretDraft, is_object_name};
use crate::value::SecretValue;

/// All values of one Secret together (`MaxSecretSize` of `k8s.io/api/core/v1`: 1 MiB).
const MAX_SECRET: usize = 1 << 20;
/// Objects that are read at the same time by one call: the client speaks HTTP/1.1, so each one is a connection.
const CONCURRENT_GETS: usize = 8;
/// Keys of one call, so that it ends well within its deadline even if each lies in an object of its own.
const BATCH: usize = 1024;
/// Tries of a write that meets others: with ten writers at one object at least one of them succeeds in each round.
const WRITE_TRIES: u32 = 10;
/// The most that is waited before another try of a write; jittered.
const WRITE_WAIT: Duration = Duration::from_millis(40);

/// The Secrets of one namespace as a store.
pub struct Kubernetes {
    objects: Objects,
    namespace: String,
}

/// A key of this store, taken apart.
struct Place<'a> {
    object: &'a str,
    key: &'a str,
}

/// A change of one key.
enum Change<'a> {
    Set { value: &'a SecretValue, must_be_absent: bool },
    Remove,
}

/// The values of one object, or why they cannot be had.
type Values = Result<BTreeMap<String, Arc<SecretValue>>, Error>;

impl Kubernetes {
    /// The store in `namespace`. Asks nothing; see [`Backend::check`].
    #[must_use]
    pub fn new(objects: Objects, namespace: String) -> Self {
        Self { objects, namespace }
    }

    /// The Secret of this name if it is a store of values, `None` if there is no Secret.
    async fn fetch(&self, object: &str) -> Result<Option<Secret>, Error> {
        let found = self.objects.get_secret(&self.namespace, object).await;
        let found = found.map_err(|error| from_cluster(&error, &format!("read {}", self.secret(object))))?;
        match found {
            Some(secret) => self.marked(secret).map(Some),
            None => Ok(None),
        }
    }

    fn marked(&self, secret: Secret) -> Result<Secret, Error> {
        let Secret { metadata, secret_type, immutable: _, data: _ } = &secret;
        let (name, namespace) = (&metadata.name, &self.namespace);
        let refused = |why: String| Err(Error::new(ErrorKind::InvalidConfig, why));
        if metadata.labels.contains_key(marks::MANAGED) {
            return refused(format!("{} is a target of the operator and no store of values", self.secret(name)));
        }
        if secret_type != OPAQUE {
            return refused(format!("{} is not of type {OPAQUE} and holds no values", self.secret(name)));
        }
        if metadata.labels.get(marks::VALUES).map(String::as_str) != Some("true") {
            return refused(format!(
                "{} is not marked as a store of values: kubectl -n {namespace} label secret {name} {}=true",
                self.secret(name),
                marks::VALUES
            ));
        }
        Ok(secret)
    }

    /// The values of every object that `keys` name, each read once.
    async fn load<'a>(&self, keys: &'a [Key]) -> BTreeMap<&'a str, Values> {
        let mut objects: Vec<&str> = keys.iter().filter_map(|key| parse(key).ok()).map(|place| place.object).collect();
        objects.sort_unstable();
        objects.dedup();
        // Owned by the stream, since a borrowing closure would not be general enough for `async_trait`.
        let reads = objects.into_iter().map(|object| async move {
            let values = self.fetch(object).await.map(|secret| {
                let data = secret.map(|secret| secret.data).unwrap_or_default();
                data.into_iter().map(|(key, value)| (key, Arc::new(value))).collect()
            });
            (object, values)
        });
        futures::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_GETS).collect().await
    }

    /// One result for each key, in order.
    async fn each<T>(&self, keys: &[Key], found: impl Fn(&Arc<SecretValue>) -> T) -> Vec<Result<T, Error>> {
        let objects = self.load(keys).await;
        let answer = |key: &Key| {
            let place = parse(key)?;
            match objects.get(place.object) {
                Some(Ok(values)) => values.get(place.key).map(&found).ok_or_else(|| self.missing(&place)),
                Some(Err(error)) => Err(error.clone()),
                None => Err(self.missing(&place)),
            }
        };
        keys.iter().map(answer).collect()
    }

    /// Makes one change under the object's resourceVersion; decides anew if somebody else wrote in between.
    async fn apply(&self, place: &Place<'_>, change: &Change<'_>) -> Result<(), Error> {
        let object = place.object;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = self.fetch(object).await?;
            let data = self.changed(current.as_ref(), place, change)?;
            let size: usize = data.values().map(|value| value.expose().len()).sum();
            if size > MAX_SECRET {
                let message = format!("{} would be larger than 1 MiB", self.secret(object));
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            let written = match &current {
                Some(secret) if secret.immutable => {
                    let message = format!("{} is immutable: delete it, or make another one", self.secret(object));
                    return Err(Error::new(ErrorKind::InvalidConfig, message));
                }
                Some(secret) => {
                    let metadata = &secret.metadata;
                    self.objects
                        .replace_secret(&SecretDraft { metadata, secret_type: OPAQUE, immutable: false, data })
                        .await
                }
                None => {
                    let metadata = Metadata {
                        namespace: self.namespace.clone(),
                        name: object.to_owned(),
                        labels: BTreeMap::from([(marks::VALUES.to_owned(), "true".to_owned())]),
                        ..Metadata::default()
                    };
                    self.objects
                        .create_secret(&SecretDraft {
                            metadata: &metadata,
                            secret_type: OPAQUE,
                            immutable: false,
                            data,
                        })
                        .await
                }
            };
            match written {
                Ok(_) => return Ok(()),
                // A 404 is a Secret that somebody deleted after we read it.
                Err(error) if tries < WRITE_TRIES && (error.is_conflict() || is_gone(&error)) => {
                    let wait = WRITE_WAIT.mul_f64(rand::rng().random_range(0.0..=1.0));
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(from_cluster(&error, &format!("write {}", self.secret(object)))),
            }
        }
    }

    /// All values of the object after the change.
    fn changed<'s>(
        &self,
        current: Option<&'s Secret>,
        place: &Place<'s>,
        change: &Change<'s>,
    ) -> Result<BTreeMap<&'s str, &'s SecretValue>, Error> {
        let stored = current.iter().flat_map(|secret| &secret.data);
        let mut data: BTreeMap<&str, &SecretValue> = stored.map(|(key, value)| (key.as_str(), value)).collect();
        match change {
            Change::Set { value, must_be_absent } => {
                if data.insert(place.key, value).is_some() && *must_be_absent {
                    let message = format!("key {} of {} has a value already", place.key, self.secret(place.object));
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
            }
            Change::Remove => {
                data.remove(place.key).ok_or_else(|| self.missing(place))?;
            }
        }
        Ok(data)
    }

    fn secret(&self, object: &str) -> String {
        format!("Secret {}/{object}", self.namespace)
    }

    fn missing(&self, place: &Place<'_>) -> Error {
        Error::new(ErrorKind::NotFound, format!("no value at key {} of {}", place.key, self.secret(place.object)))
    }
}

fn is_gone(error: &crate::cluster::Error) -> bool {
    error.refusal().is_some_and(|refusal| refusal.status == 404)
}

/// Takes a key apart and checks both parts.
fn parse(key: &Key) -> Result<Place<'_>, Error> {
    let Key { name, version } = key;
    if version.is_some() {
        return Err(no_versions());
    }
    let invalid = |why: &str| Err(Error::new(ErrorKind::InvalidKey, format!("{name:?} {why}")));
    let Some((object, key)) = name.split_once('#') else {
        return invalid("is not <object>#<key>");
    };
    if !is_object_name(object) {
        return invalid("does not name a Secret before the #: lower-case letters, digits, '-' and '.' are allowed");
    }
    if !is_data_key(key) {
        return invalid("has no key of a Secret after the #: letters, digits, '-', '_' and '.' are allowed");
    }
    Ok(Place { object, key })
}

/// What `IsConfigMapKey` of `k8s.io/apimachinery/pkg/util/validation` accepts.
fn is_data_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 253
        && key != "."
        && !key.starts_with("..")
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn no_versions() -> Error {
    Error::new(ErrorKind::Unsupported, "a store of kind kubernetes has no versions")
}

#[async_trait]
impl Backend for Kubernetes {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: false, batch: BATCH }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        self.each(keys, |value| Versioned { value: Arc::clone(value), version: String::new() }).await
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.each(keys, |_| Presence { version: String::new() }).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let place = parse(key)?;
        if value.expose().len() > MAX_SECRET {
            let message = format!("the value for {} is larger than 1 MiB", key.name);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let must_be_absent = match precondition {
            Precondition::None => false,
            Precondition::Absent => true,
            Precondition::Version(_) => return Err(no_versions()),
        };
        self.apply(&place, &Change::Set { value, must_be_absent }).await?;
        Ok(String::new())
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        // There is no way back here, so both modes are one.
        let (DeleteMode::Recoverable | DeleteMode::Purge) = mode;
        self.apply(&parse(key)?, &Change::Remove).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let found = self.objects.list_secrets(&self.namespace, marks::VALUES, "true").await;
        let tried = || format!("list Secrets of namespace {}", self.namespace);
        let secrets = found.map_err(|error| from_cluster(&error, &tried()))?;
        let mut names: Vec<String> = secrets
            .into_iter()
            .filter_map(|secret| self.marked(secret).ok())
            .flat_map(|secret| {
                let object = secret.metadata.name;
                secret.data.into_keys().map(move |key| format!("{object}#{key}"))
            })
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn versions(&self, _key: &Key) -> Result<Vec<String>, Error> {
        Err(no_versions())
    }

    /// Asks for the metadata of one Secret, which need not exist: the right to `get` is all that a read needs.
    async fn check(&self) -> Result<(), Error> {
        let found = self.objects.get_secret_metadata(&self.namespace, "atmos").await;
        let tried = || format!("read Secrets of namespace {}", self.namespace);
        found.map(drop).map_err(|error| from_cluster(&error, &tried()))
    }
}
