//! Dotenv files: one `NAME=VALUE` for each value, quoted as a POSIX shell has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::quote::quote;
use crate::value::SecretValue;

/// One line for each value; none of them holds a NUL.
pub(super) fn write(values: &BTreeMap<String, Arc<SecretValue>>) -> SecretValue {
    let mut text = Vec::new();
    for (name, value) in values {
        let Some(quoted) = quote(value) else { continue };
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(quoted.expose());
        text.push(b'\n');
    }
    SecretValue::new(text)
}

/// The values that [`write()`] wrote; `None` if it did not write this.
pub(super) fn read(text: &[u8]) -> Option<BTreeMap<String, SecretValue>> {
    let mut values = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, after) = rest.split_at_checked(equals)?;
        let name = std::str::from_utf8(name).ok().filter(|name| super::is_variable(name) && !name.is_empty())?;
        let (value, after) = read_value(after.get(1..)?)?;
        values.insert(name.to_owned(), value);
        rest = after;
    }
    Some(values)
}

/// One value and what follows its line.
fn read_value(text: &[u8]) -> Option<(SecretValue, &[u8])> {
    let (value, rest) = match text.split_first()? {
        (b'\'', rest) => {
            let end = rest.iter().position(|byte| *byte == b'\'')?;
            (rest.get(..end)?.to_vec(), rest.get(end.checked_add(1)?..)?)
        }
        (b'"', rest) => {
            let mut value = Vec::with_capacity(rest.len());
            let mut bytes = rest.iter();
            loop {
                match bytes.next()? {
                    b'"' => break,
                    b'\\' => value.push(*bytes.next()?),
                    byte => value.push(*byte),
                }
            }
            (value, bytes.as_slice())
        }
        (_, _) => {
            let end = text.iter().position(|byte| *byte == b'\n')?;
            (text.get(..end)?.to_vec(), text.get(end..)?)
        }
    };
    Some((SecretValue::new(value), rest.strip_prefix(b"\n")?))
}
