//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, and how it opens.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes256;
use aes_gcm::{Aes256Gcm, AesGcm, KeyInit, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::scalar::{canonical_integer, canonical_sealed_float, canonical_time};
use super::tree::{Kind, Scalar};
use crate::value::SecretValue;

/// The length of a data key in bytes: AES-256.
pub(super) const DATA_KEY_BYTES: usize = 32;

/// The nonce length that SOPS writes, in bytes.
type LongNonce = aes_gcm::aead::consts::U32;

/// Why a value did not open, in fixed words.
pub(super) type Problem = &'static str;

pub(super) const NOT_SEALED: Problem =
    "it is not encrypted, although the file's rules say that it must be; encrypt the file again with `sops`";
const MALFORMED: Problem = "its text is not of the form ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]";
const NOT_BASE64: Problem = "a part of its ENC[…] text is not base64";
const NONCE_LENGTH: Problem = "its initialisation vector is not 32 or 12 bytes long";
const TAG_LENGTH: Problem = "its authentication tag is not 16 bytes long";
const UNKNOWN_TYPE: Problem = "its ENC[…] text names a type that is not known";
const NOT_AUTHENTIC: Problem =
    "it was changed, or moved here from another key of the file, or encrypted with another data key";
const WRONG_TYPE: Problem = "what it decrypts to is not of the type that its ENC[…] text names";

/// What the `type:` of an encrypted value says.
#[derive(Clone, Copy)]
enum SealedType {
    Scalar(Kind),
    Comment,
}

/// The parts of an encrypted value.
struct Sealed {
    data: Zeroizing<Vec<u8>>,
    nonce: Vec<u8>,
    tag: Vec<u8>,
    kind: SealedType,
}

/// What an encrypted value opens to.
pub(super) enum Opened {
    /// A value.
    Scalar(Scalar),
    /// A comment, also where a value stands: comments inside lists are written that way.
    Comment,
}

/// Opens values with one data key.
pub(super) struct Cipher {
    long: AesGcm<Aes256, LongNonce>,
    short: Aes256Gcm,
}

impl Cipher {
    /// None where the key is not 32 bytes long.
    pub(super) fn new(data_key: &SecretValue) -> Option<Self> {
        let long = AesGcm::new_from_slice(data_key.expose()).ok()?;
        let short = Aes256Gcm::new_from_slice(data_key.expose()).ok()?;
        Some(Self { long, short })
    }

    /// Opens `text`, which is an encrypted value or the empty text (SOPS does not encrypt that).
    pub(super) fn open(&self, text: &str, additional_data: &str) -> Result<Opened, Problem> {
        if text.is_empty() {
            return Ok(Opened::Scalar(Scalar::new(Kind::Text, String::new())));
        }
        let Sealed { mut data, nonce, tag, kind } = Sealed::parse(text)?;
        let tag = Tag::try_from(tag.as_slice()).map_err(|_| TAG_LENGTH)?;
        let buffer = InOutBuf::from(data.as_mut_slice());
        let additional_data = additional_data.as_bytes();
        if let Ok(nonce) = Nonce::<LongNonce>::try_from(nonce.as_slice()) {
            self.long.decrypt_inout_detached(&nonce, additional_data, buffer, &tag)
        } else {
            let nonce = Nonce::try_from(nonce.as_slice()).map_err(|_| NONCE_LENGTH)?;
            self.short.decrypt_inout_detached(&nonce, additional_data, buffer, &tag)
        }
        .map_err(|_| NOT_AUTHENTIC)?;
        let kind = match kind {
            SealedType::Comment => return Ok(Opened::Comment),
            SealedType::Scalar(kind) => kind,
        };
        let text = match kind {
            Kind::Text | Kind::Bytes => SecretValue::new(std::mem::take(&mut *data)),
            Kind::Integer | Kind::Float | Kind::Boolean | Kind::Time => {
                let plain = std::str::from_utf8(&data).map_err(|_| WRONG_TYPE)?;
                SecretValue::from(canonical(kind, plain).ok_or(WRONG_TYPE)?)
            }
        };
        Ok(Opened::Scalar(Scalar { kind, text }))
    }
}

/// The canonical text of a value that is not free text.
fn canonical(kind: Kind, plain: &str) -> Option<String> {
    match kind {
        Kind::Integer => canonical_integer(plain),
        Kind::Float => canonical_sealed_float(plain),
        // The spellings of Go's ParseBool; SOPS writes True and False.
        Kind::Boolean => match plain {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".to_owned()),
            _ => None,
        },
        Kind::Time => canonical_time(plain),
        Kind::Text | Kind::Bytes => Some(plain.to_owned()),
    }
}

impl Sealed {
    fn parse(text: &str) -> Result<Self, Problem> {
        let Some(parts) = text.strip_prefix("ENC[") else { return Err(NOT_SEALED) };
        let parts = parts.strip_suffix(']').ok_or(MALFORMED)?;
        let mut parts = parts.split(',');
        if parts.next() != Some("AES256_GCM") {
            return Err(MALFORMED);
        }
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(MALFORMED);
        let (data, nonce, tag, kind) = (part("data:")?, part("iv:")?, part("tag:")?, part("type:")?);
        if parts.next().is_some() {
            return Err(MALFORMED);
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| NOT_BASE64);
        Ok(Self {
            data: Zeroizing::new(decode(data)?),
            nonce: decode(nonce)?,
            tag: decode(tag)?,
            kind: match kind {
                "str" => SealedType::Scalar(Kind::Text),
                "int" => SealedType::Scalar(Kind::Integer),
                "float" => SealedType::Scalar(Kind::Float),
                "bool" => SealedType::Scalar(Kind::Boolean),
                "bytes" => SealedType::Scalar(Kind::Bytes),
                "time" => SealedType::Scalar(Kind::Time),
                "comment" => SealedType::Comment,
                _ => return Err(UNKNOWN_TYPE),
            },
        })
    }
}
