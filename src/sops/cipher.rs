//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, how it opens and how it is sealed.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes256;
use aes_gcm::{Aes256Gcm, AesGcm, KeyInit, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRng;
use zeroize::Zeroizing;

use super::error::Error;
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
    Comment(Zeroizing<String>),
}

/// Opens values with one data key.
pub(super) struct Cipher {
    long: AesGcm<Aes256, LongNonce>,
    short: Aes256Gcm,
}

impl Cipher {
    /// # Errors
    /// The key is not 32 bytes long.
    pub(super) fn of(data_key: &SecretValue) -> Result<Self, Error> {
        let bad = |_| Error::BadMetadata { field: "enc".to_owned(), problem: "does not hold a data key of 32 bytes" };
        let long = AesGcm::new_from_slice(data_key.expose()).map_err(bad)?;
        let short = Aes256Gcm::new_from_slice(data_key.expose()).map_err(bad)?;
        Ok(Self { long, short })
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
            SealedType::Comment => {
                return Ok(Opened::Comment(Zeroizing::new(String::from_utf8_lossy(&data).into_owned())));
            }
            SealedType::Scalar(kind) => kind,
        };
        let text = match kind {
            Kind::Text | Kind::Bytes => SecretValue::new(std::mem::take(&mut *data)),
            Kind::Integer | Kind::Float | Kind::Boolean | Kind::Time => {
                let plain = std::str::from_utf8(&data).map_err(|_| WRONG_TYPE)?;
                SecretValue::from(canonical(kind, plain).ok_or(WRONG_TYPE)?)
            }
        };
        Ok(Opened::Scalar(Scalar::of(kind, text)))
    }

    /// Encrypts a value, under an initialisation vector that no other value ever had.
    ///
    /// # Errors
    /// [`Error::NoRandomness`], and a value that `sops` could not read back.
    pub(super) fn seal(&self, scalar: &Scalar, additional_data: &str) -> Result<String, Error> {
        let plain = scalar.text.expose();
        match scalar.kind {
            // SOPS leaves the empty text as it is.
            Kind::Text | Kind::Bytes if plain.is_empty() => Ok(String::new()),
            // Bytes are text to `sops`: it writes them so, and cannot read what says `bytes`.
            Kind::Text | Kind::Bytes => self.seal_as("str", plain, additional_data),
            Kind::Integer => self.seal_as("int", plain, additional_data),
            Kind::Float => self.seal_as("float", plain, additional_data),
            Kind::Time => self.seal_as("time", plain, additional_data),
            // The MAC is over the same words.
            Kind::Boolean if plain == b"true" => self.seal_as("bool", b"True", additional_data),
            Kind::Boolean => self.seal_as("bool", b"False", additional_data),
        }
    }

    /// Encrypts a comment. The empty one stays as it is.
    pub(super) fn seal_comment(&self, text: &str, additional_data: &str) -> Result<String, Error> {
        if text.is_empty() {
            return Ok(String::new());
        }
        self.seal_as("comment", text.as_bytes(), additional_data)
    }

    fn seal_as(&self, kind: &str, plain: &[u8], additional_data: &str) -> Result<String, Error> {
        let mut nonce = Nonce::<LongNonce>::default();
        fill_random(&mut nonce)?;
        let mut data = Zeroizing::new(plain.to_vec());
        let buffer = InOutBuf::from(data.as_mut_slice());
        let tag = self
            .long
            .encrypt_inout_detached(&nonce, additional_data.as_bytes(), buffer)
            // GCM takes 64 GiB under one nonce.
            .map_err(|_| Error::TooLarge { limit: usize::MAX, expanded: false })?;
        let [data, nonce, tag] = [data.as_slice(), &nonce, &tag].map(|part| STANDARD.encode(part));
        Ok(format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]"))
    }
}

/// Fills `bytes` from the operating system's generator.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    rand::rngs::SysRng.try_fill_bytes(bytes).map_err(|_| Error::NoRandomness)
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
