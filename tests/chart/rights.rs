//! Every right that the chart grants, and why. A verb that is not listed here, or listed and not granted, is a failure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{NAMESPACE, objects};

/// One verb on one resource, with the names that it is limited to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `ClusterRole/name` or `Role/name`.
    pub role: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// Empty: any name.
    pub names: Vec<String>,
    pub verb: String,
}

const OPERATOR: &str = "ClusterRole/atmos-secrets-operator";
const OWN: &str = "Role/atmos-secrets-operator";
const GRANT: &str = "ClusterRole/atmos-secrets-operator-namespace";
const TOKENS: &str = "Role/atmos-secrets-operator-tokens";
const OURS: &str = "secrets.atmos.tools";

/// Role, group, resource, names, verb, why.
type Reasoned = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, &'static str);

/// Of the operator.
const OF_THE_OPERATOR: &[Reasoned] = &[
    (OPERATOR, OURS, "stacks", &[], "get", "the spec is read when work is due"),
    (OPERATOR, OURS, "stacks", &[], "list", "what there is, at the start"),
    (OPERATOR, OURS, "stacks", &[], "watch", "what changes"),
    (OPERATOR, OURS, "stacks/status", &[], "patch", "what became of it"),
    (OPERATOR, OURS, "stores", &[], "list", "what there is, at the start"),
    (OPERATOR, OURS, "stores", &[], "watch", "a change re-syncs its users"),
    (OPERATOR, OURS, "stores/status", &[], "patch", "whether it answers"),
    (OPERATOR, OURS, "clusterstores", &[], "list", "what there is, at the start"),
    (OPERATOR, OURS, "clusterstores", &[], "watch", "a change re-syncs its users"),
    (OPERATOR, OURS, "clusterstores/status", &[], "patch", "whether it answers"),
    (OPERATOR, OURS, "catalogs", &[], "list", "what there is, at the start"),
    (OPERATOR, OURS, "catalogs", &[], "watch", "a change re-syncs its importers"),
    (OPERATOR, "events.k8s.io", "events", &[], "create", "a change of Ready is told"),
    (OPERATOR, "events.k8s.io", "events", &[], "patch", "a repeated Event counts up the first"),
    (OPERATOR, "authorization.k8s.io", "selfsubjectaccessreviews", &[], "create", "which namespaces are granted"),
    (OPERATOR, "authentication.k8s.io", "selfsubjectreviews", &[], "create", "the name that a grant must be given to"),
    (OPERATOR, "", "namespaces", &[], "get", "labels for allowedNamespaces.selector of a ClusterStore"),
    (OWN, "", "secrets", &["atmos-secrets-digest-key"], "get", "the key of the digests on targets"),
    (OWN, "", "secrets", &[], "create", "the same, once; RBAC cannot limit it to a name, the admission policy does"),
    (OWN, "", "secrets", &["age-key"], "get", "what clusterStoreSecrets lists"),
    (OWN, "", "configmaps", &["sops-files"], "get", "what clusterStoreConfigMaps lists"),
    (GRANT, "", "secrets", &[], "get", "targets before a change, sources, credentials"),
    (GRANT, "", "secrets", &[], "list", "what there is, at the start of a watch; values of a kubernetes store"),
    (GRANT, "", "secrets", &[], "watch", "drift, changed sources and credentials, at once"),
    (GRANT, "", "secrets", &[], "create", "a new target"),
    (GRANT, "", "secrets", &[], "update", "a changed target"),
    (GRANT, "", "secrets", &[], "delete", "a target that left the spec under deletionPolicy: Delete"),
    (GRANT, "", "configmaps", &[], "get", "sources of a sops store"),
    (GRANT, "", "configmaps", &[], "list", "what there is, at the start of a watch"),
    (GRANT, "", "configmaps", &[], "watch", "changed sources, at once"),
    (TOKENS, "", "serviceaccounts/token", &["vault-reader"], "create", "logins of what serviceAccountTokens lists"),
];

/// Of people: role, resource, verbs, why.
const OF_PEOPLE: &[(&str, &str, &[&str], &str)] = &[
    ("ClusterRole/atmos-secrets-view", "stacks", &["get", "list", "watch"], "names and states, no values"),
    (
        "ClusterRole/atmos-secrets-edit",
        "stacks",
        &["create", "update", "patch", "delete", "deletecollection"],
        "who may edit may read Secrets of the namespace anyway",
    ),
    ("ClusterRole/atmos-secrets-edit", "stores", &["get", "list", "watch"], "which names a Stack can use"),
    (
        "ClusterRole/atmos-secrets-admin",
        "stores",
        &["create", "update", "patch", "delete", "deletecollection"],
        "a Store can use every Secret of its namespace",
    ),
    ("ClusterRole/atmos-secrets-shared-reader", "clusterstores", &["get", "list", "watch"], "what is shared"),
    ("ClusterRole/atmos-secrets-shared-reader", "catalogs", &["get", "list", "watch"], "what is shared"),
];

/// What [`OF_THE_OPERATOR`] lists, with everything switched on as in [`VALUES`].
pub fn of_the_operator() -> BTreeSet<Right> {
    let right = |(role, group, resource, names, verb, _why): &Reasoned| Right {
        role: (*role).to_owned(),
        group: (*group).to_owned(),
        resource: (*resource).to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        verb: (*verb).to_owned(),
    };
    OF_THE_OPERATOR.iter().map(right).collect()
}

/// With these, every right is granted that the chart can grant.
pub const VALUES: &str = "namespaces={orders,payments},clusterStoreSecrets={age-key},\
                          clusterStoreConfigMaps={sops-files},serviceAccountTokens.orders={vault-reader}";

/// What the rules of an object grant, one entry for each verb.
fn granted(role: &Value) -> Vec<Right> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let known = ["apiGroups", "resources", "resourceNames", "verbs"];
        assert!(rule.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{rule}");
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push(Right {
                        role: format!(
                            "{}/{}",
                            role["kind"].as_str().unwrap(),
                            role["metadata"]["name"].as_str().unwrap()
                        ),
                        group: group.clone(),
                        resource: resource.clone(),
                        names: texts(&rule["resourceNames"]),
                        verb,
                    });
                }
            }
        }
    }
    rights
}

#[tokio::test]
async fn every_verb_has_its_reason() {
    let mut listed = of_the_operator();
    for (role, resource, verbs, _why) in OF_PEOPLE {
        listed.extend(verbs.iter().map(|verb| Right {
            role: (*role).to_owned(),
            group: OURS.to_owned(),
            resource: (*resource).to_owned(),
            names: Vec::new(),
            verb: (*verb).to_owned(),
        }));
    }
    let rendered = objects(&["--set", VALUES]).await;
    let roles = rendered.iter().filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")));
    let granted: Vec<Right> = roles.flat_map(granted).collect();
    let set: BTreeSet<Right> = granted.iter().cloned().collect();
    assert_eq!(granted.len(), set.len(), "a right is granted twice in one role");
    let too_many: Vec<_> = set.difference(&listed).collect();
    let too_few: Vec<_> = listed.difference(&set).collect();
    assert!(
        too_many.is_empty() && too_few.is_empty(),
        "granted without a reason: {too_many:#?}\nnot granted: {too_few:#?}"
    );
}

/// Who has which role, and where: `kind namespace role`.
async fn bindings(values: &str) -> BTreeSet<(String, String, String)> {
    let rendered = objects(&["--set", values]).await;
    let mut found = BTreeSet::new();
    for binding in &rendered {
        let kind = binding["kind"].as_str().unwrap();
        if !matches!(kind, "RoleBinding" | "ClusterRoleBinding") {
            continue;
        }
        assert_eq!(
            binding["subjects"],
            serde_json::json!([{"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": NAMESPACE}])
        );
        let text = |value: &Value| value.as_str().unwrap_or("everywhere").to_owned();
        let role = format!("{}/{}", text(&binding["roleRef"]["kind"]), text(&binding["roleRef"]["name"]));
        assert!(found.insert((kind.to_owned(), text(&binding["metadata"]["namespace"]), role)), "twice: {binding}");
    }
    found
}

fn bound(where_: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    let always = [("ClusterRoleBinding", "everywhere", OPERATOR), ("RoleBinding", NAMESPACE, OWN)];
    let all = always.iter().chain(where_);
    all.map(|(kind, namespace, role)| ((*kind).to_owned(), (*namespace).to_owned(), (*role).to_owned())).collect()
}

#[tokio::test]
async fn only_the_operator_is_bound_and_only_where_it_was_asked_for() {
    assert_eq!(bindings("concurrency=32").await, bound(&[]));
    assert_eq!(bindings("namespaces={a}").await, bound(&[("RoleBinding", "a", GRANT)]));
    assert_eq!(bindings("namespaces={a,b}").await, bound(&[("RoleBinding", "a", GRANT), ("RoleBinding", "b", GRANT)]));
    assert_eq!(bindings("serviceAccountTokens.a={b}").await, bound(&[("RoleBinding", "a", TOKENS)]));
    assert_eq!(bindings("clusterWide=true").await, bound(&[("ClusterRoleBinding", "everywhere", GRANT)]));
}

#[tokio::test]
async fn roles_of_people_can_be_left_out() {
    let rendered = objects(&["--set", "aggregateRoles=false"]).await;
    let names: Vec<_> = rendered
        .iter()
        .filter(|object| object["kind"] == "ClusterRole")
        .map(|role| role["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["atmos-secrets-shared-reader", "atmos-secrets-operator", "atmos-secrets-operator-namespace"]);
}
