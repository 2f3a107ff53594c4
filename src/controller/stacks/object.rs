//! A Stack as it comes over the wire: of its metadata what is used, its spec and status as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Mark;
use crate::api::{Stack, StackStatus, marks};
use crate::model::Lookup;

/// A Stack that any version of the API could have written: whatever is in its spec and status, it can be decoded, so
/// that it disturbs no other. Managed fields, which are most of an object, are dropped while decoding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Document", into = "Document")]
pub struct StackObject {
    meta: ObjectMeta,
    spec: Value,
    status: Value,
}

#[derive(Serialize, Deserialize)]
struct Document {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    status: Value,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<Time>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl From<Document> for StackObject {
    fn from(document: Document) -> Self {
        let Document { metadata, spec, status } = document;
        let Metadata {
            name,
            namespace,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            mut annotations,
        } = metadata;
        annotations.retain(|key, _| key == marks::SYNC_REQUESTED_AT);
        let meta = ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            uid: Some(uid),
            resource_version: Some(resource_version),
            generation: Some(generation),
            creation_timestamp,
            deletion_timestamp,
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        Self { meta, spec, status }
    }
}

impl From<StackObject> for Document {
    fn from(object: StackObject) -> Self {
        let StackObject { meta, spec, status } = object;
        let metadata = Metadata {
            name: meta.name.unwrap_or_default(),
            namespace: meta.namespace.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            annotations: meta.annotations.unwrap_or_default(),
        };
        Self { metadata, spec, status }
    }
}

impl Resource for StackObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        Stack::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        Stack::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        Stack::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        Stack::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl StackObject {
    /// Namespace and name.
    pub(super) fn place(&self) -> (&str, &str) {
        let Self { meta, spec: _, status: _ } = self;
        (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }

    /// What tells a real change from a status write.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            created: self.created().as_second(),
            uid: self.meta.uid.as_deref().unwrap_or_default().into(),
            generation: self.meta.generation.unwrap_or_default(),
            sync_requested: self.sync_requested().map(Box::from),
        }
    }

    /// The version, if it is a number: then it can be compared (KEP-5504, true in practice since etcd3).
    pub(super) fn version_number(&self) -> Option<u64> {
        self.meta.resource_version.as_deref()?.parse().ok()
    }

    fn created(&self) -> jiff::Timestamp {
        self.meta.creation_timestamp.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0)
    }

    fn sync_requested(&self) -> Option<&str> {
        self.meta.annotations.as_ref()?.get(marks::SYNC_REQUESTED_AT).map(String::as_str)
    }
}

/// A Stack as it was read.
pub struct Read {
    /// Identity.
    pub uid: String,
    /// Of the spec.
    pub generation: i64,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// The sync request.
    pub sync_requested: Option<String>,
    /// The spec, if this version of the API can read it.
    pub spec: Lookup<Arc<crate::api::StackSpec>>,
    /// The status; empty if it cannot be read.
    pub status: StackStatus,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    pub(super) raw_status: Value,
}

impl From<StackObject> for Read {
    fn from(object: StackObject) -> Self {
        let (created, sync_requested) = (object.created(), object.sync_requested().map(str::to_owned));
        let StackObject { meta, spec, status } = object;
        Self {
            uid: meta.uid.unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created,
            sync_requested,
            spec: serde_json::from_value(spec).map_or(Lookup::Invalid, |spec| Lookup::Found(Arc::new(spec))),
            status: serde_json::from_value(status.clone()).unwrap_or_default(),
            is_being_deleted: meta.deletion_timestamp.is_some(),
            raw_status: status,
        }
    }
}
