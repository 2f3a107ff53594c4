//! Replaces a file so that at any moment there is the old one or the new one, whole.
//!
//! The new bytes are written beside, synced, and renamed into place; then the folder is synced. While that happens the
//! folder is locked (`flock`), so that a second writer of ours waits; the lock goes with the process. Whoever does not lock,
//! such as an editor, is noticed if the file is another one than was read.
//!
//! A process that is killed on the way leaves what it wrote beside, under a name with a dot in front that nobody reads. The
//! next writer of the same file takes that away.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::RngExt as _;

/// How long a second writer waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Why a file was not replaced; it is as it was.
#[derive(Debug)]
pub enum NotReplaced {
    /// It is another one than was read.
    Changed,
    /// Somebody else has held the lock for too long.
    Locked,
    /// The system said no: what was tried, and why.
    Failed(&'static str, io::Error),
}

/// How a file comes to be.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// The mode of a new file; one that is there keeps its own.
    pub file: u32,
    /// The mode of folders that are made.
    pub folder: u32,
}

/// A file that anybody may see, as it is ciphertext, but that begins as Atmos begins it.
pub const CIPHERTEXT: Modes = Modes { file: 0o600, folder: 0o755 };
/// A file with private keys.
pub const PRIVATE: Modes = Modes { file: 0o600, folder: 0o700 };
/// A file of rules.
pub const PUBLIC: Modes = Modes { file: 0o644, folder: 0o755 };

/// A point between two steps, where a crash would leave what is on the disk then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Locked,
    Begun,
    Written,
    Synced,
    Renamed,
}

/// Replaces the file at `path` if it still holds `before` (`None`: is not there).
///
/// # Errors
/// See [`NotReplaced`].
pub fn replace(path: &Path, before: Option<&[u8]>, after: &[u8], modes: Modes) -> Result<(), NotReplaced> {
    replace_by_steps(path, before, after, modes, PATIENCE, &mut |_| {})
}

fn replace_by_steps(
    path: &Path,
    before: Option<&[u8]>,
    after: &[u8],
    modes: Modes,
    patience: Duration,
    at: &mut dyn FnMut(Step),
) -> Result<(), NotReplaced> {
    let failed = |tried| move |error| NotReplaced::Failed(tried, error);
    // A link stays one: what it leads to is replaced.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(NotReplaced::Failed("find", error)),
    };
    let folder = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    };
    make_folders(&folder, modes.folder).map_err(failed("make the folder of"))?;
    let lock = Lock::of(&folder, patience)?;
    at(Step::Locked);
    if lock.is_held {
        sweep(&path, &folder);
    }
    let now = read(&path).map_err(failed("read"))?;
    if now.as_deref().map(Vec::as_slice) != before {
        return Err(NotReplaced::Changed);
    }
    let beside = Beside::new(&path, modes.file).map_err(failed("write beside"))?;
    at(Step::Begun);
    beside.fill(after).map_err(failed("write beside"))?;
    at(Step::Written);
    if now.is_some() {
        let permissions = fs::metadata(&path).map_err(failed("read the mode of"))?.permissions();
        fs::set_permissions(&beside.path, permissions).map_err(failed("set the mode of"))?;
    }
    beside.file.sync_all().map_err(failed("sync"))?;
    at(Step::Synced);
    beside.rename(&path).map_err(failed("replace"))?;
    at(Step::Renamed);
    lock.sync().map_err(failed("sync the folder of"))
}

/// The bytes of a file, up to what any file of ours has; `None` if there is none.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    const MOST: u64 = 8 << 20;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // All the room from the start, so that no copy stays behind when the buffer grows.
    let mut bytes =
        zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(64)));
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn make_folders(folder: &Path, mode: u32) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(folder)
}

/// A lock on a folder. Windows opens no folder as a file: there the check of the bytes is all there is.
struct Lock {
    folder: Option<File>,
    is_held: bool,
}

impl Lock {
    fn of(folder: &Path, patience: Duration) -> Result<Self, NotReplaced> {
        if cfg!(not(unix)) {
            return Ok(Self { folder: None, is_held: false });
        }
        let file = File::open(folder).map_err(|error| NotReplaced::Failed("open the folder of", error))?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { folder: Some(file), is_held: true }),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Err(fs::TryLockError::WouldBlock) => return Err(NotReplaced::Locked),
                // A file system without locks, as some over a network are.
                Err(fs::TryLockError::Error(_)) => return Ok(Self { folder: Some(file), is_held: false }),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.as_ref().map_or(Ok(()), File::sync_all)
    }
}

/// How the name of a new file ends before it is in place.
const BESIDE_END: &str = ".new";

/// How it begins; between both are 16 hexadecimal digits.
fn beside_start(target: &Path) -> String {
    format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy())
}

/// Takes away what writers of this file left that were killed. Who holds the lock knows that none of them is at work.
fn sweep(target: &Path, folder: &Path) {
    let start = beside_start(target);
    let is_left = |name: &str| {
        let number = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(BESIDE_END));
        number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    // A leftover harms nobody: a folder that cannot be listed, or a file that cannot be removed, keeps no one from writing.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The new file before it is in place. What is left of it goes when this goes.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn new(target: &Path, mode: u32) -> io::Result<Self> {
        let number: u64 = rand::rng().random_range(0..=u64::MAX);
        let path = target.with_file_name(format!("{}{number:016x}{BESIDE_END}", beside_start(target)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let file = options.open(&path)?;
        Ok(Self { path, file })
    }

    fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn rename(&self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is none, and nothing else can be done about one that stays.
        let _ = fs::remove_file(&self.path);
    }
}
