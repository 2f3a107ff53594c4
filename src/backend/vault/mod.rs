//! HashiCorp Vault: the KV engine in both versions.
//!
//! | call | version 2 | version 1 |
//! |---|---|---|
//! | read | `GET data/<key>` | `GET <key>` |
//! | probe | `GET metadata/<key>` | `LIST <folder>`: names only |
//! | write | `POST data/<key>`, with `cas` | `POST <key>`; "absent" is a look before |
//! | delete | recoverable: `DELETE data/<key>`; purge: `DELETE metadata/<key>` | `DELETE <key>` |
//! | list | `LIST metadata/<folder>`, folder by folder | `LIST <folder>` |
//! | versions | `GET metadata/<key>` | none |
//!
//! - A key whose latest version is deleted or destroyed is [`ErrorKind::NotFound`]: an older version is not the value. A
//!   deletion can be undone (`vault kv undelete`), but the key is not held back by it, so it is not `PendingDeletion`.
//! - `404` is what Vault says to a wrong mount and a wrong `kvVersion`, too. Before the first key is reported missing, and
//!   before the first write, the mount is therefore looked at, once for each connection.
//! - A listing holds names whose latest version is deleted: names are all that it reads.
//! - Values are as [`value`] says, logins as [`credentials::vault`](super::credentials::vault) does.

mod connect;
mod error;
mod path;
mod requests;
mod v1;
mod v2;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::OnceCell;

pub use self::connect::connect;
use self::path::Prefix;
use self::requests::ReadMount;
use super::credentials::vault::{Answer, Login, failed};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::api::store::Encoding;
use crate::value::SecretValue;

/// Requests of one call at the same time.
const CONCURRENT: usize = 8;
/// Keys of one call, so that it ends well within its deadline at 50 ms for each request.
const BATCH: usize = 128;

/// One KV engine.
pub struct Vault {
    login: Login,
    mount: String,
    engine: Engine,
    encoding: Encoding,
    /// Set once the mount is known to be such an engine, or to be hidden from this login.
    seen: OnceCell<()>,
}

/// The version of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    V1,
    V2,
}

impl Engine {
    fn number(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
        }
    }
}

/// The answer of [`ReadMount`].
#[derive(Deserialize)]
struct Mounted {
    data: MountedData,
}

#[derive(Deserialize)]
struct MountedData {
    #[serde(rename = "type")]
    kind: String,
    options: Option<BTreeMap<String, String>>,
}

/// The answer of a list.
#[derive(Deserialize)]
struct Listed {
    data: ListedData,
}

#[derive(Deserialize)]
struct ListedData {
    keys: Vec<String>,
}

impl Vault {
    /// Looks at what is mounted; `Ok` if it is hidden from this login.
    async fn look_at_mount(&self) -> Result<Answer, Error> {
        let tried = format!("use the mount {} of {}", self.mount, self.login.host());
        let answer = self.login.call(|| ReadMount { mount: self.mount.clone() }).await?;
        if answer.status != 200 {
            return Ok(answer);
        }
        let unreadable = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"));
        let MountedData { kind, options } = answer.parse::<Mounted>().ok_or_else(unreadable)?.data;
        let version = options.as_ref().and_then(|options| options.get("version")).map_or("1", String::as_str);
        let why = match (kind.as_str(), version) {
            ("kv" | "generic", version) if version == self.engine.number() => return Ok(answer),
            ("kv" | "generic", "1") => "it is KV version 1: set kvVersion: 1",
            ("kv" | "generic", "2") => "it is KV version 2: leave kvVersion out",
            _ => "it is no KV engine",
        };
        Err(Error::new(ErrorKind::InvalidConfig, format!("cannot {tried}: {why}")))
    }

    /// Fails if the mount is known to be something else; asks once.
    async fn expect_mount(&self) -> Result<(), Error> {
        let look = async || {
            let answer = self.look_at_mount().await?;
            match answer.status {
                200 | 403 | 404 => Ok(()),
                _ => Err(error::of_answer(&answer, &format!("use the mount {}", self.mount))),
            }
        };
        self.seen.get_or_try_init(look).await.copied()
    }

    /// Whether a 404 without a version's data means that there is no such key: otherwise the error.
    async fn missing(&self, answer: &Answer, tried: &str, name: &str) -> Error {
        if let Err(error) = error::of_missing(answer, tried) {
            return error;
        }
        match self.expect_mount().await {
            Ok(()) => Error::new(ErrorKind::NotFound, format!("no value at {name} of {}", self.mount)),
            Err(error) => error,
        }
    }

    /// One result for each key, in order; a key that comes twice is asked for once.
    async fn each<T: Clone, F: Future<Output = Result<T, Error>>>(
        &self,
        keys: &[Key],
        one: impl Fn(Key) -> F,
    ) -> Vec<Result<T, Error>> {
        if keys.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.login.ready().await {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        let calls: Vec<_> = distinct
            .into_iter()
            .map(|key| {
                let call = one(key.clone());
                async move { (key, call.await) }
            })
            .collect();
        let found: BTreeMap<&Key, Result<T, Error>> =
            futures::stream::iter(calls).buffer_unordered(CONCURRENT).collect().await;
        let lost = || Error::new(ErrorKind::Unexpected, "a key was lost on the way: please report this defect");
        keys.iter().map(|key| found.get(key).cloned().unwrap_or_else(|| Err(lost()))).collect()
    }

    /// The names in a folder, those of folders with a slash at the end; none if there is no such folder.
    fn names(&self, answer: &Answer, tried: &str) -> Result<Vec<String>, Error> {
        let unreadable = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"));
        match answer.status {
            200 => Ok(answer.parse::<Listed>().ok_or_else(unreadable)?.data.keys),
            404 => error::of_missing(answer, tried).map(|()| Vec::new()),
            _ => Err(error::of_answer(answer, tried)),
        }
    }

    /// The path of a key in this engine.
    fn path<'k>(&self, key: &'k Key) -> Result<&'k str, Error> {
        let path = path::of_key(&key.name)?;
        // Version 2 keeps names encrypted; the storage below version 1 takes them for relative paths
        // (`SanityCheck` in `sdk/logical/storage_view.go` of hashicorp/vault), and answers 500.
        if self.engine == Engine::V1 && path.contains("..") {
            let message = format!("{path:?} holds `..`, which version 1 of the KV engine does not take");
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(path)
    }

    async fn list_folder(&self, folder: &str) -> Result<Vec<String>, Error> {
        match self.engine {
            Engine::V1 => self.list_v1(folder).await,
            Engine::V2 => self.list_v2(folder).await,
        }
    }
}

fn no_versions() -> Error {
    Error::new(ErrorKind::Unsupported, "version 1 of the KV engine has no versions")
}

#[async_trait]
impl Backend for Vault {
    fn capabilities(&self) -> Capabilities {
        let versions = self.engine == Engine::V2;
        Capabilities { write: true, delete: true, list: true, versions, batch: BATCH }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        match self.engine {
            Engine::V1 => self.each(keys, |key| async move { self.read_v1(&key).await }).await,
            Engine::V2 => self.each(keys, |key| async move { self.read_v2(&key).await }).await,
        }
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        match self.engine {
            Engine::V1 => self.probe_v1(keys).await,
            Engine::V2 => self.each(keys, |key| async move { self.probe_v2(&key).await }).await,
        }
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let path = self.path(key)?;
        let object = value::encode(value, path)?;
        self.expect_mount().await?;
        match self.engine {
            Engine::V1 => self.write_v1(path, object, &precondition).await,
            Engine::V2 => self.write_v2(path, &object, &precondition).await,
        }
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        let path = self.path(key)?;
        match self.engine {
            Engine::V1 => self.delete_v1(path).await,
            Engine::V2 => self.delete_v2(path, mode).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let Prefix { slash, folder, start } = Prefix::new(prefix)?;
        let mut names = Vec::new();
        let mut folders = vec![(folder.to_owned(), start)];
        while let Some((folder, start)) = folders.pop() {
            for name in self.list_folder(&folder).await?.into_iter().filter(|name| name.starts_with(start)) {
                let path = format!("{folder}{name}");
                if path.ends_with('/') {
                    folders.push((path, ""));
                } else {
                    names.push(format!("{slash}{path}"));
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        match self.engine {
            Engine::V1 => Err(no_versions()),
            Engine::V2 => self.versions_v2(self.path(key)?).await,
        }
    }

    /// Asks what is mounted there: for that a login must be good, and have some right below the mount.
    async fn check(&self) -> Result<(), Error> {
        let answer = self.look_at_mount().await?;
        match answer.status {
            200 => Ok(()),
            403 | 404 => {
                let tried = format!("use the mount {} of {}", self.mount, self.login.host());
                let why = "there is none, or no policy of this login reaches into it";
                Err(failed(ErrorKind::PermissionDenied, &tried, why, &answer))
            }
            _ => Err(error::of_answer(&answer, &format!("use the mount {} of {}", self.mount, self.login.host()))),
        }
    }
}
