//! `.ci/build-release` gives the same bytes in whatever folder it runs, shown with a small package that has all the ways in
//! which a folder gets into a program. `make reproducible` does the same with the real one, which takes a while.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{read, root, text};

const MANIFEST: &str = r#"
[package]
name = "atmos-secrets-operator"
version = "0.0.0"
edition = "2024"

[profile.release]
strip = true
"#;

/// A panic and `file!()` name the source; generated code lies in the target folder.
const PROGRAM: &str = r#"
include!(concat!(env!("OUT_DIR"), "/generated.rs"));
fn main() {
    let count = std::env::args().count();
    assert!(count < 100, "{} {}", file!(), generated(count));
}
"#;

const BUILD_SCRIPT: &str = r#"
fn main() {
    let code = "fn generated(count: usize) -> usize { [1, 2, 3][count] + file!().len() }";
    let file = std::path::Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("generated.rs");
    std::fs::write(file, code).unwrap();
}
"#;

fn package(folder: &Path) -> PathBuf {
    let source = folder.join("source");
    for (file, content) in [
        ("Cargo.toml", MANIFEST),
        ("src/main.rs", PROGRAM),
        ("build.rs", BUILD_SCRIPT),
        ("rust-toolchain.toml", &read("rust-toolchain.toml")),
        (".ci/build-release", &read(".ci/build-release")),
    ] {
        let file = source.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    std::fs::copy(root().join(".ci/build-release"), source.join(".ci/build-release")).unwrap();
    cargo(Command::new("cargo").args(["generate-lockfile", "--offline"]), &source, folder);
    source
}

/// The program that a command builds.
fn cargo(command: &mut Command, source: &Path, folder: &Path) -> Vec<u8> {
    // Without what cargo, which runs this test, said of itself.
    let output = command
        .current_dir(source)
        .env("CARGO_TARGET_DIR", folder.join("output"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    std::fs::read(folder.join("output/release/atmos-secrets-operator")).unwrap_or_default()
}

fn contains(program: &[u8], path: &Path) -> bool {
    let path = path.to_str().unwrap().as_bytes();
    program.windows(path.len()).any(|part| part == path)
}

#[test]
fn the_folder_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let folders = [folder.path().join("first"), folder.path().join("another/one")];
    let sources = folders.each_ref().map(|folder| package(folder));
    let build = |place: usize, command: &mut Command| cargo(command, &sources[place], &folders[place]);
    let script = |place: usize| build(place, &mut Command::new(sources[place].join(".ci/build-release")));

    let programs = [script(0), script(1)];
    assert!(!programs[0].is_empty());
    assert!(programs[0] == programs[1], "one source in two folders gave two programs");
    assert!(!contains(&programs[0], folder.path()), "the program tells where it was built");

    // Cargo alone: the paths are in it.
    let plain = |place: usize| build(place, Command::new("cargo").args(["build", "--release"]));
    let programs = [plain(0), plain(1)];
    assert!(contains(&programs[0], folder.path()) && programs[0] != programs[1], "nothing is shown by this package");
}

/// Runs `.ci/reproducible` with a cargo that writes what this script prints, and says how it ended.
fn reproducible(prints: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let (repository, tools, temporary) =
        (folder.path().join("repository"), folder.path().join("tools"), folder.path().join("temporary"));
    for folder in [&repository.join(".ci"), &tools, &temporary] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for script in [".ci/build-release", ".ci/reproducible"] {
        std::fs::copy(root().join(script), repository.join(script)).unwrap();
    }
    let fake = format!(
        "#!/bin/sh\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
         for program in atmos-secrets-operator kubectl-atmos_secret; do\n{prints} > \"$CARGO_TARGET_DIR/release/$program\"\ndone\n"
    );
    let script = tools.join("cargo");
    std::fs::write(&script, fake).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for arguments in [&["init", "--quiet"][..], &["add", "."]] {
        assert!(Command::new("git").args(arguments).current_dir(&repository).status().unwrap().success());
    }
    let mut path = tools.into_os_string();
    path.push(":");
    #[expect(clippy::disallowed_methods, reason = "the fake goes before the real one")]
    path.push(std::env::var_os("PATH").unwrap());
    let output =
        Command::new(repository.join(".ci/reproducible")).env("PATH", path).env("TMPDIR", &temporary).output().unwrap();
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "it leaves something behind");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_comparison_finds_what_differs_and_what_tells_its_place() {
    let (good, words) = reproducible("echo same");
    assert!(good && words.contains("  first/atmos-secrets-operator"), "{words}");
    let (good, words) = reproducible("pwd");
    assert!(!good && words.contains("kubectl-atmos_secret differs from build to build"), "{words}");
    assert!(words.contains("kubectl-atmos_secret tells where it was built"), "{words}");
    let (good, words) = reproducible("date +%N");
    assert!(!good && words.contains("differs from build to build") && !words.contains("tells where"), "{words}");
    let (good, _) = reproducible("exit 1; echo same");
    assert!(!good, "a build that fails is no success");
}

/// There is one recipe, so that what a release hands out is what `make reproducible` compared.
#[test]
fn whoever_builds_a_release_uses_it() {
    for file in ["Dockerfile", ".github/workflows/release.yml", ".ci/reproducible"] {
        assert!(read(file).contains(".ci/build-release"), "{file}");
        assert!(!read(file).contains("cargo build --release"), "{file} has a recipe of its own");
    }
}
