//! Controllers for tests of their parts: none of their loops runs, and the API server is what the test says.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{Context, Controller, Identity, Outside, Parts, Settings};
use crate::backend::credentials::StoreRights;
use crate::backend::network::{Network, Settings as NetworkSettings};
use crate::cluster::{self, Objects};
use crate::metrics::Metrics;
use crate::value::DigestKey;

/// A controller whose API server is not there.
pub(super) fn context() -> Arc<Context> {
    context_at("http://127.0.0.1:1")
}

/// A controller whose API server is at this address.
pub(super) fn context_at(url: &str) -> Arc<Context> {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = kube::Config::new(url.parse().unwrap());
    let identity = Identity { namespace: "operator".to_owned(), user: "operator".to_owned(), instance: None };
    let network = Network::new(NetworkSettings::default()).unwrap();
    let parts = Parts {
        client: Client::try_from(config.clone()).unwrap(),
        objects: Objects::new(cluster::client(config).unwrap()),
        outside: Outside { network, rights: StoreRights::default() },
        identity,
        settings: Settings { concurrency: 1, panic_on: None },
        digest_key: DigestKey::random().unwrap(),
        process_key: DigestKey::random().unwrap(),
        metrics: Arc::new(Metrics::new().unwrap()),
    };
    Controller::new(parts, CancellationToken::new()).context()
}
