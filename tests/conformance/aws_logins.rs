//! Logins to AWS: keys in Secrets, roles and web identities, with the STS and IAM of moto and tokens of a real API server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atmos_secrets::api::store::{
    Ambient, AssumeRole, AwsAuth, AwsKeys, AwsSecretsManager as Spec, Encoding, ServiceAccountToken,
};
use atmos_secrets::backend::aws_secrets_manager::{self, AwsSecretsManager};
use atmos_secrets::backend::credentials::{Credentials, Surroundings, UserCredentials};
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key};
use e2e::{Fault, Matching, Moto};
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::aws::{self, Aws, REGION, auth, refusal, role};
use crate::kubernetes::base64;
use crate::log;
use crate::suite::CANARY;

const NAME: &str = "app/K";

fn spec(aws: &Aws, auth: AwsAuth) -> Spec {
    Spec { region: REGION.into(), endpoint: Some(aws.proxy.url()), auth: Some(auth), ..Spec::default() }
}

async fn try_connect(aws: &Aws, auth: AwsAuth, around: &Surroundings) -> Result<AwsSecretsManager, Error> {
    aws_secrets_manager::connect(&spec(aws, auth), around).await
}

async fn connect(aws: &Aws, auth: AwsAuth) -> AwsSecretsManager {
    try_connect(aws, auth, &aws.around(Encoding::Atmos)).await.map_err(|error| error.message).unwrap()
}

async fn read(backend: &AwsSecretsManager) -> Result<(), Error> {
    let found = backend.read(&[Key::current(NAME)]).await.remove(0)?;
    assert!(found.value.equals(CANARY.as_bytes()));
    Ok(())
}

async fn store(aws: &Aws) {
    let create = json!({"Name": NAME, "SecretString": CANARY});
    // Another test may have been first.
    let _ = aws.call("secretsmanager.CreateSecret", create).await;
}

/// A role that `trusted` may assume under `condition`, and that may do `actions`.
async fn make_role(moto: &Moto, name: &str, trusted: &str, condition: Value, actions: &[&str]) {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole"],
        "Principal": {"AWS": trusted}, "Condition": condition}]});
    let trust = trust.to_string();
    let fields = [("Action", "CreateRole"), ("RoleName", name), ("AssumeRolePolicyDocument", trust.as_str())];
    aws::iam(moto, &fields).await;
    let policy =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]});
    let policy = policy.to_string();
    let fields = [("Action", "PutRolePolicy"), ("RoleName", name), ("PolicyName", "p"), ("PolicyDocument", &policy)];
    aws::iam(moto, &fields).await;
}

/// What STS is asked, passed on to moto.
async fn recording_sts(moto: &Moto) -> (Arc<Mutex<Vec<String>>>, String) {
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let (kept, upstream) = (Arc::clone(&bodies), moto.url().to_owned());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(move |headers: axum::http::HeaderMap, body: String| {
        kept.lock().unwrap().push(percent_encoding::percent_decode_str(&body).decode_utf8_lossy().into_owned());
        // All that is signed, the host among it.
        let request = reqwest::Client::new().post(&upstream).headers(headers).body(body);
        async move {
            let answer = request.send().await.unwrap();
            (axum::http::StatusCode::from_u16(answer.status().as_u16()).unwrap(), answer.text().await.unwrap())
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (bodies, url)
}

fn with_sts(aws: &Aws, url: &str) -> Surroundings {
    use atmos_secrets::backend::network::{Network, Settings};
    let services = vec![format!("aws-sts={url}").parse().unwrap()];
    let network = Network::new(Settings { loopback: true, services, ..Settings::default() }).unwrap();
    Surroundings { network, ..aws.around(Encoding::Atmos) }
}

#[tokio::test]
async fn keys_come_from_the_secret_that_the_store_names() {
    log::watch();
    let aws = Aws::new("aws-keys").await;
    store(&aws).await;
    let named = |name: &str, keys: [&str; 3]| {
        let [id, key, token] = keys.map(|key| Some(key.to_owned()).filter(|key| !key.is_empty()));
        let secret =
            AwsKeys { name: name.into(), access_key_id_key: id, secret_access_key_key: key, session_token_key: token };
        AwsAuth { secret: Some(secret), ..AwsAuth::default() }
    };
    let data = json!({"id": base64(b"AKIAIOSFODNN7EXAMPLE"), "key": base64(b"k"), "token": base64(b"the-token"),
        "empty": base64(b" \n"), "text": base64(format!("${{{CANARY}}}").as_bytes()), "bytes": base64(&[0xff])});
    aws.cluster.patch_secret("named", &json!({"data": data})).await;
    let around = aws.around(Encoding::Atmos);
    for (auth, expected) in [
        (named("none", ["", "", ""]), ErrorKind::SourceNotFound),
        (named("named", ["", "", ""]), ErrorKind::SourceNotFound),
        (named("named", ["id", "none", ""]), ErrorKind::SourceNotFound),
        (named("named", ["id", "empty", ""]), ErrorKind::Unauthenticated),
        (named("named", ["id", "text", ""]), ErrorKind::Unauthenticated),
        (named("named", ["id", "bytes", ""]), ErrorKind::Unauthenticated),
        (named("named", ["id", "key", "none"]), ErrorKind::SourceNotFound),
        (AwsAuth::default(), ErrorKind::InvalidConfig),
        (AwsAuth { ambient: Some(Ambient {}), ..AwsAuth::default() }, ErrorKind::InvalidConfig),
        (AwsAuth { ambient: Some(Ambient {}), ..auth("aws") }, ErrorKind::InvalidConfig),
    ] {
        let error = try_connect(&aws, auth.clone(), &around).await.err().unwrap();
        assert_eq!(error.kind, expected, "{auth:?}: {error}");
        assert!(!error.message.contains(CANARY), "{error}");
    }
    let signed = aws.proxy.inject(
        Fault::Delay(Duration::ZERO),
        Matching::any()
            .header(http::HeaderName::from_static("x-amz-security-token"), "the-token")
            .header(AUTHORIZATION, "Credential=AKIAIOSFODNN7EXAMPLE/"),
    );
    read(&connect(&aws, named("named", ["id", "key", "token"])).await).await.unwrap();
    assert_eq!(signed.hits(), 1);
    // Nothing can be renewed about keys: a refusal is one call.
    let refused = aws.proxy.inject(refusal(400, "ExpiredTokenException"), Matching::any());
    let error = read(&connect(&aws, auth("aws")).await).await.unwrap_err();
    assert_eq!((error.kind, refused.hits()), (ErrorKind::Unauthenticated, 1));
    log::assert_clean();
}

/// With IAM checked by moto: only the last role of the chain may read.
#[tokio::test]
async fn roles_are_assumed_one_after_the_other() {
    log::watch();
    let aws = Aws::of_its_own("aws-roles").await;
    store(&aws).await;
    let (id, key) = aws::user(aws.moto, "app", &["sts:AssumeRole"]).await;
    aws.set_keys("app", &id, &key).await;
    let reading = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"];
    let (user, session) = ("arn:aws:iam::123456789012:user/app", format!("{}-app", aws.cluster.namespace));
    make_role(aws.moto, "first", user, json!({}), &["sts:AssumeRole"]).await;
    let session = format!("arn:aws:sts::123456789012:assumed-role/first/{session}");
    let external = json!({"StringEquals": {"sts:ExternalId": "customer-7"}});
    make_role(aws.moto, "second", &session, external, &reading).await;
    make_role(aws.moto, "closed", "arn:aws:iam::123456789012:user/somebody-else", json!({}), &reading).await;
    aws.moto.check_rights().await.unwrap();

    let error = read(&connect(&aws, auth("app")).await).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);

    let (bodies, url) = recording_sts(aws.moto).await;
    let around = with_sts(&aws, &url);
    let second = AssumeRole { external_id: Some("customer-7".into()), ..role("second") };
    let chain = AwsAuth { assume_role: vec![role("first"), second], ..auth("app") };
    let backend = try_connect(&aws, chain, &around).await.unwrap();
    let reads = futures::future::join_all((0..8).map(|_| read(&backend))).await;
    for result in reads {
        result.map_err(|error| error.message).unwrap();
    }
    let asked = bodies.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "one login: {asked:?}");
    let session = format!("RoleSessionName={}-app", aws.cluster.namespace);
    assert!(asked[0].contains("role/first") && asked[0].contains(&session), "{}", asked[0]);
    assert!(asked[1].contains("role/second") && asked[1].contains("ExternalId=customer-7"), "{}", asked[1]);

    let wrong = AssumeRole { external_id: Some("customer-8".into()), ..role("second") };
    let chain = AwsAuth { assume_role: vec![role("first"), wrong], ..auth("app") };
    let error = read(&try_connect(&aws, chain, &around).await.unwrap()).await.unwrap_err();
    assert!(error.message.contains("role/second: its trust policy"), "{error}");
    assert_eq!(bodies.lock().unwrap().len(), 4);

    let named = AssumeRole { session_name: Some("somebody".into()), ..role("closed") };
    let closed = AwsAuth { assume_role: vec![named], ..auth("app") };
    let backend = try_connect(&aws, closed, &around).await.unwrap();
    let error = read(&backend).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error}");
    assert!(error.message.contains("role/closed: its trust policy"), "{error}");
    assert_eq!(bodies.lock().unwrap().len(), 5, "no storm");
    assert!(bodies.lock().unwrap()[4].contains("RoleSessionName=somebody"));
    log::assert_clean();
}

#[tokio::test]
async fn a_service_account_is_a_web_identity() {
    log::watch();
    let aws = Aws::new("aws-web-identity").await;
    store(&aws).await;
    let namespace = &aws.cluster.namespace;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}});
    aws.cluster.control_plane.apply_yaml(&account.to_string()).await.unwrap();
    let (bodies, url) = recording_sts(aws.moto).await;
    let around = with_sts(&aws, &url);
    let account = |name: &str, audience: Option<&str>| AwsAuth {
        service_account: Some(ServiceAccountToken { name: name.into(), audience: audience.map(str::to_owned) }),
        assume_role: vec![role("web")],
        ..AwsAuth::default()
    };
    let backend = try_connect(&aws, account("reader", None), &around).await.unwrap();
    read(&backend).await.map_err(|error| error.message).unwrap();
    let asked = bodies.lock().unwrap().remove(0);
    assert!(asked.contains("Action=AssumeRoleWithWebIdentity") && asked.contains("role/web"), "{asked}");
    let token = asked.split('&').find_map(|field| field.strip_prefix("WebIdentityToken=")).unwrap();
    assert!(claims(token).contains(r#""aud":["sts.amazonaws.com"]"#), "{}", claims(token));
    assert!(claims(token).contains(&format!("system:serviceaccount:{namespace}:reader")));

    let none = AwsAuth { assume_role: Vec::new(), ..account("reader", None) };
    let external = AssumeRole { external_id: Some("x1".into()), ..role("web") };
    let external = AwsAuth { assume_role: vec![external], ..account("reader", None) };
    for auth in [none, external] {
        assert_eq!(try_connect(&aws, auth, &around).await.err().unwrap().kind, ErrorKind::InvalidConfig);
    }
    for (auth, expected) in [
        (account("nobody", None), ErrorKind::SourceNotFound),
        (account("reader", Some("https://kubernetes.default.svc")), ErrorKind::InvalidConfig),
    ] {
        let backend = try_connect(&aws, auth, &around).await.unwrap();
        assert_eq!(read(&backend).await.unwrap_err().kind, expected);
    }
    assert!(bodies.lock().unwrap().is_empty(), "no token left the cluster");
    log::assert_clean();
}

fn claims(token: &str) -> String {
    use base64::Engine as _;
    let middle = token.split('.').nth(1).unwrap();
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(middle).unwrap();
    String::from_utf8(decoded).unwrap()
}

#[tokio::test]
async fn an_expired_login_is_renewed_once_and_a_refused_one_does_not_storm() {
    log::watch();
    let aws = Aws::new("aws-renewal").await;
    store(&aws).await;
    let logins = aws.sts.inject(Fault::Delay(Duration::ZERO), Matching::any());
    let backend = connect(&aws, AwsAuth { assume_role: vec![role("app")], ..auth("aws") }).await;
    read(&backend).await.unwrap();
    assert_eq!(logins.hits(), 1);
    // AWS refuses what it gave: all who are refused share one new login, and their calls are made again.
    let expired = aws.proxy.inject(refusal(400, "ExpiredTokenException"), Matching::any().times(8));
    for result in futures::future::join_all((0..8).map(|_| read(&backend))).await {
        result.map_err(|error| error.message).unwrap();
    }
    assert_eq!((expired.hits(), logins.hits()), (8, 2));
    let refused = aws.proxy.inject(refusal(400, "UnrecognizedClientException"), Matching::any());
    for _ in 0..5 {
        assert_eq!(read(&backend).await.unwrap_err().kind, ErrorKind::Unauthenticated);
    }
    assert_eq!(logins.hits(), 2, "refused again so soon, it is not the login");
    assert_eq!(refused.hits(), 5);
    log::assert_clean();
}

#[tokio::test]
async fn a_login_that_fails_has_its_kind_and_is_no_denied_batch() {
    log::watch();
    let aws = Aws::new("aws-sts").await;
    store(&aws).await;
    let xml = |code: u16, word: &str| {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{word}</Code><Message>{CANARY}</Message></Error></ErrorResponse>"
        );
        Fault::Answer { code, retry_after: None, body: Some(body) }
    };
    for (fault, expected) in [
        (xml(403, "AccessDenied"), ErrorKind::Unauthenticated),
        (xml(400, "InvalidIdentityToken"), ErrorKind::Unauthenticated),
        (xml(403, "InvalidClientTokenId"), ErrorKind::Unauthenticated),
        (xml(400, "ExpiredToken"), ErrorKind::Unauthenticated),
        (xml(400, "ValidationError"), ErrorKind::InvalidConfig),
        (xml(403, "RegionDisabledException"), ErrorKind::InvalidConfig),
        (xml(400, "Throttling"), ErrorKind::RateLimited),
        (xml(500, "InternalFailure"), ErrorKind::Unavailable),
        (xml(400, "IDPCommunicationError"), ErrorKind::Unavailable),
        (xml(200, "x"), ErrorKind::Unexpected),
        (Fault::Cut { after_bytes: 0 }, ErrorKind::Unavailable),
    ] {
        aws.sts.clear();
        let failed = aws.sts.inject(fault.clone(), Matching::any());
        let backend = connect(&aws, AwsAuth { assume_role: vec![role("app")], ..auth("aws") }).await;
        let error = read(&backend).await.unwrap_err();
        assert_eq!(error.kind, expected, "{fault:?}: {error}");
        assert_eq!(failed.hits(), 1, "{fault:?}");
        assert!(error.message.contains("role/app") || error.message.contains("127.0.0.1"), "{error}");
    }
    log::assert_clean();
}

/// A person's credentials are found by AWS's own chain; the Secret that the Store names is not touched.
#[tokio::test]
async fn a_person_needs_no_secret_of_the_store() {
    let aws = Aws::new("aws-user").await;
    let around = aws.around(Encoding::Atmos);
    let around = Surroundings { credentials: Credentials::OfUser(UserCredentials::default()), ..around };
    assert!(try_connect(&aws, auth("no-such-secret"), &around).await.is_ok());
}
