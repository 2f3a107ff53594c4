//! What the operator asked of the API server, as the audit log has it: the proof that it left something alone.

use std::collections::BTreeMap;

use e2e::control_plane::{AuditEvent, AuditMark};

use crate::harness::Cluster;

/// The operator's requests about namespaced objects since `mark`, and about no others: reviews of rights have no effect.
pub fn since(cluster: &Cluster, mark: AuditMark, namespace: &str) -> anyhow::Result<Vec<AuditEvent>> {
    let user = cluster.operator_user();
    let mut events = cluster.audit_events_since(mark)?;
    events.retain(|event| event.user == user && event.namespace == namespace);
    Ok(events)
}

/// Those that change something, or try to.
pub fn writes(events: &[AuditEvent]) -> Vec<String> {
    events.iter().filter(|event| is_write(event)).map(shown).collect()
}

/// Those that touch one object by its name.
pub fn about<'a>(events: &'a [AuditEvent], name: &str) -> Vec<&'a AuditEvent> {
    events.iter().filter(|event| event.name == name).collect()
}

/// How often each request was made, for a person to read.
pub fn tally(events: &[AuditEvent]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for event in events {
        *tally.entry(shown(event)).or_insert(0) += 1;
    }
    tally
}

pub fn is_write(event: &AuditEvent) -> bool {
    matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
}

fn shown(event: &AuditEvent) -> String {
    let AuditEvent { verb, resource, subresource, name, code, .. } = event;
    format!("{verb} {resource}/{subresource} {name}: {code}")
}
