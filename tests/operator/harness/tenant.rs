//! A namespace of one test, with or without rights for the operator.

use std::sync::Arc;

use anyhow::Context as _;
use atmos_secrets::api::Stack;
use e2e::control_plane::AuditMark;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::Cluster;
use super::canary::Canaries;
use super::cluster::ACCOUNT;

/// What the operator may do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Everything that examples/install/rbac.yaml grants.
    Full,
    /// The same without list and watch.
    WithoutWatch,
    /// Nothing.
    None,
}

/// See the module. When it is dropped, it searches for its canaries and panics if it finds one where no value may be.
pub struct Tenant {
    pub cluster: Arc<Cluster>,
    /// Of an administrator.
    pub client: Client,
    pub namespace: String,
    pub(super) canaries: Canaries,
    /// The audit log when the namespace was made.
    pub(super) since: AuditMark,
    /// The version of all Stacks then.
    pub(super) first_version: String,
}

impl Tenant {
    /// A granted namespace of the shared cluster.
    pub async fn new() -> anyhow::Result<Self> {
        Self::on(&Cluster::shared().await?, Grant::Full).await
    }

    /// A namespace of the shared cluster.
    pub async fn granted(grant: Grant) -> anyhow::Result<Self> {
        Self::on(&Cluster::shared().await?, grant).await
    }

    /// A namespace of this cluster.
    pub async fn on(cluster: &Arc<Cluster>, grant: Grant) -> anyhow::Result<Self> {
        let client = cluster.client().await?;
        let stacks = Api::<Stack>::all(client.clone()).list_metadata(&ListParams::default().limit(1)).await?;
        let tenant = Self {
            cluster: Arc::clone(cluster),
            client,
            first_version: stacks.metadata.resource_version.context("a list without a version")?,
            namespace: cluster.namespace("tenant").await?,
            canaries: Canaries::default(),
            since: cluster.audit_mark()?,
        };
        tenant.grant(grant).await?;
        Ok(tenant)
    }

    /// A value that occurs nowhere else, with characters that every notation escapes.
    pub fn canary(&self) -> String {
        self.canaries.make()
    }

    /// A value of letters and digits that occurs nowhere else, to be put into a document.
    pub fn plain_canary(&self) -> String {
        self.canaries.make_plain()
    }

    /// Searches for this word, too, at the end of the test; it should have 32 letters and digits or more.
    pub fn guard(&self, word: &str) {
        self.canaries.add(word);
    }

    /// A name for an object of the cluster that no other test uses.
    pub fn unique(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Gives the operator these rights here, or takes them away.
    pub async fn grant(&self, grant: Grant) -> anyhow::Result<()> {
        let role = match grant {
            Grant::Full => json!({"kind": "ClusterRole", "name": "atmos-secrets-operator-namespace"}),
            Grant::WithoutWatch => json!({"kind": "Role", "name": "without-watch"}),
            Grant::None => json!(null),
        };
        // The role of a binding cannot change.
        let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
            Api::namespaced(self.client.clone(), &self.namespace);
        match bindings.delete(BINDING, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context("could not take the grant away"),
        }
        if grant == Grant::WithoutWatch {
            self.apply(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "without-watch"},
                "rules": [
                    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "update", "delete"]},
                    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
                ],
            }))
            .await?;
        }
        if grant != Grant::None {
            self.apply(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": BINDING},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["name"]},
                "subjects": [{"kind": "ServiceAccount", "namespace": ACCOUNT.0, "name": ACCOUNT.1}],
            }))
            .await?;
        }
        Ok(())
    }
}

const BINDING: &str = "atmos-secrets-operator";
