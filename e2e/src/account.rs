//! An ordinary user of the machine: what a program may see that is neither root nor trusted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use tempfile::TempDir;

/// The user that images call "nonroot".
const ID: u32 = 65532;

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command whose further words run as an ordinary user: this one, or if this one is root another.
#[must_use]
pub fn command() -> Vec<String> {
    let [user, group] = ["reuid", "regid"].map(|which| format!("--{which}={ID}"));
    let other = ["setpriv", user.as_str(), group.as_str(), "--clear-groups"].map(str::to_owned);
    if is_root() { other.into() } else { vec!["env".to_owned()] }
}

/// Runs a program as the ordinary user, to its end.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(words: &[&str]) -> anyhow::Result<Output> {
    let mut all = command().into_iter().chain(words.iter().map(|word| (*word).to_owned()));
    let program = all.next().context("no program")?;
    Command::new(&program).args(all).output().with_context(|| format!("could not start {program}"))
}

/// A folder of the ordinary user's, removed on drop.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When it cannot be made or given away.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("e2e-home-").tempdir().context("could not make a folder")?;
        let home = Self(folder);
        home.give_away(home.path())?;
        Ok(home)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Copies a file there: programs and kubeconfigs lie in folders that only their owner may enter.
    ///
    /// # Errors
    ///
    /// When it cannot be copied or given away.
    pub fn copy(&self, file: &Path) -> anyhow::Result<PathBuf> {
        let copy = self.path().join(file.file_name().context("not a file")?);
        std::fs::copy(file, &copy).with_context(|| format!("could not copy {}", file.display()))?;
        self.give_away(&copy)?;
        Ok(copy)
    }

    fn give_away(&self, path: &Path) -> anyhow::Result<()> {
        if is_root() {
            std::os::unix::fs::chown(path, Some(ID), Some(ID))
                .with_context(|| format!("could not give {} away", path.display()))?;
        }
        Ok(())
    }
}
