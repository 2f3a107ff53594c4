//! From the spec of a Store to a driver that has asked nothing yet.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{Engine, Vault, path};
use crate::api::store::{self, SecretKey, VaultAppRole, VaultAuth, VaultRole};
use crate::backend::credentials::vault::{Login, Method, Server, ServiceAccountMethod, Token};
use crate::backend::credentials::{Credentials, References, Surroundings, UserCredentials};
use crate::backend::network::Client;
use crate::backend::{Error, ErrorKind};

/// Connects a store. The Secrets that it names are read; Vault is not asked.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`], [`ErrorKind::EndpointNotAllowed`], and what keeps the credentials from being read.
pub async fn connect(spec: &store::Vault, around: &Surroundings) -> Result<Vault, Error> {
    let store::Vault { address, namespace, mount, kv_version, ca, auth } = spec;
    let address = around.network.custom("vault.address", address)?;
    let engine = match kv_version {
        None | Some(2) => Engine::V2,
        Some(1) => Engine::V1,
        Some(_) => return Err(invalid("vault.kvVersion must be 1 or 2")),
    };
    let mount = path::of_mount("vault.mount", mount)?.to_owned();
    let client: Client = match ca {
        None => around.network.client(),
        Some(authority) => {
            let pem = around.references.authority(authority).await?;
            around.network.client_trusting(pem.expose()).map_err(|error| error.in_context("vault.ca"))?
        }
    };
    let method = match &around.credentials {
        Credentials::OfUser(user) => of_user(user)?,
        Credentials::OfStore(_) => of_store(auth.as_ref(), &around.references).await?,
    };
    let server = Server::new(client, &address, namespace.as_deref())?;
    Ok(Vault { login: Login::new(server, method), mount, engine, encoding: around.encoding, seen: OnceCell::new() })
}

fn of_user(user: &UserCredentials) -> Result<Method, Error> {
    let Some((origin, token)) = &user.vault else {
        let message = "there is no token of Vault: run `vault login`, or set VAULT_TOKEN";
        return Err(Error::new(ErrorKind::Unauthenticated, message));
    };
    Ok(Method::Token { token: Arc::new(Token::new(token, origin)?), origin: origin.clone() })
}

async fn of_store(auth: Option<&VaultAuth>, references: &References) -> Result<Method, Error> {
    let Some(VaultAuth { token, kubernetes, approle, jwt }) = auth else {
        return Err(invalid("vault.auth is missing: name a login"));
    };
    match (token, kubernetes, approle, jwt) {
        (Some(token), None, None, None) => {
            let SecretKey { secret, key } = token;
            let origin = format!("Secret {secret}, key {key}");
            let token = references.secret_key(token).await?;
            Ok(Method::Token { token: Arc::new(Token::new(&token, &origin)?), origin })
        }
        (None, Some(role), None, None) => service_account(ServiceAccountMethod::Kubernetes, role, references),
        (None, None, None, Some(role)) => service_account(ServiceAccountMethod::Jwt, role, references),
        (None, None, Some(VaultAppRole { mount, role_id, secret_id }), None) => {
            let mount = path::of_mount("vault.auth.approle.mount", mount.as_deref().unwrap_or("approle"))?.to_owned();
            let secret_id = references.secret_key(secret_id).await?;
            Ok(Method::AppRole { mount, role_id: role_id.clone(), secret_id })
        }
        _ => Err(invalid("vault.auth must name exactly one of token, kubernetes, approle and jwt")),
    }
}

fn service_account(kind: ServiceAccountMethod, role: &VaultRole, references: &References) -> Result<Method, Error> {
    let VaultRole { mount, role, service_account } = role;
    let (field, default) = match kind {
        ServiceAccountMethod::Kubernetes => ("vault.auth.kubernetes.mount", "kubernetes"),
        ServiceAccountMethod::Jwt => ("vault.auth.jwt.mount", "jwt"),
    };
    let mount = path::of_mount(field, mount.as_deref().unwrap_or(default))?.to_owned();
    let (role, account, references) = (role.clone(), service_account.clone(), Box::new(references.clone()));
    Ok(Method::ServiceAccount { kind, mount, role, account, references })
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
