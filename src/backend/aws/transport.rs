//! Sends the SDK's requests through the one door to the network.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::backend::network::Client;
use crate::backend::{Error, ErrorKind};

/// A [`Client`] as the SDK wants one.
#[derive(Clone)]
pub(super) struct Transport {
    network: Client,
}

impl Transport {
    pub(super) fn new(network: Client) -> Self {
        Self { network }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The settings are timeouts, which are all off.
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let network = self.network.clone();
        HttpConnectorFuture::new(async move { send(&network, request).await.map_err(as_connector_error) })
    }
}

async fn send(network: &Client, request: HttpRequest) -> Result<HttpResponse, Error> {
    let unusable = |what: &str| Error::new(ErrorKind::Unexpected, format!("the SDK of AWS made {what}"));
    let request = request.try_into_http1x().map_err(|_| unusable("a request that is no HTTP request"))?;
    let (parts, body) = request.into_parts();
    // The operations that we use have no streams.
    let body = body.bytes().ok_or_else(|| unusable("a request with a stream"))?;
    let body = Bytes::copy_from_slice(body);
    let answer = network.send(http::Request::from_parts(parts, body)).await?;
    HttpResponse::try_from(answer.map(SdkBody::from))
        .map_err(|_| Error::new(ErrorKind::Unexpected, "the answer has headers that are no text"))
}

/// The error itself stays in there, to be found again; the SDK sees only what it may act on.
fn as_connector_error(error: Error) -> ConnectorError {
    if error.kind == ErrorKind::Timeout {
        ConnectorError::timeout(error.into())
    } else if error.kind == ErrorKind::Unavailable {
        ConnectorError::io(error.into())
    } else {
        ConnectorError::user(error.into())
    }
}
