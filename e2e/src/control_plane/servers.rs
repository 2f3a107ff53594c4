//! The command lines of etcd, kube-apiserver and kube-controller-manager.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::pki::{Authority, token_keys};
use super::{Options, audit};
use crate::free_port::free_ports;
use crate::process::{Guarded, Program};
use crate::tools::{self, Tool};

/// What the namespaces of a test need: garbage collection, deletion, default service accounts, quotas, roles that gather
/// others. No nodes, no pods.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
                           serviceaccount-token-controller,resourcequota-controller,\
                           clusterrole-aggregation-controller";

/// The programs, files and ports of one control plane.
pub(super) struct Servers {
    folder: PathBuf,
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: PathBuf,
    pub(super) kubectl: PathBuf,
    etcd_client_port: u16,
    etcd_peer_port: u16,
    api_server_port: u16,
}

impl Servers {
    /// Builds what is not built yet, chooses ports and writes the files that the servers read.
    pub(super) async fn prepare(folder: &Path, authority: &Authority, admin_token: &str) -> anyhow::Result<Self> {
        let [etcd_client_port, etcd_peer_port, api_server_port] = free_ports()?;
        let servers = Self {
            folder: folder.to_owned(),
            etcd: tools::path(Tool::Etcd).await?,
            api_server: tools::path(Tool::KubeApiserver).await?,
            controller_manager: tools::path(Tool::KubeControllerManager).await?,
            kubectl: tools::path(Tool::Kubectl).await?,
            etcd_client_port,
            etcd_peer_port,
            api_server_port,
        };
        let server = authority.server()?;
        let (token_key, token_public_key) = token_keys()?;
        for (file, text) in [
            ("ca.crt", authority.pem()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("tokens.key", token_key),
            ("tokens.pub", token_public_key),
            ("tokens.csv", format!("{admin_token},admin,admin,system:masters\n")),
            ("audit-policy.json", audit::POLICY.to_owned()),
        ] {
            std::fs::write(servers.file(file), text).with_context(|| format!("could not write {file}"))?;
        }
        Ok(servers)
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server_port)
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn start_etcd(&self, options: &Options) -> anyhow::Result<Guarded> {
        let client = format!("http://127.0.0.1:{}", self.etcd_client_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        let mut arguments = vec![
            "--data-dir=etcd".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
        ];
        if !options.fsync {
            arguments.push("--unsafe-no-fsync".to_owned());
        }
        self.start("etcd", &self.etcd, arguments)
    }

    pub(super) fn start_api_server(&self, options: &Options) -> anyhow::Result<Guarded> {
        let mut arguments: Vec<String> = [
            "--bind-address=127.0.0.1",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            "--token-auth-file=tokens.csv",
            "--anonymous-auth=false",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=tokens.pub",
            "--service-account-signing-key-file=tokens.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            // It would only mount tokens into pods, and there are none.
            "--disable-admission-plugins=ServiceAccount",
            "--audit-policy-file=audit-policy.json",
            "--audit-log-path=audit.log",
            // An event is in the file before its request is answered, and the file is never turned over.
            "--audit-log-mode=blocking-strict",
            "--audit-log-maxsize=1000000",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_client_port));
        arguments.push(format!("--secure-port={}", self.api_server_port));
        arguments.extend(options.api_server_flags.iter().cloned());
        self.start("kube-apiserver", &self.api_server, arguments)
    }

    pub(super) fn start_controller_manager(&self) -> anyhow::Result<Guarded> {
        let mut arguments: Vec<String> = [
            "--kubeconfig=admin.kubeconfig",
            "--use-service-account-credentials",
            "--service-account-private-key-file=tokens.key",
            "--root-ca-file=ca.crt",
            "--leader-elect=false",
            // It serves nothing that anybody here reads.
            "--secure-port=0",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--controllers={CONTROLLERS}"));
        self.start("kube-controller-manager", &self.controller_manager, arguments)
    }

    /// Paths in the arguments are relative to the data folder, which is each server's working folder.
    fn start(&self, name: &str, path: &Path, arguments: Vec<String>) -> anyhow::Result<Guarded> {
        Guarded::start(&Program {
            name: name.to_owned(),
            path: path.to_owned(),
            arguments: arguments.into_iter().map(OsString::from).collect(),
            environment: Vec::new(),
            folder: self.folder.clone(),
            log: self.file(&format!("{name}.log")),
        })
    }
}
