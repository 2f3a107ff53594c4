//! How deep levels are indented in new files, as the `stores` of a `.sops.yaml` say it.

use super::error::Error;
use super::tree::{self, Kind, Map, Node};

/// The most blanks of one level.
const MOST: usize = 16;

/// How deep levels are indented in a new file; none: as `sops` does where nothing is said. A file that is there keeps its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indents {
    /// Blanks of one level of YAML, as `stores.yaml.indent` says. None: 4.
    pub yaml: Option<usize>,
    /// Blanks of one level of JSON, as `stores.json.indent` says. None: a tab.
    pub json: Option<usize>,
    /// Blanks of one level of the JSON that holds a binary file, as `stores.json_binary.indent` says. None: a tab.
    pub binary: Option<usize>,
}

impl Indents {
    /// Those of a `.sops.yaml`.
    ///
    /// # Errors
    /// [`Error::BadCreationRules`] with the field.
    pub(super) fn of_config(config: &Map) -> Result<Self, Error> {
        let Some(stores) = map(config, "stores", "stores")? else { return Ok(Self::default()) };
        Ok(Self {
            yaml: indent(stores, "yaml", None)?,
            json: indent(stores, "json", Some("-1"))?,
            binary: indent(stores, "json_binary", Some("-1"))?,
        })
    }
}

/// The number that a store has, unless it is the one that stands for none.
fn indent(stores: &Map, store: &str, none: Option<&str>) -> Result<Option<usize>, Error> {
    let field = format!("stores.{store}");
    let Some(fields) = map(stores, store, &field)? else { return Ok(None) };
    let bad = || bad(&format!("{field}.indent"), "is not a number of blanks, up to 16");
    let text = match tree::get(fields, "indent") {
        None | Some(Node::Null) => return Ok(None),
        Some(Node::Scalar(scalar)) if scalar.kind == Kind::Integer => scalar.as_str().ok_or_else(bad)?,
        Some(Node::Scalar(_) | Node::Map(_) | Node::List(_)) => return Err(bad()),
    };
    if none == Some(text) {
        return Ok(None);
    }
    text.parse().ok().filter(|blanks| *blanks <= MOST).map(Some).ok_or_else(bad)
}

fn map<'a>(of: &'a Map, name: &str, field: &str) -> Result<Option<&'a Map>, Error> {
    match tree::get(of, name) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Map(map)) => Ok(Some(map)),
        Some(Node::Scalar(_) | Node::List(_)) => Err(bad(field, "is not a map")),
    }
}

fn bad(field: &str, problem: &'static str) -> Error {
    Error::BadCreationRules { field: field.to_owned(), problem }
}
