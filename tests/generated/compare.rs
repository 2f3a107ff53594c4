//! Files of the repository that are written by a program.

use std::path::Path;

/// Compares a file of the repository with what it should hold, or writes it.
#[expect(clippy::disallowed_methods, reason = "the Makefile says by it what to do")]
pub fn compare(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some((line, (found, expected))) =
        lines(&found).zip(lines(expected)).enumerate().find(|(_, (found, expected))| found != expected)
    {
        panic!(
            "{path} is not what the code says; write it with `make crds docs chart`\nline {}\n  file: {}\n  code: {}",
            line + 1,
            found.unwrap_or("(ends)"),
            expected.unwrap_or("(ends)")
        );
    }
}

/// The lines and then nothing for ever, so that the end of one file differs from a line of the other.
fn lines(text: &str) -> impl Iterator<Item = Option<&str>> {
    text.split('\n').map(Some).chain(std::iter::repeat(None)).take(LONGEST)
}

/// More lines than any generated file has.
const LONGEST: usize = 100_000;
