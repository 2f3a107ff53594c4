//! Where SOPS files come from and go to: ConfigMaps or Secrets of one namespace, or whatever else implements [`Source`].

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::backend::credentials::present;
use crate::backend::kubernetes::from_cluster;
use crate::backend::{Error, ErrorKind};
use crate::cluster::{KeyChange, Metadata, OPAQUE, Objects, SecretDraft};
use crate::value::SecretValue;

/// By what name the API server knows who changed an object.
const FIELD_MANAGER: &str = "kubectl-atmos-secret";

/// What the API server takes as the data of one object (`MaxSecretSize` of `k8s.io/api/core/v1`; the same for ConfigMaps).
const MOST_BYTES: usize = 1 << 20;

/// One object that holds files.
pub struct Files {
    /// How messages name it, such as `ConfigMap payments/files`.
    pub object: String,
    /// The state that was read, for a change that must meet it; empty where the source needs none.
    pub revision: String,
    /// Who else keeps the object as it is, such as `Flux`, so that a change would be undone.
    pub managed_by: Option<&'static str>,
    /// File name to bytes, or why the object cannot be read, such as
    /// [`SourceNotFound`](crate::backend::ErrorKind::SourceNotFound). The bytes are ciphertext if all is well; a file that
    /// somebody forgot to encrypt is a secret all the same.
    pub files: Result<BTreeMap<String, SecretValue>, Error>,
}

impl Files {
    /// The name of the object and what it holds, of a source that needs no more.
    #[must_use]
    pub fn new(object: String, files: Result<BTreeMap<String, SecretValue>, Error>) -> Self {
        Self { object, revision: String::new(), managed_by: None, files }
    }
}

/// A file as it should be.
pub struct FileChange<'a> {
    /// Its name.
    pub file: &'a str,
    /// The place of its object in what [`Source::read`] gave.
    pub place: usize,
    /// The object's state then.
    pub revision: &'a str,
    /// The bytes that were read; `None` for a file that was not there.
    pub before: Option<&'a SecretValue>,
    /// The bytes that there should be.
    pub after: &'a SecretValue,
}

/// The objects of a store. The seam between the cluster, local files and tests.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads every object, each once.
    async fn read(&self) -> Vec<Files>;

    /// Replaces a file, whole, if it still is what was read; at any moment there is the old one or the new one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if somebody else wrote in between; [`ErrorKind::Unsupported`] where nothing can be written.
    async fn write(&self, change: &FileChange<'_>) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, format!("{} cannot be written here", change.file)))
    }
}

/// Objects of one namespace. Their keys are the file names.
pub struct ClusterSource {
    objects: Objects,
    namespace: String,
    kind: SourceKind,
    names: Vec<String>,
}

/// The kinds of objects that hold files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// ConfigMaps.
    ConfigMap,
    /// Secrets.
    Secret,
}

impl ClusterSource {
    /// The objects `names` of `namespace`; all are of one kind, as the API has it.
    #[must_use]
    pub fn new(objects: Objects, namespace: String, kind: SourceKind, names: Vec<String>) -> Self {
        Self { objects, namespace, kind, names }
    }

    async fn object(&self, name: &str) -> Files {
        let object = self.title(name);
        let found = match self.kind {
            SourceKind::ConfigMap => {
                let found = self.objects.get_config_map(&self.namespace, name).await;
                found.map(|found| found.map(|object| (object.metadata, object.data)))
            }
            SourceKind::Secret => {
                let found = self.objects.get_secret(&self.namespace, name).await;
                found.map(|found| found.map(|object| (object.metadata, object.data)))
            }
        };
        match present(found, &object) {
            Ok((metadata, data)) => {
                let managed_by = metadata.managed_by();
                Files { object, revision: metadata.resource_version, managed_by, files: Ok(data) }
            }
            Err(error) => Files::new(object, Err(error)),
        }
    }

    fn title(&self, name: &str) -> String {
        match self.kind {
            SourceKind::ConfigMap => format!("ConfigMap {}/{name}", self.namespace),
            SourceKind::Secret => format!("Secret {}/{name}", self.namespace),
        }
    }

    /// A new object with the one file.
    async fn create(&self, name: &str, file: &str, bytes: &SecretValue) -> Result<(), crate::cluster::Error> {
        match self.kind {
            SourceKind::ConfigMap => self.objects.create_config_map(&self.namespace, name, file, bytes).await.map(drop),
            SourceKind::Secret => {
                let metadata =
                    Metadata { namespace: self.namespace.clone(), name: name.to_owned(), ..Metadata::default() };
                let data = BTreeMap::from([(file, bytes)]);
                let draft = SecretDraft { metadata: &metadata, secret_type: OPAQUE, immutable: false, data };
                self.objects.create_secret(&draft).await.map(drop)
            }
        }
    }
}

#[async_trait]
impl Source for ClusterSource {
    async fn read(&self) -> Vec<Files> {
        // A Store names 16 objects at most, so they are asked for all at once.
        futures::future::join_all(self.names.iter().map(|name| self.object(name))).await
    }

    async fn write(&self, change: &FileChange<'_>) -> Result<(), Error> {
        let FileChange { file, place, revision, before: _, after } = change;
        let Some(name) = self.names.get(*place) else {
            return Err(Error::new(ErrorKind::Unexpected, "the store has no such object"));
        };
        let object = self.title(name);
        if after.expose().len() > MOST_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("{file} would be larger than 1 MiB, as would {object}"),
            ));
        }
        let written = if revision.is_empty() {
            self.create(name, file, after).await
        } else {
            let change = KeyChange {
                namespace: &self.namespace,
                name,
                resource_version: revision,
                key: file,
                value: Some(after),
                field_manager: FIELD_MANAGER,
            };
            match self.kind {
                SourceKind::ConfigMap => self.objects.change_config_map(&change).await.map(drop),
                SourceKind::Secret => self.objects.change_secret(&change).await.map(drop),
            }
        };
        written.map_err(|error| {
            let is_gone = error.refusal().is_some_and(|refusal| refusal.status == 404);
            match is_gone {
                true => Error::new(ErrorKind::Conflict, format!("{object} was deleted at the same time")),
                false => from_cluster(&error, &format!("write {object}")),
            }
        })
    }
}
