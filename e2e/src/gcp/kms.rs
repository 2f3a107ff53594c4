//! Cloud KMS, version 1: keys that encrypt and decrypt, with AES-256-GCM underneath.
//!
//! References: [encrypt](https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt),
//! [decrypt](https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::secrets::crc32c;
use super::{World, answer};
use crate::tls_server::{Request, Response};

impl World {
    /// Answers about a key; `path` is that of the request.
    pub(super) fn kms(&self, request: &Request, path: &str) -> Response {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
        let principal = header.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token));
        let Some(principal) = principal else {
            return answer::error_for("UNAUTHENTICATED", "Request had invalid credentials.", "ACCESS_TOKEN_EXPIRED");
        };
        let Some((id, verb)) = path.strip_prefix("/v1/").and_then(|rest| rest.split_once(':')) else {
            return answer::not_found_page();
        };
        let right = match verb {
            "encrypt" => "cloudkms.cryptoKeyVersions.useToEncrypt",
            "decrypt" => "cloudkms.cryptoKeyVersions.useToDecrypt",
            _ => return answer::not_found_page(),
        };
        if self.rights.get(principal).is_some_and(|rights| !rights.contains(right)) {
            let message = format!("Permission '{right}' denied on resource '{id}' (or it may not exist).");
            return answer::error_for("PERMISSION_DENIED", &message, "IAM_PERMISSION_DENIED");
        }
        let Some(key) = self.crypto_keys.get(id) else {
            return answer::error("NOT_FOUND", &format!("CryptoKey {id} not found."));
        };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let field = if verb == "encrypt" { "plaintext" } else { "ciphertext" };
        let given = body.get(field).and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        let Some(bytes) = given else { return answer::error("INVALID_ARGUMENT", "Invalid value.") };
        let sum = body.get(format!("{field}Crc32c")).and_then(Value::as_str);
        if sum.is_some_and(|sum| sum != crc32c(&bytes).to_string()) {
            return answer::error("INVALID_ARGUMENT", "The checksum does not match.");
        }
        let done = if verb == "encrypt" { encrypt(key, bytes) } else { decrypt(key, &bytes) };
        let Some(done) = done else {
            return answer::error("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.");
        };
        let (field, sum) = (if verb == "encrypt" { "ciphertext" } else { "plaintext" }, crc32c(&done).to_string());
        answer::ok(&json!({field: STANDARD.encode(&done), format!("{field}Crc32c"): sum}))
    }
}

fn encrypt(key: &[u8; 32], mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
    Some([nonce.as_ref().as_slice(), &bytes].concat())
}

fn decrypt(key: &[u8; 32], bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let mut sealed = sealed.to_vec();
    let open = key.open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, Aad::empty(), &mut sealed);
    open.ok().map(|plain| plain.to_vec())
}
