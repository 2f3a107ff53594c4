//! The `kubernetes` driver on a real API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atmos_secrets::backend::kubernetes::Kubernetes;
use atmos_secrets::backend::{Backend, ErrorKind, Key, Precondition};
use atmos_secrets::cluster::{self, Objects};
use atmos_secrets::value::SecretValue;
use e2e::ControlPlane;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::suite::{self, Subject, only};
use crate::wire::{self, Wire};

const OBJECT: &str = "atmos.prod";

pub struct Cluster {
    pub control_plane: &'static ControlPlane,
    pub namespace: String,
    pub objects: Objects,
    wires: Vec<Wire>,
}

impl Cluster {
    pub async fn new(prefix: &str) -> Self {
        let control_plane = ControlPlane::shared().await.expect("a control plane");
        let namespace = control_plane.namespace(prefix).await.unwrap();
        let objects = objects(&std::fs::read_to_string(control_plane.admin_kubeconfig()).unwrap()).await;
        let denied = wire::answering(
            403,
            json!({"kind": "Status", "reason": "Forbidden", "code": 403, "message": "no"}).to_string(),
        );
        let throttled = json!({"kind": "Status", "reason": "TooManyRequests", "code": 429}).to_string();
        let wires = vec![
            denied.await,
            wire::answering(429, throttled).await,
            wire::answering(500, "oops".to_owned()).await,
            wire::answering(503, String::new()).await,
            wire::answering(404, "404 page not found".to_owned()).await,
            wire::answering(200, "[]".to_owned()).await,
            wire::silent().await,
            wire::absent().await,
        ];
        Self { control_plane, namespace, objects, wires }
    }

    /// Ways to reach the cluster that fail, and how.
    pub async fn failing(&self) -> Vec<(&'static str, Objects, ErrorKind)> {
        let account = self.control_plane.service_account_kubeconfig(&self.namespace, "nobody").await.unwrap();
        let denied = objects(&std::fs::read_to_string(&account).unwrap()).await;
        let stranger = std::fs::read_to_string(&account).unwrap();
        let mut stranger: Value = serde_json::from_str(&stranger).unwrap();
        stranger["users"][0]["user"]["token"] = json!("not-a-token");
        let stranger = objects(&stranger.to_string()).await;
        let expected = [
            ("an answer 403", ErrorKind::GrantMissing),
            ("an answer 429", ErrorKind::RateLimited),
            ("an answer 500", ErrorKind::Unavailable),
            ("an answer 503", ErrorKind::Unavailable),
            ("a 404 that no API server gave", ErrorKind::Unexpected),
            ("an answer that makes no sense", ErrorKind::Unexpected),
            ("silence", ErrorKind::Timeout),
            ("nobody there", ErrorKind::Unavailable),
        ];
        let wires = expected.into_iter().zip(&self.wires).map(|((how, kind), wire)| {
            let limit = if kind == ErrorKind::Timeout { Duration::from_millis(100) } else { Duration::from_secs(10) };
            (how, wire.objects.with_timeout(limit), kind)
        });
        let real =
            [("no rights", denied, ErrorKind::GrantMissing), ("bad credentials", stranger, ErrorKind::Unauthenticated)];
        real.into_iter().chain(wires).collect()
    }

    /// Changes an object as its other users do: with the merge patch of kubectl.
    pub async fn patch_secret(&self, name: &str, patch: &Value) {
        let api: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(self.control_plane.client().await.unwrap(), &self.namespace);
        if api.get_opt(name).await.unwrap().is_none() {
            let new = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
            api.create(&Default::default(), &serde_json::from_value(new).unwrap()).await.unwrap();
        }
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(Kubernetes::new(self.objects.clone(), self.namespace.clone()))
    }
}

async fn objects(kubeconfig: &str) -> Objects {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Objects::new(cluster::client(config).unwrap())
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[async_trait]
impl Subject for Cluster {
    fn backend(&self) -> Arc<dyn Backend> {
        Self::backend(self)
    }

    fn key(&self, name: &str) -> Key {
        Key::current(format!("{OBJECT}#{name}"))
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        let data: BTreeMap<&str, String> = values.iter().map(|(name, bytes)| (*name, base64(bytes))).collect();
        let labels = json!({"secrets.atmos.tools/values": "true"});
        self.patch_secret(OBJECT, &json!({"metadata": {"labels": labels}, "data": data})).await;
    }

    async fn unset(&self, name: &str) {
        self.patch_secret(OBJECT, &json!({"data": {name: null}})).await;
    }

    fn holds_binary(&self) -> bool {
        true
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a.b-c_d", "-", "_", ".hidden", "9", "a..b"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        ["", "#", "atmos", "atmos#", "#k", "atmos#.", "atmos#..", "atmos#a b", "atmos#a#b", "Atmos#k", "a/b#k", "..#k"]
            .map(Key::current)
            .to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let failing = Self::failing(self).await.into_iter();
        failing
            .map(|(how, objects, kind)| {
                let backend: Arc<dyn Backend> = Arc::new(Kubernetes::new(objects, self.namespace.clone()));
                (how, backend, kind)
            })
            .collect()
    }

    fn value_reads(&self) -> Option<usize> {
        // Kubernetes has no metadata for one key: probing reads the object.
        None
    }
}

#[tokio::test]
async fn kubernetes_keeps_the_guarantees() {
    suite::run(&Cluster::new("conformance").await).await;
}

#[tokio::test]
async fn only_marked_secrets_are_read_and_written() {
    let cluster = Cluster::new("marks").await;
    let marked = json!({"secrets.atmos.tools/values": "true"});
    let both = json!({"secrets.atmos.tools/values": "true", "secrets.atmos.tools/managed": "true"});
    for (name, patch, hint) in [
        ("unmarked", json!({"data": {"K": "eA=="}}), "label secret unmarked secrets.atmos.tools/values=true"),
        ("target", json!({"metadata": {"labels": both}, "data": {"K": "eA=="}}), "is a target of the operator"),
        ("false", json!({"metadata": {"labels": {"secrets.atmos.tools/values": "false"}}}), "is not marked"),
    ] {
        cluster.patch_secret(name, &patch).await;
        let key = Key::current(format!("{name}#K"));
        let read = only(cluster.backend().read(std::slice::from_ref(&key)).await).err().unwrap();
        let write = cluster.backend().write(&key, &SecretValue::new(vec![1]), Precondition::None).await.unwrap_err();
        for error in [read, write] {
            assert_eq!(error.kind, ErrorKind::InvalidConfig, "{name}");
            assert!(error.message.contains(hint), "{}", error.message);
        }
    }
    let yaml = json!({"apiVersion": "v1", "kind": "Secret", "type": "example.com/other",
        "metadata": {"name": "typed", "namespace": cluster.namespace, "labels": marked}, "data": {"K": "eA=="}});
    cluster.control_plane.apply_yaml(&yaml.to_string()).await.unwrap();
    let error = only(cluster.backend().read(&[Key::current("typed#K")]).await).err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert!(cluster.backend().list("").await.unwrap().is_empty(), "what cannot be read is not listed");
}

#[tokio::test]
async fn an_absent_object_is_a_missing_value_and_a_write_makes_it_marked() {
    let cluster = Cluster::new("create").await;
    let key = Key::current("atmos.new#K");
    assert_eq!(only(cluster.backend().read(std::slice::from_ref(&key)).await).err().unwrap().kind, ErrorKind::NotFound);
    cluster.backend().write(&key, &SecretValue::new(b"x".to_vec()), Precondition::Absent).await.unwrap();
    let stored = cluster.control_plane.get_json(["-n", &cluster.namespace, "secret", "atmos.new"]).await.unwrap();
    assert_eq!(stored["metadata"]["labels"], json!({"secrets.atmos.tools/values": "true"}));
    assert_eq!((&stored["type"], &stored["data"]), (&json!("Opaque"), &json!({"K": "eA=="})));

    let keep = json!({"metadata": {"annotations": {"team": "payments"}, "labels": {"a": "b"}}});
    cluster.patch_secret("atmos.new", &keep).await;
    cluster.backend().delete(&key, atmos_secrets::backend::DeleteMode::Recoverable).await.unwrap();
    let stored = cluster.control_plane.get_json(["-n", &cluster.namespace, "secret", "atmos.new"]).await.unwrap();
    assert!(stored.get("data").is_none(), "the object stays, empty");
    assert_eq!(stored["metadata"]["annotations"], json!({"team": "payments"}));
    assert_eq!(stored["metadata"]["labels"]["a"], json!("b"));
}

#[tokio::test]
async fn an_object_that_would_pass_its_limit_is_refused_whole() {
    let cluster = Cluster::new("large").await;
    let half = SecretValue::new(vec![b'x'; 600 << 10]);
    cluster.backend().write(&Key::current("o#A"), &half, Precondition::None).await.unwrap();
    let error = cluster.backend().write(&Key::current("o#B"), &half, Precondition::None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);
    let full = SecretValue::new(vec![b'x'; 1 << 20]);
    cluster.backend().write(&Key::current("p#A"), &full, Precondition::None).await.unwrap();
    let found = only(cluster.backend().read(&[Key::current("p#A")]).await).unwrap();
    assert!(found.value.equals(full.expose()));
}

#[tokio::test]
async fn an_immutable_object_says_so() {
    let cluster = Cluster::new("immutable").await;
    let labels = json!({"secrets.atmos.tools/values": "true"});
    cluster.patch_secret("o", &json!({"metadata": {"labels": labels}, "immutable": true, "data": {"K": "eA=="}})).await;
    assert!(only(cluster.backend().read(&[Key::current("o#K")]).await).is_ok());
    let written = cluster.backend().write(&Key::current("o#K"), &SecretValue::new(vec![]), Precondition::None).await;
    let error = written.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert!(error.message.contains("is immutable"), "{}", error.message);
}

#[tokio::test]
async fn one_get_serves_all_keys_of_an_object() {
    let cluster = Cluster::new("gets").await;
    let account = format!("system:serviceaccount:{}:reader", cluster.namespace);
    let kubeconfig = cluster.control_plane.service_account_kubeconfig(&cluster.namespace, "reader").await.unwrap();
    let grant = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": cluster.namespace},
         "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": cluster.namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
         "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": cluster.namespace}]}]});
    cluster.control_plane.apply_yaml(&grant.to_string()).await.unwrap();
    let labels = json!({"secrets.atmos.tools/values": "true"});
    for name in ["one", "two"] {
        cluster.patch_secret(name, &json!({"metadata": {"labels": labels}, "data": {"A": "eA==", "B": "eQ=="}})).await;
    }
    let reader = objects(&std::fs::read_to_string(kubeconfig).unwrap()).await;
    let backend = Kubernetes::new(reader, cluster.namespace.clone());
    let keys = ["one#A", "two#A", "one#B", "two#B", "one#A", "three#A"].map(Key::current);
    // The grant takes a moment to reach the authorizer.
    e2e::wait_until("the grant works", Duration::from_secs(120), async || {
        backend.check().await.map_err(|error| error.message)
    })
    .await
    .unwrap();
    let mark = cluster.control_plane.audit_mark().unwrap();
    let results = backend.read(&keys).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, true, true, false]);
    let mut asked: Vec<(String, String)> = cluster
        .control_plane
        .audit_events_since(mark)
        .unwrap()
        .into_iter()
        .filter(|event| event.user == account)
        .map(|event| (event.verb, event.name))
        .collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["one", "three", "two"].map(|name| ("get".to_owned(), name.to_owned())));
    // A list needs a right that a read does not.
    assert_eq!(backend.list("").await.unwrap_err().kind, ErrorKind::GrantMissing);
}
