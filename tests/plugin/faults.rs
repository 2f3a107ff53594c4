//! A cluster that refuses, fails or does not answer.

use std::time::Duration;

use e2e::{Fault, FaultProxy, Matching};
use serde_json::json;

use crate::fixture::{Fixture, Outcome, ready};
use crate::store::{CANARY, DB_OBJECT, put, quickstart, stored};

/// A fixture whose plugin goes through a proxy.
async fn behind_a_proxy(prefix: &str) -> (Fixture, FaultProxy) {
    let fixture = Fixture::new(prefix).await;
    let proxy = FaultProxy::to_api_server(fixture.control_plane).await.expect("a proxy");
    let kubeconfig = fixture
        .control_plane
        .proxied_kubeconfig(&fixture.control_plane.admin_kubeconfig(), &proxy)
        .expect("a kubeconfig");
    (fixture.with_variable("KUBECONFIG", kubeconfig), proxy)
}

#[tokio::test]
async fn a_failing_cluster_is_3_at_once() {
    let (fixture, proxy) = behind_a_proxy("faults").await;
    quickstart(&fixture).await;
    for (fault, said) in [
        (Fault::too_many_requests(Some(600)), "the cluster is busy\nhint: try again in a moment\n"),
        (Fault::answer(503), "the cluster is busy\nhint: try again in a moment\n"),
        (Fault::answer(500), "the cluster answered 500\n"),
        (
            Fault::answer(401),
            "the cluster did not accept your credentials\nhint: try `kubectl auth whoami` with the same kubeconfig\n",
        ),
        (
            Fault::Cut { after_bytes: 10 },
            "the cluster did not answer\nhint: try `kubectl version` with the same kubeconfig\n",
        ),
    ] {
        let injected = proxy.inject(fault.clone(), Matching::any().path("/stacks"));
        let expected = format!("error: could not list Stacks in namespace {}: {said}", fixture.namespace);
        fixture.run(&["list"]).await.is(3, "", &expected);
        assert_eq!(injected.hits(), 1, "{fault:?}: nothing is repeated behind the person's back");
        injected.remove();
    }
    proxy.refuse().await;
    for verb in [&["list"][..], &["validate"], &["describe"], &["get", "PASSWORD"], &["set", "PASSWORD", "--stdin"]] {
        let refused: Outcome = fixture.run(verb).await;
        assert_eq!((refused.code, refused.text()), (3, ""), "{verb:?}: {refused:?}");
        assert!(refused.stderr.contains("the cluster did not answer"), "{refused:?}");
    }
    let version = fixture.run(&["version"]).await;
    assert_eq!(version.code, 0);
    assert!(version.stderr.contains("the cluster did not answer"), "{version:?}");
}

#[tokio::test]
async fn waiting_outlives_a_short_failure() {
    let (fixture, proxy) = behind_a_proxy("faults").await;
    fixture.stack("prod", json!({})).await;
    let failing = async {
        // The plugin has seen the Stack once and asks again: from now on it gets failures, for three times.
        let injected = proxy.inject(Fault::answer(500), Matching::any().path("/stacks/prod").times(3));
        e2e::wait_until("three failures", Duration::from_secs(120), async || {
            if injected.hits() == 3 { Ok(()) } else { Err(injected.hits()) }
        })
        .await
        .expect("the plugin asks again");
        fixture.status("prod", json!({"conditions": [ready("True", "Synced", "")]})).await;
    };
    let passed = proxy.counts().passed;
    let started = async {
        e2e::wait_until("the first look", Duration::from_secs(120), async || {
            if proxy.counts().passed > passed { Ok(()) } else { Err("no request yet") }
        })
        .await
        .expect("the plugin asks");
        failing.await;
    };
    let (outcome, ()) = tokio::join!(fixture.run(&["validate", "-s", "prod", "--timeout", "5m"]), started);
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_called_done() {
    let (fixture, proxy) = behind_a_proxy("faults").await;
    quickstart(&fixture).await;
    put(&fixture, DB_OBJECT, &[("PASSWORD", b"old")]).await;
    proxy.inject(Fault::DropAnswer, Matching::any().method("PUT").path("/secrets/"));
    let lost = fixture.run_with_input(&["set", "PASSWORD", "--stdin", "--force"], CANARY.as_bytes()).await;
    assert_eq!((lost.code, lost.text()), (3, ""), "{lost:?}");
    assert!(lost.stderr.contains("not known whether the value was written"), "{lost:?}");
    assert!(!lost.stderr.contains(CANARY), "{lost:?}");
    assert_eq!(stored(&fixture, DB_OBJECT, "PASSWORD").await.expect("a value"), CANARY.as_bytes());
}
