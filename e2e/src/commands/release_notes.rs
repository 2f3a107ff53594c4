//! `e2e release-notes`: what CHANGELOG.md says of one version, for the page of its release.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::print;

/// Print what the changelog says of a version
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The version, or its tag: 1.2.3 or v1.2.3
    version: String,
    /// The changelog
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../CHANGELOG.md"), value_name = "FILE")]
    changelog: PathBuf,
    /// Where the files of the repository are, for the links of the text
    #[arg(long, default_value = env!("CARGO_PKG_REPOSITORY"), value_name = "URL")]
    repository: String,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { version, changelog, repository } = arguments;
    let version = version.strip_prefix('v').unwrap_or(&version);
    let text = std::fs::read_to_string(&changelog).with_context(|| format!("cannot read {}", changelog.display()))?;
    let notes = section(&text, version).with_context(|| format!("{} has no notes", name(&changelog)))?;
    print(format_args!("{}", with_full_links(notes, &format!("{repository}/blob/v{version}"))));
    Ok(())
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy()
}

/// What stands below the heading `## [version] - date`.
fn section<'t>(changelog: &'t str, version: &str) -> anyhow::Result<&'t str> {
    let heading = format!("## [{version}]");
    let start = changelog
        .match_indices(&heading)
        .find(|(at, _)| *at == 0 || changelog[..*at].ends_with('\n'))
        .map(|(at, _)| at + heading.len())
        .with_context(|| {
            format!("version {version} has no section: give what is under [Unreleased] a heading \"{heading} - DATE\"")
        })?;
    let (date, below) = changelog[start..].split_once('\n').unwrap_or((&changelog[start..], ""));
    let date = date.strip_prefix(" - ").unwrap_or_default();
    anyhow::ensure!(
        date.parse::<jiff::civil::Date>().is_ok(),
        "the heading of version {version} has no date: write \"{heading} - 2000-12-31\""
    );
    // The next version, or the targets of links at the end.
    let end = below.match_indices('\n').map(|(at, _)| at + 1).chain([0]).filter(|at| {
        let rest = &below[*at..];
        rest.starts_with("## ")
            || (rest.starts_with('[') && rest.lines().next().is_some_and(|line| line.contains("]: ")))
    });
    let body = below[..end.min().unwrap_or(below.len())].trim();
    anyhow::ensure!(!body.is_empty(), "the section of version {version} is empty: say what changed for its users");
    Ok(body)
}

/// A page of releases is not in the repository, so links to its files would lead nowhere.
fn with_full_links(text: &str, root: &str) -> String {
    let mut parts = text.split("](");
    let mut full = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        full.push_str("](");
        let target = part.split(')').next().unwrap_or_default();
        if !target.contains("://") && !target.starts_with('#') {
            full.push_str(root);
            full.push('/');
        }
        full.push_str(part);
    }
    full
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const CHANGELOG: &str = "\
# Changelog

How it is kept: a heading `## [1.2.0]` for each version.

## [Unreleased]

### Added

- Something new.

## [1.2.0] - 2026-02-28

### Fixed

- A [link](docs/a.md#b), [another](https://example.org/x) and [one here](#fixed).
- [Begins with one](a.md).

## [1.1.0] - 2026-01-31

## [1.0.0]

- No date.

## [0.9.0] - 2025-12-31
- The last.

[1.2.0]: https://example.org/v1.2.0
";

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let notes = section(CHANGELOG, "1.2.0").unwrap();
        assert!(notes.starts_with("### Fixed") && notes.ends_with("(a.md)."), "{notes}");
        assert_eq!(section(CHANGELOG, "0.9.0").unwrap(), "- The last.");
    }

    #[test]
    fn what_is_no_release_has_no_notes() {
        for (version, words) in [
            ("1.2", "version 1.2 has no section"),
            ("2.0.0", "heading \"## [2.0.0] - DATE\""),
            ("1.1.0", "the section of version 1.1.0 is empty"),
            ("1.0.0", "the heading of version 1.0.0 has no date"),
            ("Unreleased", "the heading of version Unreleased has no date"),
        ] {
            let error = section(CHANGELOG, version).unwrap_err().to_string();
            assert!(error.contains(words), "{version}: {error}");
        }
    }

    #[test]
    fn links_to_files_lead_to_the_repository() {
        let notes = with_full_links(section(CHANGELOG, "1.2.0").unwrap(), "https://r/blob/v1.2.0");
        for link in [
            "(https://r/blob/v1.2.0/docs/a.md#b)",
            "(https://example.org/x)",
            "(#fixed)",
            "(https://r/blob/v1.2.0/a.md)",
        ] {
            assert!(notes.contains(link), "{link} is not in {notes}");
        }
    }
}
