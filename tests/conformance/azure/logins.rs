//! Logins to Azure: what is presented, to whom, how often; with tokens that a real API server issued and reviews.

use atmos_secrets::api::store::{
    AzureAuth, AzureClientSecret, AzureKeyVault as Spec, AzureManagedIdentity, AzureWorkloadIdentity, Encoding,
    SecretKey, ServiceAccountToken,
};
use atmos_secrets::backend::azure_key_vault::{AzureKeyVault, connect};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, Surroundings};
use atmos_secrets::backend::network::{Network, Settings};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key};
use e2e::{AzureVault, Matching};
use serde_json::{Value, json};

use super::{CLIENT, RIGHTS, SECRET, TENANT, around, literal, logins, network, refusal, spec, user, vault};
use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::suite::{self, CANARY};

fn of_store(cluster: &Cluster, azure: &AzureVault) -> Surroundings {
    around(network(azure), cluster.objects.clone(), &cluster.namespace, suite::of_operator())
}

fn client_secret(tenant: &str, client: &str, secret: &str, key: &str) -> AzureAuth {
    let client_secret = SecretKey { secret: secret.into(), key: key.into() };
    let client_secret = AzureClientSecret { tenant_id: tenant.into(), client_id: client.into(), client_secret };
    AzureAuth { client_secret: Some(client_secret), ..AzureAuth::default() }
}

fn workload(client: &str, account: &str, audience: Option<&str>) -> AzureAuth {
    let service_account = ServiceAccountToken { name: account.into(), audience: audience.map(str::to_owned) };
    let identity = AzureWorkloadIdentity { tenant_id: TENANT.into(), client_id: client.into(), service_account };
    AzureAuth { workload_identity: Some(identity), ..AzureAuth::default() }
}

async fn try_connect(azure: &AzureVault, auth: AzureAuth, around: &Surroundings) -> Result<AzureKeyVault, Error> {
    connect(&Spec { auth: Some(auth), ..spec(azure) }, around).await
}

async fn read(backend: &dyn Backend) -> Result<(), Error> {
    let found = backend.read(&[Key::current("app-K")]).await.remove(0)?;
    assert!(found.value.equals(CANARY.as_bytes()));
    Ok(())
}

async fn with_value(rights: &[&'static str]) -> AzureVault {
    let azure = vault(rights).await;
    azure.set("app-K", &literal(CANARY), Value::Null).unwrap();
    azure
}

#[tokio::test]
async fn a_client_secret_comes_from_the_secret_that_the_store_names() {
    log::watch();
    let (cluster, azure) = (Cluster::new("azure-secret").await, with_value(&RIGHTS).await);
    let data = json!({"good": base64(format!("{SECRET}\n").as_bytes()), "wrong": base64(CANARY.as_bytes()),
        "empty": base64(b" \n"), "text": base64(format!("${{{CANARY}}}").as_bytes())});
    cluster.patch_secret("azure", &json!({"data": data})).await;
    let around = of_store(&cluster, &azure);
    for (auth, expected) in [
        (client_secret(TENANT, CLIENT, "none", "good"), ErrorKind::SourceNotFound),
        (client_secret(TENANT, CLIENT, "azure", "none"), ErrorKind::SourceNotFound),
        (client_secret(TENANT, CLIENT, "azure", "empty"), ErrorKind::Unauthenticated),
        (client_secret(TENANT, CLIENT, "azure", "text"), ErrorKind::Unauthenticated),
        (client_secret("a/b", CLIENT, "azure", "good"), ErrorKind::InvalidConfig),
        (client_secret(TENANT, "a&scope=x", "azure", "good"), ErrorKind::InvalidConfig),
        (client_secret("--help", CLIENT, "azure", "good"), ErrorKind::InvalidConfig),
        (AzureAuth::default(), ErrorKind::InvalidConfig),
        (
            AzureAuth {
                managed_identity: Some(AzureManagedIdentity::default()),
                ..client_secret(TENANT, CLIENT, "azure", "good")
            },
            ErrorKind::InvalidConfig,
        ),
    ] {
        let error = try_connect(&azure, auth, &around).await.err().unwrap();
        assert_eq!(error.kind, expected, "{error}");
        assert!(!error.message.contains(CANARY), "{error}");
    }
    assert_eq!(logins(&azure), 0);
    let backend = try_connect(&azure, client_secret(TENANT, CLIENT, "azure", "good"), &around).await.unwrap();
    read(&backend).await.map_err(|error| error.message).unwrap();

    for (auth, word) in [
        (client_secret(TENANT, CLIENT, "azure", "wrong"), "the client secret is wrong"),
        (client_secret(TENANT, "no-such-client", "azure", "good"), "no such application"),
        (client_secret("no-such-tenant", CLIENT, "azure", "good"), "no such tenant"),
    ] {
        let before = logins(&azure);
        let backend = try_connect(&azure, auth, &around).await.unwrap();
        for _ in 0..3 {
            let error = read(&backend).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unauthenticated);
            assert!(error.message.contains(word), "{error}");
        }
        assert_eq!(logins(&azure), before + 1, "one login for keys that come together");
    }
    log::assert_clean();
}

#[tokio::test]
async fn a_service_accounts_token_is_exchanged() {
    log::watch();
    let (cluster, azure) = (Cluster::new("azure-workload").await, with_value(&[]).await);
    let namespace = &cluster.namespace;
    for name in ["reader", "other"] {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
        cluster.control_plane.apply_yaml(&account.to_string()).await.unwrap();
    }
    let subject = format!("system:serviceaccount:{namespace}:reader");
    azure.register(e2e::AzureApplication {
        tenant: TENANT.into(),
        client: "federated".into(),
        federated: Some((subject, cluster.control_plane.client().await.unwrap())),
        rights: vec!["get"],
        ..e2e::AzureApplication::default()
    });
    let around = of_store(&cluster, &azure);
    let backend = try_connect(&azure, workload("federated", "reader", None), &around).await.unwrap();
    read(&backend).await.map_err(|error| error.message).unwrap();
    assert_eq!(logins(&azure), 1);

    for (auth, expected, word) in [
        (workload("federated", "other", None), ErrorKind::Unauthenticated, "no federated credential"),
        (workload("federated", "reader", Some("vault")), ErrorKind::Unauthenticated, "no federated credential"),
        (workload(CLIENT, "reader", None), ErrorKind::Unauthenticated, "no federated credential"),
        (workload("federated", "nobody", None), ErrorKind::SourceNotFound, "there is no ServiceAccount"),
        (
            workload("federated", "reader", Some("https://kubernetes.default.svc")),
            ErrorKind::InvalidConfig,
            "must not leave the cluster",
        ),
    ] {
        let backend = try_connect(&azure, auth, &around).await.unwrap();
        let error = read(&backend).await.unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
        assert!(error.message.contains(word), "{error}");
    }
    log::assert_clean();
}

/// The identity of the operator's own machine: `src/backend/credentials/azure/tests.rs` asks a metadata service for it.
#[tokio::test]
async fn a_managed_identity_is_for_cluster_stores_with_ambient_rights() {
    let (cluster, azure) = (Cluster::new("azure-managed").await, vault(&RIGHTS).await);
    let auth = || AzureAuth { managed_identity: Some(AzureManagedIdentity::default()), ..AzureAuth::default() };
    for (store, ambient, is_allowed) in
        [("Store/app", true, false), ("ClusterStore/app", false, false), ("ClusterStore/app", true, true)]
    {
        let credentials = Credentials::OfStore(StoreRights { ambient, ..StoreRights::default() });
        let around = around(network(&azure), cluster.objects.clone(), &cluster.namespace, credentials);
        let around = Surroundings { store: store.into(), ..around };
        let connected = try_connect(&azure, auth(), &around).await;
        assert_eq!(connected.is_ok(), is_allowed, "{store} {ambient}");
        if let Err(error) = connected {
            assert_eq!(error.kind, ErrorKind::InvalidConfig);
            assert!(error.message.contains("--allow-ambient-credentials"), "{error}");
        }
    }
}

#[tokio::test]
async fn one_login_serves_all_and_a_refused_one_is_renewed_once() {
    log::watch();
    let azure = with_value(&RIGHTS).await;
    let backend = user(&azure, Encoding::Atmos).await;
    for result in futures::future::join_all((0..20).map(|_| read(&*backend))).await {
        result.map_err(|error| error.message).unwrap();
    }
    assert_eq!(logins(&azure), 1);
    assert!(azure.requests().iter().all(|request| request.status == 200), "no request went without a token");

    azure.revoke_tokens();
    for result in futures::future::join_all((0..20).map(|_| read(&*backend))).await {
        result.map_err(|error| error.message).unwrap();
    }
    assert_eq!(logins(&azure), 2, "all who were refused share one new login");

    let refused = azure.proxy().inject(refusal(401, "Unauthorized", ""), Matching::any().path("/secrets"));
    for _ in 0..5 {
        assert_eq!(read(&*backend).await.unwrap_err().kind, ErrorKind::Unauthenticated);
    }
    assert_eq!((logins(&azure), refused.hits()), (2, 5), "refused again so soon, it is not the login");
    log::assert_clean();
}

#[tokio::test]
async fn a_vault_is_microsofts_or_allowed() {
    let azure = vault(&RIGHTS).await;
    let objects = crate::wire::absent().await.objects.clone();
    let closed = || Network::new(Settings::default()).unwrap();
    let tried = async |network: Network, url: &str| {
        let around = around(network, objects.clone(), "payments", super::person(SECRET));
        connect(&Spec { vault_url: url.into(), auth: None }, &around).await.err().map(|error| error.kind)
    };
    for (url, expected) in [
        ("https://mine.vault.azure.net", None),
        ("https://mine.vault.azure.net/", None),
        ("https://mine.vault.azure.cn", None),
        ("https://mine.vault.usgovcloudapi.net", None),
        ("https://mine.vault.azure.net.example.com", Some(ErrorKind::EndpointNotAllowed)),
        ("https://mine.vault.azure.net:8443", Some(ErrorKind::EndpointNotAllowed)),
        ("https://vault.example.com", Some(ErrorKind::EndpointNotAllowed)),
        ("https://169.254.169.254", Some(ErrorKind::EndpointNotAllowed)),
        ("http://mine.vault.azure.net", Some(ErrorKind::InvalidConfig)),
        ("https://mine.vault.azure.net/secrets", Some(ErrorKind::InvalidConfig)),
        ("https://u:p@mine.vault.azure.net", Some(ErrorKind::InvalidConfig)),
        ("mine.vault.azure.net", Some(ErrorKind::InvalidConfig)),
    ] {
        assert_eq!(tried(closed(), url).await, expected, "{url}");
    }
    assert_eq!(tried(network(&azure), "http://127.0.0.1:1").await, Some(ErrorKind::InvalidConfig));
    let allowed = Settings { allowed_hosts: vec!["vault.example.com".parse().unwrap()], ..Settings::default() };
    assert_eq!(tried(Network::new(allowed).unwrap(), "https://vault.example.com").await, None);
}
