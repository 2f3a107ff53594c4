//! The memory of a running operator, searched for values.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::Context as _;

use super::{Operator, Tenant};

const PAGE: usize = 4096;

/// A command that becomes an operator whose memory this process may read although it forbids that.
///
/// Root may. Anybody else may in a user namespace that he made: there he has every capability (`man 7 user_namespaces`).
pub fn readable() -> Vec<String> {
    if e2e::account::is_root() {
        Vec::new()
    } else {
        ["unshare", "--user", "--map-root-user"].map(str::to_owned).into()
    }
}

impl Operator {
    /// Everything in memory that it can write to, page by page without those that hold zeros only, each mapping with its
    /// name. What is no ASCII becomes a question mark.
    pub fn memory(&self) -> anyhow::Result<Vec<(String, String)>> {
        let folder = format!("/proc/{}", self.id());
        let maps = std::fs::read_to_string(format!("{folder}/maps"))
            .with_context(|| format!("cannot read {folder}/maps: run as root, or allow user namespaces"))?;
        let memory = File::open(format!("{folder}/mem"))
            .with_context(|| format!("cannot read {folder}/mem: run as root, or allow user namespaces"))?;
        let mut found = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            if !rights.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').context("a mapping without an end")?;
            let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
            let name = format!("{range} {}", words.nth(3).unwrap_or("anonymous"));
            found.push((name, text(&memory, start, end)));
        }
        Ok(found)
    }
}

/// Memory that went away since the list of mappings was read is left out.
fn text(memory: &File, start: u64, end: u64) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut pages = vec![0; 256 * PAGE];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).map_or(pages.len(), |left| left.min(pages.len()));
        pages.truncate(length);
        if memory.read_exact_at(&mut pages, at).is_err() {
            break;
        }
        kept.extend(pages.chunks(PAGE).filter(|page| **page != [0; PAGE]).flatten());
        at += length as u64;
    }
    for byte in &mut kept {
        if !byte.is_ascii() {
            *byte = b'?';
        }
    }
    String::from_utf8(kept).unwrap_or_default()
}

impl Tenant {
    /// Where this test's values are in the memory of an operator, each with what surrounds it.
    pub fn values_in_memory(&self, operator: &Operator) -> anyhow::Result<Vec<String>> {
        let mut hits = Vec::new();
        for (mapping, text) in operator.memory()? {
            for (form, notation) in self.canaries.traces_in(&text) {
                let mut hit = format!("{form} ({notation}) in {mapping}");
                for (at, _) in text.match_indices(&form) {
                    let around = text.get(at.saturating_sub(200)..(at + 200).min(text.len())).unwrap_or_default();
                    write!(hit, "\n    {}", around.escape_debug())?;
                }
                hits.push(hit);
            }
        }
        Ok(hits)
    }
}
