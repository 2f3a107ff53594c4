//! Keeps everything that this process logs, to be searched for values.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::suite::CANARY;

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<()> = OnceLock::new();

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to keep what is logged; once per process, whoever comes first.
pub fn watch() {
    INSTALLED.get_or_init(|| {
        let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Writer);
        tracing::subscriber::set_global_default(everything.finish()).expect("one subscriber");
    });
}

/// Fails if a value was logged, plain or as base64 wherever it begins in a group of three bytes.
pub fn assert_clean() {
    let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("requesting") || text.contains("conformance"), "nothing was kept of the log");
    for form in forms() {
        assert!(!text.contains(&form), "a value is in the log as {form}");
    }
}

/// The forms in which the canary would show.
pub fn forms() -> Vec<String> {
    use base64::Engine as _;
    let base64 = (0..3).map(|offset| {
        let padded = [vec![0; offset], CANARY.as_bytes().to_vec()].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(padded);
        // The first and last groups depend on the neighbours.
        text.get(4..text.len() - 4).expect("a long canary").to_owned()
    });
    std::iter::once(CANARY.to_owned()).chain(base64).collect()
}
