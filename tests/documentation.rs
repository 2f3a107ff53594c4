//! The written documentation against what there is: links, tests, reasons, metrics, verbs and flags.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use atmos_secrets::api::Reason;
use atmos_secrets::metrics::{Gauges, Metrics};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// Every page that people write or read, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let top = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "e2e/README.md",
        "examples/quickstart/README.md",
        "examples/gitops/README.md",
    ];
    let mut found: Vec<PathBuf> = top.iter().map(|name| root().join(name)).collect();
    collect(&root().join("docs"), &mut found);
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a page"))).collect()
}

/// How GitHub names the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        // What stands in code is no link.
        let text: String = text.split('`').step_by(2).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let reachable = target.exists()
                && (fragment.is_empty()
                    || std::fs::read_to_string(&target)
                        .unwrap()
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == fragment));
            if !reachable {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Code spans that look like a test, `path/of/file.rs::name`, and those that are only a file.
#[test]
fn every_test_that_is_named_exists() {
    let mut seen = 0;
    let mut missing = Vec::new();
    for (page, text) in pages() {
        for span in text.split('`').skip(1).step_by(2) {
            let exists = match span.split_once("::") {
                Some((file, name)) if file.ends_with(".rs") => {
                    seen += 1;
                    let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
                    source.contains(&format!("fn {name}("))
                }
                None if span.ends_with(".rs") => root().join(span).exists() || page.with_file_name(span).exists(),
                Some(_) | None => true,
            };
            if !exists {
                missing.push(format!("{}: {span}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 50, "only {seen} tests are named: were the pages read?");
}

/// The first cells of the rows of tables below a heading, without their backticks.
fn rows<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
    let (_before, below) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    let section = below.split("\n#").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_runbook_has_every_reason_once_in_order() {
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(rows(&read("docs/operations.md"), "## Reasons"), words);
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let metrics = Metrics::new().unwrap();
    metrics.synced("user", "ok", Duration::ZERO);
    metrics.store_called("read", "ok", Duration::ZERO);
    let text = String::from_utf8(metrics.render(&Gauges::default()).unwrap()).unwrap();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let documented = read("docs/operations.md");
    assert_eq!(
        rows(&documented, "### Metrics").into_iter().collect::<BTreeSet<_>>(),
        families.collect::<BTreeSet<_>>()
    );
}

fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The flags in code spans of a text.
fn flags(text: &str) -> BTreeSet<&str> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || character == '-');
    text.split(|character: char| character.is_whitespace() || character == '`' || character == '(')
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter_map(|word| word.split(ends).next())
        .collect()
}

#[test]
fn the_page_of_the_plugin_knows_its_verbs_and_flags() {
    let plugin = env!("CARGO_BIN_EXE_kubectl-atmos_secret");
    let page = read("docs/plugin.md");
    let overview = help(plugin, &[]);
    let (_before, commands) = overview.split_once("Commands:\n").unwrap();
    let verbs: BTreeSet<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    let documented = rows(&page, "## Verbs");
    let documented: BTreeSet<&str> = documented.iter().filter_map(|cell| cell.split(' ').next()).collect();
    assert_eq!(documented, verbs);

    let mut known = overview.clone();
    for verb in &verbs {
        known.push_str(&help(plugin, &[verb]));
    }
    // Of cargo and openssl.
    let others = ["--release"];
    let unknown: Vec<_> =
        flags(&page).into_iter().filter(|flag| !others.contains(flag) && !known.contains(flag)).collect();
    assert!(unknown.is_empty(), "docs/plugin.md has flags that the plugin has not: {unknown:?}");
}

#[test]
fn the_page_of_operations_knows_the_flags_of_the_operator() {
    let known = help(env!("CARGO_BIN_EXE_atmos-secrets-operator"), &[]);
    let page = read("docs/operations.md");
    let documented = rows(&page, "## Running it");
    let shown: BTreeSet<&str> =
        flags(&known).into_iter().filter(|flag| !matches!(*flag, "--help" | "--version")).collect();
    assert_eq!(documented.into_iter().filter(|cell| cell.starts_with("--")).collect::<BTreeSet<_>>(), shown);
}

/// What the README shows as a Stack is what the quickstart applies, but for how many lines it takes.
#[test]
fn the_stack_of_the_readme_is_that_of_the_quickstart() {
    let readme = read("README.md");
    let (_before, rest) = readme.split_once("```yaml\n").unwrap();
    let shown = parsed(rest.split("```").next().unwrap());
    let applied = parsed(&read("examples/quickstart/stack.yaml"));
    assert_eq!(shown["spec"]["secrets"], applied["spec"]["secrets"]);
    for (name, component) in shown["spec"]["components"]["terraform"].as_object().unwrap() {
        let mut real = applied["spec"]["components"]["terraform"][name].clone();
        for declaration in real["secrets"]["vars"].as_object_mut().unwrap().values_mut() {
            declaration.as_object_mut().unwrap().remove("description");
        }
        assert_eq!(*component, real, "{name}");
    }
}

fn parsed(yaml: &str) -> serde_json::Value {
    #[expect(clippy::disallowed_methods, reason = "our own files, in a test")]
    serde_saphyr::from_str(yaml).unwrap()
}
