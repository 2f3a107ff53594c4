//! Files under keys of AWS KMS (moto) and of Vault's transit engine (a real Vault), made by the real `sops`, opened by a
//! store; and entries that we make, opened by `sops`.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::store::{
    AwsAuth, AwsKeys, Connection, SecretKey, Sops, SopsAwsKms, SopsSource, SopsVaultTransit, VaultAuth,
};
use atmos_secrets::backend::connect::{ConnectRequest, Connected, connect};
use atmos_secrets::backend::credentials::{Credentials, StoreRights};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::{Error, ErrorKind, Key, Versioned};
use e2e::tools::{self, Tool};
use e2e::{Fault, FaultProxy, Matching, Vault};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::aws::{self, Aws, REGION, refusal, target};
use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::suite::CANARY;

const FILE: &str = "prod.enc.yaml";

/// Runs `sops` on a file of its own with these variables and nothing of this process's credentials.
async fn sops(arguments: &[&str], variables: &BTreeMap<String, String>, content: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    tokio::fs::write(&path, content).await.unwrap();
    Command::new(tools::path(Tool::Sops).await.expect("sops"))
        .args(arguments)
        .arg(&path)
        .env("HOME", folder.path())
        .envs(variables)
        .output()
        .await
        .unwrap()
}

async fn encrypted(arguments: &[&str], variables: &BTreeMap<String, String>, plain: &Value) -> String {
    let output = sops(&[&["encrypt"], arguments].concat(), variables, plain.to_string().as_bytes()).await;
    assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn publish(cluster: &Cluster, file: &str) {
    cluster.patch_secret("files", &json!({"data": {FILE: base64(file.as_bytes())}})).await;
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn source() -> SopsSource {
    SopsSource { config_maps: Vec::new(), secrets: vec!["files".into()] }
}

async fn connected(cluster: &Cluster, sops: Sops, services: &[String]) -> Result<Connected, Error> {
    let services = services.iter().map(|service| service.parse().unwrap()).collect();
    let network = Network::new(Settings { loopback: true, services, ..Settings::default() }).unwrap();
    connect(ConnectRequest {
        store: "Store/files".to_owned(),
        namespace: &cluster.namespace,
        connection: &Connection { sops: Some(sops), timeout: Some("10s".into()), ..Connection::default() },
        kubernetes: false,
        objects: &cluster.objects,
        network: &network,
        credentials: Credentials::OfStore(StoreRights::default()),
        observer: Arc::new(|_, _, _: Duration| {}),
    })
    .await
}

async fn read(store: &Connected, name: &str) -> Result<Versioned, Error> {
    store.reads.read(&[Key::current(format!("{FILE}#{name}"))]).await.remove(0)
}

/// moto behind a proxy that counts, with one key.
struct Kms {
    aws: Aws,
    proxy: FaultProxy,
    arn: String,
}

impl Kms {
    async fn new(prefix: &str) -> Self {
        let aws = Aws::new(prefix).await;
        let proxy = FaultProxy::to_http(aws.moto.url()).await.unwrap();
        let created = aws::call(aws.moto.url(), REGION, "kms", "TrentService.CreateKey", json!({})).await.unwrap();
        let arn = created["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
        Self { aws, proxy, arn }
    }

    fn variables(&self) -> BTreeMap<String, String> {
        variables(&[
            ("AWS_ENDPOINT_URL", self.aws.moto.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ])
    }

    async fn store(&self) -> Connected {
        let keys = AwsKeys { name: "aws".into(), ..AwsKeys::default() };
        let auth = AwsAuth { secret: Some(keys), ..AwsAuth::default() };
        let sops = Sops { source: source(), aws_kms: Some(SopsAwsKms { auth: Some(auth) }), ..Sops::default() };
        let services = [format!("aws-kms={}", self.proxy.url()), format!("aws-sts={}", self.aws.sts.url())];
        connected(&self.aws.cluster, sops, &services).await.map_err(|error| error.message).unwrap()
    }

    fn calls(&self) -> e2e::fault_proxy::Injected {
        self.proxy.inject(Fault::Delay(Duration::ZERO), Matching::any().header(target(), "TrentService.Decrypt"))
    }
}

#[tokio::test]
async fn a_file_under_a_key_of_aws_is_read_and_costs_one_call() {
    log::watch();
    let kms = Kms::new("sops-kms").await;
    let plain = json!({"PASSWORD": CANARY, "OTHER": "x"});
    let contexts: [&[&str]; 2] = [&[], &["--encryption-context", "stage:prod,team:orders"]];
    for context in contexts {
        let arguments = [&["--kms", kms.arn.as_str()], context].concat();
        let file = encrypted(&arguments, &kms.variables(), &plain).await;
        publish(&kms.aws.cluster, &file).await;
        let store = kms.store().await;
        let calls = kms.calls();
        assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
        assert!(read(&store, "OTHER").await.unwrap().value.equals(b"x"));
        assert_eq!(calls.hits(), 1, "{context:?}");

        // A value that changed has the same data key; a new data key is asked for.
        let edited = set(&kms.variables(), &file, "OTHER", "y").await;
        publish(&kms.aws.cluster, &edited).await;
        assert!(read(&store, "OTHER").await.unwrap().value.equals(b"y"));
        assert_eq!(calls.hits(), 1);
        let rotated = sops(&["rotate"], &kms.variables(), edited.as_bytes()).await.stdout;
        publish(&kms.aws.cluster, std::str::from_utf8(&rotated).unwrap()).await;
        assert!(read(&store, "OTHER").await.unwrap().value.equals(b"y"));
        assert_eq!(calls.hits(), 2);
    }
    log::assert_clean();
}

/// `sops set` on a copy of the file.
async fn set(variables: &BTreeMap<String, String>, file: &str, name: &str, value: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    tokio::fs::write(&path, file).await.unwrap();
    let output = Command::new(tools::path(Tool::Sops).await.expect("sops"))
        .arg("set")
        .arg(&path)
        .args([format!("[\"{name}\"]"), json!(value).to_string()])
        .env("HOME", folder.path())
        .envs(variables)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    tokio::fs::read_to_string(&path).await.unwrap()
}

#[tokio::test]
async fn what_aws_says_of_a_key_has_its_reason() {
    log::watch();
    let kms = Kms::new("sops-kms-faults").await;
    let file = encrypted(&["--kms", &kms.arn], &kms.variables(), &json!({"PASSWORD": CANARY})).await;
    publish(&kms.aws.cluster, &file).await;
    let store = kms.store().await;
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::PermissionDenied),
        ("NotFoundException", ErrorKind::Undecodable),
        ("DisabledException", ErrorKind::Undecodable),
        ("InvalidCiphertextException", ErrorKind::Undecodable),
        ("UnrecognizedClientException", ErrorKind::Unauthenticated),
        ("ThrottlingException", ErrorKind::RateLimited),
        ("KMSInternalException", ErrorKind::Unavailable),
    ] {
        let fault = kms.proxy.inject(refusal(400, code), Matching::any());
        let error = read(&store, "PASSWORD").await.err().unwrap();
        assert_eq!(error.kind, kind, "{code}: {}", error.message);
        assert!(error.message.contains(FILE) && !error.message.contains(CANARY), "{}", error.message);
        fault.remove();
    }
    assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));

    let elsewhere = file.replace(&kms.arn, &kms.arn.replace(REGION, "us-east-1.evil.example"));
    publish(&kms.aws.cluster, &elsewhere).await;
    let error = read(&store, "PASSWORD").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Undecodable, "{}", error.message);
    log::assert_clean();
}

#[tokio::test]
async fn a_file_under_a_transit_key_is_read_at_the_store_s_own_vault() {
    log::watch();
    let cluster = Cluster::new("sops-transit").await;
    let vault = Vault::shared().await.expect("a Vault");
    let engine = format!("transit/{}", cluster.namespace);
    vault.must("POST", &format!("sys/mounts/{engine}"), json!({"type": "transit"})).await.unwrap();
    vault.must("POST", &format!("{engine}/keys/sops"), json!({})).await.unwrap();
    let rules = format!(r#"path "{engine}/decrypt/sops" {{ capabilities = ["update"] }}"#);
    let policy = engine.replace('/', "-");
    vault.must("PUT", &format!("sys/policies/acl/{policy}"), json!({"policy": rules})).await.unwrap();
    let token = vault.token(&[&policy], json!({})).await.unwrap();
    cluster.patch_secret("vault", &json!({"data": {"token": base64(token.as_bytes())}})).await;

    let writer = format!(r#"path "{engine}/*" {{ capabilities = ["update", "read"] }}"#);
    vault.must("PUT", &format!("sys/policies/acl/{policy}-writer"), json!({"policy": writer})).await.unwrap();
    let writers = vault.token(&[&format!("{policy}-writer")], json!({})).await.unwrap();
    let uri = format!("{}/v1/{engine}/keys/sops", vault.url());
    let environment = variables(&[("VAULT_TOKEN", writers.as_str())]);
    let file = encrypted(&["--hc-vault-transit", &uri], &environment, &json!({"PASSWORD": CANARY})).await;
    publish(&cluster, &file).await;

    let transit = |address: &str| {
        let token = SecretKey { secret: "vault".into(), key: "token".into() };
        let auth = VaultAuth { token: Some(token), ..VaultAuth::default() };
        let spec = SopsVaultTransit { address: address.into(), namespace: None, ca: None, auth: Some(auth) };
        Sops { source: source(), vault_transit: Some(spec), ..Sops::default() }
    };
    let store = connected(&cluster, transit(vault.url()), &[]).await.map_err(|error| error.message).unwrap();
    for _ in 0..2 {
        assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
    }
    let decrypted = |request: &e2e::VaultRequest| request.path == format!("{engine}/decrypt/sops");
    assert_eq!(vault.requests().unwrap().iter().filter(|request| decrypted(request)).count(), 1);

    // A file that names another Vault gets no token of this one.
    let elsewhere = file.replace(vault.url(), "https://vault.evil.example");
    publish(&cluster, &elsewhere).await;
    let error = read(&store, "PASSWORD").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::NoMatchingKey, "{}", error.message);

    // The key is there, and may not be used.
    vault
        .must(
            "PUT",
            &format!("sys/policies/acl/{policy}"),
            json!({"policy": r#"path "nothing" { capabilities = ["read"] }"#}),
        )
        .await
        .unwrap();
    let store = connected(&cluster, transit(vault.url()), &[]).await.map_err(|error| error.message).unwrap();
    publish(&cluster, &file).await;
    let error = read(&store, "PASSWORD").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{}", error.message);
    log::assert_clean();
}
