//! AWS Systems Manager Parameter Store.
//!
//! - Parameters are read ten at a time (GetParameters), always decrypted. One that the identity may not read, or whose KMS
//!   key fails, fails the whole call at AWS: then each of the ten is asked by itself.
//! - Only parameters of type SecureString are values, and with `allowPlaintextSource` those of type String. What came
//!   undecrypted is never taken for a value.
//! - A version is a number or a label, as a selector of the name (`/app/K:3`).
//! - Probing asks the same without decryption: it needs no right on a KMS key, and what comes of a SecureString is
//!   ciphertext, which is dropped. DescribeParameters would do as well, but only with a right on every parameter.
//! - A write is Atmos's: a SecureString, under the KMS key and in the tier of the Store. AWS takes no tags with an
//!   overwriting write, so a Store with tags tries to create first. There is no write under a condition: a version that is
//!   expected is looked up before.
//! - There is no way back from a deletion.
//!
//! Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>.

mod error;
mod name;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::operation::get_parameters::GetParametersOutput;
use aws_sdk_ssm::types::{Parameter, ParameterStringFilter, ParameterTier, ParameterType, Tag};
use futures::StreamExt as _;

use self::error::{codes, codes_of_writes};
use self::name::{Asked, is_legal};
use super::aws::Place;
use super::aws::error::from_sdk;
use super::credentials::Surroundings;
use super::credentials::aws::Login;
use super::encoding::{Style, decode, encode};
use super::{Backend, Capabilities, DeleteMode, Error, ErrorKind, Key, Precondition, Presence, Versioned};
use crate::api::store::{self, Encoding, SsmTier};
use crate::value::SecretValue;

/// Parameters in one call: the limit of GetParameters.
const BATCH: usize = 10;
/// Calls at the same time: the default quota of GetParameters is 40 a second.
const CONCURRENT_CALLS: usize = 4;
/// The largest value of a parameter in the standard tier, and in the advanced one.
const LARGEST_STANDARD: usize = 4096;
const LARGEST_ADVANCED: usize = 8192;
/// The most entries of one page of DescribeParameters and GetParameterHistory.
const PAGE: i32 = 50;
/// A name that no store has: what is answered tells whether the credentials are good.
const NOBODY: &str = "/atmos-secrets-operator/no-such-parameter";
/// What KMS ciphertext begins with, in base64: the version of its envelope, always the same.
const CIPHERTEXT: &str = "AQICAH";
/// No ciphertext is shorter, as it holds an encrypted data key.
const SHORTEST_CIPHERTEXT: usize = 150;

/// See the module documentation.
pub struct AwsSsm {
    client: Client,
    login: Arc<Login>,
    encoding: Encoding,
    plaintext_allowed: bool,
    kms_key_id: Option<String>,
    tier: Option<SsmTier>,
    tags: BTreeMap<String, String>,
}

type Parameters = BTreeMap<Asked, Result<Parameter, Error>>;

/// Connects a store. Asks nothing of it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::AwsSsm, around: &Surroundings) -> Result<AwsSsm, Error> {
    let store::AwsSsm { region, endpoint, kms_key_id, tier, tags, allow_plaintext_source, auth } = spec;
    let endpoint = endpoint
        .as_deref()
        .map(|text| around.network.custom("awsSsm.endpoint", text))
        .transpose()?
        .map(|url| url.as_str().trim_end_matches('/').to_owned());
    let login = Login::new(auth.as_ref(), region, around).await?;
    let place = Place { region, endpoint: endpoint.as_deref(), network: around.network.client() };
    Ok(AwsSsm {
        client: Client::new(&place.config(Some(login.provider()))),
        login,
        encoding: around.encoding,
        plaintext_allowed: allow_plaintext_source.unwrap_or(false),
        kms_key_id: kms_key_id.clone(),
        tier: *tier,
        tags: tags.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
    })
}

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
    async fn fetch_batch(&self, asked: Vec<Asked>, decrypted: bool) -> Vec<(Asked, Result<Parameter, Error>)> {
        let all: Vec<&Asked> = asked.iter().collect();
        let error = match self.ask(&all, decrypted).await {
            Ok(answer) => return taken(asked, answer),
            Err(error) => error,
        };
        if asked.len() < 2 || !may_be_of_one(error.kind) || !self.login.has_keys().await {
            return asked.into_iter().map(|asked| (asked, Err(error.clone()))).collect();
        }
        let singles = asked.into_iter().map(|asked| async move {
            match self.ask(&[&asked], decrypted).await {
                Ok(answer) => taken(vec![asked], answer),
                Err(error) => vec![(asked, Err(error))],
            }
        });
        let singles = futures::stream::iter(singles.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_CALLS);
        singles.collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    /// Every distinct parameter once, in full batches.
    async fn fetch(&self, asked: &[Asked], decrypted: bool) -> Parameters {
        let batches = batches(asked).into_iter().map(|batch| self.fetch_batch(batch, decrypted));
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

    fn value(&self, asked: &Asked, parameter: &Parameter) -> Result<Versioned, Error> {
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

    /// The text that is stored for a value.
    fn stored(&self, name: &str, value: &SecretValue) -> Result<String, Error> {
        let refused = |kind, why: &str| Err(Error::new(kind, format!("cannot write the parameter {name}: {why}")));
        let stored = encode(self.encoding, Style::Parameter, value);
        let Ok(text) = std::str::from_utf8(stored.expose()) else {
            return refused(ErrorKind::Unsupported, "a parameter holds text, and this value is none");
        };
        let largest = match self.tier {
            Some(SsmTier::Standard) => LARGEST_STANDARD,
            // The account's default may be either; AWS says so if it is the smaller one.
            Some(SsmTier::Advanced | SsmTier::IntelligentTiering) | None => LARGEST_ADVANCED,
        };
        if text.len() > largest {
            return refused(ErrorKind::TooLarge, &format!("a parameter of this tier holds {largest} bytes at most"));
        }
        if text.is_empty() {
            return refused(ErrorKind::Unsupported, "the service holds no empty value but with encoding atmos");
        }
        // PutParameter: "You can't include {{}} or {{ssm:parameter-name}} in a parameter value".
        if text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}")) {
            return refused(ErrorKind::Unsupported, "AWS refuses {{…}} in the value of a parameter");
        }
        if is_wrapped(text) {
            return refused(
                ErrorKind::Unsupported,
                "ciphertext of KMS could not be told from a value that was not decrypted",
            );
        }
        Ok(text.to_owned())
    }

    /// Writes; `is_new`: only if there is no such parameter.
    async fn put(&self, name: &str, text: &str, is_new: bool) -> Result<String, Error> {
        let tried = format!("write the parameter {name}");
        let tags = self.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>().map_err(|_| invalid("a tag has no key"))?;
        let call = || {
            let call = self.client.put_parameter().name(name).value(text).r#type(ParameterType::SecureString);
            let call = call.overwrite(!is_new).set_key_id(self.kms_key_id.clone()).set_tier(self.tier.map(tier));
            let call = call.set_tags((is_new && !tags.is_empty()).then(|| tags.clone()));
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes_of_writes)) }
        };
        match self.login.call(call).await {
            Ok(answer) => Ok(answer.version.to_string()),
            Err(error) if error.kind == ErrorKind::InvalidConfig && text.len() > LARGEST_STANDARD => {
                let message =
                    format!("cannot {tried}: it may be larger than the standard tier takes; set tier: Advanced");
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            Err(error) => Err(error),
        }
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
fn is_wrapped(text: &str) -> bool {
    (text.starts_with(CIPHERTEXT) && text.len() >= SHORTEST_CIPHERTEXT && is_base64(text))
        || text.starts_with("kms:alias/")
        || text.starts_with("kms:arn:")
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

fn tier(tier: SsmTier) -> ParameterTier {
    match tier {
        SsmTier::Standard => ParameterTier::Standard,
        SsmTier::Advanced => ParameterTier::Advanced,
        SsmTier::IntelligentTiering => ParameterTier::IntelligentTiering,
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// The distinct ones among those that can be asked.
fn distinct(asked: &[Result<Asked, Error>]) -> Vec<Asked> {
    asked.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// One answer for each key, in order.
fn each<T>(
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

#[async_trait]
impl Backend for AwsSsm {
    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, delete: true, list: true, versions: true, batch: BATCH }
    }

    async fn read(&self, keys: &[Key]) -> Vec<Result<Versioned, Error>> {
        let asked: Vec<Result<Asked, Error>> = keys.iter().map(Asked::new).collect();
        let found = self.fetch(&distinct(&asked), true).await;
        each(asked, &found, |asked, parameter| self.value(asked, parameter))
    }

    async fn probe(&self, keys: &[Key]) -> Vec<Result<Presence, Error>> {
        let asked: Vec<Result<Asked, Error>> = keys.iter().map(Asked::new).collect();
        let found = self.fetch(&distinct(&asked), false).await;
        each(asked, &found, |_, parameter| Ok(Presence { version: parameter.version.to_string() }))
    }

    async fn write(&self, key: &Key, value: &SecretValue, precondition: Precondition) -> Result<String, Error> {
        let asked = Asked::new(key)?;
        if asked.version.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a version cannot be written: the service makes a new one"));
        }
        let text = self.stored(&asked.name, value)?;
        match precondition {
            Precondition::Absent => self.put(&asked.name, &text, true).await,
            Precondition::None if self.tags.is_empty() => self.put(&asked.name, &text, false).await,
            Precondition::None => match self.put(&asked.name, &text, true).await {
                Err(error) if error.kind == ErrorKind::Conflict => self.put(&asked.name, &text, false).await,
                outcome => outcome,
            },
            Precondition::Version(version) => {
                let found = self.fetch(std::slice::from_ref(&asked), false).await;
                let conflict = || {
                    let message =
                        format!("the parameter {} is not as it was expected: somebody else wrote it", asked.name);
                    Error::new(ErrorKind::Conflict, message)
                };
                match found.get(&asked) {
                    Some(Ok(parameter)) if parameter.version.to_string() == version => {
                        self.put(&asked.name, &text, false).await
                    }
                    Some(Err(error)) if error.kind != ErrorKind::NotFound => Err(error.clone()),
                    Some(_) | None => Err(conflict()),
                }
            }
        }
    }

    async fn delete(&self, key: &Key, _mode: DeleteMode) -> Result<(), Error> {
        let asked = Asked::new(key)?;
        let tried = format!("delete the parameter {}", asked.name);
        let call = || {
            let call = self.client.delete_parameter().name(&asked.name);
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        self.login.call(call).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        if !prefix.chars().all(is_legal) {
            return Ok(Vec::new());
        }
        let filter = ParameterStringFilter::builder().key("Name").option("BeginsWith").values(prefix).build();
        let filter = filter.map_err(|_| invalid("the prefix cannot be a filter"))?;
        let filters = (!prefix.is_empty()).then(|| vec![filter]);
        let (mut names, mut token) = (BTreeSet::new(), None);
        loop {
            let call = || {
                let call = self.client.describe_parameters().max_results(PAGE).set_next_token(token.clone());
                let call = call.set_parameter_filters(filters.clone());
                async move { call.send().await.map_err(|error| from_sdk(&error, "list parameters", codes)) }
            };
            let page = self.login.call(call).await?;
            let found = page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| parameter.name);
            names.extend(found.filter(|name| name.starts_with(prefix)));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(names.into_iter().collect());
            }
        }
    }

    async fn versions(&self, key: &Key) -> Result<Vec<String>, Error> {
        let asked = Asked::new(key)?;
        let tried = format!("list the versions of the parameter {}", asked.name);
        let (mut versions, mut token) = (BTreeSet::new(), None);
        loop {
            let call = || {
                let call = self.client.get_parameter_history().name(&asked.name).max_results(PAGE);
                let call = call.with_decryption(false).set_next_token(token.clone());
                let tried = &tried;
                async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
            };
            let page = self.login.call(call).await?;
            versions.extend(page.parameters.unwrap_or_default().into_iter().map(|parameter| parameter.version));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(versions.into_iter().rev().map(|version| version.to_string()).collect());
            }
        }
    }

    async fn check(&self) -> Result<(), Error> {
        let call = || {
            let call = self.client.get_parameters().names(NOBODY).with_decryption(false);
            async move { call.send().await.map_err(|error| from_sdk(&error, "reach AWS Systems Manager", codes)) }
        };
        match self.login.call(call).await {
            // Who may not read this one was known.
            Err(error) if error.kind == ErrorKind::PermissionDenied => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
