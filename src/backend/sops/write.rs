//! Changes of SOPS files: one value, and who can open them.

use std::time::Duration;

use jiff::Timestamp;
use rand::RngExt as _;

use super::error::from_sops;
use super::source::FileChange;
use super::{Found, Snapshot, Sops, no_name, split};
use crate::backend::{Error, ErrorKind, Key};
use crate::sops::{Creation, Editor, Format, KeyWrapper, Path, Plain, Recipient, Value};
use crate::value::SecretValue;

/// Tries of a change that meets others: with ten writers at one object at least one of them succeeds in each round.
pub(super) const TRIES: u32 = 10;
/// The most that is waited before another try; jittered.
const WAIT: Duration = Duration::from_millis(40);

/// How a file that is not there yet is encrypted.
pub enum NewFiles {
    /// For these recipients, all of its values.
    For(Vec<String>),
    /// As rules say for the file of this name.
    ByRules(Box<CreationRule>),
}

/// What rules say for the file of a name.
pub type CreationRule = dyn Fn(&str) -> Result<Creation, Error> + Send + Sync;

/// What changes need beside what reading needs.
pub struct Writer {
    /// Encrypts data keys.
    pub wrapper: Box<dyn KeyWrapper>,
    /// How new files are encrypted.
    pub new_files: NewFiles,
    /// Whether an object is written though a GitOps tool manages it, which will undo the change.
    pub overwrites_managed: bool,
}

/// A change of one value.
pub(super) enum Change<'a> {
    Set { value: &'a SecretValue, must_be_absent: bool },
    Remove,
}

/// How one try of a change ended.
pub(super) enum Attempt {
    Done,
    /// Somebody else wrote in between.
    Raced(Error),
}

/// Waits a little before another try.
pub(super) async fn pause() {
    let wait = WAIT.mul_f64(rand::rng().random_range(0.0..=1.0));
    tokio::time::sleep(wait).await;
}

impl Sops {
    /// Makes one change of a file as it is, and again if somebody else wrote in between.
    pub(super) async fn change(&self, key: &Key, change: &Change<'_>) -> Result<(), Error> {
        let (file, name) = split(key)?;
        let writer = self.writer()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_change(writer, file, name, change).await? {
                Attempt::Done => return Ok(()),
                Attempt::Raced(error) if tries >= TRIES => return Err(error),
                Attempt::Raced(_) => pause().await,
            }
        }
    }

    pub(super) fn writer(&self) -> Result<&Writer, Error> {
        self.writer.as_ref().ok_or_else(|| Error::new(ErrorKind::Unsupported, super::READ_ONLY))
    }

    async fn try_change(&self, writer: &Writer, file: &str, name: &str, change: &Change<'_>) -> Result<Attempt, Error> {
        let snapshot = Snapshot::take(&*self.source).await;
        let (place, revision, before) = match snapshot.find(file) {
            Ok(Found { place, object: _, bytes }) => {
                let revision = snapshot.objects.get(place).map(|object| object.revision.as_str());
                (place, revision.unwrap_or_default(), Some(bytes))
            }
            Err(error) => match change {
                Change::Set { .. } => {
                    let (place, revision) = snapshot.place_for_new(error)?;
                    (place, revision, None)
                }
                Change::Remove => return Err(error),
            },
        };
        snapshot.refuse_managed(place, writer)?;
        let after = match before {
            Some(_) => self.edited(writer, &snapshot, file, name, change).await?,
            None => self.begun(writer, file, name, change).await?,
        };
        if before.is_some_and(|before| before.equals(after.expose())) {
            return Ok(Attempt::Done);
        }
        self.put(&FileChange { file, place, revision, before, after: &after }).await
    }

    /// Writes a file.
    pub(super) async fn put(&self, change: &FileChange<'_>) -> Result<Attempt, Error> {
        match self.source.write(change).await {
            Ok(()) => Ok(Attempt::Done),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(Attempt::Raced(error)),
            Err(error) => Err(error),
        }
    }

    /// The file with the change, all else as it was.
    async fn edited(
        &self,
        writer: &Writer,
        snapshot: &Snapshot,
        file: &str,
        name: &str,
        change: &Change<'_>,
    ) -> Result<SecretValue, Error> {
        let parsed = self.parse(snapshot, file)?;
        let in_words = |error| from_sops(&error, &parsed.label);
        let bytes = snapshot.find(file)?.bytes;
        let mut editor = Editor::open(parsed.format, bytes.expose(), &*self.keys).await.map_err(in_words)?;
        let path = Path::key(name);
        match change {
            Change::Set { value, must_be_absent } => {
                if *must_be_absent && editor.document().get(name).is_some() {
                    let message = format!("{name} has a value already in {}", parsed.label);
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                refuse_in_the_clear(editor.encrypts(&path), name, &parsed.label)?;
                editor.set(&path, Value::text(copy(value))).map_err(in_words)?;
            }
            Change::Remove => {
                // What is null has no value, and goes as well.
                if !editor.unset(&path) {
                    return Err(no_name(file, name));
                }
                if editor.is_empty() {
                    // Nothing is kept, so the file begins anew, for all who can be given a new data key. Who may delete
                    // need not be able to encrypt to each recipient: then the data key stays, and nothing else differs.
                    let _ = editor.rotate(&*writer.wrapper, Timestamp::now()).await;
                }
            }
        }
        Ok(SecretValue::new(editor.save(Timestamp::now()).map_err(in_words)?))
    }

    /// A new file with the one value.
    async fn begun(&self, writer: &Writer, file: &str, name: &str, change: &Change<'_>) -> Result<SecretValue, Error> {
        let Change::Set { value, must_be_absent: _ } = change else { return Err(no_name(file, name)) };
        let in_words = |error| from_sops(&error, file);
        let format = Format::of_file(file);
        let creation = self.creation(writer, file)?;
        let path = Path::key(name);
        // A binary file is encrypted whatever the rules say.
        let encrypts = match format {
            Format::Binary => Some(true),
            Format::Yaml | Format::Json | Format::Dotenv | Format::Ini => creation.encrypts(&path).map_err(in_words)?,
        };
        refuse_in_the_clear(encrypts, name, file)?;
        let mut plain = Plain::new(format);
        plain.set(&path, Value::text(copy(value))).map_err(in_words)?;
        let bytes = plain.encrypt(&creation, &*writer.wrapper, Timestamp::now()).await.map_err(in_words)?;
        Ok(SecretValue::new(bytes))
    }

    fn creation(&self, writer: &Writer, file: &str) -> Result<Creation, Error> {
        let creation = match &writer.new_files {
            NewFiles::ByRules(rules) => rules(file)?,
            NewFiles::For(recipients) => {
                let allowed =
                    |name: &&String| self.allowed_recipients.is_empty() || self.allowed_recipients.contains(*name);
                let recipients: Vec<Recipient> =
                    recipients.iter().filter(allowed).map(|name| Recipient::Age(name.clone())).collect();
                if recipients.is_empty() {
                    let message = format!(
                        "there is no {file} yet, and the store's status lists no recipient that a new one may be \
                         encrypted to: make the file with --local, by the rules of .sops.yaml"
                    );
                    return Err(Error::new(ErrorKind::InvalidConfig, message));
                }
                Creation { keys: crate::sops::KeyGroups::single(recipients), ..Creation::default() }
            }
        };
        let names = creation.keys.groups.iter().flatten().map(ToString::to_string);
        match names.into_iter().find(|name| !self.is_allowed(name)) {
            None => Ok(creation),
            Some(stranger) => {
                let stranger: String = stranger.escape_debug().take(96).collect();
                let message =
                    format!("a new {file} would be encrypted to {stranger}, which is not in allowedRecipients");
                Err(Error::new(ErrorKind::PermissionDenied, message))
            }
        }
    }
}

impl Snapshot {
    /// Where a new file goes: into the first object, which is made if it is not there.
    fn place_for_new(&self, error: Error) -> Result<(usize, &str), Error> {
        let Some(first) = self.objects.first() else { return Err(error) };
        if error.kind == ErrorKind::NotFound {
            return Ok((0, &first.revision));
        }
        // Only if it is the first one that is not there, and no other one may have the file.
        let is_first = error.kind == ErrorKind::SourceNotFound && first.files.is_err();
        let others_are_read = self.objects.iter().skip(1).all(|object| object.files.is_ok());
        if is_first && others_are_read { Ok((0, "")) } else { Err(error) }
    }

    pub(super) fn refuse_managed(&self, place: usize, writer: &Writer) -> Result<(), Error> {
        let Some(object) = self.objects.get(place) else { return Ok(()) };
        match object.managed_by.filter(|_| !writer.overwrites_managed) {
            None => Ok(()),
            Some(tool) => {
                let message = format!(
                    "{} is managed by {tool}, which would undo the change: change the file in git with --local DIR, or \
                     write the object all the same with --force",
                    object.object
                );
                Err(Error::new(ErrorKind::InvalidConfig, message))
            }
        }
    }
}

/// Refuses a value that would not be encrypted; `encrypts` is `None` where comments decide.
fn refuse_in_the_clear(encrypts: Option<bool>, name: &str, label: &str) -> Result<(), Error> {
    let why = match encrypts {
        Some(true) => return Ok(()),
        Some(false) => "leaves a value of this name in the clear",
        None => "goes by comments, which are not written here: use `sops edit`",
    };
    Err(Error::new(ErrorKind::InvalidKey, format!("{name} is not set: the rule of {label} {why}")))
}

fn copy(value: &SecretValue) -> SecretValue {
    SecretValue::new(value.expose().to_vec())
}
