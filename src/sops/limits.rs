//! Bounds on what a file may cost to read, so that a crafted one cannot take the process's time or memory.

use super::error::Error;

/// How large a file may be. Reading stops with an error at the first bound that is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file. Default 1.5 MiB: what fits in one object of the API server (etcd's default request limit).
    pub file_bytes: usize,
    /// Levels of nested maps and lists. Default 100, far above real files and far below what recursion can take.
    pub depth: usize,
    /// Values, comments, maps and lists, counted after aliases are expanded. Default 250,000: a file of 1.5 MiB cannot hold
    /// that many encrypted values (each takes more than 100 bytes), so only expansions and plaintext reach it.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 3 << 19, depth: 100, nodes: 250_000 }
    }
}

/// How much more text than the file's own limit its aliases may expand to.
const EXPANSION_FACTOR: usize = 4;

/// What is left of the [`Limits`] while one file is read.
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    nodes: usize,
    bytes: usize,
}

impl<'a> Budget<'a> {
    /// The whole budget, after checking the size of the file itself.
    pub(super) fn for_file(bytes: &[u8], limits: &'a Limits) -> Result<Self, Error> {
        if bytes.len() > limits.file_bytes {
            return Err(Error::TooLarge { limit: limits.file_bytes, expanded: false });
        }
        Ok(Self { limits, nodes: 0, bytes: 0 })
    }

    /// Pays for one more node with `bytes` of text.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Error::TooManyNodes { limit: self.limits.nodes });
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let limit = self.limits.file_bytes.saturating_mul(EXPANSION_FACTOR);
        if self.bytes > limit {
            return Err(Error::TooLarge { limit, expanded: true });
        }
        Ok(())
    }

    /// Refuses a map or list that would stand inside `levels` others.
    pub(super) fn check_depth(&self, levels: usize, line: usize) -> Result<(), Error> {
        if levels >= self.limits.depth {
            return Err(Error::TooDeep { limit: self.limits.depth, line });
        }
        Ok(())
    }

    /// The error for nesting that a parser refused before it reached us.
    pub(super) fn too_deep(&self, line: usize) -> Error {
        Error::TooDeep { limit: self.limits.depth, line }
    }
}
