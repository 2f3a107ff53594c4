//! The pinned Python programs, each in a virtual environment of its own under the tools folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;

use super::build::{hash_of, lock, report, tools_folder};

/// moto and Google's client need it.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Packages that are pinned together in `e2e/tools/<folder>/requirements.txt`.
pub(super) struct Packages {
    folder: &'static str,
    /// What is wanted of the environment, below its folder.
    program: &'static str,
    /// What they are, for people who wait.
    what: &'static str,
}

/// The AWS of the tests.
pub(super) const MOTO: Packages =
    Packages { folder: "moto", program: "bin/moto_server", what: "moto, the AWS of the tests (about a minute, once)" };

/// A client to hold the Azure of the tests against.
pub(super) const AZURE: Packages =
    Packages { folder: "azure", program: "bin/python", what: "Microsoft's client of Key Vault (some seconds, once)" };

/// A client to hold the Google Cloud of the tests against.
pub(super) const GOOGLE: Packages =
    Packages { folder: "gcp", program: "bin/python", what: "Google's own client (about a minute, once)" };

/// The path of the program, after installing it if it is not there yet.
pub(super) fn ensure(Packages { folder, program, what }: &Packages) -> anyhow::Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(folder).join("requirements.txt");
    let root = tools_folder();
    let finished = root.join(format!("{folder}-{}", hash_of(&[&requirements])?));
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
    report(format_args!("installing {what}…"));
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
        &format!("install {folder} from its pinned requirements"),
    )?;
    fs::write(&complete, "").with_context(|| format!("could not finish the virtual environment of {folder}"))?;
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
        .with_context(|| format!("could not run `python3`, which the tests need: {hint}"))?;
    let text = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let found = text.split_once(' ').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    anyhow::ensure!(
        found.is_some_and(|found: (u32, u32)| found >= OLDEST_PYTHON),
        "`python3` is too old for the tests (found {text:?}): {hint}"
    );
    Ok(())
}
