//! Objects and maps that are null: written so, or emptied by a server-side apply.

use std::fmt::Debug;

use atmos_secrets::api::{Catalog, ClusterStore, Stack, Store};
use kube::ResourceExt as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind, yaml};

/// A spec with entries, and the same after its author has emptied something.
const EMPTIED: &[(Kind, &str, &str)] = &[
    (Kind::Stack, "{secrets: {vars: {A: {}}}}", "{secrets: {vars: {}}}"),
    (Kind::Stack, "{secrets: {vars: {A: {required: true}}}}", "{secrets: {vars: {A: {}}}}"),
    (Kind::Stack, "{secrets: {vars: {A: {}}}}", "{secrets: {}}"),
    (Kind::Stack, "{secrets: {vars: {A: {}}}}", "{}"),
    (Kind::Stack, "{secrets: {vars: {A: {extract: {prefix: a}}}}}", "{secrets: {vars: {A: {extract: {}}}}}"),
    (
        Kind::Stack,
        "{secrets: {vars: {A: {extract: {rename: {a: b}}}}}}",
        "{secrets: {vars: {A: {extract: {rename: {}}}}}}",
    ),
    (
        Kind::Stack,
        "{secrets: {vars: {A: {transforms: [{base64Decode: {variant: url}}]}}}}",
        "{secrets: {vars: {A: {transforms: [{base64Decode: {}}]}}}}",
    ),
    (Kind::Stack, "{targets: {t: {labels: {a: b}}}}", "{targets: {t: {}}}"),
    (Kind::Stack, "{targets: {t: {labels: {a: b}}}}", "{targets: {t: {labels: {}}}}"),
    (Kind::Stack, "{targets: {t: {annotations: {a: b}}}}", "{targets: {t: {annotations: {}}}}"),
    (Kind::Stack, "{targets: {t: {keys: {a: A}}}}", "{targets: {t: {}}}"),
    (Kind::Stack, "{targets: {t: {labels: {a: b}}}}", "{targets: {}}"),
    (Kind::Stack, "{targetDefaults: {labels: {a: b}}}", "{targetDefaults: {labels: {}}}"),
    (Kind::Stack, "{targetDefaults: {labels: {a: b}}}", "{targetDefaults: {}}"),
    (Kind::Stack, "{stores: {a: {store: b}}}", "{stores: {}}"),
    (Kind::Stack, "{components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}", "{components: {terraform: {db: {}}}}"),
    (Kind::Stack, "{components: {terraform: {db: {targets: {t: {inherit: Own}}}}}}", "{components: {terraform: {}}}"),
    (Kind::Stack, "{components: {terraform: {db: {targets: {t: {inherit: Own}}}}}}", "{components: {}}"),
    (
        Kind::Stack,
        "{components: {terraform: {db: {targets: {t: {inherit: Own}}}}}}",
        "{components: {terraform: {db: {targets: {}}}}}",
    ),
    (
        Kind::Stack,
        "{components: {terraform: {db: {targets: {t: {inherit: Own}}}}}}",
        "{components: {terraform: {db: {targets: {t: {}}}}}}",
    ),
    (
        Kind::Stack,
        "{components: {terraform: {db: {metadata: {enabled: false}}}}}",
        "{components: {terraform: {db: {metadata: {}}}}}",
    ),
    (
        Kind::Stack,
        "{components: {terraform: {db: {secrets: {vars: {A: {scope: global}}}}}}}",
        "{components: {terraform: {db: {secrets: {vars: {A: {}}}}}}}",
    ),
    (Kind::Catalog, "{secrets: {vars: {A: {}}}}", "{secrets: {vars: {}}}"),
    (Kind::Catalog, "{secrets: {vars: {A: {}}}}", "{}"),
    (Kind::Catalog, "{stores: {a: {clusterStore: b}}}", "{stores: {}}"),
    (
        Kind::Catalog,
        "{components: {terraform: {db: {metadata: {enabled: false}}}}}",
        "{components: {terraform: {db: {}}}}",
    ),
    (Kind::Store, "{awsSsm: {region: a, tags: {a: b}}}", "{awsSsm: {region: a, tags: {}}}"),
    (Kind::Store, "{awsSecretsManager: {region: a, tags: {a: b}}}", "{awsSecretsManager: {region: a, tags: {}}}"),
    (
        Kind::ClusterStore,
        "{allowedNamespaces: {selector: {matchLabels: {a: b}}}, shared: true, awsSsm: {region: a}}",
        "{allowedNamespaces: {selector: {matchLabels: {}}}, shared: true, awsSsm: {region: a}}",
    ),
    (
        Kind::ClusterStore,
        "{allowedNamespaces: {selector: {matchLabels: {a: b}}}, shared: true, awsSsm: {region: a}}",
        "{allowedNamespaces: {selector: {}}, shared: true, awsSsm: {region: a}}",
    ),
    (
        Kind::ClusterStore,
        "{allowedNamespaces: {names: [a]}, shared: true, awsSsm: {region: a}}",
        "{allowedNamespaces: {}, shared: true, awsSsm: {region: a}}",
    ),
];

/// Applies a spec on the server's side as one manager of fields, as GitOps tools do.
async fn apply(cluster: &Cluster, kind: Kind, name: &str, spec: &Value) -> Result<DynamicObject, kube::Error> {
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec,
    });
    cluster.objects(kind).patch(name, &PatchParams::apply("gitops"), &Patch::Apply(&object)).await
}

fn same<T: DeserializeOwned + Debug + PartialEq>(stored: &DynamicObject, spec: &Value) -> bool {
    let stored = serde_json::to_value(stored).unwrap();
    let mut written = stored.clone();
    written["spec"] = spec.clone();
    serde_json::from_value::<T>(stored).unwrap() == serde_json::from_value::<T>(written).unwrap()
}

/// Whether the operator reads in the stored object what its author wrote.
fn means(kind: Kind, stored: &DynamicObject, spec: &Value) -> bool {
    match kind {
        Kind::Stack => same::<Stack>(stored, spec),
        Kind::Store => same::<Store>(stored, spec),
        Kind::ClusterStore => same::<ClusterStore>(stored, spec),
        Kind::Catalog => same::<Catalog>(stored, spec),
    }
}

#[tokio::test]
async fn what_a_server_side_apply_empties_means_what_its_author_wrote() {
    let cluster = Cluster::new().await.unwrap();
    let (mut wrong, mut nulls) = (Vec::new(), 0);
    for (number, (kind, filled, emptied)) in EMPTIED.iter().enumerate() {
        let name = format!("{}-{number}", cluster.namespace);
        for spec in [filled, emptied, filled] {
            match apply(&cluster, *kind, &name, &yaml(spec)).await {
                Ok(stored) => {
                    nulls += usize::from(stored.data["spec"].to_string().contains("null"));
                    if !means(*kind, &stored, &yaml(spec)) {
                        wrong.push(format!("{filled} → {emptied}: {spec} was stored as {}", stored.data["spec"]));
                    }
                }
                Err(error) => wrong.push(format!("{filled} → {emptied}: {spec} was refused: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases did not hold:\n{}", wrong.len(), wrong.join("\n"));
    // Else the API server has changed its ways, and all this is needed no more.
    assert!(nulls > 0, "no field became null");
}

/// Specs with null where `{}` may stand.
const WRITTEN: &[(Kind, &str)] = &[
    (Kind::Stack, "{secrets: {vars: {TOKEN: }}}"),
    (Kind::Stack, "{secrets: {vars: {TOKEN: , OTHER: {scope: stack}}}}"),
    (Kind::Stack, "{components: {terraform: {db: {secrets: {vars: {TOKEN: }}}}}}"),
    (Kind::Stack, "{targets: {app: }}"),
    (Kind::Stack, "{components: {terraform: {db: {targets: {app: }}}}}"),
    (Kind::Stack, "{components: {terraform: {db: }}}"),
    (Kind::Stack, "{components: {terraform: }}"),
    (Kind::Stack, "{stores: , secrets: , targetDefaults: , targets: , components: }"),
    (Kind::Stack, "null"),
    (Kind::Catalog, "{components: {terraform: {db: }}, secrets: {vars: {TOKEN: }}}"),
    (Kind::Catalog, "null"),
    (Kind::ClusterStore, "{allowedNamespaces: , shared: true, awsSsm: {region: a, tags: }}"),
];

fn emptied(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), emptied(field))).collect(),
        Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => value.clone(),
    }
}

#[tokio::test]
async fn null_in_a_manifest_means_an_empty_object() {
    let cluster = Cluster::new().await.unwrap();
    for (kind, spec) in WRITTEN {
        let stored = cluster.create(*kind, spec).await.unwrap_or_else(|refusal| panic!("{spec}: {refusal:?}"));
        assert!(means(*kind, &stored, &emptied(&yaml(spec))), "{spec} was stored as {}", stored.data["spec"]);
    }
}

/// The difference matters: without `targets` a component has a Secret of its own.
#[tokio::test]
async fn emptied_targets_are_none_and_dropped_ones_the_default() {
    let cluster = Cluster::new().await.unwrap();
    let targets = async |spec: &str| {
        let stored = apply(&cluster, Kind::Stack, "plat", &yaml(spec)).await.unwrap();
        let stack: Stack = serde_json::from_value(serde_json::to_value(stored).unwrap()).unwrap();
        stack.spec.components["terraform"].0["db"].targets.clone().map(|targets| targets.len())
    };
    let with = "{components: {terraform: {db: {metadata: {enabled: true}, targets: {t: {inherit: Own}}}}}}";
    assert_eq!(targets(with).await, Some(1));
    assert_eq!(targets("{components: {terraform: {db: {metadata: {enabled: true}, targets: {}}}}}").await, Some(0));
    assert_eq!(targets(with).await, Some(1));
    assert_eq!(targets("{components: {terraform: {db: {metadata: {enabled: true}}}}}").await, None);
}

/// Without `keys` a target holds everything, so that emptied ones must not be taken for absent.
#[tokio::test]
async fn emptied_keys_are_refused() {
    let cluster = Cluster::new().await.unwrap();
    let filled = yaml("{targets: {t: {keys: {a: A}}}}");
    let stored = apply(&cluster, Kind::Stack, "plat", &filled).await.unwrap();
    let error = apply(&cluster, Kind::Stack, "plat", &yaml("{targets: {t: {keys: {}}}}")).await.unwrap_err();
    assert!(error.to_string().contains("spec.targets.t.keys"), "{error}");
    let after = cluster.objects(Kind::Stack).get(&stored.name_any()).await.unwrap();
    assert_eq!(after.data["spec"], filled);
}
