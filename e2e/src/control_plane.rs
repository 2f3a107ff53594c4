//! A real Kubernetes control plane on loopback: etcd, kube-apiserver and, unless switched off, kube-controller-manager.
//!
//! Each one has its own ports, data folder and certificate authority, RBAC, an audit log and a service account issuer;
//! anonymous requests are refused. There is no scheduler and no node: pods can be stored but never run.
//!
//! Two things take their time as they do in any cluster: kube-controller-manager starts on the content of a deleted
//! namespace after 5 seconds, and its garbage collector learns of a new custom resource within 30 seconds.

mod audit;
mod identities;
mod kubeconfig;
mod objects;
pub(crate) mod pki;
mod servers;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

pub use audit::{AuditEvent, AuditMark, Stage};

pub(crate) use identities::random_token;

use crate::fault_proxy::FaultProxy;
use crate::process::{DataFolder, Guarded};
use crate::wait::wait_until;
use pki::Authority;
use servers::Servers;

/// Two seconds are usual; a machine with twenty times the work that it can do takes longer than 90.
const START_LIMIT: Duration = Duration::from_secs(180);

/// How a control plane differs from the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Runs kube-controller-manager too: namespaces can be deleted, owned objects are collected, quotas are counted.
    /// Default: true.
    pub controller_manager: bool,
    /// Lets etcd wait for the disk. Default: false, which is faster and safe against everything but a power cut.
    pub fsync: bool,
    /// More flags for kube-apiserver, for example `--feature-gates=…`; a flag given here wins. Default: none.
    pub api_server_flags: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_manager: true, fsync: false, api_server_flags: Vec::new() }
    }
}

/// A running control plane. Its servers and files are gone when it is dropped or this process ends, in whatever way.
///
/// It belongs to no async runtime, so tests with runtimes of their own can share it: see [`ControlPlane::shared`].
pub struct ControlPlane {
    // Fields drop in this order: first who asks, then who answers, then the files of all.
    controller_manager: Mutex<Option<Guarded>>,
    api_server: Mutex<Option<Guarded>>,
    etcd: Mutex<Option<Guarded>>,
    folder: DataFolder,
    servers: Servers,
    authority: Authority,
    options: Options,
}

impl ControlPlane {
    /// Starts one and returns when it is ready for requests.
    ///
    /// # Errors
    ///
    /// When a program cannot be built, or a server does not come up in 180 seconds: with the end of that server's log.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = DataFolder::new("atmos-e2e-")?;
        let authority = Authority::new()?;
        let admin_token = identities::random_token()?;
        let servers = Servers::prepare(folder.path(), &authority, &admin_token).await?;
        identities::write_admin_kubeconfig(&servers, &authority, &admin_token)?;
        let control_plane = Self {
            controller_manager: Mutex::new(None),
            api_server: Mutex::new(None),
            etcd: Mutex::new(Some(servers.start_etcd(&options)?)),
            folder,
            servers,
            authority,
            options,
        };
        control_plane.start_api_server().await?;
        if control_plane.options.controller_manager {
            control_plane.start_controller_manager().await?;
        }
        Ok(control_plane)
    }

    /// The control plane that all tests of this process share, started with the default options at the first call.
    ///
    /// Tests keep apart by their own namespaces ([`ControlPlane::namespace`]). A test that stops servers or installs
    /// something that others would notice starts its own.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// `https://127.0.0.1:<port>`; the same after a restart of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        self.servers.url()
    }

    /// The certificate authority of the API server and of people's client certificates, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where this control plane keeps its files and logs. Private to the user, gone at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A kubeconfig with all rights (group `system:masters`).
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.servers.admin_kubeconfig()
    }

    /// A client with all rights. It works in the async runtime in which this is called.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be used; the API server is not asked.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_for(&self.admin_kubeconfig()).await
    }

    /// A client with the rights of a kubeconfig's user and no retries of its own: a fault shows at once.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be used; the API server is not asked.
    pub async fn client_for(&self, kubeconfig: &Path) -> anyhow::Result<Client> {
        use_one_tls_provider();
        let contents = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("could not read the kubeconfig {}", kubeconfig.display()))?;
        let mut config = Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Client::try_from(config).with_context(|| format!("could not make a client from {}", kubeconfig.display()))
    }

    /// Copies a kubeconfig so that its requests go through a proxy to this control plane.
    ///
    /// # Errors
    ///
    /// When it identifies its user by a client certificate ([`ControlPlane::person`]), which would end at the proxy.
    pub fn proxied_kubeconfig(&self, kubeconfig: &Path, proxy: &FaultProxy) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(format!("{}-proxied.kubeconfig", identities::random_token()?));
        kubeconfig::redirect(kubeconfig, &proxy.url(), &path)?;
        Ok(path)
    }

    /// What the API server was asked since it first came up, oldest first.
    ///
    /// An event is in the log before its request is answered.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit_events(&self) -> anyhow::Result<Vec<AuditEvent>> {
        self.audit_events_since(AuditMark::default())
    }

    /// As [`ControlPlane::audit_events`], without what came before `mark`.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit_events_since(&self, mark: AuditMark) -> anyhow::Result<Vec<AuditEvent>> {
        audit::read(&self.servers.audit_log(), mark)
    }

    /// The present end of the audit log.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn audit_mark(&self) -> anyhow::Result<AuditMark> {
        audit::mark(&self.servers.audit_log())
    }

    /// Kills the API server as a crash would. Nothing is lost: the data is etcd's. Does nothing if it is stopped.
    pub fn stop_api_server(&self) {
        drop(lock(&self.api_server).take());
    }

    /// Starts the API server again with the same data, certificate and port, and returns when it is ready.
    ///
    /// # Errors
    ///
    /// When it does not come up: with the end of its log.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        {
            let mut running = lock(&self.api_server);
            if running.is_none() {
                *running = Some(self.servers.start_api_server(&self.options)?);
            }
        }
        let client = self.client().await?;
        wait_until("kube-apiserver to be ready", START_LIMIT, async || {
            if let Err(ended) = expect_running(&self.etcd).and_then(|()| expect_running(&self.api_server)) {
                return Ok(Err(ended));
            }
            ready(&client).await.map(Ok)
        })
        .await
        .with_context(|| {
            format!("could not start kube-apiserver; the end of its log:\n{}", log_tail(&self.api_server))
        })?
    }

    /// Starts kube-controller-manager and waits until its first work is done: the default service account exists.
    async fn start_controller_manager(&self) -> anyhow::Result<()> {
        *lock(&self.controller_manager) = Some(self.servers.start_controller_manager()?);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, "default");
        wait_until("the first work of kube-controller-manager", START_LIMIT, async || {
            if let Err(ended) = expect_running(&self.controller_manager) {
                return Ok(Err(ended));
            }
            accounts.get("default").await.map(|_account| Ok(()))
        })
        .await
        .with_context(|| {
            format!(
                "could not start kube-controller-manager; the end of its log:\n{}",
                log_tail(&self.controller_manager)
            )
        })?
    }
}

/// Asks `/readyz`, which answers 200 only when the start-up work (default roles, system namespaces) is done too.
async fn ready(client: &Client) -> anyhow::Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    client.request_text(request).await.map(drop).context("not ready")
}

fn expect_running(server: &Mutex<Option<Guarded>>) -> anyhow::Result<()> {
    lock(server).as_mut().map_or(Ok(()), Guarded::expect_running)
}

fn log_tail(server: &Mutex<Option<Guarded>>) -> String {
    lock(server).as_ref().map(Guarded::log_tail).unwrap_or_default()
}

/// A test that panicked while it held the lock has not broken the server.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// rustls must be told which of its providers to use; the first call in a process wins and all calls want the same.
pub(crate) fn use_one_tls_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
