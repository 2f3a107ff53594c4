//! Arguments of the operator.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::backend::network::{AllowedHost, ServiceEndpoint};

/// Reads declared secrets from their stores and writes native Secrets.
#[derive(Clone, Debug, Parser)]
#[command(name = "atmos-secrets-operator", version)]
pub struct Args {
    /// The operator's own namespace: credentials of ClusterStores and the digest key lie there
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "atmos-secrets")]
    pub namespace: String,

    /// The Pod's name, for Events
    #[arg(long, env = "POD_NAME", value_name = "NAME", hide = true)]
    pub pod_name: Option<String>,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Stacks worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// How stores outside the cluster are reached.
    #[command(flatten)]
    pub outside: OutsideArgs,

    /// How logs are written.
    #[command(flatten)]
    pub log: LogArgs,

    /// Panic when this Stack (NAMESPACE/NAME) is synced, to try the containment; only in debug builds
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "NAMESPACE/NAME", hide = true)]
    panic_on: Option<String>,
}

/// How stores outside the cluster are reached.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Stores")]
pub struct OutsideArgs {
    /// A host that Stores may name as their address: a name, a name and a port, or *.DOMAIN; may be given again
    #[arg(long, value_name = "HOST")]
    pub allow_endpoint: Vec<AllowedHost>,

    /// Asks a provider's service elsewhere: aws-sts, aws-kms, azure-login, azure-keys, gcp-sts, gcp-iam-credentials, gcp-oauth, gcp-kms; may be given again
    #[arg(long, value_name = "SERVICE=URL")]
    pub service_endpoint: Vec<ServiceEndpoint>,

    /// Certificate authorities (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Lets ClusterStores with `auth.ambient` use the operator's own cloud credentials
    #[arg(long)]
    pub allow_ambient_credentials: bool,

    /// Lets Stores name loopback addresses, with http, too: for tests
    #[arg(long, hide = true)]
    pub allow_loopback_endpoints: bool,
}

/// How logs are written.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// How logs look
    #[arg(long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,atmos_secrets=debug`
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log_level: String,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Args {
    /// The Stack whose sync panics; never in a release build.
    #[must_use]
    pub fn panic_on(&self) -> Option<String> {
        #[cfg(debug_assertions)]
        return self.panic_on.clone();
        #[cfg(not(debug_assertions))]
        None
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
