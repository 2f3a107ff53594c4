//! The bill of materials has what is shipped, and nothing that only tests use.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{e2e, read, root, text};

/// The systems that the image is for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

fn sbom(target: &str) -> String {
    let output = e2e(&["sbom", "--target", target, "--created", "2030-01-31T12:00:00.5+01:00"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn packages(document: &Value) -> BTreeMap<(String, String), Value> {
    let word = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let packages = document["packages"].as_array().unwrap();
    packages.iter().map(|package| ((word(package, "name"), word(package, "versionInfo")), package.clone())).collect()
}

/// Name and version of each table of Cargo.lock, with its checksum.
fn locked() -> BTreeMap<(String, String), Option<String>> {
    let lock = read("Cargo.lock");
    let field = |table: &str, name: &str| {
        let (_, rest) = table.split_once(&format!("\n{name} = \""))?;
        Some(rest.split('"').next().unwrap().to_owned())
    };
    let tables = lock.split("[[package]]").skip(1);
    tables
        .map(|table| ((field(table, "name").unwrap(), field(table, "version").unwrap()), field(table, "checksum")))
        .collect()
}

/// What cargo would compile for one target, from its own list of units: another way than the one that the program goes.
fn compiled(target: &str) -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--locked", "--package", "atmos-secrets-operator", "--edges", "normal,build"];
    let format = ["--target", target, "--prefix", "none", "--format", "{p}"];
    let output = Command::new("cargo").args(arguments).args(format).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let words = |line: &str| {
        let mut words = line.split(' ');
        (words.next().unwrap().to_owned(), words.next().unwrap().trim_start_matches('v').to_owned())
    };
    text(&output.stdout).lines().map(words).collect()
}

/// The keys of a table of Cargo.toml.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let (_, below) = manifest.split_once(&format!("\n[{table}]\n")).unwrap();
    let lines = below.split("\n[").next().unwrap().lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once([' ', '.', '='])?.0.to_owned())).collect()
}

#[test]
fn every_crate_that_is_shipped_is_there_with_version_licence_and_checksum() {
    let locked = locked();
    for target in TARGETS {
        let document: Value = serde_json::from_str(&sbom(target)).unwrap();
        let packages = packages(&document);
        assert!(packages.len() > 200, "{} crates", packages.len());
        for (crate_, package) in &packages {
            let checksum = locked.get(crate_).unwrap_or_else(|| panic!("{crate_:?} is not in Cargo.lock"));
            let licence = package["licenseDeclared"].as_str().unwrap();
            assert!(!licence.is_empty() && licence != "NOASSERTION" && !licence.contains('/'), "{crate_:?}: {licence}");
            match checksum {
                Some(checksum) => {
                    assert_eq!(package["checksums"][0]["algorithm"], "SHA256");
                    assert_eq!(package["checksums"][0]["checksumValue"], checksum.as_str(), "{crate_:?}");
                }
                None => assert_eq!(crate_.0, "atmos-secrets-operator", "all others come from the registry"),
            }
        }
        assert_eq!(packages.keys().cloned().collect::<BTreeSet<_>>(), compiled(target), "{target}");
        let names: BTreeSet<&str> = packages.keys().map(|(name, _)| name.as_str()).collect();
        for name in dependencies(&read("Cargo.toml"), "dependencies") {
            assert!(names.contains(name.as_str()), "{name} is not in the bill of materials");
        }
    }
}

#[test]
fn what_only_tests_use_is_not_there() {
    let document: Value = serde_json::from_str(&sbom(TARGETS[0])).unwrap();
    let packages = packages(&document);
    let names: BTreeSet<&str> = packages.keys().map(|(name, _)| name.as_str()).collect();
    let manifest = read("Cargo.toml");
    let shipped = dependencies(&manifest, "dependencies");
    let for_tests = dependencies(&manifest, "dev-dependencies");
    for known in ["e2e", "rops", "mlua", "proptest"] {
        assert!(for_tests.iter().any(|name| name == known), "{known} is a dependency of tests: {for_tests:?}");
    }
    // Of the package e2e, which is for development as a whole.
    let of_e2e = ["rcgen".to_owned()];
    for name in for_tests.iter().chain(&of_e2e).filter(|name| !shipped.contains(name)) {
        assert!(!names.contains(name.as_str()), "{name} is in the bill of materials");
    }
}

/// The rules of SPDX 2.3 that a reader relies on.
#[test]
fn it_is_a_document_of_spdx() {
    let printed = sbom(TARGETS[1]);
    assert_eq!(printed, sbom(TARGETS[1]), "the same source gives the same document");
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["dataLicense"], "CC0-1.0");
    assert_eq!(document["creationInfo"]["created"], "2030-01-31T11:00:00Z");
    let namespace = document["documentNamespace"].as_str().unwrap();
    assert!(namespace.starts_with("https://github.com/atmos-secrets/") && !namespace.contains('#'), "{namespace}");
    assert_ne!(serde_json::from_str::<Value>(&sbom(TARGETS[0])).unwrap()["documentNamespace"], namespace);

    let mut identifiers = BTreeSet::from(["SPDXRef-DOCUMENT".to_owned()]);
    for package in document["packages"].as_array().unwrap() {
        let identifier = package["SPDXID"].as_str().unwrap();
        let rest = identifier.strip_prefix("SPDXRef-").unwrap();
        assert!(rest.chars().all(|character| character.is_ascii_alphanumeric() || ".-".contains(character)), "{rest}");
        assert!(identifiers.insert(identifier.to_owned()), "{identifier} is there twice");
        let location = package["downloadLocation"].as_str().unwrap();
        let locator = package["externalRefs"][0]["referenceLocator"].as_str().unwrap();
        let is_found = location.starts_with("git+https://") || package["checksums"][0]["checksumValue"].is_string();
        assert!(is_found && locator.starts_with("pkg:cargo/"), "{package}");
    }
    let mut reached = BTreeSet::from(["SPDXRef-DOCUMENT".to_owned()]);
    for relationship in document["relationships"].as_array().unwrap() {
        let end = |field: &str| relationship[field].as_str().unwrap().to_owned();
        let (from, to) = (end("spdxElementId"), end("relatedSpdxElement"));
        assert!(identifiers.contains(&from) && identifiers.contains(&to), "{relationship}");
        match relationship["relationshipType"].as_str().unwrap() {
            "DESCRIBES" => assert_eq!(from, "SPDXRef-DOCUMENT"),
            "DEPENDS_ON" | "BUILD_DEPENDENCY_OF" => {}
            other => panic!("{other}"),
        }
        reached.extend([from, to]);
    }
    assert_eq!(reached, identifiers, "every crate has somebody who uses it");
    // What runs while building is told apart from what is linked in.
    let is = |how: &str, name: &str| {
        let start = format!("SPDXRef-crate-{name}-");
        let side = if how == "DEPENDS_ON" { "relatedSpdxElement" } else { "spdxElementId" };
        document["relationships"].as_array().unwrap().iter().any(|relationship| {
            let version = relationship[side].as_str().unwrap().strip_prefix(&start);
            relationship["relationshipType"] == how
                && version.is_some_and(|version| version.starts_with(char::is_numeric))
        })
    };
    assert!(is("DEPENDS_ON", "tokio") && !is("BUILD_DEPENDENCY_OF", "tokio"));
    assert!(is("BUILD_DEPENDENCY_OF", "syn") && !is("DEPENDS_ON", "syn"));
}
