//! What a test writes and reads in its namespace, as an administrator.

use std::collections::BTreeMap;

use anyhow::Context as _;
use atmos_secrets::api::{self, Stack, StackStatus, Store, marks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::control_plane::AuditEvent;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::Tenant;

impl Tenant {
    /// Writes a Stack with exactly this spec (YAML).
    pub async fn stack(&self, name: &str, spec: &str) -> anyhow::Result<()> {
        self.write("Stack", name, yaml(spec)?).await
    }

    /// Writes a Store with exactly this spec (YAML).
    pub async fn store(&self, name: &str, spec: &str) -> anyhow::Result<()> {
        self.write("Store", name, yaml(spec)?).await
    }

    /// Writes a ClusterStore with exactly this spec (YAML); the name should come from [`Tenant::unique`].
    pub async fn cluster_store(&self, name: &str, spec: &str) -> anyhow::Result<()> {
        self.write("ClusterStore", name, yaml(spec)?).await
    }

    /// Writes a Catalog with exactly this spec (YAML); the name should come from [`Tenant::unique`].
    pub async fn catalog(&self, name: &str, spec: &str) -> anyhow::Result<()> {
        self.write("Catalog", name, yaml(spec)?).await
    }

    /// Creates one of our objects, or replaces its spec and nothing else. Fields that the schema does not have are
    /// refused.
    pub async fn write(&self, kind: &str, name: &str, spec: Value) -> anyhow::Result<()> {
        match self.create(&ours(kind, name, spec.clone()), ValidationDirective::Strict).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            created => return created.with_context(|| format!("could not create {kind} {name}")),
        }
        let parameters = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
        let operation = serde_json::from_value(json!([{"op": "replace", "path": "/spec", "value": spec}]))?;
        let objects = self.objects(&ours(kind, name, Value::Null));
        let replaced = objects.patch(name, &parameters, &Patch::<Value>::Json(operation)).await;
        replaced.map(drop).with_context(|| format!("could not replace the spec of {kind} {name}"))
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value, unknown: ValidationDirective) -> Result<(), kube::Error> {
        let request = kube::core::Request::new(self.objects(object).resource_url());
        let mut request = request
            .create(&PostParams::default(), object.to_string().into_bytes())
            .map_err(kube::Error::BuildRequest)?;
        let validation = match unknown {
            ValidationDirective::Strict => "Strict",
            ValidationDirective::Warn => "Warn",
            ValidationDirective::Ignore => "Ignore",
        };
        let uri = format!("{}&fieldValidation={validation}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        self.client.request::<DynamicObject>(request).await.map(drop)
    }

    /// Applies the Secret of a `kubernetes` store with exactly these values.
    pub async fn values(&self, object: &str, values: &[(&str, &str)]) -> anyhow::Result<()> {
        let labels = json!({marks::VALUES: "true"});
        self.apply_secret(object, json!({"labels": labels}), "Opaque", values).await
    }

    /// Applies any Secret.
    pub async fn apply_secret(
        &self,
        name: &str,
        metadata: Value,
        secret_type: &str,
        data: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let mut metadata = metadata;
        metadata["name"] = name.into();
        let data: BTreeMap<&str, String> = data.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret_type, "data": data});
        self.apply(&object).await
    }

    /// Applies an object on the server's side; one that has namespaces goes to the tenant's.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let applied =
            self.objects(object).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await;
        applied.map(drop).with_context(|| format!("could not apply {kind} {name}"))
    }

    /// Changes an object by a JSON merge patch.
    pub async fn patch(&self, api_version: &str, kind: &str, name: &str, patch: Value) -> anyhow::Result<()> {
        let objects = self.objects(&json!({"apiVersion": api_version, "kind": kind}));
        objects.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Changes a Stack by a JSON merge patch.
    pub async fn patch_stack(&self, name: &str, patch: Value) -> anyhow::Result<()> {
        self.patch(&format!("{}/{}", api::GROUP, api::VERSION), "Stack", name, patch).await
    }

    /// Changes a Secret by a JSON merge patch.
    pub async fn patch_secret(&self, name: &str, patch: Value) -> anyhow::Result<()> {
        self.patch("v1", "Secret", name, patch).await
    }

    /// Deletes an object of one of our kinds or of the core API.
    pub async fn delete(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        let api_version = match kind {
            "Stack" | "Store" | "ClusterStore" | "Catalog" => format!("{}/{}", api::GROUP, api::VERSION),
            _ => "v1".to_owned(),
        };
        self.objects(&json!({"apiVersion": api_version, "kind": kind})).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn objects(&self, object: &Value) -> Api<DynamicObject> {
        let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", "v1"),
        };
        let kind = object["kind"].as_str().unwrap_or_default();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "ClusterStore" | "Catalog" | "Namespace" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        }
    }

    /// Stacks.
    pub fn stacks(&self) -> Api<Stack> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Stores.
    pub fn stores(&self) -> Api<Store> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Secrets.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The status of a Stack as it is now.
    pub async fn status(&self, stack: &str) -> anyhow::Result<StackStatus> {
        Ok(self.stacks().get_status(stack).await?.status.unwrap_or_default())
    }

    /// The data of a Secret, if there is one.
    pub async fn secret(&self, name: &str) -> anyhow::Result<Option<BTreeMap<String, Vec<u8>>>> {
        let found = self.secrets().get_opt(name).await?;
        Ok(found.map(|secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()))
    }

    /// The Events of a Stack: reason and note.
    pub async fn events(&self, stack: &str) -> anyhow::Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = events.list(&ListParams::default()).await?;
        let ours = list
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(stack)));
        Ok(ours.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect())
    }

    /// What the operator asked of the API server in this namespace.
    pub fn operator_requests(&self) -> anyhow::Result<Vec<AuditEvent>> {
        let user = self.cluster.operator_user();
        let events = self.cluster.audit_events_since(self.since)?;
        Ok(events.into_iter().filter(|event| event.user == user && event.namespace == self.namespace).collect())
    }

    /// The writes to a Secret that the operator tried, whatever the answer was. A create has no name in its path, but
    /// the audit log has it.
    pub fn operator_writes(&self, secret: &str) -> anyhow::Result<Vec<AuditEvent>> {
        let mut events = self.operator_requests()?;
        events.retain(|event| {
            event.resource == "secrets"
                && event.name == secret
                && matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete")
        });
        Ok(events)
    }
}

/// What a test has written.
#[expect(clippy::disallowed_methods, reason = "trusted text, and its error may quote it")]
fn yaml(text: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("the test's own YAML is wrong: {error}\n{text}"))
}

/// An object of one of our kinds.
fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", api::GROUP, api::VERSION), "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}
