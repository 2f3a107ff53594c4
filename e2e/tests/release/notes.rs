//! Release notes from the changelog.

use crate::{e2e, read, text};

#[test]
fn the_notes_of_a_version_are_its_section() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("CHANGELOG.md");
    // The changelog of the day when it is released.
    let released = read("CHANGELOG.md").replacen("## [Unreleased]", "## [Unreleased]\n\n## [9.9.9] - 2030-01-31", 1);
    std::fs::write(&file, released).unwrap();
    let notes = |version: &str| e2e(&["release-notes", version, "--changelog", file.to_str().unwrap()]);

    let with_tag = notes("v9.9.9");
    assert!(with_tag.status.success(), "{}", text(&with_tag.stderr));
    let said = text(&with_tag.stdout);
    assert!(said.contains("### Added\n") && !said.contains("## ["), "{said}");
    assert!(said.contains("](https://github.com/atmos-secrets/atmos-secrets-operator/blob/v9.9.9/docs/"), "{said}");
    assert_eq!(text(&notes("9.9.9").stdout), said);
}

#[test]
fn without_a_section_there_is_no_release() {
    let output = e2e(&["release-notes", "v99.0.0"]);
    assert!(!output.status.success());
    assert_eq!(text(&output.stdout), "");
    let words = text(&output.stderr);
    assert!(words.contains("CHANGELOG.md has no notes: version 99.0.0 has no section: give what"), "{words}");
}
