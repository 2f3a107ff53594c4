//! AWS Systems Manager Parameter Store.
//!
//! - Parameters are read ten at a time (GetParameters), always decrypted. One that the identity may not read, or whose KMS
//!   key fails, fails the whole call at AWS: then each of the ten is asked by itself, and that one from then on, until it
//!   is answered.
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

mod apart;
mod error;
mod name;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{ParameterStringFilter, ParameterTier, ParameterType, Tag};

use self::apart::Apart;
use self::error::{codes, codes_of_writes};
use self::name::{Asked, is_legal};
use self::read::{distinct, each, is_wrapped};
use super::aws::error::from_sdk;
use super::aws::{Place, check_region};
use super::credentials::Surroundings;
use super::credentials::aws::Login;
use super::encoding::{Style, encode};
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

/// See the module documentation.
pub struct AwsSsm {
    client: Client,
    login: Arc<Login>,
    encoding: Encoding,
    plaintext_allowed: bool,
    kms_key_id: Option<String>,
    tier: Option<SsmTier>,
    tags: BTreeMap<String, String>,
    apart: Apart,
}

/// Connects a store. Asks nothing of it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::AwsSsm, around: &Surroundings) -> Result<AwsSsm, Error> {
    let store::AwsSsm { region, endpoint, kms_key_id, tier, tags, allow_plaintext_source, auth } = spec;
    check_region("awsSsm.region", region)?;
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
        apart: Apart::default(),
    })
}

impl AwsSsm {
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
