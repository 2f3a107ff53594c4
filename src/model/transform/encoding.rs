//! Bytes as text and back: Base64 and hexadecimal digits (RFC 4648), percent-encoding (RFC 3986).

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, DecodeSliceError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::Failure;
use super::output::Output;
use crate::api::transform::Base64Variant;
use crate::model::document::MAX_BYTES;
use crate::value::SecretValue;

/// Both with and without padding are read.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// RFC 4648, section 4.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// RFC 4648, section 5, written without padding as in RFC 7515.
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT.with_encode_padding(false));

/// The unreserved characters of RFC 3986, section 2.3, stay.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn engine(variant: Base64Variant) -> &'static GeneralPurpose {
    match variant {
        Base64Variant::Standard => &STANDARD,
        Base64Variant::Url => &URL,
    }
}

pub(super) fn base64_decode(bytes: &[u8], variant: Base64Variant) -> Result<SecretValue, Failure> {
    let digits = || bytes.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace());
    let packed: Zeroizing<Vec<u8>> = Zeroizing::new(digits().map(|(_, byte)| *byte).collect());
    let offset = |place: usize| digits().nth(place).map_or(bytes.len(), |(offset, _)| offset);
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(packed.len())]);
    match engine(variant).decode_slice(packed.as_slice(), &mut decoded) {
        Ok(length) => {
            decoded.truncate(length);
            Ok(SecretValue::new(std::mem::take(&mut *decoded)))
        }
        Err(DecodeSliceError::DecodeError(
            DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _),
        )) => Err(Failure::at(offset(place), "is no Base64 of this variant")),
        Err(DecodeSliceError::DecodeError(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding)) => {
            Err(Failure::at(bytes.len(), "is no whole Base64: it ends too early or is wrongly padded"))
        }
        // The room is an upper estimate by the crate itself.
        Err(DecodeSliceError::OutputSliceTooSmall) => Err(Failure::TooLarge),
    }
}

pub(super) fn base64_encode(bytes: &[u8], variant: Base64Variant) -> Result<SecretValue, Failure> {
    let length =
        base64::encoded_len(bytes.len(), true).filter(|length| *length <= MAX_BYTES).ok_or(Failure::TooLarge)?;
    let mut encoded = Zeroizing::new(vec![0; length]);
    let written = engine(variant).encode_slice(bytes, &mut encoded).map_err(|_| Failure::TooLarge)?;
    encoded.truncate(written);
    Ok(SecretValue::new(std::mem::take(&mut *encoded)))
}

pub(super) fn hex_decode(bytes: &[u8]) -> Result<SecretValue, Failure> {
    let mut decoded = Output::with_capacity(bytes.len() / 2);
    let mut high: Option<u8> = None;
    for (offset, byte) in bytes.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(Failure::at(offset, "has something else than a hexadecimal digit")),
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => decoded.push(&[high << 4 | digit])?,
        }
    }
    match high {
        Some(_) => Err(Failure::at(bytes.len(), "has an odd number of digits, and ends")),
        None => Ok(decoded.into_value()),
    }
}

pub(super) fn hex_encode(bytes: &[u8]) -> Result<SecretValue, Failure> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    let mut encoded = Output::with_capacity(bytes.len() * 2);
    for byte in bytes {
        encoded.push(&[digit(byte >> 4), digit(byte & 15)])?;
    }
    Ok(encoded.into_value())
}

pub(super) fn url_encode(bytes: &[u8]) -> Result<SecretValue, Failure> {
    let mut encoded = Output::with_capacity(bytes.len() * 3);
    for part in percent_encode(bytes, ESCAPED) {
        encoded.push(part.as_bytes())?;
    }
    Ok(encoded.into_value())
}
