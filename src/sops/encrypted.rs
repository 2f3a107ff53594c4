//! A file that was read but not decrypted.

use super::document::{self, Document};
use super::error::Error;
use super::format::Format;
use super::keys::{self, KeyGroups, KeySource};
use super::limits::Limits;
use super::metadata::Metadata;
use super::tree::Map;
use super::{decrypt, read};

/// A file that was read but not decrypted: keys, encrypted values and metadata.
pub struct Encrypted {
    documents: Vec<Map>,
    metadata: Metadata,
}

impl Encrypted {
    /// Reads a file within the default [`Limits`]. Needs no key.
    ///
    /// # Errors
    /// [`Error::NotEncrypted`] for a plaintext file; see [`Error`] for bytes that are no file of the format, files that
    /// pass a limit, and metadata that is not as it should be.
    pub fn parse(format: Format, bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_within(format, bytes, &Limits::default())
    }

    /// Reads a file within limits of one's own.
    ///
    /// # Errors
    /// As [`Encrypted::parse`].
    pub fn parse_within(format: Format, bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut documents = read::documents(format, bytes, limits)?;
        let metadata = Metadata::take_from(&mut documents, format)?;
        Ok(Self { documents, metadata })
    }

    /// The top-level keys of the first document whose value is not null, in order, without `sops`. What [`Document::names`]
    /// says after decryption, but not authenticated.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.documents.first().into_iter().flat_map(document::names)
    }

    /// Who can open the file, as it says: age recipients, ARNs, key URLs, fingerprints; each once. Not authenticated.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        self.metadata.recipients()
    }

    /// Who can open the file and how many groups that takes, as an update of its recipients wants it. Not authenticated.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroups {
        let (groups, threshold) = (&self.metadata.groups, self.metadata.threshold);
        let recipients = groups.iter().map(|group| group.iter().map(|listed| listed.key.recipient.clone()).collect());
        KeyGroups { groups: recipients.collect(), threshold: (groups.len() > 1).then_some(threshold) }
    }

    /// Opens the data key with `keys`, decrypts every value and checks the MAC.
    ///
    /// Cancel safe. Apart from what `keys` does this is work for the processor, a few milliseconds for a thousand values.
    ///
    /// # Errors
    /// [`Error::NoMatchingKey`], [`Error::DamagedDataKey`], [`Error::DecryptFailed`], [`Error::MacMissing`],
    /// [`Error::MacMismatch`], or what the key source reports.
    pub async fn decrypt(&self, keys: &dyn KeySource) -> Result<Document, Error> {
        let data_key = keys::data_key(&self.metadata, keys).await?;
        let mut documents = decrypt::decrypt(&self.documents, &self.metadata, &data_key)?.into_iter();
        Ok(Document::new(documents.next().unwrap_or_default()))
    }
}
