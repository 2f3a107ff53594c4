//! The cluster that the demo plays in: one of its own, or somebody else's, which is left as it was found.

use std::path::Path;

use anyhow::Context as _;
use e2e::{ControlPlane, Options};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::shell::{Ran, Shell};

/// The namespace of `examples/quickstart`.
pub(super) const NAMESPACE: &str = "quickstart";
/// The namespace of `examples/install/rbac.yaml`, which is also the account's name with a suffix.
pub(super) const OPERATOR_NAMESPACE: &str = "atmos-secrets";
/// On [`OPERATOR_NAMESPACE`]: this installation is a demo's, and a demo may take it away.
const MARK: (&str, &str) = ("app.kubernetes.io/created-by", "atmos-secrets-demo");
/// Everything that is installed. Names work as arguments of `kubectl get` and `kubectl delete`.
const INSTALLED: &str = "-f crds -f examples/install/rbac.yaml -f examples/quickstart/namespace.yaml";
/// The oldest Kubernetes that the operator supports.
const OLDEST: (u32, u32) = (1, 33);

/// Which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Where {
    /// A control plane on loopback, made for the demo
    Local,
    /// The cluster of the current kubectl context
    Current,
}

/// A cluster that is ready for the demo.
pub(super) struct Stage {
    /// Ends with this.
    local: Option<ControlPlane>,
    /// For people.
    pub(super) description: String,
    pub(super) client: Client,
}

impl Stage {
    /// Starts the control plane, or looks whether the current cluster will do.
    ///
    /// # Errors
    ///
    /// When it does not start, or something in the way is not a demo's.
    pub(super) async fn set(context: Where, shell: &Shell) -> anyhow::Result<Self> {
        let local = match context {
            Where::Local => Some(ControlPlane::start(Options::default()).await?),
            Where::Current => None,
        };
        let view = "kubectl config view --minify --flatten --raw --output=json";
        let Ran { text, status } = match &local {
            Some(control_plane) => shell.run_with(view, &control_plane.admin_kubeconfig()).await?,
            None => shell.run_as_caller(view).await?,
        };
        anyhow::ensure!(
            status.success(),
            "could not read the current kubectl context; unset DEMO_CONTEXT to use a control plane of the demo's own: {}",
            text.trim()
        );
        let kubeconfig = in_namespace(&text).context("kubectl printed a kubeconfig that cannot be read")?;
        write_private(&shell.kubeconfig(), &kubeconfig.to_string())?;
        let server = pointer(&kubeconfig, "/clusters/0/cluster/server");
        let description = match &local {
            Some(_) => format!("etcd, kube-apiserver and kube-controller-manager of its own, at {server}"),
            None => format!("the current kubectl context, {} at {server}", pointer(&kubeconfig, "/current-context")),
        };
        let stage = Self { local, description, client: client(&shell.kubeconfig()).await? };
        if stage.local.is_none() {
            check_version(shell).await?;
            stage.make_room(shell).await?;
        }
        Ok(stage)
    }

    /// Whether the cluster ends with the demo.
    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Takes away what an interrupted demo left, and refuses to touch anything else. Marks what follows as a demo's.
    async fn make_room(&self, shell: &Shell) -> anyhow::Result<()> {
        let found = kubectl(shell, &format!("get --ignore-not-found --output=name {INSTALLED}")).await?;
        // Objects whose kind or namespace is absent are not there, and kubectl says so.
        let found: Vec<&str> = found.lines().filter(|line| line.contains('/') && !line.contains(' ')).collect();
        if !found.is_empty() {
            let (key, value) = MARK;
            let marked = format!("get namespace --output=name --selector={key}={value}");
            let marked = kubectl(shell, &marked).await?;
            anyhow::ensure!(
                marked.lines().any(|name| name == format!("namespace/{OPERATOR_NAMESPACE}")),
                "this cluster has {} already, and not from a demo: nothing was changed; use another cluster, or unset \
                 DEMO_CONTEXT to use a control plane of the demo's own",
                found.join(", ")
            );
            shell.say("An earlier demo was interrupted here; what it left is taken away first.");
            self.clean_up(shell).await?;
        }
        let (key, value) = MARK;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": OPERATOR_NAMESPACE, "labels": {key: value}},
        });
        kubectl(shell, &format!("create --filename=- <<'END'\n{namespace}\nEND")).await.map(drop)
    }

    /// Leaves somebody else's cluster as it was found; one's own simply ends.
    ///
    /// # Errors
    ///
    /// When something cannot be taken away.
    pub(super) async fn clean_up(&self, shell: &Shell) -> anyhow::Result<()> {
        if self.is_local() {
            return Ok(());
        }
        shell.say("\nTaking away what the demo made …");
        let rest = async {
            let elsewhere = self.used_elsewhere(shell).await?;
            anyhow::ensure!(
                elsewhere.is_empty(),
                "other namespaces have Stacks or Stores by now ({}): the definitions and the operator's rights stay; \
                 take them away with `kubectl delete {INSTALLED}`",
                elsewhere.join(", ")
            );
            // Stacks go before the namespace, so that no order of deletion matters.
            kubectl(shell, &format!("delete --wait --timeout=3m --ignore-not-found {INSTALLED}")).await.map(drop)
        };
        rest.await.context("could not take away everything that the demo made")
    }

    /// Our kinds outside the demo's namespace: deleting the definitions would delete those objects.
    async fn used_elsewhere(&self, shell: &Shell) -> anyhow::Result<Vec<String>> {
        let kinds = "stacks.secrets.atmos.tools,stores.secrets.atmos.tools,clusterstores.secrets.atmos.tools,\
                     catalogs.secrets.atmos.tools";
        let columns = "custom-columns=N:.metadata.namespace,K:.kind,M:.metadata.name";
        let line = format!("kubectl get {kinds} --all-namespaces --no-headers --output={columns}");
        let Ran { text, status } = shell.quietly(&line).await?;
        if !status.success() && text.contains("the server doesn't have a resource type") {
            return Ok(Vec::new());
        }
        anyhow::ensure!(status.success(), "{}", text.trim());
        let objects = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(objects
            .filter(|words| words.len() == 3 && words.first() != Some(&NAMESPACE))
            .map(|words| words.join("/"))
            .collect())
    }
}

/// Runs kubectl without showing it.
async fn kubectl(shell: &Shell, arguments: &str) -> anyhow::Result<String> {
    let Ran { text, status } = shell.quietly(&format!("kubectl {arguments}")).await?;
    anyhow::ensure!(status.success(), "kubectl ended with {status}: {}", text.trim());
    Ok(text)
}

async fn check_version(shell: &Shell) -> anyhow::Result<()> {
    let text = kubectl(shell, "version --output=json 2>/dev/null").await.context("could not reach the cluster")?;
    let version: Value = serde_json::from_str(&text).context("kubectl printed a version that cannot be read")?;
    let number = |name: &str| -> Option<u32> {
        let text = version.pointer(&format!("/serverVersion/{name}"))?.as_str()?;
        text.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().ok()
    };
    let found = number("major").zip(number("minor")).context("the API server did not say its version")?;
    let ((major, minor), (oldest_major, oldest_minor)) = (found, OLDEST);
    anyhow::ensure!(
        found >= OLDEST,
        "the cluster runs Kubernetes {major}.{minor}; the operator needs {oldest_major}.{oldest_minor} or newer"
    );
    Ok(())
}

/// The kubeconfig with the quickstart's namespace as the default one.
fn in_namespace(text: &str) -> anyhow::Result<Value> {
    let mut kubeconfig: Value = serde_json::from_str(text)?;
    let context = kubeconfig.pointer_mut("/contexts/0/context").and_then(Value::as_object_mut);
    context.context("no context")?.insert("namespace".to_owned(), json!(NAMESPACE));
    Ok(kubeconfig)
}

/// A kubeconfig for the same cluster with a token instead of whatever the user was.
pub(super) fn with_token(kubeconfig: &str, token: &str) -> anyhow::Result<Value> {
    let mut kubeconfig: Value = serde_json::from_str(kubeconfig)?;
    let user = kubeconfig.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
    *user = json!({"token": token});
    Ok(kubeconfig)
}

fn pointer<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", path.display()))
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    // The first call in a process wins, and all want the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let contents = Kubeconfig::read_from(kubeconfig).context("could not read the demo's kubeconfig")?;
    let config = Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("could not make a client for the cluster")
}
