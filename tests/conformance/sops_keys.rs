//! Files under keys of AWS KMS (moto), of Vault's transit engine (a real Vault) and of Google Cloud KMS (a stand-in), made
//! by the real `sops`, opened by a store; and files of ours under keys of Azure Key Vault (a stand-in).

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::store::{
    AwsAuth, AwsKeys, AzureAuth, AzureClientSecret, Connection, Encoding, GcpAuth, SecretKey, Sops, SopsAwsKms,
    SopsAzureKeyVault, SopsGcpKms, SopsSource, SopsVaultTransit, VaultAuth,
};
use atmos_secrets::backend::connect::{ConnectRequest, Connected, connect};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, Surroundings, UserCredentials};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::backend::{Error, ErrorKind, Key, Versioned};
use atmos_secrets::sops::{AwsKmsKey, Creation, Format, KeyGroups, Plain, Recipient};
use atmos_secrets::value::SecretValue;
use e2e::tools::{self, Tool};
use e2e::{Fault, FaultProxy, Gcp, Matching, Vault};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::aws::{self, Aws, REGION, refusal, target};
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

    fn spec() -> SopsAwsKms {
        let keys = AwsKeys { name: "aws".into(), ..AwsKeys::default() };
        SopsAwsKms { auth: Some(AwsAuth { secret: Some(keys), ..AwsAuth::default() }) }
    }

    fn network(&self) -> Network {
        network(&[format!("aws-kms={}", self.proxy.url()), format!("aws-sts={}", self.aws.sts.url())])
    }

    async fn store(&self) -> Connected {
        let sops = Sops { source: source(), aws_kms: Some(Self::spec()), ..Sops::default() };
        connected(&self.aws.cluster, sops, &self.network()).await.map_err(|error| error.message).unwrap()
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
async fn sops_reads_what_we_put_under_a_key_of_aws() {
    log::watch();
    let kms = Kms::new("sops-kms-ours").await;
    let around = Surroundings { network: kms.network(), ..kms.aws.around(Encoding::Atmos) };
    let keyring = Keyring::default().with_aws_kms(&Kms::spec(), &Arc::new(around));
    for context in [BTreeMap::new(), variables(&[("stage", "prod"), ("team", "orders")])] {
        let key = AwsKmsKey { arn: kms.arn.clone(), context, ..AwsKmsKey::default() };
        let file = ours(&keyring, Recipient::AwsKms(key)).await;
        assert_sops_reads(&file, &kms.variables()).await;
    }
    log::assert_clean();
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

/// `sops` cannot be led to another vault than Microsoft's: the file is one of ours.
#[tokio::test]
async fn a_file_under_a_key_of_azure_is_written_and_read() {
    log::watch();
    let cluster = Cluster::new("sops-azure").await;
    let vault = azure::vault(&["encrypt", "decrypt"]).await;
    let version = vault.create_key("orders").unwrap();
    let network = azure::network(&vault);
    let vault_url = "https://orders.vault.azure.net";
    let person = azure::person(azure::SECRET);
    let around = azure::around(network.clone(), cluster.objects.clone(), &cluster.namespace, person);
    let keyring = Keyring::default().with_azure_keys(&SopsAzureKeyVault::default(), &Arc::new(around));
    let recipient =
        Recipient::AzureKeyVault { vault_url: vault_url.into(), name: "orders".into(), version: String::new() };
    let file = ours(&keyring, recipient.clone()).await;
    assert!(file.contains(&version), "the file names the version that was used");
    publish(&cluster, &file).await;

    cluster.patch_secret("azure", &json!({"data": {"secret": base64(azure::SECRET.as_bytes())}})).await;
    let client = AzureClientSecret {
        tenant_id: azure::TENANT.into(),
        client_id: azure::CLIENT.into(),
        client_secret: SecretKey { secret: "azure".into(), key: "secret".into() },
    };
    let auth = AzureAuth { client_secret: Some(client), ..AzureAuth::default() };
    let keys = SopsAzureKeyVault { auth: Some(auth) };
    let sops = Sops { source: source(), azure_key_vault: Some(keys), ..Sops::default() };
    let store = connected(&cluster, sops, &network).await.map_err(|error| error.message).unwrap();
    for _ in 0..2 {
        assert!(read(&store, "PASSWORD").await.unwrap().value.equals(CANARY.as_bytes()));
    }
    let asked = vault.requests().iter().filter(|request| request.path.ends_with("/decrypt")).count();
    assert_eq!(asked, 1);

    // Another key, no right, and a host that is not Microsoft's: each is told, and none is a missing value.
    vault.create_key("other").unwrap();
    let refused = async |text: &str| {
        publish(&cluster, text).await;
        read(&store, "PASSWORD").await.err().unwrap().kind
    };
    let other = file.replace("name: orders", "name: other");
    assert_ne!(other, file);
    assert_eq!(refused(&other).await, ErrorKind::Undecodable);
    // That one is where Stores may be, and is asked for nothing: no token gets there.
    let asked = vault.requests().len();
    let elsewhere = file.replace(vault_url, &vault.url());
    assert_eq!(refused(&elsewhere).await, ErrorKind::Undecodable);
    assert_eq!(vault.requests().len(), asked);
    azure::allow(&vault, &["encrypt"]);
    let again = ours(&keyring, recipient).await;
    assert_eq!(refused(&again).await, ErrorKind::PermissionDenied);
    log::assert_clean();
}
