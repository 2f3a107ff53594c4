//! The API server's audit log: who asked for what, and what the answer was.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

/// Level Metadata, one event per request; a watch has one when it starts and one when it ends.
pub(super) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}
"#;

/// One entry of the audit log. What does not apply is empty or `None`.
///
/// Source: <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who asked: the impersonated user if there is one.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Plural, for example `secrets`; empty for paths such as `/readyz`.
    pub resource: String,
    /// For example `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for resources of the cluster and for lists over all namespaces.
    pub namespace: String,
    /// Empty for lists and for an object whose name the server generates.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// As the client calls itself.
    pub user_agent: String,
    /// Path and query.
    pub uri: String,
    /// Whether the answer has ended.
    pub stage: Stage,
    /// When the server reached that stage, by its own clock.
    pub at: Timestamp,
}

/// The stages that this audit policy keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// The head of a long answer (a watch) was sent.
    ResponseStarted,
    /// The answer was sent to its end.
    ResponseComplete,
    /// The server failed inside.
    Panic,
}

/// A place in the audit log, to count only what came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditMark(u64);

pub(super) fn mark(log: &Path) -> anyhow::Result<AuditMark> {
    let length =
        std::fs::metadata(log).with_context(|| format!("could not look at the audit log {}", log.display()))?.len();
    Ok(AuditMark(length))
}

pub(super) fn read(log: &Path, since: AuditMark) -> anyhow::Result<Vec<AuditEvent>> {
    let mut text = String::new();
    File::open(log)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(since.0))?;
            file.read_to_string(&mut text)
        })
        .with_context(|| format!("could not read the audit log {}", log.display()))?;
    parse(&text)
}

/// What follows the last line break is still being written and is left for the next time.
fn parse(text: &str) -> anyhow::Result<Vec<AuditEvent>> {
    let complete = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    complete
        .lines()
        .map(|line| {
            let entry: Entry =
                serde_json::from_str(line).with_context(|| format!("could not read the audit event {line}"))?;
            AuditEvent::try_from(entry).with_context(|| format!("could not read the audit event {line}"))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: Stage,
    #[serde(rename = "requestURI")]
    uri: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl TryFrom<Entry> for AuditEvent {
    type Error = anyhow::Error;

    fn try_from(entry: Entry) -> anyhow::Result<Self> {
        let Entry {
            stage,
            uri,
            verb,
            user,
            impersonated_user,
            user_agent,
            object_ref,
            response_status,
            stage_timestamp,
        } = entry;
        let ObjectRef { resource, subresource, namespace, name } = object_ref.unwrap_or_default();
        Ok(Self {
            user: impersonated_user.unwrap_or(user).username,
            verb,
            resource,
            subresource,
            namespace,
            name,
            code: response_status.map_or(0, |status| status.code),
            user_agent,
            uri,
            stage,
            at: stage_timestamp.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/secrets/b","verb":"get","user":{"username":"admin","groups":["system:masters"]},"impersonatedUser":{"username":"alice"},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl","objectRef":{"resource":"secrets","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":403},"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.000006Z"}"#;

    #[test]
    fn an_unfinished_line_is_left_for_later() -> anyhow::Result<()> {
        let half = EVENT.split_at(100).0;
        assert_eq!(parse("")?, []);
        assert_eq!(parse(half)?, []);
        assert_eq!(parse(&format!("{EVENT}\n{half}"))?.len(), 1);
        assert_eq!(parse(&format!("{EVENT}\n{EVENT}\n"))?.len(), 2);
        Ok(())
    }

    #[test]
    fn an_event_tells_who_did_what() -> anyhow::Result<()> {
        let events = parse(&format!("{EVENT}\n"))?;
        let expected = AuditEvent {
            user: "alice".to_owned(),
            verb: "get".to_owned(),
            resource: "secrets".to_owned(),
            subresource: String::new(),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            code: 403,
            user_agent: "kubectl".to_owned(),
            uri: "/api/v1/namespaces/a/secrets/b".to_owned(),
            stage: Stage::ResponseComplete,
            at: "2026-01-02T03:04:05.000006Z".parse()?,
        };
        assert_eq!(events, [expected]);
        Ok(())
    }
}
