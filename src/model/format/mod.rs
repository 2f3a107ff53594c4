//! How a target lays its values out: one key for each, or all of them in one document.
//!
//! A document has one line for each name, in the order of the names, and each form can be read back exactly: so a document
//! keeps the last good bytes of a name, as the keys of a Secret do.
//!
//! | format | key | line | value |
//! |---|---|---|---|
//! | `Dotenv` | `.env` | `NAME=VALUE` | as it is, else in single quotes, else in double quotes with backslashes: see `quote` |
//! | `Json` | `secrets.json` | `"NAME": "VALUE"` in one object | a JSON string |
//! | `Yaml` | `secrets.yaml` | `"NAME": "VALUE"` | the same, which is a double-quoted YAML scalar |
//!
//! `TfvarsEnv` is no document: its keys are `TF_VAR_<key>`, for `envFrom`.

mod dotenv;
pub mod json;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::Reason;
use crate::api::stack::Format;
use crate::model::render::MAX_SECRET_BYTES;
use crate::model::{PlannedTarget, Problem};
use crate::value::SecretValue;

/// What Terraform reads a variable from (<https://developer.hashicorp.com/terraform/cli/config/environment-variables#tf_var_name>).
const TERRAFORM: &str = "TF_VAR_";

/// The key of a document; `None` where every value has its own.
pub(crate) fn document_key(format: Format) -> Option<&'static str> {
    match format {
        Format::Data | Format::TfvarsEnv => None,
        Format::Dotenv => Some(".env"),
        Format::Json => Some("secrets.json"),
        Format::Yaml => Some("secrets.yaml"),
    }
}

/// What a value that would have `key` in the data is called in this format, if it can be.
pub(crate) fn name_in(format: Format, key: &str) -> Result<String, String> {
    let rule = "letters, digits and `_` are allowed, and no digit at the start";
    match format {
        Format::Data | Format::Json | Format::Yaml => Ok(key.to_owned()),
        Format::Dotenv if is_variable(key) => Ok(key.to_owned()),
        Format::Dotenv => Err(format!("`{key}` is no name in a dotenv file: {rule}")),
        Format::TfvarsEnv if is_variable(key) => Ok(format!("{TERRAFORM}{key}")),
        Format::TfvarsEnv => Err(format!("`{key}` is no name of a Terraform variable: {rule}")),
    }
}

/// The key that has this name in the format: what [`name_in`] turned around.
pub(crate) fn key_of(format: Format, name: &str) -> Option<&str> {
    match format {
        Format::Data | Format::Json | Format::Yaml | Format::Dotenv => Some(name),
        Format::TfvarsEnv => name.strip_prefix(TERRAFORM),
    }
}

/// A name of an environment variable that every shell takes (POSIX, Base Definitions, section 3.216 "Name").
fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a document held.
pub(crate) enum Contents {
    /// There is no document.
    None,
    /// These values by name.
    Values(BTreeMap<String, SecretValue>),
    /// Something that was not written in this format.
    Unreadable,
}

/// Reads what [`lay_out`] wrote.
pub(crate) fn contents(format: Format, data: &BTreeMap<String, SecretValue>) -> Contents {
    let Some(document) = document_key(format).and_then(|key| data.get(key)) else { return Contents::None };
    let values = match format {
        Format::Data | Format::TfvarsEnv => return Contents::None,
        Format::Dotenv => dotenv::read(document.expose()),
        Format::Json => read_object(document.expose()),
        Format::Yaml => {
            let lines: Vec<&[u8]> =
                document.expose().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            let object = SecretValue::new([b"{", lines.join(&b","[..]).as_slice(), b"}"].concat());
            read_object(object.expose())
        }
    };
    values.map_or(Contents::Unreadable, Contents::Values)
}

fn read_object(json: &[u8]) -> Option<BTreeMap<String, SecretValue>> {
    let values: BTreeMap<String, String> = serde_json::from_slice(json).ok()?;
    Some(values.into_iter().map(|(name, value)| (name, SecretValue::from(value))).collect())
}

/// What the Secret holds if these are the values.
///
/// # Errors
/// A value cannot stand in the format, or all of them are too large together; the problem names the key.
pub(crate) fn lay_out(
    target: &PlannedTarget,
    values: BTreeMap<String, Arc<SecretValue>>,
) -> Result<BTreeMap<String, Arc<SecretValue>>, Problem> {
    for (name, value) in &values {
        if let Err(rule) = fits(target.format, value) {
            let message = format!("the value of {name} in target {} {rule}", target.name);
            return Err(Problem::new(Reason::TypeMismatch, message));
        }
    }
    let Some(key) = document_key(target.format) else { return Ok(values) };
    // Every form is longer than its values: so no document is built only to be refused.
    if values.values().map(|value| value.expose().len()).sum::<usize>() > MAX_SECRET_BYTES {
        let message =
            format!("the values of target {} are larger than 1 MiB together; use several targets", target.name);
        return Err(Problem::new(Reason::ValueTooLarge, message));
    }
    if values.is_empty() {
        // Like a Secret whose keys have no value yet: nothing is there.
        return Ok(BTreeMap::new());
    }
    let document = match target.format {
        Format::Data | Format::TfvarsEnv => return Ok(values),
        Format::Dotenv => dotenv::write(&values),
        Format::Json => write_object(&values, "{\n  ", ",\n  ", "\n}\n"),
        Format::Yaml => write_object(&values, "", "\n", "\n"),
    };
    Ok(BTreeMap::from([(key.to_owned(), Arc::new(document))]))
}

/// Whether a value can stand in the format, else why not and what to do.
fn fits(format: Format, value: &SecretValue) -> Result<(), &'static str> {
    let is_text = || std::str::from_utf8(value.expose()).is_ok();
    let has_nul = || value.expose().contains(&0);
    match format {
        Format::Data => Ok(()),
        Format::Dotenv if has_nul() => Err("holds a NUL, which no dotenv file can; use format Data for it"),
        Format::Dotenv => Ok(()),
        Format::Json | Format::Yaml if !is_text() => {
            Err("is not UTF-8, which JSON and YAML must be; use format Data, or a template with b64encode")
        }
        Format::Json | Format::Yaml => Ok(()),
        Format::TfvarsEnv if has_nul() || !is_text() => {
            Err("holds a NUL or is not UTF-8, which no environment variable can be; use a template with b64encode")
        }
        Format::TfvarsEnv => Ok(()),
    }
}

fn write_object(values: &BTreeMap<String, Arc<SecretValue>>, start: &str, between: &str, end: &str) -> SecretValue {
    let mut text = start.to_owned();
    for (index, (name, value)) in values.iter().enumerate() {
        text.push_str(if index > 0 { between } else { "" });
        json::write(name, &mut text);
        text.push_str(": ");
        json::write(std::str::from_utf8(value.expose()).unwrap_or_default(), &mut text);
    }
    text.push_str(end);
    SecretValue::from(text)
}
