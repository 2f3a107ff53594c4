//! The texts of numbers and times as SOPS gives them to the MAC, and how a bare YAML word becomes one of them.
//!
//! The MAC covers values that are not encrypted too, by their text after Go has read and printed them. So bare words are
//! resolved as `go.yaml.in/yaml/v3` does (`resolve.go`), and printed as `sops.ToBytes` does: integers in decimal, floats
//! with as many digits as are needed and no exponent, times as RFC 3339.

use super::tree::{Kind, Node, Scalar};

/// What a bare (plain, untagged) YAML word is.
pub(super) fn resolve_plain(word: &str) -> Node {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "true" | "True" | "TRUE" => return scalar(Kind::Boolean, "true".to_owned()),
        "false" | "False" | "FALSE" => return scalar(Kind::Boolean, "false".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return scalar(Kind::Float, "NaN".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return scalar(Kind::Float, "+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return scalar(Kind::Float, "-Inf".to_owned()),
        _ => {}
    }
    if !word.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return scalar(Kind::Text, word.to_owned());
    }
    if let Some(time) = canonical_time(word) {
        return scalar(Kind::Time, time);
    }
    // A leading dot takes no underscores, digits and signs do.
    let digits = if word.starts_with('.') { word.to_owned() } else { word.replace('_', "") };
    if let Some(integer) = based_integer(&digits) {
        return scalar(Kind::Integer, integer);
    }
    if let Some(float) = is_decimal_float(&digits).then(|| canonical_float(&digits)).flatten() {
        return scalar(Kind::Float, float);
    }
    scalar(Kind::Text, word.to_owned())
}

fn scalar(kind: Kind, text: String) -> Node {
    Node::Scalar(Scalar::new(kind, text))
}

/// An integer as Go's `ParseInt(text, 0, 64)` or `ParseUint` reads it: `0x`, `0o`, `0b` and a leading `0` (octal) set the
/// base; beyond 64 bits it is none.
fn based_integer(text: &str) -> Option<String> {
    let (negative, signed, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, true, rest),
        None => match text.strip_prefix('+') {
            Some(rest) => (false, true, rest),
            None => (false, false, text),
        },
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.as_str())
    } else {
        (10, lower.as_str())
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return (magnitude <= i64::MIN.unsigned_abs())
            .then(|| if magnitude == 0 { "0".to_owned() } else { format!("-{magnitude}") });
    }
    (!signed || i64::try_from(magnitude).is_ok()).then(|| magnitude.to_string())
}

/// Whether the text is `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, the floats of YAML 1.2's core schema.
fn is_decimal_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|digits| !digits.is_empty() && are_digits(digits))
}

/// A float as Go's `FormatFloat(value, 'f', -1, 64)` prints it; none where it is not one, or too large for one.
///
/// That is the fewest digits that read back as the same float, and of those the nearest, and of two as near the even one.
/// Rust's own shortest form takes the upper of two: 1408413131195512.25 is `…2.3` there and `…2.2` in Go. Hence the
/// second look, at the exact value rounded to as many digits, half to even.
pub(super) fn canonical_float(text: &str) -> Option<String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let shortest = format!("{value:e}");
    let digits = shortest.split('e').next()?.bytes().filter(u8::is_ascii_digit).count();
    let rounded = format!("{value:.*e}", digits.saturating_sub(1));
    positional(if rounded.parse() == Ok(value) { &rounded } else { &shortest })
}

/// A float of the form `-1.25e-3` without its exponent.
fn positional(scientific: &str) -> Option<String> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits = mantissa.replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    let exponent = exponent.parse::<i32>().ok()?;
    let Ok(before_point) = usize::try_from(exponent + 1) else {
        let zeros = usize::try_from(-(exponent + 1)).ok()?;
        return Some(format!("{sign}0.{}{digits}", "0".repeat(zeros)));
    };
    Some(match digits.split_at_checked(before_point) {
        Some(("", fraction)) => format!("{sign}0.{fraction}"),
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(before_point - digits.len())),
    })
}

/// A float that is not encrypted, so that it is read as one again: with a point, or with an exponent where Go's `'g'` form
/// has one. None where the text is not one that [`canonical_float`] gave.
pub(super) fn float_with_point(text: &str) -> Option<String> {
    if matches!(text, "NaN" | "+Inf" | "-Inf") {
        return Some(text.to_owned());
    }
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let digits = text.trim_start_matches('-');
    let whole = digits.split('.').next()?;
    let leading_zeros = digits.strip_prefix("0.").map_or(0, |rest| rest.len() - rest.trim_start_matches('0').len());
    if whole.len() > 21 || leading_zeros >= 4 {
        let scientific = format!("{value:e}");
        // The same digits as in the canonical text, which may differ from Rust's in the last one.
        return (canonical_float(&scientific)? == text).then_some(scientific);
    }
    Some(if digits.contains('.') { text.to_owned() } else { format!("{text}.0") })
}

/// A float as an encrypted value holds it, where Go also writes the three that are no numbers.
pub(super) fn canonical_sealed_float(text: &str) -> Option<String> {
    match text {
        "NaN" | "+Inf" | "-Inf" => Some(text.to_owned()),
        _ => is_decimal_float(text).then(|| canonical_float(text)).flatten(),
    }
}

/// An integer of any size without leading zeros and plus sign; none where it is not one.
pub(super) fn canonical_integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.trim_start_matches('0') {
        "" => Some("0".to_owned()),
        significant if negative => Some(format!("-{significant}")),
        significant => Some(significant.to_owned()),
    }
}

/// A time in one of the four spellings that Go's YAML reads, printed as RFC 3339 with the fraction's zeros cut.
///
/// `2006-1-2`, `2006-1-2 15:4:5.9` (UTC), `2006-1-2T15:4:5.9Z`, `2006-1-2t15:4:5,9+07:00`.
pub(super) fn canonical_time(text: &str) -> Option<String> {
    let (year, rest) = text.split_once('-')?;
    if year.len() != 4 {
        return None;
    }
    let (month, rest) = rest.split_once('-')?;
    let (day, clock) = match rest.find(['T', 't', ' ']) {
        Some(position) => rest.split_at_checked(position)?,
        None => (rest, ""),
    };
    let date = jiff::civil::Date::new(number(year, 4)?, number(month, 2)?, number(day, 2)?).ok()?;
    let date = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
    if clock.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let spaced = clock.starts_with(' ');
    let clock = clock.get(1..)?;
    let (clock, zone) = if spaced {
        (clock, "Z".to_owned())
    } else {
        let position = clock.find(['Z', '+', '-'])?;
        let (clock, zone) = clock.split_at_checked(position)?;
        (clock, canonical_zone(zone)?)
    };
    // Go takes a comma for the point, and any number of digits, of which nine count (`time.Parse`).
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let mut parts = clock.split(':');
    let mut part = || number::<u8>(parts.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

/// A time as the MAC's additional data holds it: without its fraction.
pub(super) fn canonical_time_to_the_second(text: &str) -> Option<String> {
    let time = canonical_time(text)?;
    let Some((clock, rest)) = time.split_once('.') else { return Some(time) };
    Some(format!("{clock}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit())))
}

fn canonical_zone(zone: &str) -> Option<String> {
    if zone == "Z" {
        return Some("Z".to_owned());
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 || number::<u8>(hours, 2)? > 24 || number::<u8>(minutes, 2)? > 59 {
        return None;
    }
    Some(if hours == "00" && minutes == "00" { "Z".to_owned() } else { zone.to_owned() })
}

/// One to `most` decimal digits.
fn number<T: std::str::FromStr>(text: &str, most: usize) -> Option<T> {
    if text.is_empty() || text.len() > most || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_have_no_exponent_and_the_fewest_digits() {
        let cases = [
            ("0", "0"),
            ("-0.0", "-0"),
            ("1", "1"),
            ("10", "10"),
            ("-1.50", "-1.5"),
            ("0.5", "0.5"),
            ("0.05", "0.05"),
            ("123.456", "123.456"),
            ("1e21", "1000000000000000000000"),
            ("-1.5e-10", "-0.00000000015"),
            ("1408413131195512.25", "1408413131195512.2"),
            ("1408413131195512.75", "1408413131195512.8"),
            ("666825628550720.25", "666825628550720.2"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical_float(text).unwrap(), expected, "{text}");
        }
        assert_eq!(canonical_float("1e999"), None);
    }

    proptest! {
        #[test]
        fn floats_read_back_as_they_were(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = canonical_float(&format!("{value:e}")).unwrap();
            prop_assert!(!text.contains('e'));
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert_eq!(text.len(), value.to_string().len(), "as short as Rust's own");
        }

        #[test]
        fn words_of_any_kind_resolve_to_something(word in "[-+0-9a-fxobEe_.:TtZ ]{0,24}") {
            resolve_plain(&word);
        }
    }

    #[test]
    fn times_are_printed_as_go_prints_them() {
        let cases = [
            ("2024-01-02", Some("2024-01-02T00:00:00Z")),
            ("2024-1-2 3:4:5", Some("2024-01-02T03:04:05Z")),
            ("2024-1-2t3:4:5.120+02:00", Some("2024-01-02T03:04:05.12+02:00")),
            ("2024-01-02T03:04:05.000-00:00", Some("2024-01-02T03:04:05Z")),
            ("2024-01-02T03:04:05.1234567899Z", Some("2024-01-02T03:04:05.123456789Z")),
            ("2024-01-02T03:04:05.0000000009Z", Some("2024-01-02T03:04:05Z")),
            ("2024-1-2 3:4:5,5", Some("2024-01-02T03:04:05.5Z")),
            ("2024-01-02T03:04:05.5,5Z", None),
            ("2024-01-02T03:04:05,Z", None),
            ("2024-02-29", Some("2024-02-29T00:00:00Z")),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-01-02T24:00:00Z", None),
            ("2024-01-02T03:04:60Z", None),
            ("2024-01-02T03:04:05", None),
            ("2024-01-02 03:04:05Z", None),
            ("2024-01-02T03:04Z", None),
            ("2024-01-02T03:04:05.Z", None),
            ("2024-01-02T03:04:05+2:00", None),
            ("24-01-02", None),
            ("2024-01-", None),
            ("2024", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical_time(text).as_deref(), expected, "{text}");
        }
        assert_eq!(canonical_time_to_the_second("2024-01-02T03:04:05.67+02:00").unwrap(), "2024-01-02T03:04:05+02:00");
    }
}
