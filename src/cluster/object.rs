//! Secrets and ConfigMaps as we hold them, and their JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeStruct as _, Serializer};

use super::buffer::ZeroingBuffer;
use super::error::Error;
use crate::value::SecretValue;

/// The type of a Secret that no one but its users interprets.
pub const OPAQUE: &str = "Opaque";

/// Annotations of an object. Their texts count as secret, since kubectl's `last-applied-configuration` holds all data of
/// a Secret: there is no `Debug`, and a text comes out only by its key.
#[derive(Default)]
pub struct Annotations(BTreeMap<String, SecretValue>);

impl Annotations {
    /// The text of one annotation.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|text| std::str::from_utf8(text.expose()).ok())
    }

    /// Sets one annotation.
    pub fn insert(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.0.insert(key.into(), SecretValue::from(text.into()));
    }

    /// Takes one annotation off; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Metadata of an object, as much of it as a replacement must carry on.
#[derive(Default)]
pub struct Metadata {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Identifies the object over its life; empty in a draft of a new one.
    pub uid: String,
    /// Identifies the object's state; empty in a draft of a new one.
    pub resource_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: Annotations,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Whether the object is being deleted and only waits for finalizers.
    pub is_being_deleted: bool,
    /// Who wrote fields of it, by the names that they gave themselves. Not sent: the API server keeps this itself.
    pub field_managers: BTreeSet<String>,
}

/// A Secret as it was read.
pub struct Secret {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its type, such as [`OPAQUE`].
    pub secret_type: String,
    /// Whether its data can never change.
    pub immutable: bool,
    /// Its data.
    pub data: BTreeMap<String, SecretValue>,
}

/// A ConfigMap as it was read.
pub struct ConfigMap {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its text and its binary data. People put values where they should not, so these count as secret too.
    pub data: BTreeMap<String, SecretValue>,
}

/// A Secret to be written.
pub struct SecretDraft<'a> {
    /// Namespace, name, labels, annotations, owners and finalizers; for a replacement also `uid` and `resource_version`.
    pub metadata: &'a Metadata,
    /// Its type, such as [`OPAQUE`].
    pub secret_type: &'a str,
    /// Whether its data can never change.
    pub immutable: bool,
    /// Its data, all of them.
    pub data: BTreeMap<&'a str, &'a SecretValue>,
}

/// What the API server says about an object that it has just stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Identifies the object over its life.
    pub uid: String,
    /// Identifies the object's new state.
    pub resource_version: String,
}

/// A token of a ServiceAccount.
pub struct IssuedToken {
    /// The token: a credential, as secret as any value.
    pub token: SecretValue,
    /// When it stops being one.
    pub expires: jiff::Timestamp,
}

pub(super) fn encode_token_request(audience: &str, life: Duration) -> Result<ZeroingBuffer, Error> {
    let request = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": life.as_secs()},
    });
    let mut buffer = ZeroingBuffer::default();
    match serde_json::to_writer(&mut buffer, &request) {
        Ok(()) => Ok(buffer),
        // Writing to memory cannot fail, and every key is text.
        Err(_) => Err(Error::Unreadable("TokenRequest")),
    }
}

pub(super) fn decode_token(body: &[u8]) -> Option<IssuedToken> {
    let raw: RawTokenRequest =
        serde_json::from_slice(body).ok().filter(|raw: &RawTokenRequest| raw.kind == "TokenRequest")?;
    let RawTokenStatus { token: Text(token), expires } = raw.status;
    Some(IssuedToken { token, expires: expires.parse().ok()? })
}

pub(super) fn decode_secret(body: &[u8]) -> Option<Secret> {
    serde_json::from_slice::<RawSecret>(body).ok().filter(|raw| raw.kind == "Secret").map(RawSecret::into_secret)
}

/// The Secrets of one page and the token of the next.
pub(super) fn decode_secret_list(body: &[u8]) -> Option<(Vec<Secret>, Option<String>)> {
    let list: RawList = serde_json::from_slice(body).ok().filter(|list: &RawList| list.kind == "SecretList")?;
    let next = list.metadata.next.filter(|token| !token.is_empty());
    // Items of a list carry no kind of their own.
    Some((list.items.into_iter().map(RawSecret::into_secret).collect(), next))
}

pub(super) fn decode_config_map(body: &[u8]) -> Option<ConfigMap> {
    let raw: RawConfigMap = serde_json::from_slice(body).ok().filter(|raw: &RawConfigMap| raw.kind == "ConfigMap")?;
    let text = raw.data.unwrap_or_default().into_iter().map(|(key, Text(value))| (key, value));
    let binary = raw.binary_data.unwrap_or_default().into_iter().map(|(key, Base64(value))| (key, value));
    Some(ConfigMap { metadata: raw.metadata.into_metadata(), data: text.chain(binary).collect() })
}

pub(super) fn decode_metadata(body: &[u8]) -> Option<Metadata> {
    serde_json::from_slice::<RawObject>(body).ok().map(|raw| raw.metadata.into_metadata())
}

pub(super) fn decode_written(body: &[u8]) -> Option<Written> {
    let metadata = decode_metadata(body)?;
    Some(Written { uid: metadata.uid, resource_version: metadata.resource_version })
}

pub(super) fn encode(draft: &SecretDraft<'_>, replaces: bool) -> Result<ZeroingBuffer, Error> {
    // Four bytes of base64 for three bytes of data, and some space for keys and metadata, so that it rarely grows.
    let values: usize = draft.data.values().map(|value| value.expose().len()).sum();
    let mut buffer = ZeroingBuffer::with_capacity(values.saturating_mul(4) / 3 + 4096);
    match serde_json::to_writer(&mut buffer, &Document { draft, replaces }) {
        Ok(()) => Ok(buffer),
        // Writing to memory cannot fail, and every key is text.
        Err(_) => Err(Error::Unreadable("Secret")),
    }
}

#[derive(serde::Deserialize)]
struct RawObject {
    metadata: RawMetadata,
}

#[derive(serde::Deserialize)]
struct RawSecret {
    #[serde(default)]
    kind: String,
    metadata: RawMetadata,
    #[serde(default, rename = "type")]
    secret_type: Option<String>,
    #[serde(default)]
    immutable: Option<bool>,
    #[serde(default)]
    data: Option<BTreeMap<String, Base64>>,
}

impl RawSecret {
    fn into_secret(self) -> Secret {
        let Self { kind: _, metadata, secret_type, immutable, data } = self;
        Secret {
            metadata: metadata.into_metadata(),
            secret_type: secret_type.unwrap_or_else(|| OPAQUE.to_owned()),
            immutable: immutable.unwrap_or_default(),
            data: data.unwrap_or_default().into_iter().map(|(key, Base64(value))| (key, value)).collect(),
        }
    }
}

#[derive(serde::Deserialize)]
struct RawList {
    kind: String,
    metadata: RawListMetadata,
    items: Vec<RawSecret>,
}

#[derive(serde::Deserialize)]
struct RawListMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(serde::Deserialize)]
struct RawTokenRequest {
    kind: String,
    status: RawTokenStatus,
}

#[derive(serde::Deserialize)]
struct RawTokenStatus {
    token: Text,
    #[serde(rename = "expirationTimestamp")]
    expires: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfigMap {
    kind: String,
    metadata: RawMetadata,
    #[serde(default)]
    data: Option<BTreeMap<String, Text>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, Base64>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    uid: String,
    resource_version: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Text>>,
    #[serde(default)]
    owner_references: Option<Vec<OwnerReference>>,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    managed_fields: Option<Vec<RawManagedFields>>,
}

#[derive(serde::Deserialize)]
struct RawManagedFields {
    #[serde(default)]
    manager: String,
}

impl RawMetadata {
    fn into_metadata(self) -> Metadata {
        let Self {
            name,
            namespace,
            uid,
            resource_version,
            labels,
            annotations,
            owner_references,
            finalizers,
            deletion_timestamp,
            managed_fields,
        } = self;
        Metadata {
            namespace,
            name,
            uid,
            resource_version,
            labels: labels.unwrap_or_default(),
            annotations: Annotations(
                annotations.unwrap_or_default().into_iter().map(|(key, Text(text))| (key, text)).collect(),
            ),
            owner_references: owner_references.unwrap_or_default(),
            finalizers: finalizers.unwrap_or_default(),
            is_being_deleted: deletion_timestamp.is_some(),
            field_managers: managed_fields.into_iter().flatten().map(|entry| entry.manager).collect(),
        }
    }
}

/// Bytes that stand as base64 in JSON.
struct Base64(SecretValue);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decoder;
        impl Visitor<'_> for Decoder {
            type Value = Base64;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
                // The decoder's own message would quote a character of the value.
                STANDARD.decode(text).map(|bytes| Base64(SecretValue::new(bytes))).map_err(|_| E::custom("not base64"))
            }
        }
        deserializer.deserialize_str(Decoder).map_err(|_| D::Error::custom("not base64"))
    }
}

/// Text that counts as secret.
struct Text(SecretValue);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
            .map(|text| Self(SecretValue::from(text)))
            .map_err(|_| D::Error::custom("not text"))
    }
}

/// A draft as the API server wants it.
struct Document<'a> {
    draft: &'a SecretDraft<'a>,
    replaces: bool,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SecretDraft { metadata, secret_type, immutable, data } = self.draft;
        let mut document = serializer.serialize_struct("Secret", 6)?;
        document.serialize_field("apiVersion", "v1")?;
        document.serialize_field("kind", "Secret")?;
        document.serialize_field("metadata", &MetadataDocument { metadata, replaces: self.replaces })?;
        document.serialize_field("type", secret_type)?;
        if *immutable {
            document.serialize_field("immutable", immutable)?;
        }
        document.serialize_field("data", &DataDocument(data))?;
        document.end()
    }
}

struct MetadataDocument<'a> {
    metadata: &'a Metadata,
    replaces: bool,
}

impl Serialize for MetadataDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Metadata {
            namespace,
            name,
            uid,
            resource_version,
            labels,
            annotations,
            owner_references,
            finalizers,
            is_being_deleted: _,
            field_managers: _,
        } = self.metadata;
        let mut document = serializer.serialize_struct("ObjectMeta", 8)?;
        document.serialize_field("namespace", namespace)?;
        document.serialize_field("name", name)?;
        if self.replaces {
            document.serialize_field("uid", uid)?;
            document.serialize_field("resourceVersion", resource_version)?;
        }
        document.serialize_field("labels", labels)?;
        document.serialize_field("annotations", &AnnotationsDocument(annotations))?;
        document.serialize_field("ownerReferences", owner_references)?;
        document.serialize_field("finalizers", finalizers)?;
        document.end()
    }
}

struct AnnotationsDocument<'a>(&'a Annotations);

impl Serialize for AnnotationsDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(Some(self.0.0.len()))?;
        for key in self.0.keys() {
            document.serialize_entry(key, &self.0.get(key))?;
        }
        document.end()
    }
}

struct DataDocument<'a>(&'a BTreeMap<&'a str, &'a SecretValue>);

impl Serialize for DataDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            document.serialize_entry(key, &Encoded(value))?;
        }
        document.end()
    }
}

/// Bytes that leave as base64.
pub(super) struct Encoded<'a>(pub(super) &'a SecretValue);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Formatted straight into the writer: no copy of the value in between.
        serializer.collect_str(&Base64Display::new(self.0.expose(), &STANDARD))
    }
}
