//! Lets the endpoints of `vaultrs` be executed through a [`Client`]: the transport that `rustify` asks for.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use rustify::errors::ClientError;

use super::Client;

/// Sends what endpoints make, under the rules of the network.
pub struct Transport {
    client: Client,
    base: String,
}

impl Transport {
    /// `base` is what the paths of endpoints are appended to: scheme, host and port.
    #[must_use]
    pub fn new(client: Client, base: String) -> Self {
        Self { client, base }
    }
}

#[async_trait]
impl rustify::client::Client for Transport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let answer = self.client.send(request.map(Bytes::from)).await;
        // Address and method are not repeated: our own error says what is worth knowing, and `find` gets it out again.
        let failed = |error: super::Error| ClientError::RequestError {
            source: error.into(),
            url: String::new(),
            method: String::new(),
        };
        // No copy: the bytes have one owner.
        answer.map(|answer| answer.map(Vec::from)).map_err(failed)
    }

    fn base(&self) -> &str {
        &self.base
    }

    /// Every status is an answer. The original would put the body of a refusal into an error, and its headers nowhere.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}
