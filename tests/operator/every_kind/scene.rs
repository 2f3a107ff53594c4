//! Seven stores, and a Stack that wants forty values of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use e2e::{AzureApplication, AzureVault, Fault, FaultProxy, Gcp, Matching, Moto, Vault};
use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};

use crate::harness::{Cluster, Grant, Operator, Options, Tenant};
use crate::sops_files::{AgeKey, encrypt};

pub const COMPONENTS: [&str; 3] = ["orders-db", "orders-api", "billing"];
/// Values of each component in the two stores of the cluster; one in every other store.
const IN_CLUSTER: usize = 2;

const AZURE_TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const AZURE_CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const READER: &str = "reader@payments-prod.iam.gserviceaccount.com";

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    SecretsManager,
    Ssm,
    Vault,
    Azure,
    Google,
    Kubernetes,
    Sops,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::SecretsManager, Self::Ssm, Self::Vault, Self::Azure, Self::Google, Self::Kubernetes, Self::Sops];
    pub const OUTSIDE: [Self; 5] = [Self::SecretsManager, Self::Ssm, Self::Vault, Self::Azure, Self::Google];

    pub fn number(self) -> usize {
        Self::ALL.iter().position(|kind| *kind == self).unwrap()
    }

    /// What names of this kind begin with.
    pub fn word(self) -> &'static str {
        match self {
            Self::SecretsManager => "MANAGER",
            Self::Ssm => "SSM",
            Self::Vault => "VAULT",
            Self::Azure => "AZURE",
            Self::Google => "GOOGLE",
            Self::Kubernetes => "KUBERNETES",
            Self::Sops => "SOPS",
        }
    }

    pub fn store(self) -> &'static str {
        match self {
            Self::SecretsManager => "manager",
            Self::Ssm => "ssm",
            Self::Vault => "vault",
            Self::Azure => "azure",
            Self::Google => "google",
            Self::Kubernetes => "kubernetes",
            Self::Sops => "files",
        }
    }

    /// Calls about values. A Vault that refused everything would not know the login either.
    pub fn reads(self) -> Matching {
        match self {
            Self::Vault => Matching::any().path("/secret/"),
            Self::SecretsManager | Self::Ssm | Self::Azure | Self::Google | Self::Kubernetes | Self::Sops => {
                Matching::any()
            }
        }
    }

    /// How this store refuses (403) or throttles (429).
    pub fn refusal(self, code: u16) -> Fault {
        let denies = code == 403;
        let (code, body) = match self {
            Self::SecretsManager | Self::Ssm => {
                (400, json!({"__type": if denies { "AccessDeniedException" } else { "ThrottlingException" }}))
            }
            Self::Vault => (code, json!({"errors": [if denies { "permission denied" } else { "rate limit" }]})),
            Self::Azure => (code, json!({"error": {"code": if denies { "Forbidden" } else { "Throttled" }}})),
            Self::Google => {
                let status = if denies { "PERMISSION_DENIED" } else { "RESOURCE_EXHAUSTED" };
                (code, json!({"error": {"code": code, "status": status}}))
            }
            Self::Kubernetes | Self::Sops => unreachable!("in the cluster"),
        };
        Fault::Answer { code, retry_after: None, body: Some(body.to_string()) }
    }
}

/// The name of a value: of a component, `STACK`, or `GLOBAL`.
pub fn name(kind: Kind, place: &str) -> String {
    format!("{}_{}", kind.word(), place.to_uppercase().replace('-', "_"))
}

/// How often values were read since it was made.
pub enum Count {
    Proxied(e2e::fault_proxy::Injected),
    Logged(usize),
}

impl Count {
    pub fn hits(&self, scene: &Scene) -> anyhow::Result<usize> {
        Ok(match self {
            Self::Proxied(injected) => injected.hits(),
            Self::Logged(before) => scene.vault_reads()? - before,
        })
    }

    /// Ends it: of two at the same time only the later one would count.
    pub fn remove(&self) {
        match self {
            Self::Proxied(injected) => injected.remove(),
            Self::Logged(_) => {}
        }
    }
}

pub struct Scene {
    pub tenant: Tenant,
    manager: FaultProxy,
    ssm: FaultProxy,
    vault: Vault,
    vault_proxy: FaultProxy,
    azure: AzureVault,
    google: Gcp,
    google_proxy: FaultProxy,
    /// By place and name.
    values: BTreeMap<(Kind, String, String), String>,
}

impl Scene {
    pub async fn new(interval: &str) -> anyhow::Result<Self> {
        let (azure, google) = (AzureVault::start().await?, Gcp::start()?);
        let moto = Moto::shared().await?;
        let cluster: Arc<Cluster> = Cluster::start().await?;
        let authorities = cluster.folder().join("authorities.pem");
        std::fs::write(&authorities, [azure.ca_pem(), google.ca_pem()].concat())?;
        let mut arguments =
            vec!["--allow-loopback-endpoints".to_owned(), "--ca-file".to_owned(), authorities.display().to_string()];
        for service in [
            format!("aws-sts={}", moto.url()),
            format!("azure-login={}", azure.url()),
            format!("gcp-oauth={}", google.url()),
        ] {
            arguments.extend(["--service-endpoint".to_owned(), service]);
        }
        Operator::start(&cluster, Options { arguments, ..Options::default() }).await?;
        let tenant = Tenant::on(&cluster, Grant::Full).await?;
        let vault = Vault::start().await?;
        let mut scene = Self {
            manager: FaultProxy::to_http(moto.url()).await?,
            ssm: FaultProxy::to_http(moto.url()).await?,
            vault_proxy: FaultProxy::to_http(vault.url()).await?,
            google_proxy: FaultProxy::to_http(&google.plain_url()).await?,
            tenant,
            vault,
            azure,
            google,
            values: BTreeMap::new(),
        };
        scene.fill().await?;
        scene.connect().await?;
        scene.declare(interval).await?;
        Ok(scene)
    }

    /// The Secret that has the values of one kind for one component.
    pub fn target(kind: Kind, component: &str) -> String {
        format!("{component}-{}", kind.store())
    }

    /// What that Secret should hold.
    pub fn data(&self, kind: Kind, component: &str) -> BTreeMap<String, String> {
        let is_seen = |place: &str| place == component || place == "stack" || place == "global";
        let seen = self.values.iter().filter(|((of, place, _), _)| *of == kind && is_seen(place));
        seen.map(|((_, _, name), value)| (name.clone(), value.clone())).collect()
    }

    pub fn proxy(&self, kind: Kind) -> &FaultProxy {
        match kind {
            Kind::SecretsManager => &self.manager,
            Kind::Ssm => &self.ssm,
            Kind::Vault => &self.vault_proxy,
            Kind::Azure => self.azure.proxy(),
            Kind::Google => &self.google_proxy,
            Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
        }
    }

    /// Gives the value of a component another one, or one again.
    pub async fn rotate(&mut self, kind: Kind, component: &str) -> anyhow::Result<()> {
        let (name, value) = (name(kind, component), self.tenant.canary());
        self.put(kind, component, &name, &value).await?;
        self.values.insert((kind, component.to_owned(), name), value);
        Ok(())
    }

    /// Takes the value of a component away, for good.
    pub async fn lose(&self, kind: Kind, component: &str) -> anyhow::Result<()> {
        let name = name(kind, component);
        let key = self.key(kind, component, &name);
        match kind {
            Kind::SecretsManager => {
                let body = json!({"SecretId": key, "ForceDeleteWithoutRecovery": true});
                self.aws("secretsmanager.DeleteSecret", body).await.map(drop)
            }
            Kind::Ssm => self.aws("AmazonSSM.DeleteParameter", json!({"Name": key})).await.map(drop),
            Kind::Vault => self.vault.must("DELETE", &format!("secret/metadata/{key}"), Value::Null).await.map(drop),
            Kind::Azure => {
                self.azure.delete(&key);
                self.azure.purge(&key);
                Ok(())
            }
            Kind::Google => {
                self.google.remove(&key);
                Ok(())
            }
            Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
        }
    }

    /// Counts calls that read values.
    pub fn count_reads(&self, kind: Kind) -> Count {
        let every = Fault::Delay(Duration::ZERO);
        let matching = match kind {
            Kind::SecretsManager => Matching::any().header(target(), "GetSecretValue"),
            Kind::Ssm => Matching::any().header(target(), "GetParameters"),
            Kind::Vault => return Count::Logged(self.vault_reads().unwrap_or_default()),
            Kind::Azure => Matching::any().path("/secrets/"),
            Kind::Google => Matching::any().path(":access"),
            Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
        };
        Count::Proxied(self.proxy(kind).inject(every, matching))
    }

    fn vault_reads(&self) -> anyhow::Result<usize> {
        let requests = self.vault.requests()?;
        Ok(requests.iter().filter(|asked| asked.operation == "read" && asked.path.starts_with("secret/data/")).count())
    }

    /// Logins since the start.
    pub fn logins(&self, kind: Kind) -> anyhow::Result<usize> {
        Ok(match kind {
            Kind::Vault => {
                let requests = self.vault.requests()?;
                requests.iter().filter(|asked| asked.path == "auth/approle/login").count()
            }
            Kind::Azure => self.azure.requests().iter().filter(|asked| asked.path.contains("/oauth2/")).count(),
            Kind::Google => self.google.count("POST /token"),
            Kind::SecretsManager | Kind::Ssm | Kind::Kubernetes | Kind::Sops => unreachable!("no login"),
        })
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        for kind in Kind::ALL {
            let in_cluster = matches!(kind, Kind::Kubernetes | Kind::Sops);
            for place in ["stack", "global"].into_iter().chain(COMPONENTS) {
                let count = if in_cluster && COMPONENTS.contains(&place) { IN_CLUSTER } else { 1 };
                for number in 0..count {
                    let mut name = name(kind, place);
                    if number > 0 {
                        name.push_str(&format!("_{number}"));
                    }
                    // One fewer, for a round number.
                    if kind == Kind::Sops && place == "billing" && number > 0 {
                        continue;
                    }
                    let value = self.tenant.canary();
                    if !in_cluster {
                        self.put(kind, place, &name, &value).await?;
                    }
                    self.values.insert((kind, place.to_owned(), name), value);
                }
            }
        }
        let key = AgeKey::generate();
        self.tenant.guard(key.identity.trim_start_matches("AGE-SECRET-KEY-1"));
        self.tenant.apply_secret("age", json!({}), "Opaque", &[("key.txt", &key.identity)]).await?;
        let mut files = Map::new();
        for place in ["stack", "global"].into_iter().chain(COMPONENTS) {
            let of = |kind: Kind| {
                let mine = self.values.iter().filter(move |((of, at, _), _)| *of == kind && at == place);
                mine.map(|((_, _, name), value)| (name.as_str(), value.as_str())).collect::<Vec<_>>()
            };
            let object = match place {
                "stack" => "atmos.prod".to_owned(),
                "global" => "atmos".to_owned(),
                component => format!("atmos.prod.{component}"),
            };
            self.tenant.values(&object, &of(Kind::Kubernetes)).await?;
            let file = match place {
                "stack" => "prod.enc.yaml".to_owned(),
                "global" => "global.enc.yaml".to_owned(),
                component => format!("prod.{component}.enc.yaml"),
            };
            let plain: BTreeMap<&str, &str> = of(Kind::Sops).into_iter().collect();
            files.insert(file, json!(encrypt("x.enc.yaml", &serde_json::to_string(&plain)?, &[&key]).await?));
        }
        self.tenant
            .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": files}))
            .await
    }

    /// Where a store keeps a value, as Atmos lays it out.
    fn key(&self, kind: Kind, place: &str, name: &str) -> String {
        let mine = &self.tenant.namespace;
        let parts = match place {
            "global" => vec![name],
            "stack" => vec!["prod", name],
            component => vec!["prod", component, name],
        };
        match kind {
            Kind::SecretsManager => format!("{mine}/{}", parts.join("/")),
            Kind::Ssm => format!("/{mine}/{}", parts.join("/")),
            Kind::Vault => format!("atmos/{}", parts.join("/")),
            Kind::Azure => format!("atmos-{}", parts.join("-").replace('_', "-")),
            Kind::Google => format!("{mine}_{}", parts.join("_")),
            Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
        }
    }

    /// Stores a value as Atmos does.
    async fn put(&self, kind: Kind, place: &str, name: &str, value: &str) -> anyhow::Result<()> {
        let key = self.key(kind, place, name);
        let literal = json!(value).to_string();
        match kind {
            Kind::SecretsManager => {
                let put = json!({"SecretId": key, "SecretString": literal});
                if self.aws("secretsmanager.PutSecretValue", put).await.is_err() {
                    let create = json!({"Name": key, "SecretString": literal});
                    self.aws("secretsmanager.CreateSecret", create).await?;
                }
            }
            Kind::Ssm => {
                let body = json!({"Name": key, "Value": value, "Type": "SecureString", "Overwrite": true});
                self.aws("AmazonSSM.PutParameter", body).await?;
            }
            Kind::Vault => {
                let body = json!({"data": {"value": value}});
                self.vault.must("POST", &format!("secret/data/{key}"), body).await?;
            }
            Kind::Azure => drop(self.azure.set(&key, &literal, Value::Null)?),
            Kind::Google => drop(self.google.put(&key, literal.as_bytes())),
            Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
        }
        Ok(())
    }

    async fn aws(&self, operation: &str, body: Value) -> anyhow::Result<Value> {
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

    /// The credentials and the Stores.
    async fn connect(&self) -> anyhow::Result<()> {
        let tenant = &self.tenant;
        let key = tenant.plain_canary();
        let keys = [("accessKeyId", "AKIAIOSFODNN7EXAMPLE"), ("secretAccessKey", key.as_str())];
        tenant.apply_secret("aws", json!({}), "Opaque", &keys).await?;

        let policy = r#"path "secret/data/atmos/*" { capabilities = ["read"] }
                        path "secret/metadata/atmos/*" { capabilities = ["read", "list"] }"#;
        self.vault.must("PUT", "sys/policies/acl/app", json!({"policy": policy})).await?;
        self.vault.must("POST", "sys/auth/approle", json!({"type": "approle"})).await?;
        let role = json!({"token_policies": ["app"], "token_ttl": "1h"});
        self.vault.must("POST", "auth/approle/role/app", role).await?;
        let role_id = self.vault.must("GET", "auth/approle/role/app/role-id", Value::Null).await?;
        let role_id = role_id["data"]["role_id"].as_str().context("a role id")?;
        let secret_id = self.vault.must("POST", "auth/approle/role/app/secret-id", json!({})).await?;
        let secret_id = secret_id["data"]["secret_id"].as_str().context("a secret id")?;
        tenant.guard(&secret_id.replace('-', ""));
        tenant.apply_secret("vault", json!({}), "Opaque", &[("secretId", secret_id)]).await?;

        let client_secret = tenant.plain_canary();
        self.azure.register(AzureApplication {
            tenant: AZURE_TENANT.into(),
            client: AZURE_CLIENT.into(),
            secret: Some(client_secret.clone()),
            rights: vec!["get", "list"],
            ..AzureApplication::default()
        });
        tenant.apply_secret("azure", json!({}), "Opaque", &[("secret", &client_secret)]).await?;

        let account = self.google.account_key(READER)?;
        let line = account["private_key"].as_str().and_then(|pem| pem.lines().nth(7)).context("a key in PEM")?;
        tenant.guard(line);
        tenant.apply_secret("google", json!({}), "Opaque", &[("key.json", &account.to_string())]).await?;

        let mine = &tenant.namespace;
        let aws = |proxy: &FaultProxy| json!({"region": "us-east-1", "endpoint": proxy.url(), "auth": {"secret": {"name": "aws"}}});
        let approle = json!({"roleId": role_id, "secretId": {"secret": "vault", "key": "secretId"}});
        let vault = json!({"address": self.vault_proxy.url(), "mount": "secret", "auth": {"approle": approle}});
        let client = json!({"tenantId": AZURE_TENANT, "clientId": AZURE_CLIENT,
            "clientSecret": {"secret": "azure", "key": "secret"}});
        let azure = json!({"vaultUrl": self.azure.url(), "auth": {"clientSecret": client}});
        let google = json!({"projectId": e2e::gcp::PROJECT, "endpoint": self.google_proxy.url(),
            "auth": {"serviceAccountKey": {"secret": "google", "key": "key.json"}}});
        for (kind, spec) in [
            (Kind::SecretsManager, json!({"prefix": mine, "awsSecretsManager": aws(&self.manager)})),
            (Kind::Ssm, json!({"prefix": format!("/{mine}"), "awsSsm": aws(&self.ssm)})),
            (Kind::Vault, json!({"prefix": "atmos", "vault": vault})),
            (Kind::Azure, json!({"prefix": "atmos", "azureKeyVault": azure})),
            (Kind::Google, json!({"prefix": mine, "gcpSecretManager": google})),
            (Kind::Kubernetes, json!({"kubernetes": {}})),
            (
                Kind::Sops,
                json!({"sops": {"source": {"configMaps": ["files"]},
                "age": {"keys": [{"secret": "age", "key": "key.txt"}]}}}),
            ),
        ] {
            let mut spec = spec;
            if Kind::OUTSIDE.contains(&kind) {
                spec["minRefreshInterval"] = json!("10s");
            }
            tenant.write("Store", kind.store(), spec).await?;
        }
        Ok(())
    }

    async fn declare(&self, interval: &str) -> anyhow::Result<()> {
        let vars = |wanted: &str| {
            let mine = self.values.keys().filter(|(_, place, _)| place == wanted);
            let var = |(kind, _, name): &(Kind, String, String)| {
                let mut declaration = json!({"store": kind.store(), "required": true});
                if wanted == "global" {
                    declaration["scope"] = json!("global");
                }
                (name.clone(), declaration)
            };
            mine.map(var).collect::<Map<String, Value>>()
        };
        let mut shared = vars("stack");
        shared.extend(vars("global"));
        let components: Map<String, Value> = COMPONENTS
            .into_iter()
            .map(|component| {
                let targets: Map<String, Value> = Kind::ALL
                    .into_iter()
                    .map(|kind| {
                        let names = self.data(kind, component).into_keys();
                        let keys: Map<String, Value> = names.map(|name| (name.clone(), json!(name))).collect();
                        (Self::target(kind, component), json!({"keys": keys}))
                    })
                    .collect();
                (component.to_owned(), json!({"secrets": {"vars": vars(component)}, "targets": targets}))
            })
            .collect();
        let spec = json!({
            "refreshInterval": interval,
            "secrets": {"vars": shared},
            "components": {"terraform": components},
        });
        self.tenant.write("Stack", "prod", spec).await
    }
}

fn target() -> HeaderName {
    HeaderName::from_static("x-amz-target")
}
