//! Asks Vault's API as a test's own hand, behind the back of what is tested.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::control_plane::use_one_tls_provider;

pub(super) struct Caller {
    url: String,
    tls: ClientConfig,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Caller {
    pub(super) fn plain(url: String) -> Self {
        Self::new(url, RootCertStore::empty())
    }

    pub(super) fn tls(url: String, authority_pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
            roots.add(certificate?).context("could not use the certificate authority of Vault")?;
        }
        Ok(Self::new(url, roots))
    }

    fn new(url: String, roots: RootCertStore) -> Self {
        use_one_tls_provider();
        Self { url, tls: ClientConfig::builder().with_root_certificates(roots).with_no_client_auth() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let connector: HttpsConnector<HttpConnector> =
            HttpsConnectorBuilder::new().with_tls_config(self.tls.clone()).https_or_http().enable_http1().build();
        // One for each call: connections belong to the async runtime of the test that made them, the server to all.
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(format!("{}/v1/{path}", self.url))
            .header("X-Vault-Request", "true");
        if !token.is_empty() {
            request = request.header("X-Vault-Token", token);
        }
        let content = body.map(Value::to_string).unwrap_or_default();
        let answer = client.request(request.body(Full::new(Bytes::from(content)))?).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok(Answer { status, body })
    }
}
