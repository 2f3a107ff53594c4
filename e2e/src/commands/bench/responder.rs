//! What answers reads of values in place of AWS and Vault: at once but for a given latency, and counted.
//!
//! The tests ask real servers. A benchmark of the operator must not measure theirs: moto is one process of Python, which
//! needs longer for a batch than the batch is to take here. So only what a refresh asks is spoken, and every key has a
//! value:
//!
//! - BatchGetSecretValue, <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
//! - GetParameters, <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
//! - a read of KV version 2, <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version>

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running server; it ends when it is dropped.
pub(super) struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

struct Shared {
    latency: Duration,
    calls: Mutex<Vec<Call>>,
}

/// One read of values.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The first segment of its keys, which tells the store.
    pub(super) prefix: String,
    pub(super) keys: usize,
    pub(super) asked: Instant,
    pub(super) answered: Instant,
}

impl Responder {
    /// Starts one that answers after `latency`.
    pub(super) async fn start(latency: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let end = CancellationToken::new();
        let shared = Arc::new(Shared { latency, calls: Mutex::default() });
        let responder =
            Self { address: listener.local_addr()?, shared: Arc::clone(&shared), _end: end.clone().drop_guard() };
        tokio::spawn(async move { end.run_until_cancelled(accept(listener, shared)).await });
        Ok(responder)
    }

    /// `http://127.0.0.1:<port>`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The reads of one store so far, in the order of their ends.
    pub(super) fn calls(&self, prefix: &str) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.prefix == prefix).cloned().collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(shared.respond(request).await) });
            // Errors are those of a connection that the operator has closed.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let asked = Instant::now();
        let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (target, path) = (target.to_owned(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        tokio::time::sleep(self.latency).await;
        let (status, keys, answer) = answer(&target, &path, &body);
        if let Some(first) = keys.first() {
            let prefix = first.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
            let call = Call { prefix, keys: keys.len(), asked, answered: Instant::now() };
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        }
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        *response.status_mut() = status;
        response
    }
}

/// The status, the keys whose values are in the answer, and the answer.
fn answer(target: &str, path: &str, body: &Value) -> (StatusCode, Vec<String>, Value) {
    let names = |field: &str| -> Vec<String> {
        let names = body.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let value = |name: &str| format!("value of {name}");
    match (target, path) {
        ("secretsmanager.BatchGetSecretValue", _) => {
            let names = names("SecretIdList");
            let entry = |name: &String| {
                json!({
                    "ARN": format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-a1b2c3"),
                    "Name": name,
                    "VersionId": "a1b2c3d4-5678-90ab-cdef-000000000001",
                    "VersionStages": ["AWSCURRENT"],
                    "SecretString": json!(value(name)).to_string(),
                })
            };
            let values: Vec<Value> = names.iter().map(entry).collect();
            (StatusCode::OK, names, json!({"SecretValues": values, "Errors": []}))
        }
        ("AmazonSSM.GetParameters", _) => {
            let names = names("Names");
            let entry =
                |name: &String| json!({"Name": name, "Type": "SecureString", "Value": value(name), "Version": 1});
            let values: Vec<Value> = names.iter().map(entry).collect();
            (StatusCode::OK, names, json!({"Parameters": values, "InvalidParameters": []}))
        }
        // Checks whether the store answers, which asks for a secret that nobody has.
        ("secretsmanager.DescribeSecret", _) => {
            (StatusCode::BAD_REQUEST, Vec::new(), json!({"__type": "ResourceNotFoundException", "message": ""}))
        }
        (_, "/v1/auth/token/lookup-self") => (StatusCode::OK, Vec::new(), json!({"data": {"ttl": 0}})),
        (_, "/v1/sys/internal/ui/mounts/secret") => {
            (StatusCode::OK, Vec::new(), json!({"data": {"type": "kv", "options": {"version": "2"}}}))
        }
        (_, path) => match path.strip_prefix("/v1/secret/data/") {
            Some(name) => {
                let data = json!({"data": {"value": value(name)}, "metadata": {"version": 1}});
                (StatusCode::OK, vec![name.to_owned()], json!({"data": data}))
            }
            None => (StatusCode::NOT_FOUND, Vec::new(), json!({"errors": []})),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_asked_for_has_a_value() {
        let (_, keys, answer) =
            answer("secretsmanager.BatchGetSecretValue", "/", &json!({"SecretIdList": ["large/a/K", "large/b/K"]}));
        assert_eq!(keys, ["large/a/K", "large/b/K"]);
        assert_eq!(answer.pointer("/SecretValues/1/SecretString"), Some(&json!("\"value of large/b/K\"")));
        let (_, keys, answer) = super::answer("", "/v1/secret/data/few/K", &Value::Null);
        assert_eq!(
            (keys, answer.pointer("/data/data/value")),
            (vec!["few/K".to_owned()], Some(&json!("value of few/K")))
        );
    }
}
