//! The operator works with what the chart grants, is refused nothing, and uses every verb of it.
//!
//! The audit log of the API server is compared with the table of [`crate::rights`], so neither a verb that the operator
//! needs and lacks nor one that it has and does not need stays unseen.

use std::collections::BTreeSet;

use anyhow::Context as _;
use e2e::control_plane::{AuditEvent, AuditMark};
use e2e::{ControlPlane, wait_until};

use crate::helm::{NAMESPACE, text};
use crate::installation::{LIMIT, USER, install, operator, start, wait_stack};
use crate::rights::{Right, VALUES, of_the_operator};

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");

/// A ClusterStore over a ConfigMap and a Secret of the operator's namespace, a Catalog, and a Stack that uses both.
const SHARED: &str = r#"
apiVersion: secrets.atmos.tools/v1alpha1
kind: ClusterStore
metadata: {name: shared}
spec:
  shared: true
  allowedNamespaces: {selector: {matchLabels: {kubernetes.io/metadata.name: payments}}}
  sops:
    source: {configMaps: [sops-files]}
    age: {keys: [{secret: age-key, key: age.agekey}]}
---
apiVersion: secrets.atmos.tools/v1alpha1
kind: Catalog
metadata: {name: datadog}
spec:
  stores: {central: {clusterStore: shared}}
  secrets: {vars: {DATADOG_API_KEY: {sops: central, required: true}}}
---
apiVersion: secrets.atmos.tools/v1alpha1
kind: Stack
metadata: {name: prod, namespace: payments}
spec:
  name: plat-ue1-prod
  imports: [{catalog: datadog}]
  targetDefaults: {deletionPolicy: Delete}
  targets: {kept: {}, dropped: {}}
"#;

/// A store that logs in with a token of a ServiceAccount. Nobody answers at its address; the token is asked for before.
const LOGIN: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault-reader, namespace: orders}
---
apiVersion: secrets.atmos.tools/v1alpha1
kind: Store
metadata: {name: vault, namespace: orders}
spec:
  vault:
    address: http://127.0.0.1:1
    mount: secret
    auth: {kubernetes: {role: orders, serviceAccount: {name: vault-reader, audience: vault}}}
"#;

async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments).await.unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What the operator asked for and was not refused for want of rights.
fn used(events: &[AuditEvent]) -> BTreeSet<Right> {
    let right = |event: &AuditEvent| {
        let own = event.namespace == NAMESPACE;
        let about_data = matches!(event.resource.as_str(), "secrets" | "configmaps");
        let about_tokens = event.resource == "serviceaccounts" && event.subresource == "token";
        let role = match (about_data, own) {
            _ if about_tokens => "Role/atmos-secrets-operator-tokens",
            (true, true) => "Role/atmos-secrets-operator",
            (true, false) => "ClusterRole/atmos-secrets-operator-namespace",
            (false, _) => "ClusterRole/atmos-secrets-operator",
        };
        // RBAC can limit a name only where the path has it.
        let named = about_tokens || (about_data && own && event.verb != "create");
        Right {
            role: role.to_owned(),
            group: event.uri.strip_prefix("/apis/").and_then(|path| path.split('/').next()).unwrap_or("").to_owned(),
            resource: match event.subresource.as_str() {
                "" => event.resource.clone(),
                subresource => format!("{}/{subresource}", event.resource),
            },
            names: if named { vec![event.name.clone()] } else { Vec::new() },
            verb: event.verb.clone(),
        }
    };
    events.iter().filter(|event| !event.resource.is_empty() && event.code != 403).map(right).collect()
}

/// What the operator asked for.
fn asked(plane: &ControlPlane) -> Vec<AuditEvent> {
    let events = plane.audit_events_since(AuditMark::default()).unwrap();
    events.into_iter().filter(|event| event.user == USER).collect()
}

async fn wait_asked(plane: &ControlPlane, verb: &str, resource: &str, times: usize) {
    wait_until(format!("the operator to {verb} {resource} ({times})"), LIMIT, async || {
        let all = asked(plane);
        let found = all.iter().filter(|event| event.verb == verb && event.resource == resource && event.code < 300);
        let count = found.count();
        anyhow::ensure!(count >= times, "{count} times so far");
        Ok(())
    })
    .await
    .unwrap();
}

async fn edit(plane: &ControlPlane, secret: &str) {
    let before = plane.get_json(["secret", secret, "--namespace", "orders"]).await.unwrap();
    let patch = r#"{"stringData": {"DB_USER": "edited"}}"#;
    kubectl(plane, &["patch", "secret", secret, "--namespace", "orders", "--patch", patch]).await;
    wait_until("the edit to be undone", LIMIT, async || {
        let now = plane.get_json(["secret", secret, "--namespace", "orders"]).await?;
        anyhow::ensure!(now["data"] == before["data"], "it is still edited");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn every_granted_verb_is_used_and_none_is_missing() {
    let plane = start().await.unwrap();
    for namespace in ["orders", "payments"] {
        kubectl(&plane, &["create", "namespace", namespace]).await;
    }
    // Some clusters take away what usually everybody may: the chart does not rely on it.
    kubectl(&plane, &["delete", "clusterrolebinding", "system:basic-user"]).await;
    install(&plane, &["--set", VALUES]).await.unwrap();
    for (namespace, key) in [("orders", "sops-age-key"), (NAMESPACE, "age-key")] {
        let files = format!("--from-file={QUICKSTART}/secrets");
        kubectl(&plane, &["create", "configmap", "sops-files", "--namespace", namespace, &files]).await;
        let identity = format!("--from-file=age.agekey={QUICKSTART}/PUBLIC-demo-identity.txt");
        kubectl(&plane, &["create", "secret", "generic", key, "--namespace", namespace, &identity]).await;
    }
    let _operator = operator(&plane).await.unwrap();

    // The quickstart, first without the value that people set later: Ready turns twice.
    for file in ["stores.yaml", "stack.yaml"] {
        let file = format!("--filename={QUICKSTART}/{file}");
        kubectl(&plane, &["apply", "--namespace", "orders", &file]).await;
    }
    wait_stack(&plane, "orders", "plat-ue1-prod", "False", "ValueMissing").await.unwrap();
    let values = r#"{apiVersion: v1, kind: Secret, stringData: {PAYMENT_API_KEY: k},
        metadata: {name: atmos.plat-ue1-prod.orders-api, namespace: orders, labels: {secrets.atmos.tools/values: "true"}}}"#;
    plane.apply_yaml(values).await.unwrap();
    wait_stack(&plane, "orders", "plat-ue1-prod", "True", "Synced").await.unwrap();
    // The second repair is the same Event again.
    edit(&plane, "orders-db").await;
    wait_asked(&plane, "create", "events", 1).await;
    edit(&plane, "orders-db").await;
    wait_asked(&plane, "patch", "events", 1).await;

    plane.apply_yaml(SHARED).await.unwrap();
    wait_stack(&plane, "payments", "prod", "True", "Synced").await.unwrap();
    let patch = r#"{"spec": {"targets": {"dropped": null}}}"#;
    kubectl(&plane, &["patch", "stack", "prod", "--namespace", "payments", "--type=merge", "--patch", patch]).await;
    wait_asked(&plane, "delete", "secrets", 1).await;

    plane.apply_yaml(LOGIN).await.unwrap();

    let granted = of_the_operator();
    wait_until("every granted verb to be used", LIMIT, async || {
        let used = used(&asked(&plane));
        let not_used: Vec<_> = granted.difference(&used).collect();
        anyhow::ensure!(not_used.is_empty(), "granted and not used: {not_used:#?}");
        Ok(())
    })
    .await
    .unwrap();
    let events = asked(&plane);
    let refused: Vec<_> = events.iter().filter(|event| event.code == 403).map(|event| &event.uri).collect();
    assert!(refused.is_empty(), "needed and not granted: {refused:#?}");
    let used = used(&events);
    let not_listed: Vec<_> = used.difference(&granted).collect();
    assert!(not_listed.is_empty(), "allowed by something else than the chart: {not_listed:#?}");
}

/// What a Stack says in a namespace that nobody handed over is a command that hands it over.
#[tokio::test]
async fn the_command_of_grant_missing_grants() {
    let plane = start().await.unwrap();
    install(&plane, &[]).await.unwrap();
    let _operator = operator(&plane).await.unwrap();
    let namespace = plane.namespace("ungranted").await.unwrap();
    let stack = format!(
        "{{apiVersion: secrets.atmos.tools/v1alpha1, kind: Stack, metadata: {{name: prod, namespace: {namespace}}},
          spec: {{targets: {{prod: {{}}}}, secrets: {{vars: {{A: {{store: local, default: a}}}}}}}}}}
---
{{apiVersion: secrets.atmos.tools/v1alpha1, kind: Store, metadata: {{name: local, namespace: {namespace}}},
          spec: {{kubernetes: {{}}}}}}"
    );
    plane.apply_yaml(&stack).await.unwrap();
    let object = wait_stack(&plane, &namespace, "prod", "False", "GrantMissing").await.unwrap();
    let said = object["status"].to_string();
    let (_, command) = said.split_once("grant it: kubectl ").context(said.clone()).unwrap();
    let command = command.split(['"', ';', ',']).next().unwrap();
    let words: Vec<_> = command.split_whitespace().collect();
    assert_eq!(words.get(2..4), Some(&["create", "rolebinding"][..]), "{command}");
    kubectl(&plane, &words).await;
    // Asked for, so that the test need not wait for the next probe.
    let ask = ["annotate", "stack", "prod", "--namespace", &namespace, "secrets.atmos.tools/sync-requested-at=1"];
    kubectl(&plane, &ask).await;
    wait_stack(&plane, &namespace, "prod", "True", "Synced").await.unwrap();
}
