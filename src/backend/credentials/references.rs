//! Objects of one namespace that hold credentials, and tokens of its ServiceAccounts.

use std::collections::BTreeSet;

use crate::api::store::{CertificateAuthority, SecretKey, ServiceAccountToken};
use crate::backend::kubernetes::from_cluster;
use crate::backend::{Error, ErrorKind};
use crate::cluster::{self, IssuedToken, Objects, Secret};
use crate::value::SecretValue;

/// What was tried, in messages of a token that the API server refused; the account follows, as `namespace/name`.
pub const TOKEN_OF: &str = "request a token of ServiceAccount ";

/// The key of a certificate authority, if a Store names none: what Kubernetes itself uses.
const DEFAULT_AUTHORITY_KEY: &str = "ca.crt";

/// What stores may use beside the objects that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreRights {
    /// Whether a ClusterStore may use the operator's own credentials (`auth.ambient`).
    pub ambient: bool,
    /// The operator's own account as RBAC calls it: no token of it is ever requested for a store.
    pub own_account: String,
    /// Audiences of the API server itself. A token for one of them would open the cluster to whoever receives it.
    pub api_audiences: BTreeSet<String>,
}

/// The objects of one namespace that a Store may name.
#[derive(Clone)]
pub struct References {
    /// None: there is no cluster.
    objects: Option<Objects>,
    namespace: String,
    rights: StoreRights,
}

impl References {
    /// The objects of `namespace`, as whoever connects may see them.
    #[must_use]
    pub fn new(objects: Objects, namespace: String, rights: StoreRights) -> Self {
        Self { objects: Some(objects), namespace, rights }
    }

    /// No objects, where there is no cluster: nothing that is asked for can be read.
    #[must_use]
    pub fn none() -> Self {
        Self { objects: None, namespace: String::new(), rights: StoreRights::default() }
    }

    fn objects(&self) -> Result<&Objects, Error> {
        let missing = || Error::new(ErrorKind::InvalidConfig, "there is no cluster to read credentials from");
        self.objects.as_ref().ok_or_else(missing)
    }

    /// A whole Secret.
    ///
    /// # Errors
    /// [`ErrorKind::SourceNotFound`] if there is none, and what keeps it from being read.
    pub async fn secret(&self, name: &str) -> Result<Secret, Error> {
        let object = format!("Secret {}/{name}", self.namespace);
        present(self.objects()?.get_secret(&self.namespace, name).await, &object)
    }

    /// One key of a Secret, byte for byte.
    ///
    /// # Errors
    /// As [`Self::secret`]; [`ErrorKind::SourceNotFound`] if it has no such key.
    pub async fn secret_key(&self, SecretKey { secret, key }: &SecretKey) -> Result<SecretValue, Error> {
        let found = self.secret(secret).await?;
        self.key_of(found, key)
    }

    /// One key of a Secret that was read.
    ///
    /// # Errors
    /// [`ErrorKind::SourceNotFound`] if it has no such key.
    pub fn key_of(&self, mut secret: Secret, key: &str) -> Result<SecretValue, Error> {
        secret.data.remove(key).ok_or_else(|| {
            let message = format!("Secret {}/{} has no key {key}", self.namespace, secret.metadata.name);
            Error::new(ErrorKind::SourceNotFound, message)
        })
    }

    /// Certificate authorities in PEM, as they are stored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] unless exactly one object is named; as [`Self::secret_key`].
    pub async fn authority(&self, authority: &CertificateAuthority) -> Result<SecretValue, Error> {
        let CertificateAuthority { config_map, secret, key } = authority;
        let key = key.as_deref().unwrap_or(DEFAULT_AUTHORITY_KEY);
        match (config_map, secret) {
            (None, Some(name)) => self.secret_key(&SecretKey { secret: name.clone(), key: key.to_owned() }).await,
            (Some(name), None) => {
                let object = format!("ConfigMap {}/{name}", self.namespace);
                let found = self.objects()?.get_config_map(&self.namespace, name).await;
                let mut found = present(found, &object)?;
                found
                    .data
                    .remove(key)
                    .ok_or_else(|| Error::new(ErrorKind::SourceNotFound, format!("{object} has no key {key}")))
            }
            (None, None) | (Some(_), Some(_)) => {
                Err(Error::new(ErrorKind::InvalidConfig, "ca must name exactly one of configMap and secret"))
            }
        }
    }

    /// A token of a ServiceAccount for the provider, good for ten minutes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for the operator's own account and for an audience that is empty or the API server's;
    /// [`ErrorKind::SourceNotFound`], [`ErrorKind::GrantMissing`].
    pub async fn token(&self, account: &ServiceAccountToken, default_audience: &str) -> Result<IssuedToken, Error> {
        let ServiceAccountToken { name, audience } = account;
        let audience = audience.as_deref().unwrap_or(default_audience);
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        let full = format!("system:serviceaccount:{}:{name}", self.namespace);
        if full == self.rights.own_account {
            return invalid("serviceAccount must not be the operator's own: make one for this store".to_owned());
        }
        if audience.trim().is_empty() {
            return invalid("serviceAccount.audience is missing: name what the provider expects".to_owned());
        }
        if is_of_api_server(audience) || self.rights.api_audiences.contains(audience) {
            let message = "serviceAccount.audience is the API server's own: its tokens must not leave the cluster";
            return invalid(message.to_owned());
        }
        let object = format!("ServiceAccount {}/{name}", self.namespace);
        match self.objects()?.request_token(&self.namespace, name, audience).await {
            Ok(token) => Ok(token),
            Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 404) => {
                Err(Error::new(ErrorKind::SourceNotFound, format!("there is no {object}")))
            }
            Err(error) => Err(from_cluster(&error, &format!("{TOKEN_OF}{}/{name}", self.namespace))),
        }
    }
}

/// Audiences under which an API server is known by default (`--api-audiences`, `--service-account-issuer`), whatever its
/// installation says.
fn is_of_api_server(audience: &str) -> bool {
    let address = audience.strip_prefix("https://").unwrap_or(audience);
    if address.contains("://") {
        // Of somebody who has a scheme of their own, such as Azure (`api://AzureADTokenExchange`).
        return false;
    }
    let host = address.split(['/', ':']).next().unwrap_or_default();
    matches!(host, "kubernetes" | "api" | "kubernetes.default" | "kubernetes.default.svc")
        || host.strip_prefix("kubernetes.default.svc.").is_some()
}

/// What was found of an object that a Store names.
pub(in crate::backend) fn present<T>(found: Result<Option<T>, cluster::Error>, object: &str) -> Result<T, Error> {
    match found {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(Error::new(ErrorKind::SourceNotFound, format!("there is no {object}"))),
        Err(error) => Err(from_cluster(&error, &format!("read {object}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_of_an_api_server_are_known_in_every_form() {
        for audience in [
            "kubernetes",
            "api",
            "kubernetes.default",
            "kubernetes.default.svc",
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "https://kubernetes.default.svc.cluster.local:443/",
        ] {
            assert!(is_of_api_server(audience), "{audience}");
        }
        for audience in [
            "vault",
            "sts.amazonaws.com",
            "https://kubernetes.example.com",
            "//iam.googleapis.com/api",
            "api://AzureADTokenExchange",
        ] {
            assert!(!is_of_api_server(audience), "{audience}");
        }
    }
}
