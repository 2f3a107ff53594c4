//! An encrypted file that is open for changes: values, the data key, the recipients.

use jiff::Timestamp;

use super::block;
use super::cipher::Cipher;
use super::decrypt;
use super::document::Document;
use super::encrypt::{Reuse, encrypt};
use super::error::Error;
use super::format::Format;
use super::keys::{self, KeyChanges, KeyGroups, KeySource, KeyUpdate, KeyWrapper, Recipient};
use super::limits::Limits;
use super::metadata::{Listed, Metadata};
use super::path::Path;
use super::plain::{Plain, Value, new_data_key, time};
use super::read;
use super::tree::{self, Entry, Map};
use super::write::{self, Base};
use crate::value::SecretValue;

/// An encrypted file, decrypted, that can be changed and written back.
///
/// What does not change keeps its initialisation vector, its ciphertext and its place in the text, so that a diff shows the
/// lines of the changed values, `lastmodified` and `mac`. Comments stay. Master keys and fields of the metadata that this
/// library does not know stay as they are.
///
/// Where a change cannot be made in place (an INI file gains or loses a key, an alias stands for what changes, several things
/// share a line), the file is written anew: values and comments are the same, blank lines and quotes may differ, and aliases
/// are written out.
pub struct Editor {
    source: String,
    pub(super) plain: Plain,
    metadata: Metadata,
    data_key: SecretValue,
    reuse: Reuse,
    changed: bool,
}

impl Editor {
    /// Opens a file, as [`Encrypted::decrypt`](super::Encrypted::decrypt) does.
    ///
    /// # Errors
    /// As [`Encrypted::parse`](super::Encrypted::parse) and [`Encrypted::decrypt`](super::Encrypted::decrypt).
    pub async fn open(format: Format, bytes: &[u8], keys: &dyn KeySource) -> Result<Self, Error> {
        let mut documents = read::documents(format, bytes, &Limits::default())?;
        let metadata = Metadata::take_from(&mut documents, format)?;
        let data_key = keys::data_key(&metadata, keys).await?;
        let documents = decrypt::decrypt(&documents, &metadata, &data_key)?;
        Ok(Self {
            source: String::from_utf8_lossy(bytes).into_owned(),
            plain: Plain { format, documents },
            metadata,
            data_key,
            reuse: Reuse::Sealed,
            changed: false,
        })
    }

    /// The values as they are now.
    #[must_use]
    pub fn document(&self) -> Document {
        self.plain.document()
    }

    /// Whether there is a value, or null, at `path` in the first document.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        self.plain.contains(path)
    }

    /// Whether the file's rule has the value at `path` encrypted, as far as keys say it. Rules for comments depend on what
    /// stands around the value: none.
    #[must_use]
    pub fn encrypts(&self, path: &Path) -> Option<bool> {
        self.metadata.rule.encrypts(path)
    }

    /// Puts a value into the first document. See [`Plain::set`].
    ///
    /// # Errors
    /// As [`Plain::set`].
    pub fn set(&mut self, path: &Path, value: Value) -> Result<bool, Error> {
        let changed = self.plain.set(path, value)?;
        self.changed |= changed;
        Ok(changed)
    }

    /// Removes a value from the first document. See [`Plain::unset`].
    pub fn unset(&mut self, path: &Path) -> bool {
        let changed = self.plain.unset(path);
        self.changed |= changed;
        changed
    }

    /// Whether no name is left in any document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.documents.iter().flatten().all(|entry| matches!(entry, Entry::Comment(_)))
    }

    /// The decrypted file, as an editor shows it.
    ///
    /// # Errors
    /// As [`Plain::to_file`].
    pub fn to_plain_file(&self) -> Result<SecretValue, Error> {
        self.plain.to_file()
    }

    /// Takes a new data key: every value is sealed anew, and every master key gets the new key. Who was removed before and
    /// kept the old one cannot open what is written from now on.
    ///
    /// # Errors
    /// [`Error::BadRecipient`] where the file names a recipient that `wrapper` does not serve, such as a PGP key: remove it
    /// first. Nothing has changed then.
    pub async fn rotate(&mut self, wrapper: &dyn KeyWrapper, now: Timestamp) -> Result<(), Error> {
        if block::has_unknown_keys(&self.metadata.block) {
            return Err(Error::BadKeyGroups {
                problem: "the file lists master keys of a kind that is not known, and a new data key cannot be encrypted to them",
            });
        }
        let data_key = new_data_key()?;
        let groups = |listed: &Vec<Listed>| {
            let entry = |listed: &Listed| (listed.key.recipient.clone(), Some(tree::copy(&listed.entry)));
            listed.iter().map(entry).collect::<Vec<(Recipient, Option<Map>)>>()
        };
        let groups = self.metadata.groups.iter().map(groups).collect();
        let wrapped = keys::wrap(groups, self.metadata.threshold, &data_key, wrapper, &time(now)).await?;
        replace_groups(&mut self.metadata, wrapped)?;
        self.data_key = data_key;
        self.reuse = Reuse::Nothing;
        self.changed = true;
        Ok(())
    }

    /// Adds and removes recipients. The data key stays: see [`KeyChanges`] for what that means. None where nothing changes.
    ///
    /// With one key group, who stays keeps the entry as it is, whatever kind of key it is. With several, every recipient
    /// gets a new share.
    ///
    /// # Errors
    /// [`Error::BadKeyGroups`], [`Error::BadRecipient`], or what the wrapper reports. Nothing has changed then.
    pub async fn update_keys(
        &mut self,
        groups: &KeyGroups,
        wrapper: &dyn KeyWrapper,
        now: Timestamp,
    ) -> Result<Option<KeyChanges>, Error> {
        let changes = change_keys(&mut self.metadata, &self.data_key, groups, wrapper, now).await?;
        self.changed |= changes.is_some();
        Ok(changes)
    }

    /// The file as it is to be written; the bytes that were opened where nothing changed. `now` is what the file says about
    /// when it was written.
    ///
    /// # Errors
    /// [`Error::Unwritable`] where the format cannot hold a value, [`Error::TooLarge`] and its like.
    pub fn save(&self, now: Timestamp) -> Result<Vec<u8>, Error> {
        if !self.changed {
            return Ok(self.source.clone().into_bytes());
        }
        let Metadata { rule, mac_only_encrypted, block, groups: _, threshold: _, mac: _, last_modified: _ } =
            &self.metadata;
        let cipher = Cipher::of(&self.data_key)?;
        let sealed = encrypt(&self.plain.documents, rule, *mac_only_encrypted, &cipher, self.reuse)?;
        let now = time(now);
        let mut block = tree::copy(block);
        block::set_mac(&mut block, &now, cipher.seal(&sealed.mac, &now)?);
        block::complete(&mut block);
        write::encrypted(self.plain.format, Base::Old(&self.source), sealed.documents, &block, &Limits::default())
    }
}

/// Adds and removes recipients of a file without decrypting its values: `lastmodified` and the MAC stay, as with
/// `sops updatekeys`. None where nothing changes.
///
/// # Errors
/// As [`Editor::update_keys`], and what opening the data key reports.
pub async fn update_keys(
    format: Format,
    bytes: &[u8],
    keys: &dyn KeySource,
    groups: &KeyGroups,
    wrapper: &dyn KeyWrapper,
    now: Timestamp,
) -> Result<Option<(Vec<u8>, KeyChanges)>, Error> {
    let limits = Limits::default();
    let mut documents = read::documents(format, bytes, &limits)?;
    let mut metadata = Metadata::take_from(&mut documents, format)?;
    let data_key = keys::data_key(&metadata, keys).await?;
    // A key of another length would be handed to the new recipients as it is.
    Cipher::of(&data_key)?;
    let Some(changes) = change_keys(&mut metadata, &data_key, groups, wrapper, now).await? else { return Ok(None) };
    block::complete(&mut metadata.block);
    let source = String::from_utf8_lossy(bytes);
    let file = write::encrypted(format, Base::Old(&source), documents, &metadata.block, &limits)?;
    Ok(Some((file, changes)))
}

async fn change_keys(
    metadata: &mut Metadata,
    data_key: &SecretValue,
    groups: &KeyGroups,
    wrapper: &dyn KeyWrapper,
    now: Timestamp,
) -> Result<Option<KeyChanges>, Error> {
    let update = KeyUpdate { old: &metadata.groups, old_threshold: metadata.threshold, new: groups };
    let Some(changes) = update.changes()? else { return Ok(None) };
    let wrapped = update.wrap(data_key, wrapper, &time(now)).await?;
    replace_groups(metadata, wrapped)?;
    Ok(Some(changes))
}

/// The metadata with other master keys, read again from the block that will be written.
fn replace_groups(metadata: &mut Metadata, wrapped: keys::WrappedGroups) -> Result<(), Error> {
    let mut block = tree::copy(&metadata.block);
    block::set_groups(&mut block, wrapped)?;
    *metadata = Metadata::from_block(block)?;
    Ok(())
}
