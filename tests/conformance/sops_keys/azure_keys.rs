//! Files under keys in Azure Key Vault, on the stand-in of `e2e`.

use std::sync::Arc;

use atmos_secrets::api::store::{AzureAuth, AzureClientSecret, SecretKey, Sops, SopsAzureKeyVault};
use atmos_secrets::backend::ErrorKind;
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::sops::Recipient;
use serde_json::json;

use super::{connected, ours, publish, read, source};
use crate::azure;
use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::suite::CANARY;

#[tokio::test]
async fn a_file_under_a_key_of_azure_is_written_and_read() {
    log::watch();
    let cluster = Cluster::new("sops-azure").await;
    let vault = azure::vault(&["encrypt", "decrypt"]).await;
    let version = vault.create_key("orders").unwrap();
    let network = azure::network(&vault);
    let person = azure::person(azure::SECRET);
    let around = azure::around(network.clone(), cluster.objects.clone(), &cluster.namespace, person);
    let keyring = Keyring::default().with_azure_keys(&SopsAzureKeyVault::default(), &Arc::new(around));
    let vault_url = "https://orders.vault.azure.net";
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
