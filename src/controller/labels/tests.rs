//! Which Stacks hear of changed labels, and whose labels are looked at.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::api::StackSpec;
use crate::controller::compile::compile;
use crate::controller::tests::context_at;

/// An API server that has one Namespace, with the label `team` as it is said now.
async fn server(team: watch::Receiver<&'static str>) -> String {
    let answer = async move || {
        let labels = json!({"team": *team.borrow()});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "payments", "labels": labels}}).to_string()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() });
    url
}

/// A ClusterStore as a watch brings it.
fn offer(context: &Context, generation: i64, allowed: &serde_json::Value) {
    let vault = json!({"address": "https://vault", "mount": "kv", "auth": {"token": {"secret": "none", "key": "K"}}});
    let object = json!({
        "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "ClusterStore",
        "metadata": {"name": "shared", "uid": "u", "generation": generation},
        "spec": {"shared": true, "allowedNamespaces": allowed, "vault": vault},
    });
    context.definitions.put_cluster_store(serde_json::from_value(object).unwrap());
}

fn by_label() -> serde_json::Value {
    json!({"selector": {"matchLabels": {"team": "pay"}}})
}

/// Whether the ClusterStore serves the Stack.
async fn is_served(context: &Context, stack: &StackKey) -> bool {
    let spec: StackSpec = serde_json::from_value(json!({
        "stores": {"shared": {"clusterStore": "shared"}}, "defaultStore": "shared",
        "components": {"terraform": {"db": {"secrets": {"vars": {"A": {}}}}}},
    }))
    .unwrap();
    let plan = compile(context, stack, &spec).await.unwrap().plan;
    plan.secrets.iter().all(|secret| secret.read.is_ok())
}

/// The Stacks that are to be synced.
async fn queued(context: &Context) -> Vec<String> {
    let mut queued = Vec::new();
    while context.queue.depth().user > 0 {
        let (stack, _) = context.queue.next().await.unwrap();
        queued.push(stack.name.to_string());
        context.queue.done(&stack);
    }
    queued.sort_unstable();
    queued
}

/// How many namespaces are looked at.
fn looked_at(context: &Context) -> usize {
    context.labels.queue.depth().delayed
}

#[tokio::test]
async fn every_stack_that_labels_decided_for_hears_of_others() {
    let (team, is_team) = watch::channel("none");
    let context = context_at(&server(is_team).await);
    offer(&context, 1, &by_label());
    let [one, two] = ["one", "two"].map(|name| StackKey::new("payments", name));
    let namespace = Arc::clone(&one.namespace);
    assert!(!is_served(&context, &one).await && !is_served(&context, &two).await);
    context.labels.look(&context, &namespace).await;
    assert!(queued(&context).await.is_empty(), "they are the same");

    team.send_replace("pay");
    context.labels.look(&context, &namespace).await;
    assert_eq!(queued(&context).await, ["one", "two"]);
    context.labels.look(&context, &namespace).await;
    assert!(queued(&context).await.is_empty(), "told once");
    assert!(is_served(&context, &one).await && is_served(&context, &two).await);

    // The sync of one Stack finds other labels before anybody looked: then no look would find a difference.
    team.send_replace("none");
    assert!(!is_served(&context, &one).await);
    assert_eq!(queued(&context).await, ["one", "two"]);
    assert_eq!(looked_at(&context), 1, "one look for both");
}

#[tokio::test]
async fn nobody_looks_where_labels_decide_nothing() {
    let (_team, is_team) = watch::channel("pay");
    let context = context_at(&server(is_team).await);
    let [one, two] = ["one", "two"].map(|name| StackKey::new("payments", name));
    let by_label_or_name = json!({"names": ["payments"], "selector": {"matchLabels": {"team": "pay"}}});
    for (generation, allowed) in (1..).zip([json!({"names": ["payments"]}), by_label_or_name]) {
        offer(&context, generation, &allowed);
        assert!(is_served(&context, &one).await, "{allowed}");
        assert_eq!(looked_at(&context), 0, "{allowed}");
    }
    offer(&context, 3, &by_label());
    assert!(is_served(&context, &one).await && is_served(&context, &two).await);
    assert_eq!(looked_at(&context), 1);

    context.forget(&two);
    assert_eq!(looked_at(&context), 1, "another Stack of the namespace is left");
    offer(&context, 4, &json!({"names": ["payments"]}));
    assert!(is_served(&context, &one).await);
    assert_eq!(looked_at(&context), 0, "the selector is gone");
    context.labels.look(&context, &one.namespace).await;
    assert_eq!(looked_at(&context), 0, "a look that was due already is the last one");
    assert!(context.labels.lock().is_empty());
}

#[tokio::test]
async fn a_namespace_that_cannot_be_asked_for_keeps_what_it_had() {
    let (_team, is_team) = watch::channel("pay");
    let context = context_at(&server(is_team).await);
    offer(&context, 1, &by_label());
    let stack = StackKey::new("payments", "one");
    assert!(is_served(&context, &stack).await);
    let silent = crate::controller::tests::context();
    context.labels.lock().iter().for_each(|(_, noted)| {
        silent.labels.note(&stack, &noted.labels);
    });
    silent.labels.look(&silent, &stack.namespace).await;
    assert!(queued(&silent).await.is_empty());
    assert_eq!(looked_at(&silent), 1, "it is asked for again");
}
