//! Connections of clients: accepts, answers and breaks them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Rules};
use super::upstream::Upstream;

/// Between the last byte of a cut answer and the reset, so that the byte is on its way: a reset discards what is queued.
const FLUSH_TIME: Duration = Duration::from_millis(20);

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What all connections of a proxy share.
pub(super) struct Handler {
    upstream: Upstream,
    tls: Option<TlsAcceptor>,
    rules: Rules,
    silent: watch::Sender<bool>,
    /// Ends everything, with the proxy.
    end: CancellationToken,
    /// Cancelled to reset the present connections, then replaced for the next ones.
    present: Mutex<CancellationToken>,
}

impl Handler {
    pub(super) fn new(upstream: Upstream, tls: Option<TlsAcceptor>, end: CancellationToken) -> Self {
        let present = Mutex::new(end.child_token());
        Self { upstream, tls, rules: Rules::default(), silent: watch::Sender::new(false), end, present }
    }

    pub(super) fn serves_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn end(&self) -> &CancellationToken {
        &self.end
    }

    pub(super) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    pub(super) fn cut_connections(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *present, self.end.child_token()).cancel();
    }

    /// Serves until `stop`; connections go on after that.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            // A client that is gone before it was accepted is nobody's loss.
            let Ok((stream, _address)) = accepted else { continue };
            let cut = self.present.lock().unwrap_or_else(PoisonError::into_inner).child_token();
            tokio::spawn(Arc::clone(&self).serve(stream, cut));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, cut: CancellationToken) {
        let reset = Arc::new(AtomicBool::new(false));
        let stream = Resettable { stream, reset: Arc::clone(&reset) };
        let served = async {
            match &self.tls {
                None => self.serve_http(stream, &cut).await,
                // A failed handshake is the client's to report.
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => self.serve_http(stream, &cut).await,
                    Err(_handshake) => {}
                },
            }
        };
        let cut = async {
            cut.cancelled().await;
            reset.store(true, Ordering::SeqCst);
        };
        tokio::select! {
            () = served => {}
            () = cut => {}
        }
    }

    async fn serve_http(&self, stream: impl AsyncRead + AsyncWrite + Unpin, cut: &CancellationToken) {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.respond(request, cut).await) });
        // Errors are those of a connection that one side has given up.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn respond(&self, request: Request<Incoming>, cut: &CancellationToken) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        match self.rules.decide(request.method().as_str(), path, request.headers()) {
            None => self.pass(request, cut, None).await,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.pass(request, cut, None).await
            }
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::Cut { after_bytes }) => self.pass(request, cut, Some(after_bytes)).await,
            Some(Fault::DropAnswer) => {
                if let Ok(response) = self.upstream.send(request).await {
                    // Complete or broken off: the client sees neither.
                    let _ = response.into_body().collect().await;
                }
                cut_now(cut).await
            }
            Some(Fault::Answer { code, retry_after, body }) => {
                // Taken in first: an answer ahead of the request's end makes some clients report a broken pipe.
                let _ = request.into_body().collect().await;
                answer(code, retry_after, body)
            }
        }
    }

    async fn pass(&self, request: Request<Incoming>, cut: &CancellationToken, left: Option<usize>) -> Response<Body> {
        match self.upstream.send(request).await {
            Ok(response) => {
                let silent = self.silent.subscribe();
                response.map(|body| Passing { body, silent, left, cut: cut.clone() }.into_body())
            }
            Err(_unreachable) => cut_now(cut).await,
        }
    }
}

/// Resets the connection that the caller is answering on.
async fn cut_now<T>(cut: &CancellationToken) -> T {
    cut.cancel();
    std::future::pending().await
}

/// The body of an answer on its way to the client.
struct Passing {
    body: Incoming,
    silent: watch::Receiver<bool>,
    /// Bytes until the connection is cut.
    left: Option<usize>,
    cut: CancellationToken,
}

impl Passing {
    fn into_body(self) -> Body {
        StreamBody::new(stream::unfold(self, async |mut passing| Some((passing.next().await?, passing)))).boxed_unsync()
    }

    async fn next(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        if self.left == Some(0) {
            tokio::time::sleep(FLUSH_TIME).await;
            return cut_now(&self.cut).await;
        }
        let frame = self.body.frame().await;
        // The sender lives as long as the proxy; without it there is nothing to wait for.
        let _ = self.silent.wait_for(|silent| !silent).await;
        match (frame, &mut self.left) {
            (None, Some(_)) => cut_now(&self.cut).await,
            (Some(Ok(frame)), Some(left)) => Some(Ok(frame.map_data(|mut data| {
                data.truncate(*left);
                *left -= data.len();
                data
            }))),
            (frame, _) => frame,
        }
    }
}

fn answer(code: u16, retry_after: Option<u64>, body: Option<String>) -> Response<Body> {
    let body = body.unwrap_or_else(|| kubernetes_status(code));
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    }
    response
}

/// Reasons as the API server gives them: `StatusReason` in
/// <https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#StatusReason>.
fn kubernetes_status(code: u16) -> String {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    let message = format!("fault proxy: answered {code}");
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
        .to_string()
}

/// A TCP stream that can be dropped with a reset instead of an orderly end.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            // Without this, closing sends a FIN. If it fails the client still sees the connection end.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
