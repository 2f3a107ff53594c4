//! From what a watch saw to the keys that are to be worked on. No I/O, so that watches never wait.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::namespaces::Kind;
use super::queue::Lane;
use super::relations::{Dependency, StackKey};
use super::{Changes, Context, definitions, namespaces, stacks};
use crate::backend::connect::Watched;

/// Routes until `stop`.
pub(super) async fn run(context: Arc<Context>, mut changes: Changes, stop: CancellationToken) {
    loop {
        context.heartbeats.route.beat();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(super::HEARTBEAT) => {}
            Some(change) = changes.stacks.recv() => stack(&context, change),
            Some(change) = changes.definitions.recv() => definition(&context, &change),
            Some(change) = changes.namespaces.recv() => namespace(&context, change),
        }
    }
}

fn stack(context: &Context, change: stacks::Change) {
    let (key, lane) = match change {
        stacks::Change::Listed(key) => (key, Lane::Background),
        stacks::Change::Edited(key) => {
            // A person is at it: perhaps to see whether a grant helped.
            if let Some(namespace) = context.namespaces.get(&key.namespace) {
                namespace.probe_again();
            }
            (key, Lane::User)
        }
        stacks::Change::Gone(key) => {
            context.queue.remove(&key);
            context.forget(&key);
            context.note_worked(&key);
            return;
        }
    };
    for user in context.relations.users(&Dependency::Stack(key.clone())) {
        context.queue.add(user, lane);
    }
    context.queue.add(key, lane);
}

fn definition(context: &Context, change: &definitions::Changed) {
    if let Dependency::Store(store) = &change.object {
        if change.sync_only {
            context.stores.queue.add(store.clone(), Lane::User);
        } else {
            context.stores.define(context, store);
            if context.definitions.store(store).is_none() {
                context.release_namespace(&context.namespace_of(store));
            }
        }
    }
    for user in context.relations.users(&change.object) {
        context.queue.add(user, Lane::User);
    }
}

fn namespace(context: &Context, change: namespaces::Change) {
    match change {
        namespaces::Change::Secret { namespace, name, owner, values } => {
            if let Some(owner) = owner {
                context.queue.add(StackKey::within(&namespace, &owner), Lane::User);
            }
            // A Secret in somebody's way may have gone, or was handed over to whoever wants it.
            for claimant in context.claims.claimants(&namespace, &name) {
                context.queue.add(StackKey::new(&namespace, &claimant), Lane::User);
            }
            object(context, &namespace, Kind::Secrets, name, values);
        }
        namespaces::Change::ConfigMap { namespace, name } => {
            object(context, &namespace, Kind::ConfigMaps, name, false);
        }
        namespaces::Change::Listed { namespace, kind, names, again } => {
            listed(context, &namespace, kind, &names, again);
        }
        namespaces::Change::Grant { namespace } => {
            for stack in context.stacks.of_namespace(&namespace) {
                context.queue.add(stack, Lane::User);
            }
            for store in context.definitions.stores() {
                if context.namespace_of(&store) == *namespace {
                    context.refresh.source_changed(&store, None);
                    context.stores.queue.add(store, Lane::User);
                }
            }
        }
    }
}

/// Whoever relies on something that is not there any more, or not yet, looks for it.
fn listed(context: &Context, namespace: &Arc<str>, kind: Kind, names: &HashSet<Box<str>>, again: bool) {
    for name in context.stores.objects_in(namespace, kind) {
        if !names.contains(name.as_str()) {
            object(context, namespace, kind, name, false);
        }
    }
    match kind {
        // Before the first list nobody works on targets.
        Kind::Secrets if again => {
            let is_absent = |target: &str| !names.contains(target);
            for claimant in context.claims.claimants_of_any(namespace, is_absent) {
                context.queue.add(StackKey::new(namespace, &claimant), Lane::Background);
            }
        }
        Kind::Secrets | Kind::ConfigMaps => {}
    }
}

/// Tells the stores that read an object, or log in with it.
fn object(context: &Context, namespace: &str, kind: Kind, name: String, values: bool) {
    source(context, namespace, &name, kind == Kind::Secrets, values);
    let namespace = namespace.to_owned();
    let object = match kind {
        Kind::Secrets => Watched::Secret { namespace, name },
        Kind::ConfigMaps => Watched::ConfigMap { namespace, name },
    };
    credential(context, &object);
}

/// The check looks whether the credentials are others now, and has everything read again if they are.
pub(super) fn credential(context: &Context, object: &Watched) {
    for store in context.stores.by_credential(object) {
        context.stores.queue.add(store, Lane::User);
    }
}

fn source(context: &Context, namespace: &str, name: &str, secret: bool, values: bool) {
    for concerned in context.stores.by_source(namespace, name, secret, values) {
        context.refresh.source_changed(&concerned.store, concerned.object.as_deref());
        if concerned.object.is_none() {
            // The source as a whole may have come or gone, which the store's own status says.
            context.stores.queue.add(concerned.store, Lane::Background);
        }
    }
}
