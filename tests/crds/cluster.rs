//! One real API server with the definitions installed, and what it says to an object.

use std::fmt;

use anyhow::Context as _;
use atmos_secrets::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stack,
    Store,
    ClusterStore,
    Catalog,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Stack, Self::Store, Self::ClusterStore, Self::Catalog];

    pub fn name(self) -> &'static str {
        match self {
            Self::Stack => "Stack",
            Self::Store => "Store",
            Self::ClusterStore => "ClusterStore",
            Self::Catalog => "Catalog",
        }
    }

    fn is_namespaced(self) -> bool {
        match self {
            Self::Stack | Self::Store => true,
            Self::ClusterStore | Self::Catalog => false,
        }
    }
}

/// What the API server does with fields that the schema does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// As `kubectl apply` asks for.
    Refused,
    /// As old clients get it.
    Pruned,
}

/// A namespace of the shared control plane.
pub struct Cluster {
    pub control_plane: &'static e2e::ControlPlane,
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    /// A new namespace; the definitions are installed by the first call of the process, from the committed YAML.
    pub async fn new() -> anyhow::Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let control_plane = e2e::ControlPlane::shared().await?;
        INSTALLED.get_or_try_init(|| install(control_plane)).await?;
        Ok(Self {
            control_plane,
            client: control_plane.client().await?,
            namespace: control_plane.namespace("crds").await?,
        })
    }

    /// Objects of a kind; of this namespace where the kind has namespaces.
    pub fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(api::GROUP, api::VERSION, kind.name()));
        if kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Stores an object with this spec under a new name, or says why the API server refuses it.
    pub async fn create(&self, kind: Kind, spec: &str) -> Result<DynamicObject, Refusal> {
        self.create_with(kind, Unknown::Refused, &json!({"metadata": {}, "spec": yaml(spec)})).await
    }

    /// As [`Cluster::create`], with metadata, status and whatever else `object` has.
    pub async fn create_with(&self, kind: Kind, unknown: Unknown, object: &Value) -> Result<DynamicObject, Refusal> {
        let mut object = object.clone();
        object["apiVersion"] = format!("{}/{}", api::GROUP, api::VERSION).into();
        object["kind"] = kind.name().into();
        if object.pointer("/metadata/name").is_none() {
            object["metadata"]["generateName"] = "test-".into();
        }
        let request = kube::core::Request::new(self.objects(kind).resource_url());
        let body = serde_json::to_vec(&object).unwrap();
        let mut request = request.create(&PostParams::default(), body).unwrap();
        let validation = match unknown {
            Unknown::Refused => "Strict",
            Unknown::Pruned => "Ignore",
        };
        let uri = format!("{}&fieldValidation={validation}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        self.client.request::<DynamicObject>(request).await.map_err(Refusal::from)
    }

    /// Replaces an object's spec, or says why the API server refuses it.
    pub async fn replace_spec(&self, kind: Kind, object: &DynamicObject, spec: &str) -> Result<DynamicObject, Refusal> {
        let mut changed = object.clone();
        changed.data["spec"] = yaml(spec);
        self.objects(kind).replace(&object.name_any(), &PostParams::default(), &changed).await.map_err(Refusal::from)
    }
}

async fn install(control_plane: &e2e::ControlPlane) -> anyhow::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    let arguments = ["apply", "--server-side", "--filename", folder];
    let output = control_plane.kubectl(arguments).await?;
    let words = String::from_utf8_lossy(&output.stderr);
    // A warning would show at every installation, for example about a format that the API server does not know.
    anyhow::ensure!(output.status.success() && words.is_empty(), "kubectl apply --filename crds/ said:\n{words}");
    let names = api::crds()?.iter().map(|definition| format!("crd/{}", definition.name_any())).collect::<Vec<_>>();
    let arguments =
        ["wait", "--for=condition=Established", "--timeout=60s"].map(str::to_owned).into_iter().chain(names);
    let output = control_plane.kubectl(arguments).await?;
    anyhow::ensure!(output.status.success(), "kubectl wait said:\n{}", String::from_utf8_lossy(&output.stderr));
    // Established says that the names are free; the new paths are served a moment later.
    let client = control_plane.client().await?;
    for kind in Kind::ALL {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(api::GROUP, api::VERSION, kind.name()));
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        e2e::wait_until("the new kind to be served", std::time::Duration::from_secs(60), async || {
            objects.list(&kube::api::ListParams::default()).await
        })
        .await
        .with_context(|| format!("{} is not served", kind.name()))?;
    }
    Ok(())
}

/// The definitions as the API server has stored them.
pub async fn installed(cluster: &Cluster) -> Vec<CustomResourceDefinition> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let list = definitions.list(&kube::api::ListParams::default()).await.unwrap();
    list.items.into_iter().filter(|definition| definition.spec.group == api::GROUP).collect()
}

/// Reads what a test has written.
#[expect(clippy::disallowed_methods, reason = "a test's own text")]
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("the test's own YAML is wrong: {error}\n{text}"))
}

/// Why the API server refused an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
    /// Field path and message of each cause, the message without the words "Invalid value: ".
    pub causes: Vec<(String, String)>,
}

impl Refusal {
    /// Whether there is exactly one cause, at `field`, with `message`.
    pub fn is(&self, field: &str, message: &str) -> bool {
        matches!(self.causes.as_slice(), [(path, words)] if path == field && words == message)
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { panic!("expected an answer of the API server, got {error}") };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        // Where the form is wrong, the API server skips the CEL rules and says so.
        let skipped = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        let causes = causes
            .filter(|cause| !cause.message.contains(skipped))
            .map(|cause| (cause.field.clone(), cause.message.trim_start_matches("Invalid value: ").to_owned()))
            .collect();
        Self { code: status.code, message: status.message.clone(), causes }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code, self.message)?;
        self.causes.iter().try_for_each(|(field, message)| write!(formatter, "\n  {field:?}, {message:?}"))
    }
}
