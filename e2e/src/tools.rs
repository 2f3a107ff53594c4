//! The pinned programs that tests, demo and benchmark run, built once from source.
//!
//! Most are Go modules; moto and the clients of Google and Microsoft are Python packages. Each Go program is a Go module
//! under `e2e/tools/` that holds nothing but pins. Its programs go to
//! `<repository>/.tools/<module>-<hash>/`, where the hash is that of `go.mod` and `go.sum`: they are built again when a
//! pin changes and at no other time.

mod build;
mod python;

use std::path::PathBuf;

use anyhow::Context as _;

/// Names another folder than `<repository>/.tools` for the programs, for example one shared by several checkouts.
pub const FOLDER_VARIABLE: &str = "ATMOS_E2E_TOOLS";

/// A program that can be built from the pins under `e2e/tools/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Tool {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
    Sops,
    Helm,
    Vault,
    VaultPluginAuthKubernetes,
}

impl Tool {
    /// Every tool, those that tests need most first.
    pub const ALL: [Self; 8] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Sops,
        Self::Helm,
        Self::Vault,
        Self::VaultPluginAuthKubernetes,
    ];

    /// The file name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Sops => "sops",
            Self::Helm => "helm",
            Self::Vault => "vault",
            Self::VaultPluginAuthKubernetes => "vault-plugin-auth-kubernetes",
        }
    }

    /// The folder under `e2e/tools/` that pins it.
    fn module(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => "kubernetes",
            Self::Sops => "sops",
            Self::Helm => "helm",
            Self::Vault | Self::VaultPluginAuthKubernetes => "vault",
        }
    }

    /// The Go package to build.
    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Sops => "github.com/getsops/sops/v3/cmd/sops",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Vault => "github.com/hashicorp/vault",
            Self::VaultPluginAuthKubernetes => {
                "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes"
            }
        }
    }

    /// Go's build tags. `minimal` leaves Vault without its cloud and database plugins, which triple size and build time.
    fn tags(self) -> Option<&'static str> {
        match self {
            Self::Vault => Some("minimal"),
            Self::Etcd
            | Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::Kubectl
            | Self::Sops
            | Self::Helm
            | Self::VaultPluginAuthKubernetes => None,
        }
    }

    /// How long a build takes from nothing on two cores, in words.
    fn usual_time(self) -> &'static str {
        match self {
            Self::Etcd => "about a minute",
            Self::KubeApiserver => "about 4 minutes",
            Self::KubeControllerManager | Self::Kubectl | Self::Sops | Self::Helm | Self::VaultPluginAuthKubernetes => {
                "about 2 minutes"
            }
            Self::Vault => "about 5 minutes",
        }
    }
}

/// Returns where the program is, after building it if it is not there yet.
///
/// Only one process builds at a time; another one waits for it. Progress goes to stderr.
///
/// # Errors
///
/// When Go is missing or too old, or the build fails: with the end of the build's output.
pub async fn path(tool: Tool) -> anyhow::Result<PathBuf> {
    tokio::task::spawn_blocking(move || build::ensure(tool)).await.context("the build was interrupted")?
}

/// Returns the interpreter of an environment with Google's Python client of Secret Manager, after installing it if it is
/// not there yet: see [`crate::GcpPythonClient`].
///
/// # Errors
///
/// When Python is missing or too old, or the installation fails: with what it said.
pub async fn google_client() -> anyhow::Result<PathBuf> {
    tokio::task::spawn_blocking(|| python::ensure(&python::GOOGLE)).await.context("the installation was interrupted")?
}

/// Returns where `moto_server` is, after installing it if it is not there yet: see [`crate::Moto`].
///
/// # Errors
///
/// When Python is missing or too old, or the installation fails: with what it said.
pub async fn moto() -> anyhow::Result<PathBuf> {
    tokio::task::spawn_blocking(|| python::ensure(&python::MOTO)).await.context("the installation was interrupted")?
}

/// Returns a Python that has Microsoft's client of Key Vault, after installing that if it is not there yet: the stand-in of
/// [`crate::azure`] is held against it.
///
/// # Errors
///
/// As [`moto`].
pub async fn azure_python() -> anyhow::Result<PathBuf> {
    tokio::task::spawn_blocking(|| python::ensure(&python::AZURE)).await.context("the installation was interrupted")?
}
