//! What a spec means, without a server; `tests/conformance` connects to real ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use super::*;
use crate::api::store::{
    self, AwsAuth, AwsKeys, AwsSecretsManager, AwsSsm, AzureAuth, AzureClientSecret, AzureKeyVault, RateLimit,
    SecretKey, SopsAge, SopsSource,
};
use crate::backend::credentials::UserCredentials;
use crate::backend::guarded::Operation;
use crate::backend::network::Settings;
use crate::value::SecretValue;

fn network() -> Network {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Network::new(Settings::default()).unwrap()
}

fn of_store() -> Credentials {
    Credentials::OfStore(StoreRights::default())
}

fn sops() -> store::Sops {
    store::Sops {
        source: SopsSource { config_maps: vec!["files".into()], secrets: Vec::new() },
        age: Some(SopsAge { keys: vec![SecretKey { secret: "age".into(), key: "keys.txt".into() }] }),
        ..store::Sops::default()
    }
}

fn with_sops(sops: store::Sops) -> Connection {
    Connection { sops: Some(sops), ..Connection::default() }
}

/// Connects with an API server that is not there.
async fn try_connect(connection: &Connection, kubernetes: bool, credentials: Credentials) -> Result<Connected, Error> {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let objects = Objects::new(crate::cluster::client(config).unwrap());
    connect(ConnectRequest {
        store: "Store/app".to_owned(),
        namespace: "payments",
        connection,
        kubernetes,
        objects: &objects,
        network: &network(),
        credentials,
        observer: Arc::new(|_: Operation, _: &'static str, _: Duration| {}),
    })
    .await
}

async fn refused(connection: &Connection, kubernetes: bool) -> (ErrorKind, String) {
    match try_connect(connection, kubernetes, of_store()).await {
        Ok(_) => panic!("was connected"),
        Err(error) => (error.kind, error.message),
    }
}

#[tokio::test]
async fn a_definition_that_cannot_work_says_what_is_wrong() {
    let both = with_sops(sops());
    let no_source = with_sops(store::Sops { source: SopsSource::default(), ..sops() });
    let source = SopsSource { config_maps: vec!["a".into()], secrets: vec!["b".into()] };
    let two_sources = with_sops(store::Sops { source, ..sops() });
    let no_keys = with_sops(store::Sops { age: None, ..sops() });
    let bad_timeout = Connection { timeout: Some("soon".into()), ..Connection::default() };
    let paced = || Connection { rate_limit: Some(RateLimit { per_second: 5 }), ..Connection::default() };
    for (connection, kubernetes, hint) in [
        (Connection::default(), false, "names no provider"),
        (both, true, "names kubernetes and sops"),
        (no_source, false, "exactly one kind: configMaps or secrets"),
        (two_sources, false, "exactly one kind: configMaps or secrets"),
        (no_keys, false, "the store names no keys"),
        (bad_timeout, true, "timeout is not a duration"),
        (paced(), true, "rateLimit has no meaning for a store of kind kubernetes"),
        (Connection { sops: Some(sops()), ..paced() }, false, "rateLimit has no meaning for a store of kind sops"),
    ] {
        let (kind, message) = refused(&connection, kubernetes).await;
        assert_eq!(kind, ErrorKind::InvalidConfig, "{message}");
        assert!(message.starts_with("Store/app: ") && message.contains(hint), "{message}");
    }
}

#[test]
fn a_timeout_is_within_its_bounds() {
    for (text, seconds) in [(None, 10), (Some("0s"), 1), (Some("3s"), 3), (Some("9000h"), 300)] {
        let connection = Connection { timeout: text.map(str::to_owned), ..Connection::default() };
        assert_eq!(timeout(&connection).unwrap(), Duration::from_secs(seconds), "{text:?}");
    }
}

#[tokio::test]
async fn a_store_of_aws_needs_credentials_and_an_endpoint_that_is_allowed() {
    let aws = |endpoint: Option<&str>, auth: Option<AwsAuth>| AwsSecretsManager {
        region: "us-east-1".into(),
        endpoint: endpoint.map(str::to_owned),
        auth,
        ..AwsSecretsManager::default()
    };
    let in_secret =
        AwsAuth { secret: Some(AwsKeys { name: "aws".into(), ..AwsKeys::default() }), ..AwsAuth::default() };
    for (spec, expected) in [
        (aws(None, None), ErrorKind::InvalidConfig),
        (aws(Some("https://elsewhere.example.com"), Some(in_secret.clone())), ErrorKind::EndpointNotAllowed),
        // The Secret cannot be read from an API server that is not there.
        (aws(None, Some(in_secret.clone())), ErrorKind::Unavailable),
    ] {
        let aws = Connection { aws_secrets_manager: Some(spec.clone()), ..Connection::default() };
        assert_eq!(refused(&aws, false).await.0, expected);
        let AwsSecretsManager { region, endpoint, auth, .. } = spec;
        let ssm = AwsSsm { region, endpoint, auth, ..AwsSsm::default() };
        let ssm = Connection { aws_ssm: Some(ssm), ..Connection::default() };
        assert_eq!(refused(&ssm, false).await.0, expected);
        let named = ssm.aws_ssm.as_ref().and_then(|ssm| ssm.auth.as_ref()).is_some();
        assert_eq!(dependencies(&ssm, false, "payments").credentials.len(), usize::from(named));
    }
}

#[tokio::test]
async fn a_region_of_aws_is_a_region_and_an_endpoint_is_allowed_in_each() {
    let keys = AwsKeys { name: "aws".into(), ..AwsKeys::default() };
    let auth = Some(AwsAuth { secret: Some(keys), ..AwsAuth::default() });
    let allowed = "vpce.{region}.example.com";
    for (region, replica, endpoint, expected, hint) in [
        ("us-east-1", "eu-west-1", None, ErrorKind::Unavailable, ""),
        ("evil.example.com/", "eu-west-1", None, ErrorKind::InvalidConfig, "awsSecretsManager.region names no region"),
        ("us-east-1", "eu.evil#", None, ErrorKind::InvalidConfig, "awsSecretsManager.replicaRegions names no region"),
        ("", "eu-west-1", None, ErrorKind::InvalidConfig, "awsSecretsManager.region names no region"),
        ("us-east-1", "eu-west-1", Some(allowed), ErrorKind::EndpointNotAllowed, "host vpce.us-east-1.example.com"),
    ] {
        let endpoint = endpoint.map(|host: &str| format!("https://{host}"));
        let spec = AwsSecretsManager {
            region: region.into(),
            endpoint,
            replica_regions: vec![replica.into()],
            auth: auth.clone(),
            ..AwsSecretsManager::default()
        };
        let manager = Connection { aws_secrets_manager: Some(spec), ..Connection::default() };
        let (kind, message) = refused(&manager, false).await;
        assert!(kind == expected && message.contains(hint), "{region} {replica}: {message}");
    }
    let spec = AwsSsm { region: "evil.example.com/".into(), auth, ..AwsSsm::default() };
    let parameters = Connection { aws_ssm: Some(spec), ..Connection::default() };
    assert_eq!(refused(&parameters, false).await.0, ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn a_store_of_azure_needs_a_vault_that_is_allowed_and_watches_the_secret_of_its_login() {
    let client_secret = SecretKey { secret: "azure".into(), key: "secret".into() };
    let login = AzureClientSecret { tenant_id: "t".into(), client_id: "c".into(), client_secret };
    let login = AzureAuth { client_secret: Some(login), ..AzureAuth::default() };
    let vault = "https://mine.vault.azure.net";
    for (url, auth, expected) in [
        ("", Some(login.clone()), ErrorKind::InvalidConfig),
        (vault, None, ErrorKind::InvalidConfig),
        (vault, Some(AzureAuth::default()), ErrorKind::InvalidConfig),
        ("https://elsewhere.example.com", Some(login.clone()), ErrorKind::EndpointNotAllowed),
        // The Secret cannot be read from an API server that is not there.
        (vault, Some(login), ErrorKind::Unavailable),
    ] {
        let watched = auth.as_ref().is_some_and(|auth| auth.client_secret.is_some());
        let spec = AzureKeyVault { vault_url: url.into(), auth };
        let azure = Connection { azure_key_vault: Some(spec), ..Connection::default() };
        assert_eq!(refused(&azure, false).await.0, expected, "{url}");
        assert_eq!(super::kind(&azure, false), Some("azureKeyVault"));
        let secret = Watched::Secret { namespace: "payments".into(), name: "azure".into() };
        let expected =
            Dependencies { sources: BTreeSet::new(), credentials: watched.then_some(secret).into_iter().collect() };
        assert_eq!(dependencies(&azure, false, "payments"), expected);
    }
}

#[tokio::test]
async fn what_a_store_depends_on_is_known_before_it_is_connected() {
    let secret = |name: &str| Watched::Secret { namespace: "payments".into(), name: name.into() };
    let config_map = |name: &str| Watched::ConfigMap { namespace: "payments".into(), name: name.into() };
    let of_sops = dependencies(&with_sops(sops()), false, "payments");
    assert_eq!(of_sops.sources, BTreeSet::from([config_map("files")]));
    assert_eq!(of_sops.credentials, BTreeSet::from([secret("age")]));
    let source = SopsSource { config_maps: Vec::new(), secrets: vec!["a".into(), "b".into()] };
    let of_secrets = dependencies(&with_sops(store::Sops { source, age: None, ..sops() }), false, "payments");
    assert_eq!(of_secrets.sources, BTreeSet::from([secret("a"), secret("b")]));
    assert!(of_secrets.credentials.is_empty());

    let connected = try_connect(&Connection::default(), true, of_store()).await.map_err(drop).unwrap();
    assert_eq!(connected.kind, "kubernetes");
    assert_eq!(connected.sources, BTreeSet::from([Watched::ValueSecrets { namespace: "payments".into() }]));
    assert!(connected.credentials.is_empty() && connected.recipients.is_empty());
}

#[tokio::test]
async fn identities_that_are_given_ask_the_cluster_for_nothing() {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let text = SecretValue::from(identity.to_string().expose_secret().to_owned());
    let given = Credentials::OfUser(UserCredentials {
        age: vec![("SOPS_AGE_KEY".to_owned(), text)],
        ..UserCredentials::default()
    });
    let connected = try_connect(&with_sops(sops()), false, given).await.map_err(drop).unwrap();
    assert_eq!(connected.recipients, [identity.to_public().to_string()]);

    let broken = Credentials::OfUser(UserCredentials {
        age: vec![("SOPS_AGE_KEY".to_owned(), SecretValue::from("nonsense".to_owned()))],
        ..UserCredentials::default()
    });
    let error = try_connect(&with_sops(sops()), false, broken).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert!(error.message.contains("SOPS_AGE_KEY") && !error.message.contains("nonsense"), "{}", error.message);

    // Whereas the Store's own keys cannot be read from a server that is not there.
    let error = try_connect(&with_sops(sops()), false, of_store()).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}
