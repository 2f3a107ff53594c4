//! The server behind the proxy, and the TLS on both sides.

use std::sync::Arc;

use anyhow::Context as _;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::control_plane::pki::Identity;

/// Sends requests to the server behind the proxy.
pub(super) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
    scheme: Scheme,
    authority: Authority,
}

impl Upstream {
    pub(super) fn plain(url: &str) -> anyhow::Result<Self> {
        Self::new(url, RootCertStore::empty())
    }

    pub(super) fn tls(url: &str, authority_pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
            roots
                .add(certificate?)
                .context("could not use the certificate authority of the server behind the proxy")?;
        }
        Self::new(url, roots)
    }

    fn new(url: &str, roots: RootCertStore) -> anyhow::Result<Self> {
        let parts = url.parse::<Uri>().with_context(|| format!("could not read the address {url}"))?.into_parts();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self {
            // A request is sent once: a retry here would hide a fault from the client.
            client: Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector),
            scheme: parts.scheme.unwrap_or(Scheme::HTTP),
            authority: parts.authority.with_context(|| format!("the address {url} names no host"))?,
        })
    }

    /// Passes a request on and returns the answer as soon as its head is there.
    pub(super) async fn send(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .context("could not address the server behind the proxy")?;
        // The client names the proxy as host. A server with a certificate has a name of its own; where requests are
        // signed, as for AWS, the host is among what is signed.
        if self.scheme == Scheme::HTTPS {
            request.headers_mut().remove(header::HOST);
        }
        // What holds for its connection does not hold for ours.
        request.headers_mut().remove(header::CONNECTION);
        let mut response = self.client.request(request).await.context("could not reach the server behind the proxy")?;
        response.headers_mut().remove(header::CONNECTION);
        Ok(response)
    }
}

/// For the side of the proxy that clients see.
pub(super) fn tls_acceptor(identity: &Identity) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
