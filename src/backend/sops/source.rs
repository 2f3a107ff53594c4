//! Where SOPS files come from: ConfigMaps or Secrets of one namespace, or whatever else implements [`Source`].

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::backend::Error;
use crate::backend::credentials::present;
use crate::cluster::Objects;
use crate::value::SecretValue;

/// One object that holds files.
pub struct Files {
    /// How messages name it, such as `ConfigMap payments/files`.
    pub object: String,
    /// File name to bytes, or why the object cannot be read: [`ErrorKind::SourceNotFound`] if it is not there. The bytes
    /// are ciphertext if all is well; a file that somebody forgot to encrypt is a secret all the same.
    pub files: Result<BTreeMap<String, SecretValue>, Error>,
}

/// The objects of a store. The seam between the cluster, local files and tests.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads every object, each once.
    async fn read(&self) -> Vec<Files>;
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
        let (object, found) = match self.kind {
            SourceKind::ConfigMap => {
                let found = self.objects.get_config_map(&self.namespace, name).await;
                (format!("ConfigMap {}/{name}", self.namespace), found.map(|found| found.map(|object| object.data)))
            }
            SourceKind::Secret => {
                let found = self.objects.get_secret(&self.namespace, name).await;
                (format!("Secret {}/{name}", self.namespace), found.map(|found| found.map(|object| object.data)))
            }
        };
        let files = present(found, &object);
        Files { object, files }
    }
}

#[async_trait]
impl Source for ClusterSource {
    async fn read(&self) -> Vec<Files> {
        // A Store names 16 objects at most, so they are asked for all at once.
        futures::future::join_all(self.names.iter().map(|name| self.object(name))).await
    }
}
