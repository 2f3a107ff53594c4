//! Parameters in batches of ten, each failure kept to its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_ssm::operation::get_parameters::GetParametersOutput;
use aws_sdk_ssm::types::{Parameter, ParameterType};
use futures::StreamExt as _;

use super::error::codes;
use super::name::Asked;
use super::{AwsSsm, BATCH, CONCURRENT_CALLS};
use crate::backend::aws::error::from_sdk;
use crate::backend::encoding::decode;
use crate::backend::{Error, ErrorKind, Versioned};
use crate::value::SecretValue;

/// What KMS ciphertext begins with, in base64: the version of its envelope, always the same.
const CIPHERTEXT: &str = "AQICAH";
/// No ciphertext is shorter, as it holds an encrypted data key.
const SHORTEST_CIPHERTEXT: usize = 150;

pub(super) type Parameters = BTreeMap<Asked, Result<Parameter, Error>>;

/// Whether a failure of one parameter fails the whole call, so that the others must be asked without it.
fn may_be_of_one(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::Undecodable | ErrorKind::InvalidConfig)
}

impl AwsSsm {
    async fn ask(&self, asked: &[&Asked], decrypted: bool) -> Result<GetParametersOutput, Error> {
        let names: Vec<String> = asked.iter().map(|asked| asked.selector()).collect();
        let tried = match asked {
            [one] => one.reading(),
            _ => "read parameters".to_owned(),
        };
        let call = || {
            let call = self.client.get_parameters().set_names(Some(names.clone())).with_decryption(decrypted);
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        self.login.call(call).await
    }

    /// Up to ten parameters, no two of one name.
    async fn fetch_batch(&self, mut asked: Vec<Asked>, decrypted: bool) -> Vec<(Asked, Result<Parameter, Error>)> {
        if asked.len() == 1
            && let Some(one) = asked.pop()
        {
            return self.fetch_one(one, decrypted).await;
        }
        let all: Vec<&Asked> = asked.iter().collect();
        let error = match self.ask(&all, decrypted).await {
            Ok(answer) => return taken(asked, answer),
            Err(error) => error,
        };
        if !may_be_of_one(error.kind) || !self.login.has_keys().await {
            return asked.into_iter().map(|asked| (asked, Err(error.clone()))).collect();
        }
        let singles = asked.into_iter().map(|asked| self.fetch_one(asked, decrypted));
        let singles = futures::stream::iter(singles.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_CALLS);
        singles.collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    async fn fetch_one(&self, asked: Asked, decrypted: bool) -> Vec<(Asked, Result<Parameter, Error>)> {
        let answer = self.ask(&[&asked], decrypted).await;
        let fails_others = answer.as_ref().is_err_and(|error| may_be_of_one(error.kind));
        if fails_others || answer.is_ok() {
            self.apart.note(&asked.name, decrypted, fails_others);
        }
        match answer {
            Ok(answer) => taken(vec![asked], answer),
            Err(error) => vec![(asked, Err(error))],
        }
    }

    /// Every distinct parameter once, in full batches; those that failed others before each in one of its own.
    pub(super) async fn fetch(&self, asked: &[Asked], decrypted: bool) -> Parameters {
        let is_apart = |asked: &Asked| self.apart.holds(&asked.name, decrypted);
        let (apart, together): (Vec<Asked>, Vec<Asked>) = asked.iter().cloned().partition(is_apart);
        let batches = batches(&together).into_iter().chain(apart.into_iter().map(|asked| vec![asked]));
        let batches = batches.map(|batch| self.fetch_batch(batch, decrypted));
        let batches = futures::stream::iter(batches.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_CALLS);
        let mut found: Parameters = batches.collect::<Vec<_>>().await.into_iter().flatten().collect();
        self.tell_missing_versions(&mut found).await;
        found
    }

    /// GetParameters says of a name and of a version in one word that it is not there; the names alone tell which.
    async fn tell_missing_versions(&self, found: &mut Parameters) {
        let is_missing =
            |result: &Result<Parameter, Error>| result.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound);
        let missing = found.iter().filter(|(asked, result)| asked.version.is_some() && is_missing(result));
        let names: Vec<Asked> = missing
            .map(|(asked, _)| Asked { name: asked.name.clone(), version: None })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        for batch in batches(&names) {
            for (name, result) in self.fetch_batch(batch, false).await {
                if result.is_err() {
                    continue;
                }
                for (asked, result) in found.iter_mut().filter(|(asked, _)| asked.name == name.name) {
                    if asked.version.is_some() && is_missing(result) {
                        let message = format!("cannot {}: it has no such version or label", asked.reading());
                        *result = Err(Error::new(ErrorKind::VersionNotFound, message));
                    }
                }
            }
        }
    }

    pub(super) fn value(&self, asked: &Asked, parameter: &Parameter) -> Result<Versioned, Error> {
        let refused = |kind, why: &str| Err(Error::new(kind, format!("cannot {}: {why}", asked.reading())));
        match &parameter.r#type {
            Some(ParameterType::SecureString) => {}
            Some(ParameterType::String) if self.plaintext_allowed => {}
            Some(ParameterType::String) => {
                return refused(
                    ErrorKind::NotEncrypted,
                    "it is of type String; make it a SecureString, or set allowPlaintextSource",
                );
            }
            Some(_) | None => return refused(ErrorKind::NotEncrypted, "it is not of type SecureString"),
        }
        let Some(text) = &parameter.value else {
            return refused(ErrorKind::Unexpected, "the answer holds no value");
        };
        if is_wrapped(text) {
            return refused(ErrorKind::Undecodable, "what came is ciphertext of KMS and not its content");
        }
        let value = decode(self.encoding, SecretValue::from(text.clone()));
        Ok(Versioned { value: Arc::new(value), version: parameter.version.to_string() })
    }
}

/// One result for each parameter that was asked for.
fn taken(asked: Vec<Asked>, answer: GetParametersOutput) -> Vec<(Asked, Result<Parameter, Error>)> {
    let mut found: BTreeMap<String, Parameter> = BTreeMap::new();
    for mut parameter in answer.parameters.unwrap_or_default() {
        if let Some(name) = parameter.name.take() {
            found.insert(name, parameter);
        }
    }
    let missing: BTreeSet<String> = answer.invalid_parameters.unwrap_or_default().into_iter().collect();
    let one = |asked: Asked| {
        let failed = |kind, why: &str| Err(Error::new(kind, format!("cannot {}: {why}", asked.reading())));
        let number = asked.version.as_deref().and_then(|version| version.parse::<i64>().ok());
        let result = match found.remove(&asked.name) {
            Some(parameter) if number.is_some_and(|number| number != parameter.version) => {
                failed(ErrorKind::Unexpected, "the answer is of another version")
            }
            Some(parameter) => Ok(parameter),
            None if missing.contains(&asked.selector()) => failed(ErrorKind::NotFound, "there is no such parameter"),
            None => failed(ErrorKind::Unexpected, "the answer does not speak of it"),
        };
        (asked, result)
    };
    asked.into_iter().map(one).collect()
}

/// Full batches in which no name comes twice: answers name the parameter and not the version that was asked for.
fn batches(asked: &[Asked]) -> Vec<Vec<Asked>> {
    let mut layers: Vec<Vec<Asked>> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for asked in asked {
        let layer = seen.entry(&asked.name).or_default();
        match layers.get_mut(*layer) {
            Some(layer) => layer.push(asked.clone()),
            None => layers.push(vec![asked.clone()]),
        }
        *layer += 1;
    }
    layers.iter().flat_map(|layer| layer.chunks(BATCH)).map(<[_]>::to_vec).collect()
}

/// Whether a text is a SecureString that was not decrypted: ciphertext of KMS, or what emulators put in its place.
pub(super) fn is_wrapped(text: &str) -> bool {
    (text.starts_with(CIPHERTEXT) && text.len() >= SHORTEST_CIPHERTEXT && is_base64(text))
        || text.starts_with("kms:alias/")
        || text.starts_with("kms:arn:")
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

/// The distinct ones among those that can be asked.
pub(super) fn distinct(asked: &[Result<Asked, Error>]) -> Vec<Asked> {
    asked.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// One answer for each key, in order.
pub(super) fn each<T>(
    asked: Vec<Result<Asked, Error>>,
    found: &Parameters,
    take: impl Fn(&Asked, &Parameter) -> Result<T, Error>,
) -> Vec<Result<T, Error>> {
    let answer = |asked: Result<Asked, Error>| {
        let asked = asked?;
        match found.get(&asked) {
            Some(Ok(parameter)) => take(&asked, parameter),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::new(ErrorKind::Unexpected, format!("cannot {}: no answer", asked.reading()))),
        }
    };
    asked.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
