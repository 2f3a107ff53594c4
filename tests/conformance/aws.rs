//! What the tests of both AWS stores share: moto behind a proxy that counts and breaks, and its API without any SDK.

use std::time::Duration;

use atmos_secrets::api::store::{AssumeRole, AwsAuth, AwsKeys, Encoding};
use atmos_secrets::backend::ErrorKind;
use atmos_secrets::backend::credentials::Surroundings;
use atmos_secrets::backend::network::{Network, Settings};
use e2e::{Fault, FaultProxy, Matching, Moto};
use http::HeaderName;
use serde_json::{Value, json};

use crate::kubernetes::{Cluster, base64};
use crate::suite;

pub const REGION: &str = "us-east-1";

/// Which operation of a JSON service is called.
pub fn target() -> HeaderName {
    HeaderName::from_static("x-amz-target")
}

/// A namespace with credentials, and an AWS.
pub struct Aws {
    pub cluster: Cluster,
    pub moto: &'static Moto,
    /// In front of moto, as the store sees it.
    pub proxy: FaultProxy,
    /// In front of STS alone.
    pub sts: FaultProxy,
}

impl Aws {
    pub async fn new(prefix: &str) -> Self {
        Self::with(prefix, Moto::shared().await.expect("moto")).await
    }

    /// Like [`Self::new`], with an AWS that no other test uses.
    pub async fn of_its_own(prefix: &str) -> Self {
        // Ends with the process, like the one that all share.
        Self::with(prefix, Box::leak(Box::new(Moto::start().await.expect("moto")))).await
    }

    async fn with(prefix: &str, moto: &'static Moto) -> Self {
        let cluster = Cluster::new(prefix).await;
        let aws = Self {
            cluster,
            moto,
            proxy: FaultProxy::to_http(moto.url()).await.unwrap(),
            sts: FaultProxy::to_http(moto.url()).await.unwrap(),
        };
        aws.set_keys("aws", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG").await;
        aws
    }

    /// Puts keys into a Secret, one with a line feed at its end as files have it.
    pub async fn set_keys(&self, secret: &str, id: &str, key: &str) {
        let data =
            json!({"accessKeyId": base64(id.as_bytes()), "secretAccessKey": base64(format!("{key}\n").as_bytes())});
        self.cluster.patch_secret(secret, &json!({"data": data})).await;
    }

    /// What a driver is connected with.
    pub fn around(&self, encoding: Encoding) -> Surroundings {
        let settings = Settings {
            loopback: true,
            services: vec![format!("aws-sts={}", self.sts.url()).parse().unwrap()],
            ..Settings::default()
        };
        let network = Network::new(settings).unwrap();
        suite::surroundings(&self.cluster.objects, &self.cluster.namespace, suite::of_operator(), encoding, network)
    }

    /// Calls an operation of a JSON service of moto, behind everybody's back.
    pub async fn call(&self, operation: &str, body: Value) -> Result<Value, String> {
        let service = if operation.starts_with("AmazonSSM") { "ssm" } else { "secretsmanager" };
        call(self.moto.url(), REGION, service, operation, body).await
    }

    /// How often an operation was called since the last counter of the same or a wider part was made.
    pub fn count(&self, part: &str) -> e2e::fault_proxy::Injected {
        self.proxy.inject(Fault::Delay(Duration::ZERO), Matching::any().header(target(), part))
    }
}

/// As [`Aws::call`], in any region.
pub async fn call(url: &str, region: &str, service: &str, operation: &str, body: Value) -> Result<Value, String> {
    let credential = format!(
        "AWS4-HMAC-SHA256 Credential=behind/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let answer = reqwest::Client::new()
        .post(url)
        .header("authorization", credential)
        .header("content-type", "application/x-amz-json-1.1")
        .header(target(), operation)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_success() { Ok(value) } else { Err(value["__type"].as_str().unwrap_or(&text).to_owned()) }
}

/// Calls an operation of IAM, and returns the XML.
pub async fn iam(moto: &Moto, fields: &[(&str, &str)]) -> String {
    let credential =
        "AWS4-HMAC-SHA256 Credential=behind/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    let body = fields.chain(["Version=2010-05-08".to_owned()]).collect::<Vec<_>>().join("&");
    let answer = reqwest::Client::new()
        .post(moto.url())
        .header("authorization", credential)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{text}");
    text
}

/// Makes a user who may do `actions`, and returns a pair of keys.
pub async fn user(moto: &Moto, name: &str, actions: &[&str]) -> (String, String) {
    iam(moto, &[("Action", "CreateUser"), ("UserName", name)]).await;
    if !actions.is_empty() {
        let policy = json!({"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]});
        let policy = policy.to_string();
        let fields =
            [("Action", "PutUserPolicy"), ("UserName", name), ("PolicyName", "p"), ("PolicyDocument", policy.as_str())];
        iam(moto, &fields).await;
    }
    let answer = iam(moto, &[("Action", "CreateAccessKey"), ("UserName", name)]).await;
    let field = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    (field("AccessKeyId"), field("SecretAccessKey"))
}

pub fn auth(secret: &str) -> AwsAuth {
    AwsAuth { secret: Some(AwsKeys { name: secret.into(), ..AwsKeys::default() }), ..AwsAuth::default() }
}

pub fn role(name: &str) -> AssumeRole {
    AssumeRole { role_arn: format!("arn:aws:iam::123456789012:role/{name}"), ..AssumeRole::default() }
}

/// An error as the JSON services of AWS answer it.
pub fn refusal(code: u16, word: &str) -> Fault {
    // What it says may quote anything.
    let body = json!({"__type": word, "message": crate::suite::CANARY}).to_string();
    Fault::Answer { code, retry_after: None, body: Some(body) }
}

/// Everything that can be wrong with a service of AWS, and the kind that it is.
pub fn faults() -> Vec<(&'static str, Fault, ErrorKind)> {
    let text = |code: u16, body: &str| Fault::Answer { code, retry_after: None, body: Some(body.to_owned()) };
    vec![
        ("denied", refusal(400, "AccessDeniedException"), ErrorKind::PermissionDenied),
        ("an expired token", refusal(400, "ExpiredTokenException"), ErrorKind::Unauthenticated),
        ("an unknown key", refusal(400, "UnrecognizedClientException"), ErrorKind::Unauthenticated),
        ("a wrong signature", refusal(403, "InvalidSignatureException"), ErrorKind::Unauthenticated),
        ("throttled", refusal(400, "ThrottlingException"), ErrorKind::RateLimited),
        ("an answer 429", text(429, ""), ErrorKind::RateLimited),
        ("an internal failure", refusal(500, "InternalServiceError"), ErrorKind::Unavailable),
        ("an answer 502", text(502, "<html>bad gateway</html>"), ErrorKind::Unavailable),
        ("an answer 503", text(503, ""), ErrorKind::Unavailable),
        ("an answer 504", text(504, ""), ErrorKind::Timeout),
        ("an answer 403 from in front of the service", text(403, "<html>no</html>"), ErrorKind::PermissionDenied),
        ("a 404 that is not AWS's", text(404, "404 page not found"), ErrorKind::Unexpected),
        ("an answer that makes no sense", text(200, "[]"), ErrorKind::Unexpected),
        ("an answer that is empty", text(200, "{}"), ErrorKind::Unexpected),
        ("a connection that breaks", Fault::Cut { after_bytes: 0 }, ErrorKind::Unavailable),
    ]
}
