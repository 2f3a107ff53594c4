//! What the operator has to do: N Stacks, one component and three keys each, two of them from a `kubernetes` store and one
//! from a SOPS file.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{ControlPlane, wait_until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// Connections of the writers.
pub(super) const CONNECTIONS: usize = 64;
/// Far above what any run here takes; a hang ends.
const LIMIT: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Secrets that [`prepared`] makes besides the values of each Stack.
const PREPARED_SECRETS: usize = 1;

/// What the operator may do in a namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// See every change.
    Watch,
    /// Ask for one object at a time.
    GetOnly,
}

/// The Stacks of one namespace.
pub(super) struct Load {
    pub(super) namespace: String,
    pub(super) count: usize,
}

/// The kinds and the rights.
pub(super) async fn install(control_plane: &ControlPlane) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut manifests = String::new();
    for file in ["crds/stacks.yaml", "crds/stores.yaml", "crds/clusterstores.yaml", "crds/catalogs.yaml"] {
        manifests.push_str(&std::fs::read_to_string(root.join(file))?);
        manifests.push_str("\n---\n");
    }
    manifests.push_str(&std::fs::read_to_string(root.join("examples/install/rbac.yaml"))?);
    control_plane.apply_yaml(&manifests).await?;
    let arguments = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=30s"];
    let waited = control_plane.kubectl(arguments).await?;
    anyhow::ensure!(waited.status.success(), "the kinds were not established");
    Ok(())
}

pub(super) async fn stacks(control_plane: &ControlPlane, namespace: &str) -> anyhow::Result<Api<DynamicObject>> {
    let kind = GroupVersionKind::gvk("secrets.atmos.tools", "v1alpha1", "Stack");
    Ok(Api::namespaced_with(
        control_plane.client().await?,
        namespace,
        &ApiResource::from_gvk_with_plural(&kind, "stacks"),
    ))
}

pub(super) fn stack_name(number: usize) -> String {
    format!("stack-{number:05}")
}

/// The Secret that a Stack writes.
pub(super) fn target_name(number: usize) -> String {
    format!("{}-app", stack_name(number))
}

pub(super) fn stack(number: usize, refresh: Option<&str>) -> Value {
    let mut spec = json!({
        "defaultStore": "local",
        "components": {"terraform": {"app": {"secrets": {"vars": {
            "DB_USER": {"required": true},
            "DB_PASSWORD": {"required": true},
            "DATADOG_API_KEY": {"sops": "files", "backendKey": "plat-ue1-prod.enc.yaml#DATADOG_API_KEY", "required": true},
        }}}}},
    });
    if let (Some(refresh), Some(fields)) = (refresh, spec.as_object_mut()) {
        fields.insert("refreshInterval".to_owned(), json!(refresh));
    }
    json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack",
        "metadata": {"name": stack_name(number)}, "spec": spec,
    })
}

/// Creates Stacks over as many connections as other writers have.
pub(super) async fn create_stacks(
    control_plane: &ControlPlane,
    namespace: &str,
    wanted: impl IntoIterator<Item = Value>,
) -> anyhow::Result<()> {
    let (api, parameters) = (stacks(control_plane, namespace).await?, PostParams::default());
    futures::stream::iter(wanted)
        .map(|stack| {
            let (api, parameters) = (&api, &parameters);
            async move {
                api.create(parameters, &serde_json::from_value(stack)?).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CONNECTIONS)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Until every Stack of the namespace is ready.
pub(super) async fn wait_all_ready(control_plane: &ControlPlane, namespace: &str) -> anyhow::Result<()> {
    let stacks = stacks(control_plane, namespace).await?;
    wait_until("every Stack to be ready", LIMIT, async || {
        let list = stacks.list(&ListParams::default().match_any()).await?;
        let ready = list.items.iter().filter(|stack| is_ready(&stack.data)).count();
        anyhow::ensure!(ready == list.items.len(), "{ready} of {} are ready", list.items.len());
        anyhow::Ok(())
    })
    .await
}

pub(super) async fn apply(control_plane: &ControlPlane, documents: &[Value]) -> anyhow::Result<()> {
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    control_plane.apply_yaml(&texts.join("\n---\n")).await
}

/// An object with the fields of another one, too.
pub(super) fn merged(mut object: Value, more: &Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more.clone());
    }
    object
}

impl Load {
    /// Creates a namespace with its stores, values and Stacks.
    pub(super) async fn create(
        control_plane: &ControlPlane,
        namespace: &str,
        count: usize,
        grant: Grant,
        refresh: Option<&str>,
    ) -> anyhow::Result<Self> {
        apply(control_plane, &prepared(namespace, grant)?).await?;
        let values: Api<Secret> = Api::namespaced(control_plane.client().await?, namespace);
        let parameters = PostParams::default();
        futures::stream::iter(0..count)
            .map(|number| {
                let (values, parameters) = (&values, &parameters);
                async move {
                    let secret: Secret = serde_json::from_value(json!({
                        "metadata": {
                            "name": format!("atmos.{}.app", stack_name(number)),
                            "labels": {"secrets.atmos.tools/values": "true"},
                        },
                        "stringData": {"DB_USER": "orders", "DB_PASSWORD": format!("value-{number}")},
                    }))?;
                    values.create(parameters, &secret).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(CONNECTIONS)
            .try_collect::<Vec<()>>()
            .await?;
        create_stacks(control_plane, namespace, (0..count).map(|number| stack(number, refresh))).await?;
        Ok(Self { namespace: namespace.to_owned(), count })
    }

    /// Seconds from `started` until every Secret is there and every Stack is ready.
    pub(super) async fn wait_until_ready(&self, control_plane: &ControlPlane, started: Instant) -> anyhow::Result<f64> {
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(control_plane.client().await?, &self.namespace);
        let before = PREPARED_SECRETS + self.count;
        // Looking takes the API server's time, too. Of a page of one the server says how many more there are, which it can
        // do without a selector only, so everything is counted that is there. Statuses are looked at only at the end.
        loop {
            let page = secrets.list(&ListParams::default().limit(1)).await?;
            let more = usize::try_from(page.metadata.remaining_item_count.unwrap_or_default())?;
            if page.items.len() + more >= before + self.count {
                break;
            }
            anyhow::ensure!(started.elapsed() < LIMIT, "the cold sync did not end");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        wait_all_ready(control_plane, &self.namespace).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}

pub(super) fn is_ready(stack: &Value) -> bool {
    let conditions = stack.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| {
            condition.get("type") == Some(&json!("Ready")) && condition.get("status") == Some(&json!("True"))
        })
    })
}

/// The namespace, its grant and its stores. The SOPS file and its public identity are those of the quickstart.
fn prepared(namespace: &str, grant: Grant) -> anyhow::Result<Vec<Value>> {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let file = std::fs::read_to_string(quickstart.join("secrets/plat-ue1-prod.enc.yaml"))?;
    let identity = std::fs::read_to_string(quickstart.join("PUBLIC-demo-identity.txt"))?;
    let verbs = match grant {
        Grant::Watch => json!(["get", "list", "watch", "create", "update", "delete"]),
        Grant::GetOnly => json!(["get", "create", "update", "delete"]),
    };
    let reading = match grant {
        Grant::Watch => json!(["get", "list", "watch"]),
        Grant::GetOnly => json!(["get"]),
    };
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    Ok(vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata("operator"), "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": reading},
        ]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata("operator"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"}]}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("sops-files"),
            "data": {"plat-ue1-prod.enc.yaml": file}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("sops-age-key"),
            "stringData": {"age.agekey": identity}}),
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": metadata("local"),
            "spec": {"kubernetes": {}, "minRefreshInterval": "10s"}}),
        json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": metadata("files"),
            "spec": {"sops": {"source": {"configMaps": ["sops-files"]},
                "age": {"keys": [{"secret": "sops-age-key", "key": "age.agekey"}]}}, "minRefreshInterval": "10s"}}),
    ])
}
