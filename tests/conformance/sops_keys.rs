//! Files under keys of AWS KMS (moto), of Vault's transit engine (a real Vault), and of Google Cloud KMS and Azure Key Vault
//! (stand-ins): made by the real `sops` and opened by a store, made by us and opened by `sops`.

mod aws_kms;
mod azure_keys;
mod exchange;
mod mixed;
mod services;

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::store::{
    Connection, Encoding, GcpAuth, SecretKey, Sops, SopsGcpKms, SopsSource, SopsVaultTransit, VaultAuth,
};
use atmos_secrets::backend::connect::{ConnectRequest, Connected, connect};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, UserCredentials};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::backend::{Error, ErrorKind, Key, Versioned};
use atmos_secrets::sops::{Creation, Format, KeyGroups, Plain, Recipient};
use atmos_secrets::value::SecretValue;
use e2e::tools::{self, Tool};
use e2e::{Gcp, Vault};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::azure;
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

/// A file of ours under one key.
async fn ours(keyring: &Keyring, recipient: Recipient) -> String {
    let creation = Creation { keys: KeyGroups::single(vec![recipient]), ..Creation::default() };
    let plain = SecretValue::from(format!("PASSWORD: {CANARY}\n"));
    let plain = Plain::parse(Format::Yaml, &plain).unwrap();
    let file = plain.encrypt(&creation, keyring, jiff::Timestamp::UNIX_EPOCH).await;
    String::from_utf8(file.map_err(|error| error.to_string()).unwrap()).unwrap()
}

/// Holds a file of ours against `sops`.
async fn assert_sops_reads(file: &str, variables: &BTreeMap<String, String>) {
    let output = sops(&["decrypt"], variables, file.as_bytes()).await;
    assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("PASSWORD: {CANARY}\n"));
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

fn network(services: &[String]) -> Network {
    let services = services.iter().map(|service| service.parse().unwrap()).collect();
    Network::new(Settings { loopback: true, services, ..Settings::default() }).unwrap()
}

async fn connected(cluster: &Cluster, sops: Sops, network: &Network) -> Result<Connected, Error> {
    connect(ConnectRequest {
        store: "Store/files".to_owned(),
        namespace: &cluster.namespace,
        connection: &Connection { sops: Some(sops), timeout: Some("10s".into()), ..Connection::default() },
        kubernetes: false,
        objects: &cluster.objects,
        network,
        credentials: Credentials::OfStore(StoreRights::default()),
        observer: Arc::new(|_, _, _: Duration| {}),
    })
    .await
}

async fn read(store: &Connected, name: &str) -> Result<Versioned, Error> {
    store.reads.read(&[Key::current(format!("{FILE}#{name}"))]).await.remove(0)
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
    let store = connected(&cluster, transit(vault.url()), &network(&[])).await.map_err(|error| error.message).unwrap();
    for _ in 0..2 {
        assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
    }
    let decrypted = |request: &e2e::VaultRequest| request.path == format!("{engine}/decrypt/sops");
    assert_eq!(vault.requests().unwrap().iter().filter(|request| decrypted(request)).count(), 1);

    // And `sops` reads one of ours.
    let person = UserCredentials {
        vault: Some(("the writer's token".to_owned(), SecretValue::from(writers.clone()))),
        ..UserCredentials::default()
    };
    let around =
        crate::vault::around(cluster.objects.clone(), &cluster.namespace, Credentials::OfUser(person), Encoding::Atmos);
    let spec = SopsVaultTransit { address: vault.url().into(), namespace: None, ca: None, auth: None };
    let keyring = Keyring::default().with_vault_transit(&spec, &around).await.map_err(|error| error.message).unwrap();
    let recipient =
        Recipient::VaultTransit { address: vault.url().into(), engine_path: engine.clone(), key_name: "sops".into() };
    assert_sops_reads(&ours(&keyring, recipient).await, &environment).await;

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
    let store = connected(&cluster, transit(vault.url()), &network(&[])).await.map_err(|error| error.message).unwrap();
    publish(&cluster, &file).await;
    let error = read(&store, "PASSWORD").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{}", error.message);
    log::assert_clean();
}

#[tokio::test]
async fn a_file_under_a_key_of_google_is_read_and_costs_one_call() {
    const READER: &str = "reader@payments-prod.iam.gserviceaccount.com";
    log::watch();
    let cluster = Cluster::new("sops-gcp-kms").await;
    let gcp = Gcp::start().unwrap();
    let key = gcp.create_key("orders").unwrap();
    let environment = variables(&[
        ("SOPS_GCP_KMS_CLIENT_TYPE", "rest"),
        ("SOPS_GCP_KMS_ENDPOINT", &gcp.plain_url()),
        ("GOOGLE_OAUTH_ACCESS_TOKEN", &gcp.access_token("writer").unwrap()),
    ]);
    let file = encrypted(&["--gcp-kms", &key], &environment, &json!({"PASSWORD": CANARY, "OTHER": "x"})).await;
    publish(&cluster, &file).await;
    let account = gcp.account_key(READER).unwrap().to_string();
    cluster.patch_secret("google", &json!({"data": {"key.json": base64(account.as_bytes())}})).await;
    gcp.permit_only(READER, &["cloudkms.cryptoKeyVersions.useToDecrypt"]);

    let auth = GcpAuth {
        service_account_key: Some(SecretKey { secret: "google".into(), key: "key.json".into() }),
        ..GcpAuth::default()
    };
    let spec = SopsGcpKms { auth: Some(auth) };
    let sops = Sops { source: source(), gcp_kms: Some(spec.clone()), ..Sops::default() };
    let services = ["gcp-kms", "gcp-oauth"].map(|name| format!("{name}={}", gcp.plain_url()));
    let store = connected(&cluster, sops, &network(&services)).await.map_err(|error| error.message).unwrap();
    for _ in 0..2 {
        assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
        assert!(read(&store, "OTHER").await.unwrap().value.equals(b"x"));
    }
    assert_eq!(gcp.count(":decrypt"), 1);

    // And `sops` reads one of ours.
    let writers = gcp.access_token("writer").unwrap();
    let around = azure::around(
        network(&services),
        cluster.objects.clone(),
        &cluster.namespace,
        Credentials::OfStore(StoreRights::default()),
    );
    gcp.permit_only(READER, &["cloudkms.cryptoKeyVersions.useToEncrypt"]);
    let keyring = Keyring::default().with_gcp_kms(&spec, &around).await.map_err(|error| error.message).unwrap();
    let file = ours(&keyring, Recipient::GcpKms { resource_id: key.clone() }).await;
    let environment =
        BTreeMap::from_iter(environment.into_iter().chain([("GOOGLE_OAUTH_ACCESS_TOKEN".to_owned(), writers)]));
    assert_sops_reads(&file, &environment).await;

    // Another entry is another question: the right is gone, and then the key is another one.
    gcp.permit_only(READER, &[]);
    let again = encrypted(&["--gcp-kms", &key], &environment, &json!({"PASSWORD": CANARY})).await;
    publish(&cluster, &again).await;
    assert_eq!(read(&store, "PASSWORD").await.err().unwrap().kind, ErrorKind::PermissionDenied);
    gcp.permit_only(READER, &["cloudkms.cryptoKeyVersions.useToDecrypt"]);
    assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
    let other = gcp.create_key("other").unwrap();
    publish(&cluster, &again.replace(&key, &other)).await;
    assert_eq!(read(&store, "PASSWORD").await.err().unwrap().kind, ErrorKind::Undecodable);
    publish(&cluster, &again.replace(&key, &format!("{key}-none"))).await;
    assert_eq!(read(&store, "PASSWORD").await.err().unwrap().kind, ErrorKind::Undecodable);
    log::assert_clean();
}
