//! Data keys under keys of Google Cloud KMS.
//!
//! | answer | kind |
//! |---|---|
//! | 400 | `Undecodable`: the key did not encrypt this, or its version is disabled or destroyed |
//! | 404 | `Undecodable`: there is no such key |
//! | any other | as every service of Google |
//!
//! Source:
//! <https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::api::store::SopsGcpKms;
use crate::backend::credentials::Surroundings;
use crate::backend::credentials::gcp::{Answer, Login, of_status};
use crate::backend::network::{Client, Service};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// Google's own address.
const ENDPOINT: &str = "https://cloudkms.googleapis.com";

/// Google Cloud KMS with the login of one store.
pub(super) struct GcpKms {
    login: Login,
    client: Client,
    endpoint: String,
}

/// What is sent. Checksums let the service find out what happened on the way.
#[derive(Serialize)]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(rename = "plaintextCrc32c", skip_serializing_if = "Option::is_none")]
    plaintext_checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
    #[serde(rename = "ciphertextCrc32c", skip_serializing_if = "Option::is_none")]
    ciphertext_checksum: Option<String>,
}

/// What comes back. Zeroed when it is dropped.
#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    plaintext: Option<String>,
    #[serde(default, rename = "plaintextCrc32c")]
    plaintext_checksum: Option<String>,
    #[serde(default)]
    ciphertext: Option<String>,
    #[serde(default, rename = "ciphertextCrc32c")]
    ciphertext_checksum: Option<String>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

impl GcpKms {
    /// Reads what the store names, and asks Google nothing.
    pub(super) async fn connect(SopsGcpKms { auth }: &SopsGcpKms, around: &Surroundings) -> Result<Self, Error> {
        let login = Login::new(auth.as_ref(), around).await.map_err(|error| error.in_context("sops.gcpKms"))?;
        let endpoint = around.network.service(Service::GcpKms).map(|url| url.as_str().trim_end_matches('/').to_owned());
        Ok(Self { login, client: around.network.client(), endpoint: endpoint.unwrap_or_else(|| ENDPOINT.to_owned()) })
    }

    /// Decrypts a data key, as the file holds it.
    pub(super) async fn decrypt(&self, resource_id: &str, encrypted: &str) -> Result<SecretValue, Error> {
        let tried = format!("decrypt a data key with {}", shown(resource_id));
        let encrypted = encrypted.trim();
        let damaged = || Error::new(ErrorKind::Undecodable, format!("cannot {tried}: the entry is not base64"));
        let bytes = STANDARD.decode(encrypted).map_err(|_| damaged())?;
        let question = Question {
            plaintext: None,
            plaintext_checksum: None,
            ciphertext: Some(encrypted),
            ciphertext_checksum: Some(checksum(&bytes)),
        };
        let mut outcome = self.ask(resource_id, "decrypt", &question, &tried).await?;
        let text = outcome.plaintext.take().map(Zeroizing::new).ok_or_else(|| no_sense(&tried))?;
        let key = SecretValue::new(STANDARD.decode(text.as_bytes()).map_err(|_| no_sense(&tried))?);
        match &outcome.plaintext_checksum {
            Some(told) if *told != checksum(key.expose()) => Err(damaged_on_the_way(&tried)),
            Some(_) | None => Ok(key),
        }
    }

    /// Encrypts a data key, to be put into a file.
    pub(super) async fn encrypt(&self, resource_id: &str, data_key: &SecretValue) -> Result<String, Error> {
        let tried = format!("encrypt a data key with {}", shown(resource_id));
        let text = Zeroizing::new(STANDARD.encode(data_key.expose()));
        let question = Question {
            plaintext: Some(&text),
            plaintext_checksum: Some(checksum(data_key.expose())),
            ciphertext: None,
            ciphertext_checksum: None,
        };
        let mut outcome = self.ask(resource_id, "encrypt", &question, &tried).await?;
        let text = outcome.ciphertext.take().ok_or_else(|| no_sense(&tried))?;
        let bytes = STANDARD.decode(&text).map_err(|_| no_sense(&tried))?;
        match &outcome.ciphertext_checksum {
            Some(told) if *told != checksum(&bytes) => Err(damaged_on_the_way(&tried)),
            Some(_) | None => Ok(text),
        }
    }

    async fn ask(
        &self,
        resource_id: &str,
        operation: &str,
        question: &Question<'_>,
        tried: &str,
    ) -> Result<Outcome, Error> {
        if !is_key(resource_id) {
            let message = format!("{} is not the resource id of a key of Google Cloud KMS", shown(resource_id));
            return Err(Error::new(ErrorKind::Undecodable, message));
        }
        let url = format!("{}/v1/{resource_id}:{operation}", self.endpoint);
        let body = Zeroizing::new(serde_json::to_vec(question).map_err(|_| no_sense(tried))?);
        let request = |authorization: HeaderValue| {
            let request = http::Request::builder().method(Method::POST).uri(&url).header(AUTHORIZATION, authorization);
            let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body(Bytes::copy_from_slice(&body)).map_err(|_| no_sense(tried))
        };
        let answer = self.login.send(&self.client, request).await?;
        match answer.status {
            200 => answer.parse().ok_or_else(|| no_sense(tried)),
            _ => Err(of_answer(&answer, tried)),
        }
    }
}

fn of_answer(answer: &Answer, tried: &str) -> Error {
    match (answer.status, answer.refusal()) {
        (400, Some(_)) => {
            let why = "what the file holds was not encrypted by this key, or its version is disabled or destroyed";
            answer.failed(ErrorKind::Undecodable, tried, why)
        }
        (404, Some(_)) => answer.failed(ErrorKind::Undecodable, tried, "there is no such key"),
        _ => of_status(answer, tried),
    }
}

fn checksum(bytes: &[u8]) -> String {
    crc32c::crc32c(bytes).to_string()
}

fn no_sense(tried: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"))
}

fn damaged_on_the_way(tried: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot {tried}: the answer was damaged on the way"))
}

/// Whether a text out of a file can be sent as the path of a key.
fn is_key(resource_id: &str) -> bool {
    let parts: Vec<&str> = resource_id.split('/').collect();
    let plain = |part: &&str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(legal)
    };
    let shape = parts.iter().step_by(2).copied().eq(["projects", "locations", "keyRings", "cryptoKeys"]);
    parts.len() == 8 && shape && parts.iter().all(plain)
}

/// A key out of a file, which anybody may have written.
fn shown(resource_id: &str) -> String {
    resource_id.escape_debug().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_key_is_asked_for() {
        for good in [
            "projects/p/locations/global/keyRings/r/cryptoKeys/k",
            "projects/example.com:p/locations/eu/keyRings/r_1/cryptoKeys/k-2",
        ] {
            assert!(is_key(good), "{good}");
        }
        for bad in [
            "",
            "projects/p",
            "projects/p/locations/global/keyRings/r/cryptoKeys/",
            "projects/p/locations/../keyRings/r/cryptoKeys/k",
            "projects/p/locations/global/keyRings/r/cryptoKeys/k:decrypt?x=",
            "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
            "other/p/locations/global/keyRings/r/cryptoKeys/k",
            "https://evil.example/projects/p/locations/global/keyRings/r/cryptoKeys/k",
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }

    #[test]
    fn what_google_says_of_a_key_is_never_a_missing_value() {
        let body = r#"{"error": {"code": 404, "status": "NOT_FOUND", "message": "remote words"}}"#;
        for (status, kind) in [
            (400, ErrorKind::Undecodable),
            (404, ErrorKind::Undecodable),
            (403, ErrorKind::PermissionDenied),
            (429, ErrorKind::RateLimited),
            (503, ErrorKind::Unavailable),
        ] {
            let error = of_answer(&Answer::of(status, body), "decrypt");
            assert_eq!(error.kind, kind, "{status}");
            assert!(!error.message.contains("remote words"));
        }
    }
}
