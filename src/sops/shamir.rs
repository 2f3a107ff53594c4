//! Splits a data key into shares and joins them: Shamir's secret sharing over GF(256), byte by byte.
//!
//! The shares are those of HashiCorp Vault's `shamir` package, which SOPS uses: one `y` per byte of the secret, and the
//! share's `x` as the last byte.

use zeroize::Zeroizing;

use super::cipher::fill_random;
use super::error::Error;
use crate::value::SecretValue;

/// `parts` shares of `secret`, of which any `threshold` give it back and fewer say nothing of it.
///
/// # Errors
/// [`Error::BadKeyGroups`] unless 2 ≤ threshold ≤ parts ≤ 255, [`Error::NoRandomness`].
pub(super) fn split(secret: &SecretValue, parts: usize, threshold: usize) -> Result<Vec<SecretValue>, Error> {
    let bad = |problem| Err(Error::BadKeyGroups { problem });
    let Ok(parts) = u8::try_from(parts) else { return bad("there are more than 255 key groups") };
    if threshold < 2 {
        return bad("the threshold of several key groups is at least 2");
    }
    if threshold > usize::from(parts) {
        return bad("the threshold is larger than the number of key groups");
    }
    // The coefficients of one polynomial for each byte, but for the byte itself, which is the one at x⁰.
    let mut coefficients = Zeroizing::new(vec![0; secret.expose().len() * (threshold - 1)]);
    fill_random(&mut coefficients)?;
    let share = |x: u8| {
        let mut share = Vec::with_capacity(secret.expose().len() + 1);
        for (byte, coefficients) in secret.expose().iter().zip(coefficients.chunks(threshold - 1)) {
            let sum = coefficients.iter().fold(0, |sum, coefficient| multiply(sum ^ coefficient, x));
            share.push(sum ^ byte);
        }
        share.push(x);
        SecretValue::new(share)
    };
    Ok((1..=parts).map(share).collect())
}

/// The secret behind `shares`, or none where they do not fit together (fewer than two, lengths differ, an `x` twice or 0).
///
/// Shares of another secret, or fewer than were asked for when it was split, give some other secret: what it opens tells.
pub(super) fn join(shares: &[SecretValue]) -> Option<SecretValue> {
    let mut points: Vec<(u8, &[u8])> = Vec::with_capacity(shares.len());
    for share in shares {
        let (x, ys) = share.expose().split_last()?;
        let fits = points.iter().all(|(other, others)| other != x && others.len() == ys.len());
        if *x == 0 || ys.is_empty() || !fits {
            return None;
        }
        points.push((*x, ys));
    }
    if points.len() < 2 {
        return None;
    }
    // Lagrange interpolation at 0: the weight of a share depends on the x's alone. Subtraction is XOR.
    let weights: Vec<u8> = points
        .iter()
        .map(|(x, _)| {
            let others = points.iter().filter(|(other, _)| other != x);
            others.fold(1, |weight, (other, _)| multiply(weight, multiply(*other, invert(*other ^ *x))))
        })
        .collect();
    let length = points.first().map_or(0, |(_, ys)| ys.len());
    let mut secret = Zeroizing::new(vec![0; length]);
    for ((_, ys), weight) in points.iter().zip(weights) {
        for (byte, y) in secret.iter_mut().zip(*ys) {
            *byte ^= multiply(*y, weight);
        }
    }
    Some(SecretValue::new(std::mem::take(&mut *secret)))
}

/// The product in GF(256) with the polynomial of AES, x⁸+x⁴+x³+x+1, in time that does not depend on the factors.
fn multiply(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0u8, |product, bit| {
        let reduction = (product >> 7).wrapping_neg() & 0x1b;
        let addend = ((b >> bit) & 1).wrapping_neg() & a;
        (product << 1) ^ reduction ^ addend
    })
}

/// The inverse: the 254th power, since the 255th of everything but 0 is 1.
fn invert(a: u8) -> u8 {
    (0..7)
        .fold((1, a), |(power, base), _| {
            let square = multiply(base, base);
            (multiply(power, square), square)
        })
        .0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn inverses_multiply_to_one() {
        for a in 1..=255 {
            assert_eq!(multiply(a, invert(a)), 1, "{a}");
        }
    }

    #[test]
    fn product_is_that_of_aes() {
        // FIPS 197, section 4.2: {57} • {83} = {c1}.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
    }

    #[test]
    fn as_many_shares_as_the_threshold_says_give_the_secret_and_fewer_do_not() {
        let secret = SecretValue::new((0..32).collect());
        for (parts, threshold) in [(2, 2), (3, 2), (5, 3), (7, 7), (255, 4)] {
            let mut shares = split(&secret, parts, threshold).unwrap();
            assert_eq!(shares.len(), parts);
            shares.reverse();
            shares.truncate(threshold);
            assert!(join(&shares).unwrap().equals(secret.expose()), "{threshold} of {parts}");
            shares.truncate(threshold - 1);
            assert!(!join(&shares).is_some_and(|joined| joined.equals(secret.expose())), "{threshold} of {parts}");
        }
        for (parts, threshold) in [(1, 1), (3, 1), (3, 0), (3, 4), (256, 2)] {
            assert!(
                matches!(split(&secret, parts, threshold), Err(Error::BadKeyGroups { .. })),
                "{threshold} of {parts}"
            );
        }
    }

    /// The shares of `secret` at x = 1..=parts on lines (polynomials of degree 1) with these slopes.
    fn on_lines(secret: &[u8], slopes: &[u8], parts: u8) -> Vec<SecretValue> {
        let share = |x: u8| {
            let ys = secret.iter().zip(slopes).map(|(byte, slope)| byte ^ multiply(*slope, x));
            SecretValue::new(ys.chain([x]).collect())
        };
        (1..=parts).map(share).collect()
    }

    #[test]
    fn two_or_more_shares_of_a_line_give_the_secret() {
        let mut shares = on_lines(b"secret", b"slopes", 4);
        assert!(join(&shares).unwrap().equals(b"secret"));
        shares.truncate(2);
        assert!(join(&shares).unwrap().equals(b"secret"));
    }

    #[test]
    fn shares_that_do_not_fit_are_refused() {
        let share = |bytes: &[u8]| SecretValue::new(bytes.to_vec());
        assert!(join(&[]).is_none());
        assert!(join(&[share(&[1, 2, 3])]).is_none());
        assert!(join(&[share(&[1, 2, 3]), share(&[4, 5, 3])]).is_none(), "the same x twice");
        assert!(join(&[share(&[1, 2, 3]), share(&[4, 5])]).is_none(), "lengths differ");
        assert!(join(&[share(&[1, 2, 0]), share(&[4, 5, 1])]).is_none(), "x is 0");
        assert!(join(&[share(&[1]), share(&[2])]).is_none(), "no bytes");
        assert!(join(&[share(&[]), share(&[])]).is_none());
    }
}
