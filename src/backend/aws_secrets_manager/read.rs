//! Values from one region: batches of twenty, and single reads for what no batch can answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_secretsmanager::primitives::DateTime;
use aws_sdk_secretsmanager::types::SecretValueEntry;
use futures::StreamExt as _;
use jiff::Timestamp;

use super::error::codes;
use super::name::{Asked, CURRENT, Wanted};
use super::{AwsSecretsManager, BATCH, CONCURRENT_BATCHES, CONCURRENT_CALLS, Region};
use crate::backend::aws::error::{from_code, from_sdk};
use crate::backend::encoding::decode;
use crate::backend::{Error, ErrorKind, Rotation, Versioned};
use crate::value::SecretValue;

/// What DescribeSecret tells: metadata alone.
pub(super) struct Described {
    pub pending_deletion: bool,
    /// The labels of each version that has any.
    pub stages: HashMap<String, Vec<String>>,
    pub rotation: Option<Rotation>,
}

impl Described {
    /// The id of the version that is wanted, if there is one.
    pub(super) fn version(&self, wanted: &Wanted) -> Option<&str> {
        let found = self.stages.iter().find(|(id, stages)| match wanted {
            Wanted::Stage(wanted) => stages.contains(wanted),
            Wanted::Id(wanted) => *id == wanted,
        });
        found.map(|(id, _)| id.as_str())
    }
}

/// What an answer holds of one version.
struct Answer {
    string: Option<String>,
    binary: Option<Vec<u8>>,
    version: Option<String>,
    stages: Vec<String>,
}

impl AwsSecretsManager {
    /// One result for each of `asked`, in order.
    pub(super) async fn read_in(&self, region: &Region, asked: &[&Asked]) -> Vec<Result<Versioned, Error>> {
        let (current, others): (Vec<_>, Vec<_>) =
            (0..).zip(asked.iter().copied()).partition(|(_, asked)| asked.is_current());
        let chunks: Vec<Vec<(usize, &Asked)>> = current.chunks(BATCH).map(<[_]>::to_vec).collect();
        let batches = chunks.into_iter().map(|chunk| self.read_batch(region, chunk));
        let batches = futures::stream::iter(batches.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_BATCHES);
        let singles = self.read_singly(region, others);
        let (batches, singles) = futures::join!(batches.collect::<Vec<_>>(), singles);
        let mut results: Vec<_> = batches.into_iter().flatten().chain(singles).collect();
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    async fn read_singly(
        &self,
        region: &Region,
        asked: Vec<(usize, &Asked)>,
    ) -> Vec<(usize, Result<Versioned, Error>)> {
        let reads = asked.into_iter().map(|(index, asked)| async move { (index, self.read_one(region, asked).await) });
        futures::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_CALLS).collect().await
    }

    async fn read_batch(&self, region: &Region, asked: Vec<(usize, &Asked)>) -> Vec<(usize, Result<Versioned, Error>)> {
        if self.no_batches.load(Ordering::SeqCst) {
            return self.read_singly(region, asked).await;
        }
        let ids: Vec<String> = asked.iter().map(|(_, asked)| asked.id_in(&region.name)).collect();
        let call = || {
            let call = region.client.batch_get_secret_value().set_secret_id_list(Some(ids.clone()));
            async move { call.send().await.map_err(|error| from_sdk(&error, "read secrets", codes)) }
        };
        let answer = match self.login.call(call).await {
            Ok(answer) => answer,
            Err(error) if !self.login.has_keys().await => return all_failed(asked, &error),
            Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                self.give_up_batches();
                return self.read_singly(region, asked).await;
            }
            // One key that the service does not like, perhaps: each must speak for itself.
            Err(error) if matches!(error.kind, ErrorKind::InvalidConfig | ErrorKind::NotFound) => {
                return self.read_singly(region, asked).await;
            }
            Err(error) => return all_failed(asked, &error),
        };
        let mut values = answer.secret_values.unwrap_or_default();
        let failures = answer.errors.unwrap_or_default();
        let mut results = Vec::with_capacity(asked.len());
        let mut again = Vec::new();
        for (index, asked) in asked {
            let found = values.iter().position(|value| asked.is_named_in(value, &region.name));
            let failure = failures
                .iter()
                .find(|failure| failure.secret_id.as_deref().is_some_and(|id| id == asked.id_in(&region.name)));
            match (found, failure) {
                (Some(position), _) => match self.taken(asked, values.swap_remove(position).into()) {
                    Ok(value) => results.push((index, Ok(value))),
                    // The batch has no stage in its request: what came may be another version than the current one.
                    Err(_) => again.push((index, asked)),
                },
                (None, Some(failure)) => {
                    let code = failure.error_code.as_deref().unwrap_or_default();
                    let error = from_code(code, &asked.reading(), codes);
                    results.push((index, Err(self.confirmed(region, asked, error).await)));
                }
                (None, None) => again.push((index, asked)),
            }
        }
        results.extend(self.read_singly(region, again).await);
        results
    }

    /// Batches need a right of their own (`secretsmanager:BatchGetSecretValue`).
    fn give_up_batches(&self) {
        if !self.no_batches.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                store = self.store,
                "secretsmanager:BatchGetSecretValue is denied: each secret is read by itself from now on"
            );
        }
    }

    async fn read_one(&self, region: &Region, asked: &Asked) -> Result<Versioned, Error> {
        let tried = asked.reading();
        let call = || {
            let call = region.client.get_secret_value().secret_id(asked.id_in(&region.name));
            let call = match &asked.version {
                Wanted::Stage(stage) => call.version_stage(stage),
                Wanted::Id(id) => call.version_id(id),
            };
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        match self.login.call(call).await {
            Ok(answer) => self.taken(
                asked,
                Answer {
                    string: answer.secret_string,
                    binary: answer.secret_binary.map(aws_sdk_secretsmanager::primitives::Blob::into_inner),
                    version: answer.version_id,
                    stages: answer.version_stages.unwrap_or_default(),
                },
            ),
            Err(error) => Err(self.confirmed(region, asked, error).await),
        }
    }

    /// The value in an answer, if it is of the version that was asked for.
    fn taken(&self, asked: &Asked, answer: Answer) -> Result<Versioned, Error> {
        let Answer { string, binary, version, stages } = answer;
        let version = version.unwrap_or_default();
        let is_wanted = match &asked.version {
            Wanted::Stage(stage) => stages.contains(stage),
            Wanted::Id(id) => *id == version,
        };
        let nonsense = |what: &str| Error::new(ErrorKind::Unexpected, format!("cannot {}: {what}", asked.reading()));
        if !is_wanted {
            return Err(nonsense("the answer is of another version"));
        }
        let value = match (string, binary) {
            (Some(text), _) => decode(self.encoding, SecretValue::from(text)),
            // Atmos writes texts alone: bytes are what they are.
            (None, Some(bytes)) => SecretValue::new(bytes),
            (None, None) => return Err(nonsense("the answer holds no value")),
        };
        Ok(Versioned { value: Arc::new(value), version })
    }

    /// The same code says that a secret is not there and that its version is not, and another one that it is marked for
    /// deletion and that its state is odd: metadata tell which.
    async fn confirmed(&self, region: &Region, asked: &Asked, error: Error) -> Error {
        let tried = asked.reading();
        match error.kind {
            ErrorKind::NotFound if !asked.is_current() => match self.describe(region, asked, &tried).await {
                Ok(described) if described.pending_deletion => pending(asked),
                Ok(_) => Error::new(ErrorKind::VersionNotFound, format!("cannot {tried}: it has no such version")),
                // The service said that there is nothing; who may not look closer learns no more.
                Err(_) => error,
            },
            ErrorKind::PendingDeletion => match self.describe(region, asked, &tried).await {
                Ok(described) if described.pending_deletion => pending(asked),
                Ok(_) => Error::new(ErrorKind::InvalidConfig, format!("cannot {tried}: its state does not allow it")),
                Err(why) => why,
            },
            _ => error,
        }
    }

    pub(super) async fn describe(&self, region: &Region, asked: &Asked, tried: &str) -> Result<Described, Error> {
        let call = || {
            let call = region.client.describe_secret().secret_id(asked.id_in(&region.name));
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        let answer = self.login.call(call).await?;
        Ok(Described {
            pending_deletion: answer.deleted_date.is_some(),
            stages: answer.version_ids_to_stages.unwrap_or_default(),
            rotation: (answer.rotation_enabled == Some(true)).then(|| Rotation {
                last: answer.last_rotated_date.and_then(timestamp),
                next: answer.next_rotation_date.and_then(timestamp),
                owner: answer.owning_service,
            }),
        })
    }
}

fn timestamp(date: DateTime) -> Option<Timestamp> {
    Timestamp::from_second(date.secs()).ok()
}

fn all_failed(asked: Vec<(usize, &Asked)>, error: &Error) -> Vec<(usize, Result<Versioned, Error>)> {
    asked.into_iter().map(|(index, _)| (index, Err(error.clone()))).collect()
}

/// What a secret within its recovery window is.
pub(super) fn pending(asked: &Asked) -> Error {
    let message = format!(
        "the secret {} is marked for deletion: aws secretsmanager restore-secret brings it back, as does a new value",
        asked.id
    );
    Error::new(ErrorKind::PendingDeletion, message)
}

impl Asked {
    fn is_named_in(&self, value: &SecretValueEntry, region: &str) -> bool {
        let here = Self { id: self.id_in(region), version: Wanted::Stage(CURRENT.to_owned()) };
        here.is_named(value.name.as_deref(), value.arn.as_deref())
    }
}

impl From<SecretValueEntry> for Answer {
    fn from(entry: SecretValueEntry) -> Self {
        Self {
            string: entry.secret_string,
            binary: entry.secret_binary.map(aws_sdk_secretsmanager::primitives::Blob::into_inner),
            version: entry.version_id,
            stages: entry.version_stages.unwrap_or_default(),
        }
    }
}
