//! The crates that the two programs are made of, as cargo resolves them for one system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

/// The package that is released.
pub(super) const ROOT: &str = "atmos-secrets-operator";

/// A crate, by name and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) name: String,
    pub(super) version: String,
}

/// What is known of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crate {
    /// An SPDX expression.
    pub(super) licence: Option<String>,
    /// SHA-256 of the file that the registry serves; none for our own.
    pub(super) checksum: Option<String>,
}

/// How one crate uses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// It is linked in.
    Linked,
    /// It runs while the other is built: a build script, a procedural macro, or what one of these uses.
    Building,
}

/// What a build for one system takes.
#[derive(Debug)]
pub(super) struct Crates {
    pub(super) root: Id,
    pub(super) all: BTreeMap<Id, Crate>,
    /// User, used, and how.
    pub(super) uses: BTreeSet<(Id, Id, Use)>,
}

/// Asks cargo, which takes everything from Cargo.lock.
pub(super) fn of(target: &str) -> anyhow::Result<Crates> {
    let linked = tree(&cargo_tree(target, "no-dev,no-build,no-proc-macro")?)?;
    let all = tree(&cargo_tree(target, "no-dev")?)?;
    let root = all.first.clone().context("cargo tree says nothing")?;
    anyhow::ensure!(root.name == ROOT, "cargo tree begins with {}", root.name);

    let metadata: Metadata = serde_json::from_slice(&cargo(&["metadata", "--format-version", "1"])?)?;
    let lock: Lock = toml_lock(&std::fs::read_to_string(repository().join("Cargo.lock"))?)?;
    let known = all.ids.iter().map(|id| {
        Ok((id.clone(), Crate { licence: metadata.licence(id)?, checksum: lock.0.get(id).cloned().flatten() }))
    });
    let uses = all.uses.iter().map(|(user, used)| {
        let how = if linked.uses.contains(&(user.clone(), used.clone())) { Use::Linked } else { Use::Building };
        (user.clone(), used.clone(), how)
    });
    Ok(Crates { root, all: known.collect::<anyhow::Result<_>>()?, uses: uses.collect() })
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cargo(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("cargo").args(arguments).arg("--locked").current_dir(repository()).output()?;
    anyhow::ensure!(
        output.status.success(),
        "cargo {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn cargo_tree(target: &str, edges: &str) -> anyhow::Result<String> {
    let output = cargo(&[
        "tree",
        "--package",
        ROOT,
        "--target",
        target,
        "--edges",
        edges,
        "--prefix",
        "depth",
        "--format",
        "\t{p}",
    ])?;
    Ok(String::from_utf8(output)?)
}

/// What `cargo tree` prints.
#[derive(Debug, Default)]
struct Tree {
    first: Option<Id>,
    ids: BTreeSet<Id>,
    uses: BTreeSet<(Id, Id)>,
}

/// Reads lines such as `2⇥serde v1.0.0 (*)`: how deep, and which crate. One that was shown with its own before is shown
/// without them, which costs us nothing.
fn tree(text: &str) -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    let mut path: Vec<Id> = Vec::new();
    for line in text.lines() {
        let wrong = || format!("cargo tree printed a line that is not understood: {line}");
        let (depth, package) = line.split_once('\t').with_context(wrong)?;
        let mut words = package.split(' ');
        let (name, version) = (words.next().with_context(wrong)?, words.next().with_context(wrong)?);
        let id = Id { name: name.to_owned(), version: version.strip_prefix('v').with_context(wrong)?.to_owned() };
        let depth: usize = depth.parse().with_context(wrong)?;
        anyhow::ensure!(depth <= path.len(), wrong());
        path.truncate(depth);
        if let Some(user) = path.last() {
            tree.uses.insert((user.clone(), id.clone()));
        }
        tree.first.get_or_insert_with(|| id.clone());
        tree.ids.insert(id.clone());
        path.push(id);
    }
    Ok(tree)
}

/// What `cargo metadata` prints, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

impl Metadata {
    fn licence(&self, id: &Id) -> anyhow::Result<Option<String>> {
        let found = self.packages.iter().find(|package| package.name == id.name && package.version == id.version);
        let package = found.with_context(|| format!("cargo metadata does not know {} {}", id.name, id.version))?;
        // Old manifests part licences by a slash, which cargo's reference calls deprecated and means OR.
        Ok(package.license.as_ref().map(|text| text.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")))
    }
}

/// The checksums of Cargo.lock.
struct Lock(BTreeMap<Id, Option<String>>);

/// Reads what cargo writes there: tables `[[package]]` with one field in a line.
fn toml_lock(text: &str) -> anyhow::Result<Lock> {
    let mut checksums = BTreeMap::new();
    for table in text.split("\n[[package]]\n").skip(1) {
        let field = |name: &str| {
            let start = format!("{name} = \"");
            table.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"').map(str::to_owned))
        };
        let (Some(name), Some(version)) = (field("name"), field("version")) else {
            anyhow::bail!("Cargo.lock has a package without name or version");
        };
        checksums.insert(Id { name, version }, field("checksum"));
    }
    Ok(Lock(checksums))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn id(name: &str, version: &str) -> Id {
        Id { name: name.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn a_tree_is_read_with_its_edges() {
        let text = "0\troot v0.1.0 (/source)\n1\ta v1.0.0\n2\tb v2.0.0+x (proc-macro)\n1\tc v3.0.0\n2\tb v2.0.0+x (proc-macro) (*)\n";
        let tree = tree(text).unwrap();
        assert_eq!(tree.first, Some(id("root", "0.1.0")));
        let (root, a, b, c) = (id("root", "0.1.0"), id("a", "1.0.0"), id("b", "2.0.0+x"), id("c", "3.0.0"));
        let edges = [(root.clone(), a.clone()), (a, b.clone()), (root, c.clone()), (c, b)];
        assert_eq!(tree.uses, edges.into());
        for wrong in ["1\ta v1.0.0\n", "0 a v1.0.0\n", "0\ta 1.0.0\n", "x\ta v1.0.0\n"] {
            assert!(super::tree(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn licences_of_old_manifests_are_expressions() {
        let package =
            Package { name: "a".to_owned(), version: "1.0.0".to_owned(), license: Some("MIT / Apache-2.0".to_owned()) };
        let metadata = Metadata { packages: vec![package] };
        assert_eq!(metadata.licence(&id("a", "1.0.0")).unwrap().as_deref(), Some("MIT OR Apache-2.0"));
        assert!(metadata.licence(&id("a", "2.0.0")).is_err());
    }
}
