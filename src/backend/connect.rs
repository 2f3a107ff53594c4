//! From the spec of a Store to a connected backend: the only place that names a driver.

mod dependencies;
mod files;
mod provider;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use self::dependencies::{Dependencies, Watched, dependencies};
pub use self::files::{connect_files, local_files, sops_files};
pub use self::provider::kind;
use self::provider::{Provider, provider};
use super::batch::Batch;
use super::credentials::{Credentials, References, StoreRights, Surroundings};
use super::guarded::{DEFAULT_TIMEOUT, Guarded, Observer};
use super::kubernetes::Kubernetes;
use super::network::Network;
use super::rotation::Rotations;
use super::sops;
pub use super::sops::{Changes, FileAccess, FileChange, Files, NewFiles, Recipients, Rekey, Rekeyed, Sops, Source};
use super::{Backend, Error, ErrorKind, aws_secrets_manager, aws_ssm, azure_key_vault, gcp_secret_manager, vault};
use crate::api::duration;
use crate::api::store::Connection;
use crate::cluster::Objects;

/// The bounds of a store's `timeout`, as its schema has them.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);

/// What is needed to connect a store.
pub struct ConnectRequest<'a> {
    /// How errors name it: `Store/app`, `ClusterStore/shared`.
    pub store: String,
    /// Where its credentials and sources lie: its own namespace; for a ClusterStore the operator's.
    pub namespace: &'a str,
    /// What every kind of store has, and the provider.
    pub connection: &'a Connection,
    /// Whether the provider is `kubernetes`, which only a Store can name.
    pub kubernetes: bool,
    /// Secrets and ConfigMaps, as whoever connects may see them.
    pub objects: &'a Objects,
    /// The way to stores outside the cluster.
    pub network: &'a Network,
    /// Whose credentials open it.
    pub credentials: Credentials,
    /// Told about every call.
    pub observer: Arc<dyn Observer>,
}

/// A store that can be asked.
pub struct Connected {
    /// The driver under guard.
    pub backend: Arc<dyn Backend>,
    /// Its reads, shared among all who hold this.
    pub reads: Batch,
    /// What it tells of values that it rotates itself.
    pub rotations: Rotations,
    /// The provider's field in the spec, such as `sops`.
    pub kind: &'static str,
    /// Whether a read waits for a service outside the cluster, which may be as slow as it likes.
    pub outside: bool,
    /// Objects whose change may change values. Empty: the store must be polled.
    pub sources: BTreeSet<Watched>,
    /// Objects whose change asks for a new connection.
    pub credentials: BTreeSet<Watched>,
    /// The public halves of the age identities held.
    pub recipients: Vec<String>,
}

/// Connects a store: reads its credentials, asks nothing of the store itself ([`Backend::check`] does).
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a provider that this version does not have, [`ErrorKind::InvalidConfig`] for a
/// definition that cannot work, and whatever keeps the credentials from being read.
pub async fn connect(request: ConnectRequest<'_>) -> Result<Connected, Error> {
    connect_with(request, None).await
}

async fn connect_with(request: ConnectRequest<'_>, access: Option<FileAccess>) -> Result<Connected, Error> {
    let (connection, kubernetes, observer) = (request.connection, request.kubernetes, Arc::clone(&request.observer));
    let Prepared { provider, objects, around } = prepare(request)?;
    let opened = open(provider, objects, &around, access).await;
    let (driver, recipients) = opened.map_err(|error| error.in_context(&around.store))?;
    let Dependencies { sources, credentials } = dependencies(connection, kubernetes, &around.namespace);
    let guarded = Guarded::new(driver, around.store.clone(), around.timeout, observer);
    let asked = connection.rate_limit.as_ref().map(|limit| limit.per_second);
    let backend: Arc<dyn Backend> = Arc::new(match provider.default_rate() {
        None => guarded,
        Some(default) => guarded.outside(asked.unwrap_or(default), provider.keys_in_one_read()),
    });
    let reads = Batch::new(Arc::clone(&backend));
    let rotations = Rotations::new(Arc::clone(&backend));
    let (kind, outside) = (provider.kind(), provider.is_outside());
    Ok(Connected { backend, reads, rotations, kind, outside, sources, credentials, recipients })
}

/// A definition that can work, and all that a driver is made from.
struct Prepared<'a> {
    provider: Provider<'a>,
    objects: Objects,
    around: Arc<Surroundings>,
}

fn prepare(request: ConnectRequest<'_>) -> Result<Prepared<'_>, Error> {
    let ConnectRequest { store, namespace, connection, kubernetes, objects, network, credentials, observer: _ } =
        request;
    let checked = provider(connection, kubernetes).and_then(|provider| {
        if provider.default_rate().is_none() && connection.rate_limit.is_some() {
            return Err(invalid(format!("rateLimit has no meaning for a store of kind {}", provider.kind())));
        }
        Ok((provider, timeout(connection)?))
    });
    let (provider, timeout) = checked.map_err(|error| error.in_context(&store))?;
    let objects = objects.with_timeout(timeout);
    let rights = match &credentials {
        Credentials::OfStore(rights) => rights.clone(),
        Credentials::OfUser(_) => StoreRights::default(),
    };
    let around = Surroundings {
        store,
        namespace: namespace.to_owned(),
        encoding: connection.encoding.unwrap_or_default(),
        timeout,
        references: References::new(objects.clone(), namespace.to_owned(), rights),
        credentials,
        network: network.clone(),
    };
    Ok(Prepared { provider, objects, around: Arc::new(around) })
}

/// The driver, and the public halves of the age identities that it holds.
async fn open(
    provider: Provider<'_>,
    objects: Objects,
    around: &Arc<Surroundings>,
    access: Option<FileAccess>,
) -> Result<(Arc<dyn Backend>, Vec<String>), Error> {
    let driver: Arc<dyn Backend> = match provider {
        Provider::Kubernetes => Arc::new(Kubernetes::new(objects, around.namespace.clone())),
        Provider::Sops(spec) => {
            let (driver, recipients) = sops::connect(spec, objects, around, access).await?;
            return Ok((Arc::new(driver), recipients));
        }
        Provider::AwsSecretsManager(spec) => Arc::new(aws_secrets_manager::connect(spec, around).await?),
        Provider::AwsSsm(spec) => Arc::new(aws_ssm::connect(spec, around).await?),
        Provider::Vault(spec) => Arc::new(vault::connect(spec, around).await?),
        Provider::AzureKeyVault(spec) => Arc::new(azure_key_vault::connect(spec, around).await?),
        Provider::GcpSecretManager(spec) => Arc::new(gcp_secret_manager::connect(spec, around).await?),
    };
    Ok((driver, Vec::new()))
}

/// The limit of one call. Admission keeps it within its bounds; what was stored without admission is brought there.
fn timeout(connection: &Connection) -> Result<Duration, Error> {
    match &connection.timeout {
        None => Ok(DEFAULT_TIMEOUT),
        Some(text) => duration::parse(text)
            .map(|timeout| timeout.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT))
            .ok_or_else(|| invalid("timeout is not a duration such as 10s")),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
