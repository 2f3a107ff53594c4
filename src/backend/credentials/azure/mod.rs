//! Logins to Azure: an application by client secret or by a ServiceAccount's token, a managed identity, a person.
//!
//! | `auth` | what is presented | to whom |
//! |---|---|---|
//! | `clientSecret` | the secret of an application | Microsoft Entra ID |
//! | `workloadIdentity` | a ServiceAccount's token (TokenRequest, audience `api://AzureADTokenExchange`) | Microsoft Entra ID |
//! | `managedIdentity` | nothing: the machine is asked what it is | its metadata service, for ClusterStores with ambient rights |
//! | a person's own | variables of the environment, or the Azure CLI | Entra ID, or `az` |
//!
//! One [`Login`] belongs to one connected store; when it happens, `credentials/kept.rs` says.
//!
//! Whom a token is asked from, and what it is for, follows from the Store alone; what a vault's challenge says about that
//! is never read.

mod cloud;
mod error;
mod source;
#[cfg(test)]
mod tests;

use http::HeaderValue;
use reqwest::Url;

pub use self::cloud::Cloud;
use self::source::{Place, Proof, Source};
use super::kept::Keeper;
use super::{Credentials, Surroundings};
use crate::api::store::{AzureAuth, AzureClientSecret, AzureManagedIdentity, AzureWorkloadIdentity};
use crate::backend::network::{Client, Request, Response, Service};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The metadata service of every machine in Azure.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// An application that a person's environment names, as the tools of Azure read it.
pub struct AzureApplication {
    /// `AZURE_TENANT_ID`.
    pub tenant: String,
    /// `AZURE_CLIENT_ID`.
    pub client: String,
    /// What proves it.
    pub proof: AzureProof,
}

/// What proves an application.
pub enum AzureProof {
    /// `AZURE_CLIENT_SECRET`.
    Secret(SecretValue),
    /// What is in the file of `AZURE_FEDERATED_TOKEN_FILE`.
    Assertion(SecretValue),
}

/// The login of one store.
pub struct Login {
    source: Source,
    place: Place,
    keeper: Keeper<HeaderValue>,
}

impl Login {
    /// What a Store's `auth` says, or a person's own credentials. Reads the Secret, and logs in nowhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an `auth` that cannot work, [`ErrorKind::SourceNotFound`] without the Secret.
    pub async fn new(auth: Option<&AzureAuth>, cloud: Cloud, around: &Surroundings) -> Result<Self, Error> {
        let source = match &around.credentials {
            Credentials::OfUser(user) => of_user(user.azure.as_ref(), auth)?,
            Credentials::OfStore(rights) => of_store(auth, rights.ambient, around).await?,
        };
        let network = match &source {
            Source::Application { .. } | Source::CommandLine { .. } => around.network.client(),
            Source::Machine { .. } => around.network.client_for_metadata()?,
        };
        let authority = match around.network.service(Service::AzureLogin) {
            Some(elsewhere) => elsewhere.clone(),
            None => address(cloud.authority())?,
        };
        let place = Place { authority, resource: cloud.resource(), network };
        Ok(Self { source, place, keeper: Keeper::new(around.timeout) })
    }

    /// Makes a call with the header `Authorization`, and once more if the token was refused and another could be had.
    ///
    /// # Errors
    /// Those of the call; those of the login. A refusal is an answer.
    pub async fn send(
        &self,
        client: &Client,
        request: impl Fn(HeaderValue) -> Result<Request, Error>,
    ) -> Result<Response, Error> {
        self.keeper.send(client, || self.source.token(&self.place), request).await
    }
}

async fn of_store(auth: Option<&AzureAuth>, may_use_ambient: bool, around: &Surroundings) -> Result<Source, Error> {
    let one = || invalid("auth must name exactly one of workloadIdentity, managedIdentity and clientSecret");
    let AzureAuth { workload_identity, managed_identity, client_secret } = auth.ok_or_else(one)?;
    match (workload_identity, managed_identity, client_secret) {
        (Some(AzureWorkloadIdentity { tenant_id, client_id, service_account }), None, None) => {
            let references = Box::new(around.references.clone());
            let proof = Proof::ServiceAccount { account: service_account.clone(), references };
            application("auth.workloadIdentity", tenant_id, client_id, proof)
        }
        (None, Some(AzureManagedIdentity { client_id }), None) => {
            if !may_use_ambient || !around.store.starts_with("ClusterStore/") {
                let what = "auth.managedIdentity is the identity of the operator's machine: it is for ClusterStores, of an \
                            operator started with --allow-ambient-credentials";
                return Err(invalid(what));
            }
            let client = client_id.as_deref().map(|id| identifier("auth.managedIdentity.clientId", id)).transpose()?;
            Ok(Source::Machine { client, address: address(METADATA)? })
        }
        (None, None, Some(AzureClientSecret { tenant_id, client_id, client_secret })) => {
            let found = around.references.secret_key(client_secret).await?;
            let secret = found.expose().trim_ascii();
            if secret.is_empty() || secret.starts_with(b"${") {
                let (name, key) = (&client_secret.secret, &client_secret.key);
                let message = format!("key {key} of Secret {name} is no client secret: it is empty or a placeholder");
                return Err(Error::new(ErrorKind::Unauthenticated, message));
            }
            let proof = Proof::Secret(SecretValue::new(secret.to_vec()));
            application("auth.clientSecret", tenant_id, client_id, proof)
        }
        _ => Err(one()),
    }
}

/// What the environment names; else the Azure CLI, in the tenant that the Store names for the operator.
fn of_user(user: Option<&AzureApplication>, auth: Option<&AzureAuth>) -> Result<Source, Error> {
    if let Some(AzureApplication { tenant, client, proof }) = user {
        let copy = |value: &SecretValue| SecretValue::new(value.expose().trim_ascii().to_vec());
        let proof = match proof {
            AzureProof::Secret(secret) => Proof::Secret(copy(secret)),
            AzureProof::Assertion(token) => Proof::Assertion(copy(token)),
        };
        return application("AZURE_TENANT_ID, AZURE_CLIENT_ID", tenant, client, proof);
    }
    let tenant = auth.and_then(|AzureAuth { workload_identity, managed_identity: _, client_secret }| {
        let workload = workload_identity.as_ref().map(|identity| &identity.tenant_id);
        workload.or(client_secret.as_ref().map(|secret| &secret.tenant_id))
    });
    let tenant = tenant.map(|tenant| identifier("auth.tenantId", tenant)).transpose()?;
    Ok(Source::CommandLine { tenant })
}

fn application(field: &str, tenant: &str, client: &str, proof: Proof) -> Result<Source, Error> {
    let tenant = identifier(&format!("{field}: the tenant id"), tenant)?;
    let client = identifier(&format!("{field}: the client id"), client)?;
    Ok(Source::Application { tenant, client, proof })
}

/// A GUID, or the domain of a tenant: nothing that could mean something in a path, a form or an argument.
fn identifier(what: &str, text: &str) -> Result<String, Error> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if text.is_empty() || !is_plain || text.starts_with(['-', '.']) {
        let rule = "is empty or has characters that an id cannot have: a GUID is expected, or for a tenant its domain";
        return Err(invalid(&format!("{what} {rule}")));
    }
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|_| invalid("the address of the Azure login cannot be one"))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
