//! Answers of an API server that cannot be read: they hold values, and kube's own decoding would log them whole.

use atmos_secrets::cluster::Error;
use serde_json::{Value, json};

use crate::suite::CANARY;
use crate::{log, wire};

fn secret(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "data": data,
    })
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_leaves_no_trace_of_its_content() {
    use base64::Engine as _;
    log::watch();
    let encoded = base64::engine::general_purpose::STANDARD.encode(CANARY);
    let whole = secret(json!({"k": encoded})).to_string();
    for body in [
        secret(json!({"k": CANARY})).to_string(),
        secret(json!({"k": [CANARY, encoded]})).to_string(),
        secret(json!(CANARY)).to_string(),
        json!({"kind": "Secret", "data": {"k": encoded}}).to_string(),
        json!({"kind": CANARY, "metadata": {"name": "s", "uid": "u", "resourceVersion": "1"}}).to_string(),
        whole.get(..whole.len() - 3).unwrap().to_owned(),
        CANARY.to_owned(),
    ] {
        let server = wire::answering(200, body.clone()).await;
        let Err(error) = server.objects.get_secret("n", "s").await else { panic!("was read: {body}") };
        assert_eq!(error, Error::Unreadable("Secret"), "{body}");
        assert_eq!(error.to_string(), "the answer of the API server cannot be read as a Secret");
    }
    let refusing =
        wire::answering(500, json!({"kind": "Status", "message": CANARY, "reason": CANARY}).to_string()).await;
    let error = refusing.objects.get_secret("n", "s").await.err().unwrap();
    assert!(!format!("{error} {error:?}").contains(CANARY));
    log::assert_clean();
}
