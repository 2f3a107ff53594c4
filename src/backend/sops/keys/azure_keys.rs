//! Data keys under RSA keys in Azure Key Vault (RSA-OAEP-256, as `sops` uses them).
//!
//! A file names the vault, and anybody may have written the file: the token goes to Microsoft's own hosts alone, whatever
//! other hosts Stores may name, or to where whoever runs the process has the service asked.
//!
//! | answer | kind |
//! |---|---|
//! | 400 | `Undecodable`: the key did not encrypt this, or is made for something else |
//! | 404 | `Undecodable`: there is no such key or version |
//! | 401 | `Unauthenticated`, after one new login |
//! | 403 | `PermissionDenied`: no right, the network, or the key is disabled |
//! | 408, 504 · 429 · other 5xx | `Timeout` · `RateLimited` · `Unavailable` |
//!
//! Source: <https://learn.microsoft.com/rest/api/keyvault/keys/decrypt/decrypt>.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::{Zeroize, Zeroizing};

use crate::api::store::AzureAuth;
use crate::backend::credentials::Surroundings;
use crate::backend::credentials::azure::{Cloud, Login};
use crate::backend::network::{Response, Service, retry_after};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// Every cloud answers it, and it has all that is used here.
const API_VERSION: &str = "7.4";
const ALGORITHM: &str = "RSA-OAEP-256";

/// A key as a file names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) vault_url: &'a str,
    pub(super) name: &'a str,
    /// Empty for the newest.
    pub(super) version: &'a str,
}

/// Azure Key Vault with the login of one store.
pub(super) struct AzureKeys {
    auth: Option<AzureAuth>,
    around: Arc<Surroundings>,
    logins: Mutex<HashMap<&'static str, Arc<Login>>>,
}

#[derive(Serialize)]
struct Question<'a> {
    alg: &'a str,
    value: &'a str,
}

/// What comes back. Zeroed when it is dropped.
#[derive(Deserialize)]
struct Outcome {
    /// The key that was used, with its version.
    #[serde(default)]
    kid: String,
    value: String,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl AzureKeys {
    pub(super) fn new(auth: Option<AzureAuth>, around: Arc<Surroundings>) -> Self {
        Self { auth, around, logins: Mutex::default() }
    }

    /// Decrypts a data key, as the file holds it.
    pub(super) async fn decrypt(&self, key: Named<'_>, encrypted: &str) -> Result<SecretValue, Error> {
        let tried = format!("decrypt a data key with {}", shown(key));
        let outcome = self.ask(key, "decrypt", encrypted.trim(), &tried).await?;
        let bytes = URL_SAFE_NO_PAD.decode(outcome.value.as_bytes()).map_err(|_| no_sense(&tried))?;
        Ok(SecretValue::new(bytes))
    }

    /// Encrypts a data key, to be put into a file; and the version of the key that was used.
    pub(super) async fn encrypt(&self, key: Named<'_>, data_key: &SecretValue) -> Result<(String, String), Error> {
        let tried = format!("encrypt a data key with {}", shown(key));
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(data_key.expose()));
        let mut outcome = self.ask(key, "encrypt", &text, &tried).await?;
        let version = outcome.kid.rsplit('/').next().unwrap_or_default().to_owned();
        let version = if key.version.is_empty() { version } else { key.version.to_owned() };
        if !is_name(&version) {
            return Err(no_sense(&tried));
        }
        Ok((std::mem::take(&mut outcome.value), version))
    }

    async fn ask(&self, key: Named<'_>, operation: &str, value: &str, tried: &str) -> Result<Outcome, Error> {
        let (url, cloud) = self.address(key, operation)?;
        let login = self.login(cloud).await?;
        let body =
            Zeroizing::new(serde_json::to_vec(&Question { alg: ALGORITHM, value }).map_err(|_| no_sense(tried))?);
        let request = |token: HeaderValue| {
            let request = http::Request::builder().method(Method::POST).uri(&url).header(AUTHORIZATION, token);
            let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body(Bytes::copy_from_slice(&body)).map_err(|_| no_sense(tried))
        };
        let answer = login.send(&self.around.network.client(), request).await?;
        match answer.status().as_u16() {
            200 => serde_json::from_slice(answer.body()).map_err(|_| no_sense(tried)),
            _ => Err(of_answer(&answer, tried)),
        }
    }

    /// Where a key is used. Of the file's address nothing but the host is taken.
    fn address(&self, key: Named<'_>, operation: &str) -> Result<(String, Cloud), Error> {
        let Named { vault_url, name, version } = key;
        let unusable = |why: &str| Error::new(ErrorKind::Undecodable, format!("{} is not {why}", shown(key)));
        if !is_name(name) || !(version.is_empty() || is_name(version)) {
            return Err(unusable("a key of Azure Key Vault"));
        }
        let (host, cloud) = vault(vault_url).ok_or_else(|| unusable("in a vault of Microsoft: no token goes there"))?;
        let vault = match self.around.network.service(Service::AzureKeys) {
            Some(elsewhere) => elsewhere.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://{host}"),
        };
        let key = if version.is_empty() { name.to_owned() } else { format!("{name}/{version}") };
        Ok((format!("{vault}/keys/{key}/{operation}?api-version={API_VERSION}"), cloud))
    }

    async fn login(&self, cloud: Cloud) -> Result<Arc<Login>, Error> {
        // Held while the Secret with the credentials is read, so that it is read once.
        let mut logins = self.logins.lock().await;
        if let Some(login) = logins.get(cloud.resource()) {
            return Ok(Arc::clone(login));
        }
        let login = Login::new(self.auth.as_ref(), cloud, &self.around).await;
        let login = Arc::new(login.map_err(|error| error.in_context("sops.azureKeyVault"))?);
        logins.insert(cloud.resource(), Arc::clone(&login));
        Ok(login)
    }
}

fn of_answer(answer: &Response, tried: &str) -> Error {
    let status = answer.status().as_u16();
    let (kind, why) = match status {
        400 => (ErrorKind::Undecodable, "what the file holds was not encrypted by this key"),
        401 => (ErrorKind::Unauthenticated, "Azure Key Vault does not accept the token"),
        403 => (ErrorKind::PermissionDenied, "no right to use the key, no way through its firewall, or it is disabled"),
        404 => (ErrorKind::Undecodable, "there is no such key, or not in this version"),
        408 | 504 => (ErrorKind::Timeout, "Azure Key Vault did not answer in time"),
        429 => (ErrorKind::RateLimited, "Azure Key Vault asks to be called less often"),
        500..=599 => (ErrorKind::Unavailable, "Azure Key Vault cannot answer now"),
        _ => (ErrorKind::Unexpected, "the answer makes no sense"),
    };
    let error = Error::new(kind, format!("cannot {tried}: {why} ({status})"));
    Error { retry_after: retry_after(answer.headers()), ..error }
}

fn no_sense(tried: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"))
}

/// The host of a vault of Microsoft, and whose cloud it is in.
fn vault(vault_url: &str) -> Option<(String, Cloud)> {
    let url = Url::parse(vault_url).ok()?;
    let host = url.host_str().filter(|_| url.scheme() == "https" && url.port().is_none())?;
    Some((host.to_owned(), Cloud::of_vault(host)?))
}

/// What a key and a version of it may be called.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 127 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A key out of a file, which anybody may have written: without what may stand before and behind the vault's host.
fn shown(key: Named<'_>) -> String {
    let host = Url::parse(key.vault_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let vault = host.map_or_else(|| key.vault_url.to_owned(), |host| format!("https://{host}"));
    format!("{vault}/keys/{}", key.name).escape_debug().take(120).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_azure_says_of_a_key_is_never_a_missing_value() {
        for (status, kind) in [
            (400, ErrorKind::Undecodable),
            (401, ErrorKind::Unauthenticated),
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::Undecodable),
            (408, ErrorKind::Timeout),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (504, ErrorKind::Timeout),
            (302, ErrorKind::Unexpected),
        ] {
            let answer = http::Response::builder().status(status).body(Bytes::from_static(b"remote words")).unwrap();
            let error = of_answer(&answer, "decrypt");
            assert_eq!(error.kind, kind, "{status}");
            assert!(!error.message.contains("remote words"));
        }
    }

    #[test]
    fn a_file_can_name_vaults_of_microsoft_and_no_other_host() {
        for (url, expected) in [
            ("https://mine.vault.azure.net", Some(("mine.vault.azure.net", Cloud::Public))),
            ("https://mine.vault.azure.net/", Some(("mine.vault.azure.net", Cloud::Public))),
            ("https://MINE.vault.azure.cn:443/x?y#z", Some(("mine.vault.azure.cn", Cloud::China))),
            ("https://user:password@mine.vault.azure.net", Some(("mine.vault.azure.net", Cloud::Public))),
            ("http://mine.vault.azure.net", None),
            ("https://mine.vault.azure.net:8443", None),
            ("https://mine.vault.azure.net.evil.example", None),
            ("https://mine.vault.azure.net@evil.example", None),
            ("https://vault.evil.example", None),
            ("https://127.0.0.1", None),
            ("mine.vault.azure.net", None),
            ("", None),
        ] {
            let found = vault(url);
            assert_eq!(found.as_ref().map(|(host, cloud)| (host.as_str(), *cloud)), expected, "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_a_key_is_its_vault_and_its_name() {
        let shown = |vault_url| shown(Named { vault_url, name: "orders", version: "" });
        assert_eq!(shown("https://u:canary@evil.example/a?b=canary#c"), "https://evil.example/keys/orders");
        assert_eq!(shown("not\nan address"), "not\\nan address/keys/orders");
    }

    #[test]
    fn names_hold_nothing_that_means_something_in_a_path() {
        for name in ["sops", "a-1", "0f1e2d3c4b5a"] {
            assert!(is_name(name));
        }
        for name in ["", "a/b", "..", "a?b", "a b", "a%2fb", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
