//! AWS Secrets Manager.
//!
//! - Current values are read in batches of twenty (BatchGetSecretValue); a store that may not do that is told once in the
//!   log and reads them one by one from then on. Other versions, by staging label or id, are single reads.
//! - The stage is always said, and checked in the answer: a batch has no stage in its request, and its answer counts only
//!   if it carries `AWSCURRENT`.
//! - A refresh reads values and no metadata before them: twenty values are one call, twenty DescribeSecret are twenty.
//! - Missing, marked for deletion, and a version that is not there are told apart by DescribeSecret, after a refusal.
//! - `replicaRegions` are read while the store's own region does not answer. Only values are taken from a replica: that
//!   one has no such secret says nothing about the store. A replica may lag behind, so that a version can go back while
//!   the first region is away.
//! - A write decides by DescribeSecret: create, new version, or restore what is marked for deletion first. The service has
//!   no write under a condition, so that somebody else's write between the two calls is not noticed.
//! - Texts are `SecretString` in the form of Atmos, bytes that are no text `SecretBinary`.
//!
//! Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>.

mod connect;
mod error;
mod name;
mod read;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretVersionsListEntry, Tag};
use futures::StreamExt as _;
use tokio::time::Instant;

pub use self::connect::connect;
use self::error::codes;
use self::name::{Asked, CURRENT, PREVIOUS, Wanted, is_legal};
use self::read::pending;
use super::aws::error::from_sdk;
use super::credentials::aws::Login;
use super::encoding::{Style, encode};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Rotation, Versioned};
use crate::api::store::Encoding;
use crate::value::SecretValue;

/// Secrets in one batch: the limit of `SecretIdList`.
const BATCH: usize = 20;
/// Batches at the same time, of a call with more keys than one batch has: the quota is 100 a second.
const CONCURRENT_BATCHES: usize = 4;
/// Other calls at the same time; their quotas are thousands a second.
const CONCURRENT_CALLS: usize = 8;
/// The largest value, as it is stored (`SecretString` and `SecretBinary`).
const LARGEST: usize = 65_536;
/// The most entries of one page of ListSecrets and ListSecretVersionIds.
const PAGE: i32 = 100;
/// How long a region that did not answer is asked last.
const REST: Duration = Duration::from_secs(30);
/// A name that no store has: what is answered tells whether the credentials are good.
const NOBODY: &str = "atmos-secrets-operator/no-such-secret";

/// See the module documentation.
pub struct AwsSecretsManager {
    store: String,
    encoding: Encoding,
    login: Arc<Login>,
    home: Region,
    replicas: Vec<Region>,
    /// How long one region may take, if there are others.
    patience: Duration,
    /// Until when the home region is asked last.
    resting: Mutex<Option<Instant>>,
    /// Whether batches are denied.
    no_batches: AtomicBool,
    kms_key_id: Option<String>,
    tags: BTreeMap<String, String>,
}

struct Region {
    name: String,
    client: Client,
}

type Results = BTreeMap<Asked, Result<Versioned, Error>>;

/// Whether another region may answer where this one did not.
fn is_away(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
}

impl AwsSecretsManager {
    fn asked(&self, key: &Key) -> Result<Asked, Error> {
        Asked::new(key, &self.home.name)
    }

    /// Reads each of `asked` at home, and what home does not answer elsewhere.
    async fn read_anywhere(&self, asked: Vec<Asked>) -> Results {
        let mut results = Results::new();
        for region in self.in_order() {
            let is_home = region.name == self.home.name;
            let is_open = |asked: &&Asked| results.get(*asked).is_none_or(|result| result.as_ref().is_err_and(is_away));
            let open: Vec<&Asked> = asked.iter().filter(is_open).collect();
            if open.is_empty() {
                break;
            }
            let found = self.read_patiently(region, &open).await;
            if is_home {
                self.remember(found.iter().all(|result| result.as_ref().is_err_and(is_away)));
            }
            let found: Vec<_> = open.into_iter().cloned().zip(found).collect();
            // What a replica lacks, home may have.
            results.extend(found.into_iter().filter(|(_, result)| is_home || result.is_ok()));
        }
        results
    }

    async fn read_patiently(&self, region: &Region, open: &[&Asked]) -> Vec<Result<Versioned, Error>> {
        let read = self.read_in(region, open);
        if self.replicas.is_empty() {
            return read.await;
        }
        tokio::time::timeout(self.patience, read).await.unwrap_or_else(|_| {
            let late = || Error::new(ErrorKind::Timeout, format!("region {} did not answer in time", region.name));
            open.iter().map(|_| Err(late())).collect()
        })
    }

    /// The regions, home first unless it did not answer a moment ago.
    fn in_order(&self) -> Vec<&Region> {
        let resting = *self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let home = std::iter::once(&self.home);
        match resting {
            Some(until) if Instant::now() < until => self.replicas.iter().chain(home).collect(),
            Some(_) | None => home.chain(&self.replicas).collect(),
        }
    }

    fn remember(&self, home_is_away: bool) {
        let until = home_is_away.then(|| Instant::now() + REST);
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    async fn probe_one(&self, asked: &Asked) -> Result<Presence, Error> {
        let tried = format!("look up the secret {}", asked.id);
        let described = self.describe(&self.home, asked, &tried).await?;
        if described.pending_deletion {
            return Err(pending(asked));
        }
        let kind = if asked.is_current() { ErrorKind::NotFound } else { ErrorKind::VersionNotFound };
        let missing = || Error::new(kind, format!("cannot {}: it has no such version", asked.reading()));
        Ok(Presence { version: described.version(&asked.version).ok_or_else(missing)?.to_owned() })
    }

    /// What is stored for a value: a text, or bytes.
    fn stored(&self, id: &str, value: &SecretValue) -> Result<(Option<String>, Option<Blob>), Error> {
        let stored = encode(self.encoding, Style::Document, value);
        let bytes = stored.expose();
        if bytes.len() > LARGEST {
            let message = format!("cannot write the secret {id}: AWS Secrets Manager holds {LARGEST} bytes at most");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if bytes.is_empty() {
            let message =
                format!("cannot write the secret {id}: the service holds no empty value but with encoding atmos");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(Blob::new(bytes))),
        })
    }

    async fn put(&self, asked: &Asked, stored: (Option<String>, Option<Blob>)) -> Result<String, Error> {
        let tried = format!("write the secret {}", asked.id);
        let call = || {
            let (text, bytes) = stored.clone();
            let call = self.home.client.put_secret_value().secret_id(&asked.id);
            let call = call.set_secret_string(text).set_secret_binary(bytes);
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        Ok(self.login.call(call).await?.version_id.unwrap_or_default())
    }

    async fn create(&self, asked: &Asked, stored: (Option<String>, Option<Blob>)) -> Result<String, Error> {
        let tried = format!("create the secret {}", asked.id);
        if asked.is_arn() {
            let message = format!("cannot {tried}: an ARN names a secret that is there already");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let tags: Vec<Tag> =
            self.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let call = || {
            let (text, bytes) = stored.clone();
            let call = self.home.client.create_secret().name(&asked.id).set_kms_key_id(self.kms_key_id.clone());
            let call = call.set_tags((!tags.is_empty()).then(|| tags.clone()));
            let call = call.set_secret_string(text).set_secret_binary(bytes);
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        Ok(self.login.call(call).await?.version_id.unwrap_or_default())
    }

    async fn restore(&self, asked: &Asked) -> Result<(), Error> {
        let call = || {
            let call = self.home.client.restore_secret().secret_id(&asked.id);
            async move { call.send().await.map_err(|error| from_sdk(&error, "restore the secret", codes)) }
        };
        self.login.call(call).await.map(drop)
    }
}

#[async_trait]
impl Backend for AwsSecretsManager {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: true, batch: BATCH }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        let asked: Vec<Result<Asked, Error>> = keys.iter().map(|key| self.asked(key)).collect();
        let mut distinct: Vec<Asked> = asked.iter().flatten().cloned().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let results = self.read_anywhere(distinct).await;
        let answer = |asked: Result<Asked, Error>| {
            results
                .get(&asked?)
                .cloned()
                .unwrap_or_else(|| Err(Error::new(ErrorKind::Unexpected, "no answer for the key")))
        };
        asked.into_iter().map(answer).collect()
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        let probes = keys.iter().map(|key| async move { self.probe_one(&self.asked(key)?).await });
        futures::stream::iter(probes.collect::<Vec<_>>()).buffered(CONCURRENT_CALLS).collect().await
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let asked = self.asked(key)?;
        if key.version.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a version cannot be written: the service makes a new one"));
        }
        let stored = self.stored(&asked.id, value)?;
        let tried = format!("look up the secret {} before writing it", asked.id);
        let found = match self.describe(&self.home, &asked, &tried).await {
            Ok(described) => Some(described),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let current = found
            .as_ref()
            .filter(|found| !found.pending_deletion)
            .and_then(|found| found.version(&Wanted::Stage(CURRENT.to_owned())));
        let holds = match &precondition {
            Precondition::None => true,
            Precondition::Absent => current.is_none(),
            Precondition::Version(version) => current == Some(version),
        };
        if !holds {
            let message = format!("the secret {} is not as it was expected: somebody else wrote it", asked.id);
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        match found {
            None => self.create(&asked, stored).await,
            Some(found) => {
                if found.pending_deletion {
                    self.restore(&asked).await?;
                }
                self.put(&asked, stored).await
            }
        }
    }

    async fn delete(&self, key: &Key, mode: DeleteMode) -> Result<(), Error> {
        let asked = self.asked(key)?;
        let tried = format!("delete the secret {}", asked.id);
        // A forced deletion of what is not there succeeds, so look first.
        let found = self.describe(&self.home, &asked, &tried).await?;
        let purge = match mode {
            DeleteMode::Purge => true,
            DeleteMode::Recoverable if found.pending_deletion => return Err(pending(&asked)),
            DeleteMode::Recoverable => false,
        };
        let call = || {
            let call = self.home.client.delete_secret().secret_id(&asked.id);
            let call = call.set_force_delete_without_recovery(purge.then_some(true));
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        self.login.call(call).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        if !prefix.chars().all(is_legal) {
            return Ok(Vec::new());
        }
        let filter = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let filters = (!prefix.is_empty()).then(|| vec![filter]);
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let call = || {
                let call = self.home.client.list_secrets().max_results(PAGE).set_filters(filters.clone());
                let call = call.set_next_token(token.clone());
                async move { call.send().await.map_err(|error| from_sdk(&error, "list secrets", codes)) }
            };
            let page = self.login.call(call).await?;
            let found = page.secret_list.unwrap_or_default().into_iter();
            // The service's own comparison does not tell upper from lower case.
            names.extend(
                found
                    .filter(|secret| secret.deleted_date.is_none())
                    .filter_map(|secret| secret.name)
                    .filter(|name| name.starts_with(prefix)),
            );
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        let asked = self.asked(key)?;
        let tried = format!("list the versions of the secret {}", asked.id);
        let (mut versions, mut token) = (Vec::new(), None);
        loop {
            let call = || {
                let call = self.home.client.list_secret_version_ids().secret_id(&asked.id).max_results(PAGE);
                let call = call.set_next_token(token.clone());
                let tried = &tried;
                async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
            };
            let page = self.login.call(call).await?;
            versions.extend(page.versions.unwrap_or_default());
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(age(version)));
        Ok(versions.into_iter().filter_map(|version| version.version_id).collect())
    }

    fn rotates(&self) -> bool {
        true
    }

    async fn rotations(&self, keys: &[Key]) -> Vec<Result<Option<Rotation>, Error>> {
        let look = |key| async move {
            let asked = self.asked(key)?;
            let tried = format!("look up the rotation of the secret {}", asked.id);
            Ok(self.describe(&self.home, &asked, &tried).await?.rotation)
        };
        futures::stream::iter(keys.iter().map(look).collect::<Vec<_>>()).buffered(CONCURRENT_CALLS).collect().await
    }

    async fn check(&self) -> Result<(), Error> {
        let call = || {
            let call = self.home.client.describe_secret().secret_id(NOBODY);
            async move { call.send().await.map_err(|error| from_sdk(&error, "reach AWS Secrets Manager", codes)) }
        };
        match self.login.call(call).await {
            Ok(_) => Ok(()),
            // Who is told that this secret is not there, or not theirs, was known.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What sorts versions, the newest highest: of two from one second the labels tell.
fn age(version: &SecretVersionsListEntry) -> (Option<(i64, u32)>, u8) {
    let has = |label: &str| version.version_stages().iter().any(|stage| stage == label);
    let rank = if has(CURRENT) {
        2
    } else if has(PREVIOUS) {
        1
    } else {
        0
    };
    (version.created_date.map(|date| (date.secs(), date.subsec_nanos())), rank)
}
