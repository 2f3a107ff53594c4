//! Expressions mean here what they mean to `sops`: the values that a file's rule has encrypted are the same ones.

use super::oracle::{Identity, encrypt};
use crate::sops::{Creation, Format, Path, Selection};

/// Names that the expressions below tell apart. Some stand for one mistake each: `a_b` is no letter between `&&`, `word` has
/// no boundary that is written `\<`, `a-b` and `a]b` hold what a class may end or stretch with.
const NAMES: [&str; 17] = [
    "ab", "a_b", "a&b", "a[b", "a]b", "a~b", "a-b", "a^b", "a{,2}", "aa", "a{ 2}", "<word>", "word", "A", "7", "ä",
    "a\\b",
];

const EXPRESSIONS: [&str; 35] = [
    "^[a-z&&_]+$",
    "^[a&&b]+$",
    "^[a&b]+$",
    "^[a~~b]+$",
    "^[^[]+$",
    "^[[ab]+$",
    "^[ab[]+$",
    "^[]ab]+$",
    "^[^]ab]+$",
    "^[-ab]+$",
    "^[ab-]+$",
    "^[a\\]b]+$",
    "^[a\\-b]+$",
    "^[\\w-]+$",
    "^[\\w-b]+$",
    "^[^\\W]+$",
    "^[[:alpha:]]+$",
    "^[[:^alpha:]]+$",
    "^[[:alpha:]_&&]+$",
    "^[[:alpha:]-]+$",
    "^[A-[]+$",
    "^[Z-[:b]+$",
    "^[a^b]+$",
    "^[\\x61\\x{62}\\137]+$",
    "^[\\p{L}_]+$",
    "^\\p{^Lu}+$",
    "^\\P{Lu}+$",
    "\\<word\\>",
    "\\bword\\b",
    "^a{,2}$",
    "^a{2}$",
    "^a{ 2}$",
    "(?i)^[[:upper:]_]+$",
    "^(?:a|\\x41)[^b\\\\]?$",
    "^[+--ab]+$",
];

/// What Go does not take, or means in a way that is not written here.
const REFUSED: [&str; 13] = [
    "[a--]",
    "[[:letter:]]",
    "[a",
    "[b-a]",
    "[!-\\w]",
    "[\\b]",
    "\\B",
    "\\Qa\\E",
    "\\u0061",
    "(?x)a b",
    "a{1001}",
    "\\p{sc=Greek}",
    "\\",
];

#[test]
fn what_an_expression_selects_is_what_sops_selects() {
    let identity = Identity::generate();
    let plain: serde_json::Map<String, serde_json::Value> =
        NAMES.into_iter().map(|name| (name.to_owned(), "value".into())).collect();
    let plain = serde_json::to_string(&plain).unwrap();
    for expression in EXPRESSIONS {
        let rule = format!("encrypted_regex: {}", serde_json::to_string(expression).unwrap());
        let file = encrypt(&identity, &rule, Format::Json, &plain);
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        let selection = Some(Selection::EncryptedRegex(expression.to_owned()));
        let creation = Creation { selection, ..Creation::default() };
        let of = |encrypts: &dyn Fn(&str) -> bool| -> Vec<&str> {
            NAMES.into_iter().filter(|name| encrypts(name)).collect()
        };
        let theirs = of(&|name| file[name].as_str().unwrap().starts_with("ENC["));
        let ours = of(&|name| match creation.encrypts(&Path::key(name)) {
            Ok(encrypts) => encrypts.unwrap(),
            Err(error) => panic!("{expression}: {error}"),
        });
        assert_eq!(ours, theirs, "{expression}");
        assert!(theirs.len() < NAMES.len(), "{expression} tells nothing");
    }
    for expression in REFUSED {
        let selection = Some(Selection::EncryptedRegex(expression.to_owned()));
        let creation = Creation { selection, ..Creation::default() };
        assert!(creation.encrypts(&Path::key("a")).is_err(), "{expression}");
    }
}
