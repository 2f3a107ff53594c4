//! The folder that the demo works in: copies of the manifests, and the programs by their names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context as _;
use e2e::process::DataFolder;

use super::programs::Programs;

/// The subfolder for `PATH`.
pub(super) const PROGRAMS: &str = "bin";
/// What is copied, with the same paths as in the repository, so that commands read as they do in the README.
const COPIED: [&str; 2] = ["crds", "examples"];

/// Makes the folder; it goes with this process.
///
/// # Errors
///
/// When a file cannot be copied.
pub(super) fn lay_out(programs: &Programs) -> anyhow::Result<DataFolder> {
    let folder = DataFolder::new("atmos-demo-")?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in COPIED {
        copy(&repository.join(name), &folder.path().join(name))?;
    }
    let bin = folder.path().join(PROGRAMS);
    fs::create_dir(&bin)?;
    for program in &programs.all {
        let name = program.file_name().context("a program without a name")?;
        symlink(program, bin.join(name)).with_context(|| format!("could not link {}", program.display()))?;
    }
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let what = || format!("could not copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(what)?;
    for entry in fs::read_dir(from).with_context(what)? {
        let entry = entry.with_context(what)?;
        let target = to.join(entry.file_name());
        if entry.file_type().with_context(what)?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(what)?;
        }
    }
    Ok(())
}
