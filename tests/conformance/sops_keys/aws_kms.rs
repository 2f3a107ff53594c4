//! Files under keys of AWS KMS, on moto.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::store::{AwsAuth, AwsKeys, Encoding, Sops, SopsAwsKms};
use atmos_secrets::backend::ErrorKind;
use atmos_secrets::backend::connect::Connected;
use atmos_secrets::backend::credentials::Surroundings;
use atmos_secrets::backend::network::Network;
use atmos_secrets::backend::sops::Keyring;
use atmos_secrets::sops::{AwsKmsKey, Recipient};
use e2e::tools::{self, Tool};
use e2e::{Fault, FaultProxy, Matching};
use serde_json::json;
use tokio::process::Command;

use super::{FILE, assert_sops_reads, connected, encrypted, network, ours, publish, read, sops, source, variables};
use crate::aws::{self, Aws, REGION, refusal, target};
use crate::log;
use crate::suite::CANARY;

/// moto behind a proxy that counts, with one key.
pub struct Kms {
    pub aws: Aws,
    proxy: FaultProxy,
    pub arn: String,
}

impl Kms {
    pub async fn new(prefix: &str) -> Self {
        let aws = Aws::new(prefix).await;
        let proxy = FaultProxy::to_http(aws.moto.url()).await.unwrap();
        let created = aws::call(aws.moto.url(), REGION, "kms", "TrentService.CreateKey", json!({})).await.unwrap();
        let arn = created["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
        Self { aws, proxy, arn }
    }

    pub fn variables(&self) -> BTreeMap<String, String> {
        variables(&[
            ("AWS_ENDPOINT_URL", self.aws.moto.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ])
    }

    pub fn spec() -> SopsAwsKms {
        let keys = AwsKeys { name: "aws".into(), ..AwsKeys::default() };
        SopsAwsKms { auth: Some(AwsAuth { secret: Some(keys), ..AwsAuth::default() }) }
    }

    pub fn network(&self) -> Network {
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
