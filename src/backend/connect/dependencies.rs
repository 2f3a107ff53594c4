//! Which objects a store depends on, by its spec alone.

use std::collections::BTreeSet;

use super::provider::{Provider, provider};
use crate::api::store::{self, CertificateAuthority, Connection, SecretKey, SopsSource};

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

impl Watched {
    fn secret(namespace: &str, name: &str) -> Self {
        Self::Secret { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn config_map(namespace: &str, name: &str) -> Self {
        Self::ConfigMap { namespace: namespace.to_owned(), name: name.to_owned() }
    }
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
    let secret = |name: &String| Watched::secret(namespace, name);
    let config_map = |name: &String| Watched::config_map(namespace, name);
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
    let secret = |name: &String| Watched::secret(namespace, name);
    let authority = ca.into_iter().flat_map(|CertificateAuthority { config_map, secret: name, key: _ }| {
        let config_map = config_map.iter().map(|name| Watched::config_map(namespace, name));
        config_map.chain(name.iter().map(secret)).collect::<Vec<_>>()
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
