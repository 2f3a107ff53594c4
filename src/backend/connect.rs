//! From the spec of a Store to a connected backend: the only place that names a driver.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::guarded::{DEFAULT_TIMEOUT, Guarded, Observer};
use super::kubernetes::Kubernetes;
use super::sops::{self, ClusterSource, SourceKind};
use super::{Backend, Error, ErrorKind};
use crate::api::duration;
use crate::api::store::{self, Connection, SecretKey, SopsSource};
use crate::cluster::Objects;
use crate::sops::AgeKeys;
use crate::value::SecretValue;

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
    /// Where the age identities of a sops store come from.
    pub identities: AgeIdentities,
    /// Told about every call.
    pub observer: Arc<dyn Observer>,
}

/// Where the age identities of a sops store come from.
pub enum AgeIdentities {
    /// From the Secrets that the Store names.
    FromStore,
    /// These, each text under the name that messages may show. The Secrets that the Store names are not touched.
    Given(Vec<(String, SecretValue)>),
}

/// A store that can be asked.
pub struct Connected {
    /// The driver under guard.
    pub backend: Arc<dyn Backend>,
    /// Its reads, shared among all who hold this.
    pub reads: Batch,
    /// The provider's field in the spec, such as `sops`.
    pub kind: &'static str,
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
    match provider(connection, kubernetes) {
        Ok(Provider::Kubernetes) => Dependencies {
            sources: BTreeSet::from([Watched::ValueSecrets { namespace: namespace.to_owned() }]),
            credentials: BTreeSet::new(),
        },
        Ok(Provider::Sops(spec)) => {
            let SopsSource { config_maps, secrets } = &spec.source;
            let keys = spec.age.iter().flat_map(|age| &age.keys);
            Dependencies {
                sources: config_maps.iter().map(config_map).chain(secrets.iter().map(secret)).collect(),
                credentials: keys.map(|key| secret(&key.secret)).collect(),
            }
        }
        Ok(Provider::NotYet(_)) | Err(_) => Dependencies::default(),
    }
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
    let ConnectRequest { store, namespace, connection, kubernetes, objects, identities, observer } = request;
    let in_context = |error: Error| error.in_context(&store);
    let provider = provider(connection, kubernetes).map_err(in_context)?;
    let timeout = timeout(connection).map_err(in_context)?;
    let objects = objects.with_timeout(timeout);
    let kind = provider.kind();
    let (driver, recipients): (Arc<dyn Backend>, Vec<String>) = match provider {
        Provider::Kubernetes => (Arc::new(Kubernetes::new(objects, namespace.to_owned())), Vec::new()),
        Provider::Sops(spec) => {
            let (driver, recipients) = connect_sops(spec, namespace, objects, identities).await.map_err(in_context)?;
            (Arc::new(driver), recipients)
        }
        Provider::NotYet(kind) => {
            let message = format!("store kind {kind} is not supported by this version");
            return Err(in_context(Error::new(ErrorKind::Unsupported, message)));
        }
    };
    let Dependencies { sources, credentials } = dependencies(connection, kubernetes, namespace);
    let backend: Arc<dyn Backend> = Arc::new(Guarded::new(driver, store, timeout, observer));
    let reads = Batch::new(Arc::clone(&backend));
    Ok(Connected { backend, reads, kind, sources, credentials, recipients })
}

#[derive(Clone, Copy)]
enum Provider<'a> {
    Kubernetes,
    Sops(&'a store::Sops),
    NotYet(&'static str),
}

impl Provider<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Sops(_) => "sops",
            Self::NotYet(kind) => kind,
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
        aws_secrets_manager.as_ref().map(|_| Provider::NotYet("awsSecretsManager")),
        aws_ssm.as_ref().map(|_| Provider::NotYet("awsSsm")),
        vault.as_ref().map(|_| Provider::NotYet("vault")),
        azure_key_vault.as_ref().map(|_| Provider::NotYet("azureKeyVault")),
        gcp_secret_manager.as_ref().map(|_| Provider::NotYet("gcpSecretManager")),
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
    namespace: &str,
    objects: Objects,
    identities: AgeIdentities,
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
    let not_yet = [
        (aws_kms.is_some(), "awsKms"),
        (gcp_kms.is_some(), "gcpKms"),
        (azure_key_vault.is_some(), "azureKeyVault"),
        (vault_transit.is_some(), "vaultTransit"),
    ];
    if let Some((_, field)) = not_yet.iter().find(|(set, _)| *set) {
        let message = format!("sops.{field} is not supported by this version: only sops.age is");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let SopsSource { config_maps, secrets } = source;
    let (kind, names) = match (config_maps.is_empty(), secrets.is_empty()) {
        (false, true) => (SourceKind::ConfigMap, config_maps.clone()),
        (true, false) => (SourceKind::Secret, secrets.clone()),
        (true, true) | (false, false) => {
            return Err(invalid("sops.source must name objects of exactly one kind: configMaps or secrets"));
        }
    };
    let keys = match identities {
        AgeIdentities::Given(given) => sops::age_keys(given.iter().map(|(name, text)| (name.as_str(), text)))?,
        AgeIdentities::FromStore => match age {
            Some(age) => age_keys(&age.keys, namespace, &objects).await?,
            None => return Err(invalid("sops.age is missing: name the Secrets that hold the age identities")),
        },
    };
    let recipients = keys.recipients().map(str::to_owned).collect();
    let source = Box::new(ClusterSource::new(objects, namespace.to_owned(), kind, names));
    Ok((sops::Sops::new(source, Box::new(keys), allowed_recipients.iter().cloned()), recipients))
}

async fn age_keys(references: &[SecretKey], namespace: &str, objects: &Objects) -> Result<AgeKeys, Error> {
    let mut keys = AgeKeys::default();
    for SecretKey { secret, key } in references {
        let object = format!("Secret {namespace}/{secret}");
        let found = sops::present(objects.get_secret(namespace, secret).await, &object)?;
        let name = format!("{secret}/{key}");
        let text = found.data.get(key).ok_or_else(|| {
            Error::new(ErrorKind::SourceNotFound, format!("{object} has no key {key} with an age identity"))
        })?;
        keys.extend(sops::age_keys([(name.as_str(), text)])?);
    }
    Ok(keys)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
