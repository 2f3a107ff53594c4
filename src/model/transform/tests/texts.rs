//! Regular expressions and PEM bundles.

use super::*;

#[test]
fn expressions_replace_what_they_match() {
    let replace =
        |pattern: &str, replacement: &str| json!({"regexReplace": {"pattern": pattern, "replacement": replacement}});
    check(&[
        (replace("a+", "-"), b"aabaaab", "-b-b"),
        (replace("(?<user>[^:]+):(?<word>.+)", "${word}@$1 $$5"), b"bob:secret", "secret@bob $5"),
        (replace("^", "> "), b"a\nb", "> a\nb"),
        (replace("(?m)^", "> "), b"a\nb", "> a\n> b"),
        (replace(r"\s+$", ""), b"end  \n", "end"),
    ]);
    check(&[
        (replace("x*", "-"), "aéx!".as_bytes(), "-a-é-!-"),
        (replace("(a)|(b)", "[$1$2]"), b"abc", "[a][b]c"),
        (replace("(?i)BEARER ", ""), b"Bearer abc", "abc"),
        (replace(r"\w+", "w"), "größe 1".as_bytes(), "w w"),
        (replace(r"(?-u:\b)a", "A"), b"a ba a", "A ba A"),
        (replace(r"(?-u:\B)", "-"), "éaé".as_bytes(), "-éaé-"),
        (replace("nothing", "x"), b"text", "text"),
        (replace("a|ab", "x"), b"abab", "xbxb"),
        (
            replace("a", "x"),
            b"\xffa",
            "TransformFailed: `transforms[0]` (regexReplace) cannot be done: its input is no UTF-8 text at offset 0",
        ),
    ]);
}

const LEAF: &str = "-----BEGIN CERTIFICATE-----\nTEVBRg==\n-----END CERTIFICATE-----\n";
const ISSUER: &str = "-----BEGIN CERTIFICATE-----\nSVNTVUVS\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nS0VZ\n-----END EC PRIVATE KEY-----\n";

#[test]
fn blocks_of_pem_are_picked() {
    let bundle = format!("Bag Attributes\r\n{KEY}subject=leaf\n{LEAF}\n{}", ISSUER.trim_end().replace('\n', "\r\n"));
    let pem = |part: &str| json!({"pem": {"part": part}});
    let twice = format!("{KEY}{KEY}");
    check(&[
        (pem("key"), bundle.as_bytes(), KEY),
        (pem("cert"), bundle.as_bytes(), LEAF),
        (pem("chain"), bundle.as_bytes(), ISSUER),
        (pem("fullchain"), bundle.as_bytes(), &format!("{LEAF}{ISSUER}")),
        (
            pem("chain"),
            LEAF.as_bytes(),
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input has no second certificate in PEM form",
        ),
        (
            pem("cert"),
            KEY.as_bytes(),
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input has no certificate in PEM form",
        ),
        (
            pem("key"),
            LEAF.as_bytes(),
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input has no private key in PEM form",
        ),
        (
            pem("key"),
            twice.as_bytes(),
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input has several private keys",
        ),
        (
            pem("key"),
            b"text\n-----BEGIN PRIVATE KEY-----\nS0VZ\n",
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input has a PEM block without an end, which begins at offset 5",
        ),
        (
            pem("key"),
            b"-----BEGIN A-----\n-----BEGIN B-----\n",
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input begins a PEM block inside another at offset 18",
        ),
        (
            pem("key"),
            b"-----BEGIN A-----\n-----END B-----\n",
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input ends a PEM block by another name at offset 18",
        ),
        (
            pem("key"),
            b"-----END A-----\n",
            "TransformFailed: `transforms[0]` (pem) cannot be done: its input ends a PEM block that does not begin at offset 0",
        ),
        (pem("cert"), b"\xff\xfe", "TransformFailed: …"),
    ]);
}
