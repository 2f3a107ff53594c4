//! Changes of one key in an object's data, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::buffer::ZeroingBuffer;
use super::error::Error;
use super::object::Encoded;
use crate::value::SecretValue;

/// A change of one key in the data of a ConfigMap or a Secret; all else stays as it is.
pub struct KeyChange<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The state that the object must still be in.
    pub resource_version: &'a str,
    /// The key.
    pub key: &'a str,
    /// Its value, which is text in a ConfigMap; `None` takes the key away.
    pub value: Option<&'a SecretValue>,
    /// By what name the API server knows who changed it.
    pub field_manager: &'a str,
}

/// A merge patch (RFC 7386) of one key of a ConfigMap, wherever it stood before.
pub(super) fn encode_config_map_change(change: &KeyChange<'_>) -> Result<ZeroingBuffer, Error> {
    let text = change.value.map(text_of).transpose()?;
    let metadata = BTreeMap::from([("resourceVersion", change.resource_version)]);
    let nothing: BTreeMap<&str, Option<&str>> = BTreeMap::from([(change.key, None)]);
    encode_any("ConfigMap", &ConfigMapChange { metadata, data: BTreeMap::from([(change.key, text)]), binary: nothing })
}

/// A merge patch (RFC 7386) of one key of a Secret.
pub(super) fn encode_secret_change(change: &KeyChange<'_>) -> Result<ZeroingBuffer, Error> {
    let metadata = BTreeMap::from([("resourceVersion", change.resource_version)]);
    encode_any("Secret", &SecretChange { metadata, data: BTreeMap::from([(change.key, change.value.map(Encoded))]) })
}

/// A new ConfigMap with one key.
pub(super) fn encode_config_map(
    namespace: &str,
    name: &str,
    key: &str,
    value: &SecretValue,
) -> Result<ZeroingBuffer, Error> {
    let metadata = BTreeMap::from([("namespace", namespace), ("name", name)]);
    let data = BTreeMap::from([(key, text_of(value)?)]);
    encode_any("ConfigMap", &NewConfigMap { api_version: "v1", kind: "ConfigMap", metadata, data })
}

fn text_of(value: &SecretValue) -> Result<&str, Error> {
    std::str::from_utf8(value.expose()).map_err(|_| Error::Unreadable("text of a ConfigMap"))
}

fn encode_any(what: &'static str, document: &impl Serialize) -> Result<ZeroingBuffer, Error> {
    let mut buffer = ZeroingBuffer::default();
    match serde_json::to_writer(&mut buffer, document) {
        Ok(()) => Ok(buffer),
        // Writing to memory cannot fail, and every key is text.
        Err(_) => Err(Error::Unreadable(what)),
    }
}

#[derive(serde::Serialize)]
struct ConfigMapChange<'a> {
    metadata: BTreeMap<&'a str, &'a str>,
    data: BTreeMap<&'a str, Option<&'a str>>,
    #[serde(rename = "binaryData")]
    binary: BTreeMap<&'a str, Option<&'a str>>,
}

#[derive(serde::Serialize)]
struct SecretChange<'a> {
    metadata: BTreeMap<&'a str, &'a str>,
    data: BTreeMap<&'a str, Option<Encoded<'a>>>,
}

#[derive(serde::Serialize)]
struct NewConfigMap<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
    data: BTreeMap<&'a str, &'a str>,
}
