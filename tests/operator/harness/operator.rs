//! The built binary, run as its own service account with everything logged to a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use e2e::process::{Guarded, Program};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Cluster, LIMIT};

/// How an operator differs from the usual one.
#[derive(Default)]
pub struct Options {
    /// More arguments. Default: none.
    pub arguments: Vec<String>,
    /// Another kubeconfig than that of the service account, for example one through a fault proxy.
    pub kubeconfig: Option<PathBuf>,
    /// Where it listens. Default: a free port, which its log tells once the API server answered.
    pub listen: Option<String>,
    /// A command that becomes the operator, such as `setpriv --no-new-privs`. Default: none.
    pub through: Vec<String>,
    /// Where the operator is. Default: where it was built.
    pub program: Option<PathBuf>,
}

/// An operator process. It ends with this process at the latest.
pub struct Operator {
    process: Mutex<Option<Guarded>>,
    id: u32,
    address: String,
    log: PathBuf,
}

/// The built operator.
pub const OPERATOR: &str = env!("CARGO_BIN_EXE_atmos-secrets-operator");

impl Operator {
    /// Starts one and waits until it is ready. The cluster remembers it.
    pub async fn start(cluster: &Cluster, options: Options) -> anyhow::Result<Arc<Self>> {
        let mut operator = Self::spawn(cluster, options)?;
        let started = e2e::wait_until("the operator to start", LIMIT, async || {
            if let Some(process) = operator.lock().as_mut()
                && let Err(ended) = process.expect_running()
            {
                return Ok(Err(ended));
            }
            operator.logged("started").into_iter().next().map(Ok).context("it has not started yet")
        });
        let started = started.await??;
        operator.address = started["listen"].as_str().context("it does not say where it listens")?.to_owned();
        operator.wait_ready().await?;
        let operator = Arc::new(operator);
        cluster.register(&operator);
        Ok(operator)
    }

    /// Starts one that listens at this address and waits for nothing. The cluster remembers it.
    pub fn launch(cluster: &Cluster, listen: String) -> anyhow::Result<Arc<Self>> {
        let mut operator = Self::spawn(cluster, Options { listen: Some(listen.clone()), ..Options::default() })?;
        operator.address = listen;
        let operator = Arc::new(operator);
        cluster.register(&operator);
        Ok(operator)
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        e2e::wait_until("the operator to be ready", LIMIT, async || {
            let answer = self.get("/readyz").await?;
            anyhow::ensure!(answer.starts_with("HTTP/1.0 200"), "{answer}");
            Ok(())
        })
        .await
    }

    fn spawn(cluster: &Cluster, options: Options) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Options { arguments, kubeconfig, listen, through, program } = options;
        let listen = listen.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = cluster.folder().join(format!("operator-{number}.log"));
        let kubeconfig = kubeconfig.unwrap_or_else(|| cluster.operator_kubeconfig());
        let operator = program.unwrap_or_else(|| OPERATOR.into()).into_os_string();
        let mut words = through.into_iter().map(OsString::from).chain([operator]);
        let program = words.next().unwrap_or_default();
        let usual = ["--listen", &listen, "--log-format", "json", "--log-level", "trace"].map(str::to_owned);
        let process = Guarded::start(&Program {
            name: format!("operator {number}"),
            path: program.into(),
            arguments: words.chain(usual.into_iter().chain(arguments).map(Into::into)).collect(),
            environment: vec![("KUBECONFIG", kubeconfig.into()), ("POD_NAME", format!("operator-{number}").into())],
            folder: cluster.folder().to_owned(),
            log: log.clone(),
        })?;
        Ok(Self { id: process.id(), process: Mutex::new(Some(process)), address: String::new(), log })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Guarded>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether nobody ended it.
    pub fn is_running(&self) -> bool {
        self.lock().is_some()
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) {
        drop(self.lock().take());
    }

    /// Sends SIGTERM and waits for its end.
    pub async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.end_with("TERM").await
    }

    /// Sends a signal and waits for its end.
    pub async fn end_with(&self, signal: &str) -> anyhow::Result<ExitStatus> {
        let sent = std::process::Command::new("kill").args(["-s", signal, &self.id.to_string()]).status()?;
        anyhow::ensure!(sent.success(), "could not send SIG{signal} to {}: {sent}", self.id);
        let ended = e2e::wait_until("the operator to end", LIMIT, async || {
            let mut process = self.lock();
            match process.as_mut().map(Guarded::exited) {
                Some(Ok(None)) => Err("it still runs"),
                Some(Ok(Some(status))) => Ok(Ok(status)),
                Some(Err(error)) => Ok(Err(error)),
                None => Ok(Err(anyhow::anyhow!("it was killed before"))),
            }
        });
        let status = ended.await??;
        self.kill();
        Ok(status)
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The lines of its log with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Everything that `/metrics` says.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        self.get("/metrics").await
    }

    /// Sum of a metric family over the series whose labels contain `labels`, such as `operation="read"`.
    pub async fn metric(&self, family: &str, labels: &str) -> anyhow::Result<f64> {
        let text = self.metrics().await?;
        let series = text.lines().filter(|line| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(labels))
        });
        let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// An answer of the admin endpoints, head and body.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut connection = TcpStream::connect(&self.address).await?;
        connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
