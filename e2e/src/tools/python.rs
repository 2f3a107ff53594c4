//! The pinned Python programs, each in a virtual environment of its own under the tools folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;

use super::build::{hash_of, lock, report, tools_folder};

/// moto and Google's client need it.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// The path of `moto_server`, after installing it if it is not there yet.
pub(super) fn ensure_moto() -> anyhow::Result<PathBuf> {
    ensure("moto", "moto, the AWS of the tests", "bin/moto_server")
}

/// The path of an interpreter that has Google's client, after installing that if it is not there yet.
pub(super) fn ensure_google_client() -> anyhow::Result<PathBuf> {
    ensure("gcp", "Google's own client", "bin/python")
}

/// Installs what `tools/<name>/requirements.txt` pins, and returns one of its programs. `what` it is, for people.
fn ensure(name: &str, what: &str, program: &str) -> anyhow::Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name).join("requirements.txt");
    let root = tools_folder();
    let finished = root.join(format!("{name}-{}", hash_of(&[&requirements])?));
    let program = finished.join(program);
    let complete = finished.join("complete");
    if complete.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&root).with_context(|| format!("could not make the folder {}", root.display()))?;
    let _lock = lock(&root.join("build.lock"))?;
    if complete.exists() {
        return Ok(program);
    }
    check_python()?;
    report(format_args!("installing {what} (about a minute, once)…"));
    // Programs in it begin with the path of its interpreter, so it cannot be renamed: a file says that it is complete.
    if finished.exists() {
        fs::remove_dir_all(&finished).with_context(|| format!("could not clear {}", finished.display()))?;
    }
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&finished),
        "make a virtual environment: is python3-venv installed?",
    )?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
    let install = ["--require-hashes", "--requirement"];
    run(
        Command::new(finished.join("bin/python")).args(pip).args(install).arg(&requirements),
        &format!("install {what} from its pinned requirements"),
    )?;
    fs::write(&complete, "").with_context(|| format!("could not finish the virtual environment of {what}"))?;
    Ok(program)
}

fn run(command: &mut Command, what: &str) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("could not {what}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "could not {what} ({}):\n{said}", output.status);
    Ok(output)
}

fn check_python() -> anyhow::Result<()> {
    let hint = format!("install Python {}.{} or newer, with venv and pip", OLDEST_PYTHON.0, OLDEST_PYTHON.1);
    let version = Command::new("python3")
        .args(["-c", "import sys; print(*sys.version_info[:2])"])
        .output()
        .ok()
        .with_context(|| format!("could not run `python3`, which tests need: {hint}"))?;
    let text = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let found = text.split_once(' ').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    anyhow::ensure!(
        found.is_some_and(|found: (u32, u32)| found >= OLDEST_PYTHON),
        "`python3` is too old for the tests (found {text:?}): {hint}"
    );
    Ok(())
}
