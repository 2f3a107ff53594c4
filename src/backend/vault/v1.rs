//! Version 1 of the KV engine: the last value of each key, and nothing else
//! (<https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v1>).

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use vaultrs::api::kv1::requests::{DeleteSecretRequest, GetSecretRequest, ListSecretRequest};
use zeroize::Zeroizing;

use super::{CONCURRENT, Vault, error, no_versions, value};
use crate::backend::credentials::vault::{Post, failed};
use crate::backend::{Error, ErrorKind, Key, Precondition, Presence, Versioned};

/// Where the object of fields lies in an answer.
const DATA: &[&str] = &["data"];

impl Vault {
    pub(super) async fn read_v1(&self, key: &Key) -> Result<Versioned, Error> {
        let path = self.path(key)?;
        if key.version.is_some() {
            return Err(no_versions());
        }
        let tried = format!("read {path}");
        let request = || GetSecretRequest { mount: self.mount.clone(), path: path.to_owned() };
        let answer = self.login.call(request).await?;
        match answer.status {
            200 => {
                let unreadable = || failed(ErrorKind::Unexpected, &tried, "the answer makes no sense", &answer);
                let value = value::decode(self.encoding, answer.body(), DATA, path)?.ok_or_else(unreadable)?;
                Ok(Versioned { value: value.into(), version: String::new() })
            }
            404 => Err(self.missing(&answer, &tried, path).await),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    /// Looks for the names in their folders, each listed once: this engine has no other metadata.
    pub(super) async fn probe_v1(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        let folders: BTreeSet<String> =
            keys.iter().filter_map(|key| self.path(key).ok()).map(|path| split(path).0.to_owned()).collect();
        if !folders.is_empty()
            && let Err(error) = self.login.ready().await
        {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let lists: Vec<_> = folders
            .into_iter()
            .map(|folder| async move {
                let names = self.list_v1(&folder).await;
                (folder, names)
            })
            .collect();
        let found: BTreeMap<String, Result<Vec<String>, Error>> =
            futures::stream::iter(lists).buffer_unordered(CONCURRENT).collect().await;
        let mount = self.expect_mount().await;
        let answer = |key: &Key| {
            let path = self.path(key)?;
            if key.version.is_some() {
                return Err(no_versions());
            }
            let (folder, name) = split(path);
            match found.get(folder) {
                Some(Ok(names)) if names.iter().any(|found| found == name) => Ok(Presence { version: String::new() }),
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(_)) | None => {
                    mount.clone()?;
                    Err(Error::new(ErrorKind::NotFound, format!("no value at {path} of {}", self.mount)))
                }
            }
        };
        keys.iter().map(answer).collect()
    }

    /// There is no check-and-set here: who writes between the look and the write is overwritten.
    pub(super) async fn write_v1(
        &self,
        path: &str,
        object: Zeroizing<Vec<u8>>,
        precondition: &Precondition,
    ) -> Result<String, Error> {
        match precondition {
            Precondition::None => {}
            Precondition::Absent => match self.probe_one_v1(path).await {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => return Err(Error::new(ErrorKind::Conflict, format!("{path} has a value already"))),
            },
            Precondition::Version(_) => return Err(no_versions()),
        }
        let tried = format!("write {path}");
        let request = || Post { path: format!("{}/{path}", self.mount), body: object.clone() };
        let answer = self.login.call(request).await?;
        match answer.status {
            200..=299 => Ok(String::new()),
            404 => Err(self.missing(&answer, &tried, path).await),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    pub(super) async fn delete_v1(&self, path: &str) -> Result<(), Error> {
        // Vault answers the same whether there was something to delete or not.
        self.probe_one_v1(path).await?;
        let tried = format!("delete {path}");
        let request = || DeleteSecretRequest { mount: self.mount.clone(), path: path.to_owned() };
        let answer = self.login.call(request).await?;
        match answer.status {
            200..=299 => Ok(()),
            404 => Err(self.missing(&answer, &tried, path).await),
            _ => Err(error::of_answer(&answer, &tried)),
        }
    }

    pub(super) async fn list_v1(&self, folder: &str) -> Result<Vec<String>, Error> {
        let request = || ListSecretRequest { mount: self.mount.clone(), path: folder.to_owned() };
        self.names(&self.login.call(request).await?, &format!("list {folder:?}"))
    }

    async fn probe_one_v1(&self, path: &str) -> Result<(), Error> {
        let (folder, name) = split(path);
        if self.list_v1(folder).await?.iter().any(|found| found == name) {
            return Ok(());
        }
        self.expect_mount().await?;
        Err(Error::new(ErrorKind::NotFound, format!("no value at {path} of {}", self.mount)))
    }
}

/// The folder of a path, with its slash, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |at| at + 1))
}
