//! The SOPS file format, as a library of its own: reading YAML and JSON files that the `sops` command wrote.
//!
//! ```no_run
//! # async fn read(file: &[u8], identity: atmos_secrets::value::SecretValue) -> Result<(), atmos_secrets::sops::Error> {
//! use atmos_secrets::sops::{AgeKeys, Encrypted, Format};
//!
//! let encrypted = Encrypted::parse(Format::Yaml, file)?;
//! let names: Vec<&str> = encrypted.names().collect(); // no key is needed for names
//! let document = encrypted.decrypt(&AgeKeys::parse("my key", &identity)?).await?;
//! let password = document.get("password");
//! # Ok(()) }
//! ```
//!
//! # How a file is read
//! ```text
//! bytes ─ yaml / json ─▶ tree ─ metadata ─▶ Encrypted ─ keys, shamir ─▶ data key ─ decrypt: cipher, rules, mac ─▶ Document
//! ```
//!
//! # What is guaranteed
//! - A [`Document`] exists only if every value opened under its own path and the MAC over all of them is right.
//! - Reading is bounded in time and memory by [`Limits`], whatever the bytes are; nothing panics.
//! - No error text holds a value, a key or a parser's own message.
//! - Values and keys live in memory that is zeroed, but for what parsers hold while they read, and for the digits of numbers
//!   while they are printed.
//!
//! # What the format does not protect
//! Keys, nulls, empty texts, empty maps and lists and comments are in the clear and outside the MAC, which is over the
//! plaintexts one after the other, without keys or bounds. Who can change a file can therefore add `name: ""`, or rename
//! a key whose value is empty or not encrypted, and no reader of SOPS files notices. An encrypted value cannot be changed,
//! moved to another key, removed or added.
//!
//! # Against the reference
//! The reference is `sops` 3.13 (`sops.go`, `aes/cipher.go`, `stores/`), and the tests hold this module against that binary.
//! Stricter than it: a key that stands twice in a map is an error in JSON too, as is text after the object or after an
//! `ENC[…]` value, and an initialisation vector is 32 or 12 bytes long. Wider: keys of YAML maps that are bare numbers, which
//! `sops` refuses to write, are read by their text, and so is a list in which an encrypted comment stands between a comment
//! that marks (`encrypted_comment_regex`) and the value, which `sops` writes but cannot read.

mod cipher;
mod decrypt;
mod document;
mod error;
mod json;
mod keys;
mod limits;
mod mac;
mod metadata;
mod rules;
mod scalar;
mod shamir;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

pub use self::document::Document;
pub use self::error::Error;
pub use self::keys::{AgeKeys, KeySource, MasterKey, MasterKeyKind};
pub use self::limits::Limits;
use self::metadata::Metadata;
use self::tree::Map;

/// The formats of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, also of several documents.
    Yaml,
    /// JSON: one object.
    Json,
}

impl Format {
    /// The format of a file by the end of its name, as `sops` tells them: `.yaml`, `.yml`, `.json`.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        })
    }
}

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
        if bytes.len() > limits.file_bytes {
            return Err(Error::TooLarge { limit: limits.file_bytes, expanded: false });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Error::Unparsable { format, line, problem: "it is not UTF-8 text" }
        })?;
        let mut documents = match format {
            Format::Yaml => yaml::read(text, limits)?,
            Format::Json => vec![json::read(text, limits)?],
        };
        let metadata = Metadata::take_from(&mut documents)?;
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
