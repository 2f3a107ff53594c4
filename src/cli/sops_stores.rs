//! The `sops` store that a verb is about.

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt};

use super::compiled::find;
use super::context::{Cluster, request_failed};
use super::exit::Failure;
use crate::api::store::{Connection, Sops};
use crate::api::{ClusterStore, Reason, Store};

/// A `sops` store.
pub struct SopsStore {
    /// `Store/<name>` or `ClusterStore/<name>`.
    pub title: String,
    /// Where its objects lie.
    pub namespace: String,
    /// What every kind of store has.
    pub connection: Connection,
    /// Its files and keys.
    pub sops: Sops,
    /// The recipients of the keys that the operator holds for it.
    pub recipients: Vec<String>,
}

/// The store that is named, by its name or as `ClusterStore/<name>`; or the only one of the namespace that holds SOPS files.
///
/// # Errors
/// Usage if the choice is open; access if there is none, or it is of another kind.
pub async fn choose(cluster: &Cluster, given: Option<&str>, operator_namespace: &str) -> Result<SopsStore, Failure> {
    let Some(given) = given else { return only(cluster).await };
    if let Some(name) = given.strip_prefix("ClusterStore/") {
        let Some(found) = find::<ClusterStore>(cluster, None, name).await? else {
            return Err(Failure::access(format!("there is no ClusterStore {name}")));
        };
        let found = found.ok_or_else(|| unreadable(given))?;
        let recipients = found.status.map(|status| status.recipients).unwrap_or_default();
        return of_kind(format!("ClusterStore/{name}"), operator_namespace, found.spec.common, recipients);
    }
    let name = given.strip_prefix("Store/").unwrap_or(given);
    let Some(found) = find::<Store>(cluster, Some(&cluster.namespace), name).await? else {
        return Err(Failure::access(format!("there is no Store {name} in namespace {}", cluster.namespace))
            .hint("see `kubectl get stores`; a ClusterStore is named as ClusterStore/NAME"));
    };
    of_store(found.ok_or_else(|| unreadable(given))?, &cluster.namespace)
}

async fn only(cluster: &Cluster) -> Result<SopsStore, Failure> {
    let namespace = &cluster.namespace;
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), namespace, &ApiResource::erase::<Store>(&()));
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|error| request_failed(&format!("list Stores in namespace {namespace}"), &error))?;
    // Also one that this version cannot read counts: the other one is not the only one then.
    let mut stores = list.items;
    stores.retain(|object| object.data.pointer("/spec/sops").is_some_and(|sops| !sops.is_null()));
    let names: Vec<String> = stores.iter().map(ResourceExt::name_any).collect();
    match (stores.pop(), stores.is_empty()) {
        (Some(object), true) => {
            let title = format!("Store/{}", object.name_any());
            let store = serde_json::to_value(object).and_then(serde_json::from_value::<Store>);
            of_store(store.map_err(|_| unreadable(&title))?, namespace)
        }
        (Some(_), false) => {
            Err(Failure::usage(format!("there are several Stores of kind sops in namespace {namespace}"))
                .hint(format!("name one: {}", names.join(", "))))
        }
        (None, _) => Err(Failure::access(format!("there is no Store of kind sops in namespace {namespace}"))
            .hint("see `kubectl get stores`; a ClusterStore is named as ClusterStore/NAME")),
    }
}

fn unreadable(title: &str) -> Failure {
    Failure::access(format!("{title} is stored in a form that this version cannot read"))
}

fn of_store(store: Store, namespace: &str) -> Result<SopsStore, Failure> {
    let title = format!("Store/{}", store.name_any());
    let recipients = store.status.map(|status| status.recipients).unwrap_or_default();
    of_kind(title, namespace, store.spec.common, recipients)
}

fn of_kind(
    title: String,
    namespace: &str,
    connection: Connection,
    recipients: Vec<String>,
) -> Result<SopsStore, Failure> {
    match connection.sops.clone() {
        Some(sops) => Ok(SopsStore { title, namespace: namespace.to_owned(), connection, sops, recipients }),
        None => {
            let why = format!(
                "{}: {title} is of another kind than sops: it has no files and no age key",
                Reason::Unsupported
            );
            Err(Failure::access(why))
        }
    }
}
