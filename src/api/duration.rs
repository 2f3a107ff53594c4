//! Duration strings as Kubernetes users write them: `90s`, `15m`, `1h30m`.

use std::time::Duration;

/// What a Stack uses when `refreshInterval` is absent.
pub const DEFAULT_REFRESH_INTERVAL: Duration = Duration::from_secs(3600);

/// Parses a sequence of whole numbers with the units `h`, `m`, `s`, such as `1h30m`. `None` for anything else.
///
/// The schema accepts fewer texts (hours, minutes, seconds in this order), so `None` can only come from an object that was
/// stored without it.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let seconds = match tail.chars().next()? {
            'h' => number.checked_mul(3600)?,
            'm' => number.checked_mul(60)?,
            's' => number,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(seconds))?;
        rest = tail.get(1..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in
            [("0s", Some(0)), ("90s", Some(90)), ("15m", Some(900)), ("1h30m", Some(5400)), ("720h", Some(2_592_000))]
        {
            assert_eq!(parse(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["", "1", "h", "1d", "1h 30m", "-1s", "1.5h", "99999999999999999999h", "1µs"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
