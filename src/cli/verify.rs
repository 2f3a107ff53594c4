//! Asks the stores, with the user's own rights and for metadata only, which declared secrets have a value.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::ResourceExt;

use super::compiled::Compiled;
use super::context::atmos_stack;
use super::rows::{ALL, Row};
use crate::api::status::SecretState;
use crate::api::{Reason, Scope};
use crate::backend::connect::AgeIdentities;
use crate::backend::{Error, Key, Presence};
use crate::model::{PlannedSecret, StoreRef};

/// Stores that are asked at the same time.
const STORES: usize = 8;

/// What a store said about one key.
type Answer = Result<Presence, Error>;

/// The rows of a compiled Stack. An error of one store is an error of its rows.
pub async fn rows(compiled: &Compiled<'_>, operator_namespace: Option<&str>) -> Vec<Row> {
    let mut keys: BTreeMap<StoreRef, Vec<Key>> = BTreeMap::new();
    for read in compiled.plan.secrets.iter().filter_map(|secret| secret.read.as_ref().ok()) {
        let keys = keys.entry(read.store.clone()).or_default();
        if !keys.contains(&read.key) {
            keys.push(read.key.clone());
        }
    }
    let answers: BTreeMap<StoreRef, BTreeMap<Key, Answer>> = stream::iter(keys)
        .map(|(store, keys)| async move {
            let answers = probe(compiled, &store, &keys, operator_namespace).await;
            (store, keys.into_iter().zip(answers).collect())
        })
        .buffer_unordered(STORES)
        .collect()
        .await;
    compiled
        .plan
        .secrets
        .iter()
        .map(|secret| {
            let answer = secret
                .read
                .as_ref()
                .ok()
                .and_then(|read| answers.get(&read.store).and_then(|answers| answers.get(&read.key)));
            row(compiled, secret, answer)
        })
        .collect()
}

async fn probe(
    compiled: &Compiled<'_>,
    store: &StoreRef,
    keys: &[Key],
    operator_namespace: Option<&str>,
) -> Vec<Answer> {
    // Metadata are in the clear: no identity is needed.
    match compiled.connect(store, AgeIdentities::Given(Vec::new()), operator_namespace).await {
        Ok(connected) => connected.backend.probe(keys).await,
        Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn row(compiled: &Compiled<'_>, secret: &PlannedSecret, answer: Option<&Answer>) -> Row {
    let PlannedSecret { component, name, scope, required, description, origin, default, path: _, read, store } = secret;
    let (status, reason, message) = match (read, answer) {
        (Err(problem), _) => (SecretState::Error, Some(problem.reason), Some(problem.message.clone())),
        (Ok(_), Some(Ok(_))) => (SecretState::Initialized, None, None),
        (Ok(_), Some(Err(error))) if error.kind.is_missing() && default.is_some() => {
            (SecretState::Initialized, None, None)
        }
        (Ok(_), Some(Err(error))) => {
            let state = if error.kind.is_missing() { SecretState::Missing } else { SecretState::Error };
            (state, Some(error.kind.reason()), Some(error.message.clone()))
        }
        // A driver that gives fewer answers than keys breaks its contract.
        (Ok(_), None) => (SecretState::Error, Some(Reason::InternalError), None),
    };
    let from_default = matches!((read, answer), (Ok(_), Some(Err(_)))) && status == SecretState::Initialized;
    let version = match answer {
        Some(Ok(presence)) => presence.version.clone(),
        Some(Err(_)) | None => String::new(),
    };
    Row {
        namespace: compiled.stack.namespace().unwrap_or_default(),
        stack_object: compiled.stack.name_any(),
        stack: if *scope == Scope::Global { ALL.to_owned() } else { atmos_stack(compiled.stack) },
        component: if *scope == Scope::Instance { component.clone() } else { ALL.to_owned() },
        declared_by: component.clone(),
        name: name.clone(),
        scope: *scope,
        store: store.as_ref().map(StoreRef::to_string).unwrap_or_default(),
        status,
        reason,
        message,
        required: *required,
        backend_key: read.as_ref().map(|read| read.key.name.clone()).unwrap_or_default(),
        version,
        origin: if from_default { "default".to_owned() } else { origin.clone() },
        description: description.clone(),
        last_changed: None,
    }
}
