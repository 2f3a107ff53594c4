//! From the spec of a Store to a driver that has asked nothing yet.

use tokio::sync::OnceCell;

use super::{Engine, Vault};
use crate::api::store;
use crate::backend::credentials::Surroundings;
use crate::backend::credentials::vault::{Login, Method, Place, path};
use crate::backend::{Error, ErrorKind};

/// Connects a store. The Secrets that it names are read; Vault is not asked.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::Vault, around: &Surroundings) -> Result<Vault, Error> {
    const FIELD: &str = "vault";
    let store::Vault { address, namespace, mount, kv_version, ca, auth } = spec;
    let engine = match kv_version {
        None | Some(2) => Engine::V2,
        Some(1) => Engine::V1,
        Some(_) => return Err(Error::new(ErrorKind::InvalidConfig, "vault.kvVersion must be 1 or 2")),
    };
    let mount = path::of_mount("vault.mount", mount)?.to_owned();
    let place = Place { field: FIELD, address, namespace: namespace.as_deref(), ca: ca.as_ref() };
    let server = place.server(around).await?;
    let method = Method::of(FIELD, auth.as_ref(), around).await?;
    Ok(Vault {
        login: Login::new(server, method, around.timeout),
        mount,
        engine,
        encoding: around.encoding,
        seen: OnceCell::new(),
    })
}
