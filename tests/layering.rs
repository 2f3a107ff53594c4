//! Holds the layers against the source: which module may import which, and what pure ones must do without.
//!
//! Fails on an import that the table does not allow, and on a module or a layer that the table or the source does not
//! have. Paths are read from the source itself, `use` trees and paths in expressions alike, `super` resolved.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One layer.
struct Layer {
    name: &'static str,
    /// Its modules; `name::*` with everything below.
    modules: &'static [&'static str],
    /// The layers that it may import, besides itself.
    may_import: &'static [&'static str],
    /// Words that must not occur in its code, tests aside.
    without: &'static [&'static str],
}

/// A cluster, a clock, the environment or waiting: what pure code has no use for.
const IMPURE: &[&str] =
    &["kube::Client", "Api<", "async ", ".await", "tokio::", "std::env", "SystemTime", "Instant::", "::now()"];

/// Types for the API server, which come from `kube`, but nothing that talks to it.
const NO_CLUSTER: &[&str] = &["kube::Client", "Api<", "async ", ".await", "tokio::", "std::env"];

/// What the modules called `tests` may import everywhere.
const TEST_STORE: &str = "test store";

const LAYERS: &[Layer] = &[
    Layer { name: "value", modules: &["value"], may_import: &[], without: IMPURE },
    Layer { name: "memory", modules: &["memory"], may_import: &[], without: IMPURE },
    Layer { name: "api", modules: &["api::*"], may_import: &[], without: NO_CLUSTER },
    Layer { name: "metrics", modules: &["metrics"], may_import: &[], without: NO_CLUSTER },
    Layer { name: "cluster", modules: &["cluster::*"], may_import: &["api", "value"], without: &["std::env"] },
    Layer { name: "sops", modules: &["sops::*"], may_import: &["value"], without: &["kube", "tokio::", "std::env"] },
    Layer {
        name: "contract",
        modules: &["backend", "backend::error"],
        may_import: &["api", "value"],
        without: &["kube::", "tokio::", "std::env"],
    },
    Layer { name: "model", modules: &["model::*"], may_import: &["api", "value", "contract"], without: IMPURE },
    Layer {
        name: "reading",
        modules: &["backend::guarded::*", "backend::batch::*", "backend::pool::*", "backend::rotation::*"],
        may_import: &["value", "contract"],
        without: &["kube::", "std::env"],
    },
    Layer {
        name: "drivers",
        modules: &["backend::kubernetes::*"],
        may_import: &["api", "value", "contract", "cluster"],
        without: &["std::env"],
    },
    Layer {
        name: "sops driver",
        modules: &["backend::sops::*"],
        may_import: &["api", "value", "contract", "cluster", "sops", "drivers", "credentials", "network", "aws"],
        without: &["std::env"],
    },
    Layer {
        name: "vault driver",
        modules: &["backend::vault::*"],
        may_import: &["api", "value", "contract", "network", "credentials"],
        without: &["kube::", "std::env"],
    },
    Layer {
        name: "gcp driver",
        modules: &["backend::gcp_secret_manager::*"],
        may_import: &["api", "value", "contract", "network", "credentials", "encoding"],
        without: &["kube::", "std::env"],
    },
    Layer { name: "encoding", modules: &["backend::encoding"], may_import: &["api", "value"], without: IMPURE },
    Layer {
        name: "network",
        modules: &["backend::network::*"],
        may_import: &["value", "contract"],
        without: &["kube::", "std::env"],
    },
    Layer {
        name: "aws",
        modules: &["backend::aws::*"],
        may_import: &["value", "contract", "network"],
        without: &["kube::", "std::env"],
    },
    Layer {
        name: "credentials",
        modules: &["backend::credentials::*"],
        may_import: &["api", "value", "contract", "cluster", "network", "drivers", "aws"],
        without: &["std::env"],
    },
    Layer {
        name: "azure driver",
        modules: &["backend::azure_key_vault::*"],
        may_import: &["api", "value", "contract", "network", "credentials", "encoding"],
        without: &["kube::", "std::env"],
    },
    Layer {
        name: "aws drivers",
        modules: &["backend::aws_secrets_manager::*", "backend::aws_ssm::*"],
        may_import: &["api", "value", "contract", "network", "credentials", "encoding", "aws"],
        without: &["kube::", "std::env"],
    },
    // The reference implementation, compiled for tests only.
    Layer {
        name: TEST_STORE,
        modules: &["backend::memory::*"],
        may_import: &["value", "contract", "reading"],
        without: &["std::env"],
    },
    Layer {
        name: "connect",
        modules: &["backend::connect::*"],
        may_import: &[
            "api",
            "value",
            "contract",
            "cluster",
            "sops",
            "reading",
            "network",
            "credentials",
            "drivers",
            "sops driver",
            "vault driver",
            "aws drivers",
            "gcp driver",
            "azure driver",
        ],
        without: &["std::env"],
    },
    Layer {
        name: "controller",
        modules: &["controller::*"],
        may_import: &[
            "api",
            "value",
            "metrics",
            "cluster",
            "model",
            "contract",
            "reading",
            "network",
            "credentials",
            "connect",
        ],
        without: &["std::env"],
    },
    Layer {
        name: "cli",
        modules: &["cli::*"],
        may_import: &[
            "api",
            "value",
            "cluster",
            "model",
            "contract",
            "reading",
            "network",
            "credentials",
            "connect",
            "sops",
        ],
        without: &[],
    },
    Layer {
        name: "process",
        modules: &["process::*"],
        may_import: &[
            "api",
            "value",
            "metrics",
            "cluster",
            "model",
            "contract",
            "network",
            "credentials",
            "controller",
        ],
        without: &[],
    },
    Layer { name: "binaries", modules: &["bin::*"], may_import: &["process", "cli", "memory"], without: &[] },
];

impl Layer {
    fn has(&self, module: &str) -> bool {
        self.modules.iter().any(|mine| match mine.strip_suffix("::*") {
            Some(top) => module == top || module.strip_prefix(top).is_some_and(|rest| rest.starts_with("::")),
            None => module == *mine,
        })
    }
}

fn layer_of(module: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.has(module))
}

#[test]
fn every_import_is_allowed() {
    let sources = sources();
    let modules: BTreeSet<&str> = sources.keys().map(String::as_str).collect();
    let mut breaches = BTreeSet::new();
    for (module, source) in &sources {
        let Some(layer) = layer_of(module) else { continue };
        for path in imports(module, &source.code) {
            // Items of the crate's root do not exist: src/lib.rs holds no logic.
            let Some(imported) = module_of(&path, &modules) else { continue };
            let Some(other) = layer_of(imported) else { continue };
            let in_a_test = other.name == TEST_STORE && is_for_tests(module);
            if other.name != layer.name && !layer.may_import.contains(&other.name) && !in_a_test {
                breaches.insert(format!("{module} ({}) imports {path} ({})", layer.name, other.name));
            }
        }
    }
    assert!(breaches.is_empty(), "breaches of the layers:\n{}", breaches.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn pure_layers_stay_pure() {
    let mut breaches = Vec::new();
    for (module, source) in &sources() {
        let Some(layer) = layer_of(module).filter(|_| !is_for_tests(module)) else { continue };
        let product = source.code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for word in layer.without.iter().filter(|word| product.contains(**word)) {
            breaches.push(format!("{module} ({}) must do without `{word}`", layer.name));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_module_has_one_layer_and_every_layer_a_module() {
    let sources = sources();
    for module in sources.keys().filter(|module| !module.is_empty()) {
        let layers: Vec<&str> = LAYERS.iter().filter(|layer| layer.has(module)).map(|layer| layer.name).collect();
        assert_eq!(layers.len(), 1, "module {module} must be in exactly one layer of the table, but is in {layers:?}");
    }
    for layer in LAYERS {
        for other in layer.may_import {
            assert!(
                LAYERS.iter().any(|layer| layer.name == *other),
                "{} may import {other}, which is no layer",
                layer.name
            );
        }
        assert!(sources.keys().any(|module| layer.has(module)), "no module belongs to the layer {}", layer.name);
    }
}

/// People read the table of `src/lib.rs` first.
#[test]
fn the_map_lists_every_module() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed: BTreeSet<&str> =
        map.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split_once("`]")).map(|(name, _)| name).collect();
    let declared: BTreeSet<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(listed, declared);
}

#[test]
fn no_two_layers_import_each_other() {
    for layer in LAYERS {
        let mut reached: BTreeSet<&str> = layer.may_import.iter().copied().collect();
        let mut waiting: Vec<&str> = reached.iter().copied().collect();
        while let Some(name) = waiting.pop() {
            let next = LAYERS.iter().find(|layer| layer.name == name).unwrap();
            waiting.extend(next.may_import.iter().filter(|name| reached.insert(name)));
        }
        assert!(!reached.contains(layer.name), "{} reaches itself", layer.name);
    }
}

/// A file without its comments and the content of its strings.
struct Source {
    code: String,
}

/// Every module of the crate by path; the root is "".
fn sources() -> BTreeMap<String, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().with_extension("");
                let mut names: Vec<&str> = relative.iter().map(|name| name.to_str().unwrap()).collect();
                if matches!(names.last(), Some(&("mod" | "lib"))) {
                    names.pop();
                }
                let code = without_comments_and_strings(&std::fs::read_to_string(&path).unwrap());
                sources.insert(names.join("::"), Source { code });
            }
        }
    }
    assert!(sources.len() > 50, "the source was not found");
    sources
}

fn is_for_tests(module: &str) -> bool {
    module.split("::").any(|name| name == "tests")
}

/// The longest beginning of a path that is a module.
fn module_of<'m>(path: &str, modules: &BTreeSet<&'m str>) -> Option<&'m str> {
    let mut path = path;
    loop {
        if let Some(module) = modules.get(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// The paths into this crate that occur in a module, from the crate's root on.
fn imports(module: &str, code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    // Modules written inside the file, each with the depth of braces around it.
    let mut inner: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match *token {
            "{" => {
                if index >= 2 && tokens[index - 2] == "mod" {
                    inner.push((tokens[index - 1], depth));
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                inner.pop_if(|(_, at)| *at == depth);
            }
            "crate" | "super" | "self" | "atmos_secrets"
                if tokens.get(index + 1) == Some(&"::") && (index == 0 || tokens[index - 1] != "::") =>
            {
                let here =
                    module.split("::").filter(|name| !name.is_empty()).chain(inner.iter().map(|(name, _)| *name));
                let mut base: Vec<&str> = here.collect();
                let mut next = index;
                match *token {
                    "crate" | "atmos_secrets" => base.clear(),
                    "super" => drop(base.pop()),
                    _ => {}
                }
                while tokens.get(next + 1) == Some(&"::") && tokens.get(next + 2) == Some(&"super") {
                    base.pop();
                    next += 2;
                }
                tree(&tokens, next + 2, &base, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Reads what follows `base::` and returns where it ends: names parted by `::`, or a list of such in braces.
fn tree(tokens: &[&str], mut at: usize, base: &[&str], found: &mut BTreeSet<String>) -> usize {
    let mut path = base.to_vec();
    loop {
        match tokens.get(at).copied() {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    let end = tree(tokens, at, &path, found);
                    // `as name` and commas, and whatever is no list of names after all.
                    at = end.max(at + 1);
                    while tokens.get(at).is_some_and(|token| matches!(*token, "," | "as")) {
                        at += if tokens[at] == "as" { 2 } else { 1 };
                    }
                }
                return at + 1;
            }
            Some(name) if name.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                path.push(name);
                at += 1;
                if tokens.get(at) != Some(&"::") {
                    found.insert(path.join("::"));
                    return at;
                }
                at += 1;
            }
            _ => {
                found.insert(path.join("::"));
                return at + 1;
            }
        }
    }
}

/// Names, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// Leaves the code alone: comments become nothing, strings and characters become empty strings.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.trim_start_matches('#'));
        let hashes = raw.map_or(0, |after| rest.len() - 1 - after.len());
        let in_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if raw.is_some_and(|after| after.starts_with('"')) && (!in_word || code.ends_with('b')) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            rest[start..].find(&end).map_or(rest.len(), |found| start + found + end.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            if !rest.starts_with('/') {
                code.push_str("\"\"");
            }
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

#[test]
fn paths_are_found_wherever_they_are_written() {
    let code = without_comments_and_strings(
        r##"
        // use crate::comment::A;
        use crate::{api::{self, Reason as Why}, model::{Plan, plan::*}};
        use super::stacks::{Read, within};
        const TEXT: &str = "crate::string"; const RAW: &str = r#"crate::"raw""#; const QUOTE: char = '"';
        fn f<'a>(x: &'a crate::value::SecretValue) { super::super::metrics::g(self::own::h::<crate::sops::Key>()) }
        mod tests { use super::*; use super::super::claims; }
        use crate::cluster::Objects;
        "##,
    );
    let expected = [
        "api::self",
        "api::Reason",
        "model::Plan",
        "model::plan",
        "controller::stacks::Read",
        "controller::stacks::within",
        "value::SecretValue",
        "metrics::g",
        "controller::route::own::h",
        "sops::Key",
        "controller::route",
        "controller::claims",
        "cluster::Objects",
    ];
    assert_eq!(imports("controller::route", &code), expected.map(str::to_owned).into());
}
