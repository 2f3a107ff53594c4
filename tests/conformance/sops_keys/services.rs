//! The four key services, each as `sops` and as we reach it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use atmos_secrets::api::store::{
    Encoding, GcpAuth, SecretKey, SopsAzureKeyVault, SopsGcpKms, SopsVaultTransit, VaultAuth,
};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, Surroundings, UserCredentials};
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::sops::{AwsKmsKey, Recipient};
use atmos_secrets::value::SecretValue;
use e2e::{AzureVault, Gcp, Vault};
use serde_json::json;

use super::aws_kms::Kms;
use super::{network, variables};
use crate::azure;
use crate::kubernetes::{Cluster, base64};

/// A vault of Microsoft's, as files name it.
const VAULT_URL: &str = "https://orders.vault.azure.net";

/// A key of one service.
pub struct Service {
    /// The line of a creation rule that names the key.
    pub rule: String,
    /// The field of a key group that does, and what it lists.
    pub group: (&'static str, String),
    pub recipient: Recipient,
    /// How `sops` gets there.
    pub environment: BTreeMap<String, String>,
    /// How we do.
    pub keys: Arc<Keyring>,
    _running: Box<dyn Any>,
}

pub async fn aws_kms(prefix: &str) -> Service {
    let kms = Kms::new(prefix).await;
    let around = Surroundings { network: kms.network(), ..kms.aws.around(Encoding::Atmos) };
    Service {
        rule: format!("kms: {}", kms.arn),
        group: ("kms", format!("{{arn: \"{}\"}}", kms.arn)),
        recipient: Recipient::AwsKms(AwsKmsKey { arn: kms.arn.clone(), ..AwsKmsKey::default() }),
        environment: kms.variables(),
        keys: Arc::new(Keyring::default().with_aws_kms(&Kms::spec(), &Arc::new(around))),
        _running: Box::new(kms),
    }
}

pub async fn vault_transit(prefix: &str) -> Service {
    let cluster = Cluster::new(prefix).await;
    let vault = Vault::shared().await.expect("a Vault");
    let engine = format!("transit/{}", cluster.namespace);
    vault.must("POST", &format!("sys/mounts/{engine}"), json!({"type": "transit"})).await.unwrap();
    vault.must("POST", &format!("{engine}/keys/sops"), json!({})).await.unwrap();
    let rules = format!(r#"path "{engine}/*" {{ capabilities = ["update", "read"] }}"#);
    let policy = engine.replace('/', "-");
    vault.must("PUT", &format!("sys/policies/acl/{policy}"), json!({"policy": rules})).await.unwrap();
    let token = vault.token(&[&policy], json!({})).await.unwrap();
    let person = UserCredentials {
        vault: Some(("a token".to_owned(), SecretValue::from(token.clone()))),
        ..UserCredentials::default()
    };
    let person = Credentials::OfUser(person);
    let around = crate::vault::around(cluster.objects.clone(), &cluster.namespace, person, Encoding::Atmos);
    let spec = SopsVaultTransit { address: vault.url().into(), namespace: None, ca: None, auth: None::<VaultAuth> };
    let keyring = Keyring::default().with_vault_transit(&spec, &around).await.map_err(|error| error.message).unwrap();
    let uri = format!("{}/v1/{engine}/keys/sops", vault.url());
    Service {
        rule: format!("hc_vault_transit_uri: {uri}"),
        group: ("hc_vault", format!("\"{uri}\"")),
        recipient: Recipient::VaultTransit {
            address: vault.url().into(),
            engine_path: engine,
            key_name: "sops".into(),
        },
        environment: variables(&[("VAULT_TOKEN", &token)]),
        keys: Arc::new(keyring),
        _running: Box::new(cluster),
    }
}

pub async fn gcp_kms(prefix: &str) -> Service {
    let cluster = Cluster::new(prefix).await;
    let gcp = Gcp::start().unwrap();
    let key = gcp.create_key("orders").unwrap();
    let account = gcp.account_key("both@payments-prod.iam.gserviceaccount.com").unwrap().to_string();
    cluster.patch_secret("google", &json!({"data": {"key.json": base64(account.as_bytes())}})).await;
    let auth = GcpAuth {
        service_account_key: Some(SecretKey { secret: "google".into(), key: "key.json".into() }),
        ..GcpAuth::default()
    };
    let services = ["gcp-kms", "gcp-oauth"].map(|name| format!("{name}={}", gcp.plain_url()));
    let rights = Credentials::OfStore(StoreRights::default());
    let around = azure::around(network(&services), cluster.objects.clone(), &cluster.namespace, rights);
    let keyring = Keyring::default().with_gcp_kms(&SopsGcpKms { auth: Some(auth) }, &around).await;
    Service {
        rule: format!("gcp_kms: {key}"),
        group: ("gcp_kms", format!("{{resource_id: \"{key}\"}}")),
        recipient: Recipient::GcpKms { resource_id: key },
        environment: variables(&[
            ("SOPS_GCP_KMS_CLIENT_TYPE", "rest"),
            ("SOPS_GCP_KMS_ENDPOINT", &gcp.plain_url()),
            ("GOOGLE_OAUTH_ACCESS_TOKEN", &gcp.access_token("writer").unwrap()),
        ]),
        keys: Arc::new(keyring.map_err(|error| error.message).unwrap()),
        _running: Box::new((cluster, gcp)),
    }
}

/// `sops` asks for the key's newest version, which we learn from the answer to an encryption.
pub async fn azure_keys() -> (Service, Arc<AzureVault>) {
    let vault = Arc::new(azure::vault(&["get", "encrypt", "decrypt"]).await);
    let version = vault.create_key("orders").unwrap();
    let objects = crate::wire::absent().await.objects.clone();
    let around = azure::around(azure::network(&vault), objects, "payments", azure::person(azure::SECRET));
    let keyring = Keyring::default().with_azure_keys(&SopsAzureKeyVault::default(), &Arc::new(around));
    let tunnel = vault.tunnel().await.unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), vault.ca_pem()).unwrap();
    let service = Service {
        rule: format!("azure_keyvault: {VAULT_URL}/keys/orders"),
        group: ("azure_keyvault", format!("{{vaultUrl: \"{VAULT_URL}\", key: orders, version: \"{version}\"}}")),
        recipient: Recipient::AzureKeyVault {
            vault_url: VAULT_URL.into(),
            name: "orders".into(),
            version: String::new(),
        },
        environment: variables(&[
            ("HTTPS_PROXY", &tunnel.url()),
            ("SSL_CERT_FILE", authority.path().to_str().unwrap()),
            ("AZURE_TENANT_ID", azure::TENANT),
            ("AZURE_CLIENT_ID", azure::CLIENT),
            ("AZURE_CLIENT_SECRET", azure::SECRET),
        ]),
        keys: Arc::new(keyring),
        _running: Box::new((Arc::clone(&vault), tunnel, authority)),
    };
    (service, vault)
}
