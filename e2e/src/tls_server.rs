//! A small HTTP/1.1 server on loopback, with TLS or without, for services that cannot run here.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::control_plane::pki::Identity;
use crate::control_plane::use_one_tls_provider;

/// A request with its whole body.
pub(crate) type Request = http::Request<Bytes>;
/// An answer with its whole body.
pub(crate) type Response = http::Response<Bytes>;

/// A running server; it ends when it is dropped. It has a thread of its own, so that tests with a runtime each can share
/// it.
pub(crate) struct TlsServer {
    address: SocketAddr,
    _end: DropGuard,
}

impl TlsServer {
    /// Starts one at a free port. `answer` is asked for each request; it must not wait.
    ///
    /// # Errors
    ///
    /// When no port is free or the certificate cannot be used.
    pub(crate) fn start(
        identity: Option<&Identity>,
        answer: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        use_one_tls_provider();
        let tls = identity.map(acceptor).transpose()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = CancellationToken::new();
        let stop = end.clone();
        let answer: Arc<dyn Fn(Request) -> Response + Send + Sync> = Arc::new(answer);
        std::thread::Builder::new().name(format!("server at {address}")).spawn(move || {
            runtime.block_on(stop.run_until_cancelled(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                loop {
                    // A client that is gone before it was accepted is nobody's loss.
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, answer).await,
                            // A failed handshake is the client's to report.
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, answer).await;
                                }
                            }
                        }
                    });
                }
            }))
        })?;
        Ok(Self { address, _end: end.drop_guard() })
    }

    /// Where it is, such as `127.0.0.1:26471`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Arc<dyn Fn(Request) -> Response + Send + Sync>) {
    let service = service_fn(|request: http::Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        // A body that breaks off has no answer: the connection is gone with it.
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let response = answer(http::Request::from_parts(parts, body));
        Ok::<_, Infallible>(response.map(Full::new))
    });
    // Errors are those of a connection that one side has given up.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn acceptor(identity: &Identity) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
