//! Values in SOPS files that ConfigMaps or Secrets hold.
//!
//! A key is `<file>#<name>`: a key of one of the source's objects, and a top-level key of that file. The objects are one
//! union; a file that stands in two of them is [`ErrorKind::Ambiguous`], because nothing says which one counts.
//!
//! - One call reads each object once and decrypts each file that it needs once. Between calls nothing is kept but
//!   data keys that a service decrypted (`keys/opened.rs`).
//! - [`probe`](Backend::probe) and [`list`](Backend::list) parse, but decrypt nothing: names are in the clear. What they
//!   say is therefore not authenticated; a read is.
//! - An object that cannot be read fails only the keys that no other object has.
//! - `allowedRecipients` is checked before decryption: a file that somebody else can open, too, is refused.
//! - A file whose name ends in none of `.yaml`, `.yml`, `.json`, `.env`, `.ini` is binary, as to `sops`: it has one value, the
//!   bytes of the plain file, under the name `data`.
//! - There are no versions. With a [`Writer`], which a person at the command line has and the operator has not, values are
//!   set and deleted in place: what does not change keeps its ciphertext. A change meets the file as it was read, or is
//!   made anew; an object that a GitOps tool manages is not written.

mod connect;
mod error;
mod keys;
mod rekey;
mod source;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

pub use self::connect::{FileAccess, connect};
use self::error::from_sops;
pub use self::keys::Keyring;
pub use self::rekey::{Changes, Recipients, Rekey, Rekeyed};
pub use self::source::{ClusterSource, FileChange, Files, Source, SourceKind};
use self::write::Change;
pub use self::write::{CreationRule, NewFiles, Writer};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::sops::{AgeKeys, Document, Encrypted, Format, KeySource};
use crate::value::SecretValue;

/// SOPS files as a store.
pub struct Sops {
    source: Box<dyn Source>,
    keys: Box<dyn KeySource>,
    /// Empty: any.
    allowed_recipients: BTreeSet<String>,
    /// None: nothing can be written.
    writer: Option<Writer>,
}

/// Everything that one call has read.
struct Snapshot {
    objects: Vec<Files>,
}

/// One file, where it is, and how messages name it.
struct Parsed {
    label: String,
    format: Format,
    encrypted: Encrypted,
}

/// A file of a snapshot.
struct Found<'a> {
    /// The place of its object.
    place: usize,
    object: &'a str,
    bytes: &'a SecretValue,
}

impl Sops {
    /// The files of `source`, opened with `keys`. With `allowed_recipients`, only files that no one else can open.
    #[must_use]
    pub fn new(
        source: Box<dyn Source>,
        keys: Box<dyn KeySource>,
        allowed_recipients: impl IntoIterator<Item = String>,
    ) -> Self {
        Self { source, keys, allowed_recipients: allowed_recipients.into_iter().collect(), writer: None }
    }

    /// The same, with all that changes need.
    #[must_use]
    pub fn with_writer(self, writer: Writer) -> Self {
        Self { writer: Some(writer), ..self }
    }

    fn is_allowed(&self, recipient: &str) -> bool {
        self.allowed_recipients.is_empty() || self.allowed_recipients.contains(recipient)
    }

    /// Parses one file and checks who can open it.
    fn parse(&self, snapshot: &Snapshot, file: &str) -> Result<Parsed, Error> {
        let Found { place: _, object, bytes } = snapshot.find(file)?;
        let label = label(file, object);
        let format = Format::of_file(file);
        let encrypted = Encrypted::parse(format, bytes.expose()).map_err(|error| from_sops(&error, &label))?;
        if format == Format::Binary && !encrypted.names().eq([BINARY_NAME]) {
            return Err(Error::new(
                ErrorKind::Undecodable,
                format!("{label} holds something else than `{BINARY_NAME}`"),
            ));
        }
        let recipients = encrypted.recipients();
        if let Some(stranger) = recipients.iter().find(|recipient| !self.is_allowed(recipient)) {
            let stranger: String = stranger.escape_debug().take(96).collect();
            let message = format!("{label} is encrypted to {stranger}, which is not in allowedRecipients");
            return Err(Error::new(ErrorKind::PermissionDenied, message));
        }
        Ok(Parsed { label, format, encrypted })
    }

    async fn decrypt(&self, snapshot: &Snapshot, file: &str) -> Result<Document, Error> {
        let Parsed { label, format: _, encrypted } = self.parse(snapshot, file)?;
        encrypted.decrypt(&*self.keys).await.map_err(|error| from_sops(&error, &label))
    }
}

impl Snapshot {
    async fn take(source: &dyn Source) -> Self {
        Self { objects: source.read().await }
    }

    /// The one object that has the file.
    fn find(&self, file: &str) -> Result<Found<'_>, Error> {
        let mut found: Option<Found<'_>> = None;
        let mut unread = None;
        for (place, Files { object, revision: _, managed_by: _, files }) in self.objects.iter().enumerate() {
            match files {
                Ok(files) => {
                    let Some(bytes) = files.get(file) else { continue };
                    if let Some(Found { place: _, object: other, bytes: _ }) = found {
                        let message = format!("{file} is in {other} and in {object}: remove it from one");
                        return Err(Error::new(ErrorKind::Ambiguous, message));
                    }
                    found = Some(Found { place, object, bytes });
                }
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        match (found, unread) {
            (Some(found), _) => Ok(found),
            // The file may be in the object that we could not read, so it is not missing for certain.
            (None, Some(error)) => Err(error.clone()),
            (None, None) => {
                let objects: Vec<&str> = self.objects.iter().map(|files| files.object.as_str()).collect();
                let message = format!("there is no file {file} in {}", objects.join(", "));
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    /// The names of all files, sorted, each once.
    fn names(&self) -> BTreeSet<&str> {
        self.objects
            .iter()
            .filter_map(|files| files.files.as_ref().ok())
            .flatten()
            .map(|(file, _)| file.as_str())
            .collect()
    }

    /// Why not every object could be read, if so.
    fn first_error(&self) -> Option<&Error> {
        self.objects.iter().find_map(|files| files.files.as_ref().err())
    }
}

/// A key, taken apart at the first `#`: names of files in a ConfigMap have none.
fn split(key: &Key) -> Result<(&str, &str), Error> {
    let Key { name, version } = key;
    if version.is_some() {
        return Err(unsupported("a store of kind sops has no versions"));
    }
    match name.split_once('#') {
        Some((file, name)) if !file.is_empty() && !name.is_empty() => Ok((file, name)),
        Some(_) | None => Err(Error::new(ErrorKind::InvalidKey, format!("{name:?} is not <file>#<name>"))),
    }
}

/// The name of the one value of a binary file.
const BINARY_NAME: &str = "data";

/// How messages name a file. Who mistyped the end of a name sees what became of it.
fn label(file: &str, object: &str) -> String {
    match Format::of_file(file) {
        Format::Yaml | Format::Json | Format::Dotenv | Format::Ini => format!("{file} of {object}"),
        Format::Binary => format!("{file} of {object}, by its name a binary file,"),
    }
}

fn no_name(file: &str, name: &str) -> Error {
    let message = match Format::of_file(file) {
        Format::Yaml | Format::Json | Format::Dotenv | Format::Ini => format!("no value at {file} {name}"),
        Format::Binary => {
            format!("no value at {file} {name}: a binary file, which it is by its name, has one, called {BINARY_NAME}")
        }
    };
    Error::new(ErrorKind::NotFound, message)
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, what)
}

const READ_ONLY: &str = "the files of this store are not written from here: use `kubectl atmos-secret set`";

#[async_trait]
impl Backend for Sops {
    fn capabilities(&self) -> Capabilities {
        // One call reads all objects whatever the number of keys.
        let write = self.writer.is_some();
        Capabilities { write, delete: write, list: true, versions: false, batch: usize::MAX }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        let snapshot = Snapshot::take(&*self.source).await;
        let mut documents: BTreeMap<&str, Result<Document, Error>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            let answer = match split(key) {
                Ok((file, name)) => {
                    if !documents.contains_key(file) {
                        let document = self.decrypt(&snapshot, file).await;
                        documents.insert(file, document);
                    }
                    match documents.get(file) {
                        Some(Ok(document)) => document.get(name).ok_or_else(|| no_name(file, name)),
                        Some(Err(error)) => Err(error.clone()),
                        None => Err(no_name(file, name)),
                    }
                }
                Err(error) => Err(error),
            };
            answers.push(answer.map(|value| Versioned { value: Arc::new(value), version: String::new() }));
        }
        answers
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        let snapshot = Snapshot::take(&*self.source).await;
        let mut files: BTreeMap<&str, Result<BTreeSet<String>, Error>> = BTreeMap::new();
        let mut answer = |key| {
            let (file, name) = split(key)?;
            let names = files.entry(file).or_insert_with(|| {
                self.parse(&snapshot, file).map(|file| file.encrypted.names().map(str::to_owned).collect())
            });
            match names {
                Ok(names) if names.contains(name) => Ok(Presence { version: String::new() }),
                Ok(_) => Err(no_name(file, name)),
                Err(error) => Err(error.clone()),
            }
        };
        keys.iter().map(&mut answer).collect()
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let must_be_absent = match precondition {
            Precondition::None => false,
            Precondition::Absent => true,
            Precondition::Version(_) => return Err(unsupported("a store of kind sops has no versions")),
        };
        self.change(key, &Change::Set { value, must_be_absent }).await?;
        Ok(String::new())
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        // There is no way back here, so both modes are one.
        let (DeleteMode::Recoverable | DeleteMode::Purge) = mode;
        self.change(key, &Change::Remove).await
    }

    /// Names in every file that is a SOPS file. Other files of the objects are passed over.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let snapshot = Snapshot::take(&*self.source).await;
        if let Some(error) = snapshot.first_error() {
            return Err(error.clone());
        }
        let mut names = BTreeSet::new();
        for file in snapshot.names() {
            let Ok(parsed) = self.parse(&snapshot, file) else { continue };
            names.extend(
                parsed.encrypted.names().map(|name| format!("{file}#{name}")).filter(|name| name.starts_with(prefix)),
            );
        }
        Ok(names.into_iter().collect())
    }

    async fn versions(&self, _key: &Key) -> Result<Vec<String>, Error> {
        Err(unsupported("a store of kind sops has no versions"))
    }

    /// Reads every object; decrypts nothing, since a file may be added later and each has its own recipients.
    async fn check(&self) -> Result<(), Error> {
        let snapshot = Snapshot::take(&*self.source).await;
        snapshot.first_error().map_or(Ok(()), |error| Err(error.clone()))
    }
}

/// Reads identities, each text under the name that messages may show.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] for a text that holds no identity.
pub(super) fn age_keys<'a>(identities: impl IntoIterator<Item = (&'a str, &'a SecretValue)>) -> Result<AgeKeys, Error> {
    let mut keys = AgeKeys::default();
    for (name, text) in identities {
        let more = AgeKeys::parse(name, text).map_err(|error| from_sops(&error, "cannot use the age identities"))?;
        keys.extend(more);
    }
    Ok(keys)
}
