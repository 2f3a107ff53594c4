//! API servers that do not work: for the failures that a real one does not give on demand.

use atmos_secrets::cluster::{self, Objects};
use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A server for the length of a test.
pub struct Wire {
    pub objects: Objects,
    /// Where it is, for what is no API server.
    pub url: String,
    task: Option<AbortHandle>,
    _listener: Option<TcpListener>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn bind() -> (TcpListener, Objects, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = kube::Config::new(url.parse().unwrap());
    (listener, Objects::new(cluster::client(config).unwrap()), url)
}

/// Answers everything with one status and body.
pub async fn answering(status: u16, body: String) -> Wire {
    let (listener, objects, url) = bind().await;
    let status = StatusCode::from_u16(status).unwrap();
    let router = Router::new().fallback(move || {
        let answer = (status, body.clone());
        async move { answer }
    });
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Wire { objects, url, task: Some(task.abort_handle()), _listener: None }
}

/// Takes connections and says nothing.
pub async fn silent() -> Wire {
    let (listener, objects, url) = bind().await;
    Wire { objects, url, task: None, _listener: Some(listener) }
}

/// Nobody there.
pub async fn absent() -> Wire {
    let (listener, objects, url) = bind().await;
    drop(listener);
    Wire { objects, url, task: None, _listener: None }
}
