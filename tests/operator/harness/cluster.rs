//! A control plane with the operator's definitions and rights installed, as the README says to install them.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use atmos_secrets::api;
use e2e::ControlPlane;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use tokio::sync::OnceCell;

use super::{LIMIT, Operator, Options};

/// Namespace and name of the operator's service account, as examples/install/rbac.yaml has them.
pub const ACCOUNT: (&str, &str) = ("atmos-secrets", "atmos-secrets-operator");

/// See the module.
pub struct Cluster {
    plane: Plane,
    /// Every operator that ever ran here, since what it logged counts at the end of a test.
    operators: Mutex<Vec<Arc<Operator>>>,
    kubeconfig: PathBuf,
}

enum Plane {
    Shared(&'static ControlPlane),
    Own(Box<ControlPlane>),
}

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match &self.plane {
            Plane::Shared(plane) => plane,
            Plane::Own(plane) => plane,
        }
    }
}

impl Cluster {
    /// The cluster of all tests that can share one, with one operator.
    pub async fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        let cluster = SHARED.get_or_try_init(|| async {
            let cluster = Self::install(Plane::Shared(ControlPlane::shared().await?), &definitions()?).await?;
            Operator::start(&cluster, Options::default()).await?;
            anyhow::Ok(cluster)
        });
        cluster.await.cloned()
    }

    /// A cluster of the test's own, without an operator.
    pub async fn start() -> anyhow::Result<Arc<Self>> {
        Self::start_with(&definitions()?).await
    }

    /// As [`Cluster::start`], with other CustomResourceDefinitions (YAML).
    pub async fn start_with(definitions: &str) -> anyhow::Result<Arc<Self>> {
        let plane = ControlPlane::start(e2e::Options::default()).await?;
        Self::install(Plane::Own(Box::new(plane)), definitions).await
    }

    async fn install(plane: Plane, definitions: &str) -> anyhow::Result<Arc<Self>> {
        let mut cluster = Self { plane, operators: Mutex::default(), kubeconfig: PathBuf::new() };
        cluster.apply_yaml(definitions).await?;
        cluster.apply_yaml(include_str!("../../../examples/install/rbac.yaml")).await?;
        cluster.kubeconfig = cluster.service_account_kubeconfig(ACCOUNT.0, ACCOUNT.1).await?;
        let client = cluster.client().await?;
        for kind in ["Stack", "Store", "ClusterStore", "Catalog"] {
            let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            let list = async || objects.list(&ListParams::default()).await;
            e2e::wait_until(format!("{kind} to be served"), LIMIT, list).await?;
        }
        Ok(Arc::new(cluster))
    }

    /// A kubeconfig of the operator's service account.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// How RBAC and the audit log call the operator.
    pub fn operator_user(&self) -> String {
        format!("system:serviceaccount:{}:{}", ACCOUNT.0, ACCOUNT.1)
    }

    pub(super) fn register(&self, operator: &Arc<Operator>) {
        self.operators.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(operator));
    }

    /// Every operator that runs here or did.
    pub fn operators(&self) -> Vec<Arc<Operator>> {
        self.operators.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything of one of our kinds in a namespace, or in the cluster.
    pub(super) async fn all_of(&self, client: &Client, kind: &str, namespace: Option<&str>) -> anyhow::Result<String> {
        let objects: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
            None => Api::all_with(client.clone(), &resource(kind)),
        };
        let list = objects.list(&ListParams::default()).await?;
        let mut text = String::new();
        for object in list.items {
            text.push_str(&format!("{} {}\n", object.name_any(), serde_json::to_string(&object)?));
        }
        Ok(text)
    }
}

/// One of our kinds.
pub fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(api::GROUP, api::VERSION, kind))
}

/// The committed CustomResourceDefinitions.
fn definitions() -> anyhow::Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        text.push_str("---\n");
        text.push_str(&std::fs::read_to_string(entry?.path())?);
    }
    Ok(text)
}
