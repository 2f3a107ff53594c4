//! Examples of every kind, as users write them, through the real API server and back into our types.

use std::fmt::Debug;

use atmos_secrets::api::{Catalog, ClusterStore, Stack, Store};
use kube::api::{Api, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{Cluster, Kind, Unknown, yaml};

/// Every field of a Stack at least once.
const STACK: &str = "
name: plat-ue1-prod
refreshInterval: 1h
suspend: false
drift: Correct
defaultStore: app-secrets
stores:
  app-secrets: {clusterStore: shared-aws}
  files: {store: team-sops}
imports:
- catalog: datadog
- stack: base
secrets:
  vars:
    DATADOG_API_KEY: {description: Datadog ingestion key, store: app-secrets, required: true}
    ROOT_CA: {store: app-secrets, scope: global}
targetDefaults:
  labels: {team: payments}
  annotations: {example.com/owner: payments}
  deletionPolicy: Retain
  missingPolicy: Keep
  syncPolicy: AllOrNothing
targets: {plat-ue1-prod: {}}
components:
  terraform:
    base-db:
      metadata: {type: abstract}
      secrets: {vars: {DB_PASSWORD: {sops: files, required: true}}}
    orders-db:
      metadata: {type: real, enabled: true, component: base-db, inherits: [base-db]}
      secrets:
        vars:
          DB_USER: {sops: files, key: username}
          DB_HOST: {store: app-secrets, reference: DB_ENDPOINT, path: '.host', default: localhost}
          LEGACY: {store: app-secrets, backendKey: legacy/orders/db, version: AWSPREVIOUS}
          DATADOG_API_KEY: {declared: false}
      targets:
        orders-db: {inherit: Own}
        orders-url: {format: Dotenv, template: {data: {URL: 'postgres://{{ DB_USER | urlencode }}@{{ DB_HOST }}/'}}}
        orders-tls: {type: kubernetes.io/tls, keys: {tls.crt: TLS_CERT, tls.key: TLS_KEY}}
        orders-late:
          deletionPolicy: Delete
          missingPolicy: Remove
          syncPolicy: PerKey
          labels: {app.kubernetes.io/part-of: orders}
          annotations: {a: b}
";

const STORES: [&str; 7] = [
    "{prefix: atmos, kubernetes: {}}",
    "
prefix: atmos/secrets
stackDelimiter: '-'
encoding: atmos
timeout: 10s
minRefreshInterval: 1m
rateLimit: {perSecond: 20}
awsSecretsManager:
  region: us-east-1
  endpoint: https://vpce.example.com
  kmsKeyId: alias/app
  tags: {team: payments}
  replicaRegions: [us-west-2]
  auth:
    serviceAccount: {name: reader, audience: sts.amazonaws.com}
    assumeRole: [{roleArn: 'arn:aws:iam::123456789012:role/reader', externalId: abc, sessionName: app}]
",
    "
encoding: raw
awsSsm:
  region: eu-west-1
  endpoint: https://ssm.example.com
  kmsKeyId: alias/app
  tier: Advanced
  tags: {a: b}
  allowPlaintextSource: true
  auth: {secret: {name: keys, accessKeyIdKey: id, secretAccessKeyKey: secret, sessionTokenKey: token}}
",
    "
vault:
  address: https://vault.example.com
  namespace: team
  mount: secret
  kvVersion: 2
  ca: {configMap: ca, key: ca.crt}
  auth: {kubernetes: {mount: kubernetes, role: app, serviceAccount: {name: app}}}
",
    "
azureKeyVault:
  vaultUrl: https://app.vault.azure.net
  auth: {workloadIdentity: {tenantId: t, clientId: c, serviceAccount: {name: app}}}
",
    "
gcpSecretManager:
  projectId: app-123
  locations: [europe-west1]
  endpoint: https://eu.example.com
  auth: {workloadIdentity: {provider: p, serviceAccountEmail: a@b, serviceAccount: {name: app}}}
",
    "
sops:
  source: {configMaps: [secrets]}
  file: '{{ atmos_stack }}.yaml'
  age: {keys: [{secret: age, key: keys.txt}]}
  awsKms: {auth: {secret: {name: keys}}}
  gcpKms: {auth: {serviceAccountKey: {secret: gcp, key: key.json}}}
  azureKeyVault: {auth: {managedIdentity: {clientId: c}}}
  vaultTransit:
    address: https://vault.example.com
    namespace: team
    ca: {secret: ca}
    auth: {approle: {mount: approle, roleId: r, secretId: {secret: a, key: b}}}
  allowedRecipients: [age1example]
",
];

const CLUSTER_STORES: [&str; 2] = [
    "
allowedNamespaces: {names: [payments], selector: {matchLabels: {secrets: shared}}}
prefix: atmos/{namespace}
awsSsm: {region: us-east-1, auth: {ambient: {}}}
",
    "
allowedNamespaces: {}
shared: true
vault: {address: 'https://v', mount: m, auth: {jwt: {mount: jwt, role: r, serviceAccount: {name: a}}}}
",
];

const CATALOG: &str = "
imports: [{catalog: base}]
stores: {shared: {clusterStore: shared-aws}}
secrets: {vars: {DATADOG_API_KEY: {store: shared}}}
components:
  terraform:
    base: {metadata: {type: abstract}}
    base-db:
      metadata: {type: abstract, enabled: false, component: base, inherits: [base]}
      secrets: {vars: {DB_PASSWORD: {}}}
";

/// Stores a spec as the user wrote it, reads it as our type, writes that back and finds nothing changed.
async fn round_trip<K>(cluster: &Cluster, kind: Kind, objects: Api<K>, spec: &str)
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let written = serde_json::json!({"metadata": {}, "spec": yaml(spec)});
    let name = cluster.create_with(kind, Unknown::Refused, &written).await.unwrap().name_any();
    let ours = objects.get(&name).await.unwrap();
    let fields = serde_json::to_value(&ours).unwrap();
    assert_eq!(fields["spec"], written["spec"], "our {} types lose something", kind.name());
    let replaced = objects.replace(&name, &PostParams::default(), &ours).await.unwrap();
    assert_eq!(replaced.meta().generation, Some(1), "{}", kind.name());
    let read = cluster.objects(kind).get(&name).await.unwrap();
    assert_eq!(read.data["spec"], written["spec"]);
}

fn namespaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(cluster: &Cluster) -> Api<K> {
    Api::namespaced(Client::clone(&cluster.client), &cluster.namespace)
}

#[tokio::test]
async fn every_kind_survives_our_types() {
    let cluster = Cluster::new().await.unwrap();
    round_trip(&cluster, Kind::Stack, namespaced::<Stack>(&cluster), STACK).await;
    for spec in STORES {
        round_trip(&cluster, Kind::Store, namespaced::<Store>(&cluster), spec).await;
    }
    for spec in CLUSTER_STORES {
        round_trip(&cluster, Kind::ClusterStore, Api::<ClusterStore>::all(cluster.client.clone()), spec).await;
    }
    round_trip(&cluster, Kind::Catalog, Api::<Catalog>::all(cluster.client.clone()), CATALOG).await;
}

/// A field that no example has would also be a field that nobody tried to read.
#[test]
fn the_examples_have_every_field() {
    let kinds = [
        (0, vec![STACK]),
        (1, STORES.to_vec()),
        (2, [CLUSTER_STORES.as_slice(), &STORES].concat()),
        (3, vec![CATALOG]),
    ];
    for (index, examples) in kinds {
        let definition = atmos_secrets::api::crds().unwrap().remove(index);
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"]["properties"]["spec"];
        let examples: Vec<Value> = examples.into_iter().map(yaml).collect();
        let mut missing = Vec::new();
        missing_fields(definition.spec.names.kind.as_str(), schema, &examples.iter().collect::<Vec<_>>(), &mut missing);
        assert!(missing.is_empty(), "{missing:#?}");
    }
}

/// Types that stand in several places, and alternatives of which an object has one: the examples have each once.
const ELSEWHERE: [&str; 5] = [".auth.", ".ca.", ".source.", ".vars.*.", "Stack.targets.*."];

fn missing_fields(path: &str, schema: &Value, values: &[&Value], missing: &mut Vec<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let found: Vec<_> = values.iter().filter_map(|value| value.get(name)).collect();
        if found.is_empty() && !ELSEWHERE.iter().any(|part| path.contains(part)) {
            missing.push(path.clone());
        }
        if !found.is_empty() {
            missing_fields(&path, below, &found, missing);
        }
    }
    if let Some(below) = schema.get("additionalProperties") {
        let found: Vec<_> =
            values.iter().filter_map(|value| value.as_object()).flat_map(serde_json::Map::values).collect();
        missing_fields(&format!("{path}.*"), below, &found, missing);
    }
    if let Some(below) = schema.get("items") {
        let found: Vec<_> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
        missing_fields(&format!("{path}.[]"), below, &found, missing);
    }
}
