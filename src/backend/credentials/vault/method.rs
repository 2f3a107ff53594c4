//! The login that a Store names, or a person's own token.

use std::sync::Arc;

use super::{Method, Server, ServiceAccountMethod, Token, path};
use crate::api::store::{CertificateAuthority, SecretKey, VaultAppRole, VaultAuth, VaultRole};
use crate::backend::credentials::{Credentials, References, Surroundings, UserCredentials};
use crate::backend::network::Client;
use crate::backend::{Error, ErrorKind};

/// Where a Vault is, as a Store says it in `field`: `vault`, `sops.vaultTransit`.
pub struct Place<'a> {
    /// The part of the spec, for messages.
    pub field: &'a str,
    /// The address.
    pub address: &'a str,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<&'a str>,
    /// The certificate authority.
    pub ca: Option<&'a CertificateAuthority>,
}

impl Place<'_> {
    /// The server there. Asks nothing of it.
    ///
    /// # Errors
    /// [`ErrorKind::EndpointNotAllowed`], [`ErrorKind::InvalidConfig`], and what keeps the authority from being read.
    pub async fn server(&self, around: &Surroundings) -> Result<Server, Error> {
        let Self { field, address, namespace, ca } = self;
        let address = around.network.custom(&format!("{field}.address"), address)?;
        let client: Client = match ca {
            None => around.network.client(),
            Some(authority) => {
                let pem = around.references.authority(authority).await?;
                let trusting = around.network.client_trusting(pem.expose());
                trusting.map_err(|error| error.in_context(&format!("{field}.ca")))?
            }
        };
        Server::new(client, &address, *namespace)
    }
}

impl Method {
    /// The method of whoever connects. `field` is the part of the spec that has `auth`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], [`ErrorKind::Unauthenticated`] for a person without a token, and what keeps the
    /// credentials from being read.
    pub async fn of(field: &str, auth: Option<&VaultAuth>, around: &Surroundings) -> Result<Self, Error> {
        match &around.credentials {
            Credentials::OfUser(user) => of_user(user),
            Credentials::OfStore(_) => of_store(field, auth, &around.references).await,
        }
    }
}

fn of_user(user: &UserCredentials) -> Result<Method, Error> {
    let Some((origin, token)) = &user.vault else {
        let message = "there is no token of Vault: run `vault login`, or set VAULT_TOKEN";
        return Err(Error::new(ErrorKind::Unauthenticated, message));
    };
    Ok(Method::Token { token: Arc::new(Token::new(token, origin)?), origin: origin.clone() })
}

async fn of_store(field: &str, auth: Option<&VaultAuth>, references: &References) -> Result<Method, Error> {
    let Some(VaultAuth { token, kubernetes, approle, jwt }) = auth else {
        return Err(invalid(format!("{field}.auth is missing: name a login")));
    };
    match (token, kubernetes, approle, jwt) {
        (Some(token), None, None, None) => {
            let SecretKey { secret, key } = token;
            let origin = format!("Secret {secret}, key {key}");
            let token = references.secret_key(token).await?;
            Ok(Method::Token { token: Arc::new(Token::new(&token, &origin)?), origin })
        }
        (None, Some(role), None, None) => service_account(field, ServiceAccountMethod::Kubernetes, role, references),
        (None, None, None, Some(role)) => service_account(field, ServiceAccountMethod::Jwt, role, references),
        (None, None, Some(VaultAppRole { mount, role_id, secret_id }), None) => {
            let mount = mount.as_deref().unwrap_or("approle");
            let mount = path::of_mount(&format!("{field}.auth.approle.mount"), mount)?.to_owned();
            let secret_id = references.secret_key(secret_id).await?;
            Ok(Method::AppRole { mount, role_id: role_id.clone(), secret_id })
        }
        _ => Err(invalid(format!("{field}.auth must name exactly one of token, kubernetes, approle and jwt"))),
    }
}

fn service_account(
    field: &str,
    kind: ServiceAccountMethod,
    role: &VaultRole,
    references: &References,
) -> Result<Method, Error> {
    let VaultRole { mount, role, service_account } = role;
    let default = match kind {
        ServiceAccountMethod::Kubernetes => "kubernetes",
        ServiceAccountMethod::Jwt => "jwt",
    };
    let mount = path::of_mount(&format!("{field}.auth.{default}.mount"), mount.as_deref().unwrap_or(default))?;
    let (role, account, references) = (role.clone(), service_account.clone(), Box::new(references.clone()));
    Ok(Method::ServiceAccount { kind, mount: mount.to_owned(), role, account, references })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
