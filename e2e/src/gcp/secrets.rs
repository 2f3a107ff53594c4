//! Secret Manager, version 1.
//!
//! | method | right | reference |
//! |---|---|---|
//! | `POST secrets?secretId=` | `secrets.create` | [create](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create) |
//! | `GET secrets` | `secrets.list` | [list](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list), [filter](https://cloud.google.com/secret-manager/docs/filtering) |
//! | `GET secrets/…` | `secrets.get` | [get](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/get) |
//! | `DELETE secrets/…?etag=` | `secrets.delete` | [delete](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/delete), [etags](https://cloud.google.com/secret-manager/docs/etags) |
//! | `POST secrets/…:addVersion` | `versions.add` | [addVersion](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/addVersion) |
//! | `GET …/versions` | `versions.list` | [list](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/list) |
//! | `GET …/versions/…` | `versions.get` | [get](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/get) |
//! | `GET …/versions/…:access` | `versions.access` | [access](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access) |
//! | `POST …/versions/…:disable`, `:enable`, `:destroy` | the same | [disable](https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/disable) |
//!
//! Rights are checked before anything is looked up, so that who lacks one learns nothing: `403` comes before `404`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{PROJECT, PROJECT_NUMBER, World, answer, at};
use crate::tls_server::{Request, Response};

/// <https://cloud.google.com/secret-manager/quotas#content_limits>
const LARGEST: usize = 65_536;

pub(super) struct Secret {
    pub(super) etag: String,
    pub(super) replication: Value,
    pub(super) aliases: BTreeMap<String, u64>,
    /// The oldest first; the number of each is its place, from 1 on.
    pub(super) versions: Vec<Version>,
}

pub(super) struct Version {
    pub(super) payload: Vec<u8>,
    pub(super) state: State,
    pub(super) etag: String,
    pub(super) is_damaged: bool,
    pub(super) is_summed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Enabled,
    Disabled,
    Destroyed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Destroyed => "DESTROYED",
        }
    }
}

impl Version {
    pub(super) fn destroy(&mut self) {
        self.state = State::Destroyed;
        self.payload.clear();
    }
}

impl Secret {
    pub(super) fn new(etag: String, replication: Value) -> Self {
        Self { etag, replication, aliases: BTreeMap::new(), versions: Vec::new() }
    }

    pub(super) fn add(&mut self, payload: Vec<u8>, etag: String, is_summed: bool) -> u64 {
        self.versions.push(Version { payload, state: State::Enabled, etag, is_damaged: false, is_summed });
        self.versions.len() as u64
    }

    pub(super) fn version_mut(&mut self, number: u64) -> Option<&mut Version> {
        self.versions.get_mut(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The number that a version is named by: itself, an alias, or `latest`, which is the one that was added last in
    /// whatever state.
    fn number(&self, name: &str) -> Option<u64> {
        let number = match name {
            "latest" => self.versions.len() as u64,
            name => name.parse().ok().or_else(|| self.aliases.get(name).copied())?,
        };
        (1..=self.versions.len() as u64).contains(&number).then_some(number)
    }

    fn shown(&self, id: &str) -> Value {
        json!({"name": format!("projects/{PROJECT_NUMBER}/secrets/{id}"), "createTime": "2026-01-01T00:00:00.000000Z",
            "replication": self.replication, "etag": self.etag, "versionAliases": self.aliases
                .iter().map(|(name, number)| (name.clone(), json!(number.to_string()))).collect::<serde_json::Map<_, _>>()})
    }

    fn shown_version(&self, id: &str, number: u64) -> Value {
        let Some(version) = self.versions.get((number - 1) as usize) else { return Value::Null };
        let mut shown = json!({"name": full(id, number), "createTime": "2026-01-01T00:00:00.000000Z",
            "state": version.state.name(), "etag": version.etag, "clientSpecifiedPayloadChecksum": version.is_summed});
        if let (State::Destroyed, Value::Object(shown)) = (version.state, &mut shown) {
            shown.insert("destroyTime".to_owned(), json!("2026-01-02T00:00:00.000000Z"));
        }
        shown
    }
}

fn full(id: &str, number: u64) -> String {
    format!("projects/{PROJECT_NUMBER}/secrets/{id}/versions/{number}")
}

/// CRC-32C (Castagnoli, RFC 3720 section 12.1), bit by bit: not the library that is tested.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 };
        }
    }
    !sum
}

/// The fields of a query.
fn query(request: &Request) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

impl World {
    pub(super) fn secret_manager(&mut self, request: &Request) -> Response {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
        let principal = header.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token)).cloned();
        let Some(principal) = principal else {
            let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                           other valid authentication credential.";
            return answer::error_for("UNAUTHENTICATED", message, "ACCESS_TOKEN_EXPIRED");
        };
        if header.strip_prefix("Bearer ").is_some_and(|token| self.for_iam.contains(token)) {
            let message = "Request had insufficient authentication scopes.";
            return answer::error_for("PERMISSION_DENIED", message, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
        }
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
        let Some((project, resource)) = path.strip_prefix("/v1/projects/").and_then(|rest| rest.split_once('/')) else {
            return answer::not_found_page();
        };
        if project != PROJECT && project != PROJECT_NUMBER {
            let message = format!("Permission denied on resource project {project}.");
            return answer::error_for("PERMISSION_DENIED", &message, "CONSUMER_INVALID");
        }
        let (resource, verb) = resource.split_once(':').unwrap_or((resource, ""));
        let parts: Vec<&str> = resource.split('/').collect();
        let method = request.method().as_str();
        let Some(right) = right(method, &parts, verb) else { return answer::not_found_page() };
        let rights = self.rights.get(&principal);
        let confined = self.confined.get(&principal);
        let lacks = rights.is_some_and(|rights| !rights.contains(&format!("secretmanager.{right}")))
            || confined.is_some_and(|ids| parts.get(1).is_none_or(|id| !ids.contains(*id)));
        if lacks {
            let message = format!(
                "Permission 'secretmanager.{right}' denied for resource 'projects/{project}/{resource}' (or it may not exist)."
            );
            return answer::error_for("PERMISSION_DENIED", &message, "IAM_PERMISSION_DENIED");
        }
        match (method, parts.as_slice(), verb) {
            ("GET", ["secrets"], "") => self.list(request),
            ("POST", ["secrets"], "") => self.create(request),
            ("GET", ["secrets", id], "") => self.get(id),
            ("DELETE", ["secrets", id], "") => self.delete(id, request),
            ("POST", ["secrets", id], "addVersion") => self.add_version(id, request),
            ("GET", ["secrets", id, "versions"], "") => self.list_versions(id, request),
            ("GET", ["secrets", id, "versions", version], "") => self.get_version(id, version),
            ("GET", ["secrets", id, "versions", version], "access") => self.access(id, version),
            (_, ["secrets", id, "versions", version], verb) => self.set_state(id, version, verb),
            _ => answer::not_found_page(),
        }
    }

    fn list(&self, request: &Request) -> Response {
        let query = query(request);
        let filter = query.get("filter").map(|filter| filter.trim_start_matches("name:").to_lowercase());
        let has = |id: &str| filter.as_ref().is_none_or(|part| id.to_lowercase().contains(part));
        let found: Vec<Value> =
            self.secrets.iter().filter(|(id, _)| has(id)).map(|(id, secret)| secret.shown(id)).collect();
        page("secrets", found, &query)
    }

    fn create(&mut self, request: &Request) -> Response {
        let id = query(request).get("secretId").cloned().unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || id.len() > 255 || !id.chars().all(legal) {
            return answer::error("INVALID_ARGUMENT", "The provided Secret ID does not match the expected format.");
        }
        let replication = at(&body, "/replication").clone();
        let replicas = at(&replication, "/userManaged/replicas").as_array();
        let is_placed = replication.get("automatic").is_some()
            || replicas.is_some_and(|all| !all.is_empty() && all.iter().all(|one| at(one, "/location").is_string()));
        if !is_placed {
            return answer::error("INVALID_ARGUMENT", "secret.replication must be provided.");
        }
        if self.secrets.contains_key(&id) {
            let message = format!("Secret [projects/{PROJECT_NUMBER}/secrets/{id}] already exists.");
            return answer::error("ALREADY_EXISTS", &message);
        }
        let secret = Secret::new(self.etag(), replication);
        let shown = secret.shown(&id);
        self.secrets.insert(id, secret);
        answer::ok(&shown)
    }

    fn get(&self, id: &str) -> Response {
        self.secrets.get(id).map_or_else(|| no_secret(id), |secret| answer::ok(&secret.shown(id)))
    }

    fn delete(&mut self, id: &str, request: &Request) -> Response {
        let wanted = query(request).get("etag").cloned();
        match self.secrets.get(id) {
            None => no_secret(id),
            Some(secret) if wanted.is_some_and(|etag| etag != secret.etag) => {
                answer::error("FAILED_PRECONDITION", "The etag provided in the request does not match the resource's.")
            }
            Some(_) => {
                self.secrets.remove(id);
                answer::ok(&json!({}))
            }
        }
    }

    fn add_version(&mut self, id: &str, request: &Request) -> Response {
        let etag = self.etag();
        let Some(secret) = self.secrets.get_mut(id) else { return no_secret(id) };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let data = STANDARD.decode(at(&body, "/payload/data").as_str().unwrap_or_default());
        let Ok(data) = data else { return answer::error("INVALID_ARGUMENT", "Invalid value at 'payload.data'") };
        if data.is_empty() {
            return answer::error("INVALID_ARGUMENT", "Secret Payload cannot be empty.");
        }
        if data.len() > LARGEST {
            let message = format!("The payload is {} bytes, which is larger than {LARGEST} bytes.", data.len());
            return answer::error("INVALID_ARGUMENT", &message);
        }
        // An int64 is a string in JSON, and some clients write a number.
        let sum = at(&body, "/payload/dataCrc32c");
        let sum = sum.as_str().map(str::to_owned).or_else(|| sum.as_i64().map(|sum| sum.to_string()));
        let is_summed = sum.is_some();
        if sum.is_some_and(|sum| sum != crc32c(&data).to_string()) {
            return answer::error("INVALID_ARGUMENT", "The checksum of the payload does not match.");
        }
        let number = secret.add(data, etag, is_summed);
        answer::ok(&secret.shown_version(id, number))
    }

    fn list_versions(&self, id: &str, request: &Request) -> Response {
        let Some(secret) = self.secrets.get(id) else { return no_secret(id) };
        let newest_first = (1..=secret.versions.len() as u64).rev();
        page("versions", newest_first.map(|number| secret.shown_version(id, number)).collect(), &query(request))
    }

    fn get_version(&self, id: &str, name: &str) -> Response {
        match self.secrets.get(id).map(|secret| (secret, secret.number(name))) {
            Some((secret, Some(number))) => answer::ok(&secret.shown_version(id, number)),
            found => no_version(id, name, found.is_some()),
        }
    }

    fn access(&self, id: &str, name: &str) -> Response {
        let secret = self.secrets.get(id);
        let number = secret.and_then(|secret| secret.number(name));
        let found = number.and_then(|number| Some((number, secret?.versions.get((number - 1) as usize)?)));
        let Some((number, version)) = found else { return no_version(id, name, secret.is_some()) };
        if version.state != State::Enabled {
            let message = format!("Secret Version [{}] is in {} state.", full(id, number), version.state.name());
            return answer::error("FAILED_PRECONDITION", &message);
        }
        let sum = crc32c(&version.payload) ^ u32::from(version.is_damaged);
        answer::ok(&json!({"name": full(id, number), "payload": {
            "data": STANDARD.encode(&version.payload), "dataCrc32c": sum.to_string()}}))
    }

    fn set_state(&mut self, id: &str, name: &str, verb: &str) -> Response {
        let etag = self.etag();
        let Some(secret) = self.secrets.get_mut(id) else { return no_version(id, name, false) };
        let Some(number) = secret.number(name) else { return no_version(id, name, true) };
        let Some(version) = secret.version_mut(number) else { return no_version(id, name, true) };
        if version.state == State::Destroyed {
            let message = format!("Secret Version [{}] is in DESTROYED state.", full(id, number));
            return answer::error("FAILED_PRECONDITION", &message);
        }
        match verb {
            "disable" => version.state = State::Disabled,
            "enable" => version.state = State::Enabled,
            _ => version.destroy(),
        }
        version.etag = etag;
        answer::ok(&secret.shown_version(id, number))
    }
}

/// The right that a request needs; `None` if there is no such request.
fn right(method: &str, parts: &[&str], verb: &str) -> Option<&'static str> {
    match (method, parts, verb) {
        ("GET", ["secrets"], "") => Some("secrets.list"),
        ("POST", ["secrets"], "") => Some("secrets.create"),
        ("GET", ["secrets", _], "") => Some("secrets.get"),
        ("DELETE", ["secrets", _], "") => Some("secrets.delete"),
        ("POST", ["secrets", _], "addVersion") => Some("versions.add"),
        ("GET", ["secrets", _, "versions"], "") => Some("versions.list"),
        ("GET", ["secrets", _, "versions", _], "") => Some("versions.get"),
        ("GET", ["secrets", _, "versions", _], "access") => Some("versions.access"),
        ("POST", ["secrets", _, "versions", _], "disable") => Some("versions.disable"),
        ("POST", ["secrets", _, "versions", _], "enable") => Some("versions.enable"),
        ("POST", ["secrets", _, "versions", _], "destroy") => Some("versions.destroy"),
        _ => None,
    }
}

fn page(field: &str, found: Vec<Value>, query: &BTreeMap<String, String>) -> Response {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let size = number("pageSize").filter(|size| *size > 0).unwrap_or(100).min(25_000);
    let start = number("pageToken").unwrap_or(0);
    let total = found.len();
    let entries: Vec<Value> = found.into_iter().skip(start).take(size).collect();
    let end = start + entries.len();
    let mut body = json!({field: entries, "totalSize": total});
    if let (true, Value::Object(body)) = (end < total, &mut body) {
        body.insert("nextPageToken".to_owned(), json!(end.to_string()));
    }
    answer::ok(&body)
}

fn no_secret(id: &str) -> Response {
    let message = format!("Secret [projects/{PROJECT_NUMBER}/secrets/{id}] not found.");
    answer::error("NOT_FOUND", &message)
}

fn no_version(id: &str, name: &str, secret_exists: bool) -> Response {
    if !secret_exists || name == "latest" {
        let message = format!("Secret [projects/{PROJECT_NUMBER}/secrets/{id}] not found or has no versions.");
        return answer::error("NOT_FOUND", &message);
    }
    let message = format!("Secret Version [projects/{PROJECT_NUMBER}/secrets/{id}/versions/{name}] not found.");
    answer::error("NOT_FOUND", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
