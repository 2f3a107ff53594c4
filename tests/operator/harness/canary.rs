//! Values that occur nowhere else, and how to find them again in whatever form they are written.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rand::RngExt as _;

/// Letters and digits in the middle of a canary. Being that, they look the same in text, in JSON and in a URL, escaped
/// or not.
const CORE: usize = 32;

/// The canaries of one test.
#[derive(Default)]
pub struct Canaries {
    cores: Mutex<Vec<String>>,
}

impl Canaries {
    /// A new value, with characters around its core that every notation escapes.
    pub fn make(&self) -> String {
        let core = random_word(CORE);
        let value = format!("c&\u{e9}\"{core}\\/ %\n");
        self.cores.lock().unwrap_or_else(PoisonError::into_inner).push(core);
        value
    }

    /// A new value of letters and digits only, to be put into documents.
    pub fn make_plain(&self) -> String {
        let core = random_word(CORE);
        self.cores.lock().unwrap_or_else(PoisonError::into_inner).push(core.clone());
        core
    }

    /// Takes another word for one.
    pub fn add(&self, word: &str) {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner).push(word.to_owned());
    }

    /// The notations in which a canary, or one half of it, occurs in `text`.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        self.traces_in(text).into_iter().map(|(form, notation)| format!("{form} ({notation})")).collect()
    }

    /// As [`Canaries::found_in`]: what occurs, and the notation.
    pub fn traces_in(&self, text: &str) -> Vec<(String, &'static str)> {
        let cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for core in cores.iter() {
            let (first, second) = core.split_at(core.len() / 2);
            for half in [first, second] {
                let traces = notations(half).into_iter().filter(|(_, form)| text.contains(form.as_str()));
                found.extend(traces.map(|(notation, form)| (form, notation)));
            }
        }
        found
    }
}

/// A random word of letters and digits.
pub fn random_word(length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// How a word may be written: as it is, in hexadecimal digits, and in base64 wherever it stands in what is encoded.
fn notations(word: &str) -> Vec<(&'static str, String)> {
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![("plain", word.to_owned()), ("HEX", hex.to_uppercase()), ("hex", hex)];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(word.as_bytes());
        // Digits of 6 bits that also hold bits of a neighbour differ from place to place.
        let skip = (before * 8).div_ceil(6);
        let whole = bytes.len() * 8 / 6;
        for (notation, encoded) in
            [("base64", STANDARD_NO_PAD.encode(&bytes)), ("base64url", URL_SAFE_NO_PAD.encode(&bytes))]
        {
            forms.push((notation, encoded[skip..whole].to_owned()));
        }
    }
    forms
}

#[test]
fn canaries_are_found_in_every_notation() {
    let canaries = Canaries::default();
    let value = canaries.make();
    let core = canaries.cores.lock().unwrap()[0].clone();
    let clean =
        format!("a log with other words {} and {}", random_word(CORE), STANDARD_NO_PAD.encode(random_word(CORE)));
    assert_eq!(canaries.found_in(&clean), Vec::<String>::new());
    let url: String = value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let (first, second) = core.split_at(core.len() / 2);
    for leak in [
        value.clone(),
        format!("{value:?}"),
        serde_json::to_string(&value).unwrap(),
        url,
        hex.clone(),
        hex.to_uppercase(),
        STANDARD_NO_PAD.encode(&value),
        STANDARD_NO_PAD.encode(format!("x{value}")),
        STANDARD_NO_PAD.encode(format!("xx{value}")),
        URL_SAFE_NO_PAD.encode(format!("xxx{value}")),
        first.to_owned(),
        second.to_owned(),
    ] {
        assert_ne!(canaries.found_in(&format!("before {leak} after")), Vec::<String>::new(), "{leak}");
    }
}
