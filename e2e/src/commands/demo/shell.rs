//! Runs what a person would type, and shows it together with what it really printed.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use e2e::process::DataFolder;
use tokio::process::Command;

use super::manifests::PROGRAMS;

/// Settings of the caller that would change what the plugin and sops do.
const CALLERS_OWN: [&str; 6] =
    ["ATMOS_STACK", "ATMOS_COMPONENT", "ATMOS_MASK", "SOPS_AGE_KEY", "SOPS_AGE_KEY_CMD", "SOPS_AGE_RECIPIENTS"];

/// A shell in the demo's folder, with its programs on `PATH` and its own kubeconfig.
pub(super) struct Shell {
    folder: DataFolder,
    bold: bool,
}

/// What a command printed on stdout and stderr together, and how it ended.
pub(super) struct Ran {
    pub(super) text: String,
    pub(super) status: ExitStatus,
}

impl Shell {
    pub(super) fn new(folder: DataFolder) -> Self {
        let terminal = std::io::stdout().is_terminal();
        #[expect(clippy::disallowed_methods, reason = "the convention of https://no-color.org")]
        let bold = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { folder, bold }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with the programs.
    pub(super) fn programs(&self) -> PathBuf {
        self.folder().join(PROGRAMS)
    }

    /// The kubeconfig that commands use: a copy with one context, so that nobody can switch it meanwhile.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Text for people. That nobody reads any more is no reason to stop before everything is cleaned up.
    pub(super) fn say(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A heading.
    pub(super) fn heading(&self, text: &str) {
        if self.bold {
            self.say(&format!("\n\x1b[1m{text}\x1b[0m"));
        } else {
            self.say(&format!("\n{text}"));
        }
    }

    /// Shows and runs a command that must succeed; returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub(super) async fn run(&self, line: &str) -> anyhow::Result<String> {
        self.run_for(line, 0).await
    }

    /// Shows and runs a command that must end with the exit status `expected`; returns what it printed.
    ///
    /// # Errors
    ///
    /// When it ends with another one.
    pub(super) async fn run_for(&self, line: &str, expected: i32) -> anyhow::Result<String> {
        if self.bold {
            self.say(&format!("\n$ \x1b[1m{line}\x1b[0m"));
        } else {
            self.say(&format!("\n$ {line}"));
        }
        let Ran { text, status } = self.quietly(line).await?;
        if !text.is_empty() {
            self.say(text.trim_end_matches('\n'));
        }
        if let Some(code) = status.code().filter(|code| *code != 0) {
            self.say(&format!("(exit status {code})"));
        }
        anyhow::ensure!(
            status.code() == Some(expected),
            "the last command ended with {status}, expected was exit status {expected}"
        );
        Ok(text)
    }

    /// Runs a command without showing anything.
    ///
    /// # Errors
    ///
    /// When no shell can be started.
    pub(super) async fn quietly(&self, line: &str) -> anyhow::Result<Ran> {
        self.run_with(line, &self.kubeconfig()).await
    }

    /// As [`Shell::quietly`], with another kubeconfig.
    ///
    /// # Errors
    ///
    /// When no shell can be started.
    pub(super) async fn run_with(&self, line: &str, kubeconfig: &Path) -> anyhow::Result<Ran> {
        let mut command = self.shell(line);
        let output = command.env("KUBECONFIG", kubeconfig).output().await.context("could not run sh")?;
        Ok(Ran { text: String::from_utf8_lossy(&output.stdout).into_owned(), status: output.status })
    }

    /// The caller's own environment decides which cluster is the current one.
    ///
    /// # Errors
    ///
    /// When no shell can be started.
    pub(super) async fn run_as_caller(&self, line: &str) -> anyhow::Result<Ran> {
        let output = self.shell(line).output().await.context("could not run sh")?;
        Ok(Ran { text: String::from_utf8_lossy(&output.stdout).into_owned(), status: output.status })
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            // One stream, so that lines come in the order in which they were printed.
            .arg(format!("exec 2>&1; PATH=\"$DEMO_PROGRAMS:$PATH\"\n{line}"))
            .current_dir(self.folder())
            .env("DEMO_PROGRAMS", self.programs())
            .env("KUBECACHEDIR", self.folder().join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for name in CALLERS_OWN {
            command.env_remove(name);
        }
        command
    }
}
