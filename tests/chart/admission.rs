//! The admission policy on the real API server: what the operator's own token is refused, and nobody else's.

use e2e::{ControlPlane, wait_until};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::helm::NAMESPACE;
use crate::installation::{LIMIT, account, shared};

const MARK: &str = "secrets.atmos.tools/managed";
const STACK: &str = "secrets.atmos.tools/stack";
const ADOPT: &str = "secrets.atmos.tools/adopt";

/// A namespace that is granted to the operator.
struct Granted {
    plane: &'static ControlPlane,
    namespace: String,
    operator: Client,
    person: Client,
}

impl Granted {
    async fn new() -> Self {
        let plane = shared().await.unwrap();
        let namespace = plane.namespace("granted").await.unwrap();
        // The command that the operator prints.
        let grant = plane
            .kubectl([
                "create",
                "rolebinding",
                "atmos-secrets-operator",
                "--namespace",
                &namespace,
                "--clusterrole=atmos-secrets-operator-namespace",
                "--serviceaccount=atmos-secrets:atmos-secrets-operator",
            ])
            .await
            .unwrap();
        assert!(grant.status.success(), "{grant:?}");
        let granted = Self {
            plane,
            namespace,
            operator: plane.client_for(&account(plane).await.unwrap()).await.unwrap(),
            person: plane.client().await.unwrap(),
        };
        // The API server learns of grants and policies by watches of its own.
        wait_until("the grant and the policy to be known", LIMIT, async || {
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            let unmarked = secret("probe", json!({}), "Opaque");
            match granted.secrets(&granted.operator).create(&dry, &unmarked).await {
                Err(error) if error.to_string().contains("ValidatingAdmissionPolicy") => Ok(()),
                Err(error) => Err(format!("{error}")),
                Ok(_) => Err("an unmarked Secret is let through".to_owned()),
            }
        })
        .await
        .unwrap();
        granted
    }

    fn secrets(&self, client: &Client) -> Api<Secret> {
        Api::namespaced(client.clone(), &self.namespace)
    }

    /// Stores a Secret as a person does.
    async fn stored(&self, name: &str, metadata: Value) -> Secret {
        let wanted = secret(name, metadata, "Opaque");
        self.secrets(&self.person).create(&PostParams::default(), &wanted).await.unwrap()
    }

    /// Replaces a Secret by one with other metadata.
    async fn replace(&self, client: &Client, old: &Secret, metadata: Value) -> Result<Secret, kube::Error> {
        let mut new = secret(&old.name_any(), metadata, "Opaque");
        new.metadata.resource_version = old.metadata.resource_version.clone();
        self.secrets(client).replace(&old.name_any(), &PostParams::default(), &new).await
    }
}

/// A Secret of this type, with the keys that the type wants.
fn secret(name: &str, mut metadata: Value, secret_type: &str) -> Secret {
    metadata["name"] = name.into();
    let data = match secret_type {
        "kubernetes.io/tls" => json!({"tls.crt": "c", "tls.key": "k"}),
        "kubernetes.io/dockerconfigjson" => json!({".dockerconfigjson": "{\"auths\":{}}"}),
        "kubernetes.io/basic-auth" => json!({"username": "u", "password": "p"}),
        "kubernetes.io/ssh-auth" => json!({"ssh-privatekey": "k"}),
        _ => json!({"a": "b"}),
    };
    serde_json::from_value(json!({"metadata": metadata, "type": secret_type, "stringData": data})).unwrap()
}

fn marked() -> Value {
    json!({"labels": {MARK: "true"}, "annotations": {STACK: "prod"}})
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, kube::Error>, words: &str) {
    let error = result.expect_err(words);
    let kube::Error::Api(status) = &error else { panic!("{error}") };
    assert_eq!(status.code, 422, "{status:?}");
    assert!(status.message.contains("ValidatingAdmissionPolicy 'atmos-secrets-operator'"), "{status:?}");
    assert!(status.message.contains(words), "{status:?}");
}

const UNMARKED: &str = "writes only Secrets with the label secrets.atmos.tools/managed=true";
const TYPE: &str = "writes no Secret of this type";
const FOREIGN: &str = "changes only Secrets that had the label";
const DELETE: &str = "deletes only Secrets with the label";

#[tokio::test]
async fn creation() {
    let granted = Granted::new().await;
    let (operator, person) = (granted.secrets(&granted.operator), granted.secrets(&granted.person));
    let create = async |api: &Api<Secret>, secret: Secret| api.create(&PostParams::default(), &secret).await;

    refused(create(&operator, secret("unmarked", json!({}), "Opaque")).await, UNMARKED);
    let marked_otherwise = json!({"labels": {MARK: "false"}, "annotations": {MARK: "true"}});
    refused(create(&operator, secret("otherwise", marked_otherwise, "Opaque")).await, UNMARKED);
    // Handing over is of a person's Secret, not of one's own.
    let handed_over = json!({"annotations": {ADOPT: "prod", STACK: "prod"}});
    refused(create(&operator, secret("handed", handed_over, "Opaque")).await, UNMARKED);
    // The API server would put a token of that account into it.
    let mut token = marked();
    token["annotations"]["kubernetes.io/service-account.name"] = "default".into();
    refused(create(&operator, secret("token", token.clone(), "kubernetes.io/service-account-token")).await, TYPE);
    refused(create(&operator, secret("other", marked(), "example.org/other")).await, TYPE);
    // The exemption of the digest key holds in the operator's namespace alone.
    refused(create(&operator, secret("atmos-secrets-digest-key", json!({}), "Opaque")).await, UNMARKED);

    for secret_type in [
        "Opaque",
        "kubernetes.io/tls",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/basic-auth",
        "kubernetes.io/ssh-auth",
    ] {
        let name = secret_type.rsplit('/').next().unwrap().to_lowercase();
        create(&operator, secret(&name, marked(), secret_type)).await.unwrap();
    }

    create(&person, secret("unmarked", json!({}), "Opaque")).await.unwrap();
    create(&person, secret("other", json!({}), "example.org/other")).await.unwrap();
    create(&person, secret("token", token, "kubernetes.io/service-account-token")).await.unwrap();
}

#[tokio::test]
async fn change() {
    let granted = Granted::new().await;
    let (operator, person) = (&granted.operator, &granted.person);

    let foreign = granted.stored("foreign", json!({})).await;
    refused(granted.replace(operator, &foreign, marked()).await, FOREIGN);
    refused(granted.replace(operator, &foreign, json!({})).await, UNMARKED);
    // It cannot hand a Secret over to itself.
    let adopting = json!({"labels": {MARK: "true"}, "annotations": {STACK: "prod", ADOPT: "prod"}});
    refused(granted.replace(operator, &foreign, adopting).await, FOREIGN);
    granted.replace(person, &foreign, marked()).await.unwrap();

    let ours = granted.stored("ours", marked()).await;
    refused(granted.replace(operator, &ours, json!({})).await, UNMARKED);
    let ours = granted.replace(operator, &ours, marked()).await.unwrap();
    granted.replace(person, &ours, json!({})).await.unwrap();

    let handed_over = granted.stored("handed", json!({"annotations": {ADOPT: "prod"}})).await;
    let other = json!({"labels": {MARK: "true"}, "annotations": {STACK: "other"}});
    refused(granted.replace(operator, &handed_over, other).await, FOREIGN);
    refused(granted.replace(operator, &handed_over, json!({"labels": {MARK: "true"}})).await, FOREIGN);
    granted.replace(operator, &handed_over, marked()).await.unwrap();

    // An empty name hands over to nobody.
    let empty = granted.stored("empty", json!({"annotations": {ADOPT: ""}})).await;
    refused(granted.replace(operator, &empty, json!({"labels": {MARK: "true"}})).await, FOREIGN);
}

#[tokio::test]
async fn deletion() {
    let granted = Granted::new().await;
    let operator = granted.secrets(&granted.operator);
    let delete = async |api: &Api<Secret>, name: &str| api.delete(name, &DeleteParams::default()).await.map(drop);

    granted.stored("foreign", json!({})).await;
    granted.stored("handed", json!({"annotations": {ADOPT: "prod", STACK: "prod"}})).await;
    granted.stored("ours", marked()).await;
    refused(delete(&operator, "foreign").await, DELETE);
    refused(delete(&operator, "handed").await, DELETE);
    delete(&operator, "ours").await.unwrap();
    delete(&granted.secrets(&granted.person), "foreign").await.unwrap();
}

#[tokio::test]
async fn the_digest_key() {
    let granted = Granted::new().await;
    let own: Api<Secret> = Api::namespaced(granted.operator.clone(), NAMESPACE);
    let create = async |name: &str, secret_type: &str| {
        own.create(&PostParams::default(), &secret(name, json!({}), secret_type)).await
    };
    refused(create("another", "Opaque").await, UNMARKED);
    refused(create("atmos-secrets-digest-key", "example.org/other").await, UNMARKED);
    create("atmos-secrets-digest-key", "Opaque").await.unwrap();
    assert_eq!(own.get("atmos-secrets-digest-key").await.unwrap().name_any(), "atmos-secrets-digest-key");
    // It was for the exemption alone; RBAC keeps the operator from changing it.
    let forbidden = own.delete("atmos-secrets-digest-key", &DeleteParams::default()).await.unwrap_err();
    assert!(matches!(&forbidden, kube::Error::Api(status) if status.code == 403), "{forbidden}");
    let person: Api<Secret> = Api::namespaced(granted.person.clone(), NAMESPACE);
    person.delete("atmos-secrets-digest-key", &DeleteParams::default()).await.unwrap();
}

/// An account of the same name in another namespace is somebody else.
#[tokio::test]
async fn another_account_of_that_name() {
    let granted = Granted::new().await;
    let namespace = granted.plane.namespace("elsewhere").await.unwrap();
    let kubeconfig = granted.plane.service_account_kubeconfig(&namespace, "atmos-secrets-operator").await.unwrap();
    let role = format!("--serviceaccount={namespace}:atmos-secrets-operator");
    let arguments =
        ["create", "rolebinding", "other", "--namespace", &granted.namespace, "--clusterrole=edit", role.as_str()];
    assert!(granted.plane.kubectl(arguments).await.unwrap().status.success());
    let other = granted.secrets(&granted.plane.client_for(&kubeconfig).await.unwrap());
    wait_until("the binding to be known", LIMIT, async || {
        other.create(&PostParams::default(), &secret("unmarked", json!({}), "Opaque")).await
    })
    .await
    .unwrap();
}
