//! What the cluster does not let the operator do: rights, quotas, policies, and namespaces that end.

use atmos_secrets::api::status::READY;
use atmos_secrets::api::{Reason, StackStatus};
use e2e::control_plane::{AuditEvent, Stage};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{Grant, LIMIT, Tenant, condition, secret};
use crate::requests;

const STACK: &str = "
    defaultStore: app
    components: {terraform: {orders-db: {secrets: {vars: {DB_PASSWORD: {required: true}}}}}}
";

/// Everything but the Stack.
async fn prepare(tenant: &Tenant) -> anyhow::Result<String> {
    let password = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &password)]).await?;
    Ok(password)
}

fn message(status: &StackStatus) -> &str {
    &condition(status, READY).unwrap().message
}

/// Waits until the API server's authorizer says so; its view of RBAC lags a little.
async fn wait_operator_may(tenant: &Tenant, verb: &str, wanted: bool) -> anyhow::Result<()> {
    let account = format!("--as={}", tenant.cluster.operator_user());
    let namespace = format!("--namespace={}", tenant.namespace);
    e2e::wait_until(format!("the operator's right to {verb} to be {wanted}"), LIMIT, async || {
        let answer = tenant.cluster.kubectl(["auth", "can-i", verb, "secrets", &namespace, &account]).await?;
        anyhow::ensure!(answer.status.success() == wanted, "{}", String::from_utf8_lossy(&answer.stdout));
        Ok(())
    })
    .await
}

/// Runs the command that a message prints after `grant it: `, word for word.
async fn run_printed_command(tenant: &Tenant, message: &str) -> anyhow::Result<()> {
    let (_, command) = message.split_once("grant it: kubectl ").unwrap_or_else(|| panic!("no command in: {message}"));
    let words: Vec<&str> = command.split(' ').collect();
    let output = tenant.cluster.kubectl(&words).await?;
    anyhow::ensure!(output.status.success(), "kubectl {command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn without_a_grant_nothing_is_read_and_the_printed_command_grants() -> anyhow::Result<()> {
    let tenant = Tenant::granted(Grant::None).await?;
    let password = prepare(&tenant).await?;
    tenant.stack("prod", STACK).await?;
    let status = tenant.wait_reason("prod", Reason::GrantMissing).await?;
    let store = tenant.wait_store("app", Reason::GrantMissing).await?;
    assert!(store.message.contains("create rolebinding"), "{}", store.message);
    let touched: Vec<AuditEvent> = tenant
        .operator_requests()?
        .into_iter()
        .filter(|event| ["secrets", "configmaps"].contains(&event.resource.as_str()) && event.code != 403)
        .collect();
    assert!(touched.is_empty(), "{touched:?}");

    run_printed_command(&tenant, message(&status)).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    tenant.wait_store("app", Reason::Connected).await?;
    Ok(())
}

#[tokio::test]
async fn a_grant_may_be_taken_away_and_given_back() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let bystander = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    prepare(&bystander).await?;
    tenant.stack("prod", STACK).await?;
    bystander.stack("prod", STACK).await?;
    tenant.wait_ready("prod").await?;
    let untouched = bystander.wait_ready("prod").await?;

    tenant.grant(Grant::None).await?;
    wait_operator_may(&tenant, "get", false).await?;
    let next = tenant.canary();
    tenant.values("atmos.prod.orders-db", &[("DB_PASSWORD", &next)]).await?;
    let status = tenant.wait_reason("prod", Reason::GrantMissing).await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]), "the last good stays");
    run_printed_command(&tenant, message(&status)).await?;
    wait_operator_may(&tenant, "get", true).await?;
    // An edit of the Stack is heard at once; without one the operator asks again within a minute.
    tenant.sync("prod").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &next)]));
    assert_eq!(bystander.status("prod").await?, untouched);
    Ok(())
}

#[tokio::test]
async fn a_write_that_was_not_granted_is_tried_again_by_itself() -> anyhow::Result<()> {
    let tenant = Tenant::granted(Grant::None).await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "atmos-secrets", "name": "atmos-secrets-operator"}],
    });
    tenant.apply(&role).await?;
    tenant.apply(&binding).await?;
    wait_operator_may(&tenant, "watch", true).await?;
    let password = prepare(&tenant).await?;
    tenant.stack("prod", STACK).await?;
    let status = tenant.wait_reason("prod", Reason::GrantMissing).await?;
    assert!(message(&status).contains("may not create secrets"), "{}", message(&status));
    assert_eq!(status.initialized.as_deref(), Some("1/1"), "the value itself can be read");
    run_printed_command(&tenant, message(&status)).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn an_exhausted_quota_is_told_and_a_raised_one_is_noticed() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(tenant.client.clone(), &tenant.namespace);
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"secrets": "1"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    e2e::wait_until("the quota to be counted", LIMIT, async || {
        let used = quotas.get("few").await?.status.and_then(|status| status.used).unwrap_or_default();
        anyhow::ensure!(used.get("secrets").is_some_and(|used| used.0 == "1"), "{used:?}");
        Ok(())
    })
    .await?;
    tenant.stack("prod", STACK).await?;
    let status = tenant.wait_reason("prod", Reason::QuotaExceeded).await?;
    assert!(message(&status).contains(&format!("quota of namespace {}", tenant.namespace)), "{}", message(&status));
    assert_eq!(tenant.secret("prod-orders-db").await?, None);
    tenant.patch("v1", "ResourceQuota", "few", json!({"spec": {"hard": {"secrets": "5"}}})).await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn a_policy_that_denies_the_write_is_told_in_our_own_words() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let password = prepare(&tenant).await?;
    let name = tenant.unique("deny");
    let group = "admissionregistration.k8s.io/v1";
    let policy = format!(
        "
apiVersion: {group}
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [secrets]}}]
  validations: [{{expression: 'false', message: words of the policy}}]
---
apiVersion: {group}
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
",
        namespace = tenant.namespace
    );
    tenant.cluster.apply_yaml(&policy).await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let probe: Secret = serde_json::from_value(json!({"metadata": {"name": "probe"}}))?;
    let denies = async |wanted: bool| {
        e2e::wait_until(format!("the policy to deny: {wanted}"), LIMIT, async || {
            let denied = tenant.secrets().create(&dry_run, &probe).await.is_err();
            if denied == wanted { Ok(()) } else { Err(denied) }
        })
        .await
    };
    denies(true).await?;
    tenant.stack("prod", STACK).await?;
    let status = tenant.wait_reason("prod", Reason::AdmissionDenied).await?;
    let shown = serde_json::to_string(&status)?;
    assert!(!shown.contains("words of the policy"), "the policy's words may hold anything: {shown}");
    assert!(message(&status).contains("let the operator create Secrets"), "{}", message(&status));
    let removed = tenant.cluster.kubectl(["delete", "validatingadmissionpolicybinding", &name]).await?;
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    denies(false).await?;
    tenant.sync("prod").await?;
    tenant.wait_ready("prod").await?;
    assert_eq!(tenant.secret("prod-orders-db").await?, secret(&[("DB_PASSWORD", &password)]));
    Ok(())
}

#[tokio::test]
async fn a_namespace_can_be_deleted_under_its_stacks() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let bystander = Tenant::new().await?;
    prepare(&tenant).await?;
    prepare(&bystander).await?;
    tenant.stack("prod", STACK).await?;
    bystander.stack("prod", STACK).await?;
    tenant.wait_ready("prod").await?;
    bystander.wait_ready("prod").await?;

    let namespaces: Api<Namespace> = Api::all(tenant.client.clone());
    namespaces.delete(&tenant.namespace, &DeleteParams::default()).await?;
    e2e::wait_until("the namespace to be gone", LIMIT * 3, async || {
        match namespaces.get_opt(&tenant.namespace).await? {
            None => Ok(()),
            Some(left) => anyhow::bail!("{}", serde_json::to_string(&left.status)?),
        }
    })
    .await?;
    e2e::wait_until("the watches of the namespace to be closed", LIMIT, async || {
        let events = tenant.operator_requests()?;
        let count = |stage| events.iter().filter(|event| event.verb == "watch" && event.stage == stage).count();
        let (started, ended) = (count(Stage::ResponseStarted), count(Stage::ResponseComplete));
        anyhow::ensure!(started == ended, "{started} started, {ended} ended");
        Ok(())
    })
    .await?;
    let mark = tenant.cluster.audit_mark()?;
    for _ in 0..3 {
        bystander.sync("prod").await?;
    }
    let after = requests::since(&tenant.cluster, mark, &tenant.namespace)?;
    assert!(after.is_empty(), "the operator still asks: {:?}", requests::tally(&after));
    for operator in tenant.cluster.operators() {
        let log = std::fs::read_to_string(operator.log())?;
        let loud: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(&tenant.namespace))
            .filter(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["level"] == "WARN" || line["level"] == "ERROR"
            })
            .collect();
        assert!(loud.is_empty(), "{loud:?}");
    }
    Ok(())
}
