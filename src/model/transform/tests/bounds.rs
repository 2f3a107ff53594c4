//! What is too much: results above a mebibyte, packed a thousandfold, and patterns that would take for ever.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;

/// Patterns that take quadratic time over all matches, and patterns with more states than any cache holds, end early.
#[test]
fn expressions_end_on_their_budget() {
    let long = "A".repeat(100_000);
    // No period, so that each place leads to a state that was not met before.
    let mixed = (0..100_000u64).scan(7u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(if *state >> 63 == 0 { 'A' } else { 'B' })
    });
    let mixed: String = mixed.collect();
    for (pattern, text) in [
        // Each match is one letter, and each search for it looks at all that follows.
        (".*[^A-Z]|[A-Z]", long.as_str()),
        // 2^200 states.
        ("(A|B)*A(A|B){200}C", &mixed),
        // One match, whose groups cost each byte a thousand states.
        ("((?:A?){500}A*)*", &long),
    ] {
        let found = words(&json!([{"regexReplace": {"pattern": pattern, "replacement": "$0"}}]), text.as_bytes());
        let expected = "TransformFailed: `transforms[0]` (regexReplace) cannot be done: its input is too long for a \
                        pattern of this kind";
        assert!(found == expected, "{pattern}: {}", found.get(..200).unwrap_or(&found));
    }
    // What a person writes is far from the budget.
    let lines = "a line of some length, as in a certificate\n".repeat(1500);
    let joined = run(json!([{"regexReplace": {"pattern": "\\s*\n", "replacement": " "}}]), lines.as_bytes()).unwrap();
    assert_eq!(joined.len(), lines.len());
}

#[test]
fn gzip_is_unpacked_within_bounds() {
    let damaged =
        "TransformFailed: `transforms[0]` (gunzip) cannot be done: its input is no gzip, or is damaged or cut off";
    let packed = zipped(b"hello");
    let two = [zipped(b"hel"), zipped(b"lo")].concat();
    let mut wrong_sum = packed.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum.splice(sum..=sum, [!wrong_sum.get(sum).unwrap()]);
    let largest = zipped(&vec![0; MAX_BYTES]);
    let bomb = zipped(&vec![0; 64 * MAX_BYTES]);
    assert!(bomb.len() < MAX_BYTES / 10);
    check(&[
        (json!({"gunzip": {}}), &packed, "hello"),
        (json!({"gunzip": {}}), &two, "hello"),
        (json!({"gunzip": {}}), &packed[..packed.len() - 1], damaged),
        (json!({"gunzip": {}}), &wrong_sum, damaged),
        (json!({"gunzip": {}}), b"hello", damaged),
        (json!({"gunzip": {}}), b"", damaged),
        (
            json!({"gunzip": {}}),
            &bomb,
            "ValueTooLarge: the input or the result of `transforms[0]` (gunzip) is larger than 1 MiB",
        ),
    ]);
    assert_eq!(run(json!([{"gunzip": {}}]), &largest).unwrap().len(), MAX_BYTES);
}

/// Everything at the limit and one above it.
#[test]
fn results_never_grow_above_one_mebibyte() {
    let steps = [
        json!({"base64Encode": {}}),
        json!({"hexEncode": {}}),
        json!({"urlEncode": {}}),
        json!({"replace": {"from": "\u{1}", "to": "long".repeat(256)}}),
        json!({"regexReplace": {"pattern": "\u{1}{8}", "replacement": "$0".repeat(512)}}),
        json!({"lines": {"join": "x".repeat(64)}}),
        json!({"split": {"separator": "\u{1}"}}),
        json!({"case": "upper"}),
    ];
    for step in steps {
        let unit = match step.to_string() {
            text if text.contains("lines") => "\n",
            // Twice as many bytes in upper case.
            text if text.contains("case") => "ΐ",
            _ => "\u{1}",
        };
        let input = unit.repeat(MAX_BYTES / unit.len());
        let problem = run(json!([step]), input.as_bytes()).unwrap_err();
        assert_eq!(problem.reason, Reason::ValueTooLarge, "{step}");
    }
    let above = vec![b' '; MAX_BYTES + 1];
    assert_eq!(run(json!([{"trim": {}}]), &above).unwrap_err().reason, Reason::ValueTooLarge);
    assert!(run(json!([]), &above).is_ok(), "without a step nothing is looked at");
}
