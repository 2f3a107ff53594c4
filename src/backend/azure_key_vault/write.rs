//! New values, and deletion with and without a way back.

use std::time::Duration;

use azure_security_keyvault_secrets::models::SetSecretParameters;
use tokio::time::Instant;

use super::AzureKeyVault;
use super::error::{from_sdk, is_unfinished};
use super::name::{Asked, identified};
use crate::backend::encoding::{Style, encode};
use crate::backend::{Error, ErrorKind, Precondition};
use crate::value::SecretValue;

/// The largest value, as it is stored: 25 kB (<https://learn.microsoft.com/azure/key-vault/secrets/about-secrets>).
const LARGEST: usize = 25 << 10;
/// Between the first two tries of what the vault has not finished; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl AzureKeyVault {
    /// What is stored for a value.
    pub(super) fn stored(&self, asked: &Asked, value: &SecretValue) -> Result<String, Error> {
        let stored = encode(self.encoding, Style::Literal, value);
        let refused = |kind, why: String| Error::new(kind, format!("cannot write the secret {}: {why}", asked.name));
        if stored.expose().len() > LARGEST {
            return Err(refused(ErrorKind::TooLarge, format!("Key Vault holds {LARGEST} bytes at most")));
        }
        let text = std::str::from_utf8(stored.expose());
        let no_text =
            |_| refused(ErrorKind::Unsupported, "Key Vault holds texts: encode it, such as by base64".to_owned());
        text.map(str::to_owned).map_err(no_text)
    }

    /// Looks whether a precondition holds.
    pub(super) async fn expect(&self, asked: &Asked, precondition: &Precondition) -> Result<(), Error> {
        if *precondition == Precondition::None {
            return Ok(());
        }
        let tried = format!("write the secret {}: cannot look at its versions", asked.name);
        let known = self.known_versions(asked, &tried).await?;
        let current = known.first().map(|version| version.id.as_str());
        let why = match (precondition, current) {
            (Precondition::None, _) | (Precondition::Absent, None) => return Ok(()),
            (Precondition::Version(wanted), Some(current)) if wanted == current => return Ok(()),
            (Precondition::Absent, Some(_)) => "it has a value",
            (Precondition::Version(_), Some(_)) => "it has another version by now",
            (Precondition::Version(_), None) => "it has no value any more",
        };
        Err(Error::new(ErrorKind::Conflict, format!("cannot write the secret {}: {why}", asked.name)))
    }

    /// Writes, after recovering a deleted secret that holds the name; waits for that until `end`.
    pub(super) async fn put(&self, asked: &Asked, text: String, end: Instant) -> Result<String, Error> {
        let tried = format!("write the secret {}", asked.name);
        let write = || self.set(asked, text.clone());
        match write().await {
            Err(error) if from_sdk(&error, &tried).kind == ErrorKind::PendingDeletion => self.recover(asked).await?,
            Err(error) if is_unfinished(&error) => {}
            written => return written.map_err(|error| from_sdk(&error, &tried)),
        }
        patiently(end, write, is_unfinished).await.map_err(|error| from_sdk(&error, &tried))
    }

    async fn set(&self, asked: &Asked, text: String) -> azure_core::Result<String> {
        let parameters = SetSecretParameters { value: Some(text), ..SetSecretParameters::default() };
        let written = self.client.set_secret(&asked.name, parameters.try_into()?, None).await?.into_model()?;
        let version = written.id.as_deref().and_then(identified).and_then(|(_, version)| version);
        Ok(version.unwrap_or_default().to_owned())
    }

    async fn recover(&self, asked: &Asked) -> Result<(), Error> {
        let tried = format!("recover the deleted secret {}", asked.name);
        let recovered = self.client.recover_deleted_secret(&asked.name, None).await;
        match recovered.map_err(|error| (is_unfinished(&error), from_sdk(&error, &tried))) {
            Ok(_) | Err((true, _)) => Ok(()),
            // Somebody purged or recovered it meanwhile: the write will tell.
            Err((false, error)) if error.kind == ErrorKind::NotFound => Ok(()),
            Err((false, error)) if error.kind == ErrorKind::PermissionDenied => {
                let message = format!(
                    "the name {} is held by a deleted secret, and this login may not recover it: az keyvault secret \
                     recover, or purge",
                    asked.name
                );
                Err(Error::new(ErrorKind::PendingDeletion, message))
            }
            Err((false, error)) => Err(error),
        }
    }

    pub(super) async fn delete_with_a_way_back(&self, asked: &Asked) -> Result<(), Error> {
        let tried = format!("delete the secret {}", asked.name);
        match self.client.delete_secret(&asked.name, None).await.map_err(|error| from_sdk(&error, &tried)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Err(self.missing(asked).await),
            Err(error) => Err(error),
        }
    }

    /// Deletes, and purges what is deleted by then or was before; waits for the one to be done until `end`.
    pub(super) async fn purge(&self, asked: &Asked, end: Instant) -> Result<(), Error> {
        let tried = format!("purge the secret {}", asked.name);
        match self.delete_with_a_way_back(asked).await {
            // What is not among the deleted ones yet cannot be purged.
            Ok(()) => {
                let not_yet = |error: &azure_core::Error| from_sdk(error, &tried).kind == ErrorKind::NotFound;
                match patiently(end, || self.look_among_deleted(asked), not_yet).await {
                    Err(error) if not_yet(&error) => {
                        let message = format!("cannot {tried}: it is being deleted; purge it in a minute");
                        return Err(Error::new(ErrorKind::Unavailable, message));
                    }
                    // Who may purge need not be allowed to look.
                    Ok(()) | Err(_) => {}
                }
            }
            Err(error) if error.kind == ErrorKind::PendingDeletion => {}
            Err(error) => return Err(error),
        }
        let purged =
            patiently(end, || self.purge_deleted(asked), is_unfinished).await.map_err(|error| from_sdk(&error, &tried));
        match purged {
            // Somebody else was first.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                let message = format!(
                    "cannot {tried}: this login may not purge, or the vault protects what is deleted; it is deleted, and \
                     can be recovered"
                );
                Err(Error::new(ErrorKind::PermissionDenied, message))
            }
            other => other,
        }
    }

    async fn look_among_deleted(&self, asked: &Asked) -> azure_core::Result<()> {
        self.client.get_deleted_secret(&asked.name, None).await.map(drop)
    }

    async fn purge_deleted(&self, asked: &Asked) -> azure_core::Result<()> {
        self.client.purge_deleted_secret(&asked.name, None).await.map(drop)
    }
}

/// Makes a call again while the vault says that it has not finished what it began: deletion and recovery take it some
/// seconds. Not after `end`, so that what it said last is told before the deadline of the whole.
async fn patiently<T, F: Future<Output = azure_core::Result<T>>>(
    end: Instant,
    call: impl Fn() -> F,
    not_yet: impl Fn(&azure_core::Error) -> bool,
) -> azure_core::Result<T> {
    let mut wait = FIRST_WAIT;
    loop {
        let outcome = call().await;
        let is_over = Instant::now() + wait >= end;
        if is_over || !outcome.as_ref().is_err_and(&not_yet) {
            return outcome;
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
}
