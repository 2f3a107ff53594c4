//! `NAME=VALUE` lines that read back to the same bytes.
//!
//! The form is that of a POSIX shell (Shell Command Language, section 2.2): as it is where no character is special, else
//! in single quotes, else in double quotes with a backslash before `\`, `"`, `$` and `` ` ``. Readers of `.env` files
//! understand the same forms.

use crate::value::SecretValue;

/// The value, quoted where it must be; `None` if it holds a NUL, which no environment can.
#[must_use]
pub fn quote(value: &SecretValue) -> Option<SecretValue> {
    let bytes = value.expose();
    if bytes.contains(&0) {
        return None;
    }
    if !bytes.is_empty() && bytes.iter().copied().all(is_plain) {
        return Some(SecretValue::new(bytes.to_vec()));
    }
    // Room for the worst case, so that no copy stays behind when the buffer grows.
    let mut quoted = Vec::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    if bytes.contains(&b'\'') {
        quoted.push(b'"');
        for byte in bytes {
            if matches!(byte, b'\\' | b'"' | b'$' | b'`') {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted.push(b'"');
    } else {
        quoted.push(b'\'');
        quoted.extend_from_slice(bytes);
        quoted.push(b'\'');
    }
    Some(SecretValue::new(quoted))
}

/// Bytes that neither a shell nor a reader of `.env` files treats as special.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b'@' | b'%' | b'+' | b',')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn quoted(bytes: &[u8]) -> Vec<u8> {
        quote(&SecretValue::new(bytes.to_vec())).unwrap().expose().to_vec()
    }

    #[test]
    fn quotes_only_where_it_must() {
        for (value, line) in [
            (&b"plain-1.2/x@y"[..], &b"plain-1.2/x@y"[..]),
            (b"", b"''"),
            (b"two words", b"'two words'"),
            (b"$HOME `x` \"y\"", b"'$HOME `x` \"y\"'"),
            (b"it's $5", b"\"it's \\$5\""),
            (b"a#b", b"'a#b'"),
        ] {
            assert_eq!(quoted(value), line);
        }
        assert!(quote(&SecretValue::new(vec![b'a', 0])).is_none());
    }

    /// A shell gives back the same bytes. A line feed at the end is kept apart by the dot, since `$(…)` drops it.
    fn through_a_shell(bytes: &[u8]) -> Vec<u8> {
        let mut script = b"A=".to_vec();
        script.extend_from_slice(&quoted(bytes));
        script.extend_from_slice(b"\nprintf %s \"$A\"");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, script).unwrap();
        Command::new("sh").arg(file).env("LC_ALL", "C").output().unwrap().stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn reads_back_through_a_shell(bytes in prop::collection::vec(prop_oneof![
            1 => 1u8..=255,
            1 => prop::sample::select(b"'\"\\$`\n\r !#~*".to_vec()),
        ], 0..40)) {
            prop_assert_eq!(through_a_shell(&bytes), bytes);
        }
    }
}
