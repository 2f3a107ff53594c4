//! Azure Key Vault.
//!
//! | call | requests |
//! |---|---|
//! | read | `GET secrets/<name>[/<version>]`, one for each key: there is no batch |
//! | probe, versions | `GET secrets/<name>/versions`: metadata alone |
//! | write | `PUT secrets/<name>`; a name that a deleted secret holds is recovered first |
//! | delete | `DELETE secrets/<name>`; to purge, `DELETE deletedsecrets/<name>` after it |
//! | list | `GET secrets`, page by page: the service has no filter |
//! | check | a read of a secret that nobody has |
//!
//! - Names are without regard to case: `Db` and `db` are one secret.
//! - A missing secret that is deleted and can be recovered is [`ErrorKind::PendingDeletion`].
//! - A version that is disabled, not valid yet or expired is [`ErrorKind::PermissionDenied`] and says so. The service itself
//!   refuses only the first; its documentation calls the times information, and a value that its owner declared dead is not
//!   one to hand on.
//! - Versions have a time in whole seconds and no number: which of two that were made within one second is the latest, only
//!   a read can tell.
//! - The service has no write under a condition: a precondition is a look at the versions before the write.
//! - Texts only, in the form of Atmos; content type, tags and times are left to others.
//!
//! Source: <https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups>.

mod error;
mod name;
mod read;
mod transport;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{ClientOptions, RetryOptions, Transport as AzureTransport, UserAgentOptions};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::error::{from_sdk, is_of_role};
use self::name::{Asked, identified};
use self::transport::{Placeholder, Transport};
use super::credentials::Surroundings;
use super::credentials::azure::{Cloud, Login};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::api::store::{self, Encoding};
use crate::value::SecretValue;

/// Requests of one call at the same time.
const CONCURRENT: usize = 8;
/// Requests of all calls at the same time: enough for 100 a second that take 0.6 s each.
const TURNS: usize = 64;
/// Every cloud answers it, and it has all that is used here.
const API_VERSION: &str = "7.4";
/// Part of the `User-Agent`, which the vault's log keeps; at most 24 characters.
const APPLICATION: &str = "atmos-secrets-operator";
/// The most bytes of an answer: a value of 25 KiB in escapes that make six of one fits, and a page of 25 names.
const MAX_ANSWER: usize = 1 << 20;
/// A name that no store has: what is answered tells whether the credentials are good.
const NOBODY: &str = "atmos-secrets-operator-no-such-secret";

/// See the module documentation.
pub struct AzureKeyVault {
    client: SecretClient,
    encoding: Encoding,
    /// How long after its beginning a write or a deletion still waits for the vault to finish what it began.
    patience: Duration,
}

/// Connects a store. Asks nothing of it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::AzureKeyVault, around: &Surroundings) -> Result<AzureKeyVault, Error> {
    let store::AzureKeyVault { vault_url, auth } = spec;
    let is_azures = |host: &str| Cloud::of_vault(host).is_some();
    let vault = around.network.custom_or_providers("azureKeyVault.vaultUrl", vault_url, is_azures)?;
    let invalid = |what: &str| Error::new(ErrorKind::InvalidConfig, format!("azureKeyVault.vaultUrl {what}"));
    if vault.scheme() != "https" {
        return Err(invalid("must begin with https://"));
    }
    if vault.path() != "/" {
        return Err(invalid("must be the address of a vault alone, such as https://NAME.vault.azure.net"));
    }
    // A vault under another name, such as one of a proxy, is taken for one of the public cloud.
    let cloud = vault.host_str().and_then(Cloud::of_vault).unwrap_or(Cloud::Public);
    let login = Arc::new(Login::new(auth.as_ref(), cloud, around).await?);
    let address = vault.as_str().to_owned();
    let network = around.network.client().with_limit(MAX_ANSWER);
    let transport = Transport { network, login, vault, turns: Semaphore::new(TURNS) };
    let options = SecretClientOptions {
        api_version: API_VERSION.to_owned(),
        client_options: ClientOptions {
            transport: Some(AzureTransport::new(Arc::new(transport))),
            // `guarded` has both.
            retry: RetryOptions::none(),
            user_agent: UserAgentOptions { application_id: Some(APPLICATION.to_owned()) },
            ..ClientOptions::default()
        },
        // The challenge is ours.
        verify_challenge_resource: Some(false),
    };
    let client = SecretClient::new(&address, Arc::new(Placeholder), Some(options));
    let client = client.map_err(|_| invalid("cannot be the address of a vault"))?;
    // A little less than the deadline of the whole call, so that the last answer comes before it.
    Ok(AzureKeyVault { client, encoding: around.encoding, patience: around.timeout.mul_f64(0.8) })
}

impl AzureKeyVault {
    /// One result for each key, in order; a key that comes twice is asked for once.
    async fn each<T: Clone, F: Future<Output = Result<T, Error>>>(
        &self,
        keys: &[Key],
        one: impl Fn(Asked) -> F,
    ) -> Vec<Result<T, Error>> {
        let asked: Vec<Result<Asked, Error>> = keys.iter().map(Asked::new).collect();
        let distinct: BTreeSet<Asked> = asked.iter().filter_map(|asked| asked.as_ref().ok().cloned()).collect();
        let calls: Vec<_> = distinct
            .into_iter()
            .map(|asked| {
                let call = one(asked.clone());
                async move { (asked, call.await) }
            })
            .collect();
        let found: BTreeMap<Asked, Result<T, Error>> =
            futures::stream::iter(calls).buffer_unordered(CONCURRENT).collect().await;
        let lost = || Error::new(ErrorKind::Unexpected, "a key was lost on the way: please report this defect");
        let result = |asked: Result<Asked, Error>| found.get(&asked?).cloned().unwrap_or_else(|| Err(lost()));
        asked.into_iter().map(result).collect()
    }
}

#[async_trait]
impl Backend for AzureKeyVault {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: true, batch: 1 }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        self.each(keys, |asked| async move { self.read_one(&asked).await }).await
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.each(keys, |asked| async move { self.probe_one(&asked).await }).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let end = Instant::now() + self.patience;
        let asked = Asked::new(&Key::current(&key.name))?;
        let text = self.stored(&asked, value)?;
        self.expect(&asked, &precondition).await?;
        self.put(&asked, text, end).await
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        let end = Instant::now() + self.patience;
        let asked = Asked::new(&Key::current(&key.name))?;
        match mode {
            DeleteMode::Recoverable => self.delete_with_a_way_back(&asked).await,
            DeleteMode::Purge => self.purge(&asked, end).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let tried = "list the secrets of the vault";
        let mut items = self.client.list_secret_properties(None).map_err(|error| from_sdk(&error, tried))?;
        let mut names = BTreeSet::new();
        while let Some(item) = items.try_next().await.map_err(|error| from_sdk(&error, tried))? {
            let name = item.id.as_deref().and_then(identified).map(|(name, _)| name);
            let is_wanted =
                |name: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
            names.extend(name.filter(is_wanted).map(str::to_owned));
        }
        Ok(names.into_iter().collect())
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        let asked = Asked::new(&Key::current(&key.name))?;
        let tried = format!("list the versions of the secret {}", asked.name);
        let known = self.known_versions(&asked, &tried).await?;
        if known.is_empty() {
            return Err(self.missing(&asked).await);
        }
        Ok(known.into_iter().map(|version| version.id).collect())
    }

    async fn check(&self) -> Result<(), Error> {
        let Err(error) = self.client.get_secret(NOBODY, None).await else { return Ok(()) };
        match from_sdk(&error, "use the vault") {
            error if error.kind == ErrorKind::NotFound => Ok(()),
            // A role on single secrets is none on this one.
            _ if is_of_role(&error) => Ok(()),
            error => Err(error),
        }
    }
}
