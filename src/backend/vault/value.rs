//! Values as Vault keeps them: one JSON object for each key, of which Atmos uses the field `value`.
//!
//! | stored | `encoding: atmos` | `encoding: raw` |
//! |---|---|---|
//! | `{"value": "text"}` | the text | the text |
//! | `{"value": 1.50}`, `{"value": {…}}` | the JSON text, numbers with every digit | [`ErrorKind::Undecodable`] |
//! | `{"user": …, "password": …}` | the whole object as JSON text | [`ErrorKind::Undecodable`] |
//!
//! Both write `{"value": "text"}`. Bytes that are no text cannot be kept.

use json_event_parser::{JsonEvent, LowLevelJsonSerializer, SliceJsonParser};
use zeroize::Zeroizing;

use crate::api::store::Encoding;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The field that Atmos writes (`pkg/store/providers/hashicorp_vault_store.go` of cloudposse/atmos).
const FIELD: &str = "value";
/// The most that we write; integrated storage takes entries of 1 MiB
/// (<https://developer.hashicorp.com/vault/docs/internals/limits>).
const MAX_VALUE: usize = 1 << 20;

/// The value in an answer, whose object of fields lies at `path`; `None` if there is no object.
pub(super) fn decode(encoding: Encoding, body: &[u8], path: &[&str], name: &str) -> Result<Option<SecretValue>, Error> {
    let unreadable = |_| Error::new(ErrorKind::Unexpected, format!("cannot read {name}: the answer makes no sense"));
    let field: Vec<&str> = path.iter().copied().chain([FIELD]).collect();
    let strange = |what: &str| {
        let message = format!("cannot read {name}: {what}; encoding: atmos reads it as JSON");
        Err(Error::new(ErrorKind::Undecodable, message))
    };
    if let Some(found) = find(body, &field).map_err(unreadable)? {
        return match encoding {
            Encoding::Raw if !found.is_string => strange("its field value is no string"),
            Encoding::Raw | Encoding::Atmos => Ok(Some(found.text)),
        };
    }
    match find(body, path).map_err(unreadable)? {
        Some(found) if found.is_object => match encoding {
            Encoding::Raw => strange("it has no field value"),
            Encoding::Atmos => Ok(Some(found.text)),
        },
        Some(_) | None => Ok(None),
    }
}

/// The object to store for a value, as JSON.
pub(super) fn encode(value: &SecretValue, name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = value.expose();
    if bytes.len() > MAX_VALUE {
        return Err(Error::new(ErrorKind::TooLarge, format!("the value for {name} is larger than 1 MiB")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let message = format!(
            "the value for {name} is no text (UTF-8), and Vault keeps nothing else: encode it, such as by base64"
        );
        Error::new(ErrorKind::Unsupported, message)
    })?;
    // Room for the longest escapes, so that no copy is left behind: `\u001f` takes six bytes for one.
    let escapes = bytes.iter().filter(|byte| byte.is_ascii_control() || matches!(byte, b'"' | b'\\')).count();
    let room = bytes.len().saturating_add(escapes.saturating_mul(5)).saturating_add(64);
    let mut object = Zeroizing::new(Vec::with_capacity(room));
    object.extend_from_slice(b"{\"value\":");
    let written = serde_json::to_writer(&mut *object, text);
    written
        .map_err(|_| Error::new(ErrorKind::Unexpected, format!("the value for {name} cannot be written as JSON")))?;
    object.push(b'}');
    Ok(object)
}

/// Not JSON. The parser's own words quote what it read.
struct Malformed;

struct Found {
    /// The text of a string, the JSON text of anything else.
    text: SecretValue,
    is_string: bool,
    is_object: bool,
}

/// What lies at a path of names in an object.
fn find(body: &[u8], path: &[&str]) -> Result<Option<Found>, Malformed> {
    let mut parser = SliceJsonParser::new(body);
    for name in path {
        if next(&mut parser)? != JsonEvent::StartObject {
            return Ok(None);
        }
        loop {
            match next(&mut parser)? {
                JsonEvent::ObjectKey(key) if key == *name => break,
                JsonEvent::ObjectKey(_) => {
                    let first = next(&mut parser)?;
                    each(&mut parser, first, |_| Ok(()))?;
                }
                // The end of the object; nothing else can come here.
                _ => return Ok(None),
            }
        }
    }
    let first = match next(&mut parser)? {
        JsonEvent::String(text) => {
            let text = SecretValue::from(text.into_owned());
            return Ok(Some(Found { text, is_string: true, is_object: false }));
        }
        first => first,
    };
    let is_object = first == JsonEvent::StartObject;
    // What is written is never longer than what was read: Vault escapes more than we do.
    let mut text = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut serializer = LowLevelJsonSerializer::new();
    each(&mut parser, first, |event| serializer.serialize_event(event, &mut *text).map_err(|_| Malformed))?;
    Ok(Some(Found { text: SecretValue::new(std::mem::take(&mut *text)), is_string: false, is_object }))
}

/// Hands on the events of one JSON value, of which `first` was read already.
fn each<'a>(
    parser: &mut SliceJsonParser<'a>,
    first: JsonEvent<'a>,
    mut take: impl FnMut(JsonEvent<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let (mut depth, mut event) = (0usize, first);
    loop {
        match &event {
            JsonEvent::StartObject | JsonEvent::StartArray => depth += 1,
            JsonEvent::EndObject | JsonEvent::EndArray => depth = depth.checked_sub(1).ok_or(Malformed)?,
            JsonEvent::Eof => return Err(Malformed),
            JsonEvent::String(_)
            | JsonEvent::Number(_)
            | JsonEvent::Boolean(_)
            | JsonEvent::Null
            | JsonEvent::ObjectKey(_) => {}
        }
        take(event)?;
        if depth == 0 {
            return Ok(());
        }
        event = next(parser)?;
    }
}

fn next<'a>(parser: &mut SliceJsonParser<'a>) -> Result<JsonEvent<'a>, Malformed> {
    parser.parse_next().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn read(encoding: Encoding, data: &str) -> Result<Option<String>, ErrorKind> {
        let body =
            format!(r#"{{"request_id": "x", "data": {{"metadata": {{"version": 1}}, "data": {data}}}, "auth": null}}"#);
        match decode(encoding, body.as_bytes(), &["data", "data"], "K") {
            Ok(found) => Ok(found.map(|value| String::from_utf8(value.expose().to_vec()).unwrap())),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn reads_what_atmos_wrote_and_every_digit_of_what_others_did() {
        let cases = [
            (r#"{"value": "text"}"#, "text"),
            (r#"{"value": ""}"#, ""),
            (r#"{"value": "{\"a\":1}"}"#, r#"{"a":1}"#),
            (r#"{"value": "a\u003cb\n\u00fc\ud83d\udd11"}"#, "a<b\nü\u{1f511}"),
            (r#"{"value": 12345678901234567890.10}"#, "12345678901234567890.10"),
            (r#"{"value": 1e5}"#, "1e5"),
            (r#"{"value": true}"#, "true"),
            (r#"{"value": null}"#, "null"),
            (r#"{"value": {"b": 1.50, "a": ["x", 1.0]}}"#, r#"{"b":1.50,"a":["x",1.0]}"#),
            (r#"{"other": {"value": "inner"}, "value": "outer"}"#, "outer"),
            (r#"{"user": "u", "password": "a\u003cb\"", "n": 1.10}"#, r#"{"user":"u","password":"a<b\"","n":1.10}"#),
            (r#"{}"#, "{}"),
        ];
        for (data, expected) in cases {
            assert_eq!(read(Encoding::Atmos, data).unwrap().unwrap(), expected, "{data}");
        }
        assert_eq!(read(Encoding::Atmos, "null"), Ok(None));
        assert_eq!(read(Encoding::Raw, r#"{"value": "\"quoted\""}"#), Ok(Some("\"quoted\"".to_owned())));
        for strange in [r#"{"value": 1}"#, r#"{"value": {"a": 1}}"#, r#"{"user": "u"}"#] {
            assert_eq!(read(Encoding::Raw, strange), Err(ErrorKind::Undecodable), "{strange}");
        }
    }

    #[test]
    fn what_is_no_json_is_no_value() {
        for body in ["", "oops", "[]", "{\"data\": {\"data\": {\"value\": \"x", "{\"data\": {\"data\": {\"value\": }}}"]
        {
            let result = decode(Encoding::Atmos, body.as_bytes(), &["data", "data"], "K");
            assert!(!matches!(result, Ok(Some(_))), "{body}");
        }
    }

    #[test]
    fn writes_one_object_that_is_read_back() {
        for text in ["", "text\n", "\"quoted\" \\", "\u{1}\u{1f}\u{7f}", "ü\u{2028}<&>", "0012.50", "{\"a\": 1}"] {
            let object = encode(&SecretValue::from(text.to_owned()), "K").unwrap();
            let expected = serde_json::json!({ "value": text }).to_string();
            assert_eq!(std::str::from_utf8(&object).unwrap(), expected);
            assert_eq!(read(Encoding::Raw, &expected).unwrap().unwrap(), text);
        }
        let kind = |bytes: Vec<u8>| encode(&SecretValue::new(bytes), "K").err().unwrap().kind;
        assert_eq!(kind(vec![0xff, 0xfe]), ErrorKind::Unsupported);
        assert_eq!(kind(vec![b'x'; MAX_VALUE + 1]), ErrorKind::TooLarge);
    }
}
