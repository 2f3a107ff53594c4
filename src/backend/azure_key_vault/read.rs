//! Values, and what is known of them without reading.

use azure_security_keyvault_secrets::models::{Secret, SecretAttributes, SecretClientGetSecretOptions};
use futures::TryStreamExt as _;
use jiff::Timestamp;

use super::AzureKeyVault;
use super::error::from_sdk;
use super::name::{Asked, identified};
use crate::backend::encoding::decode;
use crate::backend::{Error, ErrorKind, Presence, Versioned};
use crate::value::SecretValue;

/// A version without its value.
pub(super) struct Known {
    pub(super) id: String,
    created: i64,
    attributes: SecretAttributes,
}

impl AzureKeyVault {
    pub(super) async fn read_one(&self, asked: &Asked) -> Result<Versioned, Error> {
        let tried = asked.reading();
        let options = SecretClientGetSecretOptions {
            secret_version: asked.version.clone(),
            ..SecretClientGetSecretOptions::default()
        };
        let answer = match self.client.get_secret(&asked.name, Some(options)).await {
            Ok(answer) => answer.into_model(),
            Err(error) => Err(error),
        };
        match answer.map_err(|error| from_sdk(&error, &tried)) {
            Ok(secret) => self.taken(asked, secret),
            Err(error) if error.kind == ErrorKind::NotFound => Err(self.missing(asked).await),
            Err(error) => Err(error),
        }
    }

    /// The value in an answer, if it is of the secret and the version that were asked for, and may be used now.
    fn taken(&self, asked: &Asked, secret: Secret) -> Result<Versioned, Error> {
        let Secret { attributes, id, value, .. } = secret;
        let version = match id.as_deref().and_then(identified) {
            Some((name, Some(version)))
                if name.eq_ignore_ascii_case(&asked.name)
                    && asked.version.as_ref().is_none_or(|wanted| wanted == version) =>
            {
                version.to_owned()
            }
            _ => {
                let message = format!("cannot {}: the answer is of something else", asked.reading());
                return Err(Error::new(ErrorKind::Unexpected, message));
            }
        };
        usable(&attributes.unwrap_or_default(), &asked.reading())?;
        // A secret without a value is an empty one, as Atmos has it.
        let value = decode(self.encoding, SecretValue::from(value.unwrap_or_default()));
        Ok(Versioned { value: value.into(), version })
    }

    pub(super) async fn probe_one(&self, asked: &Asked) -> Result<Presence, Error> {
        let tried = format!("look up the secret {}", asked.name);
        let known = self.known_versions(asked, &tried).await?;
        let wanted = |known: &&Known| asked.version.as_ref().is_none_or(|version| *version == known.id);
        match known.iter().find(wanted) {
            Some(Known { id, created: _, attributes }) => {
                usable(attributes, &tried)?;
                Ok(Presence { version: id.clone() })
            }
            None if known.is_empty() => Err(self.missing(&Asked { version: None, ..asked.clone() }).await),
            None => Err(no_such_version(asked)),
        }
    }

    /// The versions of a secret, newest first; none if there is no such secret.
    pub(super) async fn known_versions(&self, asked: &Asked, tried: &str) -> Result<Vec<Known>, Error> {
        let failed = |error: azure_core::Error| from_sdk(&error, tried);
        let mut items = self.client.list_secret_properties_versions(&asked.name, None).map_err(failed)?;
        let mut known = Vec::new();
        loop {
            let item = match items.try_next().await.map_err(failed) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let nonsense = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"));
            let (_, version) = item.id.as_deref().and_then(identified).ok_or_else(nonsense)?;
            let id = version.ok_or_else(nonsense)?.to_owned();
            let attributes = item.attributes.unwrap_or_default();
            let created = attributes.created.map_or(0, azure_core::time::OffsetDateTime::unix_timestamp);
            known.push(Known { id, created, attributes });
        }
        known.sort_by_key(|version| std::cmp::Reverse(version.created));
        Ok(known)
    }

    /// What a secret is that the vault does not find: deleted with a way back, there without this version, or missing.
    pub(super) async fn missing(&self, asked: &Asked) -> Error {
        let Asked { name, version } = asked;
        // The vault said that there is nothing; who may not look closer learns no more.
        if version.is_some()
            && self
                .known_versions(asked, "look")
                .await
                .map_or_else(|error| error.kind == ErrorKind::PermissionDenied, |known| !known.is_empty())
        {
            return no_such_version(asked);
        }
        if self.client.get_deleted_secret(name, None).await.is_ok() {
            let message =
                format!("the secret {name} is deleted: az keyvault secret recover brings it back, as does a new value");
            return Error::new(ErrorKind::PendingDeletion, message);
        }
        Error::new(ErrorKind::NotFound, format!("there is no secret {name} in the vault"))
    }
}

fn no_such_version(Asked { name, version }: &Asked) -> Error {
    let version = version.as_deref().unwrap_or_default();
    Error::new(ErrorKind::VersionNotFound, format!("the secret {name} has no version {version}"))
}

/// Whether a version may be used now, as its owner has it.
fn usable(attributes: &SecretAttributes, tried: &str) -> Result<(), Error> {
    let now = Timestamp::now().as_second();
    let seconds = azure_core::time::OffsetDateTime::unix_timestamp;
    let (from, until) = (attributes.not_before.map(seconds), attributes.expires.map(seconds));
    let at = |second: i64| Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string());
    let why = if attributes.enabled == Some(false) {
        "it is disabled; az keyvault secret set-attributes --enabled true makes it readable".to_owned()
    } else if let Some(from) = from.filter(|from| *from > now) {
        format!("it is not valid before {} (its attribute nbf)", at(from))
    } else if let Some(until) = until.filter(|until| *until <= now) {
        format!("it expired at {} (its attribute exp): write a new value", at(until))
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::PermissionDenied, format!("cannot {tried}: {why}")))
}

#[cfg(test)]
mod tests {
    use azure_core::time::OffsetDateTime;

    use super::*;

    #[test]
    fn a_version_is_used_while_its_owner_lets_it() {
        let at = |offset: i64| OffsetDateTime::from_unix_timestamp(Timestamp::now().as_second() + offset).ok();
        for (enabled, not_before, expires, word) in [
            (None, None, None, None),
            (Some(true), at(-60), at(60), None),
            (Some(false), None, None, Some("disabled")),
            (Some(false), at(60), None, Some("disabled")),
            (Some(true), at(60), at(120), Some("not valid before 2")),
            (Some(true), None, at(-60), Some("expired at 2")),
        ] {
            let attributes = SecretAttributes { enabled, not_before, expires, ..SecretAttributes::default() };
            let judged = usable(&attributes, "read the secret x");
            match word {
                None => assert_eq!(judged, Ok(())),
                Some(word) => {
                    assert!(judged.is_err_and(|error| {
                        error.kind == ErrorKind::PermissionDenied && error.message.contains(word)
                    }));
                }
            }
        }
    }
}
