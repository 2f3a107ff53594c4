//! The secrets of a vault: names without regard to case, versions, soft deletion, paging.
//!
//! Reference: <https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups>. Texts and inner codes of refusals
//! are those that the service is known to give.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Answer, field, fields, refusal};
use crate::control_plane::random_token;

/// The versions of the interface that are answered
/// (<https://learn.microsoft.com/rest/api/keyvault/keys/versioning-requests-and-responses>).
const VERSIONS: [&str; 9] = ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"];
/// The largest page (`maxresults` of
/// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets#uri-parameters>).
const LARGEST_PAGE: usize = 25;
/// The largest value (<https://learn.microsoft.com/azure/key-vault/secrets/about-secrets>): 25 kB.
const LARGEST_VALUE: usize = 25 << 10;
/// How long a deleted secret can be recovered.
const DAYS: i64 = 90;

/// One request to the vault, of somebody with these rights.
pub(super) struct Asked<'a> {
    pub(super) base: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    pub(super) rights: BTreeSet<String>,
}

/// Everything that the vault holds, by names in lower case.
#[derive(Default)]
pub(super) struct Secrets {
    present: BTreeMap<String, Secret>,
    deleted: BTreeMap<String, (Secret, i64)>,
    lingering: usize,
    page: Option<usize>,
}

struct Secret {
    name: String,
    /// Oldest first; there is at least one.
    versions: Vec<Version>,
    recovering: bool,
}

#[derive(Clone)]
struct Version {
    id: String,
    value: String,
    content_type: Option<Value>,
    tags: Option<Value>,
    enabled: bool,
    not_before: Option<i64>,
    expires: Option<i64>,
    created: i64,
    updated: i64,
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Version {
    /// Takes over what a request says of attributes, content type and tags.
    fn change(&mut self, body: &Value) {
        let attributes = &body["attributes"];
        if let Some(enabled) = attributes["enabled"].as_bool() {
            self.enabled = enabled;
        }
        let time = |name: &str, known: Option<i64>| attributes[name].as_i64().or(known);
        (self.not_before, self.expires) = (time("nbf", self.not_before), time("exp", self.expires));
        let given = |name: &str| body.get(name).filter(|value| !value.is_null()).cloned();
        if let Some(kind) = given("contentType") {
            self.content_type = Some(kind);
        }
        if let Some(tags) = given("tags") {
            self.tags = Some(tags);
        }
    }

    /// The fields that every answer about a version has.
    fn described(&self, id: String) -> Map<String, Value> {
        let mut attributes = json!({
            "enabled": self.enabled, "created": self.created, "updated": self.updated,
            "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": DAYS,
        });
        if let Some(attributes) = attributes.as_object_mut() {
            let times = [("nbf", self.not_before), ("exp", self.expires)];
            attributes.extend(times.into_iter().filter_map(|(name, at)| Some((name.to_owned(), json!(at?)))));
        }
        let others = [("contentType", &self.content_type), ("tags", &self.tags)];
        let others = others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        [("id".to_owned(), json!(id)), ("attributes".to_owned(), attributes)].into_iter().chain(others).collect()
    }

    fn with_value(&self, id: String) -> Value {
        let mut all = self.described(id);
        all.insert("value".to_owned(), json!(self.value));
        Value::Object(all)
    }
}

impl Secret {
    fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    fn id(&self, base: &str) -> String {
        format!("{base}/secrets/{}", self.name)
    }

    fn version_id(&self, base: &str, version: &Version) -> String {
        format!("{}/{}", self.id(base), version.id)
    }

    /// A deleted secret (<https://learn.microsoft.com/rest/api/keyvault/secrets/get-deleted-secret/get-deleted-secret>).
    fn described_as_deleted(&self, base: &str, at: i64) -> Value {
        let id = self.latest().map(|version| self.version_id(base, version)).unwrap_or_default();
        let mut all = self.latest().map(|version| version.described(id)).unwrap_or_default();
        all.insert("recoveryId".to_owned(), json!(format!("{base}/deletedsecrets/{}", self.name)));
        all.insert("deletedDate".to_owned(), json!(at));
        all.insert("scheduledPurgeDate".to_owned(), json!(at + DAYS * 86_400));
        Value::Object(all)
    }
}

impl Secrets {
    pub(super) fn linger(&mut self, requests: usize) {
        self.lingering = requests;
    }

    pub(super) fn set_page(&mut self, size: usize) {
        self.page = Some(size);
    }

    pub(super) fn stored(&self, name: &str) -> Option<String> {
        Some(self.present.get(&name.to_ascii_lowercase())?.latest()?.value.clone())
    }

    pub(super) fn forget(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.present.remove(&name);
        self.deleted.remove(&name);
    }

    pub(super) fn answer(&mut self, asked: &Asked<'_>) -> anyhow::Result<Answer> {
        let Asked { base, method, path, query, body, rights } = asked;
        let query = fields(query);
        if !field(&query, "api-version").is_some_and(|version| VERSIONS.contains(&version)) {
            return Ok(refusal(400, "BadParameter", None, "The specified version is not recognized."));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // The SDK of Rust asks for the latest version with a slash at the end.
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (needed, name) = match (*method, parts.as_slice()) {
            ("GET", ["secrets"] | ["secrets", _, "versions"]) => ("list", parts.get(1)),
            ("GET", ["secrets", name] | ["secrets", name, _] | ["deletedsecrets", name]) => ("get", Some(name)),
            ("PUT", ["secrets", name]) | ("PATCH", ["secrets", name, _]) => ("set", Some(name)),
            ("DELETE", ["secrets", name]) => ("delete", Some(name)),
            ("DELETE", ["deletedsecrets", name]) => ("purge", Some(name)),
            ("POST", ["deletedsecrets", name, "recover"]) => ("recover", Some(name)),
            _ => return Ok(refusal(404, "NotFound", None, "There is no such operation.")),
        };
        if !rights.contains(needed) {
            let message = format!("Caller is not authorized to perform action on resource. Action: '{needed}'");
            return Ok(refusal(403, "Forbidden", Some("ForbiddenByRbac"), &message));
        }
        if let Some(name) = name
            && (name.is_empty()
                || name.len() > 127
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        {
            return Ok(refusal(400, "BadParameter", None, "The request URI contains an invalid name"));
        }
        Ok(match (*method, parts.as_slice()) {
            ("GET", ["secrets"]) => self.list(base, &query),
            ("GET", ["secrets", name, "versions"]) => self.versions(base, name, &query),
            ("GET", ["secrets", name]) => self.get(base, name, None),
            ("GET", ["secrets", name, version]) => self.get(base, name, Some(version)),
            ("GET", ["deletedsecrets", name]) => self.get_deleted(base, name),
            ("PUT", ["secrets", name]) => return self.set(base, name, &body),
            ("PATCH", ["secrets", name, version]) => self.update(base, name, version, &body),
            ("DELETE", ["secrets", name]) => self.delete(base, name),
            ("DELETE", ["deletedsecrets", name]) => self.purge(name),
            (_, ["deletedsecrets", name, _]) => self.recover(base, name),
            _ => refusal(404, "NotFound", None, "There is no such operation."),
        })
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/set-secret/set-secret>
    pub(super) fn set(&mut self, base: &str, name: &str, body: &Value) -> anyhow::Result<Answer> {
        let key = name.to_ascii_lowercase();
        let Some(value) = body["value"].as_str() else {
            return Ok(refusal(400, "BadParameter", None, "Property value is required"));
        };
        if value.len() > LARGEST_VALUE {
            return Ok(refusal(400, "BadParameter", None, "Property value has exceeded the allowed length"));
        }
        if self.deleted.contains_key(&key) {
            let message = format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
                 state, the secret can only be recovered or purged."
            );
            return Ok(refusal(409, "Conflict", Some("ObjectIsDeletedButRecoverable"), &message));
        }
        if self.present.get(&key).is_some_and(|secret| secret.recovering) && self.is_unfinished() {
            let message = format!("Secret {name} is currently being recovered and cannot be re-created; retry later.");
            return Ok(refusal(409, "Conflict", Some("ObjectIsBeingRecovered"), &message));
        }
        let secret = self.present.entry(key).or_insert_with(|| Secret {
            name: name.to_owned(),
            versions: Vec::new(),
            recovering: false,
        });
        secret.recovering = false;
        // Times are whole seconds. Real users are not as fast as tests: no two versions share one.
        let at = secret.latest().map_or(0, |version| version.created + 1).max(now());
        let mut version = Version {
            id: random_token()?,
            value: value.to_owned(),
            content_type: None,
            tags: None,
            enabled: true,
            not_before: None,
            expires: None,
            created: at,
            updated: at,
        };
        version.change(body);
        let answer = version.with_value(secret.version_id(base, &version));
        secret.versions.push(version);
        Ok((200, answer))
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>. A disabled version is refused; the
    /// times are for information only (<https://learn.microsoft.com/azure/key-vault/secrets/about-secrets>).
    fn get(&self, base: &str, name: &str, version: Option<&str>) -> Answer {
        let found = self.present.get(&name.to_ascii_lowercase());
        let found = found.and_then(|secret| {
            let wanted = |known: &&Version| version.is_none_or(|wanted| wanted == known.id);
            Some((secret, secret.versions.iter().rev().find(wanted)?))
        });
        match found {
            None => not_found(name, version),
            Some((_, found)) if !found.enabled => {
                let message = "Operation get is not allowed on a disabled secret.";
                refusal(403, "Forbidden", Some("SecretDisabled"), message)
            }
            Some((secret, found)) => (200, found.with_value(secret.version_id(base, found))),
        }
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/update-secret/update-secret>
    fn update(&mut self, base: &str, name: &str, version: &str, body: &Value) -> Answer {
        let secret = self.present.get_mut(&name.to_ascii_lowercase());
        let found = secret.and_then(|secret| {
            let id = secret.id(base);
            secret.versions.iter_mut().find(|known| known.id == version).map(|found| (id, found))
        });
        match found {
            None => not_found(name, Some(version)),
            Some((id, found)) => {
                found.change(body);
                found.updated = found.updated.max(now());
                (200, Value::Object(found.described(format!("{id}/{version}"))))
            }
        }
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets>
    fn list(&self, base: &str, query: &[(String, String)]) -> Answer {
        let items = self.present.values().filter_map(|secret| Some((secret, secret.latest()?)));
        let items = items.map(|(secret, version)| Value::Object(version.described(secret.id(base)))).collect();
        self.page(&format!("{base}/secrets"), items, query)
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret-versions/get-secret-versions>. In no order that
    /// the reference names; a secret that is not there has no versions.
    fn versions(&self, base: &str, name: &str, query: &[(String, String)]) -> Answer {
        let secret = self.present.get(&name.to_ascii_lowercase());
        let mut versions: Vec<(&Secret, &Version)> = secret
            .into_iter()
            .flat_map(|secret| secret.versions.iter().map(move |version| (secret, version)))
            .collect();
        versions.sort_by_key(|(_, version)| &version.id);
        let items = versions.into_iter();
        let items =
            items.map(|(secret, version)| Value::Object(version.described(secret.version_id(base, version)))).collect();
        self.page(&format!("{base}/secrets/{name}/versions"), items, query)
    }

    fn page(&self, address: &str, items: Vec<Value>, query: &[(String, String)]) -> Answer {
        let wanted = field(query, "maxresults").map(str::parse::<usize>);
        let size = match wanted {
            None => LARGEST_PAGE,
            Some(Ok(size)) if (1..=LARGEST_PAGE).contains(&size) => size,
            Some(_) => return refusal(400, "BadParameter", None, "maxresults must be between 1 and 25"),
        };
        let size = self.page.map_or(size, |page| page.min(size));
        let start = field(query, "$skiptoken").and_then(|token| URL_SAFE_NO_PAD.decode(token).ok());
        let start = start.and_then(|token| String::from_utf8(token).ok()?.parse::<usize>().ok()).unwrap_or(0);
        let version = field(query, "api-version").unwrap_or_default();
        let end = start.saturating_add(size).min(items.len());
        let next = (end < items.len()).then(|| {
            let token = URL_SAFE_NO_PAD.encode(end.to_string());
            format!("{address}?api-version={version}&$skiptoken={token}&maxresults={size}")
        });
        let page = items.get(start.min(end)..end).unwrap_or_default();
        (200, json!({"value": page, "nextLink": next}))
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/delete-secret/delete-secret>
    pub(super) fn delete(&mut self, base: &str, name: &str) -> Answer {
        let key = name.to_ascii_lowercase();
        let Some(mut secret) = self.present.remove(&key) else { return not_found(name, None) };
        secret.recovering = false;
        let at = now();
        let answer = secret.described_as_deleted(base, at);
        self.deleted.insert(key, (secret, at));
        (200, answer)
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-deleted-secret/get-deleted-secret>
    fn get_deleted(&mut self, base: &str, name: &str) -> Answer {
        let key = name.to_ascii_lowercase();
        let is_unfinished = self.deleted.contains_key(&key) && self.is_unfinished();
        match self.deleted.get(&key).filter(|_| !is_unfinished) {
            Some((secret, at)) => (200, secret.described_as_deleted(base, *at)),
            None => refusal(404, "SecretNotFound", None, &format!("Deleted Secret not found: {name}")),
        }
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/purge-deleted-secret/purge-deleted-secret>
    fn purge(&mut self, name: &str) -> Answer {
        let key = name.to_ascii_lowercase();
        if !self.deleted.contains_key(&key) {
            return refusal(404, "SecretNotFound", None, &format!("Deleted Secret not found: {name}"));
        }
        if self.is_unfinished() {
            let message = format!("Secret {name} is currently being deleted.");
            return refusal(409, "Conflict", Some("ObjectIsBeingDeleted"), &message);
        }
        self.deleted.remove(&key);
        (204, Value::Null)
    }

    /// <https://learn.microsoft.com/rest/api/keyvault/secrets/recover-deleted-secret/recover-deleted-secret>
    fn recover(&mut self, base: &str, name: &str) -> Answer {
        let key = name.to_ascii_lowercase();
        let Some((mut secret, _)) = self.deleted.remove(&key) else {
            return refusal(404, "SecretNotFound", None, &format!("Deleted Secret not found: {name}"));
        };
        secret.recovering = true;
        let described = secret.latest().map(|version| version.described(secret.version_id(base, version)));
        self.present.insert(key, secret);
        (200, Value::Object(described.unwrap_or_default()))
    }

    /// Whether a deletion or a recovery is not done yet, for the one who asks now.
    fn is_unfinished(&mut self) -> bool {
        let unfinished = self.lingering > 0;
        self.lingering = self.lingering.saturating_sub(1);
        unfinished
    }
}

fn not_found(name: &str, version: Option<&str>) -> Answer {
    let id = version.map_or_else(|| name.to_owned(), |version| format!("{name}/{version}"));
    let message = format!(
        "A secret with (name/id) {id} was not found in this key vault. If you recently deleted this secret you may be \
         able to recover it using the correct recovery command."
    );
    refusal(404, "SecretNotFound", None, &message)
}
