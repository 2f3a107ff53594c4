//! Real servers for tests, demo and benchmark: what is needed to run them, and nothing of the product itself.
//!
//! | module | what it gives |
//! |---|---|
//! | [`account`] | an ordinary user of the machine, who may see little |
//! | [`tools`] | pinned programs: Go ones (etcd, kube-apiserver, kubectl, sops, helm, vault) built once from source, and moto |
//! | [`azure`] | a stand-in for Azure Key Vault and the login of Entra ID, with TLS |
//! | [`control_plane`] | a Kubernetes control plane on loopback, started in about two seconds, ended with its owner |
//! | [`gcp`] | a Google Cloud on loopback: Secret Manager, and what gives tokens for it |
//! | [`fault_proxy`] | an HTTP proxy that refuses, cuts, stalls, delays and answers errors on demand |
//! | [`moto`] | an AWS on loopback: Secrets Manager, SSM, STS, IAM and KMS |
//! | [`tunnel`] | an HTTP proxy that leads every connection to one server |
//! | [`vault`] | HashiCorp Vault: a development server, and one with TLS and a seal |
//! | [`process`] | child processes that never outlive this one, however it ends |
//! | [`wait`] | polls a condition until a deadline and says what it saw last |
//!
//! A test usually needs two lines:
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let control_plane = e2e::ControlPlane::shared().await?;
//! let namespace = control_plane.namespace("orders").await?;
//! # Ok(()) }
//! ```

pub mod account;
pub mod azure;
pub mod control_plane;
pub mod fault_proxy;
mod free_port;
pub mod gcp;
pub mod moto;
pub mod process;
mod tls_server;
pub mod tools;
pub mod tunnel;
pub mod vault;
pub mod wait;

pub use azure::{AzureApplication, AzureRequest, AzureVault};
pub use control_plane::{ControlPlane, Options};
pub use fault_proxy::{Fault, FaultProxy, Matching};
pub use free_port::free_ports;
pub use gcp::{Gcp, GcpPythonClient, GcpRequest};
pub use moto::Moto;
pub use vault::{Vault, VaultRequest};
pub use wait::wait_until;
