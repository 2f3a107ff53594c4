//! Child processes that never outlive this one, however it ends.
//!
//! Each child leads a process group of its own and has a watchdog in it: a shell that reads from a pipe whose other end
//! only this process holds. When this process ends (return, panic, abort or SIGKILL) the kernel closes the pipe, the
//! watchdog reads end of file and kills the group. `PR_SET_PDEATHSIG` would be no replacement: it fires when the
//! *thread* that spawned the child ends, which in an async test is long before the process does.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::Context as _;

/// Starts the watchdog, then becomes the program. `$$` is the group's id, which cannot be reused by another process as
/// long as the watchdog itself is in the group.
const WATCHDOG: &str = r#"exec 3<&0 </dev/null
{ cat <&3; kill -s KILL -- "-$$"; } >/dev/null 2>&1 &
exec "$@" 3<&-"#;

/// Removes a folder at end of file; more than once, because servers that are being killed may still write into it.
const JANITOR: &str = r#"cat >/dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" 2>/dev/null && exit; sleep 0.2; done"#;

/// How much of a log is quoted in an error.
const TAIL_BYTES: u64 = 4096;

/// A program to be run under a watchdog.
#[derive(Debug, Default)]
pub struct Program {
    /// Used in errors.
    pub name: String,
    /// What is executed.
    pub path: PathBuf,
    /// Without the program's own name.
    pub arguments: Vec<OsString>,
    /// Added to what this process has.
    pub environment: Vec<(&'static str, OsString)>,
    /// Where it starts.
    pub folder: PathBuf,
    /// Takes stdout and stderr; appended to, so that a restarted server keeps its history.
    pub log: PathBuf,
}

/// A running child; killed with all its descendants on drop.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
    /// The only copy of the pipe's writing end: the standard library opens it close-on-exec.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Guarded {
    /// Starts the program.
    ///
    /// # Errors
    ///
    /// When the log cannot be opened or no shell can be started. A program that is absent shows in its log.
    pub fn start(program: &Program) -> anyhow::Result<Self> {
        let Program { name, path, arguments, environment, folder, log } = program;
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("could not open the log {} of {name}", log.display()))?;
        let mut child = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(path)
            .args(arguments)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("could not start {name} at {}", path.display()))?;
        let lifeline = child.stdin.take();
        Ok(Self { name: name.clone(), child, lifeline, log: log.clone() })
    }

    /// The program's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended by itself.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("could not look after {}", self.name))
    }

    /// Fails with the end of its log when it is no longer running.
    pub fn expect_running(&mut self) -> anyhow::Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => {
                anyhow::bail!("{} ended with {status}; the end of its log:\n{}", self.name, self.log_tail())
            }
        }
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(&self.log).unwrap_or_else(|error| format!("(could not read {}: {error})", self.log.display()))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The watchdog kills the group, which takes descendants along; killing the child here as well makes the wait
        // below short even if somebody killed the watchdog. Failing means that it is gone already.
        let _ = self.child.kill();
        drop(self.lifeline.take());
        let _ = self.child.wait();
    }
}

/// A private temporary folder that is removed when this process ends in whatever way.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    janitor: Child,
    lifeline: Option<ChildStdin>,
}

impl DataFolder {
    /// Makes an empty folder that only this user may enter.
    ///
    /// # Errors
    ///
    /// When the folder or its janitor cannot be made.
    pub fn new(prefix: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().context("could not make a temporary folder")?;
        let mut janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(folder.path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start the janitor of a temporary folder")?;
        let lifeline = janitor.stdin.take();
        Ok(Self { path: folder.keep(), janitor, lifeline })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.janitor.wait();
    }
}

fn log_tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits without a runtime: nothing here is async.
    fn wait_for(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
        for _ in 0..6000 {
            if condition() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("waited in vain for {what}")
    }

    fn shell(script: &str, folder: &Path) -> Program {
        Program {
            name: "a test program".to_owned(),
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            folder: folder.to_owned(),
            log: folder.join("log"),
            ..Program::default()
        }
    }

    #[test]
    fn descendants_end_with_the_child() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let pids = folder.path().join("pids");
        let running = Guarded::start(&shell("sleep 1000 & echo $$ $! > pids; wait", folder.path()))?;
        let mut found = String::new();
        wait_for("the two process ids", || {
            found = std::fs::read_to_string(&pids).unwrap_or_default();
            found.ends_with('\n')
        })?;
        let folders: Vec<PathBuf> = found.split_whitespace().map(|pid| Path::new("/proc").join(pid)).collect();
        assert_eq!(folders.len(), 2);
        assert!(folders.iter().all(|process| process.exists()));
        drop(running);
        wait_for("both processes to end", || !folders.iter().any(|process| process.exists()))
    }

    #[test]
    fn a_child_that_ends_by_itself_is_reported_with_its_last_words() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut running = Guarded::start(&shell("echo no such luck >&2; exit 3", folder.path()))?;
        wait_for("the end of the child", || running.exited().is_ok_and(|status| status.is_some()))?;
        let text = running.expect_running().map_or_else(|error| error.to_string(), |()| "still running".to_owned());
        assert!(text.contains("a test program ended with exit status: 3"), "{text}");
        assert!(text.contains("no such luck"), "{text}");
        Ok(())
    }

    #[test]
    fn the_data_folder_goes_with_its_owner() -> anyhow::Result<()> {
        let folder = DataFolder::new("e2e-test-")?;
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "content")?;
        drop(folder);
        assert!(!path.exists());
        Ok(())
    }
}
