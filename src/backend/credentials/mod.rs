//! What a driver is connected with: credentials, and the way to the network.
//!
//! In the operator every credential comes from an object that the Store names, in the Store's own namespace (a
//! ClusterStore's in the operator's): [`References`] knows that one namespace and no other. The process's environment and
//! files are nobody's credentials, but with [`StoreRights::ambient`] for those ClusterStores that ask for it. In the
//! plugin they are the person's own ([`UserCredentials`]), found by the command line.

pub mod aws;
pub mod azure;
pub mod gcp;
mod kept;
mod references;
pub mod vault;

pub(in crate::backend) use self::references::present;
pub use self::references::{References, StoreRights, TOKEN_OF};

use std::time::Duration;

use super::network::Network;
use crate::api::store::Encoding;
use crate::value::SecretValue;

/// Whose credentials open a store.
pub enum Credentials {
    /// What the Store names.
    OfStore(StoreRights),
    /// A person's own. The Secrets that the Store names are not touched.
    OfUser(UserCredentials),
}

/// Credentials of the person at the command line. What is absent is found by the provider's own means, such as the
/// profiles of AWS.
#[derive(Default)]
pub struct UserCredentials {
    /// Age identities, each text under the name that messages may show.
    pub age: Vec<(String, SecretValue)>,
    /// A token of Vault, and where it was found. It goes to no host that the person did not name.
    pub vault: Option<(String, SecretValue)>,
    /// The namespace of Vault Enterprise, where no Store says it.
    pub vault_namespace: Option<String>,
    /// Credentials of Google, and where they were found.
    pub gcp: Option<(String, gcp::Personal)>,
    /// The application that the environment names for Azure; without one the Azure CLI is asked.
    pub azure: Option<azure::AzureApplication>,
}

/// Everything around a store that its driver needs to connect.
pub struct Surroundings {
    /// How errors name the store, such as `Store/app`.
    pub store: String,
    /// Where its credentials lie.
    pub namespace: String,
    /// How values look as text.
    pub encoding: Encoding,
    /// The deadline of one call with all its tries; a driver sets none of its own above it.
    pub timeout: Duration,
    /// The objects that the Store names.
    pub references: References,
    /// Whose credentials.
    pub credentials: Credentials,
    /// The only way out.
    pub network: Network,
}

impl Surroundings {
    /// Who reads, for a provider's audit log: namespace and name of the Store, of letters, digits and `-`, and at most
    /// `limit` characters.
    #[must_use]
    pub fn session_name(&self, limit: usize) -> String {
        let name = self.store.rsplit('/').next().unwrap_or_default();
        let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
        format!("{}-{name}", self.namespace).chars().map(plain).take(limit).collect()
    }
}
