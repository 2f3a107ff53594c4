//! From the spec of a Store to values, on a real API server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atmos_secrets::api::store::{Connection, SecretKey, Sops, SopsAge, SopsSource};
use atmos_secrets::backend::connect::{ConnectRequest, Connected, Watched, connect};
use atmos_secrets::backend::credentials::{Credentials, StoreRights};
use atmos_secrets::backend::guarded::Operation;
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::{Error, ErrorKind, Key};
use serde_json::json;

use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::sops::{Identity, encrypt};
use crate::suite::CANARY;

type Calls = Arc<Mutex<Vec<(Operation, &'static str)>>>;

async fn try_connect(
    cluster: &Cluster,
    connection: &Connection,
    kubernetes: bool,
    calls: &Calls,
) -> Result<Connected, Error> {
    let calls = Arc::clone(calls);
    connect(ConnectRequest {
        store: "Store/app".to_owned(),
        namespace: &cluster.namespace,
        connection,
        kubernetes,
        objects: &cluster.objects,
        network: &Network::new(Settings::default()).unwrap(),
        credentials: Credentials::OfStore(StoreRights::default()),
        observer: Arc::new(move |operation, outcome, _: Duration| calls.lock().unwrap().push((operation, outcome))),
    })
    .await
}

fn sops() -> Connection {
    let source = SopsSource { config_maps: Vec::new(), secrets: vec!["files".into()] };
    let keys = ["first", "second"].map(|key| SecretKey { secret: "age".into(), key: key.into() });
    let sops = Sops { source, age: Some(SopsAge { keys: keys.to_vec() }), ..Sops::default() };
    Connection { sops: Some(sops), timeout: Some("5s".into()), ..Connection::default() }
}

#[tokio::test]
async fn a_sops_store_reads_with_the_keys_of_its_namespace() {
    log::watch();
    let cluster = Cluster::new("connect-sops").await;
    let (first, second) = (Identity::generate(), Identity::generate());
    let calls = Calls::default();

    let error = try_connect(&cluster, &sops(), false, &calls).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::SourceNotFound);
    assert_eq!(error.message, format!("Store/app: there is no Secret {}/age", cluster.namespace));
    let keys = json!({"first": base64(first.value().expose())});
    cluster.patch_secret("age", &json!({"data": keys})).await;
    let error = try_connect(&cluster, &sops(), false, &calls).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::SourceNotFound);
    assert!(error.message.contains("has no key second"), "{}", error.message);
    cluster.patch_secret("age", &json!({"data": {"second": base64(CANARY.as_bytes())}})).await;
    let error = try_connect(&cluster, &sops(), false, &calls).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("age/second") && !error.message.contains(CANARY), "{}", error.message);

    cluster.patch_secret("age", &json!({"data": {"second": base64(second.value().expose())}})).await;
    let connected = try_connect(&cluster, &sops(), false, &calls).await.map_err(|error| error.message).unwrap();
    assert_eq!(connected.kind, "sops");
    assert_eq!(connected.recipients, [first.recipient.clone(), second.recipient.clone()]);
    let secret = |name: &str| Watched::Secret { namespace: cluster.namespace.clone(), name: name.into() };
    assert_eq!(connected.sources, BTreeSet::from([secret("files")]));
    assert_eq!(connected.credentials, BTreeSet::from([secret("age")]));
    assert!(calls.lock().unwrap().is_empty(), "connecting asks nothing of the store");

    let key = [Key::current("prod.enc.json#PASSWORD")];
    let error = connected.reads.read(&key).await.remove(0).err().unwrap();
    assert_eq!(error.kind, ErrorKind::SourceNotFound);
    assert_eq!(error.message, format!("Store/app: there is no Secret {}/files", cluster.namespace));
    for identity in [&first, &second] {
        let file = encrypt("prod.enc.json", &json!({"PASSWORD": CANARY}), &identity.recipient).await;
        cluster.patch_secret("files", &json!({"data": {"prod.enc.json": base64(&file)}})).await;
        let found = connected.reads.read(&key).await.remove(0).map_err(|error| error.message).unwrap();
        assert!(found.value.equals(CANARY.as_bytes()));
    }
    let seen = calls.lock().unwrap().clone();
    let expected = [(Operation::Read, "source_not_found"), (Operation::Read, "ok"), (Operation::Read, "ok")];
    assert_eq!(seen, expected);
    log::assert_clean();
}

#[tokio::test]
async fn a_kubernetes_store_needs_nothing_but_its_namespace() {
    log::watch();
    let cluster = Cluster::new("connect-kubernetes").await;
    let calls = Calls::default();
    let connected = try_connect(&cluster, &Connection::default(), true, &calls).await.map_err(|error| error.message);
    let connected = connected.unwrap();
    connected.backend.check().await.unwrap();
    let error = connected.reads.read(&[Key::current("atmos#K")]).await.remove(0).err().unwrap();
    let expected = format!("Store/app: no value at key K of Secret {}/atmos", cluster.namespace);
    assert_eq!((error.kind, error.message), (ErrorKind::NotFound, expected));
    assert_eq!(*calls.lock().unwrap(), [(Operation::Check, "ok"), (Operation::Read, "ok")]);
    log::assert_clean();
}
