//! Stores of AWS behind the real operator: what arrives, what each failure is called, and how often AWS is asked.

use std::sync::Arc;
use std::time::Duration;

use atmos_secrets::api::status::{READY, ROTATION_OVERDUE, SecretState};
use atmos_secrets::api::{Reason, StackStatus};
use e2e::{Fault, FaultProxy, Matching, Moto};
use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{Cluster, Grant, Operator, Options, Tenant, condition, expect_round, secret};

/// A cluster whose operator may connect to this machine, and logs in to AWS there.
pub async fn cluster(sts: &str) -> anyhow::Result<Arc<Cluster>> {
    let cluster = Cluster::start().await?;
    let arguments = ["--allow-loopback-endpoints", "--service-endpoint", &format!("aws-sts={sts}")].map(str::to_owned);
    Operator::start(&cluster, Options { arguments: arguments.into(), ..Options::default() }).await?;
    Ok(cluster)
}

/// A tenant with the credentials of an AWS, and a proxy in front of that.
pub struct Aws {
    pub tenant: Tenant,
    pub proxy: FaultProxy,
}

impl Aws {
    /// One that shares its cluster and its operator with the other tests here.
    async fn new() -> anyhow::Result<Self> {
        static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        let moto = Moto::shared().await?;
        let cluster = SHARED.get_or_try_init(|| cluster(moto.url())).await?;
        Self::on(cluster).await
    }

    pub async fn on(cluster: &Arc<Cluster>) -> anyhow::Result<Self> {
        let tenant = Tenant::on(cluster, Grant::Full).await?;
        let aws = Self { tenant, proxy: FaultProxy::to_http(Moto::shared().await?.url()).await? };
        aws.set_keys("AKIAIOSFODNN7EXAMPLE").await?;
        Ok(aws)
    }

    async fn set_keys(&self, id: &str) -> anyhow::Result<()> {
        let key = self.tenant.plain_canary();
        let keys = [("accessKeyId", id), ("secretAccessKey", key.as_str())];
        self.tenant.apply_secret("aws", json!({}), "Opaque", &keys).await
    }

    /// Writes the Store `name` of this kind; `more` are further fields of the kind.
    async fn store(&self, name: &str, kind: &str, more: &str) -> anyhow::Result<()> {
        let (prefix, url) = (self.prefix(kind), self.proxy.url());
        let auth = "secret: {name: aws}";
        let kind = format!("{kind}: {{region: us-east-1, endpoint: '{url}', auth: {{{auth}{more}}}}}");
        self.tenant.store(name, &format!("{{prefix: {prefix}, minRefreshInterval: 10s, {kind}}}")).await
    }

    pub fn prefix(&self, kind: &str) -> String {
        let start = if kind == "awsSsm" { "/" } else { "" };
        format!("{start}{}", self.tenant.namespace)
    }

    /// Stores a value as Atmos does.
    pub async fn put(&self, kind: &str, key: &str, text: &str) -> anyhow::Result<()> {
        let name = format!("{}/{key}", self.prefix(kind));
        if kind == "awsSsm" {
            let body = json!({"Name": name, "Value": text, "Type": "SecureString", "Overwrite": true});
            return self.call("AmazonSSM.PutParameter", body).await.map(drop);
        }
        let literal = json!(text).to_string();
        let put = self.call("secretsmanager.PutSecretValue", json!({"SecretId": name, "SecretString": literal})).await;
        match put {
            Ok(_) => Ok(()),
            Err(_) => {
                let body = json!({"Name": name, "SecretString": literal});
                self.call("secretsmanager.CreateSecret", body).await.map(drop)
            }
        }
    }

    async fn call(&self, operation: &str, body: Value) -> anyhow::Result<Value> {
        let service = if operation.starts_with("AmazonSSM") { "ssm" } else { "secretsmanager" };
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential=behind/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = reqwest::Client::new().post(Moto::shared().await?.url()).header(AUTHORIZATION, credential);
        let request = request.header("content-type", "application/x-amz-json-1.1").header(target(), operation);
        let answer = request.body(body.to_string()).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{operation}: {}", answer.text().await?);
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    fn count(&self, part: &str) -> e2e::fault_proxy::Injected {
        self.proxy.inject(Fault::Delay(Duration::ZERO), Matching::any().header(target(), part))
    }
}

fn target() -> HeaderName {
    HeaderName::from_static("x-amz-target")
}

fn refusal(word: &str) -> Fault {
    Fault::Answer { code: 400, retry_after: None, body: Some(json!({"__type": word, "message": "x"}).to_string()) }
}

fn state(status: &StackStatus, name: &str) -> (SecretState, Option<Reason>) {
    let entry = status.secrets.iter().find(|entry| entry.name == name).unwrap();
    (entry.state, entry.reason)
}

const ORDERS: &str = "
    defaultStore: app
    refreshInterval: 10s
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
";

#[tokio::test]
async fn values_of_every_scope_and_version_arrive_and_change() -> anyhow::Result<()> {
    for (kind, previous) in [("awsSecretsManager", "AWSPREVIOUS"), ("awsSsm", "\"1\"")] {
        let aws = Aws::new().await?;
        let tenant = &aws.tenant;
        let [old, own, stack, global, late, next] = [(); 6].map(|()| tenant.canary());
        for (key, value) in [
            ("plat/prod/orders-db/DB_PASSWORD", &old),
            ("plat/prod/orders-db/DB_PASSWORD", &own),
            ("plat/prod/API_KEY", &stack),
            ("ROOT_CA", &global),
        ] {
            aws.put(kind, key, value).await?;
        }
        aws.store("app", kind, "").await?;
        let spec = format!(
            "
            name: plat-prod
            defaultStore: app
            refreshInterval: 10s
            secrets: {{vars: {{API_KEY: {{required: true}}, ROOT_CA: {{scope: global}}}}}}
            components:
              terraform:
                orders-db:
                  secrets:
                    vars:
                      DB_PASSWORD: {{required: true}}
                      BEFORE: {{reference: DB_PASSWORD, version: {previous}}}
                      NEVER: {{reference: DB_PASSWORD, version: none-such}}
                      LATE: {{}}
            "
        );
        tenant.stack("prod", &spec).await?;
        let status = tenant.wait_ready("prod").await?;
        let mut data = vec![("API_KEY", &*stack), ("BEFORE", &old), ("DB_PASSWORD", &own), ("ROOT_CA", &global)];
        tenant.wait_secret("prod-orders-db", secret(&data)).await?;
        assert_eq!(state(&status, "LATE"), (SecretState::Missing, Some(Reason::ValueMissing)), "{kind}");
        assert_eq!(state(&status, "NEVER"), (SecretState::Missing, Some(Reason::VersionMissing)), "{kind}");

        // What appears and what changes is found by the tick.
        aws.put(kind, "plat/prod/orders-db/LATE", &late).await?;
        aws.put(kind, "plat/prod/API_KEY", &next).await?;
        data[0].1 = &next;
        data.push(("LATE", &late));
        tenant.wait_secret("prod-orders-db", secret(&data)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_failure_has_its_reason_and_leaves_the_last_good_secret() -> anyhow::Result<()> {
    for kind in ["awsSecretsManager", "awsSsm"] {
        let aws = Aws::new().await?;
        let tenant = &aws.tenant;
        let (value, next) = (tenant.canary(), tenant.canary());
        aws.put(kind, "prod/orders-db/DB_PASSWORD", &value).await?;
        aws.store("app", kind, "").await?;
        tenant.stack("prod", ORDERS).await?;
        tenant.wait_ready("prod").await?;
        for (fault, reason) in [
            (refusal("AccessDeniedException"), Reason::AccessDenied),
            (refusal("UnrecognizedClientException"), Reason::AuthFailed),
        ] {
            let injected = aws.proxy.inject(fault, Matching::any());
            let status = tenant.wait_reason("prod", reason).await?;
            assert_eq!(state(&status, "DB_PASSWORD"), (SecretState::Error, Some(reason)), "{kind}");
            assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &value)]));
            injected.remove();
            tenant.wait_ready("prod").await?;
        }
        // What passes turns the Store and not its Stacks.
        for (fault, reason) in
            [(refusal("ThrottlingException"), Reason::Throttled), (Fault::answer(503), Reason::Unreachable)]
        {
            let injected = aws.proxy.inject(fault, Matching::any());
            tenant.wait_store("app", reason).await?;
            let ready = tenant.stacks().get("prod").await?.status.unwrap();
            assert_eq!(condition(&ready, READY).unwrap().status, "True", "{kind} {reason}");
            injected.remove();
            tenant.wait_store("app", Reason::Connected).await?;
        }
        aws.put(kind, "prod/orders-db/DB_PASSWORD", &next).await?;
        tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &next)])).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_service_rotates_stands_in_the_status() -> anyhow::Result<()> {
    let aws = Aws::new().await?;
    let tenant = &aws.tenant;
    aws.put("awsSecretsManager", "prod/orders-db/DB_PASSWORD", &tenant.canary()).await?;
    let name = format!("{}/prod/orders-db/DB_PASSWORD", aws.prefix("awsSecretsManager"));
    let rules = json!({"SecretId": name, "RotationRules": {"AutomaticallyAfterDays": 30}});
    aws.call("secretsmanager.RotateSecret", rules).await?;
    // moto has no function that would make a value for the version that it just made.
    aws.put("awsSecretsManager", "prod/orders-db/DB_PASSWORD", &tenant.canary()).await?;
    aws.store("app", "awsSecretsManager", "").await?;
    tenant.stack("prod", ORDERS).await?;
    let rotates = |status: &StackStatus| status.secrets.iter().any(|entry| entry.rotation.is_some());
    let status = tenant.wait_status("prod", "what AWS says of the rotation", rotates).await?;
    let rotation = status.secrets[0].rotation.clone().unwrap();
    assert!(rotation.next.is_some() && !rotation.overdue, "{rotation:?}");
    assert!(condition(&status, ROTATION_OVERDUE).is_none());
    Ok(())
}

#[tokio::test]
async fn corrected_credentials_take_effect_without_a_restart() -> anyhow::Result<()> {
    let aws = Aws::new().await?;
    let tenant = &aws.tenant;
    let value = tenant.canary();
    aws.put("awsSecretsManager", "prod/orders-db/DB_PASSWORD", &value).await?;
    tenant.delete("Secret", "aws").await?;
    let unknown = Matching::any().header(AUTHORIZATION, "Credential=AKIAREVOKED/");
    aws.proxy.inject(refusal("UnrecognizedClientException"), unknown);
    aws.store("app", "awsSecretsManager", "").await?;
    tenant.stack("prod", ORDERS).await?;
    let status = tenant.wait_reason("prod", Reason::SourceNotFound).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains(&format!("there is no Secret {}/aws", tenant.namespace)), "{message}");
    aws.set_keys("AKIAREVOKED").await?;
    tenant.wait_reason("prod", Reason::AuthFailed).await?;
    aws.set_keys("AKIAIOSFODNN7EXAMPLE").await?;
    tenant.wait_ready("prod").await?;
    tenant.wait_secret("prod-orders-db", secret(&[("DB_PASSWORD", &value)])).await
}

#[tokio::test]
async fn an_endpoint_outside_the_allow_list_is_never_asked() -> anyhow::Result<()> {
    let aws = Aws::new().await?;
    for endpoint in
        ["https://169.254.169.254", "https://elsewhere.example.com", "https://[::ffff:169.254.169.254]:8443"]
    {
        let kind = format!("awsSsm: {{region: us-east-1, endpoint: '{endpoint}', auth: {{secret: {{name: aws}}}}}}");
        aws.tenant.store("app", &format!("{{prefix: /x, {kind}}}")).await?;
        aws.tenant.stack("prod", ORDERS).await?;
        aws.tenant.wait_reason("prod", Reason::EndpointNotAllowed).await?;
    }
    Ok(())
}

/// D distinct keys are ⌈D/20⌉ and ⌈D/10⌉ calls, however many Stacks want them, with one login for each store.
#[tokio::test]
async fn calls_and_logins_are_as_few_as_can_be() -> anyhow::Result<()> {
    const KEYS: usize = 41;
    let sts = FaultProxy::to_http(Moto::shared().await?.url()).await?;
    let logins = sts.inject(Fault::Delay(Duration::ZERO), Matching::any());
    let cluster = cluster(&sts.url()).await?;
    for (kind, operation, batch, before) in
        [("awsSecretsManager", "BatchGetSecretValue", 20, 0), ("awsSsm", "GetParameters", 10, 2)]
    {
        let aws = Aws::on(&cluster).await?;
        let tenant = &aws.tenant;
        let value = tenant.canary();
        let names: Vec<String> = (0..KEYS).map(|number| format!("K{number}")).collect();
        for name in &names {
            aws.put(kind, &format!("prod/{name}"), &value).await?;
        }
        // All Stacks carry one Atmos name, so that they share the stack's secrets.
        let vars: Vec<String> = names.iter().map(|name| format!("{name}: {{}}")).collect();
        let spec = format!(
            "{{name: prod, defaultStore: app, refreshInterval: 10s, secrets: {{vars: {{{}}}}}, components: {{terraform: {{db: {{}}}}}}}}",
            vars.join(", ")
        );
        for stack in ["one", "two", "three"] {
            tenant.stack(stack, &spec).await?;
        }
        let role = ", assumeRole: [{roleArn: 'arn:aws:iam::123456789012:role/reader'}]";
        aws.store("app", kind, role).await?;
        for stack in ["one", "two", "three"] {
            tenant.wait_ready(stack).await?;
        }
        assert_eq!(logins.hits(), before + 1, "{kind}: one login for all");
        let reads = aws.count(operation);
        expect_round(&[KEYS.div_ceil(batch)], async || Ok(vec![reads.hits()])).await?;

        // The session ends at AWS: one new login, and nobody notices.
        reads.remove();
        let expired = aws.proxy.inject(refusal("ExpiredTokenException"), Matching::any().times(1));
        e2e::wait_until("the session's end", Duration::from_secs(60), async || match (expired.hits(), logins.hits()) {
            (1, logins) if logins == before + 2 => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await?;
        let next = tenant.canary();
        aws.put(kind, "prod/K7", &next).await?;
        let data: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), if name == "K7" { &*next } else { &*value })).collect();
        for stack in ["one", "two", "three"] {
            tenant.wait_secret(&format!("{stack}-db"), secret(&data)).await?;
        }
        assert_eq!(logins.hits(), before + 2, "{kind}");
        tenant.delete("Store", "app").await?;
    }
    Ok(())
}
