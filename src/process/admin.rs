//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::controller::Context;

/// A bound port.
pub(super) struct Listener {
    listener: TcpListener,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// Binds the port before anything else starts, so that a taken one is an error at once.
///
/// # Errors
/// The port is taken or not ours to use.
pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<Listener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address with --listen"))?;
    let address = listener.local_addr().context("cannot find out the address")?;
    Ok(Listener { listener, address })
}

/// Serves until `stop`.
///
/// # Errors
/// The listener broke.
pub(super) async fn serve(listener: Listener, context: Arc<Context>, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(context);
    axum::serve(listener.listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("the admin endpoints failed")
}

/// The loops turn. If they do not, a restart is the cure.
async fn healthz(State(context): State<Arc<Context>>) -> Response {
    if context.is_alive() {
        "ok\n".into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "a loop does not turn any more\n").into_response()
    }
}

/// Ready once every watch has listed, so that decisions rest on the whole picture, and while the loops turn.
async fn readyz(State(context): State<Arc<Context>>) -> Response {
    if context.is_synced() && context.is_alive() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not synced yet\n").into_response()
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    match context.metrics.render(&context.gauges()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
