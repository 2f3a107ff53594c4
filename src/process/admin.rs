//! `/healthz`, `/readyz` and `/metrics`, served from the first moment on: an operator that waits for its API server is
//! alive and not ready.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::controller::Context;

/// The controller, once there is one.
pub(super) type Running = Arc<OnceLock<Arc<Context>>>;

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
pub(super) async fn serve(listener: Listener, running: Running, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(running);
    axum::serve(listener.listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("the admin endpoints failed")
}

/// The loops turn, or were not started yet. If they do not, a restart is the cure.
async fn healthz(State(running): State<Running>) -> Response {
    if running.get().is_none_or(|context| context.is_alive()) {
        "ok\n".into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "a loop does not turn any more\n").into_response()
    }
}

/// Ready once every watch has listed, so that decisions rest on the whole picture, and while the loops turn.
async fn readyz(State(running): State<Running>) -> Response {
    match running.get() {
        Some(context) if context.is_synced() && context.is_alive() => "ok\n".into_response(),
        Some(_) => not_ready("the caches are not synced yet\n"),
        None => not_ready("the API server did not answer yet\n"),
    }
}

async fn metrics(State(running): State<Running>) -> Response {
    let Some(context) = running.get() else { return not_ready("the API server did not answer yet\n") };
    match context.metrics.render(&context.gauges()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn not_ready(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
