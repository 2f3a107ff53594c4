//! Version 2 of the KV engine: values with versions and metadata
//! (<https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use vaultrs::api::kv2::requests::{
    DeleteLatestSecretVersionRequest, DeleteSecretMetadataRequest, ListSecretsRequest, ReadSecretMetadataRequest,
    ReadSecretRequest,
};
use zeroize::Zeroizing;

use super::{Vault, error, value};
use crate::backend::credentials::vault::{Answer, Post, failed};
use crate::backend::{DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};

/// Where the object of fields lies in an answer.
const DATA: &[&str] = &["data", "data"];

/// What is known of a key without its values.
#[derive(Deserialize)]
struct Metadata {
    /// 0: no version was ever written.
    current_version: u64,
    versions: BTreeMap<String, State>,
}

/// One version without its value.
#[derive(Deserialize)]
struct State {
    /// Empty, or the time of its deletion, which may be to come (`delete_version_after`).
    deletion_time: String,
    destroyed: bool,
}

/// The answer to a read or a write, without the value.
#[derive(Deserialize)]
struct Head<T> {
    data: T,
}

#[derive(Deserialize)]
struct ReadData {
    metadata: ReadMetadata,
}

#[derive(Deserialize)]
struct ReadMetadata {
    version: u64,
}

#[derive(Deserialize)]
struct Written {
    version: u64,
}

impl State {
    fn is_gone(&self) -> bool {
        // A time that cannot be read proves nothing: no key is called missing for it.
        self.destroyed
            || (!self.deletion_time.is_empty()
                && self.deletion_time.parse::<Timestamp>().is_ok_and(|at| at <= Timestamp::now()))
    }
}

impl Metadata {
    fn is_gone(&self, version: u64) -> bool {
        self.versions.get(&version.to_string()).is_none_or(State::is_gone)
    }
}

impl Vault {
    pub(super) async fn read_v2(&self, key: &Key) -> Result<Versioned, Error> {
        let path = self.path(key)?;
        let version = wanted(key)?;
        let tried = format!("read {path}");
        let request = || ReadSecretRequest { mount: self.mount.clone(), path: path.to_owned(), version };
        let answer = self.login.call(request).await?;
        let unreadable = || failed(ErrorKind::Unexpected, &tried, "the answer makes no sense", &answer);
        match answer.status {
            200 => {
                let ReadMetadata { version } = answer.parse::<Head<ReadData>>().ok_or_else(unreadable)?.data.metadata;
                let value = value::decode(self.encoding, answer.body(), DATA, path)?.ok_or_else(unreadable)?;
                Ok(Versioned { value: value.into(), version: version.to_string() })
            }
            404 => Err(self.why_missing(&answer, path, version).await),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    /// Tells a deleted version from one that never was, and that from a key that is not there.
    async fn why_missing(&self, answer: &Answer, path: &str, wanted: Option<u64>) -> Error {
        let gone = answer.parse::<Head<ReadData>>().map(|head| head.data.metadata.version);
        match (gone, wanted) {
            (Some(version), None) => self.deleted(path, version),
            (Some(version), Some(_)) => {
                Error::new(ErrorKind::VersionNotFound, format!("version {version} of {path} was deleted"))
            }
            (None, None) => self.missing(answer, &format!("read {path}"), path).await,
            (None, Some(version)) => match self.metadata(path).await {
                Ok(_) => no_such_version(path, version),
                // Without the right to read metadata the key itself may be missing, too; both are missing.
                Err(error) if error.kind == ErrorKind::PermissionDenied => no_such_version(path, version),
                Err(error) => error,
            },
        }
    }

    pub(super) async fn probe_v2(&self, key: &Key) -> Result<Presence, Error> {
        let path = self.path(key)?;
        let wanted = wanted(key)?;
        let metadata = self.metadata(path).await?;
        let version = wanted.unwrap_or(metadata.current_version);
        match (metadata.is_gone(version), wanted) {
            (false, _) => Ok(Presence { version: version.to_string() }),
            (true, Some(version)) => Err(no_such_version(path, version)),
            (true, None) => Err(self.deleted(path, version)),
        }
    }

    pub(super) async fn versions_v2(&self, path: &str) -> Result<Vec<String>, Error> {
        let metadata = self.metadata(path).await?;
        let readable = metadata.versions.iter().filter(|(_, state)| !state.is_gone());
        let mut numbers: Vec<u64> = readable.filter_map(|(number, _)| number.parse().ok()).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbers.iter().map(u64::to_string).collect())
    }

    pub(super) async fn write_v2(
        &self,
        path: &str,
        object: &[u8],
        precondition: &Precondition,
    ) -> Result<String, Error> {
        let cas = match precondition {
            Precondition::None => None,
            Precondition::Absent => Some(0),
            Precondition::Version(version) => Some(number(version).ok_or_else(|| changed(path))?),
        };
        let first = self.put(path, object, cas).await?;
        let refused = first.status == 400 && first.refusal().is_some_and(|refusal| refusal.says("check-and-set"));
        if !refused {
            return self.written(&first, path);
        }
        // A deleted key keeps its number, and an engine can ask for the number with every write (`cas_required`).
        let metadata = match self.metadata(path).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind == ErrorKind::NotFound => {
                Metadata { current_version: 0, versions: BTreeMap::new() }
            }
            Err(error) => return Err(error),
        };
        let current = metadata.current_version;
        match precondition {
            Precondition::None => {}
            Precondition::Absent if metadata.is_gone(current) => {}
            Precondition::Absent | Precondition::Version(_) => return Err(changed(path)),
        }
        let second = self.put(path, object, Some(current)).await?;
        self.written(&second, path)
    }

    async fn put(&self, path: &str, object: &[u8], cas: Option<u64>) -> Result<Answer, Error> {
        let request = || {
            let options = cas.map(|version| format!(r#","options":{{"cas":{version}}}"#)).unwrap_or_default();
            let mut body = Zeroizing::new(Vec::with_capacity(object.len().saturating_add(options.len() + 16)));
            for part in [br#"{"data":"#.as_slice(), object, options.as_bytes(), b"}"] {
                body.extend_from_slice(part);
            }
            Post { path: format!("{}/data/{path}", self.mount), body }
        };
        self.login.call(request).await
    }

    fn written(&self, answer: &Answer, path: &str) -> Result<String, Error> {
        let tried = format!("write {path}");
        match answer.status {
            200 => match answer.parse::<Head<Written>>() {
                Some(head) => Ok(head.data.version.to_string()),
                None => Err(failed(ErrorKind::Unexpected, &tried, "the answer makes no sense", answer)),
            },
            404 => Err(not_writable(&tried, answer)),
            _ => Err(error::of_answer(answer, &tried)),
        }
    }

    pub(super) async fn delete_v2(&self, path: &str, mode: DeleteMode) -> Result<(), Error> {
        let metadata = self.metadata(path).await?;
        let tried = format!("delete {path}");
        let (mount, path) = (&self.mount, path.to_owned());
        let answer = match mode {
            DeleteMode::Purge => {
                let request = || DeleteSecretMetadataRequest { mount: mount.clone(), path: path.clone() };
                self.login.call(request).await?
            }
            DeleteMode::Recoverable if metadata.is_gone(metadata.current_version) => {
                return Err(self.deleted(&path, metadata.current_version));
            }
            DeleteMode::Recoverable => {
                let request = || DeleteLatestSecretVersionRequest { mount: mount.clone(), path: path.clone() };
                self.login.call(request).await?
            }
        };
        match answer.status {
            200..=299 => Ok(()),
            404 => Err(not_writable(&tried, &answer)),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    pub(super) async fn list_v2(&self, folder: &str) -> Result<Vec<String>, Error> {
        let request = || ListSecretsRequest { mount: self.mount.clone(), path: folder.to_owned() };
        self.names(&self.login.call(request).await?, &format!("list {folder:?}"))
    }

    async fn metadata(&self, path: &str) -> Result<Metadata, Error> {
        let tried = format!("read the metadata of {path}");
        let request = || ReadSecretMetadataRequest { mount: self.mount.clone(), path: path.to_owned() };
        let answer = self.login.call(request).await?;
        match answer.status {
            200 => match answer.parse::<Head<Metadata>>() {
                Some(head) => Ok(head.data),
                None => Err(failed(ErrorKind::Unexpected, &tried, "the answer makes no sense", &answer)),
            },
            404 => Err(self.missing(&answer, &tried, path).await),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    fn deleted(&self, path: &str, version: u64) -> Error {
        let mount = &self.mount;
        let message = match version {
            0 => format!("no value at {path} of {mount}: there is only metadata"),
            version => format!(
                "no value at {path} of {mount}: its latest version, {version}, was deleted (vault kv undelete brings it \
                 back, unless it was destroyed)"
            ),
        };
        Error::new(ErrorKind::NotFound, message)
    }
}

/// The version that a key asks for. To Vault 0 means the latest one, so that is none.
fn wanted(key: &Key) -> Result<Option<u64>, Error> {
    let Some(version) = &key.version else { return Ok(None) };
    match number(version) {
        Some(number) => Ok(Some(number)),
        None => {
            let message = format!("{} has no version {version:?}: versions are numbers from 1 on", key.name);
            Err(Error::new(ErrorKind::VersionNotFound, message))
        }
    }
}

/// A number from 1 on as Vault writes it.
fn number(version: &str) -> Option<u64> {
    let digits = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
    version.parse().ok().filter(|_| digits)
}

fn no_such_version(path: &str, version: u64) -> Error {
    Error::new(ErrorKind::VersionNotFound, format!("{path} has no version {version} that can be read"))
}

fn changed(path: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("cannot write {path}: its current version is another one"))
}

fn not_writable(tried: &str, answer: &Answer) -> Error {
    let why = "there is no KV engine of this version at the mount; check mount, kvVersion and namespace";
    failed(ErrorKind::InvalidConfig, tried, why, answer)
}
