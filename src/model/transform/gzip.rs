//! Unpacks gzip (RFC 1952). What is packed a thousandfold ends while it is unpacked, not after.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use zeroize::Zeroizing;

use super::Failure;
use super::output::Output;
use crate::value::SecretValue;

/// How much is unpacked at once.
const STEP: usize = 16 * 1024;

pub(super) fn unpack(bytes: &[u8]) -> Result<SecretValue, Failure> {
    // Several members in a row are one text, as for gzip itself.
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut output = Output::with_capacity(bytes.len().saturating_mul(4));
    let mut part = Zeroizing::new(vec![0; STEP]);
    loop {
        let read = decoder.read(&mut part).map_err(|_| Failure::unfit("is no gzip, or is damaged or cut off"))?;
        if read == 0 {
            return Ok(output.into_value());
        }
        output.push(part.get(..read).unwrap_or_default())?;
    }
}
