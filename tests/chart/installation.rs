//! A real API server with the chart installed by the real helm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use e2e::process::{Guarded, Program};
use e2e::{ControlPlane, wait_until};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::helm::{CHART, NAMESPACE, RELEASE, helm, text};

/// How long anything may take; far more than it does.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The service account of the chart, as RBAC and the audit log call it.
pub const USER: &str = "system:serviceaccount:atmos-secrets:atmos-secrets-operator";

/// The control plane of the tests that can share one. The chart is installed with its defaults; there is no operator.
pub async fn shared() -> anyhow::Result<&'static ControlPlane> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = ControlPlane::shared().await?;
    INSTALLED.get_or_try_init(|| install(plane, &[])).await?;
    Ok(plane)
}

/// A control plane of the test's own.
pub async fn start() -> anyhow::Result<ControlPlane> {
    ControlPlane::start(e2e::Options::default()).await
}

/// Installs the chart of this repository.
pub async fn install(plane: &ControlPlane, arguments: &[&str]) -> anyhow::Result<()> {
    release(plane, &[&["install", RELEASE, CHART, "--create-namespace"], arguments].concat()).await
}

/// Upgrades to the chart of this repository, from the values of the chart alone.
pub async fn upgrade(plane: &ControlPlane, arguments: &[&str]) -> anyhow::Result<()> {
    release(plane, &[&["upgrade", RELEASE, CHART, "--reset-values"], arguments].concat()).await
}

/// Runs helm as administrator in the namespace of the release; nothing may be said on stderr, where warnings go.
pub async fn release(plane: &ControlPlane, arguments: &[&str]) -> anyhow::Result<()> {
    let output = helm(Some(&plane.admin_kubeconfig()), &[arguments, &["--namespace", NAMESPACE]].concat()).await?;
    let words = text(&output.stderr);
    anyhow::ensure!(output.status.success(), "helm {arguments:?}:\n{words}");
    anyhow::ensure!(!words.contains("arning"), "helm {arguments:?} warns:\n{words}");
    Ok(())
}

/// A kubeconfig of the chart's service account.
pub async fn account(plane: &ControlPlane) -> anyhow::Result<PathBuf> {
    plane.service_account_kubeconfig(NAMESPACE, "atmos-secrets-operator").await
}

/// The operator as the chart's service account, ready.
pub async fn operator(plane: &ControlPlane) -> anyhow::Result<Operator> {
    let kubeconfig = account(plane).await?;
    Operator::start(plane, &kubeconfig).await
}

/// A running operator. It ends when it is dropped.
pub struct Operator {
    process: Guarded,
    log: PathBuf,
}

impl Operator {
    async fn start(plane: &ControlPlane, kubeconfig: &Path) -> anyhow::Result<Self> {
        let log = plane.folder().join("operator.log");
        let process = Guarded::start(&Program {
            name: "the operator".to_owned(),
            path: env!("CARGO_BIN_EXE_atmos-secrets-operator").into(),
            arguments: ["--listen=127.0.0.1:0", "--log-level=debug", "--allow-loopback-endpoints"]
                .map(Into::into)
                .into(),
            environment: vec![("KUBECONFIG", kubeconfig.into()), ("POD_NAMESPACE", NAMESPACE.into())],
            folder: plane.folder().to_owned(),
            log: log.clone(),
        })?;
        let mut operator = Self { process, log };
        wait_until("the operator to start", LIMIT, async || {
            if let Err(ended) = operator.process.expect_running() {
                return Ok(Err(ended));
            }
            let log = std::fs::read_to_string(&operator.log).unwrap_or_default();
            log.contains("\"message\":\"started\"").then_some(Ok(())).context("it has not started yet")
        })
        .await??;
        Ok(operator)
    }
}

/// Waits until the Ready condition of a Stack at its present generation is this status and reason.
pub async fn wait_stack(
    plane: &ControlPlane,
    namespace: &str,
    stack: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<Value> {
    wait_until(format!("Stack {namespace}/{stack} to be {status} {reason}"), LIMIT, async || {
        let object = plane.get_json(["stack", stack, "--namespace", namespace]).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions yet")?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no Ready yet")?;
        let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        anyhow::ensure!(observed && ready["status"] == status && ready["reason"] == reason, "{}", object["status"]);
        Ok(object)
    })
    .await
}
