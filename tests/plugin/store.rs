//! A Stack on a `kubernetes` store, as `get`, `set` and `--verify` use it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use crate::fixture::Fixture;

/// Must never be seen where it was not asked for.
pub const CANARY: &str = "c4n4ry-s3cr3t-v4lu3";

/// The Secret with the values of component `db`.
pub const DB_OBJECT: &str = "atmos.plat-ue1-prod.db";

/// A Stack `prod` with a `kubernetes` Store `app`, a component `db`, and one without secrets of its own, `web`.
pub async fn quickstart(fixture: &Fixture) {
    fixture
        .apply(json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "app"},
                      "spec": {"kubernetes": {}}}))
        .await;
    fixture
        .stack(
            "prod",
            json!({
                "name": "plat-ue1-prod",
                "defaultStore": "app",
                "secrets": {"vars": {"API_KEY": {"description": "for all"}, "CA": {"scope": "global"}}},
                "components": {"terraform": {
                    "db": {"secrets": {"vars": {
                        "PASSWORD": {"required": true},
                        "HOST": {"reference": "ENDPOINT", "path": ".host", "default": "localhost"},
                        "LOST": {"store": "nowhere"},
                    }}},
                    "web": {},
                }},
            }),
        )
        .await;
}

/// Puts values into a Secret that the store reads.
pub async fn put(fixture: &Fixture, object: &str, values: &[(&str, &[u8])]) {
    let data: BTreeMap<String, ByteString> =
        values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
    fixture
        .apply(json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
                      "metadata": {"name": object, "labels": {"secrets.atmos.tools/values": "true"}}}))
        .await;
}

/// A value as the cluster has it.
pub async fn stored(fixture: &Fixture, object: &str, key: &str) -> Option<Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let secret = secrets.get_opt(object).await.expect("an answer")?;
    secret.data?.remove(key).map(|value| value.0)
}
