//! Connections of stores that come and go.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use tokio::sync::watch;

use super::*;
use crate::controller::tests::{context, context_at};

/// A Store as a watch brings it.
fn bring(context: &Context, key: &StoreKey, uid: &str, spec: &serde_json::Value) {
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "spec": spec,
        "metadata": {"name": "app", "namespace": "payments", "uid": uid, "generation": 1},
    });
    context.definitions.put_store(serde_json::from_value(object).unwrap());
    context.stores.define(context, key);
}

fn key() -> StoreKey {
    StoreKey::Store { namespace: "payments".into(), name: "app".into() }
}

#[tokio::test]
async fn a_store_that_was_made_anew_between_two_looks_keeps_no_old_connection() {
    let (context, key) = (context(), key());
    // One that needs no credentials.
    let spec = json!({"kubernetes": {}});
    bring(&context, &key, "first", &spec);
    let first = Arc::downgrade(&context.stores.connect(&context, &key).await.map_err(|error| error.message).unwrap());
    bring(&context, &key, "first", &spec);
    assert!(first.upgrade().is_some(), "it is the same store");
    bring(&context, &key, "second", &spec);
    assert!(first.upgrade().is_none(), "nobody can ask for this connection any more");
    assert!(context.stores.connect(&context, &key).await.is_ok());
}

/// An API server that has one Secret, and shows it when it is let. What is asked of it makes `asked` true.
async fn slow_server(asked: watch::Sender<bool>, let_go: watch::Receiver<bool>) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "aws", "namespace": "payments", "uid": "u", "resourceVersion": "7"},
        "data": {"accessKeyId": "aWQ=", "secretAccessKey": "a2V5"},
    });
    let answer = async move || {
        asked.send_replace(true);
        let_go.clone().wait_for(|let_go| *let_go).await.unwrap();
        secret.to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() });
    url
}

/// What a store does while it is being connected.
async fn connect_while(meanwhile: impl Fn(&Context, &serde_json::Value)) -> (Arc<Context>, std::sync::Weak<Connected>) {
    let (asked, mut is_asked) = watch::channel(false);
    let (let_go, is_let_go) = watch::channel(false);
    let context = context_at(&slow_server(asked, is_let_go).await);
    let spec = json!({"awsSecretsManager": {"region": "us-east-1", "auth": {"secret": {"name": "aws"}}}});
    bring(&context, &key(), "first", &spec);
    let key = key();
    let (connected, ()) = tokio::join!(context.stores.connect(&context, &key), async {
        is_asked.wait_for(|asked| *asked).await.unwrap();
        meanwhile(&context, &spec);
        let_go.send_replace(true);
    });
    let connected = Arc::downgrade(&connected.map_err(|error| error.message).unwrap());
    (context, connected)
}

#[tokio::test]
async fn a_connection_that_was_made_while_its_store_went_is_not_kept() {
    let (_context, connected) = connect_while(|_, _| {}).await;
    assert!(connected.upgrade().is_some(), "the store is there");
    let (_context, connected) = connect_while(|context, _| {
        context.definitions.remove_store(&key());
        context.stores.define(context, &key());
    })
    .await;
    assert!(connected.upgrade().is_none(), "nobody can ask for this connection any more");
    let (context, connected) = connect_while(|context, spec| bring(context, &key(), "second", spec)).await;
    assert!(connected.upgrade().is_none(), "nor for this one");
    let second =
        Arc::downgrade(&context.stores.connect(&context, &key()).await.map_err(|error| error.message).unwrap());
    assert!(second.upgrade().is_some(), "that of the new store stays");
}
