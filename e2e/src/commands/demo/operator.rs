//! The operator as a process of this machine, with the rights of its own service account.

use std::time::Duration;

use anyhow::Context as _;
use e2e::process::{Guarded, Program};
use e2e::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::cluster::{OPERATOR_NAMESPACE, with_token, write_private};
use super::programs::OPERATOR;
use super::shell::{Ran, Shell};

/// It is usually ready in a quarter of a second.
const START_LIMIT: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) struct Operator {
    running: Guarded,
    /// Of its admin endpoints.
    pub(super) address: String,
}

impl Operator {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or is not ready in time: with the end of its log.
    pub(super) async fn start(shell: &Shell) -> anyhow::Result<Self> {
        let line =
            format!("kubectl create token {OPERATOR} --namespace={OPERATOR_NAMESPACE} --duration=24h 2>/dev/null");
        let Ran { text: token, status } = shell.quietly(&line).await?;
        anyhow::ensure!(status.success(), "could not get a token for the operator's service account");
        let ours = std::fs::read_to_string(shell.kubeconfig()).context("could not read the demo's kubeconfig")?;
        let kubeconfig = shell.folder().join("operator.kubeconfig");
        write_private(&kubeconfig, &with_token(&ours, token.trim())?.to_string())?;
        let log = shell.folder().join("operator.log");
        let mut running = Guarded::start(&Program {
            name: "the operator".to_owned(),
            path: shell.programs().join(OPERATOR),
            arguments: ["--listen", "127.0.0.1:0", "--log-format", "text"].map(Into::into).into(),
            environment: vec![("KUBECONFIG", kubeconfig.into())],
            folder: shell.folder().to_owned(),
            log: log.clone(),
        })?;
        let address = wait_until("the operator to be ready", START_LIMIT, async || {
            if let Err(ended) = running.expect_running() {
                return Ok(Err(ended));
            }
            let log = std::fs::read_to_string(&log)?;
            let address = log.split_whitespace().find_map(|word| word.strip_prefix("listen="));
            let address = address.context("it does not listen yet")?.to_owned();
            readyz(&address).await?;
            anyhow::Ok(Ok(address))
        })
        .await
        .with_context(|| format!("the end of its log:\n{}", running.log_tail()))??;
        Ok(Self { running, address })
    }

    /// Waits until it ends, which it should not do by itself, and says how.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        loop {
            if let Err(ended) = self.running.expect_running() {
                return ended;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn readyz(address: &str) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let first = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(first.contains(" 200 "), "/readyz answers {first}");
    Ok(())
}
