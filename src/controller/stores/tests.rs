//! Connections of stores that come and go, without an API server.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backend::credentials::StoreRights;
use crate::backend::network::{Network, Settings as NetworkSettings};
use crate::cluster::{self, Objects};
use crate::controller::{Controller, Identity as OwnIdentity, Parts, Settings};
use crate::metrics::Metrics;
use crate::value::DigestKey;

/// A controller whose API server is not there.
fn context() -> Arc<Context> {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let identity = OwnIdentity { namespace: "operator".to_owned(), user: "operator".to_owned(), instance: None };
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

/// A Store that needs no credentials, as a watch brings it.
fn bring(context: &Context, key: &StoreKey, uid: &str) {
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "spec": {"kubernetes": {}},
        "metadata": {"name": "app", "namespace": "payments", "uid": uid, "generation": 1},
    });
    context.definitions.put_store(serde_json::from_value(object).unwrap());
    context.stores.define(context, key);
}

#[tokio::test]
async fn a_store_that_was_made_anew_between_two_looks_keeps_no_old_connection() {
    let (context, key) = (context(), StoreKey::Store { namespace: "payments".into(), name: "app".into() });
    bring(&context, &key, "first");
    let first = Arc::downgrade(&context.stores.connect(&context, &key).await.map_err(|error| error.message).unwrap());
    bring(&context, &key, "first");
    assert!(first.upgrade().is_some(), "it is the same store");
    bring(&context, &key, "second");
    assert!(first.upgrade().is_none(), "nobody can ask for this connection any more");
    assert!(context.stores.connect(&context, &key).await.is_ok());
}
