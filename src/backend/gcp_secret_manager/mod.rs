//! Google Cloud Secret Manager.
//!
//! | call | request |
//! |---|---|
//! | read | `GET secrets/<key>/versions/<version>:access`, one for each key: there is no batch |
//! | probe | `GET secrets/<key>/versions/<version>`: metadata |
//! | write | `POST secrets/<key>:addVersion`; if there is no such secret, `POST secrets?secretId=<key>` and once more |
//! | delete | `DELETE secrets/<key>?etag=…`: all versions, at once and for good, in both modes |
//! | list | `GET secrets?filter=name:<prefix>` |
//! | versions | `GET secrets/<key>/versions` |
//!
//! - The current version is `latest`: the one that was added last, whatever its state: an older one is not the value. A
//!   version that is destroyed is [`ErrorKind::VersionNotFound`]. One that is disabled is [`ErrorKind::PermissionDenied`]:
//!   it is there, and comes back when it is enabled.
//! - Google checks rights before it looks: `404` is said only to who has the right on the whole project. To who has it on
//!   single secrets, one that is not there is `403` like one that is not theirs. `403` is never reported as missing.
//! - The checksum (CRC32C) of a value is sent with it and checked when it comes back: TLS ends before the value does.
//! - A new version can have no condition: the etag of a secret guards its metadata and its deletion. "Absent" is certain
//!   where the secret has to be created, and a look before in all other cases, as is "this version".
//! - A listing holds names of secrets without any version: names are all that it reads.
//! - Regional secrets (`projects/…/locations/…`) are another API and are not read.
//!
//! The types of requests and answers are those of `google-cloud-secretmanager-v1`, the requests our own. The SDK's client
//! has an HTTP client that cannot be replaced; behind its seam for tests (`stub::SecretManagerService`) everything between
//! its types and the wire would be ours as well, and our errors would have to be packed into its own and out again.
//!
//! Source: <https://cloud.google.com/secret-manager/docs/reference/rest>.

mod error;
mod name;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use google_cloud_secretmanager_v1::model::secret_version::State;
use google_cloud_secretmanager_v1::model::{
    AccessSecretVersionResponse, ListSecretVersionsResponse, ListSecretsResponse, Secret, SecretPayload, SecretVersion,
};

use self::error::Tried;
use self::name::{Asked, Wanted, is_legal};
use self::rest::Rest;
use super::credentials::Surroundings;
use super::credentials::gcp::Answer;
use super::encoding::{Style, decode, encode};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::api::store::{self, Encoding};
use crate::value::SecretValue;

/// Requests of one call at the same time.
const CONCURRENT: usize = 8;
/// Keys of one call, so that it ends well within its deadline at 50 ms for each request.
const BATCH: usize = 128;
/// The largest value, as it is stored (<https://cloud.google.com/secret-manager/quotas#content_limits>).
const LARGEST: usize = 65_536;
/// A name that no store has: what is answered tells whether the credentials are good.
const NOBODY: &str = "atmos-secrets-operator-no-such-secret";

/// See the module documentation.
pub struct GcpSecretManager {
    rest: Rest,
    encoding: Encoding,
    locations: Vec<String>,
}

/// Connects a store. Asks nothing of it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::GcpSecretManager, around: &Surroundings) -> Result<GcpSecretManager, Error> {
    let store::GcpSecretManager { project_id, locations, endpoint, auth } = spec;
    let rest = Rest::new(project_id, endpoint.as_deref(), auth.as_ref(), around).await?;
    Ok(GcpSecretManager { rest, encoding: around.encoding, locations: locations.clone() })
}

impl GcpSecretManager {
    /// One result for each key, in order; a key that comes twice is asked for once.
    async fn each<T: Clone + Send, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        keys: &[Key],
        one: impl Fn(Asked) -> F,
    ) -> Vec<Result<T, Error>> {
        let asked: Vec<Result<Asked, Error>> = keys.iter().map(Asked::new).collect();
        let distinct: BTreeSet<&Asked> = asked.iter().flatten().collect();
        let found: BTreeMap<&Asked, Result<T, Error>> = if distinct.is_empty() {
            BTreeMap::new()
        } else if let Err(error) = self.rest.ready().await {
            distinct.into_iter().map(|asked| (asked, Err(error.clone()))).collect()
        } else {
            let calls: Vec<_> = distinct
                .into_iter()
                .map(|asked| {
                    let call = one(asked.clone());
                    async move { (asked, call.await) }
                })
                .collect();
            futures::stream::iter(calls).buffer_unordered(CONCURRENT).collect().await
        };
        let lost = || Error::new(ErrorKind::Unexpected, "a key was lost on the way: please report this defect");
        let result = |asked: &Result<Asked, Error>| {
            let asked = asked.as_ref().map_err(Clone::clone)?;
            found.get(asked).cloned().unwrap_or_else(|| Err(lost()))
        };
        asked.iter().map(result).collect()
    }

    async fn read_one(&self, asked: Asked) -> Result<Versioned, Error> {
        let tried = Tried::version("read", &asked);
        let answer = self.rest.get(&format!("{}:access", asked.path())).await?;
        if answer.status != 200 {
            return Err(self.unanswered(&answer, &asked, &tried).await);
        }
        let strange = |what: &str| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: {what}"));
        let found: Option<AccessSecretVersionResponse> = answer.parse();
        let found = found.ok_or_else(|| strange("the answer makes no sense"))?;
        let version = asked.version_in(&found.name).ok_or_else(|| strange("the answer is of another version"))?;
        let payload = found.payload.ok_or_else(|| strange("the answer holds no value"))?;
        if payload.data_crc32c.is_some_and(|sum| sum != i64::from(crc32c::crc32c(&payload.data))) {
            return Err(strange("the value was damaged on its way: its checksum is another one"));
        }
        let value = decode(self.encoding, SecretValue::new(Vec::from(payload.data)));
        Ok(Versioned { value: Arc::new(value), version })
    }

    async fn probe_one(&self, asked: Asked) -> Result<Presence, Error> {
        let tried = Tried::version("look up", &asked);
        let found = self.look_up(&asked, &tried).await?;
        let version = asked
            .version_in(&found.name)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense")))?;
        match found.state {
            State::Enabled => Ok(Presence { version }),
            State::Disabled => Err(error::disabled(&asked)),
            State::Destroyed => Err(error::destroyed(&asked)),
            // An open list.
            _ => Err(Error::new(ErrorKind::Unexpected, format!("cannot {tried}: its state is not known here"))),
        }
    }

    async fn look_up(&self, asked: &Asked, tried: &Tried) -> Result<SecretVersion, Error> {
        let answer = self.rest.get(&asked.path()).await?;
        if answer.status != 200 {
            return Err(self.unanswered(&answer, asked, tried).await);
        }
        understood(&answer, tried)
    }

    /// Why there is no answer about a version. The same code says that a secret is not there and that its version is not:
    /// the secret itself tells which, to who may ask.
    async fn unanswered(&self, answer: &Answer, asked: &Asked, tried: &Tried) -> Error {
        let error = error::of_version(answer, asked, tried);
        if error.kind != ErrorKind::NotFound || asked.is_current() {
            return error;
        }
        let secret = self.rest.get(&format!("secrets/{}", asked.id)).await;
        match secret.map(|answer| answer.status) {
            Ok(404) => error,
            Ok(200) => Error::new(ErrorKind::VersionNotFound, format!("cannot {tried}: it has no such version")),
            Ok(_) | Err(_) => {
                let message = format!("cannot {tried}: there is no such version, or no such secret");
                Error::new(ErrorKind::VersionNotFound, message)
            }
        }
    }

    /// What is sent for a value.
    fn payload(&self, id: &str, value: &SecretValue) -> Result<SecretPayload, Error> {
        let stored = encode(self.encoding, Style::Literal, value);
        let bytes = stored.expose();
        if bytes.len() > LARGEST {
            let message = format!("cannot write the secret {id}: Secret Manager holds {LARGEST} bytes at most");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if bytes.is_empty() {
            let message =
                format!("cannot write the secret {id}: Secret Manager holds no empty value but with encoding atmos");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let sum = i64::from(crc32c::crc32c(bytes));
        Ok(SecretPayload::new().set_data(Bytes::copy_from_slice(bytes)).set_data_crc32c(sum))
    }

    /// The version that is `latest`, unless there is none.
    async fn current(&self, id: &str) -> Result<Option<SecretVersion>, Error> {
        let asked = Asked { id: id.to_owned(), wanted: Wanted::Latest };
        match self.look_up(&asked, &Tried::secret("look up before writing", id)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn add(&self, id: &str, payload: &SecretPayload) -> Result<String, Error> {
        let tried = Tried::secret("write", id);
        let body = BTreeMap::from([("payload", payload)]);
        let answer = self.rest.post(&format!("secrets/{id}:addVersion"), &body).await?;
        if answer.status != 200 {
            return Err(error::of_secret(&answer, &tried));
        }
        let added: SecretVersion = understood(&answer, &tried)?;
        let asked = Asked { id: id.to_owned(), wanted: Wanted::Latest };
        asked
            .version_in(&added.name)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense")))
    }

    /// [`ErrorKind::Conflict`] if it is there already.
    async fn create(&self, id: &str) -> Result<(), Error> {
        let secret = Secret::new().set_replication(rest::replication(&self.locations));
        let answer = self.rest.post(&format!("secrets?secretId={id}"), &secret).await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(error::of_creation(&answer, &Tried::secret("create", id))),
        }
    }

    async fn create_and_add(&self, id: &str, payload: &SecretPayload) -> Result<String, Error> {
        match self.create(id).await {
            Ok(()) => {}
            // Somebody else was faster, which is as good.
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
        self.add(id, payload).await
    }

    /// Writes if there is no value.
    async fn write_first(&self, id: &str, payload: &SecretPayload) -> Result<String, Error> {
        match self.current(id).await? {
            Some(version) if version.state != State::Destroyed => Err(error::changed(id)),
            Some(_) => self.add(id, payload).await,
            None => match self.create(id).await {
                Ok(()) => self.add(id, payload).await,
                // It may be there without a version, or since a moment ago.
                Err(error) if error.kind == ErrorKind::Conflict => match self.current(id).await? {
                    None => self.add(id, payload).await,
                    Some(_) => Err(error::changed(id)),
                },
                Err(error) => Err(error),
            },
        }
    }
}

#[async_trait]
impl Backend for GcpSecretManager {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: true, batch: BATCH }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        self.each(keys, |asked| self.read_one(asked)).await
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        self.each(keys, |asked| self.probe_one(asked)).await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let Asked { id, .. } = Asked::new(key)?;
        if key.version.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a version cannot be written: the service makes a new one"));
        }
        let payload = self.payload(&id, value)?;
        match precondition {
            Precondition::None => match self.add(&id, &payload).await {
                Err(error) if error.kind == ErrorKind::NotFound => self.create_and_add(&id, &payload).await,
                outcome => outcome,
            },
            Precondition::Absent => self.write_first(&id, &payload).await,
            Precondition::Version(version) => {
                let asked = Asked { id, wanted: Wanted::Latest };
                let current = self.current(&asked.id).await?;
                match current.and_then(|current| asked.version_in(&current.name)) {
                    Some(current) if current == version => self.add(&asked.id, &payload).await,
                    Some(_) | None => Err(error::changed(&asked.id)),
                }
            }
        }
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        match mode {
            // There is no way back in either: what can be undone is the disabling of one version.
            DeleteMode::Recoverable | DeleteMode::Purge => {}
        }
        let Asked { id, .. } = Asked::new(key)?;
        let tried = Tried::secret("delete", &id);
        let answer = self.rest.get(&format!("secrets/{id}")).await?;
        if answer.status != 200 {
            return Err(error::of_secret(&answer, &tried));
        }
        let secret: Secret = understood(&answer, &tried)?;
        let answer = self.rest.delete(&format!("secrets/{id}"), &secret.etag).await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(error::of_deletion(&answer, &tried)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        if !prefix.chars().all(is_legal) {
            return Ok(Vec::new());
        }
        let tried = Tried::other("list the secrets");
        let filter = if prefix.is_empty() { String::new() } else { format!("name:{prefix}") };
        let mut names = Vec::new();
        let mut page = String::new();
        loop {
            let answer = self.rest.page("secrets", &filter, &page).await?;
            if answer.status != 200 {
                return Err(error::of_secret(&answer, &tried));
            }
            let found: ListSecretsResponse = understood(&answer, &tried)?;
            // The service's filter finds parts anywhere, and does not tell upper from lower case.
            names.extend(
                found
                    .secrets
                    .iter()
                    .filter_map(|secret| secret.name.rsplit('/').next())
                    .filter(|name| name.starts_with(prefix))
                    .map(str::to_owned),
            );
            page = found.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Those that can be read, and those that could be if they were enabled.
    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        let asked = Asked::new(&Key::current(key.name.clone()))?;
        let tried = Tried::secret("list the versions of", &asked.id);
        let mut numbers: Vec<u64> = Vec::new();
        let mut page = String::new();
        loop {
            let answer = self.rest.page(&format!("secrets/{}/versions", asked.id), "", &page).await?;
            if answer.status != 200 {
                return Err(error::of_secret(&answer, &tried));
            }
            let found: ListSecretVersionsResponse = understood(&answer, &tried)?;
            let kept = found.versions.iter().filter(|version| version.state != State::Destroyed);
            numbers.extend(kept.filter_map(|version| asked.version_in(&version.name)?.parse::<u64>().ok()));
            page = found.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        numbers.dedup();
        Ok(numbers.iter().map(u64::to_string).collect())
    }

    async fn check(&self) -> Result<(), Error> {
        let answer = self.rest.get(&format!("secrets/{NOBODY}/versions/latest")).await?;
        if answer.status == 200 || error::is_of_iam(&answer) {
            return Ok(());
        }
        match error::of_secret(&answer, &Tried::other("reach Secret Manager")) {
            // Who is told that this secret is not there was known.
            error if error.kind == ErrorKind::NotFound => Ok(()),
            error => Err(error),
        }
    }
}

/// The body of a success.
fn understood<T: serde::de::DeserializeOwned>(answer: &Answer, tried: &Tried) -> Result<T, Error> {
    answer
        .parse()
        .ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense")))
}
