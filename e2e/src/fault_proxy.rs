//! An HTTP/1.1 proxy on loopback that does to requests what networks and overloaded servers do.
//!
//! It passes everything, watch streams included, until told otherwise:
//!
//! ```no_run
//! # async fn test(control_plane: &e2e::ControlPlane, kubeconfig: &std::path::Path) -> anyhow::Result<()> {
//! use e2e::{Fault, FaultProxy, Matching};
//!
//! let proxy = FaultProxy::to_api_server(control_plane).await?;
//! let kubeconfig = control_plane.proxied_kubeconfig(kubeconfig, &proxy)?;
//! // … start what is tested with that kubeconfig …
//! let conflicts = proxy.inject(Fault::answer(409), Matching::any().method("PUT").path("/secrets/").times(3));
//! // … wait for what should happen …
//! assert_eq!(conflicts.hits(), 3);
//! # Ok(()) }
//! ```
//!
//! Towards an API server it ends TLS with a certificate of the control plane's authority; tokens pass, client
//! certificates cannot. When the server behind it cannot be reached, the connection is reset. Requests that upgrade
//! their connection (`exec`, `port-forward`) are not supported.

mod connection;
mod fault;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use fault::{Counts, Fault, Injected, Matching};

use crate::control_plane::pki::Authority;
use crate::control_plane::{ControlPlane, use_one_tls_provider};
use crate::free_port::free_ports;
use connection::Handler;
use fault::Rules;
use upstream::Upstream;

/// A running proxy; it ends, and its connections with it, when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    handler: Arc<Handler>,
    listening: Mutex<Option<Listening>>,
    _end: DropGuard,
}

/// The task that owns the listener.
struct Listening {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy to an API server, itself serving TLS.
    ///
    /// # Errors
    ///
    /// When no port is free or no certificate can be made.
    pub async fn to_api_server(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        use_one_tls_provider();
        let upstream = Upstream::tls(&control_plane.url(), &control_plane.ca_pem())?;
        let identity = control_plane.authority().server()?;
        Self::start(upstream, Some(upstream::tls_acceptor(&identity)?)).await
    }

    /// Starts a proxy to a plain server, for example `http://127.0.0.1:8200`, itself serving plain HTTP.
    ///
    /// # Errors
    ///
    /// When no port is free or `url` has no host.
    pub async fn to_http(url: &str) -> anyhow::Result<Self> {
        use_one_tls_provider();
        Self::start(Upstream::plain(url)?, None).await
    }

    /// Starts a proxy to a plain server, itself serving TLS under an authority of its own, whose certificate (PEM) is the
    /// second thing returned. `names` are those that it has beside its address.
    ///
    /// # Errors
    ///
    /// When no port is free, `url` has no host, or no certificate can be made.
    pub async fn tls_to_http(url: &str, names: &[&str]) -> anyhow::Result<(Self, String)> {
        use_one_tls_provider();
        let authority = Authority::new()?;
        let tls = upstream::tls_acceptor(&authority.server_named("proxy", names)?)?;
        Ok((Self::start(Upstream::plain(url)?, Some(tls)).await?, authority.pem()))
    }

    async fn start(upstream: Upstream, tls: Option<tokio_rustls::TlsAcceptor>) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        let end = CancellationToken::new();
        let proxy = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            handler: Arc::new(Handler::new(upstream, tls, end.clone())),
            listening: Mutex::new(None),
            _end: end.drop_guard(),
        };
        proxy.accept().await?;
        Ok(proxy)
    }

    /// `https://127.0.0.1:<port>` where it serves TLS, `http://…` otherwise; the same as long as the proxy lives.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.handler.serves_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it is, such as `127.0.0.1:26471`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does something to the matching requests from now on. Of several that match, the latest wins.
    pub fn inject(&self, fault: Fault, matching: Matching) -> Injected {
        self.rules().inject(fault, matching)
    }

    /// Takes all injected faults away. Requests that are stalled by one stay so.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// How many requests met which fate.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.rules().counts()
    }

    /// Closes the port and resets all connections, as if the server were gone. Does nothing if it is closed already.
    pub async fn refuse(&self) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Listening { stop, task }) = listening {
            stop.cancel();
            // It ends at once; a panic in it is not ours to pass on.
            let _ = task.await;
        }
        self.cut_connections();
    }

    /// Opens the port again after [`FaultProxy::refuse`]. Does nothing if it is open already.
    ///
    /// # Errors
    ///
    /// When another process took the port meanwhile.
    pub async fn accept(&self) -> anyhow::Result<()> {
        if self.listening.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let listener =
            TcpListener::bind(self.address).await.with_context(|| format!("could not listen at {}", self.address))?;
        let stop = self.handler.end().child_token();
        let task = tokio::spawn(Arc::clone(&self.handler).accept(listener, stop.clone()));
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(Listening { stop, task });
        Ok(())
    }

    /// Resets all present connections, in the middle of whatever they carry. New ones are served.
    pub fn cut_connections(&self) {
        self.handler.cut_connections();
    }

    /// Holds back the bodies of all answers, those under way included, without closing anything: a network that
    /// silently loses packets. Heads of answers still pass.
    pub fn silence(&self) {
        self.handler.set_silent(true);
    }

    /// Ends [`FaultProxy::silence`]; what was held back arrives now.
    pub fn resume(&self) {
        self.handler.set_silent(false);
    }

    fn rules(&self) -> &Rules {
        self.handler.rules()
    }
}
