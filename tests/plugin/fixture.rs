//! A namespace of its own for each test, objects in it, and the plugin with a clean environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use atmos_secrets::api::{Catalog, ClusterStore, Stack, Store, crds};
use e2e::ControlPlane;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The built binary.
pub const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-atmos_secret");
/// Longer than any verb may take, `validate --timeout 5m` included; a plugin that hangs fails its test.
const RUN_LIMIT: Duration = Duration::from_secs(360);

/// The control plane of this test binary, with our CRDs served.
pub async fn control_plane() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let control_plane = ControlPlane::shared().await.expect("a control plane");
    INSTALLED.get_or_init(|| install_crds(control_plane)).await;
    control_plane
}

/// How long an API server may take to serve a new kind: far more than it does, since the machine may be busy.
const SERVED: Duration = Duration::from_secs(120);

/// Installs our CRDs and waits until they are served.
pub async fn install_crds(control_plane: &ControlPlane) {
    let client = control_plane.client().await.expect("a client");
    let api: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(client.clone());
    for crd in crds().expect("our CRDs") {
        let name = crd.name_any();
        api.patch(&name, &PatchParams::apply("tests"), &Patch::Apply(&crd)).await.expect("the CRD is accepted");
        e2e::wait_until(format!("{name} to be served"), SERVED, async || {
            let crd = api.get(&name).await.map_err(|error| error.to_string())?;
            let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
            let served =
                conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
            if served { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await
        .expect("the CRD is served");
    }
    // Established is less: for a moment the server answers 404 to requests for the kind, then 429.
    is_served::<Stack>(&client).await;
    is_served::<Store>(&client).await;
    is_served::<ClusterStore>(&client).await;
    is_served::<Catalog>(&client).await;
}

async fn is_served<K>(client: &Client)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let objects: Api<K> = Api::all(client.clone());
    let list = async || objects.list(&ListParams::default()).await;
    e2e::wait_until(format!("{} to be listed", K::kind(&())), SERVED, list).await.expect("the kind is served");
}

/// A namespace, and the plugin used in it.
pub struct Fixture {
    pub control_plane: &'static ControlPlane,
    pub client: Client,
    pub namespace: String,
    home: tempfile::TempDir,
    kubeconfig: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// Whether a terminal may be given colors.
    pub colors: bool,
}

impl Fixture {
    /// A new namespace; the user is the administrator.
    pub async fn new(prefix: &str) -> Self {
        Self::on(control_plane().await, prefix).await
    }

    /// As [`Fixture::new`], on a control plane of the test's own.
    pub async fn on(control_plane: &'static ControlPlane, prefix: &str) -> Self {
        Self {
            control_plane,
            client: control_plane.client().await.expect("a client"),
            namespace: control_plane.namespace(prefix).await.expect("a namespace"),
            home: tempfile::tempdir().expect("a folder"),
            kubeconfig: control_plane.admin_kubeconfig(),
            environment: Vec::new(),
            colors: false,
        }
    }

    /// From now on the user is a person with only these rights in the namespace.
    pub async fn with_rights(mut self, rules: Value) -> Self {
        self.kubeconfig = self.control_plane.person(&self.namespace, None).expect("a person");
        self.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "person", "namespace": self.namespace}, "rules": rules,
        }))
        .await;
        self.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "person", "namespace": self.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "person"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.namespace}],
        }))
        .await;
        self
    }

    /// Sets a variable for the plugin.
    pub fn with_variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Makes an object in the namespace, or changes it.
    pub async fn apply(&self, mut object: Value) {
        object["metadata"]["namespace"] = json!(self.namespace);
        self.control_plane.apply_yaml(&object.to_string()).await.expect("the object is accepted");
    }

    /// Makes a Stack.
    pub async fn stack(&self, name: &str, spec: Value) {
        // Not by apply: its YAML refuses the control characters that a hostile client can send as JSON.
        let stack: Stack = serde_json::from_value(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Stack", "metadata": {"name": name}, "spec": spec,
        }))
        .expect("a Stack");
        match self.stacks().create(&PostParams::default(), &stack).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.change(name, spec).await,
            made => drop(made.expect("the Stack is accepted")),
        }
    }

    /// Changes a Stack by a merge patch of its spec.
    pub async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.stacks().patch(name, &PatchParams::default(), &patch).await.expect("the change is accepted");
    }

    pub fn stacks(&self) -> Api<Stack> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Writes what the operator would have written; `observedGeneration` is the present one unless it is given.
    pub async fn status(&self, name: &str, mut status: Value) {
        let stacks = self.stacks();
        let generation = stacks.get(name).await.expect("the Stack").metadata.generation;
        let fields = status.as_object_mut().expect("an object");
        fields.entry("observedGeneration").or_insert_with(|| json!(generation));
        for condition in fields.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        }
        stacks
            .patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
            .await
            .expect("the status is accepted");
    }

    /// The plugin's command with a clean environment.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command
    }

    /// The user's home folder, empty at first.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Runs the plugin in the namespace.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with_input(arguments, b"").await
    }

    /// Runs the plugin in the namespace, with bytes on stdin.
    pub async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-n", &self.namespace]).collect();
        run(self.command(PLUGIN, &arguments), input).await
    }
}

/// Where programs are found.
#[expect(clippy::disallowed_methods, reason = "the plugin's environment is made here, variable by variable")]
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Runs a command to its end.
pub async fn run(mut command: Command, input: &[u8]) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin");
    // A program that does not read its input closes it early: that is its right.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = tokio::time::timeout(RUN_LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("still running after {RUN_LIMIT:?}"))
        .expect("the program ends");
    Outcome::of(output)
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Compares all three.
    #[track_caller]
    pub fn is(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!((self.code, self.text(), self.stderr.as_str()), (code, stdout, stderr));
    }
}

/// A Ready condition.
pub fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": message})
}

/// What a run on a terminal left.
#[derive(Debug, serde::Deserialize)]
pub struct Session {
    /// The exit code; negative for the signal that ended it.
    pub code: i32,
    /// All that the terminal showed.
    pub output: String,
    /// Whether the terminal's settings are those from before.
    pub restored: bool,
}

impl Fixture {
    /// Runs the plugin in the namespace on a terminal of its own; the steps are those of `terminal.py`.
    pub async fn on_terminal(&self, arguments: &[&str], steps: Value) -> Session {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/terminal.py");
        let steps = steps.to_string();
        let arguments: Vec<&str> = [script, &steps, PLUGIN]
            .into_iter()
            .chain(arguments.iter().copied())
            .chain(["-n", &self.namespace])
            .collect();
        let mut command = self.command("python3", &arguments);
        if !self.colors {
            command.env("NO_COLOR", "1");
        }
        let outcome = run(command, b"").await;
        assert_eq!(outcome.code, 0, "the script went as expected: {}", outcome.stderr);
        serde_json::from_slice(&outcome.stdout).expect("the script's report")
    }
}
