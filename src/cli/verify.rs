//! Asks the stores, with the user's own rights and for metadata only, which declared secrets have a value.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::compiled::{Compiled, Way};
use super::rows::{self, Row};
use crate::api::Reason;
use crate::api::status::SecretState;
use crate::backend::{Error, Key, Presence};
use crate::model::{PlannedSecret, StoreRef};

/// Stores that are asked at the same time.
const STORES: usize = 8;

/// What a store said about one key.
type Answer = Result<Presence, Error>;

/// The rows of a compiled Stack. An error of one store is an error of its rows. With `--local` only stores that hold SOPS
/// files are asked.
pub async fn ask(compiled: &Compiled<'_>, way: Way<'_>) -> Vec<Row> {
    let is_local = way.files.folder_named().is_some();
    let mut keys: BTreeMap<StoreRef, Vec<(Key, Answer)>> = BTreeMap::new();
    let mut wanted: BTreeMap<StoreRef, BTreeMap<Key, Key>> = BTreeMap::new();
    for read in compiled.plan.secrets.iter().filter_map(|secret| secret.read.as_ref().ok()) {
        if is_local && !compiled.is_sops(&read.store) {
            continue;
        }
        match compiled.key(read, way.files) {
            Ok(key) => {
                wanted.entry(read.store.clone()).or_default().insert(read.key.clone(), key);
            }
            Err(error) => keys.entry(read.store.clone()).or_default().push((read.key.clone(), Err(error))),
        }
    }
    let asked: Vec<(StoreRef, Vec<(Key, Answer)>)> = stream::iter(wanted)
        .map(|(store, keys)| async move {
            let (planned, there): (Vec<Key>, Vec<Key>) = keys.into_iter().unzip();
            let answers = probe(compiled, &store, &there, way).await;
            (store, planned.into_iter().zip(answers).collect())
        })
        .buffer_unordered(STORES)
        .collect()
        .await;
    for (store, answers) in asked {
        keys.entry(store).or_default().extend(answers);
    }
    let answers: BTreeMap<StoreRef, BTreeMap<Key, Answer>> =
        keys.into_iter().map(|(store, answers)| (store, answers.into_iter().collect())).collect();
    let mut rows: Vec<Row> = Vec::new();
    for secret in &compiled.plan.secrets {
        let read = secret.read.as_ref().ok();
        let answer = read.and_then(|read| answers.get(&read.store).and_then(|answers| answers.get(&read.key)));
        let row = match read.is_some_and(|read| is_local && !compiled.is_sops(&read.store)) {
            true => rows::planned(compiled.stack, secret),
            false => row(compiled, secret, answer),
        };
        // An exposed version stands behind its declaration, and has no row of its own.
        match (&secret.exposure, rows.last_mut()) {
            (Some(_), Some(declaration)) => expose(declaration, row),
            (Some(_), None) | (None, _) => rows.push(row),
        }
    }
    rows
}

/// Lets a declaration that has a value say what is wrong with a version that it exposes.
fn expose(declaration: &mut Row, exposed: Row) {
    let left_out = exposed.status == SecretState::Missing && !exposed.required;
    if declaration.status == SecretState::Initialized && exposed.status != SecretState::Initialized && !left_out {
        let message = exposed.message.map(|message| format!("for key {}: {message}", exposed.name));
        (declaration.status, declaration.reason, declaration.message) = (exposed.status, exposed.reason, message);
        declaration.required |= exposed.required;
    }
}

async fn probe(compiled: &Compiled<'_>, store: &StoreRef, keys: &[Key], way: Way<'_>) -> Vec<Answer> {
    match compiled.connect(store, keys, way).await {
        Ok(connected) => connected.backend.probe(keys).await,
        Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn row(compiled: &Compiled<'_>, secret: &PlannedSecret, answer: Option<&Answer>) -> Row {
    let row = rows::planned(compiled.stack, secret);
    let (status, reason, message) = match (&secret.read, answer) {
        (Err(problem), _) => (SecretState::Error, Some(problem.reason), Some(problem.message.clone())),
        (Ok(_), Some(Ok(presence))) => {
            return Row { status: SecretState::Initialized, version: presence.version.clone(), ..row };
        }
        (Ok(_), Some(Err(error))) if error.kind.is_missing() && secret.default.is_some() => {
            return Row { status: SecretState::Initialized, origin: "default".to_owned(), ..row };
        }
        (Ok(_), Some(Err(error))) => {
            let state = if error.kind.is_missing() { SecretState::Missing } else { SecretState::Error };
            (state, Some(error.kind.reason()), Some(error.message.clone()))
        }
        // A driver that gives fewer answers than keys breaks its contract.
        (Ok(_), None) => (SecretState::Error, Some(Reason::InternalError), None),
    };
    Row { status, reason, message, ..row }
}
