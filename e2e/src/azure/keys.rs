//! RSA keys of a vault that encrypt and decrypt (RSA-OAEP-256).
//!
//! References: <https://learn.microsoft.com/rest/api/keyvault/keys/encrypt/encrypt>,
//! <https://learn.microsoft.com/rest/api/keyvault/keys/decrypt/decrypt>,
//! <https://learn.microsoft.com/rest/api/keyvault/keys/get-key/get-key>.

use std::collections::BTreeMap;

use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::vault::Asked;
use super::{Answer, refusal};
use crate::control_plane::random_token;

/// The right to look at a key.
const GET: &str = "get";

/// The keys of a vault; each has one version.
#[derive(Default)]
pub(super) struct Keys(BTreeMap<String, Key>);

struct Key {
    version: String,
    pair: PrivateDecryptingKey,
}

impl Keys {
    /// Makes a key and returns its version.
    pub(super) fn create(&mut self, name: &str) -> anyhow::Result<String> {
        let pair = PrivateDecryptingKey::generate(KeySize::Rsa2048);
        let pair = pair.map_err(|_| anyhow::anyhow!("no RSA key could be made"))?;
        let version: String = random_token()?.chars().filter(char::is_ascii_hexdigit).take(32).collect();
        self.0.insert(name.to_owned(), Key { version: version.clone(), pair });
        Ok(version)
    }

    /// Answers `POST /keys/<name>/<version>/<operation>` and `GET /keys/<name>/<version>`; the version may be left out.
    pub(super) fn answer(&self, asked: &Asked<'_>) -> Answer {
        let Asked { base, method, path, query: _, body, rights } = asked;
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (name, version, operation) = match (*method, parts.as_slice()) {
            ("POST", ["keys", name, version, operation]) => (*name, Some(*version), *operation),
            ("POST", ["keys", name, operation]) => (*name, None, *operation),
            ("GET", ["keys", name, version]) => (*name, Some(*version), GET),
            ("GET", ["keys", name]) => (*name, None, GET),
            _ => return refusal(404, "NotFound", None, "There is no such operation."),
        };
        if !rights.contains(operation) {
            let message = format!("Caller is not authorized to perform action on resource. Action: '{operation}'");
            return refusal(403, "Forbidden", Some("ForbiddenByRbac"), &message);
        }
        let found = self.0.get(name).filter(|key| version.is_none_or(|version| version == key.version));
        let Some(key) = found else {
            return refusal(404, "KeyNotFound", None, "A key with this name was not found in this key vault.");
        };
        let kid = format!("{base}/keys/{name}/{}", key.version);
        if operation == GET {
            // Nobody here looks at the numbers of the public half.
            return (
                200,
                json!({"key": {"kid": kid, "kty": "RSA", "key_ops": ["encrypt", "decrypt"]},
                "attributes": {"enabled": true}}),
            );
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let value = body.get("value").and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let is_oaep = body.get("alg").and_then(Value::as_str) == Some("RSA-OAEP-256");
        let done = value.filter(|_| is_oaep).and_then(|bytes| match operation {
            "encrypt" => key.encrypt(&bytes),
            "decrypt" => key.decrypt(&bytes),
            _ => None,
        });
        let Some(done) = done else { return refusal(400, "BadParameter", None, "The value or algorithm is invalid.") };
        (200, json!({"kid": kid, "value": URL_SAFE_NO_PAD.encode(done)}))
    }
}

impl Key {
    fn encrypt(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let key = OaepPublicEncryptingKey::new(self.pair.public_key()).ok()?;
        let mut room = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, bytes, &mut room, None).ok().map(|done| done.to_vec())
    }

    fn decrypt(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let key = OaepPrivateDecryptingKey::new(self.pair.clone()).ok()?;
        let mut room = vec![0; key.min_output_size()];
        key.decrypt(&OAEP_SHA256_MGF1SHA256, bytes, &mut room, None).ok().map(|done| done.to_vec())
    }
}
