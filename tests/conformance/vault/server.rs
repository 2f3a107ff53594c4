//! A server with TLS under an authority of its own, sealed and unsealed.

use std::sync::Arc;

use atmos_secrets::api::store::{self, CertificateAuthority, Encoding, SecretKey, VaultAuth};
use atmos_secrets::backend::credentials::{Credentials, StoreRights};
use atmos_secrets::backend::vault::connect;
use atmos_secrets::backend::{Backend, Error, ErrorKind};
use serde_json::json;

use super::{around, read, spec, watch};
use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::suite::CANARY;

async fn backend(cluster: &Cluster, spec: &store::Vault) -> Result<Arc<dyn Backend>, Error> {
    let credentials = Credentials::OfStore(StoreRights::default());
    let around = around(cluster.objects.clone(), &cluster.namespace, credentials, Encoding::Atmos);
    Ok(Arc::new(connect(spec, &around).await?))
}

#[tokio::test]
async fn an_authority_of_its_own_and_a_seal() {
    watch();
    let vault = e2e::Vault::start_with_tls().await.expect("a Vault with TLS");
    let cluster = Cluster::new("vault-tls").await;
    vault.must("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": "1"}})).await.unwrap();
    vault.must("POST", "kv/K", json!({"value": CANARY})).await.unwrap();
    let token = base64(vault.root_token().as_bytes());
    let ca = vault.ca_pem().unwrap();
    cluster.patch_secret("vault", &json!({"data": {"token": token, "ca.crt": base64(ca.as_bytes())}})).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"vault.pem": ca, "other.pem": "nonsense"},
        "metadata": {"name": "vault-ca", "namespace": cluster.namespace}});
    cluster.control_plane.apply_yaml(&map.to_string()).await.unwrap();

    let token = Some(SecretKey { secret: "vault".into(), key: "token".into() });
    let auth = Some(VaultAuth { token, ..VaultAuth::default() });
    let plain = store::Vault { auth, ..spec(vault.url(), "kv", 1) };
    let in_map =
        |key: &str| CertificateAuthority { config_map: Some("vault-ca".into()), secret: None, key: Some(key.into()) };
    let in_secret = CertificateAuthority { config_map: None, secret: Some("vault".into()), key: None };
    for authority in [in_map("vault.pem"), in_secret] {
        let trusting = store::Vault { ca: Some(authority), ..plain.clone() };
        let found =
            read(&backend(&cluster, &trusting).await.unwrap(), "K").await.map_err(|error| error.message).unwrap();
        assert!(found.value.equals(CANARY.as_bytes()));
    }
    let error = read(&backend(&cluster, &plain).await.unwrap(), "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("from an authority that is not trusted"), "{}", error.message);
    let unreadable = store::Vault { ca: Some(in_map("other.pem")), ..plain.clone() };
    assert_eq!(backend(&cluster, &unreadable).await.err().unwrap().kind, ErrorKind::InvalidConfig);

    let trusting = store::Vault { ca: Some(in_map("vault.pem")), ..plain.clone() };
    let store = backend(&cluster, &trusting).await.unwrap();
    assert!(read(&store, "K").await.is_ok());
    vault.seal().await.unwrap();
    let error = read(&store, "K").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("sealed"), "{}", error.message);
    assert_eq!(store.check().await.unwrap_err().kind, ErrorKind::Unavailable);
    vault.unseal().await.unwrap();
    assert!(read(&store, "K").await.is_ok(), "the login outlives the seal");
    log::assert_clean();
}
