//! The operator under measurement: a process with its service account's rights.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use e2e::process::{Guarded, Program};
use e2e::{ControlPlane, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::report::Memory;

/// A running operator.
pub(super) struct Operator {
    running: Guarded,
    address: SocketAddr,
}

/// What the kernel counts processor time in (`sysconf(_SC_CLK_TCK)`, 100 on every Linux that Rust runs on).
const TICKS_PER_SECOND: f64 = 100.0;

impl Operator {
    /// Starts it; it is not ready yet.
    pub(super) async fn start(control_plane: &ControlPlane, program: &Path) -> anyhow::Result<Self> {
        Self::start_with(control_plane, program, &[]).await
    }

    /// Starts it with more arguments.
    pub(super) async fn start_with(
        control_plane: &ControlPlane,
        program: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        // The port is free until somebody takes it in the next moment, who is nobody on a machine that is measured.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
        let kubeconfig = control_plane.service_account_kubeconfig("atmos-secrets", "atmos-secrets-operator").await?;
        let running = Guarded::start(&Program {
            name: "the operator".to_owned(),
            path: program.to_owned(),
            arguments: ["--listen", &address.to_string(), "--log-level", "warn"]
                .iter()
                .chain(arguments)
                .map(Into::into)
                .collect(),
            environment: vec![("KUBECONFIG", kubeconfig.into())],
            folder: control_plane.folder().to_owned(),
            log: control_plane.folder().join("operator.log"),
        })?;
        Ok(Self { running, address })
    }

    /// The value of one series of its metrics.
    pub(super) async fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let mut connection = TcpStream::connect(self.address).await?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        let value = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no {series}"))?.parse()?)
    }

    /// Resident memory.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id()))?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a field is missing")?;
            Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory { resident: field("VmRSS")?, anonymous: field("RssAnon")? })
    }

    /// Processor time so far, user and system.
    pub(super) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.running.id()))?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        // Fields 14 and 15 of proc(5), counted from the third one.
        Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
    }

    /// Ends it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let process = format!("/proc/{}", self.running.id());
        drop(self.running);
        wait_until("the operator to end", Duration::from_secs(20), async || {
            anyhow::ensure!(!Path::new(&process).exists(), "it still runs");
            anyhow::Ok(())
        })
        .await
    }
}
