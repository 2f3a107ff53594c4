//! From the spec of a Store to a connected backend: the only place that names a driver.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use self::files::{FileAccess, connect_files, local_files, sops_files};
use super::batch::Batch;
use super::credentials::{Credentials, References, StoreRights, Surroundings};
use super::guarded::{DEFAULT_TIMEOUT, Guarded, Observer};
use super::kubernetes::Kubernetes;
use super::network::Network;
use super::rotation::Rotations;
use super::sops::{self, ClusterSource, SourceKind};
pub use super::sops::{Changes, FileChange, Files, NewFiles, Recipients, Rekey, Rekeyed, Sops, Source};
use super::{Backend, Error, ErrorKind, aws_secrets_manager, aws_ssm, azure_key_vault, gcp_secret_manager, vault};
use crate::api::duration;
use crate::api::store::{self, CertificateAuthority, Connection, SecretKey, SopsSource};
use crate::cluster::Objects;
use crate::sops::AgeKeys;

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

/// Objects that a store depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// A Secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ConfigMap.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Every Secret of a namespace that is marked as a store of values.
    ValueSecrets {
        /// The namespace.
        namespace: String,
    },
}

/// What a store depends on, known from its spec alone, so that a store that cannot be connected can be watched, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Objects whose change may change values.
    pub sources: BTreeSet<Watched>,
    /// Objects whose change asks for a new connection.
    pub credentials: BTreeSet<Watched>,
}

/// What a store in `namespace` depends on. Nothing, if its definition cannot work.
#[must_use]
pub fn dependencies(connection: &Connection, kubernetes: bool, namespace: &str) -> Dependencies {
    let secret = |name: &String| Watched::Secret { namespace: namespace.to_owned(), name: name.clone() };
    let config_map = |name: &String| Watched::ConfigMap { namespace: namespace.to_owned(), name: name.clone() };
    let key = |key: &SecretKey| secret(&key.secret);
    match provider(connection, kubernetes) {
        Ok(Provider::Kubernetes) => Dependencies {
            sources: BTreeSet::from([Watched::ValueSecrets { namespace: namespace.to_owned() }]),
            credentials: BTreeSet::new(),
        },
        Ok(Provider::Sops(spec)) => {
            let SopsSource { config_maps, secrets } = &spec.source;
            let keys = spec.age.iter().flat_map(|age| &age.keys).map(key);
            let aws = spec.aws_kms.as_ref().and_then(|kms| aws_secret(kms.auth.as_ref())).map(secret);
            let gcp = spec.gcp_kms.as_ref().and_then(|kms| gcp_secret(kms.auth.as_ref())).map(key);
            let azure = spec.azure_key_vault.as_ref().and_then(|keys| azure_secret(keys.auth.as_ref())).map(key);
            let transit = spec.vault_transit.iter();
            let vault = transit.flat_map(|transit| of_vault(transit.ca.as_ref(), transit.auth.as_ref(), namespace));
            Dependencies {
                sources: config_maps.iter().map(config_map).chain(secrets.iter().map(secret)).collect(),
                credentials: keys.chain(aws).chain(gcp).chain(azure).chain(vault).collect(),
            }
        }
        Ok(Provider::AwsSecretsManager(spec)) => needing(aws_secret(spec.auth.as_ref()).map(secret)),
        Ok(Provider::AwsSsm(spec)) => needing(aws_secret(spec.auth.as_ref()).map(secret)),
        Ok(Provider::Vault(spec)) => needing(of_vault(spec.ca.as_ref(), spec.auth.as_ref(), namespace)),
        Ok(Provider::AzureKeyVault(spec)) => needing(azure_secret(spec.auth.as_ref()).map(key)),
        Ok(Provider::GcpSecretManager(spec)) => needing(gcp_secret(spec.auth.as_ref()).map(key)),
        Err(_) => Dependencies::default(),
    }
}

/// The Secret with static AWS keys.
fn aws_secret(auth: Option<&store::AwsAuth>) -> Option<&String> {
    auth?.secret.as_ref().map(|keys| &keys.name)
}

/// The key of a Secret with the key of a Google service account.
fn gcp_secret(auth: Option<&store::GcpAuth>) -> Option<&SecretKey> {
    auth?.service_account_key.as_ref()
}

/// The key of a Secret with the client secret of an application of Azure.
fn azure_secret(auth: Option<&store::AzureAuth>) -> Option<&SecretKey> {
    auth?.client_secret.as_ref().map(|client| &client.client_secret)
}

/// The certificate authority of a Vault, and what its login is made from.
fn of_vault(ca: Option<&CertificateAuthority>, auth: Option<&store::VaultAuth>, namespace: &str) -> Vec<Watched> {
    let secret = |name: &String| Watched::Secret { namespace: namespace.to_owned(), name: name.clone() };
    let config_map = |name: &String| Watched::ConfigMap { namespace: namespace.to_owned(), name: name.clone() };
    let authority = ca.into_iter().flat_map(|CertificateAuthority { config_map: map, secret: name, key: _ }| {
        map.iter().map(config_map).chain(name.iter().map(secret)).collect::<Vec<_>>()
    });
    let login = auth.into_iter().flat_map(|store::VaultAuth { token, kubernetes: _, approle, jwt: _ }| {
        token.iter().chain(approle.iter().map(|approle| &approle.secret_id)).map(|key| secret(&key.secret))
    });
    authority.chain(login).collect()
}

/// A store that is polled, and logs in with these objects.
fn needing(credentials: impl IntoIterator<Item = Watched>) -> Dependencies {
    Dependencies { sources: BTreeSet::new(), credentials: credentials.into_iter().collect() }
}

/// The field of the spec that names the provider, such as `sops`; `None` unless it is exactly one.
#[must_use]
pub fn kind(connection: &Connection, kubernetes: bool) -> Option<&'static str> {
    provider(connection, kubernetes).ok().map(Provider::kind)
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
    let ConnectRequest { store, namespace, connection, kubernetes, objects, network, credentials, observer } = request;
    let in_context = |error: Error| error.in_context(&store);
    let provider = provider(connection, kubernetes).map_err(in_context)?;
    let timeout = timeout(connection).map_err(in_context)?;
    let objects = objects.with_timeout(timeout);
    let (kind, outside) = (provider.kind(), provider.is_outside());
    let around = Arc::new(surroundings(&store, namespace, connection, timeout, &objects, network, credentials));
    let (driver, recipients): (Arc<dyn Backend>, Vec<String>) = match provider {
        Provider::Kubernetes => (Arc::new(Kubernetes::new(objects, namespace.to_owned())), Vec::new()),
        Provider::Sops(spec) => {
            let (driver, recipients) = connect_sops(spec, objects, &around, access).await.map_err(in_context)?;
            (Arc::new(driver), recipients)
        }
        Provider::AwsSecretsManager(spec) => {
            (Arc::new(aws_secrets_manager::connect(spec, &around).await.map_err(in_context)?), Vec::new())
        }
        Provider::AwsSsm(spec) => (Arc::new(aws_ssm::connect(spec, &around).await.map_err(in_context)?), Vec::new()),
        Provider::Vault(spec) => (Arc::new(vault::connect(spec, &around).await.map_err(in_context)?), Vec::new()),
        Provider::AzureKeyVault(spec) => {
            (Arc::new(azure_key_vault::connect(spec, &around).await.map_err(in_context)?), Vec::new())
        }
        Provider::GcpSecretManager(spec) => {
            (Arc::new(gcp_secret_manager::connect(spec, &around).await.map_err(in_context)?), Vec::new())
        }
    };
    let Dependencies { sources, credentials } = dependencies(connection, kubernetes, namespace);
    let guarded = Guarded::new(driver, store, timeout, observer);
    let asked = connection.rate_limit.as_ref().map(|limit| limit.per_second);
    let backend: Arc<dyn Backend> = Arc::new(match provider.default_rate() {
        // In the cluster: the API server paces itself.
        None => guarded,
        Some(default) => guarded.outside(asked.unwrap_or(default), provider.keys_in_one_read()),
    });
    let reads = Batch::new(Arc::clone(&backend));
    let rotations = Rotations::new(Arc::clone(&backend));
    Ok(Connected { backend, reads, rotations, kind, outside, sources, credentials, recipients })
}

fn surroundings(
    store: &str,
    namespace: &str,
    connection: &Connection,
    timeout: Duration,
    objects: &Objects,
    network: &Network,
    credentials: Credentials,
) -> Surroundings {
    let rights = match &credentials {
        Credentials::OfStore(rights) => rights.clone(),
        Credentials::OfUser(_) => StoreRights::default(),
    };
    Surroundings {
        store: store.to_owned(),
        namespace: namespace.to_owned(),
        encoding: connection.encoding.unwrap_or_default(),
        timeout,
        references: References::new(objects.clone(), namespace.to_owned(), rights),
        credentials,
        network: network.clone(),
    }
}

#[derive(Clone, Copy)]
enum Provider<'a> {
    Kubernetes,
    Sops(&'a store::Sops),
    AwsSecretsManager(&'a store::AwsSecretsManager),
    AwsSsm(&'a store::AwsSsm),
    Vault(&'a store::Vault),
    AzureKeyVault(&'a store::AzureKeyVault),
    GcpSecretManager(&'a store::GcpSecretManager),
}

impl Provider<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Sops(_) => "sops",
            Self::AwsSecretsManager(_) => "awsSecretsManager",
            Self::AwsSsm(_) => "awsSsm",
            Self::Vault(_) => "vault",
            Self::AzureKeyVault(_) => "azureKeyVault",
            Self::GcpSecretManager(_) => "gcpSecretManager",
        }
    }
}

impl Provider<'_> {
    /// Calls a second, well below the quota that the vendor gives a whole account or vault by default; `None` in the
    /// cluster.
    ///
    /// Sources: AWS Secrets Manager quotas (`BatchGetSecretValue` 100/s), AWS Systems Manager quotas (`GetParameters`
    /// 40/s), Key Vault service limits (4,000 requests in 10 s for each vault), Secret Manager quotas (90,000 access
    /// requests a minute for each project). Vault has none by default.
    fn default_rate(self) -> Option<u32> {
        match self {
            Self::Kubernetes | Self::Sops(_) => None,
            Self::AwsSecretsManager(_) => Some(50),
            Self::AwsSsm(_) => Some(20),
            Self::Vault(_) | Self::AzureKeyVault(_) => Some(100),
            Self::GcpSecretManager(_) => Some(200),
        }
    }
}

impl Provider<'_> {
    /// How many keys the service takes in one read of values: the limits of `BatchGetSecretValue` and `GetParameters`; the
    /// others read one by one.
    fn keys_in_one_read(self) -> usize {
        match self {
            Self::AwsSecretsManager(_) => 20,
            Self::AwsSsm(_) => 10,
            Self::Vault(_) | Self::AzureKeyVault(_) | Self::GcpSecretManager(_) | Self::Kubernetes | Self::Sops(_) => 1,
        }
    }

    /// Whether reading asks a service outside the cluster: the store itself, or one that holds the keys of its files.
    fn is_outside(self) -> bool {
        match self {
            Self::Kubernetes => false,
            Self::Sops(spec) => {
                let store::Sops {
                    source: _,
                    file: _,
                    age: _,
                    aws_kms,
                    gcp_kms,
                    azure_key_vault,
                    vault_transit,
                    allowed_recipients: _,
                } = spec;
                aws_kms.is_some() || gcp_kms.is_some() || azure_key_vault.is_some() || vault_transit.is_some()
            }
            Self::AwsSecretsManager(_)
            | Self::AwsSsm(_)
            | Self::Vault(_)
            | Self::AzureKeyVault(_)
            | Self::GcpSecretManager(_) => true,
        }
    }
}

fn provider(connection: &Connection, kubernetes: bool) -> Result<Provider<'_>, Error> {
    let Connection {
        // How keys and values look is the business of the model.
        prefix: _,
        stack_delimiter: _,
        encoding: _,
        min_refresh_interval: _,
        timeout: _,
        rate_limit: _,
        aws_secrets_manager,
        aws_ssm,
        vault,
        azure_key_vault,
        gcp_secret_manager,
        sops,
    } = connection;
    let candidates = [
        kubernetes.then_some(Provider::Kubernetes),
        sops.as_ref().map(Provider::Sops),
        aws_secrets_manager.as_ref().map(Provider::AwsSecretsManager),
        aws_ssm.as_ref().map(Provider::AwsSsm),
        vault.as_ref().map(Provider::Vault),
        azure_key_vault.as_ref().map(Provider::AzureKeyVault),
        gcp_secret_manager.as_ref().map(Provider::GcpSecretManager),
    ];
    let mut named = candidates.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(provider), None) => Ok(provider),
        (None, _) => Err(invalid("the store names no provider: set exactly one")),
        (Some(one), Some(other)) => {
            Err(invalid(format!("the store names {} and {}: set exactly one provider", one.kind(), other.kind())))
        }
    }
}

fn timeout(connection: &Connection) -> Result<Duration, Error> {
    match &connection.timeout {
        None => Ok(DEFAULT_TIMEOUT),
        Some(text) => duration::parse(text)
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| invalid("timeout is not a duration such as 10s")),
    }
}

async fn connect_sops(
    spec: &store::Sops,
    objects: Objects,
    around: &Arc<Surroundings>,
    access: Option<FileAccess>,
) -> Result<(sops::Sops, Vec<String>), Error> {
    let store::Sops {
        source,
        // The template of file names is the business of the model.
        file: _,
        age,
        aws_kms,
        gcp_kms,
        azure_key_vault,
        vault_transit,
        allowed_recipients,
    } = spec;
    let SopsSource { config_maps, secrets } = source;
    let (kind, names) = match (config_maps.is_empty(), secrets.is_empty()) {
        (false, true) => (SourceKind::ConfigMap, config_maps.clone()),
        (true, false) => (SourceKind::Secret, secrets.clone()),
        (true, true) | (false, false) => {
            return Err(invalid("sops.source must name objects of exactly one kind: configMaps or secrets"));
        }
    };
    let named = match &around.credentials {
        Credentials::OfUser(user) => sops::age_keys(user.age.iter().map(|(name, text)| (name.as_str(), text)))?,
        Credentials::OfStore(_) => {
            let services = [aws_kms.is_some(), gcp_kms.is_some(), azure_key_vault.is_some(), vault_transit.is_some()];
            if age.is_none() && services == [false; 4] {
                return Err(invalid(
                    "the store names no keys: set sops.age, awsKms, gcpKms, azureKeyVault or vaultTransit",
                ));
            }
            age_keys(age.as_ref().map(|age| age.keys.as_slice()).unwrap_or_default(), &around.references).await?
        }
    };
    let mut keys = sops::Keyring::new(named);
    if let Some(spec) = aws_kms {
        keys = keys.with_aws_kms(spec, around);
    }
    // A person who has none of these credentials may well have an age key that opens the file.
    let (has_google, has_vault) = match &around.credentials {
        Credentials::OfUser(user) => (user.gcp.is_some(), user.vault.is_some()),
        Credentials::OfStore(_) => (true, true),
    };
    if let Some(spec) = gcp_kms.as_ref().filter(|_| has_google) {
        keys = keys.with_gcp_kms(spec, around).await?;
    }
    if let Some(spec) = azure_key_vault {
        keys = keys.with_azure_keys(spec, around);
    }
    if let Some(spec) = vault_transit.as_ref().filter(|_| has_vault) {
        keys = keys.with_vault_transit(spec, around).await?;
    }
    let keys = Arc::new(keys);
    let recipients: Vec<String> = keys.recipients().map(str::to_owned).collect();
    let cluster = || Box::new(ClusterSource::new(objects, around.namespace.clone(), kind, names));
    let allowed = allowed_recipients.iter().cloned();
    let driver = match access {
        None => sops::Sops::new(cluster(), Box::new(keys), allowed),
        Some(FileAccess { files, new_files, overwrites_managed }) => {
            let new_files = match (new_files, &around.credentials) {
                // Whoever has the store's keys knows for whom its files are.
                (NewFiles::For(known), Credentials::OfStore(_)) if known.is_empty() => {
                    NewFiles::For(recipients.clone())
                }
                (known, Credentials::OfStore(_) | Credentials::OfUser(_)) => known,
            };
            let writer = sops::Writer { wrapper: Box::new(Arc::clone(&keys)), new_files, overwrites_managed };
            let source = files.unwrap_or_else(|| cluster());
            sops::Sops::new(source, Box::new(keys), allowed).with_writer(writer)
        }
    };
    Ok((driver, recipients))
}

async fn age_keys(named: &[SecretKey], references: &References) -> Result<AgeKeys, Error> {
    let mut keys = AgeKeys::default();
    for reference in named {
        let name = format!("{}/{}", reference.secret, reference.key);
        let text = references.secret_key(reference).await?;
        keys.extend(sops::age_keys([(name.as_str(), &text)])?);
    }
    Ok(keys)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
