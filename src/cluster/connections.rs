//! The connections to the API server, in two pools: one whose answers hold values, and one for everything else.
//!
//! A connection has buffers of its own (TLS decrypts in place, HTTP reads ahead), and what it read last stays there
//! until something else comes or the connection closes, when the allocator zeroes it. So values travel on connections
//! that close when they were idle for a moment, and never on one that a watch then keeps open for minutes.

use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use tower::{BoxError, ServiceExt as _};

/// How long to wait for a connection before the server counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is waited on and says nothing for so long is dead: the API server sends each idle watch a bookmark
/// about once a minute (`defaultBookmarkFrequency` of `k8s.io/apiserver`, `storage/cacher`). Without this a network that
/// silently loses packets would go unnoticed until the watch itself ends, after about five minutes.
const SILENCE: Duration = Duration::from_secs(90);
/// How long an unused connection for values is kept; it is looked at as often. Far longer than the pauses within a sync,
/// and short against the time between syncs; a new connection costs two round trips and a handshake of about 1 ms.
const IDLE: Duration = Duration::from_secs(5);

/// A client for watches and for objects without values: without kube's own retry, which repeats a refused request up to
/// 15 times and waits as long as the server says.
///
/// # Errors
/// The configuration names credentials or certificates that cannot be used.
pub fn client(mut config: kube::Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(SILENCE);
    // The time that a pooled connection was idle does not count against the next answer.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

/// A client for values, as the module says. There is no timeout but that of connecting, and no retry: the caller bounds
/// each call as a whole.
///
/// # Errors
/// As [`client`], which also tells of a proxy that cannot be used.
pub(super) fn client_for_values(config: &kube::Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(config.rustls_https_connector_with_connector(connector)?);
    let builder = ClientBuilder::new(http.map_err(BoxError::from), config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?);
    let address = config.base_uri_layer();
    Ok(match config.auth_layer()? {
        Some(credentials) => builder.with_layer(&credentials).with_layer(&address).build(),
        None => builder.with_layer(&address).build(),
    })
}
