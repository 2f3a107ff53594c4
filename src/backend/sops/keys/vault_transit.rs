//! Data keys under keys of Vault's transit engine.
//!
//! A file names the address of its Vault, but the store decides where its login goes: a key of another Vault is not ours.
//! Where no store does, a person's token goes to any Vault that a file names and that the person allows.
//!
//! | answer | kind |
//! |---|---|
//! | 400 | `Undecodable`: the key is not there, or did not encrypt this |
//! | 404 | `Undecodable`: there is no transit engine at the path |
//! | any other | as for logins to Vault |
//!
//! Source: <https://developer.hashicorp.com/vault/api-docs/secret/transit#decrypt-data>.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::{Zeroize, Zeroizing};

use crate::api::store::SopsVaultTransit;
use crate::backend::credentials::vault::{Answer, Login, Method, Place, Post, failed, of_status, path};
use crate::backend::credentials::{Credentials, Surroundings};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The part of the spec.
const FIELD: &str = "sops.vaultTransit";

/// A key of the engine as a file names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) address: &'a str,
    pub(super) engine_path: &'a str,
    pub(super) key_name: &'a str,
}

/// More Vaults than the files of a folder are under; crafted files could name any number.
const MOST_VAULTS: usize = 16;

/// The Vaults whose transit engines are asked.
pub(super) enum Vaults {
    /// The one that the store names.
    OfStore(Arc<VaultTransit>),
    /// Any that a file names, by its address, as far as the network lets a person's token go there.
    OfPerson { around: Arc<Surroundings>, connected: Mutex<HashMap<String, Arc<VaultTransit>>> },
}

impl Vaults {
    pub(super) fn of_person(around: &Arc<Surroundings>) -> Self {
        Self::OfPerson { around: Arc::clone(around), connected: Mutex::default() }
    }

    /// The one that has the key.
    pub(super) async fn of(&self, key: Named<'_>) -> Result<Option<Arc<VaultTransit>>, Error> {
        let (around, connected) = match self {
            Self::OfStore(vault) => return Ok(vault.is_mine(key).then(|| Arc::clone(vault))),
            Self::OfPerson { around, connected } => (around, connected),
        };
        let mut connected = connected.lock().await;
        if let Some(vault) = connected.get(key.address) {
            return Ok(Some(Arc::clone(vault)));
        }
        let namespace = match &around.credentials {
            Credentials::OfUser(user) => user.vault_namespace.clone(),
            Credentials::OfStore(_) => None,
        };
        let spec = SopsVaultTransit { address: key.address.to_owned(), namespace, ca: None, auth: None };
        let vault = Arc::new(VaultTransit::named("the Vault of the file", &spec, around).await?);
        if connected.len() >= MOST_VAULTS {
            connected.clear();
        }
        connected.insert(key.address.to_owned(), Arc::clone(&vault));
        Ok(Some(vault))
    }

    /// For messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::OfStore(vault) => format!("transit of {}", vault.login.host()),
            Self::OfPerson { .. } => "Vault transit".to_owned(),
        }
    }
}

/// The transit engine with the login of one store.
pub(super) struct VaultTransit {
    address: String,
    login: Login,
}

impl VaultTransit {
    /// Reads what the store names, and asks Vault nothing.
    pub(super) async fn connect(spec: &SopsVaultTransit, around: &Surroundings) -> Result<Self, Error> {
        Self::named(FIELD, spec, around).await
    }

    async fn named(field: &str, spec: &SopsVaultTransit, around: &Surroundings) -> Result<Self, Error> {
        let SopsVaultTransit { address, namespace, ca, auth } = spec;
        let place = Place { field, address, namespace: namespace.as_deref(), ca: ca.as_ref() };
        let server = place.server(around).await?;
        let method = Method::of(field, auth.as_ref(), around).await?;
        Ok(Self { address: address.clone(), login: Login::new(server, method, around.timeout) })
    }

    /// Whether the file means the Vault of this store.
    pub(super) fn is_mine(&self, key: Named<'_>) -> bool {
        let plain = |text: &str| Url::parse(text).ok().map(|url| url.as_str().trim_end_matches('/').to_owned());
        plain(key.address).is_some_and(|address| plain(&self.address) == Some(address))
    }

    /// Decrypts a data key, as the file holds it.
    pub(super) async fn decrypt(&self, key: Named<'_>, encrypted: &str) -> Result<SecretValue, Error> {
        let tried = format!("decrypt a data key with {}", shown(key));
        let mut answer = self.call(key, "decrypt", "ciphertext", encrypted.trim(), &tried).await?;
        let plain = answer.data.plaintext.take().map(Zeroizing::new);
        let bytes = plain.and_then(|text| STANDARD.decode(text.as_bytes()).ok());
        bytes.map(SecretValue::new).ok_or_else(|| no_sense(&tried))
    }

    /// Encrypts a data key, to be put into a file.
    pub(super) async fn encrypt(&self, key: Named<'_>, data_key: &SecretValue) -> Result<String, Error> {
        let tried = format!("encrypt a data key with {}", shown(key));
        let text = Zeroizing::new(STANDARD.encode(data_key.expose()));
        let mut answer = self.call(key, "encrypt", "plaintext", &text, &tried).await?;
        answer.data.ciphertext.take().filter(|text| text.starts_with("vault:v")).ok_or_else(|| no_sense(&tried))
    }

    async fn call(
        &self,
        key: Named<'_>,
        operation: &'static str,
        field: &'static str,
        text: &str,
        tried: &str,
    ) -> Result<Outcome, Error> {
        let Named { address: _, engine_path, key_name } = key;
        let engine = engine_path.trim_matches('/');
        let sent = path::check(engine).and_then(|()| path::check(key_name));
        sent.map_err(|why| Error::new(ErrorKind::Undecodable, format!("the transit key of the file {why}")))?;
        let mut body = Zeroizing::new(Vec::with_capacity(text.len() + 64));
        let fields = std::collections::BTreeMap::from([(field, text)]);
        serde_json::to_writer(&mut *body, &fields).map_err(|_| no_sense(tried))?;
        let path = format!("{engine}/{operation}/{key_name}");
        let answer = self.login.call(|| Post { path: path.clone(), body: body.clone() }).await?;
        match answer.status {
            200 => answer.parse().ok_or_else(|| no_sense(tried)),
            status => Err(of_answer(&answer, status, tried)),
        }
    }
}

fn of_answer(answer: &Answer, status: u16, tried: &str) -> Error {
    match status {
        400 => failed(ErrorKind::Undecodable, tried, "there is no such key, or it did not encrypt this", answer),
        404 => failed(ErrorKind::Undecodable, tried, "there is no transit engine at this path", answer),
        _ => of_status(answer, tried),
    }
}

fn no_sense(tried: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer makes no sense"))
}

/// A key out of a file, which anybody may have written.
fn shown(key: Named<'_>) -> String {
    format!("the transit key {}/{}", key.engine_path, key.key_name).escape_debug().take(120).collect()
}

#[derive(Deserialize)]
struct Outcome {
    data: Data,
}

/// What is not taken out is zeroed.
#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    plaintext: Option<String>,
    #[serde(default)]
    ciphertext: Option<String>,
}

impl Drop for Data {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}
