//! Two tenants: whatever the objects of one namespace name, they reach nothing of another's and learn nothing of it, not
//! even whether it exists.

use atmos_secrets::api::status::READY;
use e2e::control_plane::AuditEvent;
use serde_json::{Value, json};

use crate::aws;
use crate::harness::{Grant, LIMIT, Tenant, condition, secret};
use crate::requests;

/// What the victim has: a Secret, a ConfigMap, a ServiceAccount, a Store, a Stack and a target of this name.
const THERE: &str = "shared-1";
/// What nobody has. As long as the other, so that no limit tells them apart.
const NOWHERE: &str = "shared-2";

/// A way to name an object of another namespace.
type Form = fn(namespace: &str, name: &str) -> String;

const FORMS: [Form; 7] = [
    |_, name| name.to_owned(),
    |namespace, name| format!("{namespace}/{name}"),
    |namespace, name| format!("../{namespace}/{name}"),
    |namespace, name| format!("../../{namespace}/stacks/{name}"),
    |namespace, name| format!("../../{namespace}/secrets/{name}"),
    |namespace, name| format!("{namespace}%2F{name}"),
    |namespace, name| format!("{namespace}.{name}"),
];

const AWS: &str = "awsSecretsManager";

/// Specs of Stores in which `object` stands wherever a Store names another object.
fn stores(object: &str) -> Vec<(&'static str, Value)> {
    let vault = |auth: Value, more: Value| {
        let mut vault = json!({"address": "http://127.0.0.1:9", "mount": "secret", "auth": auth});
        vault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"timeout": "60s", "vault": vault})
    };
    let token = json!({"token": {"secret": "own", "key": "K"}});
    let sops =
        |source: Value, key: &str| json!({"sops": {"source": source, "age": {"keys": [{"secret": key, "key": "K"}]}}});
    let aws = |auth: Value| json!({"timeout": "60s", AWS: {"region": "us-east-1", "endpoint": "http://127.0.0.1:9", "auth": auth}});
    vec![
        ("keys of AWS", aws(json!({"secret": {"name": object}}))),
        (
            "account for AWS",
            aws(
                json!({"serviceAccount": {"name": object}, "assumeRole": [{"roleArn": "arn:aws:iam::123456789012:role/r"}]}),
            ),
        ),
        ("token of Vault", vault(json!({"token": {"secret": object, "key": "K"}}), json!({}))),
        (
            "secret id of Vault",
            vault(json!({"approle": {"roleId": "r", "secretId": {"secret": object, "key": "K"}}}), json!({})),
        ),
        (
            "account for Vault",
            vault(json!({"kubernetes": {"role": "r", "serviceAccount": {"name": object}}}), json!({})),
        ),
        ("authority in a Secret", vault(token.clone(), json!({"ca": {"secret": object}}))),
        ("authority in a ConfigMap", vault(token, json!({"ca": {"configMap": object}}))),
        ("files in a Secret", sops(json!({"secrets": [object]}), "own")),
        ("files in a ConfigMap", sops(json!({"configMaps": [object]}), "own")),
        ("age keys", sops(json!({"secrets": ["own"]}), object)),
    ]
}

/// Specs of Stacks in which `object` stands wherever a Stack names another object. `open` may be used by both tenants,
/// each below its own namespace.
fn stacks(object: &str, open: &str, namespace: &str, victim: &str) -> Vec<(&'static str, Value)> {
    let component = |declaration: Value| json!({"terraform": {"db": {"secrets": {"vars": {"K": declaration}}}}});
    let plain = component(json!({"required": true}));
    let keyed = |key: String| json!({"stores": {"open": {"clusterStore": open}}, "defaultStore": "open", "components": component(json!({"backendKey": key, "required": true}))});
    vec![
        ("default store", json!({"defaultStore": object, "components": plain})),
        ("store", json!({"stores": {"s": {"store": object}}, "defaultStore": "s", "components": plain})),
        ("import", json!({"defaultStore": "local", "imports": [{"stack": object}], "components": plain})),
        (
            "value of a Secret",
            json!({"defaultStore": "local", "components": component(json!({"backendKey": format!("{object}#K"), "required": true}))}),
        ),
        ("key in the other's prefix", keyed(format!("x/{victim}/{object}"))),
        ("key out of the own prefix", keyed(format!("x/{namespace}/../{victim}/{object}"))),
        ("encoded key out of the own prefix", keyed(format!("x/{namespace}/%2e%2e/{victim}/{object}"))),
        ("key with an empty segment", keyed(format!("x/{namespace}//{object}"))),
        (
            "stack out of the own prefix",
            json!({"name": format!("a/../../{victim}/{object}"), "stores": {"open": {"clusterStore": open}},
                "defaultStore": "open", "components": plain}),
        ),
    ]
}

/// What the attacker is told: by the API server, or by the status of what it wrote.
async fn told(tenant: &Tenant, kind: &str, name: &str, spec: Value) -> anyhow::Result<String> {
    if let Err(refusal) = tenant.write(kind, name, spec).await {
        return Ok(format!("{refusal:#}"));
    }
    if kind == "Store" {
        return e2e::wait_until(format!("a status of Store {name}"), LIMIT, async || {
            let status = tenant.stores().get(name).await?.status.unwrap_or_default();
            let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
            match ready {
                Some(ready) => Ok(format!("{}: {}: {}", ready.status, ready.reason, ready.message)),
                None => anyhow::bail!("there is none yet"),
            }
        })
        .await;
    }
    let judged = |status: &atmos_secrets::api::StackStatus| condition(status, READY).is_some();
    let status = tenant.wait_status(name, "to be judged", judged).await?;
    let ready = condition(&status, READY).unwrap();
    let secrets: Vec<String> = status
        .secrets
        .iter()
        .map(|entry| format!("{:?} {:?} {}", entry.state, entry.reason, entry.message.clone().unwrap_or_default()))
        .collect();
    Ok(format!("{}: {}: {}; {}", ready.status, ready.reason, ready.message, secrets.join("; ")))
}

/// The victim, with an object of each kind that can be named.
async fn settle(victim: &Tenant) -> anyhow::Result<String> {
    let value = victim.canary();
    let plain = victim.plain_canary();
    victim.store(THERE, "kubernetes: {}").await?;
    victim.values(THERE, &[("K", &value), ("token", &plain), ("ca.crt", &plain), ("accessKeyId", &plain)]).await?;
    let data = json!({"K": "value: 1", "ca.crt": "not one"});
    victim.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": THERE}, "data": data})).await?;
    victim.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": THERE}})).await?;
    let key = format!("{{backendKey: '{THERE}#K'}}");
    let spec = format!(
        "{{defaultStore: {THERE}, components: {{terraform: {{db: {{secrets: {{vars: {{K: {key}}}}}, targets: {{target: {{}}}}}}}}}}}}"
    );
    victim.stack(THERE, &spec).await?;
    victim.wait_ready(THERE).await?;
    victim.wait_store(THERE, atmos_secrets::api::Reason::Connected).await?;
    victim.wait_secret("target", secret(&[("K", &value)])).await?;
    // The last that the operator does here of its own accord.
    e2e::wait_until("the Store to know its user", LIMIT, async || {
        let users = victim.stores().get(THERE).await?.status.and_then(|status| status.users);
        anyhow::ensure!(users == Some(1), "{users:?}");
        Ok(())
    })
    .await?;
    Ok(value)
}

/// In the attacker's namespace the operator may even make tokens.
async fn let_the_operator_make_tokens(tenant: &Tenant) -> anyhow::Result<()> {
    let group = "rbac.authorization.k8s.io";
    tenant
        .apply(&json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "tokens"}, "rules": [
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        ]}))
        .await?;
    tenant
        .apply(&json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "tokens"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "tokens"}, "subjects": [
            {"kind": "ServiceAccount", "name": "atmos-secrets-operator", "namespace": "atmos-secrets"},
        ]}))
        .await
}

#[tokio::test]
async fn one_tenant_reaches_nothing_of_another_and_learns_nothing_of_it() -> anyhow::Result<()> {
    let cluster = aws::cluster("http://127.0.0.1:9").await?;
    let victim = Tenant::on(&cluster, Grant::Full).await?;
    let attacker = Tenant::on(&cluster, Grant::Full).await?;
    let value = settle(&victim).await?;
    let_the_operator_make_tokens(&attacker).await?;
    attacker.store("local", "kubernetes: {}").await?;
    attacker.apply_secret("own", json!({}), "Opaque", &[("K", "k")]).await?;
    // One ClusterStore for both, each below its own namespace; one for the victim alone.
    let vault =
        json!({"address": "http://127.0.0.1:9", "mount": "secret", "auth": {"token": {"secret": "none", "key": "K"}}});
    let open = attacker.unique("open");
    let both = [&attacker.namespace, &victim.namespace];
    let spec =
        json!({"prefix": "x/{namespace}", "timeout": "60s", "allowedNamespaces": {"names": both}, "vault": vault});
    attacker.write("ClusterStore", &open, spec).await?;
    let spec = json!({"shared": true, "allowedNamespaces": {"names": [victim.namespace]}, "vault": vault});
    attacker.write("ClusterStore", &attacker.unique(THERE), spec).await?;

    let mark = cluster.audit_mark()?;
    let mut count = 0;
    let mut compare = async |what: String, kind: &str, specs: [Value; 2]| {
        let mut texts = Vec::new();
        for (spec, object) in specs.into_iter().zip([THERE, NOWHERE]) {
            count += 1;
            let name = format!("attempt-{count}");
            let text = told(&attacker, kind, &name, spec).await?;
            assert!(!text.starts_with("True"), "{what} works: {text}");
            texts.push(text.replace(&name, "attempt").replace(object, "@"));
        }
        assert_eq!(texts[0], texts[1], "{what}: what exists is told from what does not");
        anyhow::Ok(())
    };
    for (index, form) in FORMS.into_iter().enumerate() {
        let [there, nowhere] = [THERE, NOWHERE].map(|name| form(&victim.namespace, name));
        for ((what, one), (_, other)) in stores(&there).into_iter().zip(stores(&nowhere)) {
            compare(format!("{what}, form {index}"), "Store", [one, other]).await?;
        }
        let specs = |object: &str| stacks(object, &open, &attacker.namespace, &victim.namespace);
        for ((what, one), (_, other)) in specs(&there).into_iter().zip(specs(&nowhere)) {
            compare(format!("{what}, form {index}"), "Stack", [one, other]).await?;
        }
    }
    let closed = [THERE, NOWHERE].map(|name| {
        let store = json!({"c": {"clusterStore": attacker.unique(name)}});
        let components = json!({"terraform": {"db": {"secrets": {"vars": {"K": {"required": true}}}}}});
        json!({"stores": store, "defaultStore": "c", "components": components})
    });
    compare("a ClusterStore for others".to_owned(), "Stack", closed).await?;
    // Targets have names, and no namespaces.
    for (index, form) in FORMS.into_iter().enumerate().skip(1).take(5) {
        let specs = ["target", "nobody"].map(|name| {
            let target = form(&victim.namespace, name);
            json!({"defaultStore": "local", "components": {"terraform": {"db": {
                "secrets": {"vars": {"K": {"backendKey": "own#K"}}}, "targets": {target: {}},
            }}}})
        });
        for spec in specs {
            let refused = attacker.write("Stack", "target", spec).await;
            assert!(refused.is_err(), "form {index} of a target is taken");
        }
    }

    // For all of that the operator asked nothing in the victim's namespace, and nothing of it is anywhere else.
    let events: Vec<AuditEvent> =
        requests::since(&cluster, mark, &victim.namespace)?.into_iter().filter(|event| event.verb != "watch").collect();
    assert!(events.is_empty(), "{:?}", requests::tally(&events));
    victim.wait_secret("target", secret(&[("K", &value)])).await?;
    for object in attacker.secrets().list(&kube::api::ListParams::default()).await?.items {
        let data = object.data.unwrap_or_default();
        assert!(data.values().all(|bytes| bytes.0 != value.as_bytes()), "{:?}", object.metadata.name);
    }
    Ok(())
}
