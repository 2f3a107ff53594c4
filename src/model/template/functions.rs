//! What a template may call: every filter, every function and every test, and nothing else.
//!
//! All are pure: bytes in, bytes out; no input or output, no clock, no environment, no randomness. They are also the only
//! places where a template makes new values, and each pays from the [`Budget`] of its render before it makes one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Value, ValueKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::model::format::json;
use crate::model::quote::quote;
use crate::model::template::Trouble;
use crate::value::SecretValue;

/// One thing that a template may call.
pub struct Callable {
    /// Its name.
    pub name: &'static str,
    /// How many arguments it takes; what stands left of the `|` of a filter is not counted.
    pub arguments: RangeInclusive<usize>,
    pub(super) apply: fn(&[Value], &Budget) -> Result<Value, Trouble>,
}

/// The filters: `VALUE | name(arguments)`.
pub const FILTERS: &[Callable] = &[
    Callable { name: "b64encode", arguments: 0..=0, apply: b64encode },
    Callable { name: "default", arguments: 1..=1, apply: default },
    Callable { name: "dotenv", arguments: 0..=0, apply: dotenv },
    Callable { name: "join", arguments: 0..=1, apply: join },
    Callable { name: "split", arguments: 1..=1, apply: split },
    Callable { name: "tojson", arguments: 0..=0, apply: document },
    Callable { name: "toyaml", arguments: 0..=0, apply: document },
    Callable { name: "trim", arguments: 0..=0, apply: trim },
    Callable { name: "urlencode", arguments: 0..=0, apply: urlencode },
];

/// The functions: `name(arguments)`.
pub const FUNCTIONS: &[Callable] =
    &[Callable { name: "dockerconfigjson", arguments: 3..=30, apply: docker_config_json }];

/// The tests: `VALUE is name`.
pub const TESTS: &[&str] = &["defined", "undefined"];

/// The characters of a URL that need no encoding wherever they stand (RFC 3986, section 2.3, "unreserved").
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What an element of a list costs beside its bytes: no less than the engine's own value.
const ELEMENT: usize = 32;

/// The bytes that one render may still take in and put out in its filters and functions.
///
/// So neither a chain of filters nor a loop around them can hold, or work through, more than this.
pub struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    pub(super) fn spend(&self, bytes: usize) -> Result<(), Trouble> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .map(drop)
            .map_err(|_| Trouble::TooMuchWork)
    }

    /// Pays for reading `bytes` and for writing at most `factor` bytes for each.
    fn spend_for(&self, bytes: &[u8], factor: usize) -> Result<(), Trouble> {
        self.spend(bytes.len().saturating_mul(factor.saturating_add(1)))
    }
}

/// The text of a value: text itself, or a whole number as the template wrote it.
pub(super) fn text(value: &Value) -> Result<std::borrow::Cow<'_, str>, Trouble> {
    match value.kind() {
        ValueKind::Undefined => Err(Trouble::Undefined),
        ValueKind::Bytes => Err(Trouble::NotText),
        ValueKind::String => value.as_str().map(Into::into).ok_or(Trouble::NotText),
        ValueKind::Number if value.is_integer() => Ok(value.to_string().into()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => Err(Trouble::WrongType("a list or a map is no text")),
        // The engine may add kinds; none of them is text.
        _ => Err(Trouble::WrongType("only text and whole numbers can be written")),
    }
}

/// The bytes of a value that need not be text.
fn bytes(value: &Value) -> Result<std::borrow::Cow<'_, [u8]>, Trouble> {
    match value.kind() {
        ValueKind::Bytes => value.as_bytes().map(Into::into).ok_or(Trouble::NotText),
        _ => text(value).map(|text| match text {
            std::borrow::Cow::Borrowed(text) => text.as_bytes().into(),
            std::borrow::Cow::Owned(text) => text.into_bytes().into(),
        }),
    }
}

fn first(arguments: &[Value]) -> Result<&Value, Trouble> {
    arguments.first().ok_or(Trouble::Unexpected)
}

fn b64encode(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let bytes = bytes(first(arguments)?)?;
    budget.spend_for(&bytes, 2)?;
    Ok(STANDARD.encode(bytes).into())
}

fn default(arguments: &[Value], _budget: &Budget) -> Result<Value, Trouble> {
    let (value, fallback) = (first(arguments)?, arguments.get(1).ok_or(Trouble::Unexpected)?);
    Ok(if value.is_undefined() { fallback.clone() } else { value.clone() })
}

fn dotenv(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let text = text(first(arguments)?)?;
    budget.spend_for(text.as_bytes(), 3)?;
    let quoted = quote(&SecretValue::new(text.as_bytes().to_vec()))
        .ok_or(Trouble::WrongType("a value with a NUL cannot stand in a dotenv file"))?;
    std::str::from_utf8(quoted.expose()).map(Value::from).map_err(|_| Trouble::Unexpected)
}

fn urlencode(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let bytes = bytes(first(arguments)?)?;
    budget.spend_for(&bytes, 3)?;
    Ok(percent_encode(&bytes, NOT_UNRESERVED).to_string().into())
}

fn trim(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let text = text(first(arguments)?)?;
    budget.spend_for(text.as_bytes(), 1)?;
    Ok(text.trim().into())
}

fn split(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let text = text(first(arguments)?)?;
    let separator = arguments.get(1).map_or(Err(Trouble::Unexpected), self::text)?;
    if separator.is_empty() {
        return Err(Trouble::WrongType("split needs a separator that is not empty"));
    }
    budget.spend_for(text.as_bytes(), 1)?;
    let parts = text.matches(&*separator).count().saturating_add(1);
    budget.spend(parts.saturating_mul(ELEMENT))?;
    Ok(Value::from(text.split(&*separator).map(Value::from).collect::<Vec<_>>()))
}

fn join(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let list = first(arguments)?;
    let separator = arguments.get(1).map_or(Ok("".into()), text)?;
    let mut joined = String::new();
    for (index, element) in elements(list)?.enumerate() {
        let part = text(&element)?;
        let separator = if index > 0 { &*separator } else { "" };
        // A growing text is copied to a larger place: at most once more in the long run.
        budget.spend(separator.len().saturating_add(part.len()).saturating_mul(3))?;
        joined.push_str(separator);
        joined.push_str(&part);
    }
    Ok(joined.into())
}

fn elements(list: &Value) -> Result<impl Iterator<Item = Value>, Trouble> {
    match list.kind() {
        ValueKind::Undefined => Err(Trouble::Undefined),
        ValueKind::Seq => {
            let length = list.len().ok_or(Trouble::Unexpected)?;
            Ok((0..length).map(|index| list.get_item_by_index(index).unwrap_or(Value::UNDEFINED)))
        }
        _ => Err(Trouble::WrongType("join takes a list, such as [A, B]")),
    }
}

/// JSON that is YAML as well; see `model::format::json`.
fn document(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let mut written = String::new();
    write_document(first(arguments)?, budget, &mut written)?;
    Ok(written.into())
}

fn write_document(value: &Value, budget: &Budget, out: &mut String) -> Result<(), Trouble> {
    budget.spend(ELEMENT)?;
    match value.kind() {
        ValueKind::Undefined => return Err(Trouble::Undefined),
        ValueKind::Bytes => return Err(Trouble::NotText),
        ValueKind::String => {
            let text = text(value)?;
            budget.spend_for(text.as_bytes(), json::WORST)?;
            json::write(&text, out);
        }
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&text(value)?),
        ValueKind::Seq => {
            out.push('[');
            for (index, element) in elements(value)?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_document(&element, budget, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().map_err(|_| Trouble::Unexpected)?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_document(&key, budget, out)?;
                out.push_str(": ");
                write_document(&value.get_item(&key).map_err(|_| Trouble::Unexpected)?, budget, out)?;
            }
            out.push('}');
        }
        _ => {
            return Err(Trouble::WrongType(
                "only text, whole numbers, true, false, none, lists and maps can be written",
            ));
        }
    }
    Ok(())
}

/// The content of a `.dockerconfigjson` for registries that are given in threes: server, user name, password.
///
/// The form is that of `kubectl create secret docker-registry`.
/// Source: <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/#inspecting-the-secret-regcred>;
/// `auth` is Basic authentication (RFC 7617, section 2), where the first colon ends the user name.
fn docker_config_json(arguments: &[Value], budget: &Budget) -> Result<Value, Trouble> {
    let (registries, rest) = arguments.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(Trouble::WrongType(
            "dockerconfigjson takes a server, a user name and a password for each registry",
        ));
    }
    let mut servers = BTreeSet::new();
    let mut written = "{\"auths\": {".to_owned();
    for (index, [server, username, password]) in registries.iter().enumerate() {
        let (server, username, password) = (text(server)?, text(username)?, text(password)?);
        if username.contains(':') {
            return Err(Trouble::WrongType("the user name of a registry cannot have a colon"));
        }
        for part in [&server, &username, &password] {
            // As itself, and once more in `auth`.
            budget.spend_for(part.as_bytes(), json::WORST.saturating_add(4))?;
        }
        let auth = STANDARD.encode(format!("{username}:{password}"));
        written.push_str(if index > 0 { ", " } else { "" });
        json::write(&server, &mut written);
        for (key, value) in
            [(": {\"username\": ", &*username), (", \"password\": ", &*password), (", \"auth\": ", &auth)]
        {
            written.push_str(key);
            json::write(value, &mut written);
        }
        written.push('}');
        if !servers.insert(server) {
            return Err(Trouble::WrongType("dockerconfigjson was given one server twice"));
        }
    }
    written.push_str("}}");
    Ok(written.into())
}
