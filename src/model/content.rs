//! From the bytes that a store holds to what a target gets: `path`, then `transforms`, then `extract`.

use std::sync::Arc;

use crate::api::Reason;
use crate::model::extract::{Extract, Keys};
use crate::model::merge::Patch;
use crate::model::path::{LeafError, Path};
use crate::model::transform::{Transforms, beside};
use crate::model::{PlannedSecret, Problem};
use crate::value::SecretValue;

/// What a declaration says about the form of its value, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub path: Option<Path>,
    pub transforms: Transforms,
    pub extract: Option<Extract>,
}

impl Shape {
    /// Checks what is said after the merge.
    ///
    /// # Errors
    /// What cannot be used, or contradicts something else, for people.
    pub fn of(patch: &Patch) -> Result<Self, String> {
        let path = patch.path.as_deref().map(Path::parse).transpose();
        let path = path.map_err(|error| format!("`path` cannot be read {error}"))?;
        let transforms = Transforms::parse(patch.transforms.as_deref().unwrap_or_default())?;
        let extract = patch.extract.as_ref().map(Extract::parse).transpose()?;
        let beside = [
            ("key", patch.key.is_some()),
            ("path", patch.path.is_some()),
            ("default", patch.default.is_some()),
            ("expose", patch.expose.as_ref().is_some_and(|expose| !expose.is_empty())),
        ];
        match beside.iter().find(|(_, set)| *set && extract.is_some()) {
            Some((field, _)) => Err(format!(
                "it has `extract`, which brings its own keys, and `{field}`; remove one where both meet, or declare the \
                 value again under another name"
            )),
            None => Ok(Self { path, transforms, extract }),
        }
    }
}

/// What a declaration makes of a stored value.
pub(crate) struct Content {
    /// After `path` and `transforms`.
    pub value: Arc<SecretValue>,
    /// What `extract` takes out of it.
    pub keys: Option<Arc<Keys>>,
}

/// Applies what the declaration says to the value at `key` of its store.
///
/// # Errors
/// `PathNotFound` says that there is no value; everything else that there is one which cannot be used.
pub(crate) fn content(secret: &PlannedSecret, key: &str, stored: &Arc<SecretValue>) -> Result<Content, Problem> {
    let value = match &secret.path {
        Some(path) => Arc::new(leaf(path, key, stored)?),
        None => Arc::clone(stored),
    };
    let of_key = |problem: Problem| Problem::new(problem.reason, format!("the value at {key}: {}", problem.message));
    let value = secret.transforms.apply(&value).map_err(of_key)?;
    let keys = secret.extract.as_ref().map(|extract| extract.keys(&value).map_err(of_key)).transpose()?;
    Ok(Content { value, keys: keys.map(Arc::new) })
}

fn leaf(path: &Path, key: &str, value: &SecretValue) -> Result<SecretValue, Problem> {
    path.leaf(value).map_err(|error| match error {
        LeafError::NotFound { at, siblings } => {
            let message = format!("the value at {key} has nothing at {at}{}", beside(&siblings));
            Problem::new(Reason::PathNotFound, message)
        }
        LeafError::NotStructured => Problem::new(
            Reason::NotStructured,
            format!("`path` is {path}, but the value at {key} is no JSON or YAML document with structure"),
        ),
        LeafError::TooLarge => Problem::new(
            Reason::ValueTooLarge,
            format!("the value at {key}, or what is at {path} in it, is larger than a Secret may be"),
        ),
    })
}

#[cfg(test)]
mod tests;
