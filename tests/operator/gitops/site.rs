//! A cluster for the example, and the objects that belong into it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use atmos_secrets::api::Reason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, TypeMeta};
use serde_json::{Value, json};

use super::{helm, judge, render};
use crate::harness::{Cluster, Operator, Options};

pub const NAMESPACE: &str = "payments";
pub const STACK: &str = "plat-ue1-prod";
/// ClusterStores have their sources where the operator may only `get`: an absent one is looked for after 15 seconds, then
/// after 30.
pub const LIMIT: Duration = Duration::from_secs(300);

/// A cluster with an operator, and with the namespace, without which the API server takes nothing that is in it.
pub struct Site {
    pub cluster: Arc<Cluster>,
    pub client: Client,
    operator: Arc<Operator>,
}

impl Site {
    pub async fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let operator = Operator::start(&cluster, Options::default()).await?;
        let client = cluster.client().await?;
        let site = Self { cluster, operator, client };
        let namespace =
            render::kustomize("payments/base").await?.into_iter().find(|object| object["kind"] == "Namespace");
        site.apply(&namespace.context("no Namespace is rendered")?, "argocd-controller").await?;
        Ok(site)
    }

    /// Where objects of this kind are.
    pub fn api(&self, object: &Value) -> Api<DynamicObject> {
        let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
        let resource = ApiResource::from_gvk(&(&types).try_into().unwrap());
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies one object as a GitOps tool does.
    pub async fn apply(&self, object: &Value, manager: &str) -> anyhow::Result<DynamicObject> {
        let parameters = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            // The operator is installed already; here its Role becomes that of other values of the chart.
            force: object["kind"] == "Role",
            ..PatchParams::apply(manager)
        };
        let applied = self.api(object).patch(name(object), &parameters, &Patch::Apply(object)).await;
        applied.with_context(|| format!("could not apply {} {}", object["kind"], name(object)))
    }

    /// Waits until the Stack's Ready is this, for this reason.
    pub async fn wait_stack(&self, status: &str, reason: Reason) -> anyhow::Result<()> {
        let what = format!("{STACK} to be {status}, {reason}");
        e2e::wait_until(what, LIMIT, async || {
            let stack = self.cluster.get_json(["stack", STACK, "--namespace", NAMESPACE]).await?;
            let conditions = stack["status"]["conditions"].as_array().context("no conditions yet")?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no Ready yet")?;
            anyhow::ensure!(ready["status"] == status && ready["reason"] == reason.as_str(), "{ready}");
            Ok(())
        })
        .await
    }

    /// Waits until everything is ready, and the Secrets are those that the files hold.
    pub async fn wait_all_ready(&self) -> anyhow::Result<()> {
        self.wait_stack("True", Reason::Synced).await?;
        for object in [
            ["stack", "orders", "-n", NAMESPACE],
            ["store", "files", "-n", NAMESPACE],
            ["clusterstore", "platform", "-n", ""],
        ] {
            e2e::wait_until(format!("{} {} to be healthy", object[0], object[1]), LIMIT, async || {
                let (health, message) = judge::argocd(&self.cluster.get_json(object).await?);
                anyhow::ensure!(health == "Healthy", "{health}: {message}");
                Ok(())
            })
            .await?;
        }
        assert_eq!(self.keys("orders-db").await?, ["DB_PASSWORD", "DB_USER"]);
        assert_eq!(self.keys("orders-api").await?, ["DATADOG_API_KEY", "LOG_LEVEL", "PAYMENT_API_KEY"]);
        Ok(())
    }

    /// The keys of a Secret, after a search for its values in the operator's log.
    async fn keys(&self, secret: &str) -> anyhow::Result<Vec<String>> {
        let secret = self.cluster.get_json(["secret", secret, "--namespace", NAMESPACE]).await?;
        let data = secret["data"].as_object().context("no data")?;
        let log = std::fs::read_to_string(self.operator.log())?;
        for value in data.values() {
            let value = String::from_utf8(STANDARD.decode(value.as_str().unwrap())?)?;
            assert!(value.len() < 10 || !log.contains(&value), "a value of the example is in the log");
        }
        Ok(data.keys().cloned().collect())
    }
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Everything that the cluster needs but the namespace.
pub async fn objects() -> anyhow::Result<Vec<Value>> {
    let values = render::path("operator/values.yaml");
    let chart = helm::objects(&["--values", values.to_str().unwrap()]).await;
    let mut all = vec![helm::find(&chart, "Role", "atmos-secrets-operator").clone()];
    let identity = std::fs::read(render::path("../quickstart/PUBLIC-demo-identity.txt"))?;
    for (namespace, name) in [("atmos-secrets", "platform-age-key"), (NAMESPACE, "sops-age-key")] {
        all.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "data": {"age.agekey": STANDARD.encode(&identity)},
        }));
    }
    all.extend(render::kustomize("platform").await?);
    all.extend(render::kustomize("payments/prod").await?);
    all.retain(|object| object["kind"] != "Namespace");
    assert_eq!(all.len(), 12, "what is not in here is not tried");
    Ok(all)
}
