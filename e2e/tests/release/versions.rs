//! One version everywhere.

use crate::{parsed, read};

/// The versions that have a section, newest first, as numbers.
fn released() -> Vec<[u64; 3]> {
    let changelog = read("CHANGELOG.md");
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split(']').next());
    headings.filter(|version| *version != "Unreleased").map(numbers).collect()
}

fn numbers(version: &str) -> [u64; 3] {
    let numbers: Vec<u64> = version.split('.').map(|part| part.parse().expect(version)).collect();
    numbers.try_into().expect(version)
}

#[test]
fn package_chart_and_changelog_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = parsed(&read("charts/atmos-secrets-operator/Chart.yaml"));
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);

    let released = released();
    assert!(released.is_sorted_by(|newer, older| newer > older), "CHANGELOG.md: newest first: {released:?}");
    // The version is raised with the section of its release, so it is never behind the changelog, and only before the very
    // first release ahead of it.
    match released.first() {
        Some(newest) => assert_eq!(*newest, numbers(version), "the newest section of CHANGELOG.md"),
        None => assert!(read("CHANGELOG.md").contains("\n## [Unreleased]\n"), "CHANGELOG.md says nothing of {version}"),
    }
}

#[test]
fn every_section_of_the_changelog_has_a_link() {
    let changelog = read("CHANGELOG.md");
    for heading in changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split(']').next()) {
        assert!(changelog.contains(&format!("\n[{heading}]: https://")), "[{heading}] leads nowhere");
    }
}

/// Commands that are to be copied name the version that there is.
#[test]
fn the_pages_name_the_version() {
    let page = read("docs/install.md");
    let named: Vec<&str> = page
        .split(|character: char| !(character.is_ascii_digit() || character == '.'))
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.split('.').count() == 3)
        .collect();
    assert!(!named.is_empty());
    for version in named {
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "docs/install.md");
    }
}
