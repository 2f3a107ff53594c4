//! Who can open the files of a store: recipients added and removed, data keys made anew, in every file.
//!
//! All is tried before anything is written, so that a file that cannot be opened leaves the others as they were.

use jiff::Timestamp;

use super::error::from_sops;
use super::source::FileChange;
use super::write::{Attempt, NewFiles, TRIES, Writer, pause};
use super::{Found, Snapshot, Sops};
use crate::backend::{Error, ErrorKind};
use crate::sops::{self, Editor, Encrypted, Format, KeyChanges, KeyGroups, Recipient};
use crate::value::SecretValue;

/// What changes in every file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekey {
    /// Who can open it.
    pub recipients: Recipients,
    /// Whether it takes a new data key.
    pub rotate: bool,
}

/// Who can open a file from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Those who can now, but for some.
    Changed(Changes),
    /// Those of a new file of that name.
    ByRules,
}

/// Who comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Who can open the files, too.
    pub add: Vec<Recipient>,
    /// Who can do so no more, as files name them, or as one would add them.
    pub remove: Vec<String>,
    /// The key group into which they come, counted from 1. None: the only one.
    pub group: Option<usize>,
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// How messages name the file.
    pub file: String,
    /// Who was added.
    pub added: Vec<Recipient>,
    /// Who was removed.
    pub removed: Vec<Recipient>,
    /// Whether it has other key groups, or another number of them is needed.
    pub regrouped: bool,
    /// Whether it has another data key.
    pub rotated: bool,
}

impl Rekeyed {
    /// Whether the file is another one now.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.rotated || self.regrouped || !self.added.is_empty() || !self.removed.is_empty()
    }
}

impl Sops {
    /// Changes every SOPS file, one after the other; other files of the objects are passed over.
    ///
    /// # Errors
    /// Nothing is written if one file cannot be read, opened or changed. A failed write leaves those before it done, and
    /// says so by what `done` was told.
    pub async fn rekey(&self, rekey: &Rekey, mut done: impl FnMut(Rekeyed)) -> Result<(), Error> {
        let writer = self.writer()?;
        let snapshot = Snapshot::take(&*self.source).await;
        if let Some(error) = snapshot.first_error() {
            return Err(error.clone());
        }
        let mut files = Vec::new();
        for file in snapshot.names() {
            if self.is_sops_file(&snapshot, file)? {
                snapshot.refuse_managed(snapshot.find(file)?.place, writer)?;
                self.rekeyed(&snapshot, file, rekey, writer).await?;
                files.push(file.to_owned());
            }
        }
        for file in files {
            done(self.rekey_file(&file, rekey, writer).await?);
        }
        Ok(())
    }

    /// Whether a file is one of SOPS. One whose name says that it is encrypted must be.
    fn is_sops_file(&self, snapshot: &Snapshot, file: &str) -> Result<bool, Error> {
        let by_name = Format::from_file_name(file);
        let Found { place: _, object, bytes } = snapshot.find(file)?;
        match Encrypted::parse(by_name.unwrap_or(Format::Binary), bytes.expose()) {
            // Others of such a name are copies of files that have one.
            Ok(encrypted) => Ok(by_name.is_some() || encrypted.names().eq([super::BINARY_NAME])),
            // Anything may be in a file whose name says nothing.
            Err(_) if by_name.is_none() => Ok(false),
            Err(sops::Error::NotEncrypted) if !file.contains(".enc.") => Ok(false),
            Err(error) => Err(from_sops(&error, &format!("{file} of {object}"))),
        }
    }

    async fn rekey_file(&self, file: &str, rekey: &Rekey, writer: &Writer) -> Result<Rekeyed, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            // Read again each time: files of one object change its state for each other.
            let snapshot = Snapshot::take(&*self.source).await;
            let Found { place, object: _, bytes } = snapshot.find(file)?;
            let (after, rekeyed) = self.rekeyed(&snapshot, file, rekey, writer).await?;
            let Some(after) = after else { return Ok(rekeyed) };
            let revision = snapshot.objects.get(place).map(|object| object.revision.as_str()).unwrap_or_default();
            let change = FileChange { file, place, revision, before: Some(bytes), after: &after };
            match self.put(&change).await? {
                Attempt::Done => return Ok(rekeyed),
                Attempt::Raced(error) if tries >= TRIES => return Err(error),
                Attempt::Raced(_) => pause().await,
            }
        }
    }

    /// The file as it should be; none where it is so already.
    async fn rekeyed(
        &self,
        snapshot: &Snapshot,
        file: &str,
        rekey: &Rekey,
        writer: &Writer,
    ) -> Result<(Option<SecretValue>, Rekeyed), Error> {
        let Found { place: _, object, bytes } = snapshot.find(file)?;
        let label = super::label(file, object);
        let in_words = |error| from_sops(&error, &label);
        let format = Format::of_file(file);
        let encrypted = Encrypted::parse(format, bytes.expose()).map_err(in_words)?;
        let groups = match (&rekey.recipients, &writer.new_files) {
            (Recipients::Changed(changes), _) => changed(encrypted.key_groups(), changes, &label)?,
            (Recipients::ByRules, NewFiles::ByRules(rules)) => rules(file)?.keys,
            (Recipients::ByRules, NewFiles::For(_)) => {
                return Err(Error::new(ErrorKind::Unsupported, format!("there are no rules for {label}")));
            }
        };
        let names = groups.groups.iter().flatten().map(ToString::to_string);
        if let Some(stranger) = names.into_iter().find(|name| !self.is_allowed(name)) {
            let stranger: String = stranger.escape_debug().take(96).collect();
            let message = format!("{label} would be encrypted to {stranger}, which is not in allowedRecipients");
            return Err(Error::new(ErrorKind::PermissionDenied, message));
        }
        let now = Timestamp::now();
        let (after, changes) = if rekey.rotate {
            let mut editor = Editor::open(format, bytes.expose(), &*self.keys).await.map_err(in_words)?;
            let changes = editor.update_keys(&groups, &*writer.wrapper, now).await.map_err(in_words)?;
            editor.rotate(&*writer.wrapper, now).await.map_err(in_words)?;
            (Some(editor.save(now).map_err(in_words)?), changes)
        } else {
            let update = sops::update_keys(format, bytes.expose(), &*self.keys, &groups, &*writer.wrapper, now).await;
            match update.map_err(in_words)? {
                Some((file, changes)) => (Some(file), Some(changes)),
                None => (None, None),
            }
        };
        let regrouped = |KeyChanges { added, removed, threshold: (before, after) }: &KeyChanges| {
            before != after || (added.is_empty() && removed.is_empty())
        };
        let regrouped = changes.as_ref().is_some_and(regrouped);
        let KeyChanges { added, removed, threshold: _ } = changes.unwrap_or_default();
        let rekeyed = Rekeyed { file: label, added, removed, regrouped, rotated: rekey.rotate };
        Ok((after.map(SecretValue::new), rekeyed))
    }
}

/// The recipients of a file after the change.
fn changed(mut groups: KeyGroups, changes: &Changes, label: &str) -> Result<KeyGroups, Error> {
    let Changes { add, remove, group: number } = changes;
    let goes = |recipient: &Recipient| remove.iter().any(|name| recipient.is_called(name));
    for group in &mut groups.groups {
        group.retain(|recipient| !goes(recipient));
    }
    if add.is_empty() {
        return Ok(groups);
    }
    let count = groups.groups.len();
    let place = match number {
        None if count == 1 => 0,
        None => {
            let message = format!("{label} has {count} key groups: say with --group into which the recipient goes");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Some(number) => number.saturating_sub(1),
    };
    let Some(group) = groups.groups.get_mut(place) else {
        let message = format!("{label} has {count} key group{}, and no number {}", plural(count), place + 1);
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    for recipient in add {
        if !group.iter().any(|other| other.is_same_key(recipient)) {
            group.push(recipient.clone());
        }
    }
    Ok(groups)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
