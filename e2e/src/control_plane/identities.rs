//! Who may talk to the API server: its administrator, service accounts and people.

use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::ControlPlane;
use super::kubeconfig::{Contents, Credential};
use super::pki::Authority;
use super::servers::Servers;

/// Longer than any test or demo, so that nothing has to be renewed.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

impl ControlPlane {
    /// Makes the service account if it is absent, and a kubeconfig with a token of it as the API server issues them.
    ///
    /// The file has mode 0600; its context is in the account's namespace. It has no rights but those that RBAC gives.
    ///
    /// # Errors
    ///
    /// When the API server refuses, for example because there is no such namespace.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        accounts
            .patch(name, &PatchParams::apply("e2e"), &Patch::Apply(account))
            .await
            .with_context(|| format!("could not make the service account {namespace}/{name}"))?;
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("could not get a token for the service account {namespace}/{name}"))?
            .status
            .context("the API server answered a token request without a token")?
            .token;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.write_kubeconfig(&user, &Credential::Token(&token), namespace)
    }

    /// A kubeconfig of a person whom RBAC knows as the user `name` and, if given, a member of `group`.
    ///
    /// It has mode 0600, proves the person by a client certificate, and its context is in the namespace `default`.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be made or the file not be written; the API server is not asked.
    pub fn person(&self, name: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        let identity = self.authority().person(name, group)?;
        self.write_kubeconfig(name, &Credential::Certificate(&identity), "default")
    }

    fn write_kubeconfig(&self, user: &str, credential: &Credential<'_>, namespace: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder().join(format!("{}.kubeconfig", random_token()?));
        Contents { server: &self.url(), authority: &self.ca_pem(), user, credential, namespace }.write(&path)?;
        Ok(path)
    }
}

pub(super) fn write_admin_kubeconfig(servers: &Servers, authority: &Authority, token: &str) -> anyhow::Result<()> {
    Contents {
        server: &servers.url(),
        authority: &authority.pem(),
        user: "admin",
        credential: &Credential::Token(token),
        namespace: "default",
    }
    .write(&servers.admin_kubeconfig())
}

/// 128 random bits as hexadecimal digits.
pub(crate) fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()
        .context("the system has no randomness to give")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
