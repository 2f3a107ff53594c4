//! A container as the chart's Pod describes it, made of what every Linux has: namespaces, `chroot` and `setpriv`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::account;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Cluster, OPERATOR, Options};

/// Makes the root, with what it is given, the two programs and the libraries that they need; then ends up in it.
const SCRIPT: &str = include_str!("container.sh");

/// Where a Pod finds its token.
const ACCOUNT_FOLDER: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// See the module.
pub struct Container {
    /// What the Pod's volumes hold.
    volumes: TempDir,
    root: TempDir,
    environment: Vec<String>,
    arguments: Vec<String>,
}

impl Container {
    /// With the arguments, the environment and the rights of `tests/chart/snapshots/default.yaml`.
    pub fn of_the_chart(cluster: &Cluster) -> anyhow::Result<Self> {
        let pod = pod()?;
        let container = &pod["containers"][0];
        let user = &pod["securityContext"];
        assert_eq!(
            json!([user["runAsNonRoot"], user["runAsUser"], user["runAsGroup"], container["securityContext"]]),
            json!([true, 65532, 65532, {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            }]),
            "container.sh does what this says",
        );
        let volumes = tempfile::tempdir()?;
        let server = fill(&volumes.path().join(ACCOUNT_FOLDER), &cluster.operator_kubeconfig())?;
        let (host, port) = server.strip_prefix("https://").and_then(|rest| rest.split_once(':')).context("no port")?;
        let names = container["env"].as_array().into_iter().flatten();
        let told = names.map(|variable| match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.namespace") => format!("{}=atmos-secrets", variable["name"].as_str().unwrap()),
            Some("metadata.name") => format!("{}=operator", variable["name"].as_str().unwrap()),
            other => panic!("{variable}: {other:?}"),
        });
        let kubernetes = [format!("KUBERNETES_SERVICE_HOST={host}"), format!("KUBERNETES_SERVICE_PORT={port}")];
        // These the harness sets for every operator.
        let ours = ["--listen=", "--log-format=", "--log-level="];
        let arguments =
            container["args"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned());
        Ok(Self {
            volumes,
            root: tempfile::tempdir()?,
            environment: told.chain(kubernetes).collect(),
            arguments: arguments.filter(|word| !ours.iter().any(|start| word.starts_with(start))).collect(),
        })
    }

    /// An operator in it. The programs that make it are this user's.
    pub fn options(&self) -> Options {
        let path = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        // Who is not root may mount in a user namespace only, where he is called so; he is not outside.
        let namespaces: &[&str] = if account::is_root() {
            &["unshare", "--mount"]
        } else {
            &["unshare", "--user", "--map-root-user", "--mount"]
        };
        let identity = if account::is_root() { "--reuid=65532 --regid=65532 --clear-groups" } else { "" };
        let folders = [self.root.path(), self.volumes.path()].map(|path| path.display().to_string());
        let words = ["env", "-i"].map(str::to_owned).into_iter().chain(path).chain(self.environment.iter().cloned());
        let words = words.chain(namespaces.iter().map(|word| (*word).to_owned()));
        let words = words.chain(["sh", "-c", SCRIPT, "container"].map(str::to_owned)).chain(folders);
        Options {
            through: words.chain([identity.to_owned()]).collect(),
            program: Some(PathBuf::from(OPERATOR)),
            arguments: self.arguments.clone(),
            ..Options::default()
        }
    }
}

/// The Pod that the chart makes.
fn pod() -> anyhow::Result<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/snapshots/default.yaml");
    let text = std::fs::read_to_string(path)?;
    let document = text.split("\n---\n").find(|document| document.contains("\nkind: Deployment\n"));
    let deployment = yaml(document.context("no Deployment")?)?;
    Ok(deployment["spec"]["template"]["spec"].clone())
}

#[expect(clippy::disallowed_methods, reason = "trusted text, and its error may quote it")]
fn yaml(text: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Writes what a kubelet puts there, from a kubeconfig of the same account; returns the API server's address.
fn fill(folder: &Path, kubeconfig: &Path) -> anyhow::Result<String> {
    let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(kubeconfig)?)?;
    let (cluster, user) = (&kubeconfig["clusters"][0]["cluster"], &kubeconfig["users"][0]["user"]);
    let authority = STANDARD.decode(cluster["certificate-authority-data"].as_str().context("no authority")?)?;
    let token = user["token"].as_str().context("no token")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("ca.crt"), authority)?;
    std::fs::write(folder.join("token"), token)?;
    std::fs::write(folder.join("namespace"), "atmos-secrets")?;
    Ok(cluster["server"].as_str().context("no server")?.to_owned())
}
