//! A Stack compiled here, with the user's own rights: what it declares, and its stores ready to be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::context::{Cluster, StoreArgs, is_forbidden, request_failed};
use super::describe::not_declared;
use super::exit::Failure;
use super::list::unknown_component;
use super::local::{FileArgs, LocalFiles, locate, rules};
use super::{credentials, rows};
use crate::api::store::{Connection, Sops};
use crate::api::{Catalog, ClusterStore, Reason, Stack, Store};
use crate::backend::connect::{ConnectRequest, Connected, FileAccess, NewFiles, connect_files};
use crate::backend::credentials::{Credentials, StoreRights};
use crate::backend::{self, ErrorKind, Key};
use crate::cluster::{Objects, is_object_name};
use crate::model::plan::{missing_inputs, plan};
use crate::model::store::{Definition, facts};
use crate::model::{Input, Lookup, Plan, PlannedRead, PlannedSecret, Problem, StoreRef, StoreView, World};

/// Imports import each other at most this deep: a Stack, 32 Catalogs in a row, and some to spare. What goes deeper is a
/// circle, which the plan itself reports.
const ROUNDS: usize = 64;

/// The definition of a store.
enum StoreObject {
    Store(Store),
    ClusterStore(ClusterStore),
}

/// A Stack, its plan, and the definitions of its stores.
pub struct Compiled<'a> {
    /// The Stack.
    pub stack: &'a Stack,
    /// What to read and to write.
    pub plan: Plan,
    cluster: &'a Cluster,
    definitions: BTreeMap<StoreRef, StoreObject>,
    views: BTreeMap<StoreRef, StoreView>,
}

/// How a person reaches the stores of a plan.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// How stores are reached.
    pub stores: &'a StoreArgs,
    /// Which SOPS files, and whose keys open them.
    pub files: &'a FileArgs,
    /// Whether files are opened, so that keys are needed; names are in the clear.
    pub opens_files: bool,
    /// Whether an object is written though a GitOps tool manages it.
    pub overwrites_managed: bool,
}

/// A value of a store that is connected.
pub struct Place {
    /// The store.
    pub connected: Connected,
    /// The value's key.
    pub key: Key,
    /// What messages call both.
    pub title: String,
}

/// Compiles a Stack. A store that the user may not read is an error of the secrets that live there.
///
/// # Errors
/// Access: a Catalog or Stack that it imports cannot be read, so nobody knows what it declares.
pub async fn compile<'a>(cluster: &'a Cluster, stack: &'a Stack) -> Result<Compiled<'a>, Failure> {
    let namespace = stack.namespace().unwrap_or_default();
    let name = stack.name_any();
    let mut world = World::default();
    let mut definitions = BTreeMap::new();
    let mut loaded = BTreeSet::new();
    let mut compiled = plan(&namespace, &name, &stack.spec, &world);
    for _ in 0..ROUNDS {
        let missing = missing_inputs(&compiled, &loaded);
        if missing.is_empty() {
            break;
        }
        for input in missing {
            load(cluster, &namespace, &input, &mut world, &mut definitions).await?;
            loaded.insert(input);
        }
        compiled = plan(&namespace, &name, &stack.spec, &world);
    }
    Ok(Compiled { stack, plan: compiled, cluster, definitions, views: world.stores })
}

async fn load(
    cluster: &Cluster,
    namespace: &str,
    input: &Input,
    world: &mut World,
    definitions: &mut BTreeMap<StoreRef, StoreObject>,
) -> Result<(), Failure> {
    match input {
        Input::Catalog(name) => {
            if let Some(found) = find::<Catalog>(cluster, None, name).await? {
                world.catalogs.insert(name.clone(), lookup(found.map(|catalog| Arc::new(catalog.spec))));
            }
        }
        Input::Stack(name) => {
            if let Some(found) = find::<Stack>(cluster, Some(namespace), name).await? {
                world.stacks.insert(name.clone(), lookup(found.map(|stack| Arc::new(stack.spec))));
            }
        }
        Input::Store(reference) => {
            if let Some((view, definition)) = store(cluster, namespace, reference).await {
                world.stores.insert(reference.clone(), view);
                definitions.extend(definition.map(|definition| (reference.clone(), definition)));
            }
        }
    }
    Ok(())
}

fn lookup<T>(found: Option<T>) -> Lookup<T> {
    found.map_or(Lookup::Invalid, Lookup::Found)
}

/// A store as the namespace sees it; `None` if it does not exist.
async fn store(cluster: &Cluster, namespace: &str, reference: &StoreRef) -> Option<(StoreView, Option<StoreObject>)> {
    let refused = |reason, message| Some((StoreView::Refused(Problem::new(reason, message)), None));
    let invalid = || refused(Reason::InvalidSpec, format!("{reference} cannot be read as this version of the API"));
    match reference {
        StoreRef::Store(name) => match find::<Store>(cluster, Some(namespace), name).await {
            Ok(None) => None,
            Ok(Some(None)) => invalid(),
            Ok(Some(Some(found))) => {
                let view = facts(Definition::Store(&found.spec), name, namespace, &BTreeMap::new()).view;
                Some((view, Some(StoreObject::Store(found))))
            }
            Err(failure) => refused(failure.reason(), failure.message),
        },
        StoreRef::ClusterStore(name) => match find::<ClusterStore>(cluster, None, name).await {
            Ok(None) => None,
            Ok(Some(None)) => invalid(),
            Ok(Some(Some(found))) => {
                let labels = labels(cluster, namespace, &found).await;
                let view = facts(Definition::ClusterStore(&found.spec), name, namespace, &labels).view;
                Some((view, Some(StoreObject::ClusterStore(found))))
            }
            Err(failure) => refused(failure.reason(), failure.message),
        },
    }
}

/// The namespace's labels. Whoever may not read them is given the benefit of the doubt: the store decides by the user's
/// own rights, not by these.
async fn labels(cluster: &Cluster, namespace: &str, store: &ClusterStore) -> BTreeMap<String, String> {
    let wanted = store.spec.allowed_namespaces.selector.as_ref().map(|selector| &selector.match_labels);
    let Some(wanted) = wanted else { return BTreeMap::new() };
    match Api::<Namespace>::all(cluster.client.clone()).get_metadata(namespace).await {
        Ok(found) => found.metadata.labels.unwrap_or_default(),
        Err(_) => wanted.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
    }
}

/// An object: `None` if it does not exist, `Some(None)` if this version cannot read it.
pub(super) async fn find<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Option<K>>, Failure>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    if !is_object_name(name) {
        return Ok(None);
    }
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    let found = api.get_opt(name).await.map_err(|error| {
        let tried = format!("read {}/{name}{place}", resource.kind);
        let failure = request_failed(&tried, &error);
        if is_forbidden(&error) {
            let of = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
            return failure.hint(format!("`kubectl auth can-i get {}.{}{of}`", resource.plural, resource.group));
        }
        failure
    })?;
    Ok(found.map(|object| serde_json::to_value(object).and_then(serde_json::from_value).ok()))
}

impl Compiled<'_> {
    /// The declared secret that NAME and `-c` mean.
    ///
    /// # Errors
    /// Usage: an unknown component, an undeclared NAME, or several components that declare it.
    pub fn pick(&self, name: &str, component: Option<&str>) -> Result<&PlannedSecret, Failure> {
        if let Some(problem) = &self.plan.blocked {
            return Err(Failure::access(format!("{}: {}", problem.reason, problem.message)));
        }
        let title = super::context::full_name(self.stack);
        if let Some(given) = component {
            let component = rows::find_component(self.stack, given)
                .ok_or_else(|| unknown_component(std::slice::from_ref(self.stack), given))?;
            let effective = self.effective(&component);
            return effective.iter().copied().find(|secret| secret.name == name).ok_or_else(|| {
                not_declared(name, &title, Some(&component), effective.iter().map(|secret| secret.name.as_str()))
            });
        }
        let mut found = self.plan.declarations().filter(|secret| secret.name == name);
        match (found.next(), found.next()) {
            (Some(secret), _) if secret.component.is_empty() => Ok(secret),
            (Some(secret), None) => Ok(secret),
            (Some(one), Some(other)) => {
                let components: Vec<&str> =
                    [one, other].into_iter().chain(found).map(|secret| secret.component.as_str()).collect();
                Err(Failure::usage(format!("{name} is declared by several components of Stack {title}"))
                    .hint(format!("name one with -c or ATMOS_COMPONENT: {}", components.join(", "))))
            }
            (None, _) => {
                Err(not_declared(name, &title, None, self.plan.declarations().map(|secret| secret.name.as_str())))
            }
        }
    }

    /// What a component itself declares.
    ///
    /// # Errors
    /// Usage: an unknown component.
    pub fn own(&self, component: &str) -> Result<Vec<&PlannedSecret>, Failure> {
        if let Some(problem) = &self.plan.blocked {
            return Err(Failure::access(format!("{}: {}", problem.reason, problem.message)));
        }
        let component = rows::find_component(self.stack, component)
            .ok_or_else(|| unknown_component(std::slice::from_ref(self.stack), component))?;
        Ok(self.plan.declarations().filter(|secret| secret.component == component).collect())
    }

    /// What a component gets: its own, and the shared ones that it neither declares anew nor drops.
    fn effective(&self, component: &str) -> Vec<&PlannedSecret> {
        let own: BTreeSet<&str> = self
            .plan
            .declarations()
            .filter(|secret| secret.component == component)
            .map(|secret| secret.name.as_str())
            .collect();
        let is_dropped = |name: &str| self.plan.dropped.contains(&(component.to_owned(), Arc::from(name)));
        self.plan
            .declarations()
            .filter(|secret| {
                secret.component == component
                    || (secret.component.is_empty() && !own.contains(secret.name.as_str()) && !is_dropped(&secret.name))
            })
            .collect()
    }

    /// Whether a store holds SOPS files, so that reading it needs a key.
    #[must_use]
    pub fn is_sops(&self, reference: &StoreRef) -> bool {
        self.connection(reference).is_some_and(|connection| connection.sops.is_some())
    }

    /// Whether a store, or a key of its SOPS files, is in HashiCorp Vault, which takes a token of the person.
    #[must_use]
    pub fn is_vault(&self, reference: &StoreRef) -> bool {
        let transit = |sops: &Sops| sops.vault_transit.is_some();
        let is_vault =
            |connection: &Connection| connection.vault.is_some() || connection.sops.as_ref().is_some_and(transit);
        self.connection(reference).is_some_and(is_vault)
    }

    /// Whether a store, or a key of its SOPS files, is in Google Cloud, which takes credentials of the person.
    #[must_use]
    pub fn is_gcp(&self, reference: &StoreRef) -> bool {
        let kms = |sops: &Sops| sops.gcp_kms.is_some();
        self.connection(reference).is_some_and(|connection| {
            connection.gcp_secret_manager.is_some() || connection.sops.as_ref().is_some_and(kms)
        })
    }

    /// Whether a store, or a key of its SOPS files, is in Azure Key Vault, where a person may log in as an application.
    #[must_use]
    pub fn is_azure(&self, reference: &StoreRef) -> bool {
        let keys = |sops: &Sops| sops.azure_key_vault.is_some();
        self.connection(reference).is_some_and(|connection| {
            connection.azure_key_vault.is_some() || connection.sops.as_ref().is_some_and(keys)
        })
    }

    fn connection(&self, reference: &StoreRef) -> Option<&Connection> {
        Some(match self.definitions.get(reference)? {
            StoreObject::Store(store) => &store.spec.common,
            StoreObject::ClusterStore(store) => &store.spec.common,
        })
    }

    /// Connects the store of one value.
    ///
    /// # Errors
    /// As [`connect_files`]; `--local` for a store that has no files.
    pub async fn open(&self, read: &PlannedRead, way: Way<'_>) -> Result<Place, backend::Error> {
        let key = self.key(read, way.files)?;
        let connected = self.connect(&read.store, std::slice::from_ref(&key), way).await?;
        let title = title(read, &key, way.files);
        Ok(Place { connected, key, title })
    }

    /// The key of a value: in the cluster, or with `--local` in the folder.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for `--local` and a store that has no files; as [`locate`].
    pub fn key(&self, read: &PlannedRead, files: &FileArgs) -> Result<Key, backend::Error> {
        let Some(folder) = files.folder_named() else { return Ok(read.key.clone()) };
        let layout = match self.views.get(&read.store) {
            Some(StoreView::Usable(layout)) if self.is_sops(&read.store) => layout,
            Some(StoreView::Usable(_) | StoreView::Refused(_)) | None => {
                let message = format!("{} holds no SOPS files: --local is not for it", read.store);
                return Err(backend::Error::new(ErrorKind::Unsupported, message));
            }
        };
        let (file, name) = read.key.name.split_once('#').unwrap_or((&read.key.name, ""));
        let file = match &read.coordinate {
            Some(coordinate) => locate(folder, &layout.tree_file(coordinate))?,
            None => locate(folder, file)?,
        };
        Ok(Key::current(format!("{file}#{name}")))
    }

    /// Connects a store of the plan, to ask it for these keys.
    ///
    /// # Errors
    /// As [`connect_files`].
    pub async fn connect(&self, reference: &StoreRef, keys: &[Key], way: Way<'_>) -> Result<Connected, backend::Error> {
        let Way { stores, files, opens_files, overwrites_managed } = way;
        let credentials = match files.cluster_key && opens_files {
            true => Credentials::OfStore(StoreRights::default()),
            false => Credentials::OfUser(credentials::of_user(self, reference, opens_files)?),
        };
        let namespace = self.stack.namespace().unwrap_or_default();
        let objects = Objects::new(self.cluster.client.clone());
        let (namespace, connection, kubernetes, status) = match self.definitions.get(reference) {
            Some(StoreObject::Store(store)) => {
                let spec = &store.spec;
                (namespace.as_str(), &spec.common, spec.kubernetes.is_some(), store.status.as_ref())
            }
            Some(StoreObject::ClusterStore(store)) => {
                (stores.operator_namespace.as_str(), &store.spec.common, false, store.status.as_ref())
            }
            None => {
                let message = format!("{reference} does not exist");
                return Err(backend::Error::new(ErrorKind::InvalidConfig, message));
            }
        };
        let recipients = status.map(|status| status.recipients.clone()).unwrap_or_default();
        let access = access(files, keys.iter().map(|key| file_of(key).to_owned()), recipients, overwrites_managed);
        let request = ConnectRequest {
            store: reference.to_string(),
            namespace,
            connection,
            kubernetes,
            objects: &objects,
            network: &stores.network(self.is_azure(reference))?,
            credentials,
            observer: Arc::new(|_, _: &'static str, _: Duration| {}),
        };
        connect_files(request, access).await
    }
}

/// How files are changed: those of the folder that `--local` names, or those of the cluster.
#[must_use]
pub fn access(
    files: &FileArgs,
    names: impl Iterator<Item = String>,
    recipients: Vec<String>,
    overwrites_managed: bool,
) -> FileAccess {
    match files.folder_named() {
        None => FileAccess { files: None, new_files: NewFiles::For(recipients), overwrites_managed },
        Some(folder) => {
            let of_folder = folder.to_owned();
            FileAccess {
                files: Some(Box::new(LocalFiles::new(folder, names))),
                new_files: NewFiles::ByRules(Box::new(move |file| rules::creation(&of_folder.join(file)))),
                overwrites_managed,
            }
        }
    }
}

/// What messages call a value's store and key.
pub(super) fn title(read: &PlannedRead, key: &Key, files: &FileArgs) -> String {
    match files.folder_named() {
        None => format!("{} {}", read.store, key.name),
        Some(folder) => folder.join(file_of(key)).display().to_string(),
    }
}

/// The file of a key of a store that has files.
fn file_of(key: &Key) -> &str {
    key.name.split('#').next().unwrap_or_default()
}
